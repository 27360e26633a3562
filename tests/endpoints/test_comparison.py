"""What the portal would write against what a cluster has: which fields differ, both values, and who changed them."""

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest

from endpoints.clusters import Difference
from endpoints.clusters.kserve.driver import KServeDriver
from endpoints.clusters.kubernetes import differing, owned
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from endpoints.clusters.kubernetes.guarding import stays
from endpoints.clusters.local import LocalDriver
from tests.endpoints.drift_kit import AT, connect, edit, key_of
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import IMAGE, place, workload

ENGINE = "spec/template/spec/containers/name=engine"
EVIL = f"registry.example.com/evil@sha256:{'b' * 64}"


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    return connect(monkeypatch)


def both(driver: KubernetesDriver, *wanted: Any) -> list[Difference]:
    """The differences of the first workload, which a look at it alone and one at all of them tell alike."""
    alone = list(driver.compare(wanted[0]))
    whole = dict(driver.compare_all({one.endpoint_id: one for one in wanted}))
    found = sorted(whole[wanted[0].endpoint_id], key=repr)
    assert found == sorted(alone, key=repr)
    return alone


def test_what_was_written_is_no_difference(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload(replicas=2)
    driver.apply(wanted)
    writes = list(double.writes)
    assert both(driver, wanted) == [] and double.writes == writes


@pytest.mark.parametrize(
    ("path", "value", "field", "found", "guarded"),
    [
        ("spec/replicas", 1, "spec.replicas", "1", False),
        ("spec/replicas", 7, "spec.replicas", "7", True),
        ("spec/replicas", 0, "spec.replicas", "0", True),
        (f"{ENGINE}/image", EVIL, "spec.template.spec.containers[engine].image", EVIL, True),
        (f"{ENGINE}/command", ["sh"], "spec.template.spec.containers[engine].command", '["sh"]', True),
        (f"{ENGINE}/resources/limits/memory", "9Gi", "spec.template.spec.containers[engine].resources.limits.memory",
         "9Gi", False),
        (f"{ENGINE}/resources/limits/nvidia.com~gpu", "4", None, "4", True),
        ("spec/template/spec/serviceAccountName", "admin", "spec.template.spec.serviceAccountName", "admin", True),
        ("spec/template/spec/securityContext/runAsNonRoot", False, "spec.template.spec.securityContext.runAsNonRoot",
         "false", True),
        (f"metadata/labels/{owned.PROJECT.replace('/', '~')}", "theirs", None, "theirs", True),
    ],
)  # fmt: skip
def test_a_field_with_both_values_and_who_changed_it(
    double: Double, path: str, value: Any, field: str | None, found: str, guarded: bool
) -> None:
    driver, wanted = KubernetesDriver(place()), workload(replicas=2)
    driver.apply(wanted)
    key = key_of(double, "deployments")
    if "~" in path:  # a key that holds a slash
        *way, last = path.split("/")
        node: Any = double.objects[key]
        for part in way:
            name = part.partition("=")[2]
            node = next(one for one in node if one["name"] == name) if isinstance(node, list) else node[part]
        node[last.replace("~", "/")] = value
        double.objects[key]["metadata"]["resourceVersion"] = "99"
        entry = {"manager": "kubectl-edit", "operation": "Update", "time": AT, "fieldsV1": {}}
        double.objects[key]["metadata"]["managedFields"] = [entry]
    else:
        edit(double, key, path, value)
    (one,) = both(driver, wanted)
    assert (one.kind, one.name, one.found, one.guarded, one.own) == ("Deployment", key[2], found, guarded, False)
    assert one.wanted not in (None, one.found) and (field is None or one.field == field)
    assert (one.manager, one.at) == ("kubectl-edit", dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC))
    assert one.sure is (field is not None)


