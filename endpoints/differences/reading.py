"""What is known of differences, for pages and the REST API."""

from typing import Any

from django.db.models import QuerySet

from endpoints.differences.models import DriftLook, LiveDifference
from endpoints.differences.sweeping import COMPARED, LOCAL
from endpoints.models import Cluster, Desired, Endpoint
from projects.permissions import visible
from projects.principal import Principal

EARLIER = 20  # of what is over, on the page of an endpoint


def rows(reader: Principal) -> QuerySet[LiveDifference]:
    """Return the differences of endpoints that the reader may see."""
    found: QuerySet[LiveDifference] = visible(reader, LiveDifference.objects.all())
    return found.select_related("endpoint__project", "endpoint__cluster")


def open_of(endpoint: Endpoint) -> list[LiveDifference]:
    """Return what differs now: what somebody changed before what the portal itself would change (one query)."""
    found = LiveDifference.objects.filter(endpoint=endpoint, resolved_at=None)
    return list(found.order_by("own", "-guarded", "kind", "name", "field"))


def edited(endpoint: Endpoint) -> int:
    """Return how many fields somebody changed in the cluster that are still so (one query)."""
    return LiveDifference.objects.filter(endpoint=endpoint, resolved_at=None, own=False).count()


def earlier_of(endpoint: Endpoint) -> list[LiveDifference]:
    """Return what differed and is over, the newest first (one query)."""
    found = LiveDifference.objects.filter(endpoint=endpoint, resolved_at__isnull=False)
    return list(found.order_by("-resolved_at", "-id")[:EARLIER])


def look_of(cluster: Cluster) -> DriftLook | None:
    """Return how the comparison of a cluster went (one query)."""
    return DriftLook.objects.filter(pk=cluster.pk).first()


def why_not(endpoint: Endpoint) -> str:
    """Return why an endpoint is not compared now, "" when it is."""
    if endpoint.cluster.driver == LOCAL:
        return "Its engines are processes of this machine: nothing describes them that somebody could edit."
    if endpoint.desired != Desired.RUNNING:
        return "It is not to run, so that nothing of it is compared."
    if endpoint.revision is not None and endpoint.revision.adopted:
        return "It ran before the portal came, and the portal writes nothing of it until its next revision."
    if endpoint.next_revision_id is not None or endpoint.drain_until is not None:
        return "A rollout is on its way; it is compared when that has ended."
    if endpoint.phase not in COMPARED or endpoint.ready_at is None:
        return "It is compared once it has answered calls."
    return ""


def state(row: LiveDifference) -> str:
    """Return the machine word for what becomes, or became, of a difference."""
    if row.resolved_at is not None:
        return row.resolution
    if row.own:
        return "own"
    return "reverting" if row.guarded else "accepted" if row.accepted_at else "open"


def json_of(row: LiveDifference) -> dict[str, Any]:
    """Return a difference as the API shows it."""
    return {
        "id": row.pk,
        "object": {"kind": row.kind, "namespace": row.namespace, "name": row.name},
        "field": row.field or None,
        "wanted": row.wanted,
        "found": row.found,
        "manager": row.manager or None,
        "operation": row.operation or None,
        "manager_is_sure": row.sure,
        "changed_at": row.changed_at,
        "guarded": row.guarded,
        "state": state(row),
        "revision": row.revision,
        "first_seen": row.first_seen,
        "last_seen": row.last_seen,
        "times": row.times,
        "accepted_by": row.accepted_by or None,
        "resolved_at": row.resolved_at,
        "resolved_by": row.resolved_by or None,
    }
