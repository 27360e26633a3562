"""What runs on registered clusters beside the portal: found by a scan, listed, told of, waived or adopted. Nothing here
ever changes an object of a cluster."""
