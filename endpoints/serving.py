"""Production history: which revision answered calls from when to when.

Written down by whoever changes state, desire or revision of an endpoint, in the same transaction; never changed later.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from endpoints.models import Desired, Endpoint, Phase, Revision, Served
from portal.errors import Invalid

ANSWERING = (Phase.READY, Phase.DEGRADED)
SPANS = 200  # of one day, and of one revision


@dataclass(frozen=True)
class Span:
    """A time in which one revision answered; `until` is None while it still does."""

    number: int
    model: str
    since: dt.datetime
    until: dt.datetime | None


def keep(endpoint_id: UUID) -> None:
    """Begin and end the spans of an endpoint as its row says now. Call it in the transaction that changed the row."""
    row = Endpoint.objects.values_list("desired", "phase", "revision_id").get(pk=endpoint_id)
    answers = row[2] if row[0] == Desired.RUNNING and row[1] in ANSWERING else None
    open_now = Served.objects.filter(endpoint_id=endpoint_id, until__isnull=True).first()
    if (open_now.revision_id if open_now else None) == answers:
        return
    now = timezone.now()
    if open_now is not None:
        Served.objects.filter(pk=open_now.pk).update(until=max(now, open_now.since))
    if answers is not None:
        Served.objects.create(endpoint_id=endpoint_id, revision_id=answers, since=now)


def on(endpoint: Endpoint, day: dt.date) -> list[Span]:
    """Return which revisions answered on `day`, as the person's zone cuts days, oldest first (one query)."""
    found = _overlapping(endpoint, day, timezone.get_current_timezone())
    rows = found.select_related("revision__version__asset").order_by("since", "id")[:SPANS]
    return [Span(one.revision.number, _model(one.revision), one.since, one.until) for one in rows]


def answering_on(endpoint: Endpoint, text: str) -> QuerySet[Served]:
    """Return the spans of a day of UTC; raises Invalid `on` for what is no day."""
    day = day_of(text)
    if day is None:
        raise Invalid.field("on", f"on is {text[:20]!r}; write a day like 2027-03-12.")
    return _overlapping(endpoint, day, dt.UTC)


def _overlapping(endpoint: Endpoint, day: dt.date, zone: dt.tzinfo) -> QuerySet[Served]:
    begin = dt.datetime.combine(day, dt.time(), tzinfo=zone)
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), tzinfo=zone)
    return Served.objects.filter(Q(until__isnull=True) | Q(until__gt=begin), endpoint=endpoint, since__lt=end)


def of(revisions: Sequence[int]) -> dict[int, list[tuple[dt.datetime, dt.datetime | None]]]:
    """Return the spans of revisions by their ids, newest first (one query)."""
    found: dict[int, list[tuple[dt.datetime, dt.datetime | None]]] = {}
    rows = Served.objects.filter(revision__in=revisions).order_by("-since", "-id")
    for revision, since, until in rows.values_list("revision_id", "since", "until")[: SPANS * max(len(revisions), 1)]:
        found.setdefault(revision, []).append((since, until))
    return found


def day_of(text: str) -> dt.date | None:
    """Return the day that `text` names, None for what is no day that a calendar can go on from."""
    try:
        day = dt.date.fromisoformat(text.strip())
    except ValueError:
        return None
    return day if dt.date(1970, 1, 2) <= day <= dt.date(9990, 1, 1) else None


def sentence(day: str, spans: Iterable[Span]) -> str:
    """Return in one sentence what answered on a day."""
    names = list(dict.fromkeys(f"revision {span.number} ({span.model})" for span in spans))
    return f"On {day} calls were answered by {', then '.join(names)}." if names else f"On {day} nothing answered calls."


def document(spans: Sequence[tuple[dt.datetime, dt.datetime | None]]) -> dict[str, object]:
    """Return the times of a revision (newest first) as the API shows them; `served_to` is null while it answers."""
    return {
        "served_from": spans[-1][0] if spans else None,
        "served_to": spans[0][1] if spans else None,
        "served": [{"from": since, "to": until} for since, until in spans],
    }


def _model(revision: Revision) -> str:
    return f"{revision.version.asset.name} {revision.version.version}"
