"""How often each rule spoke in the last 30 days: what tells a rule that works from one that is only there."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from django.core.cache import cache
from django.db.models import Count
from django.utils import timezone

from approvals.models import Finding, Request
from approvals.verdicts import FAIL, WAIVED, WARN

DAYS = 30
MOST = 2000  # requests that are read, the newest
KEPT_SECONDS = 60
_KEY = "policies:hits"


@dataclass(frozen=True)
class Hits:
    """Requests of the last 30 days that a rule failed, warned about or would have failed without a waiver, and the live
    endpoints on which it has an open finding.
    """

    failed: int = 0
    waived: int = 0
    warned: int = 0
    endpoints: int = 0

    @property
    def requests(self) -> int:
        """How many requests it spoke of."""
        return self.failed + self.waived + self.warned


@dataclass(frozen=True)
class Counted:
    """Hits by rule, and from how many requests they are counted."""

    by_rule: Mapping[str, Hits]
    sample: int

    def of(self, rule: str) -> Hits:
        """Return the hits of `rule`."""
        return self.by_rule.get(rule, Hits())


def counted() -> Counted:
    """Return the hits of every rule (two queries at most, and none for the next minute)."""
    kept = cache.get(_KEY)
    if kept is None:
        found = _count()
        kept = {"sample": found.sample, "rules": {name: asdict(hits) for name, hits in found.by_rule.items()}}
        cache.set(_KEY, kept, KEPT_SECONDS)
    return Counted({name: Hits(**hits) for name, hits in kept["rules"].items()}, kept["sample"])


def _count() -> Counted:
    since = timezone.now() - dt.timedelta(days=DAYS)
    sent = Request.objects.filter(submission__gt=0, submitted_at__gte=since).order_by("-id")
    fields, numbers, sample = {FAIL: "failed", WAIVED: "waived", WARN: "warned"}, dict[str, dict[str, int]](), 0
    for checks in sent.values_list("plan__checks", flat=True)[:MOST]:
        sample += 1
        for check in checks or ():
            field = fields.get(check.get("verdict", ""))
            if field is not None and check.get("source") == "policy":
                row = numbers.setdefault(check["id"], {})
                row[field] = row.get(field, 0) + 1
    open_ones = Finding.objects.filter(closed_at__isnull=True).order_by().values_list("check_id")
    for rule, many in open_ones.annotate(n=Count("pk")):
        numbers.setdefault(rule, {})["endpoints"] = many
    return Counted({rule: Hits(**row) for rule, row in numbers.items()}, sample)
