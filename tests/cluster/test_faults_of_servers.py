"""What an API server, its rights, its webhooks and its other users do wrong, as an endpoint's row tells it: the
sentence, whose turn it is, and that it goes on when it is over. Every call failing is in test_faults.py.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from endpoints import services
from endpoints.clusters.kubernetes import client as calling
from endpoints.clusters.kubernetes import owned
from endpoints.drivers import place
from endpoints.fleet import registering
from endpoints.models import Endpoint, Phase
from projects.principal import Principal
from tests import factories
from tests.cluster import certificates, portal_kit
from tests.cluster.fault_kit import Life, Line, Wire, check_reservations, with_image
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker
from tests.endpoints.kubernetes_kit import ApiServer, Said

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
SECONDS = 600  # for a machine that does ten other things beside
ROOM = 200
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
Make = Callable[..., "Case"]


@dataclass
class Case:
    """One endpoint on a registered cluster, and its worker."""

    plane: Plane
    life: Life
    wire: Wire

    @property
    def row(self) -> Endpoint:
        """As it is now."""
        return self.life.endpoint

    def until(self, good: Callable[[Endpoint], Any], what: str) -> Endpoint:
        """Work until the row says so."""
        end = time.monotonic() + SECONDS
        while not good(self.work()):
            row = self.row
            assert time.monotonic() < end, f"waited for {what}: {row.phase} {row.reason_code} {row.reason_sentence}"
            time.sleep(0.1)
        return self.row

    def work(self) -> Endpoint:
        """Be a worker once."""
        self.wire.work(self.row, Line())
        return self.row

    def told(self, code: str) -> Endpoint:
        """Work until the reason has this code."""
        return self.until(lambda row: row.reason_code == code, code)

    def ready(self) -> Endpoint:
        """Work until it answers calls, and nothing else is to be said."""
        return self.until(lambda row: (row.phase, row.reason_code) == (Phase.READY, "ready"), "ready")

    def path(self, kind: str, name: str = "") -> str:
        """Where an object of the endpoint is."""
        group = "/apis/apps/v1" if kind == "deployments" else "/api/v1"
        namespace = f"{portal_kit.prefix(self.life.cluster)}-{self.life.project.slug}-dev"
        return f"{group}/namespaces/{namespace}/{kind}/{name or owned.stem(str(self.row.pk)) + '-r1'}"


@pytest.fixture
def make(plane: Plane, kubelet: Kubelet, org: Org, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes endpoints, each on a cluster of its own, that are about to begin."""
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    wire, made, version = Wire(monkeypatch), list[Case](), with_image(factories.make_version())

    def case(replicas: int = 1, **access: Any) -> Case:
        cluster = portal_kit.register(plane, org.pat, **access)
        pool, profile = portal_kit.pool_of(cluster, 8)
        made.append(Case(plane, Life(org.fraud, cluster, pool, profile, (version, version), replicas), wire))
        return made[-1]

    with portal_kit.machine(kubelet, ROOM):
        yield case
        for one in made:
            portal_kit.forget(plane, one.life.cluster)


class Between:
    """A proxy before the API server: it passes everything on, or answers `said` itself."""

    def __init__(self, plane: Plane, directory: Path) -> None:
        self.plane = plane
        self.said: Said | None = None
        self.server = ApiServer(directory, self._answer)

    def _answer(self, method: str, path: str) -> Said:
        if self.said is not None:
            return self.said
        _, _, headers, body = self.server.asked[-1]
        names = ("Authorization", "Content-Type", "Accept")
        kept: dict[str, str] = {name: headers[name] for name in names if name in headers}
        url = self.plane.server + path
        found = requests.request(method, url, headers=kept, data=body, verify=str(self.plane.ca_file), timeout=30)
        return Said(found.status_code, found.content, {"Content-Type": found.headers["Content-Type"]})


@pytest.fixture
def between(plane: Plane, tmp_path: Path) -> Iterator[Between]:
    made = Between(plane, tmp_path / "between")
    with made.server:
        yield made


