"""Looking at a cluster: whether it is there, what version, what is missing. In the background, within seconds, and
never in the way of a page.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from endpoints.clusters import ClusterError
from endpoints.clusters.checks import Check, Report
from endpoints.drivers import place
from endpoints.fleet.rendering import rendered
from endpoints.models import Cluster
from endpoints.nudge import post

log = logging.getLogger(__name__)
TASK = "endpoints.tasks.look_at_cluster"  # by name: the task calls the services, and the services ask for it
WHOLE_EVERY = dt.timedelta(hours=1)  # between whole tests where nothing is missing; a short look comes each time
WAITS = dt.timedelta(seconds=30)  # how long a page waits for a test before it says that no worker took it
KNOWN_DRIVERS = "endpoints.clusters.kubernetes.checking.examine"
# Loaded where a test is made: pages need no Kubernetes client.
EXAMINERS: Mapping[str, str] = {
    "kubernetes": KNOWN_DRIVERS,
    "kserve": KNOWN_DRIVERS,
    "gitops": "endpoints.clusters.gitops.checking.examine",
}
SHORT = frozenset({"reachable", "certificate", "credential", "version", "repository"})


def want_test(cluster: Cluster) -> None:
    """Write down that a whole test is wanted, and ask a worker for it after the commit; a lost message costs until the
    next round.
    """
    cluster.asked_at = timezone.now()
    Cluster.objects.filter(pk=cluster.pk).update(asked_at=cluster.asked_at)
    _send(cluster.pk, True)


def look_at_all() -> int:
    """Ask a worker to look at each cluster, each by a message of its own, so that a dead one delays nobody; return how
    many.
    """
    old, count = timezone.now() - WHOLE_EVERY, 0
    for pk, asked, checked, problem in Cluster.objects.values_list("pk", "asked_at", "checked_at", "problem_code"):
        missing = bool(problem) and problem not in SHORT  # only a whole test sees that it is there by now
        _send(pk, asked is not None or checked is None or checked < old or missing)
        count += 1
    return count


def look_at(pk: int, *, whole: bool) -> None:
    """Test a cluster and keep what was found; with `whole` not, only whether it is there and in what version."""
    cluster = Cluster.objects.filter(pk=pk).first()
    if cluster is not None:
        started = timezone.now()
        keep(cluster, examine(cluster, whole=whole), started)


def examine(cluster: Cluster, *, whole: bool = True) -> Report:
    """Return what a test of `cluster` finds, within seconds. Never raises for what the cluster does."""
    path = EXAMINERS.get(cluster.driver)
    if path is None:
        what = "Its accelerators are simulated." if cluster.simulated else "They are those of this machine."
        here = Check("reachable", "pass", "Its engines are processes of this machine.")
        return Report((here, Check("accelerators", "pass", what)), seen=True)
    try:
        where = place(cluster)
    except ClusterError as error:
        return Report((Check("credential", "fail", error.sentence, "Give the cluster a new credential."),))
    examiner: Callable[..., Report] = import_string(path)
    if whole and cluster.admission != "off":
        return examiner(where, cluster.driver, whole=whole, policies=rendered(cluster).objects)
    return examiner(where, cluster.driver, whole=whole)


def keep(cluster: Cluster, report: Report, started: dt.datetime) -> None:
    """Write what a test found that began at `started`, unless the cluster has another credential by now."""
    found = [check.as_json() for check in report.checks]
    names = {check.name for check in report.checks}
    # A short look says nothing about the rest, which stays as the last whole test found it.
    rest = [one for one in cluster.checks if one["name"] not in names] if names <= SHORT else []
    problem = report.problem or next((Check(**one) for one in rest if one["verdict"] == "fail"), None)
    columns: dict[str, Any] = {
        "checks": found + rest,
        "problem_code": problem.name if problem else "",
        "problem_sentence": problem.sentence[:500] if problem else "",
    }
    now = timezone.now()
    if report.seen:
        columns["last_seen_at"] = now
    if report.version:
        columns["version"] = report.version[:40]
    if not names <= SHORT:
        columns["checked_at"] = now
    if columns["problem_code"] != cluster.problem_code:
        log.warning("endpoints.cluster cluster=%s problem=%s", cluster.slug, columns["problem_code"] or "none")
    with transaction.atomic():
        mine = Cluster.objects.filter(pk=cluster.pk, credential_since=cluster.credential_since)
        if mine.update(**columns) and not names <= SHORT:
            Cluster.objects.filter(pk=cluster.pk, asked_at__lte=started).update(asked_at=None)


def _send(pk: int, whole: bool) -> None:
    transaction.on_commit(partial(post, TASK, [pk, whole], expires=60))
