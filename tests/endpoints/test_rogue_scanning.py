"""The scan of a cluster into rows: what is new, what is gone, whose it is, hours, and that one worker does it."""

import datetime as dt

import pytest
from django.utils import timezone

from endpoints.clusters import ClusterError
from endpoints.clusters.kubernetes.client import Client
from endpoints.fleet import registering
from endpoints.models import Cluster, Endpoint, Phase
from endpoints.rogue import keeping, scanning, services
from endpoints.rogue.models import Mapped, Proposal, RogueScan, RogueState, RogueWorkload
from endpoints.tasks import prune
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import Notification
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker
from tests.endpoints.rogue_kit import Still, container, deployment, inference_service, namespace, pod
from tests.factories import make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def cluster(org: Org) -> Cluster:
    return make_place(org.pat)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Still:
    """The API server of the cluster."""
    made = Still()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: made.exchange(*call))
    return made


def again(cluster: Cluster) -> None:
    """Scan, whenever the last scan was."""
    RogueScan.objects.filter(pk=cluster.pk).update(scanned_at=None)
    assert scanning.scan(cluster.pk)


def rows() -> dict[str, RogueWorkload]:
    return {str(row): row for row in RogueWorkload.objects.all()}


def test_a_deployment_with_an_accelerator_is_there_after_one_scan(cluster: Cluster, api: Still, org: Org) -> None:
    start = (timezone.now() - dt.timedelta(hours=10)).isoformat()
    objects = deployment("scorer", "team-a", gpus=2)
    objects[2]["status"]["conditions"][0]["lastTransitionTime"] = start
    api.put(*objects, namespace("team-a", annotations={"openshift.io/requester": "Dana"}))
    again(cluster)
    row = rows()["team-a/scorer"]
    assert (row.kind, row.accelerators, row.engine, row.state) == ("Deployment", 2, "vLLM", "open")
    assert round(row.device_hours) == 20 and row.uid == objects[0]["metadata"]["uid"]
    assert (row.owner, row.owner_source) == (org.dana, "annotation openshift.io/requester of the namespace")
    assert sorted(api.lists) == sorted(set(api.lists)), "one list per kind"
    scan = RogueScan.objects.get()
    assert (scan.pods, scan.failures, scan.problem) == (1, 0, "") and scan.done_at is not None


def test_scans_add_up_and_miss_nothing(cluster: Cluster, api: Still) -> None:
    objects = deployment("scorer", "team-a")
    api.put(*objects)
    again(cluster)
    first = rows()["team-a/scorer"]
    RogueWorkload.objects.update(counted_at=timezone.now() - dt.timedelta(hours=3))  # as if nobody had scanned since
    again(cluster)
    assert rows()["team-a/scorer"].device_seconds - first.device_seconds in range(3 * 3600 - 5, 3 * 3600 + 60)


def test_what_is_gone_is_closed_and_comes_back(cluster: Cluster, api: Still) -> None:
    objects = deployment("scorer", "team-a")
    api.put(*objects)
    again(cluster)
    hours = rows()["team-a/scorer"].device_seconds
    api.objects.clear()
    again(cluster)
    assert (rows()["team-a/scorer"].state, rows()["team-a/scorer"].accelerators) == (RogueState.GONE, 0)
    api.put(*objects)
    again(cluster)
    row = rows()["team-a/scorer"]
    assert row.state == RogueState.OPEN and row.device_seconds >= hours
    assert "again" in row.timeline[-1]["sentence"]


