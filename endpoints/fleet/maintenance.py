"""Maintenance: a paused cluster is watched, and nothing is started or stopped there."""

from django.db import transaction
from django.utils import timezone

from audit.services import record
from endpoints.models import Cluster, Phase
from endpoints.nudge import nudge
from portal.http import clean_text
from projects.permissions import require
from projects.principal import Principal


def pause(by: Principal, cluster: Cluster, *, reason: str = "") -> Cluster:
    """Begin maintenance. Raises Forbidden, and Invalid for a reason of more than 300 characters."""
    why = clean_text(reason, field="reason", high=300)
    return _set(by, cluster, True, why)


def resume(by: Principal, cluster: Cluster) -> Cluster:
    """End maintenance: what waited goes on at once. Raises Forbidden."""
    return _set(by, cluster, False, "")


def change_cluster(by: Principal, cluster: Cluster, *, paused: bool, reason: str = "") -> Cluster:
    """Pause a cluster, or let it go on. Raises Forbidden and Invalid."""
    return pause(by, cluster, reason=reason) if paused else resume(by, cluster)


def _set(by: Principal, cluster: Cluster, paused: bool, reason: str) -> Cluster:
    require(by, "pause", cluster)
    since = timezone.now() if paused else None
    columns = {
        "paused": paused, "paused_reason": reason, "paused_by": by.name if paused else "", "paused_since": since,
    }  # fmt: skip
    with transaction.atomic():
        # Whoever comes second changes nothing: who paused it, why and since when stay true.
        if Cluster.objects.filter(pk=cluster.pk).exclude(paused=paused).update(**columns):
            verb = "pause" if paused else "resume"
            record(
                f"clusters.{verb}",
                by=by,
                obj=cluster,
                before={"paused": not paused},
                after={"paused": paused},
                reason=reason,
            )
            for endpoint_id in cluster.endpoints.exclude(phase=Phase.DELETED).values_list("pk", flat=True):
                nudge(endpoint_id)
    cluster.refresh_from_db()
    return cluster
