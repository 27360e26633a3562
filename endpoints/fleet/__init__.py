"""Clusters as something that a platform engineer registers and operates."""
