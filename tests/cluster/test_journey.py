"""The journey of the demo's data scientist on a real control plane, with both drivers: catalog, plan, request,
approval, endpoint, key, call, counted tokens. The engines are processes that the pods' own commands started; the portal
is a whole one and has no more rights than the manifest that it generated gives it.
"""

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import Object
from tests.cluster.binaries import find_kserve, find_kserve_controllers
from tests.cluster.containers import Containers
from tests.cluster.fixtures import needed
from tests.cluster.journey_kit import ASSET, PROJECT, SECONDS, Meeting, introduce, used
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.stack.browser_kit import running_stack
from tests.stack.conftest import Stack, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


# Granted, and not needed by these steps: (verb, group, resource), and who needs it.
SCAN = {
    ("list", "apps", "statefulsets"): "the scan, where a pod with accelerators belongs to one",
    ("list", "resource.k8s.io", "resourceclaims"): "the scan, where a pod claims devices",
}
COMPARED = {  # tests/cluster/test_drift.py; a sweep may come before the journey ends, and need not
    ("list", group, resource): "what differs from what was approved"
    for group, resource in (
        ("", "namespaces"), ("", "resourcequotas"), ("", "limitranges"), ("", "serviceaccounts"),
        ("networking.k8s.io", "networkpolicies"), ("policy", "poddisruptionbudgets"),
    )
}  # fmt: skip
ELSEWHERE = {
    "kubernetes": {
        **SCAN,
        **COMPARED,
        ("delete", "", "pods"): "an engine that the cluster has tried to start often enough starts anew",
        **{
            (verb, "autoscaling", "horizontalpodautoscalers"): "the option autoscaler"
            for verb in ("get", "list", "create", "patch", "delete")
        },
    },
    "kserve": {
        **SCAN,
        **COMPARED,
        ("delete", "", "pods"): "as above",
        **{
            (verb, "serving.kserve.io", "llminferenceservices"): "the option serving_api"
            for verb in ("get", "list", "watch", "create", "patch", "delete")
        },
    },
}


@pytest.fixture(scope="module")
def portal(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole portal."""
    with running_stack(tmp_path_factory.mktemp("state")) as stack:
        yield stack


@pytest.fixture(scope="module")
def people(portal: Stack) -> dict[str, str]:
    """Who asks and who decides there."""
    return introduce(portal)


@pytest.fixture(params=["kubernetes", "kserve"])
def meeting(
    request: pytest.FixtureRequest, plane: Plane, kubelet: Kubelet, portal: Stack, people: dict[str, str],
    tmp_path: Path,
) -> Iterator[Meeting]:  # fmt: skip
    """The portal and a cluster that it was connected to, whose pods really run."""
    if request.param == "kserve":
        needed(find_kserve())
        needed(find_kserve_controllers())
        plane.with_kserve(controllers=True)
    made = Meeting(portal, plane, request.param, people)
    kubelet.containers = Containers(plane.api, tmp_path / "containers", made.prefix)
    try:
        made.connect(tmp_path / "catalog")
        yield made
    finally:
        kubelet.containers.stop()
        kubelet.containers = None


def test_the_whole_journey(meeting: Meeting, kubelet: Kubelet, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"scoring-{meeting.prefix}"
    asset = meeting.call("GET", f"/catalog/assets/{ASSET}", "dana")
    assert [version["state"] for version in asset["versions"]] == ["approved"]
    request = meeting.ask(meeting.body(name, replicas=2))
    endpoint = request["endpoint"]
    meeting.until(endpoint, "ready")
    meeting.times["ready"] = time.time()
    assert len(pods(meeting)) == 2

    key = meeting.call("POST", f"/projects/{PROJECT}/keys", "dana", {
        "name": f"key-{meeting.prefix}", "endpoints": [name], "scopes": ["inference:invoke"],
    })  # fmt: skip
    told = meeting.chat(key["secret"], name)

    def counted() -> Object | None:
        query = f"/usage?project={PROJECT}&endpoint={name}&interval=hour&group_by=endpoint"
        rows = meeting.call("GET", query, "dana")["items"]
        return dict(rows[0]) if rows else None

    row = wait_for(counted, SECONDS, "the call to be counted")
    assert (row["input_tokens"], row["output_tokens"]) == (told["prompt_tokens"], told["completion_tokens"])
    assert any("demo engine" in line for line in meeting.call("GET", f"/endpoints/{endpoint}/logs", "dana")["items"])

    _live(meeting, endpoint, name, key["secret"])
    if meeting.plane.external:
        return  # somebody else's audit log
    _obey(meeting)
    with capsys.disabled():
        print(_told(meeting, kubelet))


def _live(meeting: Meeting, endpoint: str, name: str, secret: str) -> None:
    """Scaled up and down, put to sleep and woken, brought to a new revision, and deleted: nothing of it is left."""
    meeting.call("POST", f"/endpoints/{endpoint}/scale", "dana", {"replicas": 1})
    wait_for(lambda: len(pods(meeting)) == 1, SECONDS, "one engine to end")
    meeting.chat(secret, name)
    meeting.call("POST", f"/endpoints/{endpoint}/suspend", "dana", {})
    meeting.until(endpoint, "suspended")
    assert pods(meeting) == []
    meeting.call("POST", f"/endpoints/{endpoint}/resume", "dana", {})
    meeting.until(endpoint, "ready")
    following = {
        "kind": "revision", "endpoint": endpoint, "version": "1.0", "hardware_profile": meeting.profile,
        "replicas": 1, "concurrency": 4, "context_tokens": 2048, "purpose": "Shorter questions.",
    }  # fmt: skip
    meeting.ask(following)
    meeting.until(endpoint, "ready", revision=2)
    meeting.chat(secret, name)
    meeting.call("DELETE", f"/endpoints/{endpoint}", "dana")
    wait_for(lambda: meeting.see(endpoint)["phase"] == "deleted", SECONDS, "the endpoint to be deleted")
    assert pods(meeting) == []


def pods(meeting: Meeting) -> list[str]:
    """The names of the pods that the portal has in this cluster."""
    found = meeting.plane.api.items(f"/api/v1/namespaces/{meeting.prefix}-{PROJECT}-dev/pods")
    return [one["metadata"]["name"] for one in found]


def _obey(meeting: Meeting) -> None:
    """What the portal asked for was allowed and stands in the manifest that it had generated, and nothing stands there
    for which there is no use.
    """
    entries = meeting.asked()
    beyond = used(entries) - meeting.granted()
    assert not beyond, f"asked for and not in the manifest: {sorted(beyond)}"
    refused = [one for one in entries if one["annotations"]["authorization.k8s.io/decision"] != "allow"]
    assert not refused, refused[:3]
    idle = meeting.granted() - used(entries) - ELSEWHERE[meeting.driver].keys()
    assert not idle, f"in the manifest and not asked for: {sorted(idle)}"


def _told(meeting: Meeting, kubelet: Kubelet) -> str:
    """How long it took."""
    kinds, entries, began = {"deployments", "inferenceservices"}, meeting.asked(), meeting.times["approved"]
    written = next(
        dt.datetime.fromisoformat(one["stageTimestamp"]).timestamp() for one in entries
        if one["verb"] == "patch" and one["objectRef"]["resource"] in kinds and one["responseStatus"]["code"] < 300
    )  # fmt: skip
    pod = max(at for at in kubelet.ready_at.values() if began < at < meeting.times["ready"])
    return (
        f"\n{meeting.driver}: from approval to manifests {written - began:.2f} s, from the last pod's readiness to the "
        f"API's {meeting.times['ready'] - pod:.2f} s, {len(entries)} requests\n"
    )
