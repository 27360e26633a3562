"""More or fewer replicas, within what was approved."""

from django.db import transaction

from audit.services import record
from endpoints import seats
from endpoints.changes import fresh, locked, runs
from endpoints.facts import counted
from endpoints.models import Desired, Endpoint
from endpoints.nudge import nudge
from endpoints.timeline import note
from portal.errors import Conflict, Invalid
from projects.permissions import require
from projects.principal import Principal


def scale(by: Principal, endpoint: Endpoint, replicas: int) -> Endpoint:
    """Let `replicas` of the endpoint run: 1 up to the number that was approved.

    Fewer: engines finish their calls and end, then their accelerators go back. More: accelerators are reserved first;
    where there is no room the endpoint goes on as it is and waits for them. Raises Forbidden, NotFound, Invalid below
    1, and Conflict: `needs_request` above what was approved, `rollout_running`, `wrong_state`, `no_pool`, `gpu_quota`.
    """
    require(by, "scale", endpoint)
    if isinstance(replicas, bool) or replicas < 1:
        raise Invalid.field("replicas", f"replicas is {replicas}; at least 1 runs. Suspend the endpoint to run none.")
    with transaction.atomic():
        current = locked(endpoint)
        revision = runs(current)
        if current.desired == Desired.DELETED:
            raise Conflict(f"{current.name} is deleted; it cannot be scaled.", code="wrong_state")
        if replicas > revision.replicas:
            approved = counted(revision.replicas, "replica")
            raise Conflict(
                f"{current.name} was approved for {approved}; {replicas} need a request. Ask for a revision.",
                code="needs_request",
            )
        if current.rolling_out:
            raise Conflict(
                f"A revision of {current.name} is being rolled out. Scale it when that has ended.",
                code="rollout_running",
            )
        before = current.wanted_replicas
        if replicas == before:
            return current
        asked = None if replicas == revision.replicas else replicas
        Endpoint.objects.filter(pk=current.pk).update(scale=asked, due_at=None)
        if current.desired == Desired.RUNNING:
            seats.reseat(by, current, revision, replicas)
        note(current, "scaled", f"{by.name} scaled it from {before} to {counted(replicas, 'replica')}.")
        record(
            "endpoints.scale", by=by, obj=current, project=current.project.slug, before={"replicas": before},
            after={"replicas": replicas},
        )  # fmt: skip
        nudge(current.pk)
    return fresh(endpoint)
