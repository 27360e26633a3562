"""Every right that a first start needs, one by one: the account may do nothing at first, each thing that is asked for
is missed by name, is given then, and it goes on by itself. What is never missed is for details, or for later.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from endpoints.clusters import rbac
from endpoints.models import Cluster, Endpoint, Phase
from tests import factories
from tests.cluster import portal_kit
from tests.cluster.fault_kit import Life, Line, Wire, check_reservations, reserved, rests, with_image
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
SECONDS = 600  # for a machine that does ten other things beside
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SCALER = "hpa"
MISSED = re.compile(r"may not (\w+) (\S+)")
ASKS = {ask.words: ask for ask in rbac.asks("kubernetes", {"autoscaler": SCALER})}
# The watcher follows by it, the connection test counts by it, how much of a quota is used only explains, the comparison
# with what was approved reads each object by itself where it may not list them, and the scan seeks what is not ours.
ELSEWHERE = {
    "watch pods", "watch deployments.apps", "list nodes", "list resourcequotas", "list namespaces", "list limitranges",
    "list networkpolicies.networking.k8s.io", "list serviceaccounts", "list statefulsets.apps",
    "list inferenceservices.serving.kserve.io", "list llminferenceservices.serving.kserve.io",
    "list resourceclaims.resource.k8s.io", "list hardwareprofiles.infrastructure.opendatahub.io",
}  # fmt: skip
DETAILS = {"list events", "get pods/log", "list replicasets.apps"}
# Nothing is ended or made smaller by a first start.
LATER = {one for one in ASKS if one.startswith("delete ")} | {"patch pods"}


@dataclass
class Rights:
    """What the account of a registered cluster may do now."""

    plane: Plane
    account: str
    given: set[str] = field(default_factory=set)

    def only(self, words: Iterable[str]) -> None:
        """Let it do these things and nothing else; back when the server knows."""
        before, self.given = self.given, set(words)
        rules = [
            {"apiGroups": [ask.group], "resources": [ask.resource], "verbs": [ask.verb]}
            for ask in (ASKS[one] for one in sorted(self.given))
        ]
        self.plane.api.patch(f"{ROLES}/{self.account}", {"rules": rules})
        for one in sorted(before ^ self.given)[:1]:  # a role counts whole or not at all
            self.plane.wait(lambda one=one: self.may(one) == (one in self.given), f"{one} to count")

    def may(self, words: str) -> bool:
        """Whether the server lets it."""
        ask = ASKS[words]
        resource, _, part = ask.resource.partition("/")
        asked = {"group": ask.group, "resource": resource, "subresource": part, "verb": ask.verb}
        user = f"system:serviceaccount:{self.account}:{self.account}"
        body = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": asked},
        }  # fmt: skip
        return bool(self.plane.api.post(REVIEWS, body)["status"]["allowed"])


@dataclass
class Climb:
    """One endpoint that lives with ever more rights."""

    life: Life
    wire: Wire
    rights: Rights

    @property
    def uids(self) -> dict[str, list[str]]:
        """What the server has of it."""
        there = portal_kit.present(self.rights.plane, self.life.cluster)[str(self.life.endpoint.pk)]
        return {kind: sorted(one["metadata"]["uid"] for one in found) for kind, found in there.items()}

    def through(self, operation: str, begin: Callable[[], object]) -> set[str]:
        """Take away every right, begin something, and give what is missed until it is done; what was missed."""
        self.rights.only(())
        there = self.uids if self.life.made else {}
        begin()
        kept, missed = self._kept(), set[str]()
        end = time.monotonic() + SECONDS
        while not self.work(operation):
            row = self.life.endpoint
            assert row.phase != Phase.FAILED and time.monotonic() < end, (
                f"{operation}: {row.phase} {row.reason_sentence}"
            )
            if row.reason_code != "permission_missing":
                time.sleep(0.05)
                continue
            if not missed:
                assert (self.uids, self._kept()) == (there, kept), "what cannot be seen is left alone"
            words = self.read(row)
            assert words not in self.rights.given, f"{words} was given"
            missed.add(words)
            self.rights.only({*self.rights.given, words})
        check_reservations(self.life.endpoint, self.life.endpoint.wanted_replicas)
        return missed

    def work(self, operation: str) -> bool:
        """Be a worker once; whether nothing is left to do and to say."""
        idle = self.wire.work(self.life.endpoint, Line())
        row = self.life.endpoint
        told = (
            row.reason_code == "ready" and 0 < len(row.upstreams) <= row.wanted_replicas
        )  # the autoscaler may want one
        return idle and rests(row, operation) and (told or row.desired != "running")

    def _kept(self) -> tuple[object, object]:
        """What calls and accelerators depend on."""
        return self.life.endpoint.upstreams, reserved(self.life.endpoint)

    def read(self, row: Endpoint) -> str:
        """The thing that the row says is missing."""
        found = MISSED.search(row.reason_sentence)
        assert found and row.reason_turn == "platform", row.reason_sentence
        words = f"{found[1]} {found[2]}"
        assert words in ASKS and self.rights.account in row.reason_sentence, row.reason_sentence
        return words


@pytest.fixture
def cluster(plane: Plane, kubelet: Kubelet, org: Org, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The plane as the portal knows it, with accelerators that only this test uses."""
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    with portal_kit.machine(kubelet, 8):
        made = portal_kit.register(plane, org.pat, autoscaler=SCALER)
        yield made
        portal_kit.forget(plane, made)


@pytest.fixture
def climb(plane: Plane, cluster: Cluster, org: Org, monkeypatch: pytest.MonkeyPatch) -> Climb:
    """An endpoint of two replicas that is about to begin, and an account that may do everything."""
    pool, profile = portal_kit.pool_of(cluster, 8)
    versions = (with_image(factories.make_version()), with_image(factories.make_version()))
    life = Life(org.fraud, cluster, pool, profile, versions, replicas=2)
    return Climb(life, Wire(monkeypatch), Rights(plane, portal_kit.account_of(cluster), set(ASKS)))


def test_each_right_is_missed_by_name_and_missed_no_longer_when_it_is_given(climb: Climb) -> None:
    """Until it is ready, and without what only explains."""
    assert climb.through("create", climb.life.create) == set(ASKS) - ELSEWHERE - DETAILS - LATER
    assert len(portal_kit.present(climb.rights.plane, climb.life.cluster)[str(climb.life.endpoint.pk)]["pods"]) > 0
