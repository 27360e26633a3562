"""What a scan makes of lists: which workload holds accelerators, and whether the portal approved it."""

import datetime as dt
from collections.abc import Iterable
from functools import partial
from typing import Any

from endpoints.clusters.kubernetes import owned
from endpoints.rogue import devices, hours, images, reading
from endpoints.rogue.judging import Approval, Approvals, Verdict, judge
from tests.endpoints.rogue_kit import Object, container, deployment, inference_service, pod

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
ENDPOINT = "11111111-1111-4111-8111-111111111111"
LABELS = {
    owned.MANAGED_BY: owned.MANAGER, owned.INSTALLATION: "gatehouse", owned.PROJECT: "fraud-detection",
    owned.ENVIRONMENT: "dev", owned.ENDPOINT: ENDPOINT, owned.REVISION: "1",
}  # fmt: skip
SPACE, NAME = "gatehouse-fraud-detection-dev", f"{owned.stem(ENDPOINT)}-r1"
DIGEST = {owned.APPROVAL_DIGEST: "sha256:abc"}
APPROVED = Approvals(
    written={
        ("Deployment", SPACE, NAME): Approval("Deployment", SPACE, NAME, ENDPOINT, "1", "sha256:abc", LABELS),
    },
    endpoints=frozenset({ENDPOINT}),
    installations=frozenset({"gatehouse"}),
)


def judged(objects: Iterable[Object], approvals: Approvals = APPROVED, claims: Any = None) -> Verdict:
    """What a scan of `objects` finds."""
    listed = list(objects)
    read = partial(reading.pod, resources=devices.RESOURCES, ignored=frozenset({"kube-system"}))
    pods = [one for each in listed if each["kind"] == "Pod" and (one := read(each))]
    uids = {each["metadata"]["uid"] for each in listed}
    above = [top for each in listed if each["kind"] != "Pod" and (top := reading.owner(each, uids))]
    services = [reading.served(each) for each in listed if each["kind"].endswith("InferenceService")]
    return judge(pods, {one.ref.uid: one for one in above}, services, claims or {}, approvals, ["kube-system"])


def names(verdict: Verdict) -> list[tuple[str, str, int]]:
    return [(one.thing.ref.kind, one.thing.ref.name, one.held) for one in verdict.found]


def test_known_images_are_known_by_whatever_registry() -> None:
    same = {
        "vllm/vllm-openai": "vllm", "docker.io/vllm/vllm-openai:v0.9@sha256:" + "a" * 64: "vllm",
        "harbor.acme.example:5000/mirror/dockerhub/vllm/vllm-openai:v0.9": "vllm",
        "registry.redhat.io/rhaiis/vllm-cuda-rhel9:3.2": "vllm", "quay.io/modh/vllm:rhoai-2.25-cuda": "vllm",
        "ghcr.io/huggingface/text-generation-inference:3.3": "tgi", "lmsysorg/sglang:latest": "sglang",
        "ghcr.io/ggml-org/llama.cpp:server-cuda": "llama.cpp", "nvcr.io/nvidia/tritonserver:25.09-py3": "triton",
        "OLLAMA/ollama": "ollama", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8": "nim",
        "kserve/huggingfaceserver:v0.20.0-gpu": "kserve",
    }  # fmt: skip
    assert {image: one.engine for image in same if (one := images.known(image))} == same
    others = [
        "nginx",
        "docker.io/library/postgres:17",
        "acme/vllm-dashboard-proxy/web",
        "nimlang/nim",
        "python:vllm",
        "",
    ]
    assert [image for image in others if images.known(image)] == []


def test_a_workload_is_named_by_what_stands_above_all() -> None:
    found = judged([*deployment("scorer", "team-a", replicas=2), *inference_service("granite", "team-b")])
    assert names(found) == [("Deployment", "scorer", 2), ("InferenceService", "granite", 1)]
    assert found.found[0].engine == "vLLM" and found.found[0].facts["model"] == "ibm-granite/granite-3.3-2b-instruct"
    assert {**found.found[0].facts, "replicas": 2, "port": 8000, "per_pod": 1, "pods": 2} == found.found[0].facts


