"""What happened to a request, from the audit log and the endpoint's own events."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import QuerySet

from approvals.models import Request, RequestKind, RequestState
from audit.models import Row, Subject
from endpoints.models import Event

MAX_ROWS, MAX_EVENTS = 500, 100
SENTENCES = {
    "approvals.draft": ("drafted", "Draft saved."),
    "approvals.change": ("changed", "Changed."),
    "approvals.submit": ("submitted", "Sent for review; the plan is frozen."),
    "approvals.withdraw": ("withdrawn", "Taken back."),
    "approvals.comment": ("commented", "Commented."),
    "approvals.expire": ("expired", "The draft expired: nobody touched it."),
    "approvals.endorse": ("endorsed", "Said yes."),
    "approvals.pass_stage": ("stage_passed", "Passed a stage of the review."),
    "approvals.assign": ("assigned", "Asked somebody in person."),
    "approvals.escalate": ("escalated", "Nobody decided in time: more people may."),
    "approvals.waive": ("waived", "One rule was waived."),
    "approvals.approve": ("approved", "Approved."),
    "approvals.reject": ("rejected", "Rejected."),
    "approvals.request_changes": ("changes_requested", "Sent back for changes."),
}


@dataclass(frozen=True)
class Entry:
    """One line of the timeline. `by` is empty for what the portal did by itself; `text` is a reason or a comment, and
    `mentions` the people whom it names and who were told.
    """

    at: dt.datetime
    code: str
    sentence: str
    by: str = ""
    text: str = ""
    mentions: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return the line as the API shows it."""
        return asdict(self)


def timeline(request: Request) -> list[Entry]:
    """Return what happened to `request`, oldest first (four queries)."""
    rows = list(Row.objects.filter(object_kind="request", object_id=str(request.pk)).order_by("id")[:MAX_ROWS])
    names = dict(Subject.objects.filter(key__in={row.actor for row in rows}).values_list("key", "name"))
    comments = dict(request.comments.values_list("pk", "text"))
    entries = [_entry(row, names.get(row.actor, row.actor), comments) for row in rows if row.action in SENTENCES]
    entries += [Entry(event.at, event.code, event.sentence) for event in _events(request)[:MAX_EVENTS]]
    return sorted(entries, key=lambda entry: entry.at)


def _events(request: Request) -> QuerySet[Event]:
    """Return what the endpoint says about a request: a new one everything, a rollout what came after the approval."""
    events = Event.objects.filter(endpoint=request.endpoint_id).order_by("id")
    if request.kind == RequestKind.ENDPOINT and request.endpoint_id:
        return events
    if request.kind == RequestKind.REVISION and request.state == RequestState.APPROVED:
        return events.filter(at__gte=request.decided_at)
    return events.none()


def _entry(row: Row, name: str, comments: dict[int, str]) -> Entry:
    code, sentence = SENTENCES[row.action]
    after = json.loads(row.after) if row.after else {}
    sentence = _told(code, sentence, after)
    if after.get("on_behalf_of"):
        name = f"{name} for {after['on_behalf_of']}"
    if code == "submitted" and after.get("submission", 1) > 1:
        code, sentence = "resubmitted", "Sent again; a new plan is frozen."
    text = comments.get(after.get("comment", 0), "") if code == "commented" else row.reason
    return Entry(row.at, code, sentence, name, text, tuple(after.get("mentions", ())))


def _told(code: str, sentence: str, after: Mapping[str, Any]) -> str:
    """Return the sentence with what its row adds: the stage, the rule, the person who is asked."""
    stage = after.get("by_stage", "")
    if after.get("rule"):
        return f"Approved by the rule {after['rule']}."
    if code == "endorsed":
        return f"Said yes in the stage {stage}: {after.get('yes')} of {after.get('of')}."
    if code == "stage_passed":
        return f"Passed the stage {stage}; next: {after.get('stage')}."
    if code == "assigned" and after.get("to"):
        return f"Asked {after['to']} to decide."
    if code == "escalated" and after.get("roles"):
        return f"Nobody decided {stage} in time: now {' or '.join(after['roles'])} may, too."
    return sentence
