"""The revisions of an endpoint as the page shows them: what changed, what became of each, and whether it may run."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from django.urls import reverse

from catalog.models import VersionState
from endpoints.cells import Cell, request_url
from endpoints.models import Desired, Endpoint, Revision, RevisionOutcome
from endpoints.refusals import refusal

OUTCOMES = {
    RevisionOutcome.UNTRIED: ("Not ready yet", "grey", "pending"),
    RevisionOutcome.WORKED: ("Worked", "grey", "ok"),
    RevisionOutcome.FAILED: ("Failed", "red", "err"),
    RevisionOutcome.CANCELLED: ("Cancelled", "grey", "ban"),
}


def chip(row: Endpoint, revision: Revision) -> Cell:
    """Return what a revision is now, or what became of it."""
    if revision.pk == row.next_revision_id:
        label, colour, icon = "On its way", "blue", "progress"
        if row.canary_percent is not None:
            label, colour, icon = f"Canary, {row.canary_percent} % of the calls", "orange", "progress"
    elif revision.pk == row.revision_id:
        runs = row.desired == Desired.RUNNING
        label, colour, icon = ("Runs", "green", "ok") if runs else ("Runs when it is resumed", "grey", "pause")
        if runs and revision.outcome != RevisionOutcome.WORKED:
            label, colour, icon = "Being started", "blue", "progress"
    elif revision.pk == row.fallback_id:
        label, colour, icon = "Runs again if the new one fails", "orange", "refresh"
    else:
        label, colour, icon = OUTCOMES[RevisionOutcome(revision.outcome)]
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled"}


def changes(revision: Revision, before: Revision | None) -> list[Cell]:
    """Return what is different from the revision before, as name, old and new value."""
    if before is None:
        return []
    pairs: list[tuple[str, Any, Any]] = [
        ("Model", _model(before), _model(revision)),
        ("Hardware", before.profile.name, revision.profile.name),
        ("Replicas", before.replicas, revision.replicas),
        ("Context", f"{before.context_tokens:,} tokens", f"{revision.context_tokens:,} tokens"),
        ("Calls at once", before.concurrency, revision.concurrency),
    ]
    found = [{"name": name, "old": str(old), "new": str(new)} for name, old, new in pairs if old != new]
    keys = sorted(set(before.runtime) | set(revision.runtime))
    parts = [key.replace("_", " ") for key in keys if before.runtime.get(key) != revision.runtime.get(key)]
    if parts:
        found.append({"name": "Engine", "old": "", "new": f"other {', '.join(parts)}"})
    return found


def barred(revision: Revision, now: dt.datetime) -> str:
    """Return why a revision may not be started now, "" when it may."""
    refused = refusal(revision, now)
    if refused is not None:
        return refused.sentence
    if revision.version.state == VersionState.RETIRED:
        return f"{_model(revision)} is retired in the catalog; ask for a revision with another."
    return ""


def lines(
    row: Endpoint, shown: Sequence[Revision], before: Iterable[Revision], *, now: dt.datetime, may: bool
) -> list[Cell]:
    """Return the rows of the table: `shown` newest first, with those `before` to compare with; `may` roll back."""
    known = {one.number: one for one in (*shown, *before)}
    return [_line(row, one, known.get(one.number - 1), now, may=may) for one in shown]


def _line(row: Endpoint, one: Revision, before: Revision | None, now: dt.datetime, *, may: bool) -> Cell:
    why = "" if one.pk == row.revision_id else barred(one, now)
    cancels = one.pk == row.revision_id and row.next_revision_id is not None
    target = one.pk not in {row.revision_id, row.next_revision_id} and not row.rolling_out
    act = may and row.desired != Desired.DELETED and (cancels or (target and not why))
    until = one.authorization_valid_until
    return {
        "number": one.number,
        "at": one.created_at,
        "chip": chip(row, one),
        "why": one.outcome_sentence if one.outcome == RevisionOutcome.FAILED else "",
        "barred": why,
        "model": _model(one),
        "hardware": f"{one.replicas} × {one.profile.name}",
        "numbers": f"{one.context_tokens:,} tokens, {one.concurrency} calls at once",
        "changes": changes(one, before),
        "first": one.number == 1,
        "approved": one.authorization_reference,
        "approved_url": request_url(one.authorization_reference),
        "until": until,
        "action_url": reverse("endpoint_rollback", args=[row.pk, one.number]) if act else "",
        "action": f"Cancel the rollout, keep revision {one.number}" if cancels else f"Go back to revision {one.number}",
        "label": "Cancel the rollout" if cancels else "Go back",
    }


def _model(revision: Revision) -> str:
    return f"{revision.version.asset.name} {revision.version.version}"