def test_an_item_of_a_list_that_somebody_took_away(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    key = key_of(double, "deployments")
    container = double.objects[key]["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [one for one in container["env"] if one["name"] != "GATEHOUSE_ENGINE_KEY"]
    (one,) = both(driver, wanted)
    assert one.field.endswith("containers[engine].env[GATEHOUSE_ENGINE_KEY]") and one.found is None and one.guarded


def test_what_others_added_is_no_difference(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    key = key_of(double, "deployments")
    edit(double, key, "metadata/annotations/theirs", "yes")
    edit(double, key, f"{ENGINE}/stdin", True)
    assert both(driver, wanted) == []


def test_a_selector_counts_as_a_whole_and_a_volume_keeps_its_kind(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    edit(double, key_of(double, "networkpolicies", "default-deny"), "spec/podSelector/matchLabels/nobody", "here")
    key = key_of(double, "deployments")
    volumes = double.objects[key]["spec"]["template"]["spec"]["volumes"]
    next(one for one in volumes if one["name"] == "tmp").update(hostPath={"path": "/"})
    next(one for one in volumes if one["name"] == "tmp").pop("emptyDir")
    found = {(one.kind, one.field) for one in driver.compare(wanted)}
    assert ("NetworkPolicy", "spec.podSelector") in found
    assert ("Deployment", "spec.template.spec.volumes[tmp].emptyDir") in found
    assert driver.observe(wanted.endpoint_id).drifted


@pytest.mark.parametrize("plural", ["deployments", "services", "secrets", "networkpolicies", "serviceaccounts"])
def test_a_missing_object(double: Double, plural: str) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    key = next(key for key in double.objects if key[0] == plural)
    del double.objects[key]
    (one,) = both(driver, wanted)
    assert (one.name, one.namespace, one.field, one.found, one.guarded) == (key[2], key[1], "", None, True)


def test_a_secret_is_never_read_and_its_change_is_seen(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    edit(double, key_of(double, "secrets"), "data/key", "c3RvbGVu", by="thief")
    (one,) = both(driver, wanted)
    assert (one.kind, one.wanted, one.found, one.manager) == ("Secret", differing.HIDDEN, differing.HIDDEN, "thief")
    assert "c3RvbGVu" not in repr(one)


def test_what_the_portal_would_write_otherwise_today_is_its_own(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload(concurrency=8)
    driver.apply(wanted)
    (one,) = both(driver, replace(wanted, concurrency=9))
    assert one.own and not one.guarded and one.manager == owned.MANAGER and one.field.endswith(".command")


def test_what_endpoints_of_a_namespace_share_is_told_of_each_and_asked_once(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), [workload() for _ in range(20)]
    for one in wanted:
        driver.apply(one)
    edit(double, key_of(double, "limitranges"), "spec/limits", [])
    calls = double.calls
    found = dict(driver.compare_all({one.endpoint_id: one for one in wanted}))
    # Three kinds and five that are shared by one list each, a Secret each, and one dry run.
    assert double.calls - calls == 3 + 5 + 20 + 1
    assert all([one.kind for one in differences] == ["LimitRange"] for differences in found.values())


@pytest.mark.parametrize("api", ["", "llm"])
def test_with_kserve_too(double: Double, api: str) -> None:
    driver, wanted = KServeDriver(place(settings={"serving_api": api})), workload(replicas=2)
    driver.apply(wanted)
    assert both(driver, wanted) == []
    plural, path = (
        ("llminferenceservices", "spec/replicas") if api else ("inferenceservices", "spec/predictor/minReplicas")
    )
    edit(double, key_of(double, plural), path, 1)
    (one,) = both(driver, wanted)
    assert (one.field, one.wanted, one.found, one.guarded) == (path.replace("/", "."), "2", "1", False)
    assert not driver.observe(wanted.endpoint_id).drifted and not driver.observe_all()[wanted.endpoint_id].drifted
    strict = KServeDriver(place(settings={"serving_api": api, "drift": "revert"}))
    assert strict.observe(wanted.endpoint_id).drifted and strict.observe_all()[wanted.endpoint_id].drifted


def test_fewer_replicas_are_left_and_told_from_near_and_afar(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload(replicas=3)
    driver.apply(wanted)
    edit(double, key_of(double, "deployments"), "spec/replicas", 2)
    alone, whole = driver.observe(wanted.endpoint_id), driver.observe_all()[wanted.endpoint_id]
    assert dict(alone.lowered) == dict(whole.lowered) == {1: (2, 3)}
    assert alone.changed and not alone.drifted and not whole.drifted
    edit(double, key_of(double, "deployments"), "spec/replicas", 4)
    alone, whole = driver.observe(wanted.endpoint_id), driver.observe_all()[wanted.endpoint_id]
    assert alone.drifted and whole.drifted and not alone.lowered and not whole.lowered


@pytest.mark.parametrize(
    "fields",
    [
        None, 7, [], [None, 7, {}], [{"manager": 7, "time": "yesterday", "fieldsV1": "x"}],
        [{"manager": "m" * 5000, "operation": "Update", "time": "9999-99-99T00:00:00Z", "fieldsV1": {"f:spec": None}}],
        [{"manager": "m", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{": {}, "k:7": 1}}}}}}],
    ],
)  # fmt: skip
def test_odd_records_of_who_changed_what_break_nothing(double: Double, fields: Any) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    key = key_of(double, "deployments")
    edit(double, key, f"{ENGINE}/image", "x" * 10_000 + "\0\ud800 hf_" + "s" * 30)
    double.objects[key]["metadata"]["managedFields"] = fields
    (one,) = driver.compare(wanted)
    assert one.wanted == IMAGE and one.found is not None and len(one.found) <= differing.LONGEST_VALUE
    assert "\0" not in one.found and len(one.manager) <= differing.LONGEST_NAME
    json.dumps([one.found, one.manager], ensure_ascii=False).encode()


def test_values_that_may_be_secret_are_hidden(double: Double) -> None:
    driver, wanted = KubernetesDriver(place()), workload()
    driver.apply(wanted)
    key = key_of(double, "deployments")
    env = double.objects[key]["spec"]["template"]["spec"]["containers"][0]["env"]
    found = next(one for one in env if one["name"] == "VLLM_API_KEY")
    found.pop("valueFrom")
    found["value"] = "my-very-own"
    edit(double, key, f"{ENGINE}/command", ["vllm", "serve", "--api-key=abcdefgh", "password=hunter22"])
    shown = repr(driver.compare(wanted))
    assert "my-very-own" not in shown and "hunter22" not in shown and "abcdefgh" not in shown


def test_secrets_are_hidden_wherever_they_stand_in_a_value() -> None:
    """A container that somebody added is one value, with all its variables and its command in it."""
    found = {
        "name": "sidecar", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "MODE", "value": "fast"}],
        "command": ["run", "--api-key", "s3cr3t", "--hf-token", "t0k3n", "--max-tokens", "4096", "--tokenizer", "mine"],
    }  # fmt: skip
    for name in ("containers", "initContainers"):
        (change,) = differing.between({"name": "pod"}, {"name": "pod", name: [found]}, extra=True)
        shown = differing.shown(change, change.found)
        assert shown is not None and not any(one in shown for one in ("hunter2", "s3cr3t", "t0k3n"))
        assert all(one in shown for one in ("fast", "4096", "mine", "--api-key"))


def test_more_differences_than_anybody_reads_are_cut() -> None:
    wanted = {"spec": {f"f{number}": number for number in range(500)}}
    assert len(differing.between(wanted, {"spec": {}})) == differing.MOST
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    (one,) = differing.between(deep, {"a": {}})[:1]
    assert len(one.field) <= differing.LONGEST_FIELD and differing.shown(one, one.wanted)


def test_only_what_is_named_may_stay() -> None:
    assert stays("Deployment", "spec.template.spec.terminationGracePeriodSeconds", 60, 5)
    assert stays("HorizontalPodAutoscaler", "spec.maxReplicas", 3, 2)
    assert not stays("HorizontalPodAutoscaler", "spec.maxReplicas", 3, 9)
    assert not stays("Deployment", "spec.replicas", 2, "two") and not stays("Secret", "data", "a", "b")
    assert not stays(
        "Deployment", "spec.template.spec.containers[engine].livenessProbe.exec", None, {"command": ["sh"]}
    )
    assert not stays("Service", "spec.type", "ClusterIP", "LoadBalancer")


def test_a_process_of_this_machine_has_nothing_that_could_be_edited(tmp_path: Any) -> None:
    assert LocalDriver(tmp_path).compare(workload()) == ()
