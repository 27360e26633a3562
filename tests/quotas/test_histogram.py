"""Percentiles from buckets against the exact ones."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas import histogram

VALUES = st.lists(st.floats(min_value=0.001, max_value=1e9), min_size=1, max_size=200)


def counted(values: list[float]) -> histogram.Histogram:
    made: histogram.Histogram = {}
    for value in values:
        histogram.add(made, value)
    return made


def exact(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@given(VALUES, st.floats(min_value=0, max_value=1))
def test_a_percentile_is_within_the_promised_error(values, share):
    found = histogram.percentile(counted(values), share)
    assert found == pytest.approx(exact(values, share), rel=histogram.ERROR + 1e-9)


@given(VALUES, VALUES, st.sampled_from([0.5, 0.95, 0.99]))
def test_merged_histograms_are_those_of_all_values(left, right, share):
    merged = counted(left)
    histogram.merge(merged, counted(right))
    assert merged == counted(left + right)
    assert sum(merged.values()) == len(left) + len(right)


def test_nothing_has_no_percentile():
    assert histogram.percentile({}, 0.5) is None


def test_zero_is_the_smallest_and_nonsense_is_refused():
    assert histogram.percentile(counted([0, 0]), 0.5) == pytest.approx(histogram.SMALLEST, rel=histogram.ERROR)
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not a finite number"):
            histogram.bucket(wrong)
