"""Accelerator hours of a workload, integrated from the times of its pods. Pure functions.

A pod that is there now counts from its start, or from the last time that was counted, so that scans that were missed
lose nothing. Of a pod that came and went between two scans nothing is known, and one that ended without a trace counts
up to the last scan that saw it: the number is never too large.
"""

from collections.abc import Iterable
from datetime import datetime

from endpoints.rogue.devices import Claims
from endpoints.rogue.judging import devices_of
from endpoints.rogue.reading import Pod


def more(pods: Iterable[Pod], claims: Claims, counted: datetime | None, now: datetime) -> int:
    """Return accelerators × seconds that `pods` held from `counted` (None: their start) until `now`."""
    total = 0.0
    for one in pods:
        if one.since is None:
            continue
        begin = max(one.since, counted) if counted else one.since
        seconds = (min(one.until or now, now) - begin).total_seconds()
        total += max(seconds, 0.0) * sum(devices_of(one, claims).values())
    return round(total)
