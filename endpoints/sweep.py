"""The sweep: finds what wants attention, whoever forgot it. Losing every message of the broker costs one sweep."""

import logging
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from endpoints.clusters import ClusterError
from endpoints.clusters.rbac import GRANTS
from endpoints.drivers import driver_for
from endpoints.models import Cluster, Desired, Endpoint, Phase
from endpoints.nudge import nudge
from endpoints.seats import nudge_all
from endpoints.watching import looking
from portal.http import uuid_or_none
from quotas.services import promote_all

log = logging.getLogger(__name__)

# What should run and may change by itself; what should stop and has not stopped yet.
UNSETTLED = (
    Q(desired=Desired.RUNNING) & ~Q(phase=Phase.FAILED)
    | Q(desired=Desired.SUSPENDED) & ~Q(phase=Phase.SUSPENDED)
    | Q(desired=Desired.DELETED)
) & ~Q(phase=Phase.DELETED)


def sweep() -> int:
    """Serve waiting reservations, clear away engines that nobody wants, and nudge every endpoint that is not at rest.

    Where engines are processes of this machine those that are ready are looked at too: that look is their health check.
    Clusters with an API have a sweep of their own. Returns how many were nudged.
    """
    nudge_all(promote_all())
    here = Endpoint.objects.filter(UNSETTLED).exclude(cluster__driver__in=GRANTS)
    found = set(here.order_by().values_list("pk", flat=True))
    for cluster in Cluster.objects.filter(paused=False).exclude(driver__in=GRANTS):
        found |= adopt(cluster)
    for endpoint_id in found:
        nudge(endpoint_id, expires=settings.SWEEP_SECONDS)
    return len(found) + looking.sweep()


def adopt(cluster: Cluster) -> set[UUID]:
    """Compare what the cluster has with what rows want: remove what no row knows, return the ids that a row knows.

    The cluster is asked first: a row is committed before its engine starts, so an engine without a row is never just
    early.
    """
    try:
        driver = driver_for(cluster)
        present = driver.list()
    except ClusterError as error:
        log.warning("endpoints.adopt_failed cluster=%s error=%s", cluster.slug, error.sentence)
        return set()
    ids = {name: uuid_or_none(name) for name in present}
    # Of any cluster: two that are driven through the same machine see each other's engines.
    rows = Endpoint.objects.filter(pk__in=[value for value in ids.values() if value])
    known = set(rows.exclude(phase=Phase.DELETED).values_list("pk", flat=True))
    looking.clear_away(cluster, driver, [name for name, value in ids.items() if value not in known])
    return known


def prune() -> int:
    """Delete the logs of endpoints that are gone and older than settings.ENGINE_LOG_DAYS; return of how many."""
    count = 0
    for cluster in Cluster.objects.all():
        try:
            count += driver_for(cluster).prune_logs(timedelta(days=settings.ENGINE_LOG_DAYS))
        except ClusterError as error:
            log.warning("endpoints.prune_failed cluster=%s error=%s", cluster.slug, error.sentence)
    return count
