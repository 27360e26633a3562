"""Share first: endpoints of the same version that run already and have room, before new accelerators are asked for.

Only own endpoints, and those whose owners offer them to others, are ever named; of the latter only what they offered to
show: name, environment, model, load, end.
"""

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery, Sum, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from approvals.planning.loads import Measured, measured
from approvals.policies import facts
from approvals.sizing import money
from catalog.models import HardwareProfile, Version
from endpoints import sharing
from endpoints.models import Endpoint, EngineCount, Phase
from projects.models import Project
from quotas import histogram
from quotas.models import UsageHour
from quotas.rollups import floor

COLUMNS = (  # of an endpoint, as far as it is offered
    *("name", "environment", "data_classification", "shareable", "upstreams", "ends_on", "project__slug"),
    *("revision__version", "revision__concurrency", "revision__profile__slug"),
    *("revision__profile__price_per_hour", "revision__profile__currency"),
)
MOST, READ = 3, 8  # that are offered; that are looked at
DAYS = 7  # of token metrics that count
FRESH = dt.timedelta(minutes=5)  # an engine that was not read for longer is gone
OWN, GRANTED, ASK = "own", "granted", "ask"
HOURS = 24
NOTHING_RUNS = "Nothing with room that this project may call, or ask for, runs this version now."


@dataclass
class Hour:
    """What one hour had; `latency`: its histograms in milliseconds, still as JSON."""

    calls: int = 0
    tokens: int = 0
    latency: list[str] = field(default_factory=list)

    @property
    def at_once(self) -> float:
        """Calls at the same time, on average. Little's law: the time that calls spend in an hour, by the hour."""
        return sum(histogram.total(json.loads(text)) for text in self.latency if text) / 1000 / 3600


@dataclass(frozen=True)
class Running:
    """An endpoint that answers calls. `seats`: parallel calls that it takes; `busy` and `waiting`: as its engines said
    last; `peak_calls` and `peak_tokens` (per second): on average of its busiest hour of the last days, which began at
    `peak_at`; `calls`: since the hour `since` began. `granted`: one of the asker's projects may call it already,
    `granted_here`: the one that asks.
    """

    endpoint: Endpoint
    own: bool
    granted: bool
    granted_here: bool
    seats: int
    busy: int
    waiting: int
    calls: int = 0
    since: dt.datetime | None = None
    peak_at: dt.datetime | None = None
    peak_tokens: float = 0.0
    peak_calls: float = 0.0
    measured: Measured | None = None

    @property
    def name(self) -> str:
        """What calls name it."""
        return f"{self.endpoint.project.slug}/{self.endpoint.name}"

    @property
    def most_tokens(self) -> float:
        """Tokens per second that its replicas can do, as measured; 0.0 where nobody measured."""
        revision = self.endpoint.revision
        if self.measured is None or revision is None:
            return 0.0
        return self.measured.rate(revision.concurrency) * len(self.endpoint.upstreams)

    @property
    def used(self) -> int:
        """Parallel calls that are taken: now or in its busiest hour, whichever is more."""
        by_tokens = self.seats * self.peak_tokens / self.most_tokens if self.most_tokens else 0.0
        return max(self.busy + self.waiting, math.ceil(round(max(self.peak_calls, by_tokens), 3)))

    @property
    def spare(self) -> int:
        """Parallel calls that it would still take."""
        return max(0, self.seats - self.used)

    def fits(self, classification: str) -> bool:
        """Whether data of a class may be sent there: it was approved for nothing more sensitive than its own."""
        return facts.LEVELS.get(classification, 0) <= facts.LEVELS.get(self.endpoint.data_classification, 0)


