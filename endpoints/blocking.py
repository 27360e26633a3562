"""Blocking a version that is in use: who is affected, counted before it happens, and what becomes of what runs.

The block itself is the catalog's and counts at once: from then on nothing of the version is started (refusals.py).
Endpoints on it go on, are suspended under a hold at once, or are suspended when a time of grace has passed. `settle`,
run by the sweep, ends the grace, and takes the holds back when the version is let in again or the endpoint has another.
"""

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit.services import Actor, record, system
from catalog import services as catalog
from catalog.mcp.granted import living_grants
from catalog.models import ServerGrant, Version, VersionState
from endpoints.changes import BLOCKED as HOLDER
from endpoints.changes import RESUMED, SUSPENDING, contacts, fresh, want
from endpoints.keys import TARGET_KIND
from endpoints.models import Desired, Endpoint, Phase
from endpoints.rollouts import start_again
from endpoints.timeline import note
from portal.errors import Conflict, GatehouseError, Invalid
from portal.http import clean_text
from projects.models import ApiKey, KeyState, KeyTarget, Project, User
from projects.notify.audience import governance_leads, owners, platform_engineers
from projects.notify.services import tell
from projects.permissions import require
from projects.principal import Principal

ACTOR = system("block")
SUSPEND = ("none", "now", "later")
MOST_HOURS = 30 * 24  # of grace
SHOWN, BATCH = 200, 500
# From these states on a version may be run; the others are not let in, or not any more.
USABLE = (VersionState.APPROVED, VersionState.DEPRECATED, VersionState.RETIRED)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Affected:
    """What hangs on a version: its endpoints, their projects, the keys that reach them, grants of an MCP server."""

    endpoints: tuple[Endpoint, ...]
    projects: tuple[Project, ...]
    keys: int
    grants: tuple[ServerGrant, ...]

    @property
    def running(self) -> int:
        """How many endpoints run, or are to run."""
        return sum(row.desired == Desired.RUNNING for row in self.endpoints)

    def counts(self) -> dict[str, int]:
        """Return the numbers."""
        return {
            "endpoints": len(self.endpoints),
            "running": self.running,
            "suspended": len(self.endpoints) - self.running,
            "projects": len(self.projects),
            "keys": self.keys,
            "grants": len(self.grants),
        }

    def json(self) -> dict[str, Any]:
        """Return numbers and endpoints as the API shows them."""
        items = [
            {
                "id": row.pk,
                "name": row.name,
                "project": row.project.slug,
                "environment": row.environment,
                "phase": row.phase,
                "suspend_at": row.suspend_at,
            }
            for row in self.endpoints[:SHOWN]
        ]
        return {**self.counts(), "items": items}


def affected(version: Version) -> Affected:
    """Return what a block of `version` concerns (five queries)."""
    rows = tuple(_on(version).select_related("project", "contact", "created_by").order_by("project__slug", "name"))
    grants = tuple(living_grants().filter(version=version).select_related("project").order_by("project__slug"))
    projects = {row.project_id: row.project for row in rows} | {grant.project_id: grant.project for grant in grants}
    return Affected(
        rows, tuple(sorted(projects.values(), key=lambda one: one.slug)), _keys_of(rows).distinct().count(), grants
    )


def _on(version: Version) -> QuerySet[Endpoint]:
    """Return the living endpoints that run `version`, or are about to, or would go back to it."""
    names = ("revision", "next_revision", "fallback")
    uses = Q(*((f"{name}__version", version) for name in names), _connector=Q.OR)
    return Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED).filter(uses)


def _keys_of(rows: Iterable[Endpoint]) -> QuerySet[ApiKey]:
    """Return the living keys that reach some of `rows`: those that name one, and those for the whole project."""
    ids, projects = [str(row.pk) for row in rows], {row.project_id for row in rows}
    named = KeyTarget.objects.filter(key=OuterRef("pk"), kind=TARGET_KIND, target_id__in=ids)
    whole = Q(project__in=projects) & ~Exists(KeyTarget.objects.filter(key=OuterRef("pk")))
    living = ApiKey.objects.filter(state__in=(KeyState.ACTIVE, KeyState.ROTATING), expires_at__gt=timezone.now())
    return living.filter(Exists(named) | whole) if ids else living.none()


