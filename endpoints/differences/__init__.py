"""What clusters have against what was approved for them, field by field: found by a sweep, kept as rows, shown to
people, taken back or accepted.
"""
