"""What the services of endpoints share: reading a row anew, its timeline, who is told, and moving what is wanted."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.urls import reverse

from audit.services import Actor, record
from catalog.models import Version, VersionState, with_pins
from endpoints import serving
from endpoints.models import Desired, Endpoint, Revision
from endpoints.nudge import nudge
from endpoints.timeline import note
from portal.errors import Conflict
from portal.states import move
from projects import epoch
from projects.models import User
from projects.notify.audience import owners
from projects.notify.services import tell as notify

SUSPENDING = ("suspending", "It is being suspended: its engines are ending.", "portal")
DELETING = ("deleting", "It is being deleted: its engines are ending.", "portal")
BLOCKED = "the catalog"  # who holds an endpoint whose version is blocked: endpoints/blocking.py
RESUMED = ("resumed", "It was resumed; a worker picks it up now.", "portal")


@dataclass(frozen=True)
class Authorization:
    """What a revision was approved under: opaque here, only stored, labelled and compared. `valid_until` is the last
    day, None for ever.
    """

    reference: str
    digest: str
    valid_until: dt.date | None = None


def fresh(endpoint: Endpoint) -> Endpoint:
    """Return the row as it is now, with what services need of it."""
    rows = Endpoint.objects.select_related(
        "project", "cluster", "contact", "created_by", "revision__profile", "revision__version__asset",
        "next_revision__profile", "next_revision__version__asset", "fallback__profile", "fallback__version__asset",
    )  # fmt: skip
    return with_pins(rows, "revision__version", "next_revision__version").get(pk=endpoint.pk)


def locked(endpoint: Endpoint) -> Endpoint:
    """Return the row as it is now; nobody else changes it before the transaction ends."""
    Endpoint.objects.select_for_update(of=("self",)).get(pk=endpoint.pk)
    return fresh(endpoint)


def not_blocked(version: Version) -> None:
    """Raise Conflict `version_blocked` when `version` is blocked at this moment. Whoever blocks it waits until the
    caller's transaction has ended, and then sees what it made.
    """
    state = Version.objects.select_for_update().values_list("state", flat=True).get(pk=version.pk)
    if state == VersionState.BLOCKED:
        raise Conflict(
            f"{version.asset.slug} {version.version} was blocked a moment ago. Choose another version.",
            code="version_blocked",
        )


def runs(endpoint: Endpoint) -> Revision:
    """Return the revision that answers calls; raises Conflict where there is none."""
    if endpoint.revision is None:
        raise Conflict(f"{endpoint.name} has no revision to run.", code="no_revision")
    return endpoint.revision


def contacts(endpoint: Endpoint) -> list[User]:
    """Return whom an endpoint concerns first: its contact, else who asked for it."""
    return [person for person in (endpoint.contact or endpoint.created_by,) if person is not None]


def keepers(endpoint: Endpoint) -> list[User]:
    """Return its contact and the owners of its project."""
    return [*contacts(endpoint), *owners(endpoint.project)]


def tell(
    endpoint: Endpoint, kind: str, title: str, people: Iterable[User], *, text: str = "", once: str = "", **data: object
) -> None:
    """Tell people and webhooks of the project something about `endpoint`; part of the caller's transaction."""
    project = endpoint.project
    model = f"{project.slug}/{endpoint.name}"
    notify(
        kind, people, title=title, text=text, url=reverse("endpoint_detail", args=[endpoint.pk]), project=project,
        about=("endpoint", str(endpoint.pk)), once=once, data={"endpoint": endpoint.name, "model": model, **data},
    )  # fmt: skip


def want(
    by: Actor,
    verb: str,
    endpoint: Endpoint,
    target: Desired,
    said: tuple[str, str, str],
    *,
    source: str = "",
    reason: str = "",
    event: str = "",
    also: dict[str, object] | None = None,
    **guard: object,
) -> Endpoint:
    """Move what is wanted from `source` (default: what the row says) to `target`, with event, audit row, epoch and
    nudge; the caller has checked permission.

    `said` is the reason until a worker looks, `also` are further columns, `guard` further conditions that the row must
    meet. Raises Conflict when it is so already or the row has changed.
    """
    code, sentence, turn = said
    before = source or endpoint.desired
    if before == target:
        raise Conflict(f"{endpoint.name} is {target} already.", code="already_so")
    with transaction.atomic():
        routes: dict[str, object] = {"upstreams": []} if target != Desired.RUNNING else {"attempts": 0}
        moved = move(
            Endpoint.objects.filter(pk=endpoint.pk, **guard), before, target, field="desired",
            reason_code=code, reason_sentence=sentence, reason_turn=turn, reason_tried="", reason_next="", due_at=None,
            **routes, **(also or {}),
        )  # fmt: skip
        if not moved:
            now = fresh(endpoint)
            raise Conflict(
                f"{now.name} is {now.get_desired_display().lower()}; it cannot be {past(verb)} now.",
                code="wrong_state",
            )
        serving.keep(endpoint.pk)
        current = fresh(endpoint)
        note(current, code, event or f"{by.name} {past(verb)} it.")
        record(
            f"endpoints.{verb}", by=by, obj=current, project=current.project.slug, before={"desired": before},
            after={"desired": str(target)}, reason=reason,
        )  # fmt: skip
        epoch.bump()
        nudge(current.pk)
    return current


def past(verb: str) -> str:
    """Return the past of a regular verb."""
    return f"{verb}d" if verb.endswith("e") else f"{verb}ed"
