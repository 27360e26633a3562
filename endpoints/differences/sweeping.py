"""The sweep: each cluster is compared by a task of its own, one worker at a time, and after failures less often. A
cluster that is away delays nobody.

What bears on an approval is marked to be written again, and the reconciler does that.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from catalog.models import with_pins
from endpoints.clusters import ClusterDriver, ClusterError, Comparable, Difference, Workload
from endpoints.differences import keeping
from endpoints.differences.models import DriftLook, LiveDifference
from endpoints.drivers import driver_for, workload
from endpoints.models import Cluster, Desired, Endpoint, Phase
from endpoints.nudge import post
from endpoints.seats import HOLDER_KIND
from endpoints.watching.pressing import press
from portal.states import take
from quotas.models import Reservation, ReservationState

log = logging.getLogger(__name__)
TASK = "endpoints.tasks.compare_cluster"  # by name: the task calls this module
CLAIM = timedelta(seconds=300)  # of one look; a worker that dies in it costs so much
BUDGET_SECONDS = 220.0  # then the next look goes on where this one ended
SHARE = 10  # a look that takes one second is not repeated within ten
LONGEST = timedelta(seconds=600)  # between two looks at a cluster that fails
GIT = "gitops"
LOCAL = "local"  # a process has no object that somebody could edit
COMPARED = (Phase.READY, Phase.DEGRADED, Phase.PROVISIONING)
Found = Sequence[Difference]


def clusters() -> QuerySet[Cluster]:
    """Return the clusters that keep something that somebody could change."""
    return Cluster.objects.exclude(driver=LOCAL)


def sweep() -> int:
    """Have each cluster that is due compared by a task of its own; return how many."""
    now, count = timezone.now(), 0
    keeping.end_deleted()
    looks = {one.pk: one for one in DriftLook.objects.filter(cluster__in=clusters())}
    for cluster in clusters():
        if is_due(looks.get(cluster.pk), now):
            post(TASK, [cluster.pk], expires=settings.DRIFT_SECONDS)
            count += 1
    return count


def want(cluster: Cluster) -> None:
    """Have a cluster compared soon; a lost message costs one sweep."""
    DriftLook.objects.bulk_create([DriftLook(cluster=cluster)], ignore_conflicts=True)
    DriftLook.objects.filter(pk=cluster.pk).update(looked_at=None)
    post(TASK, [cluster.pk], expires=settings.DRIFT_SECONDS)


def is_due(look: DriftLook | None, now: datetime) -> bool:
    """Whether a cluster wants to be compared, and nobody does it now."""
    if look is None:
        return True
    if look.looking_until is not None and look.looking_until > now:
        return False
    return look.looked_at is None or now - look.looked_at >= interval(look)


def interval(look: DriftLook) -> timedelta:
    """Return the time between two looks at a cluster."""
    usual = timedelta(seconds=max(settings.DRIFT_SECONDS * 0.9, SHARE * look.seconds))
    return min(max(usual, LONGEST), usual * 2 ** min(look.failures, 6)) if look.failures else usual


def compare(pk: int) -> None:
    """Compare one cluster, if that is due and nobody does it now."""
    cluster = clusters().filter(pk=pk).first()
    if cluster is None:
        return
    DriftLook.objects.bulk_create([DriftLook(cluster=cluster)], ignore_conflicts=True)
    now, look = timezone.now(), DriftLook.objects.get(pk=pk)
    if not is_due(look, now) or not take(look, now, CLAIM, until="looking_until", began="looked_at"):
        return
    columns: dict[str, object] = {"failures": min(look.failures + 1, 1000), "problem": "It ended before it was done."}
    try:
        compared, rest = look_at(cluster, look.after)
        columns = {"failures": 0, "problem": "", "after": rest, "compared": compared}
        columns |= {"finished_at": timezone.now()} if rest is None else {"looked_at": None}
    except ClusterError as error:
        log.warning("endpoints.compare_failed cluster=%s error=%s", cluster.slug, error.sentence)
        columns["problem"] = error.sentence[:500]
    finally:
        took = (timezone.now() - now).total_seconds()
        # Unless it took so long that another worker looks by now.
        own = DriftLook.objects.filter(pk=pk, looking_until=now + CLAIM)
        own.update(looking_until=None, seconds=took, **columns)


def look_at(cluster: Cluster, after: UUID | None = None) -> tuple[int, UUID | None]:
    """Compare the endpoints of a cluster, from the one behind `after` on, and write down what differs; return how many,
    and the last one where the time was too short for all. Raises ClusterError.
    """
    since, ends = timezone.now(), monotonic() + BUDGET_SECONDS
    rows = {str(row.pk): row for row in comparable(cluster, after)}
    driver, count = driver_for(cluster), 0
    known = keeping.open_of(rows)
    for endpoint_id, found in _compared(driver, _workloads(rows)):
        row = rows[endpoint_id]
        count += 1
        if found or row.pk in known:
            _take_in(cluster, row, found, known.get(row.pk, {}), since)
        if monotonic() > ends:
            return count, row.pk
    return count, None


def comparable(cluster: Cluster, after: UUID | None = None) -> QuerySet[Endpoint]:
    """Return the endpoints of a cluster whose objects are there and are not about to change."""
    rows = Endpoint.objects.filter(
        cluster=cluster, desired=Desired.RUNNING, phase__in=COMPARED, ready_at__isnull=False, revision__isnull=False,
        next_revision=None, drain_until=None, revision__adopted={},  # nothing of those is the portal's
    )  # fmt: skip
    rows = rows.filter(pk__gt=after) if after is not None else rows
    rows = rows.select_related("project", "cluster", "contact", "created_by")
    return with_pins(
        rows.select_related("revision__version__asset", "revision__profile"), "revision__version"
    ).order_by("pk")


def workload_of(row: Endpoint, held: int | None, limits: dict[int, int] | None = None) -> Workload | None:
    """Return what is to run of an endpoint, with at most as many replicas as the `held` accelerators allow; None where
    its version does not say how.
    """
    if row.revision is None:
        return None
    per, wanted = row.revision.profile.accelerator_count, row.wanted_replicas
    count = min(wanted, held // per) if per and held is not None else wanted
    try:
        return workload(row, row.revision, count, limits=limits) if count else None
    except ClusterError:
        return None  # said on its page


def held_of(ids: Sequence[str]) -> dict[str, int]:
    """Return how many accelerators endpoints hold, by their ids (one query)."""
    rows = Reservation.objects.filter(holder_kind=HOLDER_KIND, holder_id__in=ids, state=ReservationState.HELD)
    return dict(rows.values_list("holder_id", "amount"))


def _workloads(rows: Mapping[str, Endpoint]) -> dict[str, Workload]:
    held, limits = held_of(list(rows)), dict[int, int]()
    found = {one: workload_of(row, held.get(one), limits) for one, row in rows.items()}
    return {one: made for one, made in found.items() if made is not None}


def _compared(driver: ClusterDriver, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, Found]]:
    if isinstance(driver, Comparable):
        yield from driver.compare_all(workloads)
        return
    for endpoint_id, made in workloads.items():
        yield endpoint_id, driver.compare(made)


def _take_in(
    cluster: Cluster, row: Endpoint, found: Found, known: Mapping[str, LiveDifference], since: datetime
) -> None:
    """Write down what differs of an endpoint, unless it was changed, or somebody works on it, since the look began."""
    now = timezone.now()
    same = Endpoint.objects.filter(
        pk=row.pk, desired=row.desired, revision=row.revision, next_revision=None, scale=row.scale,
        rewrite_at=row.rewrite_at,
    )  # fmt: skip
    if not same.filter(Q(claimed_until=None) | Q(claimed_until__lte=now)).exists():
        return
    keeping.write(row, found, known, since)
    # What others changed in Git is for them to take back.
    everything = cluster.options.get("drift") == "revert" and cluster.driver != GIT
    undone = any(not one.own and (one.guarded or everything) for one in found)
    if undone and not cluster.paused:
        same.filter(rewrite_at=None).update(rewrite_at=now)
        press(cluster.pk, [row.pk])
