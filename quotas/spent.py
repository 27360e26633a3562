"""How many tokens quotas count as used: input and output together, from the daily sums of the ledger.

A project's and a key's quota counts the calls of that project's keys; an endpoint's quota counts every call to it,
whichever project's key made it. A call counts in the day and month (UTC) in which it arrived.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, CharField, F, Min, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast
from django.utils import timezone

from quotas.bounds import Bound, Target
from quotas.models import JournalOffset, QuotaTarget, UsageDay, Window
from quotas.rollups import floor

TOKENS = F("input_tokens") + F("output_tokens")
COLUMNS = {QuotaTarget.PROJECT: "project_id", QuotaTarget.ENDPOINT: "endpoint_id", QuotaTarget.KEY: "key_id"}
OFFSET = "offset"


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of the day and of the month since `day` and `month`, by target, all from one instant of the database.

    `offsets` says how far each journal was in the ledger at that instant, in bytes.
    """

    day: dt.datetime
    month: dt.datetime
    targets: frozenset[Target]  # what was asked for; without a call it is in no sum
    sums: Mapping[Target, tuple[int, int]]
    offsets: Mapping[str, int]

    def used(self, target: Target, window: str) -> int:
        """Return the tokens of `target` in the current window."""
        day, month = self.sums.get(target, (0, 0))
        return day if window == Window.DAY else month


def spent(wanted: Iterable[Bound], *, journals: Collection[str] | None = None, now: dt.datetime | None = None) -> Spent:
    """Return what the targets of `wanted` used (one statement, and so one snapshot of the database).

    With `journals` the offsets of those that are still written, and of these names, come from the same snapshot.
    """
    now, wanted = now or timezone.now(), list(wanted)
    day, month = floor(now, "day"), floor(now, "month")
    targets, parts = frozenset(bound.target for bound in wanted), []
    today = Sum(TOKENS, filter=Q(start__gte=day), default=0, output_field=BigIntegerField())
    whole = Sum(TOKENS, default=0, output_field=BigIntegerField())
    for kind, rows in _rows(targets, wanted).items():
        named = _named(rows.filter(start__gte=month), kind)
        parts.append(named.annotate(first=today, second=whole).values_list("what", "target", "first", "second"))
    if journals is not None:
        marks = JournalOffset.objects.filter(Q(finished=False) | Q(gateway__in=list(journals))).order_by()
        named = marks.annotate(what=Value(OFFSET, CharField()), target=Cast("gateway", CharField()))
        parts.append(named.annotate(first=F("offset"), second=Value(0, BigIntegerField())).values_list(
            "what", "target", "first", "second"))  # fmt: skip
    found = list(parts[0].union(*parts[1:], all=True)) if parts else []
    sums = {(kind, target): (first, second) for kind, target, first, second in found if kind != OFFSET}
    offsets = {target: first for kind, target, first, _ in found if kind == OFFSET}
    return Spent(day, month, targets, sums, offsets)


@dataclass(frozen=True, slots=True)
class Pace:
    """Tokens of the last whole days, and since when there were calls among them."""

    tokens: int
    since: dt.datetime


def paces(wanted: Iterable[Bound], *, days: int, now: dt.datetime) -> dict[Target, Pace]:
    """Return the tokens of the `days` whole days before today by target, for those with calls (one statement)."""
    wanted = list(wanted)
    today = floor(now, "day")
    span = Q(start__gte=today - dt.timedelta(days=days), start__lt=today)
    parts = []
    for kind, rows in _rows(frozenset(bound.target for bound in wanted), wanted).items():
        named = _named(rows.filter(span, requests__gt=0), kind)
        summed = named.annotate(first=Sum(TOKENS, default=0, output_field=BigIntegerField()), since=Min("start"))
        parts.append(summed.values_list("what", "target", "first", "since"))
    found = parts[0].union(*parts[1:], all=True) if parts else []
    return {(kind, target): Pace(tokens, _utc(since)) for kind, target, tokens, since in found}


def _rows(targets: Collection[Target], wanted: Iterable[Bound]) -> dict[str, QuerySet[UsageDay]]:
    """Return the daily sums of each kind of target that is asked for."""
    ids: dict[str, list[str]] = {}
    for kind, target in sorted(targets):
        ids.setdefault(kind, []).append(target)
    found = {}
    for kind, values in ids.items():
        rows = UsageDay.objects.order_by().filter(**{f"{COLUMNS[QuotaTarget(kind)]}__in": values})
        if kind == QuotaTarget.KEY:  # a key belongs to one project, and the index begins with it
            rows = rows.filter(project_id__in={bound.project_id for bound in wanted if bound.target_kind == kind})
        found[kind] = rows
    return found


def _named(rows: QuerySet[UsageDay], kind: str) -> QuerySet[Any, Any]:
    """Group `rows` by target, under the name that the other parts of a union use too."""
    return rows.values(what=Value(kind, CharField()), target=Cast(COLUMNS[QuotaTarget(kind)], CharField()))


def _utc(moment: dt.datetime | str) -> dt.datetime:
    """SQLite gives a time back as text when it comes out of a union."""
    found = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found
