"""The look at all of a cluster: a few lists, compared with the rows in bulk, so that only what is not as it should be
is looked at by itself.

While a cluster is followed this look comes rarely; else as often as the sweep, but never so often that it costs more
than a tenth of the time. One look at a cluster at a time, in a task of its own, and after failures fewer: a cluster
that is away delays nobody.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from endpoints.clusters import ClusterDriver, ClusterError, Observation
from endpoints.drivers import driver_for
from endpoints.models import Cluster, Desired, Endpoint, Phase, Watch
from endpoints.nudge import post
from endpoints.watching import leases, wanted
from endpoints.watching.pressing import press
from endpoints.watching.resting import at_rest
from portal.http import uuid_or_none
from portal.states import take

log = logging.getLogger(__name__)
TASK = "endpoints.tasks.look_over_cluster"  # by name: the task calls this module
CLAIM = timedelta(seconds=120)  # of one look; a worker that dies in it costs so much
RARELY = timedelta(seconds=300)  # between two looks at a cluster that is followed
SHARE = 10  # a look that takes one second is not repeated within ten
FIRST_PAUSE = timedelta(seconds=5)  # before a cluster that failed is tried again; doubled up to
LONGEST = timedelta(seconds=60)
PER_SECOND = 100  # endpoints that one worker looks at; more nudges than that would only pile up
MOST_REMOVED = 50  # endpoints without a row that one look clears away

# What is where it should be, as far as its row says; whether the cluster agrees is for a look to find out.
SETTLED = (
    Q(
        desired=Desired.RUNNING, phase=Phase.READY, reason_code="ready", attempts=0, next_revision=None, fallback=None,
        drain_until=None, rewrite_at=None,
    )
    | Q(desired=Desired.RUNNING, phase=Phase.FAILED)
    | Q(desired=Desired.SUSPENDED, phase=Phase.SUSPENDED)
)  # fmt: skip


def sweep() -> int:
    """Nudge what is not settled and that no message will look at, on all clusters with an API, and have each cluster
    that is due looked over by a task of its own; return how many endpoints were nudged.
    """
    now, count = timezone.now(), 0
    clusters = list(leases.followed())
    wanted.note(bool(clusters))
    watches = {one.pk: one for one in Watch.objects.filter(pk__in=[one.pk for one in clusters])}
    for cluster in clusters:
        count += press(cluster.pk, _forgotten(cluster, now), expires=settings.SWEEP_SECONDS)
        if is_due(watches.get(cluster.pk), now):
            _send(cluster.pk)
    return count


def want(cluster: int) -> None:
    """Have all of a cluster looked over soon; a lost message costs one sweep."""
    Watch.objects.filter(pk=cluster).update(looked_at=None)
    _send(cluster)


def look_over(pk: int) -> None:
    """Look over one cluster, if that is due and nobody does it now."""
    cluster = Cluster.objects.filter(pk=pk).first()
    if cluster is None:
        return
    leases.prepare([pk])
    now = timezone.now()
    watch = Watch.objects.get(pk=pk)
    if not is_due(watch, now) or not take(watch, now, CLAIM, until="looking_until", began="looked_at"):
        return
    failures = watch.look_failures + 1
    try:
        compare(cluster)
        failures = 0
    except ClusterError as error:
        log.warning("endpoints.look_failed cluster=%s error=%s", cluster.slug, error.sentence)
    finally:
        took = (timezone.now() - now).total_seconds()
        Watch.objects.filter(pk=pk).update(
            looking_until=None, look_seconds=took, look_failures=min(failures, 1000),
        )  # fmt: skip


def is_due(watch: Watch | None, now: datetime) -> bool:
    """Whether all of a cluster wants a look, and nobody takes it now."""
    if watch is None:
        return True
    if watch.looking_until is not None and watch.looking_until > now:
        return False
    return watch.looked_at is None or now - watch.looked_at >= interval(watch, now)


def interval(watch: Watch, now: datetime) -> timedelta:
    """Return the time between two looks at all of a cluster."""
    usual = timedelta(seconds=max(settings.SWEEP_SECONDS, SHARE * watch.look_seconds))
    if watch.look_failures:
        doubled: timedelta = max(usual, FIRST_PAUSE) * 2 ** min(watch.look_failures - 1, 5)
        return min(LONGEST, doubled)
    return max(usual, RARELY) if leases.is_live(watch, now) else min(usual, RARELY)


def compare(cluster: Cluster) -> int:
    """Compare what the cluster has with what rows want: remove what no row knows, have everything looked at that is not
    as it should be; return of how many endpoints. Raises ClusterError.

    The cluster is asked first: a row is committed before its engine starts, so an engine without a row is never just
    early.
    """
    driver = driver_for(cluster)
    seen = driver.observe_all()
    present = {*seen, *driver.list()}
    if not cluster.paused:
        _remove_strays(cluster, driver, present)
    rows = Endpoint.objects.filter(cluster=cluster).exclude(phase=Phase.DELETED).filter(SETTLED)
    return press(cluster.pk, _restless(rows, seen))


def _restless(rows: QuerySet[Endpoint], seen: Mapping[str, Observation]) -> Iterator[UUID]:
    nothing = Observation()
    for row in rows.select_related("revision").iterator(chunk_size=500):
        if not at_rest(row, seen.get(str(row.pk), nothing)):
            yield row.pk


def _remove_strays(cluster: Cluster, driver: ClusterDriver, present: set[str]) -> None:
    living = Endpoint.objects.exclude(phase=Phase.DELETED)
    own = set(living.filter(cluster=cluster).values_list("pk", flat=True))
    others = sorted(name for name in present if uuid_or_none(name) not in own)[:MOST_REMOVED]
    # Two registrations of one cluster see each other's engines.
    elsewhere = set(
        living.filter(pk__in=[found for one in others if (found := uuid_or_none(one))]).values_list("pk", flat=True)
    )
    clear_away(cluster, driver, [one for one in others if uuid_or_none(one) not in elsewhere])


def clear_away(cluster: Cluster, driver: ClusterDriver, names: Iterable[str]) -> None:
    """Take the next step towards nothing of what no row knows; a cluster that refuses is asked again next time."""
    for name in names:
        try:
            done = driver.remove(name)
        except ClusterError as error:
            log.warning("endpoints.remove_failed cluster=%s engine=%s error=%s", cluster.slug, name, error.sentence)
        else:
            log.warning("endpoints.unwanted_engine cluster=%s engine=%s removed=%s", cluster.slug, name, done)


def _forgotten(cluster: Cluster, now: datetime) -> list[UUID]:
    """Return the endpoints that want a look now and that no message will give one, the longest waiting first."""
    waiting = Endpoint.objects.filter(cluster=cluster).exclude(phase=Phase.DELETED)
    waiting = waiting.filter(Q(due_at__lte=now) | Q(due_at=None) & ~SETTLED)
    most = PER_SECOND * settings.SWEEP_SECONDS
    return list(waiting.order_by(F("due_at").asc(nulls_last=True)).values_list("pk", flat=True)[:most])


def _send(cluster: int) -> None:
    post(TASK, [cluster], expires=max(settings.SWEEP_SECONDS, 10))
