"""Benchmarks: ratios of two things measured in one run on one machine, since absolute figures of another machine say
little.
"""
