"""What was approved is written before it runs and taken away afterwards, whichever call fails or is the last of a
worker; entries of others are left alone.
"""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.kubernetes import approving, owned
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import Said, place, recorded, workload
from tests.endpoints.test_kubernetes_faults import bring, rounds

pytestmark = pytest.mark.slow
SPACE = "gatehouse-fraud-detection-dev"
OTHER = {"kind": "Deployment", "replicas": 1, "written": "x", "spec": {}, "labels": {}, "annotations": {}}
DENIED = {
    "kind": "Status", "code": 403, "reason": "Forbidden",
    "message": "deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'gatehouse-approved' with binding"
    " 'gatehouse-approved' denied request: Gatehouse has approved nothing of this kind and name here.",
}  # fmt: skip
UNKNOWN = {"kind": "Status", "code": 404, "reason": "NotFound",
           "message": "the server could not find the requested resource", "details": {}}  # fmt: skip
FORBIDDEN = {
    "kind": "Status", "code": 403, "reason": "Forbidden", "details": {"kind": "approvedworkloads"},
    "message": 'approvedworkloads.gatehouse.example is forbidden: User "portal" cannot get resource'
    ' "approvedworkloads" in API group "gatehouse.example" in the namespace "x"',
}  # fmt: skip


class Guarding(Double):
    """A cluster that refuses Deployments without an entry, of more replicas, or of another template; `blind` denials
    come first, as from a server that has not read the entry yet. `without`: what it answers about the kind.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blind, self.refused = 0, 0
        self.without: Said | None = None

    @property
    def entries(self) -> dict[str, Any]:
        """What is approved in the only namespace."""
        found = [one["spec"]["approved"] for one in self.of("approvedworkloads")]
        return dict(found[0]) if found else {}

    def _answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Said:
        ours = "gatehouse.example" in path
        if ours and self.without is not None:
            return self.without
        if method == "POST" and query.get("dryRun"):
            return Said(201, {**body, "metadata": {**body["metadata"], "name": f"{body['metadata']['generateName']}x"}})
        if method == "POST":
            key = ("approvedworkloads", body["metadata"]["namespace"], body["metadata"]["name"])
            if key in self.objects:
                return Said(409, recorded("err-already-exists-409")["body"])
            return Said(201, self._merge(key, body))
        if isinstance(body, list):
            return self._patched(("approvedworkloads", SPACE, "gatehouse"), body)
        if method == "PATCH" and "/deployments/" in path and not self._approved(body):
            self.refused += 1
            return Said(403, DENIED)
        return super()._answer(method, path, query, body)

    def _approved(self, body: dict[str, Any]) -> bool:
        self.blind -= 1
        if self.blind >= 0:
            return False
        entry = self.entries.get(body["metadata"]["name"])
        return (
            entry is not None
            and body["spec"]["replicas"] <= entry["replicas"]
            and body["spec"]["template"]["spec"] == entry["spec"]["template"]["spec"]
        )

    def _patched(self, key: tuple[str, str, str], operations: list[dict[str, Any]]) -> Said:
        live = self.objects.get(key)
        if live is None:
            return Said(404, recorded("err-not-found-404")["body"])
        made = {"spec": {"approved": dict(live["spec"]["approved"])}, "labels": dict(live["metadata"]["labels"])}
        for one in operations:
            *way, last = [part.replace("~1", "/") for part in one["path"].split("/")[1:]]
            target = made["labels"] if way[0] == "metadata" else made["spec"]["approved"]
            if len(way) == 3:
                target[way[2]] = target[way[2]] | {last: one["value"]}
            elif one["op"] == "add":
                target[last] = one["value"]
            elif target.pop(last, None) is None:
                body = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "remove: path not found"}
                return Said(422, body)
        self.writes.append("PATCH approvedworkloads")
        self.objects[key] = {**live, "spec": made["spec"], "metadata": {**live["metadata"], "labels": made["labels"]}}
        return Said(200, self.objects[key])


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> tuple[KubernetesDriver, Guarding]:
    """A driver and the cluster that it drives, where somebody else's entry stands, too."""
    monkeypatch.setattr(approving, "PAUSES", (0.0, 0.0))
    return driven(monkeypatch, "enforce")


def driven(monkeypatch: pytest.MonkeyPatch, mode: str) -> tuple[KubernetesDriver, Guarding]:
    double = Guarding()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: double.exchange(*call))
    monkeypatch.setattr(approving, "_seen", {})
    return KubernetesDriver(place(settings={"admission": mode})), double


