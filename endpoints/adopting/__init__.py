"""What ran before the portal came: proposals from a scan, and adoption by a request while it keeps running."""