def block(
    by: Principal, version: Version, reason: str, *, suspend: str = "none", grace_hours: int | None = None
) -> Affected:
    """Block a version at once; return what it concerned. Endpoints on it go on (`suspend` none), are suspended under a
    hold (now), or are when `grace_hours` have passed (later).

    Of a version that is blocked already only what is to become of its endpoints changes. Raises NotFound, Forbidden,
    Invalid, and Conflict when it is blocked already and nothing else is asked for.
    """
    require(by, "block", version)
    hours = _grace(suspend, grace_hours)
    text = clean_text(reason, field="reason", low=3, high=300)
    with transaction.atomic():
        state = Version.objects.select_for_update().values_list("state", flat=True).get(pk=version.pk)
        if state != VersionState.BLOCKED or suspend == "none":
            catalog.block(by, version, text)
        found = affected(version)
        record(
            "endpoints.block", by=by, obj=version, reason=text,
            after={
                "asset": version.asset.slug, "version": version.version, "suspend": suspend,
                "grace_hours": hours or None, **found.counts(),
            },
        )  # fmt: skip
        until = timezone.now() + dt.timedelta(hours=hours) if suspend == "later" else None
        for row in found.endpoints:
            if row.revision_id is not None and row.desired == Desired.RUNNING:
                _stop(by, row, version, text, suspend, until)
        _tell(version, found, text, suspend, until)
    version.refresh_from_db(fields=["state", "state_reason"])
    return found


def _grace(suspend: str, hours: int | None) -> int:
    if suspend not in SUSPEND:
        raise Invalid.field("suspend", f"suspend is {suspend[:20]!r}; choose one of {', '.join(SUSPEND)}.")
    if suspend != "later":
        if hours is not None:
            raise Invalid.field("grace_hours", "grace_hours goes with suspend later. Leave it out, or choose later.")
        return 0
    if hours is None or isinstance(hours, bool) or not 1 <= hours <= MOST_HOURS:
        said = "is missing" if hours is None else f"is {hours}"
        raise Invalid.field("grace_hours", f"grace_hours {said}; it must lie between 1 and {MOST_HOURS}.")
    return hours


def _stop(by: Actor, row: Endpoint, version: Version, reason: str, suspend: str, until: dt.datetime | None) -> None:
    """Do to one endpoint what was chosen, if it runs this version now."""
    runs = Endpoint.objects.filter(pk=row.pk, desired=Desired.RUNNING, revision__version=version)
    if suspend == "now":
        _hold(by, row, version, reason)
    elif until is not None and runs.update(suspend_at=until):
        when = f"{until:%Y-%m-%d %H:%M} UTC"
        said = f"{version.asset.name} {version.version} is blocked: {reason} It is suspended on {when}."
        note(row, "suspension_announced", said)
        record(
            "endpoints.announce_suspension", by=by, obj=row, project=row.project.slug,
            before={"suspend_at": row.suspend_at}, after={"suspend_at": until}, reason=reason,
        )  # fmt: skip


def _hold(by: Actor, row: Endpoint, version: Version, reason: str) -> bool:
    """Suspend an endpoint under a hold; False when it is not running this version any more, or suspended already."""
    why = f"{version.asset.name} {version.version} is blocked: {reason}"
    why = why if len(why) <= 300 else f"{why[:299]}…"
    held = {
        "hold_by": HOLDER, "hold_since": timezone.now(), "hold_resumes": True, "hold_reason": why, "suspend_at": None,
    }  # fmt: skip
    try:
        want(
            by, "suspend", row, Desired.SUSPENDED, SUSPENDING, source=Desired.RUNNING, reason=why, event=why,
            also=held, hold_by="", revision__version=version,
        )  # fmt: skip
    except Conflict:
        return False
    return True


