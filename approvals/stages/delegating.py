"""Letting somebody else decide for some time: made, ended, and shown.

A delegation hands on what its delegator may decide by own roles, never what was handed to them.
"""

import datetime as dt
import zoneinfo

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from approvals.models import Delegation, Request
from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.http import clean_text
from projects.models import GOVERNANCE_LEADS, User
from projects.notify.services import tell
from projects.permissions import can_anywhere, visible
from projects.principal import Principal

MAX_REASON = 300
MAX_DAYS, MAX_AHEAD = 90, 365  # how long one lasts; how early it is arranged
MOST = 20  # that one person has given and that are not over


def delegate(by: Principal, *, to: str, ends_on: dt.date, reason: str, starts_on: dt.date | None = None) -> Delegation:
    """Let the person with the user name `to` decide for `by`, from `starts_on` (None: now) to the end of `ends_on`,
    days in the zone of `by`.

    Raises Forbidden for whoever decides nothing by own roles, Invalid for dates and people that will not do, and
    Conflict `overlapping` and `circular`.
    """
    if by.person.is_service or not can_anywhere(by, "decide", Request):
        raise Forbidden("You decide no requests by a role of your own, so there is nothing that you could hand on.")
    if by.project_id is not None:
        raise Forbidden("The token is bound to one project; a delegation holds for all that you decide.")
    text = clean_text(reason, field="reason", low=3, high=MAX_REASON)
    starts_at, ends_at = _period(by.person, starts_on, ends_on)
    other = _person(by, to)
    with transaction.atomic():
        # Two that are made at the same instant queue here, so that no circle closes between them.
        list(User.objects.select_for_update().filter(pk__in=(by.person.pk, other.pk)).order_by("pk"))
        _require_free(by.person, other, starts_at, ends_at)
        made = Delegation.objects.create(
            delegator=by.person, delegate=other, starts_at=starts_at, ends_at=ends_at, reason=text
        )
        record("approvals.delegate", by=by, obj=made, after=_facts(made), reason=text)
        _tell(made, other, f"You decide for {by.name} until {_day(made)}.", text, "made")
    return made


def revoke(by: Principal, delegation: Delegation) -> Delegation:
    """End a delegation now: its delegator, its delegate, or a governance lead. Raises Forbidden for others who may see
    it, and Conflict `ended_already`.
    """
    if by.person.pk not in (delegation.delegator_id, delegation.delegate_id) and not leads(by):
        raise Forbidden("Only the two people of a delegation, or a governance lead, may end it.")
    with transaction.atomic():
        current = Delegation.objects.select_for_update(of=("self",)).get(pk=delegation.pk)
        if current.revoked_at is not None or current.ends_at <= timezone.now():
            raise Conflict("This delegation is over already.", code="ended_already")
        _end(by, current, "")
    return current


def end_all(by: Principal, person: User, why: str) -> int:
    """End every delegation that `person` gave or got, since they leave; return how many. Part of the caller's
    transaction.
    """
    rows = list(living(person).select_related("delegator", "delegate"))
    for one in rows:
        _end(by, one, why)
    return len(rows)


def living(person: User) -> QuerySet[Delegation]:
    """Return the delegations that `person` gave or got and that are not over, those that begin later included."""
    mine = Q(delegator=person) | Q(delegate=person)
    return Delegation.objects.filter(mine, revoked_at__isnull=True, ends_at__gt=timezone.now())


def holding() -> QuerySet[Delegation]:
    """Return the delegations that count now: as `standing.lenders`, for everybody at once."""
    now = timezone.now()
    rows = Delegation.objects.filter(revoked_at__isnull=True, starts_at__lte=now, ends_at__gt=now)
    return rows.filter(delegator__is_active=True, delegator__is_service=False, delegate__is_active=True)


def seen(by: Principal) -> QuerySet[Delegation]:
    """Return the delegations that `by` may see: the own ones; governance leads and auditors all."""
    return visible(by, Delegation.objects.select_related("delegator", "delegate"))


def get(by: Principal, delegation_id: int) -> Delegation:
    """Return a delegation that `by` may see; raises NotFound."""
    found: Delegation | None = seen(by).filter(pk=delegation_id).first()
    if found is None:
        raise NotFound(f"There is no delegation {delegation_id}, or you may not see it.")
    return found


def leads(by: Principal) -> bool:
    """Whether `by` looks after everybody's delegations."""
    return GOVERNANCE_LEADS in by.groups and by.project_id is None


def state(one: Delegation, now: dt.datetime) -> str:
    """Return where a delegation stands: planned, active, revoked or ended."""
    if one.revoked_at is not None:
        return "revoked"
    if one.ends_at <= now:
        return "ended"
    return "active" if one.starts_at <= now else "planned"


