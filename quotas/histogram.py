"""Histograms with logarithmic buckets: small, exact to add up, and good to 2.5 % at any percentile.

The bucket of x is ceil(log(x) / log(g)) with g = (1 + e) / (1 - e), its value 2 g^i / (g + 1): no x in a bucket is
further than e (relative) from that value. Source: Masson, Rim, Lee, "DDSketch" (VLDB 2019), section 2. Bucket numbers
are text because a histogram is stored as a JSON object.
"""

import bisect
import itertools
import math
from collections.abc import Mapping

ERROR = 0.025
SMALLEST = 0.001  # below that everything is one bucket: a microsecond, when values are milliseconds
_BASE = (1 + ERROR) / (1 - ERROR)
_LOG = math.log(_BASE)

Histogram = dict[str, int]


def bucket(value: float) -> str:
    """Return the bucket of `value`; raises ValueError for what is no finite number."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return str(math.ceil(math.log(max(value, SMALLEST)) / _LOG))


def add(histogram: Histogram, value: float) -> None:
    """Count `value` in `histogram`."""
    name = bucket(value)
    histogram[name] = histogram.get(name, 0) + 1


def merge(histogram: Histogram, other: Mapping[str, int]) -> None:
    """Add the counts of `other` to `histogram`."""
    if not histogram:  # the first one of a sum, which most are
        histogram.update(other)
        return
    for name, count in other.items():
        histogram[name] = histogram.get(name, 0) + count


def percentile(histogram: Mapping[str, int], share: float) -> float | None:
    """Return the value below or at which `share` (0 to 1) of the counted values lie, by nearest rank; None when empty.

    The result is within `ERROR` (relative) of the exact percentile of values of at least `SMALLEST`.
    """
    total = sum(histogram.values())
    if total <= 0:
        return None
    rank = max(1, math.ceil(share * total))
    numbers = sorted(int(name) for name in histogram)
    sums = list(itertools.accumulate(histogram[str(number)] for number in numbers))
    number = numbers[bisect.bisect_left(sums, rank)]
    return float(2 * _BASE**number / (_BASE + 1))


def total(histogram: Mapping[str, int]) -> float:
    """Return the sum of the counted values, each as the middle of its bucket: within `ERROR` of the exact one."""
    return sum(count * 2 * _BASE ** int(name) / (_BASE + 1) for name, count in histogram.items())
