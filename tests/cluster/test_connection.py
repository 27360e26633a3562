"""The generated account on a real API server: the connection test is green, and each missing verb is one line."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoints import tasks
from endpoints.clusters import Place, rbac
from endpoints.clusters.checks import Check, Report
from endpoints.clusters.kubernetes.checking import examine
from endpoints.fleet import registering
from projects.principal import Principal
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org
from tests.stack.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SECONDS = 120.0  # for a machine that does ten other things beside
SOFT = {"certificate", "metrics"}  # tests have a certificate for two days, and no metrics server


@pytest.fixture
def account(plane: Plane) -> Iterator[str]:
    """A name for account, role and namespace of the test's own, which go with it."""
    name = f"gatehouse-{secrets.token_hex(3)}"
    yield name
    for kind in ("clusterrolebindings", "clusterroles"):
        plane.api.delete(f"/apis/rbac.authorization.k8s.io/v1/{kind}/{name}")
    plane.api.delete(f"/api/v1/namespaces/{name}")


def let_in(plane: Plane, driver: str, account: str) -> Place:
    """What an engineer does: apply the manifest, make a token, register."""
    token = plane.token_for(account, account, rbac.manifest(driver, {}, namespace=account, account=account))
    return Place("real", Path("/nowhere"), server=plane.server, ca=plane.ca, token=token)


def short(report: Report) -> list[Check]:
    """What did not pass, beside what tests cannot have."""
    return [check for check in report.checks if check.verdict != "pass" and check.name not in SOFT]


def test_the_account_of_the_kubernetes_driver_is_all_green(plane: Plane, kubelet: Kubelet, account: str) -> None:
    place = let_in(plane, "kubernetes", account)
    before = plane.mark()
    report = wait_for(lambda: not short(examine(place, "kubernetes", seconds=SECONDS)), 60, "the role to count")
    report = examine(place, "kubernetes", seconds=SECONDS)
    assert short(report) == [] and report.problem is None and report.version.startswith("v1.")
    said = {check.name: check.sentence for check in report.checks}
    assert "16 nvidia.com/gpu" in said["accelerators"]
    assert said["credential"] == f"The cluster knows the portal as system:serviceaccount:{account}:{account}."
    if not plane.external:
        user = f"system:serviceaccount:{account}:{account}"
        written = {verb for verb, group, what in plane.verbs(user, since=before) if "review" not in what}
        assert written <= {"get", "list"}, "the test changes nothing"


@pytest.mark.parametrize(
    ("group", "resource", "verb"),
    [
        ("apps", "deployments", "patch"),
        ("", "namespaces", "create"),
        ("", "pods/log", "get"),
        ("", "secrets", "delete"),
    ],
)
def test_a_verb_taken_away_is_exactly_one_red_line(
    plane: Plane, kubelet: Kubelet, account: str, group: str, resource: str, verb: str
) -> None:
    place = let_in(plane, "kubernetes", account)
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{account}"
    rules = plane.api.get(path)["rules"]
    for rule in rules:
        if rule["apiGroups"] == [group] and rule["resources"] == [resource]:
            rule["verbs"].remove(verb)
    plane.api.patch(path, {"rules": [rule for rule in rules if rule["verbs"]]})

    def red() -> list[str]:
        return [check.what for check in short(examine(place, "kubernetes", seconds=SECONDS))]

    expected = [f"{verb} {resource}{'.' + group if group else ''}"]
    wait_for(lambda: red() == expected, 60, f"{expected} to be the one red line, not {red()}")


def test_a_token_of_an_account_that_is_gone_is_refused(plane: Plane, account: str) -> None:
    place = let_in(plane, "kubernetes", account)
    plane.api.delete(f"/api/v1/namespaces/{account}/serviceaccounts/{account}")

    def problem() -> str:
        found = examine(place, "kubernetes", seconds=SECONDS).problem
        return found.name if found else ""

    wait_for(lambda: problem() == "credential", 60, "the token to be refused")


@pytest.mark.django_db
def test_registered_by_a_pasted_kubeconfig_and_tested_by_the_task(
    plane: Plane, kubelet: Kubelet, account: str, org: Org, tmp_path: Path
) -> None:
    token = let_in(plane, "kubernetes", account).token
    pasted = plane.kubeconfig(tmp_path / "kubeconfig", token).read_text(encoding="utf-8")
    made = registering.create_cluster(
        Principal.of(org.pat), slug="real", name="Real", driver="kubernetes", environments=["dev"],
        access={"authentication": "kubeconfig", "kubeconfig": pasted},
    )  # fmt: skip
    assert made.server == plane.server and made.credential_ends is not None, "the token says when it ends"

    def tested() -> bool:
        tasks.look_at_cluster(made.pk, True)
        made.refresh_from_db()
        return made.problem_code == ""

    wait_for(tested, 60, "the role to count")
    assert made.version.startswith("v1.") and made.last_seen_at and made.asked_at is None
    assert token not in str(made.checks) + made.credential


def test_kserve_is_missing_until_it_is_there(plane: Plane, account: str) -> None:
    place = let_in(plane, "kserve", account)
    if plane.api.find("/apis/serving.kserve.io/v1beta1") is None:
        found = [check for check in examine(place, "kserve", seconds=SECONDS).checks if check.name == "kserve"]
        assert [check.verdict for check in found] == ["fail"]
    plane.with_kserve()

    def missing() -> list[Check]:
        return [check for check in short(examine(place, "kserve", seconds=SECONDS)) if check.name != "accelerators"]

    wait_for(lambda: not missing(), 60, f"nothing to be missing, not {missing()}")
