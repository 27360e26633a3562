"""The look at all of a cluster: what it nudges, how often it comes, and that one at a time takes it."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from endpoints import sweep
from endpoints.clusters import ClusterError, Observation, Replica
from endpoints.models import Cluster, Endpoint, Revision, Watch
from endpoints.routes import kept
from endpoints.watching import looking
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker, open_demo, replica, work
from tests.factories import make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


class Fleet:
    """A driver of a whole cluster that plays what the test says."""

    def __init__(self) -> None:
        self.seen: dict[str, Observation] = {}
        self.error: ClusterError | None = None
        self.asked: list[str] = []
        self.stray: list[str] = []

    def observe_all(self) -> dict[str, Observation]:
        self.asked.append("all")
        if self.error is not None:
            raise self.error
        return self.seen

    def observe(self, endpoint_id: str) -> Observation:
        self.asked.append(f"one {endpoint_id}")
        if self.error is not None:
            raise self.error
        return self.seen.get(endpoint_id, Observation())

    def list(self) -> list[str]:
        return [*self.seen, *self.stray]

    def remove(self, endpoint_id: str) -> bool:
        self.asked.append(f"remove {endpoint_id}")
        return True


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet()
    for module in ("endpoints.watching.looking", "endpoints.reconcile"):
        monkeypatch.setattr(f"{module}.driver_for", lambda cluster: made)
    return made


@pytest.fixture
def cluster(org: Org) -> Cluster:
    return make_place(org.pat)


def ready(org: Org, cluster: Cluster, fleet: Fleet, *replicas: Replica, **columns: Any) -> Endpoint:
    """An endpoint at rest: ready, as its row and the cluster say."""
    made, seen = open_demo(org.fraud, replicas=len(replicas) or 1), replicas or (replica(),)
    given = {"cluster": cluster, "phase": "ready", "reason_code": "ready", "due_at": None, "upstreams": kept(seen)}
    Endpoint.objects.filter(pk=made.pk).update(**{**given, **columns})
    fleet.seen[str(made.pk)] = Observation(seen)
    made.refresh_from_db()
    return made


def looked(cluster: Cluster, broker: Broker) -> set[str]:
    """The endpoints that a look at all of the cluster nudges."""
    broker.sent.clear()
    looking.compare(cluster)
    return set(broker.ids())


def test_what_is_at_rest_is_left_alone(org: Org, cluster: Cluster, fleet: Fleet, broker: Broker) -> None:
    one, two = ready(org, cluster, fleet), ready(org, cluster, fleet, replica(), replica(index=1))
    asleep = ready(org, cluster, fleet, desired="suspended", phase="suspended", upstreams=[])
    fleet.seen[str(asleep.pk)] = Observation()
    assert looked(cluster, broker) == set()
    assert not Endpoint.objects.filter(pk__in=[one.pk, two.pk, asleep.pk], due_at__isnull=False).exists()


CHANGES: dict[str, Callable[[Observation], Observation]] = {
    "gone": lambda seen: Observation(),
    "not ready": lambda seen: Observation((replica("loading"),)),
    "failed": lambda seen: Observation((replica("failed"),)),
    "one more": lambda seen: Observation((*seen.replicas, replica(index=1))),
    "another address": lambda seen: Observation((replica(url="http://10.0.0.9:8000"),)),
    "another life": lambda seen: Observation((replica(identity="uid-2"),)),
    "another key": lambda seen: Observation((replica(key="another"),)),
    "another revision": lambda seen: Observation((replica(revision=2),)),
    "drifted": lambda seen: Observation(seen.replicas, drifted=True),
    "still weighed": lambda seen: Observation(seen.replicas, weights={1: 90}),
    "scaled": lambda seen: Observation((replica(), replica(index=1)), scaled={1: 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_its_row_says_is_looked_at(
    org: Org, cluster: Cluster, fleet: Fleet, broker: Broker, change: str
) -> None:
    other, one = ready(org, cluster, fleet), ready(org, cluster, fleet)
    fleet.seen[str(one.pk)] = CHANGES[change](fleet.seen[str(one.pk)])
    assert looked(cluster, broker) == {str(one.pk)}
    assert Endpoint.objects.get(pk=one.pk).due_at is not None and Endpoint.objects.get(pk=other.pk).due_at is None


def test_the_mark_goes_when_a_look_finds_nothing(org: Org, cluster: Cluster, fleet: Fleet, broker: Broker) -> None:
    one = ready(org, cluster, fleet, ready_at=timezone.now())
    Revision.objects.update(outcome="worked")
    one = work(one)  # what a look says in words is its own
    Endpoint.objects.filter(pk=one.pk).update(due_at=timezone.now())
    broker.sent.clear()
    assert work(one).due_at is None and not broker.sent


def test_a_failed_or_suspended_one_of_which_something_runs_is_looked_at(
    org: Org, cluster: Cluster, fleet: Fleet, broker: Broker
) -> None:
    failed = ready(org, cluster, fleet, phase="failed", reason_code="crashed")
    asleep = ready(org, cluster, fleet, desired="suspended", phase="suspended")
    assert looked(cluster, broker) == {str(failed.pk), str(asleep.pk)}


def test_what_no_row_knows_is_removed_unless_the_cluster_is_paused(
    org: Org, cluster: Cluster, fleet: Fleet, broker: Broker
) -> None:
    gone, kept_one = ready(org, cluster, fleet), ready(org, cluster, fleet)
    elsewhere = ready(org, make_place(org.pat, slug="elsewhere"), fleet)
    Endpoint.objects.filter(pk=gone.pk).update(phase="deleted", desired="deleted")
    fleet.stray = ["not-a-uuid"]
    cluster.paused = True
    looking.compare(cluster)
    assert not [one for one in fleet.asked if one.startswith("remove")]
    cluster.paused = False
    looking.compare(cluster)
    assert {one for one in fleet.asked if one.startswith("remove")} == {f"remove {gone.pk}", "remove not-a-uuid"}
    assert kept_one.pk and elsewhere.pk


def test_the_sweep_nudges_what_is_not_settled_and_leaves_the_rest_to_the_look(
    org: Org, cluster: Cluster, fleet: Fleet, broker: Broker
) -> None:
    now, earlier = timezone.now(), timezone.now() - dt.timedelta(seconds=3)
    ready(org, cluster, fleet)
    wanted = [
        ready(org, cluster, fleet, phase="provisioning"),
        ready(org, cluster, fleet, due_at=earlier),  # its message was lost
        ready(org, cluster, fleet, attempts=3),
        ready(org, cluster, fleet, desired="deleted"),
        ready(org, cluster, fleet, reason_code="cluster_unreachable"),
        ready(org, cluster, fleet, drain_until=earlier),
    ]
    ready(org, cluster, fleet, phase="provisioning", due_at=now + dt.timedelta(seconds=60))  # its message comes
    broker.sent.clear()
    sweep.sweep()
    assert set(broker.ids()) - {str(cluster.pk), cluster.pk} == {str(one.pk) for one in wanted}
    assert [str(args) for name, args, _ in broker.sent if name == looking.TASK] == [f"[{cluster.pk}]"]
    assert not fleet.asked


def watch_of(cluster: Cluster) -> Watch:
    return Watch.objects.get(pk=cluster.pk)


def test_one_look_at_a_time_and_no_sooner_than_it_is_due(org: Org, cluster: Cluster, fleet: Fleet) -> None:
    looking.look_over(cluster.pk)
    looking.look_over(cluster.pk)
    assert fleet.asked == ["all"] and watch_of(cluster).looking_until is None
    looking.want(cluster.pk)
    Watch.objects.update(looking_until=timezone.now() + dt.timedelta(seconds=60))  # somebody is at it
    looking.look_over(cluster.pk)
    assert fleet.asked == ["all"]
    Watch.objects.update(looking_until=timezone.now())  # that one died
    looking.look_over(cluster.pk)
    assert fleet.asked == ["all", "all"]


def test_what_is_wanted_during_a_look_is_not_forgotten(
    org: Org, cluster: Cluster, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(one: Cluster) -> int:
        looking.want(one.pk)
        return 0

    monkeypatch.setattr(looking, "compare", meanwhile)
    looking.look_over(cluster.pk)
    assert looking.is_due(watch_of(cluster), timezone.now())


def test_followed_clusters_are_looked_over_rarely_and_failing_ones_less_and_less(
    org: Org, cluster: Cluster, fleet: Fleet, settings: Any
) -> None:
    settings.SWEEP_SECONDS = 2
    now = timezone.now()
    watch = Watch(cluster=cluster, looked_at=now - dt.timedelta(seconds=3))
    assert looking.is_due(watch, now)
    watch.look_seconds = 1.0
    assert not looking.is_due(watch, now), "a look takes no more than a tenth of the time"
    watch.look_seconds, watch.live_since = 0.01, now
    watch.sign_at, watch.until = now - dt.timedelta(seconds=20), now + dt.timedelta(seconds=5)
    assert not looking.is_due(watch, now) and looking.interval(watch, now) == looking.RARELY
    watch.sign_at = now - dt.timedelta(seconds=200)
    assert looking.is_due(watch, now), "a stream that says nothing is none"
    watch.sign_at, watch.until = now, now
    assert looking.is_due(watch, now), "nor is one whose holder is dead"
    waits = []
    for watch.look_failures in (1, 2, 3, 10, 1000):
        waits.append(looking.interval(watch, now).total_seconds())
    assert waits == sorted(waits) and waits[0] >= 2 and waits[-1] == 60


def test_a_cluster_that_does_not_answer_keeps_its_rows(
    org: Org, cluster: Cluster, fleet: Fleet, broker: Broker
) -> None:
    one = ready(org, cluster, fleet)
    fleet.error = ClusterError("cluster_unreachable", "It does not answer.")
    looking.look_over(cluster.pk)
    looking.look_over(cluster.pk)
    assert fleet.asked == ["all"] and watch_of(cluster).look_failures == 1
    Watch.objects.update(looked_at=F("looked_at") - dt.timedelta(seconds=90))
    looking.look_over(cluster.pk)
    assert watch_of(cluster).look_failures == 2
    one.refresh_from_db()
    assert one.phase == "ready" and str(one.pk) not in broker.ids()


def test_what_lasts_on_a_cluster_with_an_api_is_asked_about_less_and_less(
    org: Org, cluster: Cluster, fleet: Fleet, broker: Broker
) -> None:
    one = ready(org, cluster, fleet)
    fleet.seen[str(one.pk)] = Observation((replica("loading", reason_code="loading", sentence="It loads."),))
    waits = []
    for minutes in (0, 60):
        work(one)
        since = timezone.now() - dt.timedelta(minutes=minutes)
        Endpoint.objects.filter(pk=one.pk).update(phase_since=since, due_at=None)
        due = work(one).due_at
        assert due is not None
        waits.append((due - timezone.now()).total_seconds())
    assert waits[0] < 1 and 5 < waits[1] <= 10