def life(driver: KubernetesDriver, double: Guarding, wanted: Workload) -> None:
    """Create, scale, update beside, take its place, suspend, resume, and delete; the entries are always those of what
    may run.
    """
    name, following = owned.name(wanted), replace(wanted, revision=2, replicas=1)
    bring(driver, wanted)
    double.objects["approvedworkloads", SPACE, "gatehouse"]["spec"]["approved"]["ep-another-r1"] = OTHER
    bring(driver, replace(wanted, replicas=3))
    assert double.entries[name]["replicas"] == 3
    bring(driver, replace(following, keep=(1,)))
    assert set(double.entries) == {name, owned.name(following), "ep-another-r1"}
    bring(driver, following)
    assert set(double.entries) == {owned.name(following), "ep-another-r1"}
    rounds(lambda: driver.remove(wanted.endpoint_id))
    assert double.entries == {"ep-another-r1": OTHER}, "what others run stays approved"
    assert Counter(key[0] for key in double.objects)["deployments"] == 0
    [left] = double.of("approvedworkloads")
    assert not any(key.startswith("approved.") for key in left["metadata"]["labels"])


def test_nothing_is_asked_of_the_cluster_before_it_is_approved(scene: tuple[KubernetesDriver, Guarding]) -> None:
    driver, double = scene
    life(driver, double, workload(replicas=2))
    assert double.refused == 0


@pytest.mark.parametrize("how", ["before", "after"])
def test_whichever_call_fails_the_entries_become_right(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed after a call leaves what a failed call leaves."""
    for number in itertools.count():
        driver, double = driven(monkeypatch, "enforce")
        double.fails = {number: how}
        life(driver, double, workload(replicas=2))
        assert double.refused == 0
        if double.calls <= number:
            return


def test_what_is_as_it_should_be_is_not_written_again(scene: tuple[KubernetesDriver, Guarding]) -> None:
    driver, double = scene
    wanted = workload()
    bring(driver, wanted)
    double.writes.clear()
    driver.apply(wanted)
    assert double.writes == []
    assert not driver.observe(wanted.endpoint_id).drifted


def test_a_server_that_has_not_read_the_entry_yet_is_asked_again(scene: tuple[KubernetesDriver, Guarding]) -> None:
    driver, double = scene
    double.blind = 2
    driver.apply(workload())
    assert double.refused == 2 and len(double.of("deployments")) == 1
    double.blind = 99
    with pytest.raises(ClusterError) as raised:
        driver.apply(workload())
    assert raised.value.code == "policy_denied" and "gatehouse-approved" in raised.value.sentence


def test_suspended_endpoints_may_run_nothing_until_they_are_resumed(scene: tuple[KubernetesDriver, Guarding]) -> None:
    driver, double = scene
    wanted = workload(replicas=2)
    bring(driver, wanted)
    approving.rest(driver._client, driver._place, wanted.endpoint_id)
    assert double.entries[owned.name(wanted)]["replicas"] == 0
    bring(driver, wanted)
    assert double.entries[owned.name(wanted)]["replicas"] == 2


def test_what_runs_without_an_entry_is_written_anew(scene: tuple[KubernetesDriver, Guarding]) -> None:
    driver, double = scene
    wanted = workload()
    bring(driver, wanted)
    double.objects["approvedworkloads", SPACE, "gatehouse"]["spec"]["approved"].clear()
    approving._seen.clear()  # as in another process
    assert driver.observe(wanted.endpoint_id).drifted
    bring(driver, wanted)
    assert set(double.entries) == {owned.name(wanted)} and not driver.observe(wanted.endpoint_id).drifted


@pytest.mark.parametrize("said", [Said(404, UNKNOWN), Said(403, FORBIDDEN)])
def test_without_the_kind_or_the_right_audit_goes_on_and_enforce_says_so(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {"audit": set[str](), "enforce": set[str]()}
    for mode, found in codes.items():
        driver, double = driven(monkeypatch, mode)
        double.without, wanted = said, workload()
        monkeypatch.setattr(Guarding, "_approved", lambda *_: True)
        for step in (lambda: driver.apply(wanted), lambda: driver.observe(wanted.endpoint_id)):  # noqa: B023
            try:
                step()
            except ClusterError as error:
                found.add(error.code)
    missing = {"approvals_missing"} if said.status == 404 else {"permission_missing"}
    assert codes == {"audit": set(), "enforce": missing}


def test_a_stranger_s_object_of_that_name_is_left_alone(scene: tuple[KubernetesDriver, Guarding]) -> None:
    driver, double = scene
    theirs = {"metadata": {"name": "gatehouse", "namespace": SPACE, "labels": {}}, "spec": {"approved": {}}}
    double.objects["approvedworkloads", SPACE, "gatehouse"] = theirs
    with pytest.raises(ClusterError) as raised:
        driver.apply(workload())
    assert raised.value.code == "name_collision" and double.of("deployments") == []


def test_the_place_says_in_which_mode_a_cluster_is() -> None:
    assert approving.wanted(place(settings={"admission": "audit"}))
    assert not approving.wanted(place(settings={"admission": "off"})) and not approving.wanted(place())
