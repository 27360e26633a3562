"""Looking at the nodes of clusters: what accelerators there are and what holds them, so that pools follow their nodes.

One look at a cluster at a time, in a task of its own; a cluster that is away delays nobody, and takes nothing away:
what was seen before stays until it answers again.
"""

import datetime as dt
import logging

from django.conf import settings

from endpoints.clusters import ClusterError
from endpoints.clusters.machines import Machine, Surveyed
from endpoints.drivers import driver_for
from endpoints.models import Cluster
from endpoints.nudge import post
from endpoints.seats import nudge_all
from quotas import nodes
from quotas.nodes import Found

log = logging.getLogger(__name__)
TASK = "endpoints.tasks.survey_cluster"  # by name: the task calls this module


def survey_all() -> int:
    """Have each registered cluster with an API looked at, each by a message of its own; return how many."""
    clusters = dict(Cluster.objects.exclude(server="", authentication="").values_list("pk", "slug"))
    nodes.forget(clusters.values())
    for pk in clusters:
        post(TASK, [pk], expires=settings.SURVEY_SECONDS)
    return len(clusters)


def survey(pk: int, *, now: bool = False) -> bool:
    """Look at the nodes of one cluster, if that is due or wanted `now` and nobody is at it; whether it was seen."""
    cluster = Cluster.objects.filter(pk=pk).first()
    if cluster is None:
        return False
    every = dt.timedelta() if now else dt.timedelta(seconds=settings.SURVEY_SECONDS)
    claimed = nodes.claim(cluster.slug, every)
    if claimed is None:
        return False
    try:
        found = look(cluster)
    except ClusterError as error:
        log.warning("endpoints.survey_failed cluster=%s error=%s", cluster.slug, error.sentence)
        nodes.fail(cluster.slug, claimed, error.sentence)
        return False
    nudge_all(nodes.keep(cluster.slug, claimed, found))
    return True


def look(cluster: Cluster) -> list[Found]:
    """Return the accelerators of all nodes of a cluster; none where it has no nodes. Raises ClusterError."""
    driver = driver_for(cluster)
    if not isinstance(driver, Surveyed):
        return []
    return [_found(machine) for machine in driver.machines(*nodes.wanted())]


def _found(one: Machine) -> Found:
    pods = [
        {
            "namespace": pod.namespace, "name": pod.name, "amount": pod.amount, "endpoint": pod.endpoint,
            "since": pod.since.isoformat() if pod.since else None,
        }
        for pod in one.occupants
    ]  # fmt: skip
    return Found(
        one.name, one.resource, one.capacity, one.allocatable, one.condition, one.product, one.memory_mib, one.since,
        one.labels, pods,
    )  # fmt: skip
