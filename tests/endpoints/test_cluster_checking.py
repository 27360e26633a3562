"""The connection test: each thing that can be missing is one finding, and nothing holds it longer than its time."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from endpoints.clusters import Place, rbac
from endpoints.clusters.checks import Check, Report
from endpoints.clusters.kubernetes.checking import examine
from tests.cluster.certificates import Authority
from tests.endpoints.api_server import TOKEN, ApiServer, api_server

pytestmark = pytest.mark.slow


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    """A server where nothing is missing."""
    with api_server(tmp_path / "certificates") as made:
        made.served = {
            "serving.kserve.io/v1beta1": ["inferenceservices"],
            "serving.kserve.io/v1alpha2": ["llminferenceservices"],
        }
        yield made


def place(api: ApiServer, **other: object) -> Place:
    return replace(Place("lab", Path("/nowhere"), server=api.server, ca=api.ca, token=TOKEN), **other)  # type: ignore[arg-type]


def found(report: Report, name: str) -> list[Check]:
    return [check for check in report.checks if check.name == name]


def missing(report: Report) -> list[Check]:
    """What did not pass; the certificate of tests lives for two days, which is a warning of its own."""
    assert verdicts(report)["certificate"] == "warn"
    return [check for check in report.checks if check.verdict != "pass" and check.name != "certificate"]


def verdicts(report: Report) -> dict[str, str]:
    """The verdict of each check that is not a verb."""
    return {check.name: check.verdict for check in report.checks if check.name != "permissions"}


@pytest.mark.parametrize("driver", sorted(rbac.GRANTS))
def test_all_is_well_and_each_verb_of_the_manifest_was_asked_for(api: ApiServer, driver: str) -> None:
    report = examine(place(api), driver)
    assert missing(report) == [] and report.problem is None
    assert report.seen and report.version == "v1.36.2"
    rules = next(one for one in rbac.objects(driver, {}) if one["kind"] == "ClusterRole")["rules"]
    granted = {(rule["apiGroups"][0], rule["resources"][0], verb) for rule in rules for verb in rule["verbs"]}
    assert sorted(api.asked) == sorted(granted)
    assert len(found(report, "permissions")) == len(granted)


@pytest.mark.parametrize("verb", [("apps", "deployments", "patch"), ("", "pods/log", "get"), ("", "secrets", "create")])
def test_a_verb_that_is_missing_is_the_one_red_line(api: ApiServer, verb: tuple[str, str, str]) -> None:
    api.denied = {verb}
    report = examine(place(api), "kubernetes")
    [red] = missing(report)
    group, resource, word = verb
    assert red.what == f"{word} {resource}{'.' + group if group else ''}" and red.verdict == "fail"
    assert "kubectl apply -f" in red.fix and report.problem == red


def test_keda_is_asked_for_only_where_it_is_chosen(api: ApiServer) -> None:
    examine(place(api), "kubernetes")
    assert not any(group == "keda.sh" for group, _, _ in api.asked)
    examine(place(api, settings={"autoscaler": "keda"}), "kubernetes")
    assert ("keda.sh", "scaledobjects", "patch") in api.asked


def test_a_wrong_token_ends_the_test_with_one_finding(api: ApiServer) -> None:
    report = examine(place(api, token="revoked"), "kubernetes")
    assert report.problem and report.problem.name == "credential" and "revoked" in report.problem.sentence
    assert api.asked == [] and report.seen
    assert {check.verdict for check in found(report, "permissions")} == {"skip"}
    assert "new token" in found(report, "version")[0].fix, "what was not asked for that reason needs the same"
    assert "revoked" not in repr(place(api, token="revoked")), "a token stands in no repr"


def test_a_certificate_that_nobody_knows_is_nobody(api: ApiServer) -> None:
    api.user = "system:anonymous"
    report = examine(place(api), "kubernetes")
    assert report.problem and report.problem.name == "credential" and "nobody" in report.problem.sentence


@pytest.mark.parametrize(
    ("version", "verdict"), [("v1.29.14", "fail"), ("v1.30.0", "pass"), ("v1.37.0-beta.1+x", "pass")]
)
def test_the_version(api: ApiServer, version: str, verdict: str) -> None:
    api.version = version
    report = examine(place(api), "kubernetes", whole=False)
    assert verdicts(report)["version"] == verdict and report.version == version
    assert verdict == "pass" or "1.30" in found(report, "version")[0].fix
    assert api.asked == [], "a short look asks for no permission"


def test_without_kserve_its_driver_says_what_to_install(api: ApiServer) -> None:
    del api.served["serving.kserve.io/v1alpha2"]
    assert verdicts(examine(place(api), "kserve"))["kserve"] == "pass"
    large = examine(place(api, settings={"serving_api": "llm"}), "kserve")
    assert verdicts(large)["kserve"] == "fail" and "LLMInferenceService v1alpha2" in found(large, "kserve")[0].sentence
    api.served = {}
    report = examine(place(api), "kserve")
    assert (
        verdicts(report)["kserve"] == "fail"
        and report.problem
        and "InferenceService v1beta1" in report.problem.sentence
    )
    assert found(examine(place(api), "kubernetes"), "kserve") == [], "the other driver needs none"


def test_accelerators_are_counted_over_all_nodes_and_metrics_are_optional(api: ApiServer) -> None:
    api.nodes = [{"nvidia.com/gpu": "8", "cpu": "4"}, {"nvidia.com/gpu": "8", "nvidia.com/mig-1g.10gb": "7"}]
    [check] = found(examine(place(api), "kubernetes"), "accelerators")
    assert check.sentence == "2 nodes offer 16 nvidia.com/gpu, 7 nvidia.com/mig-1g.10gb."
    api.nodes, api.groups = [{"cpu": "4", "attachable-volumes-csi.kubernetes.io/x": "9"}], ()
    report = examine(place(api), "kubernetes")
    assert verdicts(report)["accelerators"] == verdicts(report)["metrics"] == "warn" and report.problem is None


def test_another_authority_is_a_certificate_that_does_not_hold(api: ApiServer, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other").certificate.read_text(encoding="ascii")
    report = examine(place(api, ca=other), "kubernetes")
    assert verdicts(report)["reachable"] == "pass" and verdicts(report)["certificate"] == "fail"
    assert api.asked == [] and "CA" in found(report, "certificate")[0].fix


def test_nothing_listens_there(api: ApiServer) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    report = examine(place(api, server=f"https://127.0.0.1:{port}"), "kubernetes")
    assert report.problem and report.problem.name == "reachable" and "nothing listens" in report.problem.sentence
    assert not report.seen and set(verdicts(report).values()) == {"fail", "skip"}


def test_what_listens_there_and_says_nothing_or_speaks_no_tls_is_not_reached(api: ApiServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        mute = examine(place(api, server=f"https://127.0.0.1:{silent.getsockname()[1]}"), "kubernetes", seconds=1.0)
        assert time.monotonic() - begun < 10
    assert mute.problem and mute.problem.name == "reachable" and "says nothing" in mute.problem.sentence
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(
            target=lambda: plain.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), daemon=True
        ).start()
        other = examine(place(api, server=f"https://127.0.0.1:{plain.getsockname()[1]}"), "kubernetes", seconds=5.0)
    assert other.problem and other.problem.name == "reachable" and "TLS" in other.problem.sentence


@pytest.mark.parametrize("server", ["https://169.254.169.254", "https://[fd00:ec2::254]:6443"])
def test_a_metadata_address_is_not_called(api: ApiServer, server: str) -> None:
    report = examine(place(api, server=server), "kubernetes")
    assert report.problem and "never calls" in report.problem.sentence


def test_a_server_that_hangs_does_not_hold_the_test(api: ApiServer) -> None:
    api.hangs = threading.Event()
    begun = time.monotonic()
    report = examine(place(api), "kubernetes", seconds=2.0)
    assert time.monotonic() - begun < 10, "the client alone would wait for eight seconds, eight times"
    verbs = found(report, "permissions")
    assert {check.verdict for check in verbs} == {"skip"} and "time" in verbs[0].sentence
    assert verdicts(report)["credential"] == "pass"
