"""Background work: fetch, call, return. JSON ids only; every task may run twice, or at the same time as itself."""

import os
import secrets
import socket

from celery import shared_task

from endpoints import alerting, blocking, expiry, giving_back
from endpoints import drift as drifting
from endpoints import reconcile as reconciling
from endpoints import survey as surveying
from endpoints import sweep as sweeping
from endpoints.differences import keeping
from endpoints.differences import sweeping as comparing
from endpoints.fleet import examining
from endpoints.metrics import scrape as scraping
from endpoints.rogue import keeping as finding
from endpoints.rogue import scanning
from endpoints.watching import looking


@shared_task
def sweep() -> None:
    """Find what wants attention."""
    sweeping.sweep()


@shared_task
def reconcile(endpoint_id: str, due: str = "") -> None:
    """Take the next steps for one endpoint."""
    worker = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
    reconciling.reconcile(endpoint_id, worker, due)


@shared_task(soft_time_limit=100, time_limit=110)
def look_over_cluster(pk: int) -> None:
    """Compare all of one cluster with the rows, if that is due."""
    looking.look_over(pk)


@shared_task
def watch_clusters() -> None:
    """Have each cluster looked at, by a task of its own."""
    examining.look_at_all()


@shared_task(soft_time_limit=20, time_limit=30)
def look_at_cluster(pk: int, whole: bool) -> None:
    """Test one cluster, the `whole` of it or whether it is there, and keep what was found."""
    examining.look_at(pk, whole=whole)


@shared_task
def survey_clusters() -> None:
    """Have the nodes of each cluster looked at, by a task of its own."""
    surveying.survey_all()


@shared_task(soft_time_limit=60, time_limit=70)
def survey_cluster(pk: int) -> None:
    """Look at the nodes of one cluster, if that is due."""
    surveying.survey(pk)


@shared_task
def give_back() -> None:
    """Ask borrowed accelerators back for whose they are, and take them when the grace is over."""
    giving_back.settle()


@shared_task
def expire() -> None:
    """Remind, suspend and delete endpoints by their end dates, and end shares."""
    expiry.expire()


@shared_task
def prune() -> None:
    """Delete the logs of endpoints that are gone, alerts and differences that are over, and workloads without approval
    that are gone, after their retention.
    """
    sweeping.prune()
    alerting.prune()
    keeping.prune()
    finding.prune()


@shared_task
def scrape() -> None:
    """Read the counters of every engine that answers calls."""
    scraping.scrape()


@shared_task
def drift() -> None:
    """Tell the people of endpoints whose version holds something else by now than was approved."""
    drifting.tell_drift()


@shared_task
def settle() -> None:
    """Suspend what ran on a blocked version when its time of grace has passed, and take back what a block holds."""
    blocking.settle()


@shared_task
def compare_clusters() -> None:
    """Have what clusters hold compared with what was approved, each by a task of its own."""
    comparing.sweep()


@shared_task(soft_time_limit=280, time_limit=290)
def compare_cluster(pk: int) -> None:
    """Compare one cluster, if that is due."""
    comparing.compare(pk)


@shared_task
def find_rogues() -> None:
    """Have each cluster scanned for what runs without approval, by a task of its own."""
    scanning.sweep()


@shared_task(soft_time_limit=240, time_limit=280)
def scan_cluster(pk: int) -> None:
    """Scan one cluster, if that is due."""
    scanning.scan(pk)
