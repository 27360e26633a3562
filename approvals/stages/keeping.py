"""Stages of one submission as rows: written when it is sent, passed one after the other, closed when it is over.

Each function is part of the caller's transaction, which holds the lock of the request and writes the audit row.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils import timezone

from approvals.models import Request, Stage, StageState, Submission
from approvals.policies.bundle import DEFAULT_STAGE
from approvals.stages.standing import tokens
from portal.errors import Conflict
from portal.states import move

FROZEN = ("rule", "name", "reason", "roles", "count", "human", "escalate_after_hours", "escalate_to")
UNKNOWN: Mapping[str, Any] = {name: getattr(DEFAULT_STAGE, name) for name in ("name", "reason", "count", "human")} | {
    "rule": DEFAULT_STAGE.id, "roles": list(DEFAULT_STAGE.roles), "escalate_after_hours": None, "escalate_to": [],
}  # fmt: skip


def of_plan(plan: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the stages that a plan names; the plan of an earlier release named none, and had one for everybody."""
    return plan.get("stages") or [UNKNOWN]


def roles_now(stage: Stage) -> list[str]:
    """Return the roles that may decide a stage, with those that it was escalated to."""
    also = stage.escalate_to if stage.escalated_at else []
    return list(dict.fromkeys([*stage.roles, *also]))


def write(request: Request, at: dt.datetime) -> list[Stage]:
    """Write the row of the submission and its stages from the frozen plan, the first one open.

    Raises Conflict `no_reviewer` when a stage is one that nobody could ever decide: an owner is asked where no project
    is.
    """
    Submission.objects.create(
        request=request, number=request.submission, body=request.body, plan=request.plan,
        plan_digest=request.plan_digest, at=at,
    )  # fmt: skip
    made = []
    for position, stage in enumerate(of_plan(request.plan), start=1):
        if not tokens(request, stage["roles"]):
            raise Conflict(
                f"The stage {stage['name']} asks for an owner, and {request} belongs to no project. Tell the "
                "governance leads: the stage needs to be mended.",
                code="no_reviewer",
            )
        first = position == 1
        made.append(
            Stage(
                request=request, submission=request.submission, position=position,
                state=StageState.OPEN if first else StageState.WAITING, opened_at=at if first else None,
                **{name: stage[name] for name in FROZEN},
            )
        )  # fmt: skip
    Stage.objects.bulk_create(made)
    turn(request, made[0])
    return made


def of(request: Request) -> list[Stage]:
    """Return the stages of the submission that counts, in their order (one query)."""
    return list(Stage.objects.filter(request=request, submission=request.submission).order_by("position"))


def opened(request: Request) -> Stage | None:
    """Return the open stage; None when nothing waits (one query)."""
    return Stage.objects.filter(request=request, state=StageState.OPEN).first()


def turn(request: Request, stage: Stage | None, answered: Iterable[str] = ()) -> None:
    """Let the lists know whose turn it is: the open stage, or None when there is none; `answered`: who said yes."""
    request.waiting_on = tokens(request, roles_now(stage)) if stage is not None else ""
    said = sorted(answered) if stage is not None else []
    request.answered_by = "".join(f"|{pk}" for pk in said) + "|" if said else ""
    Request.objects.filter(pk=request.pk).update(waiting_on=request.waiting_on, answered_by=request.answered_by)


def answered(request: Request) -> list[str]:
    """Return the ids of those who said yes to this submission, themselves or through a delegate (one query)."""
    said = request.decisions.filter(submission=request.submission).values_list("reviewer_id", "on_behalf_of_id")
    return [str(pk) for pair in said for pk in pair if pk is not None]


def advance(request: Request, stages: Sequence[Stage], stage: Stage) -> Stage | None:
    """Pass the open stage and open the next one; return that, or None after the last.

    Raises Conflict `already_decided` when somebody was faster.
    """
    now = timezone.now()
    _step(stage, StageState.OPEN, StageState.PASSED, closed_at=now)
    following = next((one for one in stages if one.position > stage.position), None)
    if following is not None:
        _step(following, StageState.WAITING, StageState.OPEN, opened_at=now)
    return following


def close(request: Request) -> None:
    """Close what was not passed: the request was answered, or taken back."""
    now = timezone.now()
    for source in (StageState.OPEN, StageState.WAITING):
        move(Stage.objects.filter(request=request), source, StageState.CLOSED, closed_at=now)
    Submission.objects.filter(request=request, number=request.submission).update(closed_at=now)
    Request.objects.filter(pk=request.pk).update(waiting_on="", answered_by="", assignee=None)


def differ(request: Request, stages: Sequence[Stage]) -> str:
    """Return how the rows differ from what was frozen, in words; "" when they do not."""
    sent = Submission.objects.filter(request=request, number=request.submission).first()
    if sent is None or (sent.body, sent.plan, sent.plan_digest) != (request.body, request.plan, request.plan_digest):
        return "what was sent"
    frozen = [tuple(stage[name] for name in FROZEN) for stage in of_plan(request.plan)]
    kept = [tuple(getattr(stage, name) for name in FROZEN) for stage in stages]
    return "" if frozen == kept else "the stages of its review"


def _step(stage: Stage, source: StageState, target: StageState, **also: dt.datetime) -> None:
    if not move(Stage.objects.filter(pk=stage.pk), source, target, field="state", **also):
        raise Conflict(f"The stage {stage.name} was decided at the same moment.", code="already_decided")
    stage.refresh_from_db()
