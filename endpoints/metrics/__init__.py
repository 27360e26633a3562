"""What engines count themselves."""
