"""The watch on a real API server: a pod turns ready and its row says so without a sweep; the server dies and is back;
etcd forgets what was.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from endpoints import reconcile as reconciling
from endpoints import sweep
from endpoints.clusters import rbac
from endpoints.clusters.kubernetes import kinds, owned, watch
from endpoints.drivers import driver_for, place, workload
from endpoints.models import Cluster, Endpoint, Watch
from endpoints.watching import following, looking
from endpoints.watching.supervising import Supervisor
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker, open_demo
from tests.factories import make_place, make_version
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
IMAGE = f"registry.example.com/vllm@sha256:{'a' * 64}"
SECONDS = 60


class Portal:
    """A watcher and a worker in this thread: what the watcher nudges is reconciled at once."""

    def __init__(self, cluster: Cluster, broker: Broker) -> None:
        self.cluster, self.broker, self.watcher, self.turns = cluster, broker, Supervisor(), 0

    def turn(self) -> None:
        """Work for a moment."""
        self.watcher.round()
        sent, self.broker.sent = self.broker.sent, []
        for name, args, _ in sent:
            self.turns += 1
            if name == looking.TASK:
                looking.look_over(self.cluster.pk)
            else:
                reconciling.reconcile(args[0], f"test-{self.turns}")

    def until(self, probe: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """Work until `probe` answers something true."""

        def careful() -> Any:
            self.turn()
            return probe()

        return wait_for(careful, seconds, what)

    @property
    def watch(self) -> Watch:
        """The row."""
        return Watch.objects.get(pk=self.cluster.pk)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr("endpoints.nudge.current_app", made)
    return made


@pytest.fixture
def portal(org: Org, plane: Plane, kubelet: Kubelet, broker: Broker) -> Iterator[Portal]:
    token = plane.token_for("gatehouse", "gatehouse", rbac.objects("kubernetes", {}))
    cluster = make_place(org.pat, server=plane.server, ca=plane.ca, token=token)
    cluster.options = {"namespace_prefix": f"w-{secrets.token_hex(3)}"}  # another database is another portal
    cluster.save(update_fields=["options"])
    made = Portal(cluster, broker)
    made.until(lambda: made.watch.live_since, "the watch")
    yield made
    for one in made.watcher._held.values():
        one.stop()
    for row in Endpoint.objects.filter(cluster=cluster):
        wait_for(lambda row=row: driver_for(cluster).remove(str(row.pk)), SECONDS, "the endpoint to go")  # type: ignore[misc]


def opened(org: Org, portal: Portal) -> Endpoint:
    """An endpoint as an approval leaves it, on the real cluster, not yet looked at."""
    runtime: dict[str, Any] = {"engine": "vllm", "command": ["serve"], "image": IMAGE, "model": "acme/granite"}
    made = open_demo(org.fraud, version=make_version(), **runtime)
    made.revision.__class__.objects.update(runtime=made.revision.version.runtime | runtime)  # type: ignore[union-attr]
    Endpoint.objects.filter(pk=made.pk).update(cluster=portal.cluster)
    made.refresh_from_db()
    return made


def phase(row: Endpoint) -> str:
    return Endpoint.objects.get(pk=row.pk).phase


def ready(portal: Portal, row: Endpoint) -> None:
    """Bring one up, as often as that has to be tried, and let it come to rest."""

    def tried() -> bool:
        if phase(row) != "ready":
            reconciling.reconcile(row.pk, f"try-{secrets.token_hex(3)}")
        return phase(row) == "ready"

    portal.until(tried, f"{row} to be ready")
    portal.until(lambda: not portal.broker.sent, "peace", 10)


def pods(plane: Plane, row: Endpoint) -> list[Any]:
    return plane.api.items("/api/v1/pods", labelSelector=f"{owned.ENDPOINT}={row.pk}")


def test_a_pod_that_turns_ready_turns_the_row_without_a_sweep(org: Org, plane: Plane, portal: Portal) -> None:
    row = opened(org, portal)
    ready(portal, row)
    # At rest: the look at everything agrees, and finds what observing it alone finds.
    driver = driver_for(portal.cluster)
    alone, whole = driver.observe(str(row.pk)), driver.observe_all()[str(row.pk)]
    assert (whole.replicas, whole.scaled, whole.drifted) == (alone.replicas, alone.scaled, alone.drifted)
    assert looking.compare(portal.cluster) == 0
    # Somebody deletes the pod: the watch tells, and tells again when the next one is ready.
    (pod,) = pods(plane, row)
    plane.api.delete(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}")
    before = Endpoint.objects.get(pk=row.pk).upstreams[0]["instance"]

    def renewed() -> bool:
        found = Endpoint.objects.get(pk=row.pk)
        return found.phase == "ready" and [one["instance"] for one in found.upstreams] != [before]

    portal.until(renewed, "the next pod")
    portal.until(lambda: not portal.broker.sent, "peace", 5)
    version = plane.api.get(deployment(portal, row))["metadata"]["resourceVersion"]
    driver.apply(workload(row, row.revision, 1))  # type: ignore[arg-type]
    assert plane.api.get(deployment(portal, row))["metadata"]["resourceVersion"] == version


def deployment(portal: Portal, row: Endpoint) -> str:
    wanted = workload(row, row.revision, 1)  # type: ignore[arg-type]
    namespace = owned.namespace(place(portal.cluster), wanted.project, wanted.environment_name)
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{owned.name(wanted)}"


def test_the_server_dies_and_etcd_forgets_what_was(
    org: Org, plane: Plane, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LAST_PAUSE", 1.0)
    lists: list[str] = []
    whole = watch.KindFeed._list

    def counted(feed: watch.KindFeed, told: Any) -> None:
        lists.append(feed.name)
        whole(feed, told)

    monkeypatch.setattr(watch.KindFeed, "_list", counted)
    row = opened(org, portal)
    ready(portal, row)
    plane.apiserver.stop(kill=True)
    portal.until(lambda: portal.watch.problem, "the problem")
    assert portal.watch.live_since is None and phase(row) == "ready", "what answered calls is left alone"
    sweep.sweep()
    portal.turn()
    assert phase(row) == "ready" and not lists
    plane.apiserver.start()
    plane.wait_ready()
    (pod,) = pods(plane, row)  # goes before anybody watches again, and etcd forgets that it was there
    plane.api.delete(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}")
    compact(plane)
    portal.until(lambda: portal.watch.live_since, "the watch")
    uid = pod["metadata"]["uid"]
    portal.until(lambda: uid not in str(Endpoint.objects.get(pk=row.pk).upstreams), "the next pod")
    portal.until(lambda: phase(row) == "ready", "the row to say so")


def test_what_the_server_has_forgotten_is_listed_again(org: Org, plane: Plane, portal: Portal) -> None:
    """After a compaction and a restart a real server answers 410 to what it knew before."""
    compact(plane)
    plane.apiserver.stop(kill=True)
    plane.apiserver.start()
    plane.wait_ready()
    where, told = place(portal.cluster), Told()
    feed = watch.KindFeed(where, kinds.POD, owned.selector(where))
    feed._version = "1"  # long ago
    feed.follow(told)
    assert feed._version == "" and not told.lists, "410 is no failure"
    following_it = threading.Thread(target=feed.follow, args=(told,), daemon=True)
    following_it.start()
    wait_for(lambda: told.signs, SECONDS, "the stream")
    feed.close()
    following_it.join(20)
    assert len(told.lists) == 1 and not following_it.is_alive()


def compact(plane: Plane) -> None:
    """Let etcd forget all revisions before the present one."""
    address = next(one for one in plane.components["etcd"].arguments if one.startswith("--listen-client-urls="))
    version = plane.api.get("/api/v1/namespaces")["metadata"]["resourceVersion"]
    url = f"{address.partition('=')[2]}/v3/kv/compaction"
    requests.post(url, json={"revision": version, "physical": True}, timeout=20).raise_for_status()


class Told:
    """Remembers lists and signs."""

    def __init__(self) -> None:
        self.lists, self.signs = list[Any](), 0

    def listed(self, feed: str, found: Any) -> None:
        """Remember."""
        self.lists.append(found)

    def changed(self, feed: str, key: str, mark: Any) -> None:
        """Nothing is asked of this."""

    def sign(self, feed: str) -> None:
        """Remember."""
        self.signs += 1
