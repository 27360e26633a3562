"""The answer of one check of evidence."""

import math
from dataclasses import dataclass, field
from typing import Any

from catalog.models import Verdict

DEEPEST = 100  # levels of a report that are kept


def storable(value: Any, levels: int = DEEPEST) -> Any:
    """Return `value` (of JSON) as every database keeps it: hostile content may hold NUL, half a surrogate pair, numbers
    without end, and lists in lists without end.
    """
    if isinstance(value, str):
        whole = value if value.isascii() else value.encode("utf-8", "replace").decode()
        return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list | tuple) and levels == 0:
        return "…"
    if isinstance(value, list | tuple):
        return [storable(item, levels - 1) for item in value]
    if isinstance(value, dict):
        return {storable(name): storable(item, levels - 1) for name, item in value.items()}
    return value


@dataclass(frozen=True)
class Finding:
    """What a check found: verdict, one sentence, and the raw report with the inputs it looked at."""

    kind: str
    verdict: Verdict
    summary: str
    tool: str
    report: dict[str, Any] = field(default_factory=dict)