def running(
    version: Version, mine: Iterable[int], project: Project | None = None, *, besides: str = ""
) -> list[Running]:
    """Return what runs `version` and has room: endpoints of the projects `mine`, and those whose owners offer them; own
    ones first (two queries at most). `project`: the one that asks; `besides`: id of the endpoint that is promoted,
    which is no way to spare another environment one of its own.
    """
    own = list(mine)
    rows = _candidates(version, own, project)
    now = timezone.now()
    hours = _hours([str(item.pk) for item in rows], now) if rows else {}
    since = floor(now - dt.timedelta(hours=1), "hour")
    found = [_running(item, hours.get(str(item.pk), {}), since, version, own=item.project_id in own) for item in rows]
    free = [item for item in found if item.spare > 0 and str(item.endpoint.pk) != besides]
    return sorted(free, key=lambda item: (not item.own, not item.granted, item.endpoint.project.slug, item.name))


def _candidates(version: Version, mine: list[int], project: Project | None) -> list[Any]:
    """Return what runs `version` (one query), with `granted` and `granted_here` as in Running, and `busy` and `queued`
    as its engines said last.
    """
    counts = EngineCount.objects.filter(endpoint=OuterRef("pk"), at__gte=timezone.now() - FRESH).order_by()
    engines = counts.values("endpoint")
    shares = sharing.living_shares().filter(endpoint=OuterRef("pk"))
    granted = {"granted": Exists(shares.filter(project__in=mine))}
    if project is not None and mine != [project.pk]:
        granted["granted_here"] = Exists(shares.filter(project=project.pk))
    own = Q(project__in=mine, phase=Phase.READY)
    rows: list[Any] = list(
        Endpoint.objects.filter(own | sharing.offered(), revision__version=version)
        .select_related("project", "revision__profile")
        .only(*COLUMNS)
        .annotate(
            **granted,
            busy=Subquery(engines.annotate(sum=Sum("running")).values("sum")),
            queued=Subquery(engines.annotate(sum=Sum("waiting")).values("sum")),
        )
        .order_by("project__slug", "name")[:READ]
    )
    for item in rows:
        if "granted_here" not in granted:
            item.granted_here = item.granted and project is not None
        if item.revision is not None:
            item.revision.version = version
    return rows


def _hours(identifiers: Sequence[str], now: dt.datetime) -> dict[str, dict[dt.datetime, Hour]]:
    """Return what each hour of the last days had, by endpoint id (one query). The latencies stay text until it is known
    which hour was the busiest one.
    """
    rows = UsageHour.objects.filter(endpoint_id__in=identifiers, start__gte=now - dt.timedelta(days=DAYS)).order_by()
    found: dict[str, dict[dt.datetime, Hour]] = {}
    columns = ("endpoint_id", "start", "requests", "input_tokens", "output_tokens", "text")
    for name, start, calls, into, out, text in rows.annotate(text=Cast("latency", TextField())).values_list(*columns):
        hour = found.setdefault(name, {}).setdefault(start, Hour())
        hour.calls, hour.tokens = hour.calls + calls, hour.tokens + into + out
        hour.latency.append(text)
    return found


def _running(
    item: Any, hours: Mapping[dt.datetime, Hour], since: dt.datetime, version: Version, *, own: bool
) -> Running:
    busiest = max(hours, key=lambda start: (hours[start].tokens, hours[start].calls, start), default=None)
    peak, revision = hours[busiest] if busiest else Hour(), item.revision
    return Running(
        endpoint=item,
        own=own,
        granted=item.granted,
        granted_here=item.granted_here,
        seats=len(item.upstreams) * revision.concurrency,
        busy=round(item.busy or 0),
        waiting=round(item.queued or 0),
        calls=sum(hour.calls for start, hour in hours.items() if start >= since),
        since=since,
        peak_at=busiest,
        peak_tokens=peak.tokens / 3600,
        peak_calls=peak.at_once,
        measured=measured(version, revision.profile, revision.concurrency),
    )


# --- In a plan --------------------------------------------------------------------------------------------------------