def test_a_cluster_that_is_away_takes_nothing_away(
    cluster: Cluster, api: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put(*deployment("scorer", "team-a"))
    again(cluster)

    def away(*call: object) -> bytes:
        raise ClusterError("cluster_error", "The cluster does not answer.")

    monkeypatch.setattr(Client, "_exchange", away)
    RogueScan.objects.update(scanned_at=None)
    assert not scanning.scan(cluster.pk)
    assert rows()["team-a/scorer"].state == RogueState.OPEN
    scan = RogueScan.objects.get()
    assert (scan.failures, scan.problem) == (1, "The cluster does not answer.") and scan.scanning_until is None


def test_one_worker_scans_at_a_time(cluster: Cluster, api: Still, broker: Broker) -> None:
    scanning.sweep()
    now = timezone.now()
    RogueScan.objects.update(scanning_until=now + dt.timedelta(seconds=60))
    assert not scanning.scan(cluster.pk) and api.calls == 0
    RogueScan.objects.update(scanning_until=now - dt.timedelta(seconds=1))
    assert scanning.scan(cluster.pk) and not scanning.scan(cluster.pk)


def test_kserve_and_proposals_come_with_it(cluster: Cluster, api: Still) -> None:
    profile = {
        "apiVersion": "infrastructure.opendatahub.io/v1", "kind": "HardwareProfile",
        "metadata": {"name": "nvidia-l40s", "namespace": "redhat-ods-applications", "uid": "p-1",
                     "annotations": {"opendatahub.io/display-name": "NVIDIA L40S"}},
        "spec": {"identifiers": [
            {"identifier": "cpu", "defaultCount": "4", "resourceType": "CPU"},
            {"identifier": "memory", "defaultCount": "24Gi", "resourceType": "Memory"},
            {"identifier": "nvidia.com/gpu", "defaultCount": 1, "resourceType": "Accelerator"},
        ], "scheduling": {"type": "Node", "node": {
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L40S"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        }}},
    }  # fmt: skip
    space = namespace("fraud-lab", labels={"opendatahub.io/dashboard": "true"},
                      annotations={"openshift.io/display-name": "Fraud lab"})  # fmt: skip
    api.put(*inference_service("granite", "fraud-lab"), profile, space)
    again(cluster)
    row = rows()["fraud-lab/granite"]
    assert (row.kind, row.by_kserve, row.accelerators) == ("InferenceService", True, 1)
    proposals = {one.kind: one for one in Proposal.objects.all()}
    assert proposals["hardware-profile"].content | {
        "slug": "nvidia-l40s", "accelerator": "L40S", "accelerator_count": 1, "resource": "nvidia.com/gpu",
        "cpu_millis": 4000, "host_memory_bytes": 24 * 2**30,
    } == proposals["hardware-profile"].content  # fmt: skip
    assert proposals["project"].content["name"] == "Fraud lab"


def test_a_kind_that_may_not_be_listed_is_said(cluster: Cluster, api: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    api.put(*deployment("scorer", "team-a"))
    inner = Still.exchange

    def refusing(api: Still, method: str, path: str, *rest: object) -> bytes:
        if path.endswith("inferenceservices"):
            raise ClusterError("permission_missing", "The portal may not do that.")
        return inner(api, method, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Still, "exchange", refusing)
    again(cluster)
    assert "team-a/scorer" in rows() and "inferenceservices.serving.kserve.io" in RogueScan.objects.get().problem


def test_owners_are_told_once_the_namespace_is_mapped(cluster: Cluster, api: Still, org: Org) -> None:
    api.put(*deployment("scorer", "team-a"))
    again(cluster)
    row, pat = rows()["team-a/scorer"], org.principal(org.pat)
    with pytest.raises(Conflict) as refused:
        services.notify(pat, row)
    assert refused.value.code == "nobody_to_tell"
    Mapped.objects.create(cluster=cluster, namespace="team-a", project=org.fraud)
    again(cluster)
    assert services.notify(pat, rows()["team-a/scorer"], note="Please look at it.") == [org.omar]
    told = Notification.objects.get(kind="rogue.found")
    assert told.person == org.omar and "Please look" in told.text and told.url.endswith("/adopt/")
    assert rows()["team-a/scorer"].state == RogueState.NOTICED
    with pytest.raises(Forbidden):
        services.notify(org.principal(org.dana), rows()["team-a/scorer"])


def test_a_waiver_has_an_end_and_opens_again(cluster: Cluster, api: Still, org: Org) -> None:
    api.put(*deployment("scorer", "team-a"))
    again(cluster)
    lead, today = org.principal(org.yasmine), timezone.now().date()
    row = rows()["team-a/scorer"]
    for wrong in (None, today, today + dt.timedelta(days=181)):
        with pytest.raises(Invalid):
            services.waive(lead, row, ends_on=wrong, reason="It moves next month.")
    services.waive(lead, row, ends_on=today + dt.timedelta(days=30), reason="It moves next month.")
    again(cluster)
    assert rows()["team-a/scorer"].state == RogueState.WAIVED and scanning.sweep() >= 0
    with pytest.raises(Conflict):
        services.waive(lead, row, ends_on=today + dt.timedelta(days=30), reason="Once more.")
    RogueWorkload.objects.update(waived_until=today - dt.timedelta(days=1))
    scanning.sweep()
    assert rows()["team-a/scorer"].state == RogueState.OPEN


@pytest.fixture
def refused(api: Still, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Plurals that the portal may not list."""
    found, inner = set[str](), Still.exchange

    def refusing(api: Still, method: str, path: str, *rest: object) -> bytes:
        if path.rpartition("/")[2] in found:
            raise ClusterError("permission_missing", "The portal may not do that.")
        return inner(api, method, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Still, "exchange", refusing)
    return found


def test_what_could_not_be_seen_is_not_gone(cluster: Cluster, api: Still, refused: set[str]) -> None:
    top = inference_service("granite", "fraud-lab")[0]
    profile = {"apiVersion": "infrastructure.opendatahub.io/v1", "kind": "HardwareProfile",
               "metadata": {"name": "l40s", "namespace": "x", "uid": "p-1"}, "spec": {}}  # fmt: skip
    api.put(
        top, profile, *deployment("scorer", "team-a"), namespace("lab", labels={"opendatahub.io/dashboard": "true"})
    )
    again(cluster)
    refused |= {"inferenceservices", "hardwareprofiles", "deployments", "namespaces"}
    again(cluster)
    found = rows()
    assert {found[name].state for name in ("fraud-lab/granite", "team-a/scorer")} == {RogueState.OPEN}
    assert {one.state for one in Proposal.objects.all()} == {"proposed"} and Proposal.objects.count() == 2
    refused.clear()
    api.objects.clear()
    again(cluster)
    assert {one.state for one in rows().values()} == {one.state for one in Proposal.objects.all()} == {"gone"}


def test_a_request_keeps_what_was_away_for_a_while(cluster: Cluster, api: Still, org: Org) -> None:
    """Scaled to nothing it has no pods, so a scan does not see it."""
    objects, by = deployment("scorer", "team-a"), org.principal(org.dana)
    api.put(*objects)
    again(cluster)
    services.claim(by, rows()["team-a/scorer"], 7, "R-7")
    for words, state in (("R-7", RogueState.ADOPTING), ("", RogueState.OPEN)):
        api.objects.clear()
        again(cluster)
        assert rows()["team-a/scorer"].state == RogueState.GONE
        if not words:
            services.release(by, 7, "R-7")
        api.put(*objects)
        again(cluster)
        assert rows()["team-a/scorer"].state == state
    assert rows()["team-a/scorer"].request is None


def test_what_is_gone_is_forgotten_after_90_days(cluster: Cluster, api: Still, org: Org) -> None:
    profile = {"apiVersion": "infrastructure.opendatahub.io/v1", "kind": "HardwareProfile",
               "metadata": {"name": "l40s", "namespace": "x", "uid": "p-1"}, "spec": {}}  # fmt: skip
    api.put(profile, *(one for name in ("old", "new", "waived") for one in deployment(name, "team-a")))
    again(cluster)
    ends_on = timezone.now().date() + dt.timedelta(days=170)
    services.waive(org.principal(org.pat), rows()["team-a/waived"], ends_on=ends_on, reason="It moves in May.")
    api.objects.clear()
    again(cluster)
    api.put(*deployment("runs", "team-a"))
    again(cluster)
    long_ago = timezone.now() - dt.timedelta(days=91)
    RogueWorkload.objects.exclude(name="new").update(last_seen_at=long_ago)
    Proposal.objects.update(seen_at=long_ago)
    assert keeping.prune() == 2 and keeping.prune() == 0
    assert sorted(rows()) == ["team-a/new", "team-a/runs", "team-a/waived"] and not Proposal.objects.exists()
    RogueWorkload.objects.filter(name="new").update(last_seen_at=long_ago)
    prune()
    assert sorted(rows()) == ["team-a/runs", "team-a/waived"], "the nightly task does it"


def test_a_removed_cluster_takes_what_was_found_with_it(cluster: Cluster, api: Still, org: Org) -> None:
    api.put(*deployment("scorer", "team-a"))
    again(cluster)
    factories.make_endpoint(org.dana, name="past")
    Endpoint.objects.update(cluster=cluster, phase=Phase.DELETED)
    registering.remove(org.principal(org.pat), cluster)
    assert not RogueWorkload.objects.exists() and Endpoint.objects.exists()


def test_owners_are_found_behind_their_identity_provider(cluster: Cluster, api: Still, org: Org) -> None:
    for number, owner in enumerate(("ldap:Dana", "system:serviceaccount:team:dana", "dana@elsewhere.example")):
        api.put(*deployment(f"d{number}", "team-a", annotations={"owner": owner}))
    again(cluster)
    found = rows()
    assert [found[f"team-a/d{number}"].owner for number in range(3)] == [org.dana, None, None]


def test_clocks_that_differ_count_nothing_twice(cluster: Cluster, api: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    api.put(*deployment("scorer", "team-a"))
    again(cluster)
    first, inner = rows()["team-a/scorer"].device_seconds, Client.now
    monkeypatch.setattr(Client, "now", lambda client: inner(client) - dt.timedelta(minutes=5))
    again(cluster)
    monkeypatch.setattr(Client, "now", inner)
    again(cluster)
    assert rows()["team-a/scorer"].device_seconds - first < 60


def test_what_somebody_wrote_into_a_pod_stops_no_scan(cluster: Cluster, api: Still) -> None:
    """Too long for the columns, more than there is, times out of the calendar: the others are found all the same."""
    owner = {"apiVersion": "v" * 900, "kind": "K" * 900, "metadata": {"name": "n", "uid": "u-1"}}
    huge = [container("vllm/vllm-openai", 4096) for _ in range(99)]
    start = "0001-01-01T00:00:00+12:00"  # no time in UTC
    api.put(pod("odd", "team-b", huge, owner, start=start), *deployment("scorer", "team-a"))
    again(cluster)
    assert sorted(rows()) == ["team-a/scorer", "team-b/n"] and rows()["team-b/n"].by_accelerators
