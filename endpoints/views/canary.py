"""The canary on the page of revisions: what it did beside what runs, and what becomes of it."""

from collections.abc import Callable, Mapping
from typing import Any

from endpoints import canaries, trials
from endpoints.models import Desired, Endpoint
from endpoints.rollouts import CANARY_PERCENT
from portal.errors import Invalid
from projects.principal import Principal

STEPS = (1, 5, 10, 25, CANARY_PERCENT)  # what the form offers; the API takes any share between them
START = 10


def canary_context(row: Endpoint, *, may: bool) -> dict[str, Any] | None:
    """Return what the page says about the canary, or about the rollout that could become one; None without."""
    following = row.next_revision
    if following is None or not row.next_beside or row.desired != Desired.RUNNING:
        return None
    since, found = trials.compared(row)
    percent = row.canary_percent
    field = {
        "name": "percent", "label": "Share of the calls", "kind": "select", "value": str(percent or START),
        "choices": [(str(step), f"{step} %", False) for step in sorted({*STEPS, percent or START})],
    }  # fmt: skip
    return {
        "revision": following.number,
        "runs": row.revision.number if row.revision else 0,
        "percent": percent,
        "since": since,
        "trials": found,
        "field": field if may else None,
    }


def steer(by: Principal, row: Endpoint, typed: Mapping[str, str]) -> str:
    """Do what the form asks for and return what was done, as a sentence; raises Invalid, Conflict and Forbidden."""
    act = ACTS.get(typed.get("act", ""))
    if act is None:
        raise Invalid.field("act", f"act is {typed.get('act', '')[:20]!r}; choose share, promote or abort.")
    return act(by, row, typed.get("percent", ""))


def _share(by: Principal, row: Endpoint, text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise Invalid.field("percent", f"percent is {text[:20]!r}; write a whole number from 1 to {CANARY_PERCENT}.")
    changed = canaries.set_share(by, row, int(text))
    return f"The canary of {changed.name} gets {text} % of the calls when it is ready."


def _promote(by: Principal, row: Endpoint, _: str) -> str:
    return f"The canary of {canaries.promote(by, row).name} takes over."


def _abort(by: Principal, row: Endpoint, _: str) -> str:
    return f"The canary of {canaries.abort(by, row).name} ends; what runs gets all calls."


ACTS: dict[str, Callable[[Principal, Endpoint, str], str]] = {"share": _share, "promote": _promote, "abort": _abort}