def test_what_holds_nothing_and_runs_no_engine_is_no_matter() -> None:
    system = deployment("validator", "kube-system")
    assert names(judged([*system, pod("web", "team-a", [container("nginx")])])) == []


def test_a_training_job_without_a_known_image_holds_accelerators_too() -> None:
    bare = pod("train", "team-a", [container("acme/train", 4, resource="nvidia.com/mig-1g.5gb")])
    waits = pod("waits", "team-a", [container("acme/train", 8)], placed=False)
    assert names(judged([bare, waits])) == [("Pod", "train", 4), ("Pod", "waits", 0)]


def test_claims_count_by_what_they_were_given() -> None:
    one = pod("dra", "team-a", [container("acme/train")], status={
        "resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "dra-gpu-x7"}],
    })  # fmt: skip
    one["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    given = {"metadata": {"name": "dra-gpu-x7", "namespace": "team-a"}, "status": {"allocation": {"devices": {
        "results": [{"driver": "gpu.nvidia.com", "device": "gpu-0"}, {"driver": "net.example.com", "device": "nic"}],
    }}}}  # fmt: skip
    claims = dict([devices.claimed(given)])
    assert names(judged([one], claims=claims)) == [("Pod", "dra", 1)]
    assert names(judged([one], claims={("team-a", "dra-gpu-x7"): 0})) == []


def test_what_the_portal_wrote_is_approved_and_nothing_that_looks_like_it() -> None:
    own = deployment(NAME, SPACE, labels=dict(LABELS), annotations=dict(DIGEST))
    assert names(judged(own)) == []
    elsewhere = deployment(NAME, "team-a", labels=dict(LABELS), annotations=dict(DIGEST))
    renamed = deployment("scoring", SPACE, labels=dict(LABELS), annotations=dict(DIGEST))
    digest = deployment(NAME, SPACE, labels=dict(LABELS), annotations={owned.APPROVAL_DIGEST: "sha256:other"})
    revision = deployment(NAME, SPACE, labels=LABELS | {owned.REVISION: "2"}, annotations=dict(DIGEST))
    bare = pod(NAME, SPACE, [container("vllm/vllm-openai", 1)], labels=dict(LABELS), annotations=dict(DIGEST))
    unknown = deployment("x", "team-a", labels=LABELS | {owned.ENDPOINT: "22222222-1111-4111-8111-111111111111"})
    for imitation in (elsewhere, renamed, digest, revision, [bare], unknown):
        found = judged(imitation).found
        assert [one.claim for one in found] == ["imitated"] and "labels" in found[0].claim_says


def test_a_pod_with_a_made_up_owner_is_seen_for_itself() -> None:
    own = deployment(NAME, SPACE, labels=dict(LABELS), annotations=dict(DIGEST))
    forged = pod(
        "forged", SPACE, [container("vllm/vllm-openai", 2)], {**own[1], "metadata": {"name": "ep", "uid": "no"}}
    )
    foreign = pod("foreign", "team-a", [container("vllm/vllm-openai", 2)], own[1])
    assert names(judged([*own, forged, foreign])) == [("Pod", "forged", 2), ("Pod", "foreign", 2)]


def test_another_portal_is_shown_as_such() -> None:
    theirs = deployment("ep-1", "other-x-dev", labels=LABELS | {owned.INSTALLATION: "other"}, annotations=dict(DIGEST))
    found = judged(theirs).found
    assert [(one.claim, one.held) for one in found] == [("other-portal", 1)] and "other" in found[0].claim_says


def test_an_adopted_object_is_approved_by_its_uid_alone() -> None:
    first, again = deployment("scorer", "team-a"), deployment("scorer", "team-a")
    approvals = Approvals(adopted=frozenset({first[0]["metadata"]["uid"]}))
    assert names(judged(first, approvals)) == []
    assert names(judged(again, approvals)) == [("Deployment", "scorer", 1)]


