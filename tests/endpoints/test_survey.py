"""Pools follow the nodes of their clusters: what is there, what is lost, what nobody knows; and a cluster that is away
takes nothing away.
"""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from audit.models import Row
from audit.services import system
from catalog.models import HardwareProfile
from endpoints import survey
from endpoints.clusters import ClusterError
from endpoints.clusters.machines import Machine, Occupant
from endpoints.models import Cluster
from quotas import nodes, services
from quotas.models import Node, Pool, Survey
from quotas.pools import check_pools
from tests import factories
from tests.conftest import Org

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
GPU = "nvidia.com/gpu"


@dataclass
class Fleet:
    """A driver that tells of the nodes that a test puts there."""

    there: list[Machine] = field(default_factory=list)
    away: bool = False
    asked: list[tuple[set[str], set[str]]] = field(default_factory=list)

    def machines(self, resources: Collection[str], labels: Collection[str]) -> tuple[Machine, ...]:
        """What is there."""
        self.asked.append((set(resources), set(labels)))
        if self.away:
            raise ClusterError("unreachable", "The API does not answer.")
        return tuple(self.there)


def machine(name: str, capacity: int = 4, **values: Any) -> Machine:
    values = (
        dict[str, Any]({"resource": GPU, "allocatable": capacity, "condition": "ready", "product": "L40S"}) | values
    )
    return Machine(name=name, capacity=capacity, **values)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet()
    monkeypatch.setattr(survey, "driver_for", lambda cluster: made)
    return made


@pytest.fixture
def cluster(org: Org) -> Cluster:
    return factories.make_place(org.pat)


@pytest.fixture
def pool(cluster: Cluster) -> Pool:
    return pool_of(cluster, "shared-gpu", factories.make_profile(gpus=1))


def pool_of(cluster: Cluster, slug: str, *profiles: HardwareProfile, limit: int = 8) -> Pool:
    pool = factories.make_pool(limit=limit, slug=slug, profiles=list(profiles))
    Pool.objects.filter(pk=pool.pk).update(cluster=cluster.slug, simulated=False)
    pool.refresh_from_db()
    return pool


def look(cluster: Cluster) -> bool:
    return survey.survey(cluster.pk, now=True)


def observed(pool: Pool) -> int:
    pool.refresh_from_db()
    return pool.observed


def test_a_pool_is_what_its_ready_nodes_can_give(cluster: Cluster, pool: Pool, fleet: Fleet) -> None:
    assert look(cluster) and observed(pool) == 8, "no node was ever one of it: it stays as configured"
    fleet.there = [machine("a"), machine("b", allocatable=3), machine("c", condition="cordoned"), machine("d", 0)]
    assert look(cluster) and observed(pool) == 7
    assert Row.objects.filter(action="quotas.observe", actor="system:nodes").count() == 1
    assert fleet.asked[-1] == ({GPU}, set())
    fleet.there = []
    assert look(cluster) and observed(pool) == 0, "they are gone, and it was theirs"
    assert {row.condition for row in Node.objects.all()} == {"gone"}


def test_a_lost_node_changes_no_reservation(org: Org, cluster: Cluster, pool: Pool, fleet: Fleet) -> None:
    fleet.there = [machine("a"), machine("b")]
    look(cluster)
    for number, amount in enumerate((4, 3, 4)):
        services.reserve(system("t"), pool, amount, holder=("endpoint", f"e{number}"), project=org.fraud)
    before = list(pool.reservations.values_list("holder_id", "state", "held_at"))
    since = timezone.now() - dt.timedelta(minutes=3)
    fleet.there[1] = replace(fleet.there[1], condition="lost", since=since)
    look(cluster)
    assert observed(pool) == 4 and pool.held == 7
    assert Node.objects.get(name="b").since == since
    assert [one.code for one in check_pools()] == ["below_held"]
    assert services.reserve(system("t"), pool, 1, holder=("endpoint", "new"), project=org.fraud).state == "waiting"
    services.release(system("t"), ("endpoint", "new"))
    assert list(pool.reservations.exclude(holder_id="new").values_list("holder_id", "state", "held_at")) == before
    fleet.there[1] = machine("b")
    look(cluster)
    assert observed(pool) == 8 and check_pools() == []
    assert list(pool.reservations.exclude(holder_id="new").values_list("holder_id", "state", "held_at")) == before


