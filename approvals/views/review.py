"""What the page of a request shows of its review: stages, decisions, what a re-submission changed, who is asked."""

from typing import Any

from approvals.deciding import MAX_REASON
from approvals.models import Choice, Decision, Request, Stage, StageState
from approvals.representation import stages, stages_of, who
from approvals.stages import assigning
from approvals.stages.changes import changes
from approvals.stages.words import named
from approvals.views import cells
from portal.errors import GatehouseError
from portal.templatetags.gatehouse import duration_h

DECIDED = {Choice.APPROVE: "approved", Choice.REJECT: "rejected", Choice.REQUEST_CHANGES: "asked for changes"}
LOOKS = {
    "waiting": ("blue", "expired", "Waits"),
    "not_started": ("grey", "clock", "Later"),
    "approved": ("green", "ok", "Passed"),
    "rejected": ("red", "err", "Rejected"),
    "changes_requested": ("orange", "rotate", "Changes requested"),
    "skipped": ("grey", "withdrawn", "Not needed"),
}
PARTS = {"asked": "Asked for", "plan": "Plan", "check": "Rules", "stage": "Who decides"}


def stage_cells(item: Request) -> list[dict[str, Any]]:
    """Return the stages of a request of `with_all`, in order; without a query."""
    rows: list[Stage | None] = [*stages_of(item)]
    shown = stages(item)[:-1]  # the last is what happens after the review
    found = []
    for place, cell in enumerate(shown):
        row = rows[place] if place < len(rows) else None
        colour, icon, label = LOOKS[cell["state"]]
        yes = len([one for one in item.decisions.all() if row and one.stage_id == row.pk and one.decision == "approve"])
        found.append(
            {
                "name": cell["name"],
                "who": _who(cell["count"], named(cell["roles"])),
                "reason": cell["reason"],
                "chip": {"label": label, "colour": colour, "icon": icon, "kind": "filled"},
                "by": ", ".join(cell["by"]),
                "at": cell["at"],
                "yes": f"{yes} of {cell['count']} said yes" if cell["count"] > 1 else "",
                "escalated_at": cell["escalated_at"],
                "human": bool(row and row.human),
                "took": _took(row),
            }
        )  # fmt: skip
    return found


def _who(count: int, roles: str) -> str:
    return roles.capitalize() if count == 1 else f"{count} different people, each a {roles}"


def _took(row: Stage | None) -> str:
    if row is None or row.state != StageState.PASSED or not row.opened_at or not row.closed_at:
        return ""
    return duration_h((row.closed_at - row.opened_at).total_seconds())


def decision_cell(decision: Decision, names: dict[int, str]) -> dict[str, Any]:
    """Return one decision as the page shows it; `names`: the stages of the request by id."""
    return {
        "row": decision,
        "who": who(decision),
        "words": DECIDED[Choice(decision.decision)],
        "stage": names.get(decision.stage_id or 0, ""),
        "checked": cells.short_digest(decision.plan_digest_now),
        "same": decision.plan_digest_now == decision.plan_digest,
        "bundle": cells.short_digest(decision.bundle_digest),
    }


def decision_cells(item: Request) -> list[dict[str, Any]]:
    """Return the decisions on a request of `with_all`, oldest first; without a query."""
    several = len(stages_of(item)) > 1
    names = {stage.pk: stage.name for stage in item.stages.all()} if several else {}
    return [decision_cell(decision, names) for decision in item.decisions.all()]


def change_cells(item: Request) -> list[dict[str, Any]]:
    """Return what the newest submission changed, grouped by part (one query from the second submission on)."""
    found = changes(item)
    parts = [(label, [one for one in found if one.part == part]) for part, label in PARTS.items()]
    return [{"title": label, "rows": rows} for label, rows in parts if rows]


def assign_fields(item: Request, to: str, reason: str, wrong: GatehouseError | None) -> list[dict[str, Any]]:
    """Return the form that asks one reviewer in person (two queries)."""
    people = [(one.username, one.display_name) for one in assigning.candidates(item)]
    now = item.assignee.username if item.assignee else ""
    errors = wrong.fields if wrong else {}
    return [
        {
            "name": "to", "label": "Who decides", "kind": "select", "value": to or now,
            "choices": [("", "Nobody in particular"), *people], "error": errors.get("to", ""),
            "help": "They are told. Everybody who may decide still may.", "attrs": {},
        },
        {
            "name": "reason", "label": "Reason", "kind": "text", "value": reason, "error": errors.get("reason", ""),
            "help": "They read it.", "attrs": {"maxlength": MAX_REASON},
        },
    ]  # fmt: skip
