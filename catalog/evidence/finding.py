"""The answer of one check of evidence."""

from dataclasses import dataclass, field
from typing import Any

from catalog.models import Verdict


@dataclass(frozen=True)
class Finding:
    """What a check found: verdict, one sentence, and the raw report with the inputs it looked at."""

    kind: str
    verdict: Verdict
    summary: str
    tool: str
    report: dict[str, Any] = field(default_factory=dict)
