"""The scan of a cluster: one worker at a time, claimed by the cluster's row, in a task of its own.

A scan that fails changes nothing but its own row: what was found before stays, and what was not seen is not gone.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from django.conf import settings
from django.utils import timezone

from catalog.models import HardwareProfile
from endpoints.adopting import proposing
from endpoints.clusters import ClusterError
from endpoints.clusters.kubernetes.client import client_of
from endpoints.drivers import place
from endpoints.models import Cluster
from endpoints.nudge import post
from endpoints.rogue import approved, devices, judging, keeping, listing
from endpoints.rogue.models import RogueScan
from endpoints.watching import leases
from portal.states import take

log = logging.getLogger(__name__)
TASK = "endpoints.tasks.scan_cluster"  # by name: the task calls this module
CLAIM = timedelta(seconds=300)  # of one scan; a worker that dies in it costs so much
# Namespaces of clusters and their operators; people cannot make such names where those are installed.
SYSTEM = (
    "kube-*", "openshift-*", "gpu-operator", "nvidia-gpu-operator", "nvidia-device-plugin", "kserve", "knative-*",
    "istio-system", "cert-manager", "redhat-ods-*", "opendatahub",
)  # fmt: skip
SHARE = 10  # a scan that takes one second is not repeated within ten
LONGEST = timedelta(minutes=10)  # between two tries after failures


def sweep() -> int:
    """Have every cluster scanned that is due, by a task of its own; end waivers whose last day is over. Return how
    many clusters were sent.
    """
    keeping.end_waivers()
    now = timezone.now()
    clusters = [one.pk for one in leases.followed()]
    prepare(clusters)
    due = [one.pk for one in RogueScan.objects.filter(pk__in=clusters) if is_due(one, now)]
    for pk in due:
        post(TASK, [pk], expires=settings.ROGUE_SCAN_SECONDS)
    return len(due)


def want(cluster: int) -> None:
    """Have a cluster scanned soon; a lost message costs one sweep."""
    prepare([cluster])
    RogueScan.objects.filter(pk=cluster).update(scanned_at=None)
    post(TASK, [cluster], expires=settings.ROGUE_SCAN_SECONDS)


def want_all() -> int:
    """Have every cluster that can be scanned scanned soon; return how many."""
    clusters = [one.pk for one in leases.followed()]
    for pk in clusters:
        want(pk)
    return len(clusters)


def prepare(clusters: list[int]) -> None:
    """Make the rows that are missing."""
    RogueScan.objects.bulk_create([RogueScan(cluster_id=pk) for pk in clusters], ignore_conflicts=True)


def is_due(row: RogueScan, now: datetime) -> bool:
    """Whether a cluster wants a scan, and nobody makes it now."""
    if row.scanning_until is not None and row.scanning_until > now:
        return False
    if row.scanned_at is None:
        return True
    usual = timedelta(seconds=max(settings.ROGUE_SCAN_SECONDS, SHARE * row.seconds))
    return bool(now - row.scanned_at >= min(usual * 2 ** min(row.failures, 5), max(usual, LONGEST)))


def scan(pk: int) -> bool:
    """Scan one cluster, if that is due and nobody does it now; whether it was scanned."""
    cluster = Cluster.objects.filter(pk=pk).first()
    if cluster is None:
        return False
    prepare([pk])
    now = timezone.now()
    row = RogueScan.objects.get(pk=pk)
    if not is_due(row, now) or not take(row, now, CLAIM, until="scanning_until", began="scanned_at"):
        return False
    told: dict[str, object] = {"failures": min(row.failures + 1, 1000)}
    try:
        told = {"failures": 0, "done_at": now, **look(cluster)}
    except ClusterError as error:
        told["problem"] = error.sentence[:500]
        log.warning("endpoints.scan_failed cluster=%s error=%s", cluster.slug, error.sentence)
    finally:
        seconds = (timezone.now() - now).total_seconds()
        RogueScan.objects.filter(pk=pk).update(scanning_until=None, seconds=seconds, **told)
    return told["failures"] == 0


def look(cluster: Cluster) -> dict[str, object]:
    """Read a cluster, judge and keep what was found; return the columns of its scan. Raises ClusterError."""
    resources, skipped = resources_of(), ignored()
    seen = listing.read(client_of(place(cluster)), resources, skipped)
    spaces = {one.thing.namespace for one in seen.pods} | {one.namespace for one in seen.services}
    verdict = judging.judge(
        seen.pods, seen.owners, seen.services, seen.claims, approved.approvals(cluster),
        [name for name in spaces if skipped(name)],
    )  # fmt: skip
    keeping.keep(cluster, verdict, seen)
    proposing.keep(cluster, seen)
    problem = ""
    if seen.unseen:
        kinds = ", ".join(seen.unseen.values())
        problem = (
            f"The portal may not list {kinds} there, so it does not see everything. A platform engineer applies the "
            "access manifest of the cluster again."
        )
    return {"pods": seen.listed, "problem": problem[:500]}


def resources_of() -> tuple[str, ...]:
    """Return the names of resources that are accelerators: the known ones, those of the settings, and those of the
    hardware profiles (one query).
    """
    profiles = HardwareProfile.objects.exclude(resource="").values_list("resource", flat=True).distinct().order_by()
    return tuple(dict.fromkeys([*devices.RESOURCES, *settings.ROGUE_RESOURCES, *profiles]))


def ignored() -> Callable[[str], bool]:
    """Return what says whether a namespace is the cluster's own: the known ones, and those of the settings."""
    patterns = (*SYSTEM, *settings.ROGUE_IGNORED_NAMESPACES)
    return lambda name: any(fnmatchcase(name, one) for one in patterns)
