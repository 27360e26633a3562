"""What the `kserve` driver writes, judged without a cluster: the approved pod inside KServe's objects, and the marks
that OpenShift AI's dashboard reads."""

from dataclasses import replace
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.kserve import manifests
from endpoints.clusters.kubernetes import comparing, owned
from endpoints.clusters.kubernetes import manifests as plain
from endpoints.clusters.kubernetes.kinds import kind_of
from tests.endpoints.kubernetes_kit import IMAGE, KEY, place, workload

LLM = {"serving_api": "llm"}


def made(wanted: Workload | None = None, **settings: Any) -> list[dict[str, Any]]:
    return manifests.objects(place(settings=settings), wanted or workload(), KEY)


def service(wanted: Workload | None = None, **settings: Any) -> Any:
    return next(one for one in made(wanted, **settings) if "serving.kserve.io" in one["apiVersion"])


def test_kserves_object_replaces_all_that_it_makes_itself() -> None:
    for api, kind in (("", "InferenceService"), ("llm", "LLMInferenceService")):
        settings: dict[str, Any] = {"serving_api": api}
        kinds = [one["kind"] for one in made(workload(replicas=2), **settings)]
        router = ["NetworkPolicy"] if api else []  # KServe's picker of engines talks to gateway and engines
        assert kinds == [
            "Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "NetworkPolicy", "ServiceAccount", *router,
            kind, "Secret",
        ]  # fmt: skip
        assert all(kind_of(one).name == one["kind"] for one in made(**settings))


def test_what_runs_is_the_pod_of_the_kubernetes_driver() -> None:
    wanted = workload(accelerators=2, node_selector={"gpu": "l40s"})
    deployment = next(one for one in plain.objects(place(), wanted, KEY) if one["kind"] == "Deployment")
    pod, predictor = deployment["spec"]["template"]["spec"], service(wanted)["spec"]["predictor"]
    assert predictor["containers"] == [{**pod["containers"][0], "name": "kserve-container"}]
    assert predictor["containers"][0]["image"] == IMAGE
    assert {key: predictor[key] for key in pod if key != "containers"} == {
        key: pod[key] for key in pod if key != "containers"
    }
    template = service(wanted, **LLM)["spec"]["template"]
    assert template["containers"][0]["resources"] == pod["containers"][0]["resources"]
    assert (
        template["containers"][0]["command"][: len(pod["containers"][0]["command"])] == pod["containers"][0]["command"]
    )


