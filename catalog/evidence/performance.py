"""Performance: what somebody measured of a version on a hardware profile, from documents that people add."""

import datetime as dt
from typing import Any

from django.utils import timezone

from catalog.evidence import attachments
from catalog.evidence.case import Case
from catalog.evidence.finding import Finding
from catalog.models import Verdict, Version
from portal.errors import Invalid

KIND, TITLE, CONTENT, DAYS = "performance", "Performance", False, 180
TOOL = "gatehouse performance check 1"
MOST = 50  # measurements that are shown


def applies(version: Version) -> bool:
    """Nobody has to measure."""
    return attachments.present(version, "performance")


def check(case: Case) -> Finding:
    """Show the newest measurement of each hardware profile, engine and number of calls; old ones warn."""
    rows, broken = _measured(case.version)
    report: dict[str, Any] = {"measurements": rows, "unreadable": broken}
    if not rows:
        return Finding(KIND, Verdict.WARN, "No measurement can be read.", TOOL, report)
    best = max(rows, key=lambda row: row["tokens_per_second"])
    text = (
        f"{best['tokens_per_second']:,g} tokens/s on {best['hardware_profile']} ({best['engine']}, "
        f"{best['concurrency']:,} calls), first token after {best['ttft_p50_ms']:,g} ms, cold start "
        f"{best['cold_start_seconds']:,g} s."
    )
    days = (timezone.now().date() - max(row["day"] for row in rows)).days
    report["measurements"] = [{name: value for name, value in row.items() if name != "day"} for row in rows]
    if days > DAYS:
        return Finding(KIND, Verdict.WARN, f"{text} Measured more than {DAYS} days ago."[:300], TOOL, report)
    return Finding(KIND, Verdict.PASS, text[:300], TOOL, report)


def _measured(version: Version) -> tuple[list[dict[str, Any]], int]:
    """Return the measurements that count, by profile, and how many documents cannot be read any more."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    broken = 0
    for item in reversed(attachments.newest(version, "performance", MOST)):
        try:
            attachments.check_performance(item.content)
        except Invalid:
            broken += 1
            continue
        row = attachments.parsed(item.content)
        row["day"] = dt.date.fromisoformat(row["measured_on"])
        found[row["hardware_profile"], row["engine"], row["concurrency"]] = row
    return [found[key] for key in sorted(found)], broken