def test_what_answers_calls_is_left_alone_whatever_the_server_says(make: Make, between: Between) -> None:
    where = between.server.place()
    case = make(server=where.server, ca=where.ca)
    case.life.create()
    routes = case.ready().upstreams
    for code, said in {
        "slow_down": Said(429, {"kind": "Status", "message": "too many"}, {"Retry-After": "30"}),
        "cluster_unavailable": Said(503, {"kind": "Status", "message": "starting"}),
        "cluster_error": Said(500, {"kind": "Status", "message": "etcdserver: request timed out"}),
        "token_refused": Said(401, {"kind": "Status", "reason": "Unauthorized", "message": "Unauthorized"}),
        "answer_not_understood": Said(200, b"<html>Sign in</html>"),
    }.items():
        between.said = said
        row = case.told(code)
        assert (row.phase, row.upstreams) == (Phase.READY, routes)
        assert case.wire.patience > 25 if code == "slow_down" else 0 < case.wire.patience < 10
        check_reservations(row, 1)
        between.said = None
        calling.client_of(place(row.cluster))._rests_until = 0.0  # as long as it asked for
        case.ready()


def test_an_expired_certificate_is_told_and_a_new_one_is_taken(
    make: Make, plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, org: Org
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "LIFE", timedelta(minutes=-1))
        expired = Between(plane, tmp_path / "expired")
    with expired.server:
        where = expired.server.place()
        case = make(server=where.server, ca=where.ca)
        case.life.create()
        assert case.told("certificate_expired").phase == Phase.PENDING
    token = portal_kit.let_in(plane, "kubernetes", portal_kit.account_of(case.life.cluster))
    access = {"authentication": "token", "server": plane.server, "ca": plane.ca, "token": token}
    registering.rotate(Principal.of(org.pat), case.life.cluster, access=access)
    case.ready()


