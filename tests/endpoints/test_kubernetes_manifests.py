"""What the `kubernetes` driver writes, judged without a cluster: complete, pinned, bounded, and unprivileged."""

from typing import Any

import pytest
from kubernetes import client as models
from pydantic import ValidationError

from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.kubernetes import comparing, manifests, owned, pods
from endpoints.clusters.kubernetes.kinds import kind_of
from endpoints.engines import COMMANDS, additions
from tests.endpoints.kubernetes_kit import IMAGE, KEY, place, workload

MODELS: dict[str, Any] = {
    "Namespace": models.V1Namespace, "ResourceQuota": models.V1ResourceQuota, "LimitRange": models.V1LimitRange,
    "NetworkPolicy": models.V1NetworkPolicy, "ServiceAccount": models.V1ServiceAccount, "Service": models.V1Service,
    "Secret": models.V1Secret, "Deployment": models.V1Deployment, "PodDisruptionBudget": models.V1PodDisruptionBudget,
    "HorizontalPodAutoscaler": models.V2HorizontalPodAutoscaler,
}  # fmt: skip


def made(wanted: Workload | None = None, **settings: Any) -> list[dict[str, Any]]:
    return manifests.objects(place(settings=settings), wanted or workload(), KEY)


def of(kind: str, found: list[dict[str, Any]], index: int = 0) -> Any:
    return [one for one in found if one["kind"] == kind][index]


def pod(found: list[dict[str, Any]]) -> Any:
    return of("Deployment", found)["spec"]["template"]["spec"]


def test_the_namespace_comes_first_and_the_deployment_after_all_that_it_needs() -> None:
    kinds = [one["kind"] for one in made(workload(replicas=2))]
    assert kinds == [
        "Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "NetworkPolicy", "ServiceAccount", "Service",
        "Secret", "PodDisruptionBudget", "Deployment",
    ]  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"autoscaler": "hpa"}, {"gateway_namespace": "gatehouse", "queue_name": "q"}])
def test_the_models_of_the_client_accept_every_object(settings: dict[str, Any]) -> None:
    """Its models are strict: an unknown field or a number in the place of a quantity is an error."""
    for one in made(workload(replicas=2, tolerations=({"key": "gpu", "operator": "Exists", "value": ""},)), **settings):
        model = MODELS[one["kind"]]
        assert model.from_dict(one).to_dict()["metadata"]["name"] == one["metadata"]["name"]
        with pytest.raises(ValidationError):
            model.model_validate({**one, "metadata": {**one["metadata"], "name": 7}})


def test_everything_says_whose_it_is_and_under_which_approval() -> None:
    wanted = workload()
    for one in made(wanted):
        meta = one["metadata"]
        assert meta["labels"][owned.MANAGED_BY] == "gatehouse" and meta["labels"][owned.PROJECT] == "fraud-detection"
        assert kind_of(one).name == one["kind"]
        if one["kind"] in {"Service", "Deployment"}:
            assert meta["name"] == f"ep-{wanted.endpoint_id.replace('-', '')[:13]}-r1"
            assert meta["labels"][owned.ENDPOINT] == wanted.endpoint_id and meta["labels"][owned.REVISION] == "1"
            assert meta["annotations"][owned.APPROVAL_DIGEST] == "sha256:abc"
    template = of("Deployment", made(wanted))["spec"]["template"]["metadata"]
    assert template["annotations"][owned.APPROVAL_DIGEST] == "sha256:abc"
    assert template["annotations"][owned.APPROVAL] == "REQ-7"


