"""The sweep over what clusters hold: found, shown or taken back, told once, closed again, and one cluster at a time."""

import datetime as dt
import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Row
from catalog.models import VersionState
from endpoints.clusters import ClusterError
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.driver import KubernetesDriver
from endpoints.differences import keeping, services, sweeping
from endpoints.differences.accepting import offer
from endpoints.differences.models import DriftLook, LiveDifference, Resolution
from endpoints.drivers import driver_for
from endpoints.models import Cluster, Endpoint, Event, Revision
from portal.errors import Conflict, Forbidden
from projects.models import Notification
from projects.principal import Principal
from tests import factories
from tests.conftest import Org
from tests.endpoints.drift_kit import connect, edit, key_of, on_a_cluster
from tests.endpoints.endpoint_kit import Broker, work
from tests.endpoints.kubernetes_double import Double

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
ENGINE = "spec/template/spec/containers/name=engine"
MEMORY = f"{ENGINE}/resources/limits/memory"
EVIL = f"registry.example.com/evil@sha256:{'b' * 64}"


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    return connect(monkeypatch)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr("endpoints.nudge.current_app", made)
    return made


@pytest.fixture
def row(org: Org, double: Double, broker: Broker) -> Endpoint:
    return on_a_cluster(org)


def sweep(row: Endpoint) -> list[LiveDifference]:
    """Compare its cluster now; what is open then."""
    DriftLook.objects.filter(pk=row.cluster_id).update(looked_at=None)
    sweeping.compare(row.cluster_id)
    row.refresh_from_db()
    return list(LiveDifference.objects.filter(endpoint=row, resolved_at=None))


def test_an_edit_by_hand_is_found_with_both_values_and_who(row: Endpoint, double: Double, org: Org) -> None:
    assert sweep(row) == []
    edit(double, key_of(double, "deployments"), "spec/replicas", 1)
    (one,) = sweep(row)
    assert (one.kind, one.field, one.wanted, one.found, one.manager) == ("Deployment", "spec.replicas", "2", "1",
                                                                       "kubectl-edit")  # fmt: skip
    assert one.changed_at == dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC) and not one.guarded
    work(row)
    assert double.objects[key_of(double, "deployments")]["spec"]["replicas"] == 1, "it stays until somebody decides"
    assert row.phase == "ready" and "1 of 1 replica" in row.reason_sentence
    assert Event.objects.filter(endpoint=row, code="changed_by_hand").count() == 1


def test_memory_that_somebody_gave_stays_although_its_pods_start_anew(row: Endpoint, double: Double) -> None:
    key = key_of(double, "deployments")
    edit(double, key, MEMORY, "99Gi")
    wanted = sweeping.workload_of(row, 99)
    assert wanted is not None
    driver_for(row.cluster).apply(wanted)  # as for every engine that is not there for a moment
    assert double.objects[key]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "99Gi"
    (one,) = sweep(row)
    assert (one.found, one.resolution) == ("99Gi", "") and not Row.objects.filter(action="endpoints.take_back").exists()

    edit(double, key, f"{ENGINE}/image", EVIL)
    Endpoint.objects.filter(pk=row.pk).update(due_at=None)
    work(row)
    live = double.objects[key]["spec"]["template"]["spec"]["containers"][0]
    assert live["resources"]["limits"]["memory"] != "99Gi", "an object is written as a whole"
    assert {one.resolution for one in LiveDifference.objects.filter(endpoint=row)} == {Resolution.TAKEN_BACK}


def test_keepers_are_told_once(row: Endpoint, double: Double, org: Org) -> None:
    edit(double, key_of(double, "deployments"), "spec/replicas", 1)
    for _ in range(3):
        sweep(row)
    told = Notification.objects.filter(kind="endpoint.changed")
    assert {one.person_id for one in told} >= {org.dana.pk, org.omar.pk}
    assert told.filter(person=org.dana).count() == 1 and "spec.replicas is 1 and not 2" in told[0].text


def test_what_is_gone_is_closed_by_the_next_look(row: Endpoint, double: Double) -> None:
    key = key_of(double, "deployments")
    edit(double, key, "spec/replicas", 1)
    sweep(row)
    double.objects[key]["spec"]["replicas"] = 2
    assert sweep(row) == []
    one = LiveDifference.objects.get(endpoint=row)
    assert one.resolution == Resolution.GONE and one.resolved_at is not None


