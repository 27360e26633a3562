"""From an approved request to a commit over SSH, to a real control plane by other hands, and back as status."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from endpoints import reconcile
from endpoints.clusters import rbac
from endpoints.clusters.gitops import driver, source
from endpoints.clusters.kubernetes import owned
from endpoints.fleet.examining import examine
from endpoints.fleet.registering import create_cluster
from endpoints.models import Cluster, Endpoint, Phase
from projects.models import Project
from projects.principal import Principal
from tests import factories
from tests.cluster import portal_kit
from tests.cluster.fault_kit import Life, with_image
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane
from tests.conftest import Org
from tests.endpoints.git_kit import Remote, SshServer, built, git, ssh_server

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db]
SECONDS = 90
PRUNED = {"deployments": "Deployment", "services": "Service", "poddisruptionbudgets": "PodDisruptionBudget"}
KINDS = {"argocd": ("argoproj.io", "v1alpha1", "Application"),
         "flux": ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization")}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FETCH_SECONDS", 0.0)
    monkeypatch.setattr(driver, "APPLIER_SECONDS", 0.0)


class Fleet:
    """One endpoint on a cluster that is steered by a repository, the worker, and who applies it."""

    def __init__(self, plane: Plane, cluster: Cluster, remote: Remote, project: Project, applier: str) -> None:
        self.plane, self.cluster, self.remote, self.applier = plane, cluster, remote, applier
        pool, profile = portal_kit.pool_of(cluster, 2)
        versions = (with_image(factories.make_version()), with_image(factories.make_version()))
        self.life = Life(project, cluster, pool, profile, versions)

    def apply(self) -> None:
        """Bring the branch into the cluster, take away what is not in it any more, and say so as controllers do."""
        wanted = built(self.remote)
        self.plane.api.apply(wanted, by=self.applier)
        names = {(one["kind"], one["metadata"]["name"]) for one in wanted}
        for found in portal_kit.present(self.plane, self.cluster).values():
            for plural, kind in PRUNED.items():
                for one in found[plural]:
                    meta = one["metadata"]
                    if (kind, meta["name"]) not in names:
                        base = portal_kit.KINDS[plural].removesuffix(plural)
                        self.plane.api.delete(f"{base}namespaces/{meta['namespace']}/{plural}/{meta['name']}")
        self.say(git(self.remote.path, "rev-parse", "main").strip())

    def say(self, commit: str, **status: Any) -> None:
        """Write what Argo CD or Flux would write of itself."""
        group, version, kind = KINDS[self.applier]
        told = {
            "argocd": {"sync": {"status": "Synced", "revision": commit}, "health": {"status": "Healthy"}, **status},
            "flux": {"lastAppliedRevision": f"main@sha1:{commit}", **status},
        }[self.applier]
        one = {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": "fleet", "namespace": "default"}}
        self.plane.api.apply(one | {"status": told})

    def until(self, good: Callable[[Endpoint], Any], what: str) -> Endpoint:
        """Be the worker until `good`."""
        ends = time.monotonic() + SECONDS
        while True:
            reconcile.reconcile(self.life.endpoint.pk, "life")
            row = self.life.endpoint
            if good(row):
                return row
            assert time.monotonic() < ends, f"{what}: {row.phase} {row.reason_code}: {row.reason_sentence}"
            time.sleep(0.1)


def definition(group: str, version: str, kind: str) -> dict[str, Any]:
    """A definition that takes any object, as those of the controllers do for what is read here."""
    plural = f"{kind.lower()}s"
    shape = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": shape}}],
        },
    }  # fmt: skip


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[tuple[SshServer, Remote]]:
    """A repository behind a real sshd."""
    with ssh_server(tmp_path / "sshd") as server:
        yield server, Remote(tmp_path)


@pytest.fixture
def make(
    plane: Plane, kubelet: Kubelet, org: Org, ssh: tuple[SshServer, Remote], settings: Any, tmp_path: Path
) -> Iterator[Callable[..., Fleet]]:
    """Register the plane and the repository as an engineer does."""
    settings.STATE_DIR = tmp_path / "state"
    server, remote = ssh
    made: list[Cluster] = []

    def register(applier: str = "argocd", **options: str) -> Fleet:
        group, version, kind = KINDS[applier]
        plane.api.apply(definition(group, version, kind))
        plane.wait(lambda: plane.api.find(f"/apis/{group}/{version}") is not None, f"{kind} to be served")
        options |= {"applier": applier, "applier_object": "default/fleet"}
        account = f"gatehouse-{tmp_path.name[-6:].strip('_').replace('_', '-')}-{len(made)}".lower()
        token = portal_kit.let_in(plane, "gitops", account, None, options)
        prefix = f"t{account[-6:].strip('-')}"
        access = {
            "authentication": "token", "server": plane.server, "ca": plane.ca, "token": token,
            "repository": server.url(remote.path), "repository_secret": server.key, "known_hosts": server.known_hosts,
        }  # fmt: skip
        cluster = create_cluster(
            Principal.of(org.pat), slug=account.replace("gatehouse", "plane"), name="Plane", driver="gitops",
            environments=["dev"], access=access,
            options={"namespace_prefix": prefix, "installation": prefix, **options},
        )  # fmt: skip
        made.append(cluster)
        return Fleet(plane, cluster, remote, org.fraud, applier)

    with portal_kit.machine(kubelet, 2):
        yield register
        for cluster in made:
            portal_kit.forget(plane, cluster)


def waits(code: str) -> Callable[[Endpoint], bool]:
    """Whether the row says so."""
    return lambda row: row.reason_code == code


def test_a_request_becomes_a_commit_and_status_comes_back(make: Callable[..., Fleet], plane: Plane) -> None:
    fleet = make()
    remote, since = fleet.remote, plane.mark()
    report = examine(fleet.cluster)
    named = {check.name: check.verdict for check in report.checks}
    assert (named["repository"], named["repository_push"], named["applier"]) == ("pass", "pass", "fail")
    assert {check.verdict for check in report.checks if check.name == "permissions"} == {"pass"}
    fleet.say("f" * 40)
    fleet.life.create()
    row = fleet.until(waits("git_waits_applier"), "to be committed")
    assert (
        row.phase == Phase.PROVISIONING and "Argo CD (default/fleet) is Synced at ffffffffffff" in row.reason_sentence
    )
    assert "Gatehouse-Request: R-1" in remote.message() and remote.count() == 2
    fleet.say("f" * 40, operationState={"phase": "Failed", "message": "quota exceeded"})
    row = fleet.until(waits("git_applier_failed"), "the failure")
    assert "quota exceeded" in row.reason_sentence and row.reason_turn == "platform"
    fleet.apply()
    row = fleet.until(lambda row: row.phase == Phase.READY, "to answer")
    assert row.upstreams and remote.count() == 2

    # A hand edit in Git: whoever applies it does, the portal says so and writes nothing over it.
    path = next(path for path in remote.files() if path.endswith("/deployment-r1.yaml"))
    before = remote.read(path)
    remote.write({path: before.replace("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 61")})
    fleet.apply()
    row = fleet.until(waits("git_edited"), "the edit to be seen")
    row = fleet.until(lambda row: row.phase == Phase.READY, "to answer again")
    assert "Mallory" in row.reason_sentence and path in row.reason_sentence and row.reason_turn == "platform"
    fleet.life.update()
    row = fleet.until(waits("git_edited"), "the next revision to wait")
    assert remote.count() == 3 and "61" in remote.read(path)
    remote.write({path: before}, "Taken back")
    row = fleet.until(waits("rollout_git_waits_applier"), "the next revision")
    fleet.apply()
    row = fleet.until(lambda row: row.phase == Phase.READY and row.revision and row.revision.number == 2, "revision 2")

    fleet.life.delete()
    fleet.until(lambda row: row.phase == Phase.DELETING and "-r2" not in "".join(remote.files()), "to leave Git")
    fleet.apply()
    fleet.until(lambda row: row.phase == Phase.DELETED, "to be gone")
    assert portal_kit.left_over(plane, fleet.cluster) == []
    granted = {(ask.verb, ask.group, ask.resource) for ask in rbac.asks("gitops", fleet.cluster.options)}
    account = portal_kit.account_of(fleet.cluster)
    asked = plane.verbs(f"system:serviceaccount:{account}:{account}", since=since)
    reviews = {one for one in asked if one[1] in ("authorization.k8s.io", "authentication.k8s.io") or one[2][:1] == "/"}
    assert {one for one in asked - reviews if one[2]} <= granted, "no more is asked for than the manifest gives"


def test_a_pull_request_waits_for_its_merge(make: Callable[..., Fleet], plane: Plane) -> None:
    fleet = make("flux", git_flow="pull_request")
    fleet.life.create()
    row = fleet.until(waits("git_waits_merge"), "to be proposed")
    (branch,) = [one for one in fleet.remote.branches() if one != "main"]
    assert branch in row.reason_sentence and row.reason_turn == "platform" and fleet.remote.count() == 1
    fleet.remote.merge(branch, squash=True)
    fleet.apply()
    row = fleet.until(lambda row: row.phase == Phase.READY, "to answer")
    (found,) = portal_kit.present(plane, fleet.cluster).values()
    notes = found["deployments"][0]["metadata"]["annotations"]
    assert notes[owned.APPROVAL] == "R-1" and row.upstreams
