"""The live part of an endpoint's page: what it does, why, whose turn it is, and what the reader can do about it."""

from typing import Any

from django.urls import reverse
from django.utils import timezone

from catalog.models import drift_of
from endpoints import cells, effects, numbers, seats, why
from endpoints.away import last_seen
from endpoints.cells import ANSWERING
from endpoints.changes import BLOCKED
from endpoints.expiry import HOLDER
from endpoints.facts import counted
from endpoints.models import Desired, Endpoint, Event
from endpoints.views.head import SOON, allowed, ask_url
from portal.templatetags.gatehouse import day
from projects.principal import Principal

STORY = 60  # events that the steps are read from
EVENTS_SHOWN = 8
STOPPED = {"suspending", "expired"}  # codes of the events that say who suspended it


def story_of(row: Endpoint) -> list[Event]:
    """Return the last events, newest first (one query)."""
    return list(row.events.order_by("-id")[:STORY])


def status_of(
    row: Endpoint, reader: Principal, story: list[Event], calls: numbers.Calls | None = None, *, shared: bool = False
) -> dict[str, Any]:
    """Return the context of the live part; `story` are the last events, newest first, `calls` those of the last day
    where they were read already. A reader of a `shared` one learns its state and nothing of keys, people and holds (at
    most four queries).
    """
    box = why.box(row) if why.wanted(row) and not shared else None
    oldest_first = list(reversed(story))
    status: dict[str, Any] = {
        "endpoint": row,
        "shared": shared,
        "steps": [] if shared else cells.steps(row, oldest_first),
        "chip": cells.phase_chip(row),
        "sentence": row.reason_sentence,
        "code": row.reason_code,
        "turn": cells.turn(row, reader),
        "settled": cells.settled(row),
        "why": box,
        "status_url": reverse("endpoint_status", args=[row.pk]),
    }
    if shared:
        return status
    may = allowed(reader, row)
    if calls is None:
        calls = numbers.last_day([str(row.pk)]).get(str(row.pk), numbers.Calls())
    return status | {
        "may": may,
        "calls": calls,
        "affected": _affected(row) if box and row.phase not in ANSWERING and row.desired == Desired.RUNNING else "",
        "help_url": why.help_url(row.reason_code) if box is None else "",
        "rollout": _rollout(row, oldest_first),
        "remark": row.remark if row.remark and row.remark not in row.reason_sentence else "",
        "notices": _notices(row, may),
        "resume": effects.resuming(row) if may["resume"] else "",
        "stopped": _stopped(row, story),
        "place": _place(row),
        "events": cells.event_lines(story[:EVENTS_SHOWN]),
    }


def _affected(row: Endpoint) -> str:
    keys = numbers.affected_keys(row)
    if not keys.own and not keys.others:
        return "Nobody yet: there is no key that may call it."
    theirs = f" and {keys.others} of other projects" if keys.others else ""
    return f"{counted(keys.own, 'key')} of {row.project.slug}{theirs}: calls get endpoint_not_ready."


def _rollout(row: Endpoint, oldest_first: list[Event]) -> dict[str, Any] | None:
    """Return how far the revision is that is on its way."""
    if row.desired != Desired.RUNNING or row.revision is None:
        return None
    if row.next_revision is not None:
        number, before = row.next_revision.number, row.revision.number
        sentence = f"The rollout of revision {number}, beside revision {before}"
        if row.reason_code == "canary":
            return {"sentence": f"Revision {number} is a canary beside revision {before}: decide under Revisions."}
        if not row.next_beside:
            sentence = f"Revision {number} takes the place of revision {before} as soon as there is room for it."
        return {"sentence": sentence, "steps": cells.rollout_steps(row, oldest_first)}
    if row.fallback is not None:
        number, before = row.revision.number, row.fallback.number
        return {"sentence": f"Revision {number} takes the place of revision {before}, which runs again if it fails."}
    return None


def _notices(row: Endpoint, may: dict[str, bool]) -> list[dict[str, Any]]:
    """Return what stands below the state: a cluster that is away, content that drifted, a hold, and the last day when
    it is near.
    """
    return [*_away(row), *_drift(row), *_announced(row), *_dates(row, may)]


def _away(row: Endpoint) -> list[dict[str, Any]]:
    title = last_seen(row)
    return [{"kind": "warning", "title": title, "text": "What answered calls then is still called."}] if title else []


def _announced(row: Endpoint) -> list[dict[str, Any]]:
    """Return the end of the time of grace of a blocked version."""
    if row.suspend_at is None or row.revision is None or row.desired != Desired.RUNNING:
        return []
    version = row.revision.version
    title = f"It is suspended on {row.suspend_at:%Y-%m-%d %H:%M} UTC: its version is blocked."
    text = f"{version.asset.name} {version.version}: {version.state_reason} A revision with another version keeps it."
    return [{"kind": "danger", "title": title, "text": text, "action_url": ask_url("revision", row),
             "action_label": "Ask for a revision"}]  # fmt: skip


def _drift(row: Endpoint) -> list[dict[str, Any]]:
    version = row.revision.version if row.revision and row.desired != Desired.DELETED else None
    said = drift_of(version) if version else ""
    if version is None or not said:
        return []
    text = f"{said} What runs goes on; nothing new of it is started until the source holds again what was approved."
    to = {"action_url": reverse("catalog_detail", args=[version.asset.slug]), "action_label": "Its evidence"}
    title = f"The content of its version {version.asset.name} {version.version} has drifted."
    return [{"kind": "danger", "title": title, "text": text, **to}]


def _dates(row: Endpoint, may: dict[str, bool]) -> list[dict[str, Any]]:
    renew = {"action_url": ask_url("renewal", row), "action_label": "Ask for a renewal"} if may["ask"] else {}
    if row.hold_reason:
        by = "its expiry" if row.hold_by == HOLDER else row.hold_by
        action = renew if row.hold_by == HOLDER else {}
        text = row.hold_reason
        if row.hold_by == BLOCKED:
            text += " It runs again by itself when the version is let in again."
        return [{"kind": "warning", "title": f"On hold by {by}", "text": text, **action}]
    left = (row.ends_on - timezone.now().date()).days if row.ends_on else SOON + 1
    if left > SOON or row.desired == Desired.DELETED:
        return []
    when = "today" if left == 0 else f"in {counted(left, 'day')}" if left > 0 else "past"
    title = f"Its last day is {day(row.ends_on)}, {when}."
    return [{"kind": "info", "title": title, "text": "After it the endpoint is suspended, and later deleted.", **renew}]


def _stopped(row: Endpoint, story: list[Event]) -> Event | None:
    """Return who suspended it and when."""
    if row.desired != Desired.SUSPENDED:
        return None
    return next((one for one in story if one.code in STOPPED), None)


def _place(row: Endpoint) -> str:
    """Return its place in the queue as it is now, beside the sentence of the last look (two queries)."""
    if row.reason_code != "waiting_for_capacity":
        return ""
    own = seats.seats_of(row).own
    return f"Place {own.position} in the queue of {own.pool}, for {counted(own.amount, 'accelerator')}." if own else ""