def _tell(version: Version, found: Affected, reason: str, suspend: str, until: dt.datetime | None) -> None:
    """Tell everybody concerned, once a project: owners, contacts and people with keys; and once the stewards."""
    name = f"{version.asset.name} {version.version}"
    url = f"{reverse('catalog_detail', args=[version.asset.slug])}?version={version.version}"
    stamp = timezone.now().isoformat()
    what = {
        "none": "What runs goes on, and is not started again.",
        "now": "What runs on it is suspended.",
        "later": f"What runs on it is suspended on {until:%Y-%m-%d %H:%M} UTC." if until else "",
    }[suspend]
    data = {"asset": version.asset.slug, "version": version.version, "suspend": suspend, "suspend_at": until}
    for project in found.projects:
        rows = [row for row in found.endpoints if row.project_id == project.pk]
        names = ", ".join(row.name for row in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        people = [*owners(project), *(one for row in rows for one in contacts(row)), *_callers(rows)]
        uses = f"{project.slug} runs it: {names}." if rows else f"{project.slug} was granted it."
        tell(
            "asset.blocked", people, title=f"{name} is blocked. {uses}", text=f"{reason} {what}", url=url,
            project=project, about=("asset", version.asset.slug), once=f"blocked:{version.pk}:{stamp}:{project.pk}",
            data=data | {"endpoints": [row.name for row in rows[:SHOWN]]},
        )  # fmt: skip
    count = len(found.endpoints)
    tell(
        "asset.blocked", [*platform_engineers(), *governance_leads()],
        title=f"{name} is blocked; {count} endpoint{'s' if count != 1 else ''} on it.", text=f"{reason} {what}",
        url=url, about=("asset", version.asset.slug), once=f"blocked:{version.pk}:{stamp}", data=data,
    )  # fmt: skip


def _callers(rows: list[Endpoint]) -> QuerySet[User]:
    return User.objects.filter(is_active=True, pk__in=_keys_of(rows).values("person")).order_by("pk")


# --- The sweep --------------------------------------------------------------------------------------------------------


def settle() -> int:
    """End what a block announced and take back what it holds, and return how many endpoints were touched.

    May run twice, at the same time as itself, or after a week away: every effect is a compare-and-set on the row.
    """
    now = timezone.now()
    steps = (
        (_release, Q(hold_by=HOLDER, revision__version__state__in=USABLE)),
        (_calm, Q(suspend_at__isnull=False, revision__version__state__in=USABLE) | Q(suspend_at__isnull=False) & ~Q(
            desired=Desired.RUNNING)),
        (_end_grace, ~Q(revision__version__state__in=USABLE) & Q(suspend_at__lte=now, desired=Desired.RUNNING)),
    )  # fmt: skip
    count = 0
    for step, due in steps:
        rows = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED).filter(due)
        for pk in rows.order_by("pk").values_list("pk", flat=True)[:BATCH]:
            count += _one(step, pk)
    return count


def _one(step: Any, pk: UUID) -> int:
    try:
        with transaction.atomic():
            return int(step(fresh(Endpoint(pk=pk))))
    except (GatehouseError, Endpoint.DoesNotExist) as error:  # somebody else was faster, or must act first
        log.warning("endpoints.settle_failed endpoint=%s error=%s", pk, error)
        return 0


def _end_grace(row: Endpoint) -> bool:
    if row.revision is None or row.hold_by:
        return False
    version = row.revision.version
    if not _hold(ACTOR, row, version, version.state_reason or "Its time of grace has passed."):
        return False
    tell_row = f"{row.project.slug}/{row.name}"
    tell(
        "endpoint.suspended", [*contacts(row), *owners(row.project)],
        title=f"{tell_row} is suspended: its version is blocked.", text="Ask for a revision with another version.",
        url=reverse("endpoint_detail", args=[row.pk]), project=row.project, about=("endpoint", str(row.pk)),
        once=f"grace:{row.pk}:{row.suspend_at}", data={"endpoint": row.name, "model": tell_row},
    )  # fmt: skip
    return True


def _calm(row: Endpoint) -> bool:
    """The block is lifted, the endpoint has another version, or it is suspended already: nothing is due any more."""
    if not Endpoint.objects.filter(pk=row.pk, suspend_at=row.suspend_at).update(suspend_at=None):
        return False
    note(row, "suspension_cancelled", "It is not going to be suspended any more.")
    record(
        "endpoints.cancel_suspension", by=ACTOR, obj=row, project=row.project.slug,
        before={"suspend_at": row.suspend_at}, after={"suspend_at": None},
    )  # fmt: skip
    return True


def _release(row: Endpoint) -> bool:
    """Take the hold back; what it suspended runs again, unless there is no room in its quota now."""
    lifted = {"hold_reason": "", "hold_by": "", "hold_since": None, "hold_resumes": False}
    if not Endpoint.objects.filter(pk=row.pk, hold_by=HOLDER, hold_since=row.hold_since).update(**lifted):
        return False
    note(row, "hold_lifted", "The catalog has taken its hold back.")
    record(
        "endpoints.lift_hold", by=ACTOR, obj=row, project=row.project.slug, before={"hold_by": HOLDER},
        after={"hold_by": ""},
    )  # fmt: skip
    if row.hold_resumes and row.desired == Desired.SUSPENDED:
        try:
            with transaction.atomic():
                said = "It runs again: its version may be used."
                start_again(ACTOR, want(ACTOR, "resume", row, Desired.RUNNING, RESUMED, event=said))
        except GatehouseError as error:
            note(row, "not_resumed", f"It stays suspended: {error.sentence}"[:500])
    return True
