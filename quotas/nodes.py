"""Keeping what clusters say of their nodes, and letting the pools follow it."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from audit.services import system
from catalog.models import HardwareProfile
from portal.states import take
from quotas import devices, services
from quotas.models import Node, NodeCondition, Pool, Reservation, Survey

KEEP_GONE = dt.timedelta(days=7)  # a node that is not there any more is shown for so long
CLAIM = dt.timedelta(seconds=90)
SHARE = 10  # a look that takes one second is not repeated within ten
COLUMNS = ("product", "memory_mib", "capacity", "allocatable", "labels", "condition", "since", "pods")


@dataclass(frozen=True)
class Found:
    """One kind of accelerator of one node, as the cluster says it now; None: it does not say since when."""

    name: str
    resource: str
    capacity: int
    allocatable: int
    condition: str
    product: str = ""
    memory_mib: int | None = None
    since: dt.datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    pods: Sequence[Mapping[str, object]] = ()


def wanted() -> tuple[set[str], set[str]]:
    """Return what hardware profiles call accelerators, and the labels by which they choose nodes (one query)."""
    profiles = list(HardwareProfile.objects.filter(accelerator_count__gt=0))
    return {devices.resource_of(one) for one in profiles}, {key for one in profiles for key in one.node_selector}


def claim(cluster: str, every: dt.timedelta) -> dt.datetime | None:
    """Take the next look at the nodes of a cluster, when it is due (`every` of nothing: it is) and nobody is at it, and
    return when; else None.
    """
    now = timezone.now()
    Survey.objects.bulk_create([Survey(cluster=cluster)], ignore_conflicts=True)
    survey = Survey.objects.get(pk=cluster)
    pause = max(every, dt.timedelta(seconds=SHARE * survey.seconds)) if every else every
    if survey.tried_at is not None and now - survey.tried_at < pause * 0.9:
        return None
    return now if take(survey, now, CLAIM, until="claimed_until", began="tried_at") else None


def fail(cluster: str, claimed: dt.datetime, sentence: str) -> None:
    """Note that a look failed; what was seen before stays."""
    Survey.objects.filter(pk=cluster, tried_at=claimed).update(claimed_until=None, problem=sentence[:500])


def forget(clusters: Collection[str]) -> None:
    """Forget the nodes of all clusters but these."""
    others = Survey.objects.exclude(cluster__in=clusters)
    if others.exists():  # the usual answer is no, and costs no write
        Node.objects.exclude(cluster__in=clusters).delete()
        others.delete()


def keep(cluster: str, claimed: dt.datetime, found: Sequence[Found]) -> list[Reservation]:
    """Write what a look found that was claimed at `claimed`, let the pools of the cluster follow it, and return the
    reservations that are held now since there is more. Nothing is written when somebody has looked since.
    """
    now = timezone.now()
    with transaction.atomic():
        if not Survey.objects.select_for_update().filter(pk=cluster, tried_at=claimed).exists():
            return []
        known = {(row.name, row.resource): row for row in Node.objects.select_for_update().filter(cluster=cluster)}
        seen = {(one.name, one.resource): one for one in found}
        Node.objects.bulk_create(_row(cluster, one, now) for key, one in seen.items() if key not in known)
        changed = [row for key, row in known.items() if _update(row, seen.get(key), now)]
        Node.objects.bulk_update(changed, COLUMNS, batch_size=200)
        Node.objects.filter(cluster=cluster, condition=NodeCondition.GONE, since__lt=now - KEEP_GONE).delete()
        Survey.objects.filter(pk=cluster).update(
            claimed_until=None, seen_at=now, problem="", seconds=(now - claimed).total_seconds()
        )
    return follow(cluster)


def follow(cluster: str) -> list[Reservation]:
    """Let `observed` of each pool of the cluster be what its nodes can give, and return who is held now. A pool that
    no node was ever one of stays as configured.
    """
    pools = list(Pool.objects.filter(cluster=cluster).prefetch_related("profiles"))
    found = devices.parts(pools, Node.objects.filter(cluster=cluster))
    promoted: list[Reservation] = []
    for pool in pools:
        if not pool.from_nodes or not (found[pool.pk] or pool.observed_at):
            continue
        Pool.objects.filter(pk=pool.pk).update(observed_at=timezone.now())
        usable = min(sum(part.usable for part in found[pool.pk]), services.MOST_OBSERVED)
        promoted += services.observe(system("nodes"), pool, usable)
    return promoted


def _row(cluster: str, one: Found, now: dt.datetime) -> Node:
    row = Node(cluster=cluster, name=one.name, resource=one.resource, since=now)
    _update(row, one, now)
    return row


def _update(row: Node, one: Found | None, now: dt.datetime) -> bool:
    """Let a row be what was found, nothing when it is gone; whether it changed."""
    before = [getattr(row, name) for name in COLUMNS]
    condition = one.condition if one is not None else NodeCondition.GONE
    if row.condition != condition:
        row.since = (one.since if one is not None else None) or now
    row.condition = condition
    if one is None:
        row.pods = []
    else:
        row.product, row.memory_mib, row.labels = one.product, one.memory_mib, dict(one.labels)
        row.capacity, row.allocatable, row.pods = one.capacity, one.allocatable, [dict(pod) for pod in one.pods]
    return before != [getattr(row, name) for name in COLUMNS]
