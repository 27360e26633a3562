"""An edit in Git from the row's side: it is told, it waits, and a person who says so has it written over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from audit.models import Row
from endpoints import reconcile
from endpoints.clusters import Workload
from endpoints.clusters.gitops import driver, source
from endpoints.clusters.kubernetes.client import Client
from endpoints.differences import services as differences
from endpoints.models import Endpoint, Phase
from endpoints.services import suspend
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.endpoints.git_kit import Remote
from tests.endpoints.gitops_kit import apply
from tests.endpoints.kubernetes_double import Double
from tests.endpoints.kubernetes_kit import IMAGE
from tests.factories import make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    """The cluster."""
    made = Double()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: made.exchange(*call))
    return made


@pytest.fixture
def endpoint(
    org: Org, double: Double, repository: Remote, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Endpoint:
    """An endpoint on a cluster that others apply from Git."""
    settings.GIT_DIRECTORIES, settings.STATE_DIR = [str(tmp_path / "srv")], tmp_path / "state"
    monkeypatch.setattr(source, "FETCH_SECONDS", 0.0)
    monkeypatch.setattr(driver, "COMPARE_SECONDS", 0.0)
    made = open_demo(org.fraud, image=IMAGE)
    Endpoint.objects.filter(pk=made.pk).update(cluster=make_place(org.pat, "lab", "gitops", repository=repository.url))
    return made


def until(endpoint: Endpoint, good: Callable[[Endpoint], object]) -> Endpoint:
    """Be the worker for a few rounds, until `good`."""
    for _ in range(8):
        reconcile.reconcile(endpoint.pk, "worker")
        row = Endpoint.objects.get(pk=endpoint.pk)
        if good(row):
            return row
    raise AssertionError(f"{row.phase} {row.reason_code}: {row.reason_sentence}")


def test_an_edit_waits_for_a_person_who_has_it_written_over(
    org: Org, endpoint: Endpoint, double: Double, repository: Remote
) -> None:
    row = until(endpoint, lambda row: row.reason_code == "git_waits_applier")
    assert row.phase == Phase.PROVISIONING and row.attempts == 1
    apply(repository, double)
    until(endpoint, lambda row: row.phase == Phase.READY)
    path = next(path for path in repository.files() if path.endswith("/deployment-r1.yaml"))
    before = repository.read(path)
    edit = repository.write({path: before.replace("  replicas: 1", "  replicas: 4")})
    apply(repository, double)
    row = until(endpoint, lambda row: row.reason_code == "git_edited")
    assert (row.phase, row.reason_turn) == (Phase.READY, "platform") and row.upstreams
    assert edit[:12] in row.reason_sentence and row.reason_next.startswith("Somebody takes that back in Git")
    for _ in range(3):
        reconcile.reconcile(endpoint.pk, "worker")
    assert "replicas: 4" in repository.read(path), "it is not written over"
    differences.reapply(Principal.of(org.pat), Endpoint.objects.get(pk=endpoint.pk))
    until(endpoint, lambda row: row.rewrite_at is None)
    assert repository.read(path) == before
    apply(repository, double)
    row = until(endpoint, lambda row: row.reason_code == "ready")
    assert row.phase == Phase.READY and len(row.upstreams) == 1
    assert Row.objects.filter(action="endpoints.reapply").exists()


def test_who_presses_while_a_worker_writes_is_not_forgotten(
    org: Org, endpoint: Endpoint, double: Double, repository: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(endpoint, lambda row: row.reason_code == "git_waits_applier")
    apply(repository, double)
    until(endpoint, lambda row: row.phase == Phase.READY)
    Endpoint.objects.filter(pk=endpoint.pk).update(rewrite_at=timezone.now())  # the portal's own wish
    write = driver.GitOpsDriver.apply

    def pressed(self: driver.GitOpsDriver, made: Workload) -> None:
        write(self, made)
        differences.reapply(Principal.of(org.pat), Endpoint.objects.get(pk=endpoint.pk))

    monkeypatch.setattr(driver.GitOpsDriver, "apply", pressed)
    monkeypatch.setattr(reconcile, "MAX_STEPS", 1)
    reconcile.reconcile(endpoint.pk, "worker")
    row = Endpoint.objects.get(pk=endpoint.pk)
    assert row.rewrite_by == org.pat.username and row.rewrite_at is not None


def test_what_was_asked_for_before_a_suspension_is_not_written_over_after_it(
    org: Org, endpoint: Endpoint, double: Double, repository: Remote
) -> None:
    until(endpoint, lambda row: row.reason_code == "git_waits_applier")
    apply(repository, double)
    row = until(endpoint, lambda row: row.phase == Phase.READY)
    differences.reapply(Principal.of(org.pat), row)
    suspend(Principal.of(org.pat), Endpoint.objects.get(pk=endpoint.pk))
    reconcile.reconcile(endpoint.pk, "worker")
    row = Endpoint.objects.get(pk=endpoint.pk)
    assert (row.rewrite_at, row.rewrite_by) == (None, "")
