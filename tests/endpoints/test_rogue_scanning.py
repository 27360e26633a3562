"""The scan of a cluster into rows: what is new, what is gone, whose it is, hours, and that one worker does it."""

import datetime as dt

import pytest
from django.utils import timezone

from endpoints.clusters import ClusterError
from endpoints.clusters.kubernetes.client import Client
from endpoints.models import Cluster
from endpoints.rogue import scanning, services
from endpoints.rogue.models import Mapped, Proposal, RogueScan, RogueState, RogueWorkload
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import Notification
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker
from tests.endpoints.rogue_kit import Still, deployment, inference_service, namespace
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