def shared(
    found: Iterable[Running], project: Project, profile: HardwareProfile, *, replicas: int, calls: int,
    classification: str, ends_on: dt.date | None,
) -> dict[str, Any]:  # fmt: skip
    """Return what could be used instead of a new endpoint of `project`, with the use from which an own one is cheaper.

    An endpoint of another project stands in it only where its owner offers it. Others read the plan, and later:
    approvals/planning/reading.py.
    """
    rows: list[dict[str, Any]] = []
    for item in found:
        way = _way(item, project)
        if way and item.fits(classification) and len(rows) < MOST:
            asked = {"kind": "access", "project": project.slug, "endpoint": str(item.endpoint.pk)}
            asked |= {"data_classification": classification} if classification else {}
            asked |= {"ends_on": ends_on.isoformat()} if ends_on else {}
            rows.append(
                {
                    "endpoint": str(item.endpoint.pk),
                    "name": item.name,
                    "environment": item.endpoint.environment,
                    "way": way,
                    "ends_on": item.endpoint.ends_on.isoformat() if item.endpoint.ends_on else None,
                    "seats": item.seats,
                    "spare": item.spare,
                    "sentence": room_words(item),
                    "request": asked if way == ASK else None,
                    "break_even": break_even(item, profile, replicas=replicas, calls=calls),
                }
            )
    return offered(rows)


def offered(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the offers of a plan with how many there are, in a sentence."""
    many = f"{len(rows)} endpoint{'' if len(rows) == 1 else 's'} that {'runs' if len(rows) == 1 else 'run'}"
    sentence = f"{many} this version could be shared instead." if rows else NOTHING_RUNS
    return {"offers": rows, "sentence": sentence}


def _way(item: Running, project: Project) -> str:
    if item.endpoint.project_id == project.pk:
        return OWN
    if not item.endpoint.shareable:
        return ""
    return GRANTED if item.granted_here else ASK


def room_words(item: Running) -> str:
    """Return how busy it was and how much room it has, with where the numbers come from."""
    most = f"{item.used:,} of {item.seats:,} parallel calls are taken"
    if item.peak_at is None:
        return f"{most}; nobody called it in the last {DAYS} days. Room for about {item.spare:,} more."
    rate = f"{item.peak_tokens:,.4g} tokens/s"
    can = f" of the {item.most_tokens:,.4g} that were measured" if item.most_tokens else ""
    return f"{most}: its busiest hour of the last {DAYS} days had {rate}{can}. Room for about {item.spare:,} more."


def break_even(item: Running, profile: HardwareProfile, *, replicas: int, calls: int) -> dict[str, Any]:
    """Return from how many hours a day an own endpoint costs less than the share of the running one that those calls
    take: its price per hour × the part of its parallel calls that is taken × the hours in use.
    """
    theirs = item.endpoint.revision.profile if item.endpoint.revision else profile
    taken, number = min(replicas * calls, item.seats), len(item.endpoint.upstreams)
    own_day = profile.price_per_hour * replicas * HOURS
    share_hour = theirs.price_per_hour * number * taken / item.seats if item.seats else Decimal(0)
    even: dict[str, Any] = {
        "hours_per_day": None,
        "tokens_per_day": None,
        "currency": profile.currency,
        "own_per_day": money(own_day),
        "share_per_hour": money(share_hour),
        "inputs": (
            f"own: {replicas} × {money(profile.price_per_hour)} × {HOURS} h; share: {number} × "
            f"{money(theirs.price_per_hour)} × {taken:,} of {item.seats:,} calls"
        ),
    }
    if profile.currency != theirs.currency:
        return even | {"sentence": f"Not comparable: one is priced in {profile.currency}, one in {theirs.currency}."}
    if share_hour * HOURS <= own_day:
        return even | {"sentence": "Sharing costs less, or the same, however many hours a day it is used."}
    hours = own_day / share_hour
    tokens = int(hours * 3600 * Decimal(item.most_tokens) * taken / item.seats) or None
    said = f", or {tokens:,} tokens a day" if tokens else ""
    return even | {
        "hours_per_day": float(round(hours, 1)),
        "tokens_per_day": tokens,
        "sentence": f"An own endpoint costs less from {round(hours, 1):f} h of full use a day{said}.",
    }
