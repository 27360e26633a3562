"""What a turn of a rollout writes: columns of the endpoint, accelerators, the revision's outcome, event, audit row.

Every function here runs in the transaction of a worker's step or of a service; `turnover.py` says when.
"""

import logging
from datetime import datetime
from typing import Any

from django.db import transaction

from audit.services import Actor, record
from endpoints import facts, seats
from endpoints.changes import keepers, tell
from endpoints.facts import Step, Turn
from endpoints.models import Endpoint, Revision, RevisionOutcome
from endpoints.timeline import note
from portal.errors import Conflict, Invalid

log = logging.getLogger(__name__)

REMARK = 300
NO_NEXT: dict[str, Any] = {"next_revision": None, "next_beside": True, "next_attempts": 0, "canary_percent": None}


def taking_place(row: Endpoint, following: Revision) -> dict[str, Any]:
    """Return the columns with which `following` takes the place of what runs, to which it returns if that worked."""
    current = row.revision
    worked = current is not None and current.outcome == RevisionOutcome.WORKED
    back = {"fallback": current, "fallback_scale": row.scale} if worked else {}
    return {"revision": following, "scale": None, "attempts": 0, "remark": "", **NO_NEXT, **back}


def columns(row: Endpoint, step: Step, now: datetime) -> dict[str, Any]:
    """Return what `step` changes of the rollout in the row."""
    if step.turn == Turn.SWITCH:
        drain = {"drain_until": now + facts.DRAIN}
        return {"revision": row.next_revision, "scale": None, "remark": "", **NO_NEXT, **drain}
    if step.turn == Turn.REPLACE and row.next_revision is not None:
        return taking_place(row, row.next_revision)
    if step.turn == Turn.ABANDON:
        return {**NO_NEXT, "remark": _short(step.why), "drain_until": now}
    if step.turn == Turn.RETURN:
        back = {"revision": row.fallback, "scale": row.fallback_scale, "fallback": None, "fallback_scale": None}
        return {**back, "remark": _short(step.why), "drain_until": now}
    if step.turn == Turn.SETTLE:
        return {"fallback": None, "fallback_scale": None, "drain_until": None}
    if step.drain:
        return {"drain_until": now + facts.DRAIN}
    return {"next_attempts": step.next_attempts} if row.next_revision_id else {}


def effects(by: Actor, row: Endpoint, step: Step) -> None:
    """Do what follows from `step` beside the row, which is still as it was before."""
    before = row.revision.number if row.revision else None
    if step.turn == Turn.SWITCH and row.next_revision is not None:
        seats.succeed(by, row)
        _outcome(row.next_revision, RevisionOutcome.WORKED)
        note(row, "rolled_out", step.why)
        _record(by, row, before, row.next_revision.number, step.why)
    elif step.turn == Turn.REPLACE and row.next_revision is not None:
        _record(by, row, before, row.next_revision.number, step.why)
    elif step.turn == Turn.ABANDON and row.next_revision is not None:
        seats.retire(by, row, seats.SURGE)
        seats.give_back(by, row, seats.GROWTH)
        _failed(by, row, row.next_revision, step, before, before)
    elif step.turn == Turn.RETURN and row.fallback is not None and row.revision is not None:
        back = row.fallback
        _seat_again(by, row, back)
        _failed(by, row, row.revision, step, before, back.number)
    elif step.turn == Turn.SETTLE and row.revision is not None:
        _outcome(row.revision, RevisionOutcome.WORKED)
    if step.merge:
        seats.join(by, row)
    if step.retire:
        seats.give_back(by, row, seats.RETIRING)
    if step.resize is not None:
        seats.shrink(by, row, step.resize)


def _seat_again(by: Actor, row: Endpoint, back: Revision) -> None:
    """Reserve what the revision before needs; where that is refused, the next look says that nothing is reserved."""
    try:
        with transaction.atomic():
            seats.reseat(by, row, back, min(row.fallback_scale or back.replicas, back.replicas))
    except (Conflict, Invalid) as error:  # its pool or the project's quota has changed meanwhile
        log.warning("endpoints.return_without_seat endpoint=%s error=%s", row.pk, error.sentence)


def _failed(by: Actor, row: Endpoint, revision: Revision, step: Step, before: int | None, after: int | None) -> None:
    _outcome(revision, RevisionOutcome.FAILED, step.why)
    _record(by, row, before, after, step.why)
    title = f"Revision {revision.number} of {row.project.slug}/{row.name} did not work; revision {after} goes on."
    tell(row, "endpoint.failed", title, keepers(row), text=step.reason.sentence, revision=revision.number)


def _outcome(revision: Revision, outcome: RevisionOutcome, sentence: str = "") -> None:
    Revision.objects.filter(pk=revision.pk).update(outcome=outcome, outcome_sentence=sentence[:500])


def _record(by: Actor, row: Endpoint, before: int | None, after: int | None, reason: str) -> None:
    record(
        "endpoints.roll_out", by=by, obj=row, project=row.project.slug, before={"revision": before},
        after={"revision": after}, reason=reason,
    )  # fmt: skip


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= REMARK else sentence[: REMARK - 1] + "…"
