"""Reads the few numbers that are wanted from a page of Prometheus text; the rest of the page, mostly histogram
buckets, is skipped unread.
"""

import math
import re
from collections.abc import Iterable

# name, optional labels (quoted values may hold anything, with \" and \\ escaped), value, optional timestamp
_SAMPLE = re.compile(
    r'^[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]*([^ \t#]+)(?:[ \t]+\S+)?[ \t]*$'
)


def read(page: str, names: Iterable[str]) -> dict[str, float]:
    """Return the sum over all label sets for each of `names` that `page` has; lines that cannot be read are left out.

    Only for counters, gauges and `_sum` and `_count` of histograms, where a sum over labels means something. NaN
    counts as absent.
    """
    wanted = frozenset(names)
    found: dict[str, float] = {}
    for line in page.split("\n"):
        name = line.lstrip(" \t").partition("{")[0].partition(" ")[0].partition("\t")[0]
        if name not in wanted:
            continue
        sample = _SAMPLE.match(line)
        if sample is None:
            continue
        try:
            value = float(sample[2])
        except ValueError:
            continue
        if not math.isnan(value):
            found[name] = found.get(name, 0.0) + value
    return found
