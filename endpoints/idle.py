"""What could be given back: endpoints that hold accelerators and have used no tokens for settings.IDLE_DAYS.

Use is known by the day (UTC), so a day on which tokens were used counts as used to its end: nothing is called idle
earlier than the ledger proves. An endpoint that never used any counts from when it was ready, or from when it got its
accelerators, whichever is later: a resumed one begins anew.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from django.urls import reverse
from django.utils import timezone

from audit.services import record
from endpoints.models import Desired, Endpoint, Event, Phase
from endpoints.seats import HOLDER_KIND, HOLDER_KINDS
from portal.errors import Conflict
from projects.models import Project, User
from projects.notify.audience import owners
from projects.notify.services import tell
from projects.permissions import require, visible
from projects.principal import Principal
from quotas.models import Reservation, ReservationState, UsageDay
from quotas.rollups import floor

SUGGESTED = "suggested"  # code of the event that a suggestion leaves
AGAIN = dt.timedelta(days=7)  # an owner is asked once in this time
DAY = dt.timedelta(days=1)
RUNNING = {Phase.READY, Phase.DEGRADED}


@dataclass(frozen=True)
class Idle:
    """An endpoint that holds accelerators and does not use them. `never`: since it holds them, it used no token."""

    endpoint: Endpoint
    reservation: Reservation
    since: dt.datetime
    never: bool
    suggested_at: dt.datetime | None = None

    @property
    def days(self) -> int:
        """Whole days without a token."""
        return (timezone.now() - self.since) // DAY

    @property
    def per_month(self) -> Decimal | None:
        """The list price of what it holds, per month of settings.HOURS_PER_MONTH; None where none was noted."""
        price = self.reservation.price_per_hour
        return None if price is None else price * self.reservation.amount * settings.HOURS_PER_MONTH

    @property
    def sentence(self) -> str:
        """Why it counts as idle."""
        if self.never:
            return f"No token used in the {self.days} days since it was ready."
        last = self.since - DAY  # the day itself is UTC, as the ledger is
        return f"No token used for {self.days} days, since {last.day} {last:%b %Y}."


def holding(principal: Principal, project: Project | None = None) -> list[Reservation]:
    """Return what endpoints of visible projects hold, with pool and project (one query)."""
    held = Reservation.objects.filter(holder_kind=HOLDER_KIND, state=ReservationState.HELD)
    if project is not None:
        held = held.filter(project=project)
    return list(visible(principal, held).select_related("pool", "project").order_by("id"))


def holders(reservations: Iterable[Reservation]) -> dict[str, Endpoint]:
    """Return the endpoints of `reservations` by id, with what pages show of them (one query)."""
    wanted = {one.holder_id for one in reservations if one.holder_kind in HOLDER_KINDS and _is_id(one.holder_id)}
    related = ("project", "cluster", "contact", "created_by", "revision__version__asset", "revision__profile")
    return {str(row.pk): row for row in Endpoint.objects.filter(pk__in=wanted).select_related(*related)}


def find(principal: Principal, project: Project | None = None) -> list[Idle]:
    """Return the idle endpoints that `principal` may see, the longest idle first (at most four queries)."""
    held = holding(principal, project)
    return judge(held, holders(held)) if held else []


def judge(reservations: Iterable[Reservation], endpoints: Mapping[str, Endpoint]) -> list[Idle]:
    """Return those of `endpoints` that hold one of `reservations` and are idle, the longest first.

    Only what runs counts: what waits, starts or has failed is not idle, it is not there yet. One query, and one more
    for what was suggested before.
    """
    now = timezone.now()
    long_ago = now - settings.IDLE_DAYS * DAY
    candidates = {
        one.holder_id: one
        for one in reservations
        if (one.holder_kind, one.state) == (HOLDER_KIND, ReservationState.HELD)
        and _begin(one, endpoints.get(one.holder_id)) <= long_ago
        and _runs(endpoints[one.holder_id])
    }
    if not candidates:
        return []
    used = _last_use(candidates)
    found = []
    for holder_id, reservation in candidates.items():
        begin = _begin(reservation, endpoints[holder_id])
        ended = used[holder_id] + DAY if holder_id in used else begin
        since = max(begin, ended)
        if since <= long_ago:
            found.append(Idle(endpoints[holder_id], reservation, since, never=ended <= begin))
    return _with_suggestions(sorted(found, key=lambda one: (one.since, one.reservation.pk)), now)


def suggest(by: Principal, endpoint: Endpoint) -> Endpoint:
    """Ask the contact and the owners of an idle endpoint to suspend it. They decide: nothing else changes.

    Raises Forbidden, NotFound, and Conflict: `not_idle`, `already_suggested` within seven days, `nobody_to_ask`.
    """
    require(by, "suggest", endpoint)
    with transaction.atomic():
        row = Endpoint.objects.select_for_update().get(pk=endpoint.pk)  # two engineers at once ask once
        idle = _of(row)
        if idle is None:
            raise Conflict(
                f"{row.name} is not idle: it used tokens in the last {settings.IDLE_DAYS} days, or does not hold "
                "accelerators while it runs.",
                code="not_idle",
            )
        row = idle.endpoint
        if idle.suggested_at is not None:
            raise Conflict(
                f"The owners of {row.name} were asked on {idle.suggested_at:%d %b}; one question in "
                f"{AGAIN.days} days is enough.",
                code="already_suggested",
            )
        people = audience(row)
        if not people:
            raise Conflict(
                f"{row.name} has no active contact or owner. Make somebody owner of {row.project.slug} first.",
                code="nobody_to_ask",
            )
        amount = _accelerators(idle.reservation.amount)
        sentence = f"{by.name} asks to suspend it: it holds {amount} and used no token for {idle.days} days."
        Event.objects.create(endpoint=row, code=SUGGESTED, phase=row.phase, sentence=sentence)
        after = {"suggest": "suspend", "idle_since": idle.since, "accelerators": idle.reservation.amount}
        record("endpoints.suggest", by=by, obj=row, project=row.project.slug, after=after)
        _tell(by, idle, people)
    return row


def audience(row: Endpoint) -> list[User]:
    """Return the contact of an endpoint, or else who asked for it, and the owners of its project; each once."""
    contact = row.contact or row.created_by
    people = [contact] if contact is not None and contact.is_active and not contact.is_service else []
    return list({person.pk: person for person in [*people, *owners(row.project)]}.values())


def _tell(by: Principal, idle: Idle, people: Iterable[User]) -> None:
    row, held = idle.endpoint, idle.reservation
    week = timezone.now().isocalendar()
    tell(
        "endpoint.idle",
        people,
        title=f"Could {row.project.slug}/{row.name} be suspended?",
        text=(
            f"{idle.sentence} It holds {_accelerators(held.amount)} of {held.pool.slug}. Suspending gives that back to "
            f"whoever waits; nothing is lost, and Resume starts it again. {by.name} asks."
        ),
        url=reverse("endpoint_detail", args=[row.pk]),
        project=row.project,
        about=("endpoint", str(row.pk)),
        once=f"idle:{row.pk}:{week.year}-{week.week}",
        data={
            "endpoint": str(row.pk),
            "name": row.name,
            "project": row.project.slug,
            "pool": held.pool.slug,
            "accelerators": held.amount,
            "idle_since": idle.since.isoformat(),
            "suggested": "suspend",
        },
    )


def _of(row: Endpoint) -> Idle | None:
    held = Reservation.objects.filter(holder_kind=HOLDER_KIND, holder_id=str(row.pk), state=ReservationState.HELD)
    reservations = list(held.select_related("pool", "project"))
    found = judge(reservations, holders(reservations))
    return found[0] if found else None


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False  # `quotas` lets a holder be called anything


def _runs(row: Endpoint) -> bool:
    return row.desired == Desired.RUNNING and row.phase in RUNNING


def _begin(reservation: Reservation, row: Endpoint | None) -> dt.datetime:
    """Return from when on it could have been used; far away where that is not known."""
    if row is None or row.ready_at is None or reservation.held_at is None:
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    return max(row.ready_at, reservation.held_at)


def _last_use(held: Mapping[str, Reservation]) -> dict[str, dt.datetime]:
    """Return the start of the last day with tokens by endpoint id, as far back as `held` was held."""
    first = min(one.held_at for one in held.values() if one.held_at is not None)
    some = Q(input_tokens__gt=0) | Q(output_tokens__gt=0)
    days = UsageDay.objects.filter(some, endpoint_id__in=held, start__gte=floor(first, "day"))
    return dict(days.order_by().values_list("endpoint_id").annotate(last=Max("start")))


def _with_suggestions(found: list[Idle], now: dt.datetime) -> list[Idle]:
    if not found:
        return []
    recent = Event.objects.filter(
        endpoint__in=[one.endpoint.pk for one in found], code=SUGGESTED, at__gt=now - AGAIN
    ).order_by()
    asked = dict(recent.values_list("endpoint_id").annotate(last=Max("at")))
    return [Idle(one.endpoint, one.reservation, one.since, one.never, asked.get(one.endpoint.pk)) for one in found]


def _accelerators(amount: int) -> str:
    return f"{amount} accelerator{'s' if amount != 1 else ''}"
