"""Pages of endpoints and keys."""
