"""Timing two ways of doing the same in turns, so that both see the same machine."""

import statistics
import time
from collections.abc import Callable

ROUNDS = 5


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long `call` took, in milliseconds."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def paired(naive: Callable[[], object], ours: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the median milliseconds of both over paired rounds, after one round to warm up."""
    naive(), ours()
    pairs = [(milliseconds(naive), milliseconds(ours)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def percentile(values: list[float], share: float) -> float:
    """Return the value at or below which `share` of `values` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]
