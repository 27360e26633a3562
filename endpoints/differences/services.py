"""What people do about a difference: have what was approved written again, have a cluster looked at, accept."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from audit.services import record
from endpoints.changes import fresh
from endpoints.differences import keeping, sweeping
from endpoints.differences.accepting import Offer, offer
from endpoints.differences.models import LiveDifference
from endpoints.models import Desired, Endpoint, Phase
from endpoints.nudge import nudge
from endpoints.timeline import note
from portal.errors import Conflict
from projects.permissions import require
from projects.principal import Principal


def open_rows(endpoint: Endpoint) -> list[LiveDifference]:
    """Return what differs now, oldest first (one query)."""
    return list(LiveDifference.objects.filter(endpoint=endpoint, resolved_at=None).order_by("first_seen", "id"))


def reapply(by: Principal, endpoint: Endpoint) -> Endpoint:
    """Have a worker write what was approved into the cluster again. Raises Forbidden, and Conflict where nothing is to
    be written: it does not run, has failed, or its cluster is paused.
    """
    require(by, "reapply", endpoint)
    with transaction.atomic():
        Endpoint.objects.select_for_update(of=("self",)).get(pk=endpoint.pk)
        row = fresh(endpoint)
        if row.desired != Desired.RUNNING or row.phase in {Phase.FAILED, Phase.DELETED}:
            how = "has failed; press Retry" if row.phase == Phase.FAILED else "is not to run; resume it"
            raise Conflict(f"{row.name} {how}, which writes everything again.", code="wrong_state")
        if row.cluster.paused:
            raise Conflict(f"The cluster {row.cluster.slug} is paused by its engineers.", code="cluster_paused")
        rows = open_rows(row)
        Endpoint.objects.filter(pk=row.pk).update(rewrite_at=timezone.now(), rewrite_by=by.name[:150], due_at=None)
        before = {"fields": [keeping.document(one) for one in rows]}
        record("endpoints.reapply", by=by, obj=row, project=row.project.slug, before=before)
        note(row, "reapply", f"{by.name} has what was approved written again.")
        nudge(row.pk)
    return fresh(endpoint)


def look_again(by: Principal, endpoint: Endpoint) -> None:
    """Have the endpoint's cluster compared now; raises Forbidden, and Conflict where it is not compared at all."""
    require(by, "compare", endpoint)
    if endpoint.cluster.driver == sweeping.LOCAL:
        raise Conflict(
            f"{endpoint.name} runs on this machine, where nothing describes an engine that somebody could edit.",
            code="not_compared",
        )
    sweeping.want(endpoint.cluster)


def accept(by: Principal, endpoint: Endpoint, rows: Sequence[LiveDifference] | None = None) -> Offer:
    """Begin to accept what was found: note who does, and return what a request can ask for and what it cannot. Raises
    Forbidden, and Conflict where nothing of it can be asked for.
    """
    require(by, "request", endpoint.project)
    with transaction.atomic():
        found = open_rows(endpoint) if rows is None else list(rows)
        made = offer(endpoint, found)
        if not made.body:
            raise Conflict(
                f"Nothing of what differs at {endpoint.name} can be asked for: {made.words}", code="nothing_to_accept"
            )
        ids = [one.pk for one in made.accepted]
        LiveDifference.objects.filter(pk__in=ids).update(accepted_at=timezone.now(), accepted_by=by.name[:150])
        record(
            "endpoints.accept_drift", by=by, obj=endpoint, project=endpoint.project.slug,
            before={"fields": [keeping.document(one) for one in made.accepted]}, after={"asks_for": made.body},
        )  # fmt: skip
    return made
