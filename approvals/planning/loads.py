"""What it costs to use what is asked for: three levels of load, priced at the throughput that somebody measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from approvals.policies import facts
from approvals.sizing import money
from catalog.evidence import performance
from catalog.models import HardwareProfile, Version

LEVELS = (("quiet", 25), ("expected", 50), ("peak", 100))  # per cent of the parallel calls that are asked for
DAY, MILLION = 86_400, 1_000_000


@dataclass(frozen=True)
class Measured:
    """What somebody measured of a version on a profile: `tokens_per_second` of one replica with `calls` at once."""

    tokens_per_second: float
    calls: int
    engine: str
    day: str

    def json(self) -> dict[str, Any]:
        """Return it as the plan keeps it."""
        return {
            "tokens_per_second": self.tokens_per_second,
            "concurrency": self.calls,
            "engine": self.engine,
            "measured_on": self.day,
        }

    def rate(self, calls: int) -> float:
        """Return the tokens per second of one replica with `calls` at once: never more than was measured."""
        return self.tokens_per_second * min(1.0, calls / self.calls)


def measured(version: Version, profile: HardwareProfile, calls: int) -> Measured | None:
    """Return the measurement on `profile` that is nearest to `calls` at once; None when nobody measured there.

    Reads the report of the finding only where there is one, and it was not read with it.
    """
    facts.with_evidence([version])
    finding = next((one for one in version.latest_evidence() if one.kind == performance.KIND), None)
    report = (getattr(finding, "measured", None) or finding.report) if finding else {}
    rows: Sequence[Mapping[str, Any]] = report.get("measurements", [])
    here = [row for row in rows if row.get("hardware_profile") == profile.slug and row.get("tokens_per_second")]
    if not here:
        return None
    best = min(here, key=lambda row: (abs(int(row["concurrency"]) - calls), -float(row["tokens_per_second"])))
    return Measured(
        float(best["tokens_per_second"]), int(best["concurrency"]), str(best["engine"]), str(best["measured_on"])
    )


def loads(found: Measured | None, profile: HardwareProfile, *, replicas: int, calls: int) -> dict[str, Any]:
    """Return the three levels for `replicas` with `calls` at once each: tokens per day, and cost per million tokens,
    where the throughput was measured.
    """
    per_hour = profile.price_per_hour * replicas
    peak = found.rate(calls) * replicas if found else 0.0
    if found is None:
        sentence = f"Nobody has measured this version on {profile.slug} yet, so tokens and their cost are not known."
    else:
        sentence = (
            f"Measured on {found.day}: {found.tokens_per_second:,.6g} tokens/s on one {profile.slug} with "
            f"{found.calls:,} calls at once ({found.engine})."
        )
        if calls < found.calls:
            sentence += f" {calls:,} calls at once are counted as {calls}/{found.calls} of that."
    return {
        "measured": found.json() if found else None,
        "currency": profile.currency,
        "per_hour": money(per_hour),
        "levels": [_level(name, percent, replicas * calls, peak, per_hour) for name, percent in LEVELS],
        "sentence": sentence,
    }


def _level(name: str, percent: int, calls: int, peak: float, per_hour: Decimal) -> dict[str, Any]:
    level: dict[str, Any] = {
        "name": name,
        "percent": percent,
        "calls": round(calls * percent / 100, 2),
        "tokens_per_day": None,
        "per_million": None,
        "inputs": f"{percent} % of {calls:,} calls at once",
    }
    tokens = int(peak * DAY * percent / 100)
    if not tokens:
        return level
    return level | {
        "tokens_per_day": tokens,
        "per_million": money(per_hour * 24 * MILLION / tokens),
        "inputs": f"{percent} % of {peak:,.6g} tokens/s × {DAY:,} s; {money(per_hour * 24)} a day ÷ tokens",
    }