def test_an_inference_service_runs_in_standard_mode_with_a_fixed_number() -> None:
    found = service(workload(replicas=3))
    assert (found["apiVersion"], found["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    annotations = found["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "Standard"
    assert annotations["serving.kserve.io/autoscalerClass"] == "none"
    assert "serving.kserve.io/stop" not in annotations
    predictor = found["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (3, 3)
    assert predictor["deploymentStrategy"] == {"type": "Recreate"}
    assert len(f"{found['metadata']['name']}-predictor") <= 53


@pytest.mark.parametrize("settings", [{}, LLM])
def test_the_dashboard_and_the_portal_recognise_it(settings: dict[str, str]) -> None:
    wanted = workload()
    found = made(wanted, queue_name="gpus", **settings)
    meta = next(one for one in found if "serving.kserve.io" in one["apiVersion"])["metadata"]
    assert found[0]["metadata"]["labels"]["opendatahub.io/dashboard"] == "true"
    assert meta["labels"]["opendatahub.io/dashboard"] == "true"
    assert meta["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert meta["annotations"]["openshift.io/display-name"] == "scoring"
    assert "REQ-7" in meta["annotations"]["openshift.io/description"]
    assert meta["annotations"][owned.APPROVAL_DIGEST] == "sha256:abc"
    assert meta["labels"][owned.ENDPOINT] == wanted.endpoint_id
    assert meta["labels"][owned.REVISION] == "1"


@pytest.mark.parametrize("settings", [{}, LLM])
def test_labels_and_key_reach_the_pods(settings: dict[str, str]) -> None:
    """An InferenceService hands on what stands in its metadata, an LLMInferenceService what stands in its spec."""
    deployment = next(one for one in plain.objects(place(), workload(), KEY) if one["kind"] == "Deployment")
    wanted = deployment["spec"]["template"]["metadata"]
    found = service(workload(), **settings)
    handed = found["spec"] if settings else found["metadata"]
    assert set(wanted["labels"]) <= set(handed["labels"])
    assert set(wanted["annotations"]) <= set(handed["annotations"])


@pytest.mark.parametrize("settings", [{}, LLM])
def test_none_means_stopped_and_keeps_the_object(settings: dict[str, str]) -> None:
    assert service(workload(replicas=0), **settings)["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"


def test_a_large_model_has_a_router_that_reaches_it_by_tls() -> None:
    spec = service(workload(replicas=2), **LLM)["spec"]
    assert spec["model"] == {"uri": "hf://acme/granite", "name": "scoring"}
    assert spec["replicas"] == 2
    assert spec["router"] == {"gateway": {}, "route": {}, "scheduler": {}}
    assert spec["storageInitializer"] == {"enabled": False}
    container = spec["template"]["containers"][0]
    assert container["name"] == "main"
    assert "lifecycle" not in container, "KServe merges its own into it, and two handlers are refused"
    assert container["command"][-4:] == list(manifests.TLS)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": 8000, "scheme": "HTTPS"}


def test_the_router_may_be_asked_by_its_gateway_and_by_nobody_else() -> None:
    """The namespace denies everything, and KServe gives the pods of its picker no label of the portal's."""
    policies = [one for one in made(workload(), gateway_namespace="edge", **LLM) if one["kind"] == "NetworkPolicy"]
    (router,) = [one for one in policies if one["metadata"]["name"] == "gatehouse-router"]
    part = {"matchLabels": {"app.kubernetes.io/part-of": "llminferenceservice"}}
    assert router["spec"]["podSelector"] == part
    assert router["spec"]["ingress"][0]["from"] == [
        {"podSelector": part},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}}},
    ]
    assert owned.ENDPOINT not in router["metadata"]["labels"], "all endpoints of the namespace share it"


def test_revisions_with_a_weight_share_the_calls_of_their_endpoint() -> None:
    old = workload(weight=90)
    canary = replace(old, revision=2, weight=10)
    routes = [service(one, **LLM)["spec"]["router"]["route"] for one in (old, canary)]
    assert [one["weight"] for one in routes] == [90, 10]
    assert len({one["group"] for one in routes}) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"command": ("python3", "-m", "engine")}, "engine_unsupported"),
        ({"source": "https://example.com/model"}, "model_uri_invalid"),
        ({"source": ""}, "model_uri_invalid"),
    ],
)
def test_a_large_model_wants_vllm_and_a_source_that_kserve_knows(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(ClusterError) as refused:
        made(workload(**fields), **LLM)
    assert (refused.value.code, refused.value.retry) == (code, False)
    assert made(workload(**fields))  # an InferenceService takes them


def test_an_image_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(ClusterError) as refused:
        made(workload(image="registry.example.com/vllm:latest"))
    assert refused.value.code == "image_not_pinned"


def test_what_was_written_stands_where_kserve_does_not_copy_it() -> None:
    """Else a change of the number of replicas would reach the pods as a new template, and end all of them."""
    one, two = service(workload(replicas=1)), service(workload(replicas=2))
    stamped = comparing.stamped(one)
    assert owned.APPLIED not in stamped["metadata"]["annotations"]
    assert comparing.settled(stamped, one)
    assert not comparing.drifted(stamped)
    assert not comparing.settled(stamped, two)
    changed = {**stamped, "spec": {"predictor": {**stamped["spec"]["predictor"], "minReplicas": 7}}}
    assert comparing.drifted(changed)
