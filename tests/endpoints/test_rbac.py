"""The manifest: valid, minimal for its driver, and made from the table that the test asks by."""

import pytest
import yaml

from endpoints.clusters import rbac

DRIVERS = sorted(rbac.GRANTS)


def rules(driver: str, **settings: str) -> dict[tuple[str, str], list[str]]:
    """(group, resource) → verbs, as the file says."""
    documents = list(yaml.safe_load_all(rbac.manifest(driver, settings)))
    role = next(one for one in documents if one["kind"] == "ClusterRole")
    found = {}
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        [group], [resource] = rule["apiGroups"], rule["resources"]
        assert (group, resource) not in found, "one line for each resource"
        found[group, resource] = rule["verbs"]
    return found


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_file_says_what_the_objects_say(driver: str) -> None:
    documents = list(yaml.safe_load_all(rbac.manifest(driver, {})))
    assert documents == rbac.objects(driver, {})
    assert [one["kind"] for one in documents] == ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"]
    space, account, role, binding = documents
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": space["metadata"]["name"]}
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False
    assert "&" not in rbac.manifest(driver, {}), "no anchors"


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_grants_what_is_asked_and_nothing_that_opens_the_cluster(driver: str) -> None:
    granted = {(group, resource, verb) for (group, resource), verbs in rules(driver).items() for verb in verbs}
    assert granted == {(ask.group, ask.resource, ask.verb) for ask in rbac.asks(driver, {})}
    assert not any("*" in part for one in granted for part in one)
    forbidden = {"pods/exec", "pods/attach", "pods/portforward", "nodes/proxy", "serviceaccounts/token"}
    assert not forbidden & {resource for _, resource, _ in granted}
    assert not any(group == "rbac.authorization.k8s.io" for group, _, _ in granted)
    assert not {"impersonate", "escalate", "bind", "deletecollection"} & {verb for _, _, verb in granted}
    secrets = {verb for group, resource, verb in granted if (group, resource) == ("", "secrets")}
    assert not {"get", "list", "watch"} & secrets, "the portal reads no secrets"


def test_registering_a_cluster_twice_takes_no_rights_away() -> None:
    """Applying the second manifest must not write over the role of the first."""
    made = [
        rbac.objects("kubernetes", {}),
        rbac.objects("kserve", {}),
        rbac.objects("kserve", {"namespace_prefix": "two"}),
    ]
    named = [[one["metadata"]["name"] for one in objects] for objects in made]
    assert {tuple(names[:2]) for names in named} == {("gatehouse", "gatehouse")}
    assert len({names[2] for names in named}) == len({names[3] for names in named}) == 3


@pytest.mark.parametrize("driver", DRIVERS)
def test_who_may_patch_may_create(driver: str) -> None:
    """Server-side apply of an object that is not there yet is refused to who may only patch."""
    for (group, resource), verbs in rules(driver).items():
        if "patch" in verbs and resource != "pods":  # pods are annotated, never made
            assert "create" in verbs, (group, resource)


def test_each_driver_gets_only_its_own() -> None:
    plain, kserve = rules("kubernetes"), rules("kserve")
    # The scan for what runs without approval reads them everywhere.
    assert all(verbs == ["list"] for (group, _), verbs in plain.items() if group == "serving.kserve.io")
    assert "create" in kserve["serving.kserve.io", "inferenceservices"]
    assert set(kserve["apps", "deployments"]) == {"list", "watch"}, "KServe makes them"
    assert "create" in plain["apps", "deployments"]
    assert ("keda.sh", "scaledobjects") not in plain
    assert "create" in rules("kubernetes", autoscaler="keda")["keda.sh", "scaledobjects"]
    assert "create" in kserve["serving.kserve.io", "llminferenceservices"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_rule_says_why(driver: str) -> None:
    text = rbac.manifest(driver, {})
    for grant in rbac.grants(driver, {}):
        assert f"# {grant.why}\n" in text