def test_the_server_hangs_dies_and_comes_back(make: Make, plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    if plane.external:
        pytest.skip("a foreign cluster is not ours to stop")
    for name in ("CONNECT_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(calling, name, 0.5)
    standing, beginning = make(), make()
    standing.life.create()
    routes = standing.ready().upstreams
    plane.apiserver.freeze()
    try:
        beginning.life.create()
        assert standing.told("cluster_slow").phase == Phase.READY
        assert beginning.told("cluster_slow").phase == Phase.PENDING
    finally:
        plane.apiserver.thaw()
    plane.apiserver.stop(kill=True)
    assert standing.told("cluster_unreachable").upstreams == routes
    beginning.told("cluster_unreachable")
    for case in (standing, beginning):
        check_reservations(case.row, 1)
    plane.apiserver.start()
    assert standing.ready().upstreams == routes
    beginning.ready()


def test_a_token_that_is_revoked_mid_way_and_its_successor(make: Make, plane: Plane, org: Org) -> None:
    case = make()
    case.life.create()
    case.work()
    account = portal_kit.account_of(case.life.cluster)
    plane.api.delete(f"/api/v1/namespaces/{account}/serviceaccounts/{account}")
    row = case.told("token_refused")
    assert row.reason_turn == "platform" and row.phase in {Phase.PROVISIONING, Phase.READY}
    check_reservations(row, 1)
    token = portal_kit.let_in(plane, "kubernetes", account)
    access = {"authentication": "token", "token": token}
    registering.rotate(Principal.of(org.pat), case.life.cluster, access=access)
    case.until(lambda row: row.phase == Phase.READY and row.reason_code == "ready", "the new token to do")


def definition(version: str) -> dict[str, Any]:
    """The definition of KEDA's objects in a version, without saying what is in them."""
    names = {"kind": "ScaledObject", "listKind": "ScaledObjectList", "plural": "scaledobjects"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    served = {"name": version, "served": True, "storage": True, "schema": schema}
    spec = {"group": "keda.sh", "scope": "Namespaced", "names": names, "versions": [served]}
    meta = {"name": "scaledobjects.keda.sh"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def test_a_kind_that_is_missing_or_of_another_version_and_then_there(make: Make, plane: Plane) -> None:
    case = make(2, autoscaler="keda", prometheus="http://prometheus.example.com:9090")
    case.life.create()
    assert case.told("kind_missing").phase == Phase.FAILED
    by, path = factories.engineer(), f"{DEFINITIONS}/scaledobjects.keda.sh"
    try:
        for version, good in (("v1", False), ("v1alpha1", True)):
            plane.api.post(DEFINITIONS, definition(version))
            objects = f"/apis/keda.sh/{version}/scaledobjects"
            plane.wait(lambda objects=objects: plane.api.find(objects) is not None, objects)
            services.retry(by, case.row)
            if good:
                case.until(lambda row: row.phase == Phase.READY or row.phase == Phase.FAILED, "what it knows now")
                assert case.row.phase == Phase.READY
            else:
                assert case.told("kind_missing").phase == Phase.FAILED
                plane.api.delete(path)
                plane.wait(lambda: plane.api.find(path) is None, "the other version to go")
    finally:
        case.life.delete()
        case.until(lambda row: row.phase == Phase.DELETED, "its end")
        plane.api.delete(path)


def test_a_webhook_that_does_not_answer_and_one_that_refuses(make: Make, plane: Plane, tmp_path: Path) -> None:
    case = make()
    prefix = portal_kit.prefix(case.life.cluster)

    def review(method: str, path: str) -> Said:
        uid = json.loads(server.asked[-1][3])["request"]["uid"]
        denial = {"uid": uid, "allowed": False, "status": {"message": "no engines on Sundays"}}
        return Said(200, {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": denial})

    server = ApiServer(tmp_path / "hook", review)
    ca = server.authority.certificate.read_bytes()
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    hook = {
        "name": "sundays.example.com", "rules": [rule], "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"{server.place().server}/", "caBundle": base64.b64encode(ca).decode()},
        "objectSelector": {"matchLabels": {owned.INSTALLATION: prefix}}, "timeoutSeconds": 5,
    }  # fmt: skip
    made = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": prefix}, "webhooks": [hook],
    }  # fmt: skip
    plane.api.apply(made)
    try:
        case.life.create()
        time.sleep(0.5)
        row = case.told("webhook_unreachable")
        assert row.phase != Phase.FAILED and "sundays.example.com" in row.reason_sentence
        with server:
            row = case.told("webhook_denied")
            assert row.phase == Phase.FAILED and "no engines on Sundays" in row.reason_sentence
    finally:
        plane.api.delete(f"{HOOKS}/{prefix}")
    check_reservations(row, 1)
    services.retry(factories.engineer(), case.row)
    case.until(lambda row: row.phase in {Phase.READY, Phase.FAILED}, "an end")
    if case.row.phase == Phase.FAILED:  # the server had not heard yet that nobody is to be asked
        services.retry(factories.engineer(), case.row)
    case.ready()


def test_what_others_change_remove_or_have_already(make: Make, plane: Plane) -> None:
    case = make()
    case.life.create()
    case.ready()
    evil = f"registry.example.com/evil@sha256:{'b' * 64}"
    changed = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": evil}]}}}}
    *_, namespace, _, name = case.path("deployments").split("/")
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, **changed}
    plane.api.apply(body, namespace, by="somebody")
    case.until(lambda row: evil not in str(plane.api.find(case.path("deployments"))), "it to be taken back")
    case.ready()
    for kind in ("deployments", "services"):
        before = plane.api.get(case.path(kind))["metadata"]["uid"]
        plane.api.delete(case.path(kind))
        if kind == "services":  # nothing calls it, and no look sees it: it comes with the next change
            plane.api.delete(case.path("deployments"))
        case.until(lambda row, kind=kind: plane.api.find(case.path(kind)), f"{kind} to come again")  # type: ignore[misc]
        assert plane.api.get(case.path(kind))["metadata"]["uid"] != before
        case.ready()
    check_reservations(case.row, 1)

    other = Case(plane, Life(**{**vars(case.life), "made": None}), case.wire)
    other.life.create()
    spec = {"ports": [{"port": 80}], "selector": {"app": "theirs"}}
    *_, namespace, _, name = other.path("services").split("/")
    stranger = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    (theirs,) = plane.api.apply(stranger, namespace, by="somebody")
    row = other.told("name_collision")
    assert name in row.reason_sentence and row.reason_turn == "platform" and row.phase == Phase.PENDING
    assert plane.api.get(other.path("services")) == theirs
    plane.api.delete(other.path("services"))
    other.ready()


def test_clocks_that_differ_by_an_hour_change_nothing(
    make: Make, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that does not end holds its accelerator until the cluster's own clock says that its node is lost."""
    case = make()
    for skew in (timedelta(hours=1), timedelta(hours=-1)):

        class Shifted(datetime):
            """The portal's clock."""

            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + skew  # noqa: B023 - used within this round

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calling, "datetime", Shifted)
            case.life.create() if case.life.made is None else case.life.resume()
            case.ready()
            (pod,) = portal_kit.present(plane, case.life.cluster)[str(case.row.pk)]["pods"]
            path = case.path("pods", pod["metadata"]["name"])
            plane.api.patch(path, {"metadata": {"annotations": {"fake-kubelet/mode": "stuck"}}})
            case.life.suspend()
            for _ in range(5):
                assert case.work().phase != Phase.SUSPENDED
            plane.api.delete(path, gracePeriodSeconds=0)
            case.until(lambda row: row.phase == Phase.SUSPENDED, "the end of the pod")