def test_an_image_is_taken_back_at_once_and_it_is_known_what_it_was(row: Endpoint, double: Double, org: Org) -> None:
    key = key_of(double, "deployments")
    edit(double, key, f"{ENGINE}/image", EVIL, by="mallory")
    work(row)
    assert double.objects[key]["spec"]["template"]["spec"]["containers"][0]["image"] != EVIL
    one = LiveDifference.objects.get(endpoint=row)
    assert (one.found, one.manager, one.resolution) == (EVIL, "mallory", Resolution.TAKEN_BACK)
    audit = Row.objects.get(action="endpoints.take_back")
    assert EVIL in str(audit.before) and "mallory" in str(audit.before)
    assert Notification.objects.filter(kind="endpoint.changed", person=org.dana).count() == 1
    assert sweep(row) == []


def test_who_writes_in_the_name_of_the_portal_is_found_out(row: Endpoint, double: Double) -> None:
    """An edit under the portal's field manager that changes the note of what was written along with the image."""
    key = key_of(double, "deployments")
    edit(double, key, f"{ENGINE}/image", EVIL, by=owned.MANAGER, how="Apply")
    notes = double.objects[key]["metadata"]["annotations"]
    image = next(one["image"] for one in json.loads(notes[owned.APPLIED])["spec"]["template"]["spec"]["containers"])
    notes[owned.APPLIED] = notes[owned.APPLIED].replace(image, EVIL)
    (one,) = [one for one in sweep(row) if one.field.endswith(".image")]
    assert one.guarded and one.found == EVIL and row.rewrite_at is not None
    work(row)
    assert double.objects[key]["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_who_changes_the_same_again_and_again_is_one_row(row: Endpoint, double: Double, org: Org) -> None:
    key = key_of(double, "deployments")
    for _ in range(3):
        edit(double, key, f"{ENGINE}/image", EVIL)
        Endpoint.objects.filter(pk=row.pk).update(due_at=None)
        work(row)
    assert LiveDifference.objects.get(endpoint=row).times == 3
    assert Notification.objects.filter(kind="endpoint.changed", person=org.dana).count() == 1


def test_what_the_reconciler_never_looks_at_is_taken_back_by_the_sweep(
    row: Endpoint, double: Double, broker: Broker
) -> None:
    key = key_of(double, "networkpolicies", "default-deny")
    edit(double, key, "spec/policyTypes", [])
    (one,) = sweep(row)
    assert one.guarded and row.rewrite_at is not None and str(row.pk) in broker.ids()
    work(row)
    assert double.objects[key]["spec"]["policyTypes"] == ["Ingress", "Egress"] and row.rewrite_at is None
    one.refresh_from_db()
    assert one.resolution == Resolution.TAKEN_BACK and one.resolved_by == ""


def test_a_missing_secret_is_written_again(row: Endpoint, double: Double) -> None:
    del double.objects[key_of(double, "secrets")]
    (one,) = sweep(row)
    assert (one.kind, one.field, one.found) == ("Secret", "", None)
    work(row)
    assert key_of(double, "secrets") and sweep(row) == []


def test_a_cluster_may_take_all_of_it_back(row: Endpoint, double: Double) -> None:
    Cluster.objects.filter(pk=row.cluster_id).update(options={**row.cluster.options, "drift": "revert"})
    edit(double, key_of(double, "deployments"), MEMORY, "99Gi")
    Endpoint.objects.filter(pk=row.pk).update(due_at=None)
    work(row)
    one = LiveDifference.objects.get(endpoint=row)
    assert (one.found, one.resolution) == ("99Gi", Resolution.TAKEN_BACK) and sweep(row) == []


def test_on_a_paused_cluster_it_is_only_shown(row: Endpoint, double: Double) -> None:
    Cluster.objects.filter(pk=row.cluster_id).update(paused=True)
    edit(double, key_of(double, "deployments"), f"{ENGINE}/image", EVIL)
    (one,) = sweep(row)
    assert one.guarded and row.rewrite_at is None
    with pytest.raises(Conflict) as caught:
        services.reapply(Principal.of(factories.engineer().person), row)
    assert caught.value.code == "cluster_paused"


def test_reapply_writes_again_and_says_for_whom(row: Endpoint, double: Double, org: Org) -> None:
    key = key_of(double, "deployments")
    edit(double, key, "spec/replicas", 1)
    edit(double, key, MEMORY, "99Gi")
    sweep(row)
    with pytest.raises(Forbidden):
        services.reapply(Principal.of(org.dana), row)
    services.reapply(Principal.of(org.omar), row)
    work(row)
    live = double.objects[key]["spec"]
    assert (
        live["replicas"] == 2 and live["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] != "99Gi"
    )
    rows = LiveDifference.objects.filter(endpoint=row)
    assert {(one.resolution, one.resolved_by) for one in rows} == {(Resolution.REAPPLIED, "omar")}
    assert row.rewrite_at is None and row.rewrite_by == "" and sweep(row) == []
    assert "99Gi" in str(Row.objects.get(action="endpoints.reapply").before)
    work(row)
    assert row.phase == "ready" and row.wanted_replicas == 2


def test_reapply_of_what_does_not_run_is_refused(row: Endpoint, org: Org) -> None:
    Endpoint.objects.filter(pk=row.pk).update(phase="failed")
    with pytest.raises(Conflict) as caught:
        services.reapply(Principal.of(org.omar), row)
    assert caught.value.code == "wrong_state" and "Retry" in caught.value.sentence


def test_a_request_holds_what_it_can_and_says_what_it_cannot(row: Endpoint, double: Double, org: Org) -> None:
    assert row.revision is not None
    newer = factories.make_version(asset=row.revision.version.asset, version="2.0")
    newer.runtime = row.revision.version.runtime | {"image": EVIL}
    newer.save(update_fields=["runtime"])
    Cluster.objects.filter(pk=row.cluster_id).update(paused=True)  # or the image would be taken back
    key = key_of(double, "deployments")
    command = list(double.objects[key]["spec"]["template"]["spec"]["containers"][0]["command"])
    command[command.index("4096")] = "8192"
    edit(double, key, "spec/replicas", 1)
    edit(double, key, f"{ENGINE}/image", EVIL)
    edit(double, key, f"{ENGINE}/command", command)
    edit(double, key, MEMORY, "99Gi")
    sweep(row)
    made = services.accept(Principal.of(org.dana), Endpoint.objects.select_related("project", "cluster").get(pk=row.pk))
    assert made.changes == {"replicas": 1, "version": "2.0", "context_tokens": 8192}
    assert [(one.field.rpartition(".")[2], "hardware profile" in why) for one, why in made.refused] == [
        ("memory", True)
    ]
    assert made.body["endpoint"] == str(row.pk) and made.body["concurrency"] == 8
    assert LiveDifference.objects.filter(endpoint=row, accepted_by="dana").count() == 3
    assert Row.objects.filter(action="endpoints.accept_drift").count() == 1
    newer.state = VersionState.DRAFT
    type(newer).objects.filter(pk=newer.pk).update(state=VersionState.DRAFT)
    assert "version" not in offer(made.endpoint, services.open_rows(row)).changes


def test_nothing_that_a_request_can_hold_is_said_plainly(row: Endpoint, double: Double, org: Org) -> None:
    edit(double, key_of(double, "deployments"), MEMORY, "99Gi")
    sweep(row)
    with pytest.raises(Conflict) as caught:
        services.accept(Principal.of(org.dana), row)
    assert caught.value.code == "nothing_to_accept" and "hardware profile" in caught.value.sentence


def test_another_revision_closes_what_was_open(row: Endpoint, double: Double) -> None:
    edit(double, key_of(double, "deployments"), "spec/replicas", 1)
    (one,) = sweep(row)
    LiveDifference.objects.filter(pk=one.pk).update(revision=0, field="spec.gone", mark="other")
    sweep(row)
    one.refresh_from_db()
    assert one.resolution == Resolution.REPLACED


def test_the_portals_own_change_of_mind_starts_nothing_and_tells_nobody(row: Endpoint, double: Double) -> None:
    applied = dict(double.objects[key_of(double, "deployments")]["spec"])
    Revision.objects.filter(endpoint=row).update(concurrency=9)  # as a new release would write it
    (one,) = sweep(row)
    assert one.own and not one.guarded and row.rewrite_at is None
    assert not Notification.objects.filter(kind="endpoint.changed").exists()
    assert double.objects[key_of(double, "deployments")]["spec"] == applied


@pytest.mark.parametrize(
    "columns", [{"phase": "pending"}, {"ready_at": None}, {"desired": "suspended"}, {"drain_until": timezone.now()}]
)
def test_what_is_about_to_change_is_not_compared(row: Endpoint, double: Double, columns: dict[str, Any]) -> None:
    Endpoint.objects.filter(pk=row.pk).update(**columns)
    edit(double, key_of(double, "deployments"), "spec/replicas", 1)
    assert sweep(row) == []


def test_a_worker_that_is_at_it_is_not_disturbed(row: Endpoint, double: Double) -> None:
    edit(double, key_of(double, "deployments"), "spec/replicas", 1)
    soon = timezone.now() + dt.timedelta(seconds=15)
    Endpoint.objects.filter(pk=row.pk).update(claimed_by="somebody", claimed_until=soon)
    assert sweep(row) == []


def test_one_look_at_a_time_and_none_before_it_is_due(row: Endpoint, double: Double) -> None:
    sweeping.compare(row.cluster_id)
    calls = double.calls
    sweeping.compare(row.cluster_id)
    assert double.calls == calls, "it is not due"
    later = timezone.now() + dt.timedelta(seconds=100)
    DriftLook.objects.filter(pk=row.cluster_id).update(looked_at=None, looking_until=later)
    sweeping.compare(row.cluster_id)
    assert double.calls == calls, "somebody else looks"
    DriftLook.objects.filter(pk=row.cluster_id).update(looking_until=timezone.now())
    sweeping.compare(row.cluster_id)
    assert double.calls > calls


def test_a_cluster_that_is_away_delays_nobody_and_says_so(
    row: Endpoint, double: Double, org: Org, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = on_a_cluster(org, cluster=factories.make_place(org.pat, "second"), environment="staging")
    DriftLook.objects.all().delete()
    broker.sent.clear()
    assert sweeping.sweep() == 2
    asked: list[Any] = [args[0] for name, args, _ in broker.sent if name == sweeping.TASK]
    assert asked == [row.cluster_id, other.cluster_id]
    whole = KubernetesDriver.compare_all

    def compare_all(driver: KubernetesDriver, workloads: Any) -> Any:
        if driver._place.slug == row.cluster.slug:
            raise ClusterError("cluster_unreachable", "The cluster cannot be reached.", retry=True)
        return whole(driver, workloads)

    monkeypatch.setattr(KubernetesDriver, "compare_all", compare_all)
    edit(double, key_of(double, "deployments", str(other.pk).replace("-", "")[:13]), "spec/replicas", 1)
    assert sweep(row) == [] and len(sweep(other)) == 1
    look = DriftLook.objects.get(pk=row.cluster_id)
    assert (look.failures, look.problem, look.looking_until) == (1, "The cluster cannot be reached.", None)
    assert sweeping.interval(look) > sweeping.interval(DriftLook.objects.get(pk=other.cluster_id))


def test_a_look_that_took_too_long_leaves_the_claim_of_the_next_one(
    row: Endpoint, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = timezone.now() + dt.timedelta(seconds=300)

    def overtaken(*given: Any) -> tuple[int, None]:
        DriftLook.objects.filter(pk=row.cluster_id).update(looking_until=later)  # its claim had ended
        return 1, None

    monkeypatch.setattr(sweeping, "look_at", overtaken)
    DriftLook.objects.filter(pk=row.cluster_id).update(looked_at=None, finished_at=None)
    sweeping.compare(row.cluster_id)
    look = DriftLook.objects.get(pk=row.cluster_id)
    assert (look.looking_until, look.finished_at) == (later, None)


def test_a_look_without_time_goes_on_where_it_ended(
    row: Endpoint, double: Double, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_cluster(org, cluster=row.cluster)
    monkeypatch.setattr(sweeping, "BUDGET_SECONDS", -1.0)
    seen = set()
    for _ in range(2):
        DriftLook.objects.filter(pk=row.cluster_id).update(looked_at=None)
        sweeping.compare(row.cluster_id)
        seen.add(DriftLook.objects.get(pk=row.cluster_id).after)
    assert len(seen) == 2 and None not in seen
    sweeping.compare(row.cluster_id)
    assert DriftLook.objects.get(pk=row.cluster_id).after is None


def test_queries_do_not_grow_with_the_fleet(row: Endpoint, double: Double, org: Org) -> None:
    def queries() -> int:
        DriftLook.objects.update(looked_at=None)
        with CaptureQueriesContext(connection) as found:
            sweeping.compare(row.cluster_id)
        return len(found)

    queries()
    few = queries()
    for _ in range(3):
        on_a_cluster(org, cluster=row.cluster)
    assert queries() == few


def test_what_is_over_is_kept_for_a_time(row: Endpoint, double: Double) -> None:
    edit(double, key_of(double, "deployments"), f"{ENGINE}/image", EVIL)
    work(row)
    assert keeping.prune() == 0
    LiveDifference.objects.update(resolved_at=timezone.now() - keeping.KEPT - dt.timedelta(days=1))
    assert keeping.prune() == 1


def test_a_look_that_saw_what_is_over_opens_nothing(row: Endpoint, double: Double) -> None:
    since = timezone.now()
    edit(double, key_of(double, "deployments"), f"{ENGINE}/image", EVIL)
    driver = KubernetesDriver(sweeping.driver_for(row.cluster)._place)  # type: ignore[attr-defined]
    made = sweeping.workload_of(row, None)
    assert made is not None
    found = driver.compare(made)
    work(row)  # takes it back meanwhile
    keeping.write(row, found, {}, since)
    assert not LiveDifference.objects.filter(endpoint=row, resolved_at=None).exists()