def test_more_nodes_serve_who_waits(org: Org, cluster: Cluster, pool: Pool, fleet: Fleet) -> None:
    fleet.there = [machine("a")]
    look(cluster)
    for number in range(2):
        services.reserve(system("t"), pool, 4, holder=("endpoint", f"e{number}"), project=org.fraud)
    assert pool.reservations.filter(state="waiting").count() == 1
    fleet.there.append(machine("b"))
    look(cluster)
    assert pool.reservations.filter(state="waiting").count() == 0


def test_profiles_choose_their_nodes(cluster: Cluster, fleet: Fleet) -> None:
    label = {"nvidia.com/gpu.product": "H100"}
    large = factories.make_profile(gpus=1)
    HardwareProfile.objects.filter(pk=large.pk).update(node_selector=label)
    split = factories.make_profile(gpus=1, resource="nvidia.com/mig-1g.10gb")
    any_, h100, slices = (
        pool_of(cluster, slug, profile)
        for slug, profile in (("any", factories.make_profile(gpus=1)), ("h100", large), ("slices", split))
    )
    fleet.there = [
        machine("a", 2, labels=label), machine("b", 3), machine("b", 7, resource="nvidia.com/mig-1g.10gb"),
        machine("c", 5, resource="amd.com/gpu"),
    ]  # fmt: skip
    look(cluster)
    assert (observed(any_), observed(h100), observed(slices)) == (3, 2, 7)
    assert set(fleet.asked[-1][1]) == set(label)


def test_two_pools_of_the_same_nodes_share_them(cluster: Cluster, fleet: Fleet) -> None:
    profile = factories.make_profile(gpus=1)
    first, second = (pool_of(cluster, slug, profile, limit=3) for slug in ("one", "two"))
    fleet.there = [machine("a", 4), machine("b", 4)]
    look(cluster)
    assert (observed(first), observed(second)) == (5, 3), "each up to its limit, and the first has the rest"


def test_a_cluster_that_is_away_takes_nothing_away(cluster: Cluster, pool: Pool, fleet: Fleet) -> None:
    fleet.there = [machine("a", occupants=(Occupant("n", "p", 2),))]
    look(cluster)
    fleet.away = True
    assert not look(cluster) and observed(pool) == 4
    known = Survey.objects.get(pk=cluster.slug)
    assert known.problem == "The API does not answer." and known.seen_at is not None and known.claimed_until is None
    fleet.away = False
    assert look(cluster) and Survey.objects.get(pk=cluster.slug).problem == ""


def test_one_look_at_a_time_and_not_too_often(cluster: Cluster, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert survey.survey(cluster.pk) and not survey.survey(cluster.pk), "it is not due again yet"
    later = timezone.now() + dt.timedelta(seconds=settings.SURVEY_SECONDS + 1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    claimed = nodes.claim(cluster.slug, dt.timedelta(0))
    assert claimed is not None and nodes.claim(cluster.slug, dt.timedelta(0)) is None, "somebody is at it"
    assert nodes.keep(cluster.slug, claimed - dt.timedelta(seconds=1), []) == [], "who was overtaken writes nothing"
    assert not Survey.objects.filter(pk=cluster.slug, claimed_until=None).exists()


def test_what_the_configuration_says_stays(cluster: Cluster, pool: Pool, fleet: Fleet) -> None:
    Pool.objects.filter(pk=pool.pk).update(from_nodes=False)
    fleet.there = [machine("a")]
    assert look(cluster) and observed(pool) == 8


def test_only_clusters_with_an_api_are_asked(cluster: Cluster, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[int]] = []
    monkeypatch.setattr(survey, "post", lambda task, args, expires: sent.append(args))
    factories.make_cluster()
    Node.objects.create(
        cluster="removed", name="n", resource=GPU, capacity=1, allocatable=1, condition="ready", since=timezone.now()
    )
    Survey.objects.create(cluster="removed")
    assert survey.survey_all() == 1 and sent == [[cluster.pk]]
    assert not Node.objects.exists(), "of a cluster that is no longer registered"
    assert not survey.survey(0)


def test_a_cluster_may_claim_more_than_a_pool_can_have(cluster: Cluster, pool: Pool, fleet: Fleet) -> None:
    fleet.there = [machine(f"n{number}", 4096) for number in range(30)]
    assert look(cluster) and observed(pool) == services.MOST_OBSERVED