def in_state(rows: QuerySet[Delegation], wanted: str, now: dt.datetime) -> QuerySet[Delegation]:
    """Return those of `rows` that stand where `state` says."""
    if wanted == "revoked":
        return rows.filter(revoked_at__isnull=False)
    kept = rows.filter(revoked_at__isnull=True)
    if wanted == "ended":
        return kept.filter(ends_at__lte=now)
    return kept.filter(ends_at__gt=now, **{"starts_at__lte" if wanted == "active" else "starts_at__gt": now})


def _end(by: Principal, one: Delegation, why: str) -> None:
    Delegation.objects.filter(pk=one.pk).update(revoked_at=timezone.now())
    one.refresh_from_db()
    record("approvals.revoke_delegation", by=by, obj=one, before=_facts(one), reason=why)
    for person in (one.delegator, one.delegate):
        if person.pk != by.person.pk:
            words = f"{one.delegate.username} decides no longer for {one.delegator.username}."
            _tell(one, person, words, why, "ended")


def _person(by: Principal, username: str) -> User:
    name = clean_text(username, field="delegate", low=1, high=150)
    found = User.objects.filter(username=name, is_active=True, is_service=False).first()
    if found is None:
        raise Invalid.field("delegate", f"delegate is {name[:80]!r}, which is no active person. Choose a colleague.")
    if found.pk == by.person.pk:
        raise Invalid.field("delegate", "delegate is yourself. Choose a colleague who decides while you are away.")
    return found


def _period(person: User, starts_on: dt.date | None, ends_on: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """Return the moments between which it holds; raises Invalid where the dates make no sense."""
    zone, now = zoneinfo.ZoneInfo(person.zone), timezone.now()
    today = now.astimezone(zone).date()
    first = starts_on or today
    if ends_on < today:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}, which has passed. Choose today or a later day.")
    if first < today:
        raise Invalid.field("starts_on", f"starts_on is {first}, which has passed. Choose today or a later day.")
    if ends_on < first:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}, before starts_on, {first}. Choose a later day.")
    if (ends_on - first).days >= MAX_DAYS:
        last = first + dt.timedelta(days=MAX_DAYS - 1)
        raise Invalid.field(
            "ends_on", f"ends_on is {ends_on}; a delegation lasts at most {MAX_DAYS} days. Choose {last} or earlier."
        )
    if (first - today).days > MAX_AHEAD:
        last = today + dt.timedelta(days=MAX_AHEAD)
        raise Invalid.field("starts_on", f"starts_on is {first}, more than a year ahead. Choose {last} or earlier.")
    begin = now if first == today else dt.datetime.combine(first, dt.time(), zone)
    return begin, dt.datetime.combine(ends_on + dt.timedelta(days=1), dt.time(), zone)


def _require_free(person: User, other: User, starts_at: dt.datetime, ends_at: dt.datetime) -> None:
    """Raise Conflict when the same two have one in that time already, or when a circle would close."""
    same_time = Delegation.objects.filter(revoked_at__isnull=True, starts_at__lt=ends_at, ends_at__gt=starts_at)
    pairs = list(same_time.values_list("delegator_id", "delegate_id"))
    if (person.pk, other.pk) in pairs:
        raise Conflict(
            f"{other.username} decides for you in a part of that time already. End that delegation first, or choose "
            "other days.",
            code="overlapping",
        )
    if sum(one == person.pk for one, _ in pairs) >= MOST:
        raise Conflict(f"You have {MOST} delegations in that time. End one first.", code="too_many")
    reached, found = {other.pk}, {other.pk}
    while found:
        found = {to for one, to in pairs if one in found} - reached
        reached |= found
    if person.pk in reached:
        raise Conflict(
            f"{other.username}, or somebody who decides for them, lets you decide in that time: it would be a circle. "
            "Choose somebody else.",
            code="circular",
        )


def _facts(one: Delegation) -> dict[str, str]:
    return {
        "delegator": one.delegator.username,
        "delegate": one.delegate.username,
        "starts_at": one.starts_at.isoformat(timespec="seconds"),
        "ends_at": one.ends_at.isoformat(timespec="seconds"),
    }


def _day(one: Delegation) -> str:
    zone = zoneinfo.ZoneInfo(one.delegate.zone)
    return (one.ends_at.astimezone(zone) - dt.timedelta(seconds=1)).date().isoformat()


def _tell(one: Delegation, person: User, title: str, text: str, once: str) -> None:
    tell(
        "delegation.changed", [person], title=title, text=text, url=reverse("delegation_list"),
        about=("delegation", str(one.pk)), once=f"delegation:{one.pk}:{once}",
        data={"delegation": one.pk, "delegator": one.delegator.username, "delegate": one.delegate.username},
    )  # fmt: skip