def test_the_namespace_is_bounded() -> None:
    found = made(gateway_namespace="portal-system")
    labels = of("Namespace", found)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert of("ResourceQuota", found)["spec"]["hard"] == {"requests.nvidia.com/gpu": "8"}
    deny, allow = of("NetworkPolicy", found), of("NetworkPolicy", found, 1)
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (source,) = allow["spec"]["ingress"][0]["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "portal-system"}
    assert of("ServiceAccount", found)["automountServiceAccountToken"] is False
    assert of("NetworkPolicy", made(), 1)["spec"]["ingress"] == []  # no gateway is named: nobody may call


def test_the_quota_of_each_resource_is_an_object_of_its_own() -> None:
    slice_ = made(workload(resource="nvidia.com/mig-3g.40gb"))
    assert of("ResourceQuota", slice_)["spec"]["hard"] == {"requests.nvidia.com/mig-3g.40gb": "8"}
    assert of("ResourceQuota", slice_)["metadata"]["name"] != of("ResourceQuota", made())["metadata"]["name"]
    assert pod(slice_)["containers"][0]["resources"]["limits"]["nvidia.com/mig-3g.40gb"] == "1"


def test_the_pod_is_restricted() -> None:
    """Each requirement of the Pod Security level, in the words of its checks."""
    found = pod(made(workload(replicas=2)))
    (engine,) = found["containers"]
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert engine["securityContext"]["allowPrivilegeEscalation"] is False
    assert engine["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert engine["securityContext"]["readOnlyRootFilesystem"] is True
    assert {next(iter(set(volume) - {"name"})) for volume in found["volumes"]} == {"emptyDir"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(found)
    assert found["automountServiceAccountToken"] is False
    assert "runAsUser" not in pod(made(run_as_user=""))["securityContext"]  # OpenShift chooses one


def test_an_image_without_a_digest_is_refused() -> None:
    for image, code in (
        ("", "image_missing"),
        ("registry.example.com/vllm:1", "image_not_pinned"),
        (IMAGE[:-1], "image_not_pinned"),
        (f"{IMAGE} x", "image_not_pinned"),
    ):
        with pytest.raises(ClusterError) as caught:
            made(workload(image=image))
        assert caught.value.code == code and not caught.value.retry
    assert pod(made())["containers"][0]["image"] == IMAGE


def test_accelerators_are_limited_to_what_is_requested() -> None:
    resources = pod(made(workload(accelerators=2)))["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "2"
    assert resources["limits"]["memory"] == resources["requests"]["memory"] == "1Gi"
    plain = made(workload(accelerators=0, resource="", accelerator_limit=None))
    assert set(pod(plain)["containers"][0]["resources"]["limits"]) == {"memory"}
    assert not [one for one in plain if one["kind"] == "ResourceQuota"]
    with pytest.raises(ClusterError) as caught:
        made(workload(resource="gpu"))
    assert caught.value.code == "resource_invalid"


def test_the_profile_says_where() -> None:
    tolerations = ({"key": "team", "operator": "Equal", "value": "a", "effect": "NoSchedule"},)
    found = pod(made(workload(node_selector={"nvidia.com/gpu.product": "L40S"}, tolerations=tolerations)))
    assert found["nodeSelector"] == {"nvidia.com/gpu.product": "L40S"} and found["tolerations"] == [*tolerations]
    assert pod(made())["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "tolerations" not in pod(made(workload(accelerators=0)))


def test_large_weights_have_their_time_to_load() -> None:
    found = made(workload(start_timeout_seconds=1805))
    engine = pod(found)["containers"][0]
    probe = engine["startupProbe"]
    assert 1805 <= probe["periodSeconds"] * probe["failureThreshold"] < 1815
    assert of("Deployment", found)["spec"]["progressDeadlineSeconds"] > 1805
    assert {engine[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "/health"
    }


def test_the_engine_is_told_what_was_approved() -> None:
    words = pods.command(workload(arguments=("--revision", "abc"), context_tokens=8192, concurrency=4))
    assert words[:3] == ["vllm", "serve", "acme/granite"] and words[-2:] == ["--revision", "abc"]
    assert words[words.index("--max-model-len") + 1] == "8192" and words[words.index("--max-num-seqs") + 1] == "4"
    assert words[words.index("--host") + 1] == "0.0.0.0" and words[words.index("--port") + 1] == "8000"


def test_vllm_is_pinned_and_uses_all_accelerators_unless_the_command_says_so() -> None:
    def more(command: tuple[str, ...] = COMMANDS["vllm"], count: int = 1, resource: str = "nvidia.com/gpu") -> Any:
        source = "hf://acme/granite@0123"
        return additions("vllm", command, source=source, accelerators=count, resource=resource)

    assert more() == ("--revision", "0123")
    assert more(count=4) == ("--revision", "0123", "--tensor-parallel-size", "4")
    assert more(("vllm", "--revision=x", "-tp=2"), count=4) == ()
    assert more(count=2, resource="nvidia.com/mig-1g.10gb") == ("--revision", "0123")
    assert additions("demo", ("x",), source="hf://a@1", accelerators=2, resource="nvidia.com/gpu") == ()


def test_the_key_of_the_engines_stands_in_the_secret_and_nowhere_else() -> None:
    found = made()
    others = [one for one in found if one["kind"] != "Secret"]
    assert KEY not in str(others) and manifests.fingerprint(KEY) in str(others)
    variables = {one["name"]: one for one in pod(found)["containers"][0]["env"]}
    reference = variables["VLLM_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert reference["name"] == of("Secret", found)["metadata"]["name"]
    assert variables["POD_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_secrets_of_the_platform_are_referred_to_and_never_written() -> None:
    found = made(image_pull_secret="pull", model_secret="hub")
    assert pod(found)["imagePullSecrets"] == [{"name": "pull"}]
    variables = {one["name"]: one for one in pod(found)["containers"][0]["env"]}
    assert variables["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["optional"] is True
    assert len([one for one in found if one["kind"] == "Secret"]) == 1


def test_shared_memory_is_memory_and_a_part_of_the_pods() -> None:
    (shm,) = [one for one in pod(made(workload(host_memory_bytes=64 * 2**30)))["volumes"] if one["name"] == "shm"]
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}


def test_an_autoscaler_stays_within_what_was_approved() -> None:
    found = made(workload(replicas=3), autoscaler="hpa")
    assert "replicas" not in of("Deployment", found)["spec"]
    spec = of("HorizontalPodAutoscaler", found)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 3)
    assert spec["scaleTargetRef"]["name"] == of("Deployment", found)["metadata"]["name"]
    keda = of("ScaledObject", made(workload(replicas=3), autoscaler="keda", prometheus="http://prometheus:9090"))
    assert keda["spec"]["maxReplicaCount"] == 3
    with pytest.raises(ClusterError) as caught:
        made(workload(replicas=3), autoscaler="keda")
    assert caught.value.code == "autoscaler_unset"
    assert "replicas" in of("Deployment", made(autoscaler="hpa"))["spec"]  # one replica: nothing to choose


def test_names_fit_and_two_installations_do_not_meet() -> None:
    long = place(settings={"namespace_prefix": "gatehouse"})
    assert len(owned.namespace(long, "p" * 40, "staging")) <= 63
    one, two = place(settings={"namespace_prefix": "x" * 40}), place(settings={"namespace_prefix": "x" * 39 + "y"})
    names = [owned.namespace(where, "p" * 40, "prod") for where in (one, two)]
    assert len(set(names)) == 2 and all(len(name) == 63 for name in names)
    assert owned.selector(one) != owned.selector(two)


def test_two_portals_with_one_prefix_leave_each_other_alone() -> None:
    here, there = (place(settings={"installation": name}) for name in ("gatehouse-1a2b", "gatehouse-3c4d"))
    assert owned.selector(here) != owned.selector(there)
    ours, theirs = (of("Namespace", made(**where.settings)) for where in (here, there))
    assert ours["metadata"]["name"] == theirs["metadata"]["name"]
    with pytest.raises(ClusterError) as caught:
        owned.require_ours(theirs, ours)
    assert caught.value.code == "name_collision"


def test_an_id_is_no_path() -> None:
    with pytest.raises(ClusterError):
        owned.stem("../etc")


def test_a_strangers_object_is_told_from_an_own_one() -> None:
    wanted = of("Service", made())
    owned.require_ours(wanted, wanted)
    for key in (owned.MANAGED_BY, owned.ENDPOINT, owned.INSTALLATION):
        labels = {name: value for name, value in wanted["metadata"]["labels"].items() if name != key}
        with pytest.raises(ClusterError) as caught:
            owned.require_ours({**wanted, "metadata": {**wanted["metadata"], "labels": labels}}, wanted)
        assert caught.value.code == "name_collision" and wanted["metadata"]["name"] in caught.value.sentence


def test_what_others_add_is_no_drift_and_what_they_change_is() -> None:
    live = comparing.stamped(of("Deployment", made()))
    assert not comparing.drifted(live) and comparing.settled(live, of("Deployment", made())) is False  # another id
    container = live["spec"]["template"]["spec"]["containers"][0]
    more = {**container, "terminationMessagePath": "/x", "env": [*container["env"], {"name": "MORE", "value": "1"}]}

    def with_container(changed: Any) -> Any:
        template = live["spec"]["template"]
        spec = {**live["spec"], "template": {**template, "spec": {**template["spec"], "containers": [changed]}}}
        return {**live, "spec": spec}

    assert not comparing.drifted(with_container(more))
    assert comparing.drifted(with_container({**container, "image": "evil"}))
    assert comparing.drifted(with_container({**container, "env": container["env"][1:]}))
    assert comparing.drifted({**live, "metadata": {**live["metadata"], "annotations": {}}})


@pytest.mark.parametrize(("amount", "text"), [(2**30, "1Gi"), (3 * 2**20, "3Mi"), (1000, "1000"), (2**10, "1Ki")])
def test_quantities_are_written_as_the_server_writes_them(amount: int, text: str) -> None:
    assert pods.quantity(amount) == text
    assert (pods.cores(2000), pods.cores(1500)) == ("2", "1500m")