def test_hours_survive_scans_that_were_missed() -> None:
    found = judged(deployment("scorer", "team-a", gpus=2, replicas=3)).found[0]
    whole = hours.more(found.pods, {}, None, NOW)
    assert whole == 2 * 3 * 2 * 3600  # from the start of the pods, though nobody looked before
    later = NOW + dt.timedelta(hours=5)
    assert whole + hours.more(found.pods, {}, NOW, later) == 2 * 3 * 7 * 3600
    step = NOW + dt.timedelta(minutes=7)
    parts = hours.more(found.pods, {}, NOW, step) + hours.more(found.pods, {}, step, later)
    assert parts == hours.more(found.pods, {}, NOW, later)


def test_a_pod_that_is_over_counts_to_its_end() -> None:
    ended = {"state": {"terminated": {"finishedAt": "2026-11-29T11:00:00Z"}}}
    status = {"phase": "Succeeded", "containerStatuses": [ended]}
    job = pod("train", "team-a", [container("acme/train", 4)], status=status)
    keeps = pod("other", "team-a", [container("acme/train", 1)])
    read = [one for each in (job, keeps) if (one := reading.pod(each, devices.RESOURCES, ()))]
    assert hours.more(read, {}, None, NOW) == 4 * 3600 + 2 * 3600
    assert names(judged([job])) == []


def test_odd_objects_are_read_without_a_fall() -> None:
    odd: list[Object] = [
        {"kind": "Pod", "metadata": None, "spec": None},
        {"kind": "Pod", "metadata": {"name": 1}, "spec": {"containers": 3}},
        pod("big", "x", [container("a/b", 10**11)]),
        pod("text", "x", [container("vllm", 0, resource="nvidia.com/gpu")]),
    ]  # fmt: skip
    for one in odd:
        reading.pod(one, devices.RESOURCES, ())
    assert devices.asked({"containers": [container("a", 10**9)]}) == {"nvidia.com/gpu": devices.MOST}
    assert devices.asked({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "two"}}}]}) == {}


def test_a_made_up_owner_of_another_kind_hides_nothing_and_takes_nothing() -> None:
    """An owner of a kind that nobody lists is taken by its word: its uid may be that of something adopted."""
    approvals = Approvals(adopted=frozenset({"u-1"}))  # it sleeps, so that no list has it
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "scorer", "uid": "u-1"}}
    hidden = pod("hidden", "team-b", [container("vllm/vllm-openai", 2)], owner)
    assert names(judged([hidden], approvals)) == [("Pod", "hidden", 2)]
    theirs = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "ray", "uid": "ray-1"}}
    forged = pod("forged", "team-b", [container("vllm/vllm-openai", 1)], theirs)
    real = pod("ray-0", "team-a", [container("vllm/vllm-openai", 4)], theirs)
    for listed in ([real, forged], [forged, real]):
        found = {(one.thing.namespace, one.held) for one in judged(listed).found}
        assert found == {("team-a", 4), ("team-b", 1)}


def test_what_a_pod_asks_for_has_bounds() -> None:
    many = [container("a", 4000) for _ in range(9)]
    assert devices.asked({"containers": many}) == {"nvidia.com/gpu": devices.MOST}
    kinds = [container("a", 1, resource=f"gpu.intel.com/{number:03}") for number in range(99)]
    assert len(devices.asked({"containers": kinds})) == devices.MOST_KINDS
    named = pod("x", "a", [container("vllm/vllm-openai")], {
        "apiVersion": "v" * 900, "kind": "K" * 900, "metadata": {"name": "n" * 900, "uid": "u" * 900},
    })  # fmt: skip
    ref = judged([named]).found[0].thing.ref
    assert [len(one) for one in (ref.api, ref.kind, ref.name, ref.uid)] == [80, 60, 253, 36]
