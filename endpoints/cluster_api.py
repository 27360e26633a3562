"""REST API of clusters: everybody may know that they exist, engineers register and operate them."""

from typing import Any

from django.db import transaction
from django.http import HttpResponse
from ninja import Field, Router

from endpoints.fleet import admitting, asking, maintenance, registering, rendering
from endpoints.models import Cluster
from portal.errors import Invalid, NotFound
from portal.http import cursor_page, require_match
from projects.api import Body, answer, idempotent, scope
from projects.permissions import can, require, visible
from projects.principal import PortalRequest, Principal

router = Router(tags=["clusters"])


class Access(Body):
    """How the portal gets in: `token` with `server` and `ca`, or a `kubeconfig` that brings all of it; for the driver
    gitops also `repository` and what belongs to it.
    """

    authentication: str = Field(max_length=20)
    server: str = Field("", max_length=500)
    ca: str = Field("", max_length=200_000)
    token: str = Field("", max_length=20_000)
    kubeconfig: str = Field("", max_length=200_000)
    repository: str = Field("", max_length=500)
    repository_secret: str = Field("", max_length=70_000)
    repository_ca: str = Field("", max_length=70_000)
    known_hosts: str = Field("", max_length=20_000)


class ClusterIn(Body):
    """A new cluster; `local` needs no access."""

    slug: str = Field(max_length=400)
    name: str = Field(max_length=400)
    driver: str = Field(max_length=40)
    environments: list[str] = Field(max_length=3)
    simulated: bool = False
    access: Access | None = None
    options: dict[str, str] | None = Field(None, max_length=40)


class ClusterPatch(Body):
    """What may change on a cluster; `reason` is kept with `paused`."""

    name: str | None = Field(None, max_length=400)
    environments: list[str] | None = Field(None, max_length=3)
    options: dict[str, str] | None = Field(None, max_length=40)
    paused: bool | None = None
    reason: str = Field("", max_length=400)


class AdmissionIn(Body):
    """The mode: off, audit or enforce; `reason` is kept in the audit log."""

    mode: str = Field(max_length=20)
    reason: str = Field(max_length=400)


def cluster_json(cluster: Cluster, reader: Principal) -> dict[str, Any]:
    """Return a cluster as the API shows it to `reader`: to platform roles with where it is and how it is, to everybody
    else that it exists. The credential is shown to nobody.
    """
    shown: dict[str, Any] = {
        "slug": cluster.slug,
        "name": cluster.name,
        "driver": cluster.driver,
        "environments": cluster.environments,
        "simulated": cluster.simulated,
        "paused": cluster.paused,
    }
    if not can(reader, "inspect", cluster):
        return shown
    return shown | {
        "maintenance": {
            "reason": cluster.paused_reason, "by": cluster.paused_by, "since": cluster.paused_since,
        } if cluster.paused else None,
        "server": cluster.server,
        "authentication": cluster.authentication,
        "credential_since": cluster.credential_since,
        "credential_ends": cluster.credential_ends,
        "options": cluster.options,
        "repository": cluster.repository,
        "admission": cluster.admission,
        "version": cluster.version,
        "problem": {"code": cluster.problem_code, "sentence": cluster.problem_sentence}
        if cluster.problem_code
        else None,
    }  # fmt: skip


def admission_json(cluster: Cluster) -> dict[str, Any]:
    """Return the admission policy of a cluster; `seen` is what the last test saw there: none, audit or enforce, with
    " stale" where it is not what stands in `manifest`; "" = not known.
    """
    made = rendering.rendered(cluster)
    return {
        "mode": cluster.admission,
        "seen": admitting.state(cluster),
        "digest": made.digest,
        "refuses": list(made.refuses),
        "warns": list(made.advises),
        "not_rendered": [{"id": one.id, "title": one.title, "reason": one.why} for one in made.left_out],
        "manifest": rendering.manifest(cluster),
    }


def health_json(cluster: Cluster) -> dict[str, Any]:
    """Return what the last test found, and when; `testing` while one was asked for and not made."""
    return {
        "last_seen_at": cluster.last_seen_at,
        "checked_at": cluster.checked_at,
        "testing": cluster.asked_at is not None,
        "checks": cluster.checks,
    }


@router.get("/clusters", auth=scope("endpoints:read"))
def list_clusters(request: PortalRequest, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """Where endpoints run."""
    rows = visible(request.principal, Cluster.objects.all())
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("slug",))
    return answer(request, {"items": [cluster_json(row, request.principal) for row in found], "next": following})


@router.post("/clusters", auth=scope("admin"))
@idempotent
def create_cluster(request: PortalRequest, body: ClusterIn) -> HttpResponse:
    """Register a cluster (platform engineers). A first test is made at once, in the background."""
    made = registering.create_cluster(
        request.principal,
        slug=body.slug,
        name=body.name,
        driver=body.driver,
        environments=body.environments,
        simulated=body.simulated,
        access=body.access.model_dump() if body.access else {},
        options=body.options,
    )
    return answer(request, cluster_json(made, request.principal), status=201)


@router.get("/clusters/{slug}", auth=scope("endpoints:read"))
def get_cluster(request: PortalRequest, slug: str) -> HttpResponse:
    """One cluster."""
    return answer(request, cluster_json(_cluster(request.principal, slug), request.principal))


@router.patch("/clusters/{slug}", auth=scope("admin"))
def change_cluster(request: PortalRequest, slug: str, body: ClusterPatch) -> HttpResponse:
    """Change name, environments or options, pause a cluster or let it go on; needs If-Match."""
    if body.paused is None and body.name is None and body.environments is None and body.options is None:
        raise Invalid("Name what is to change: name, environments, options, paused.")
    with transaction.atomic():
        cluster = _cluster(request.principal, slug)
        require(request.principal, "change", cluster)
        require_match(request, cluster_json(cluster, request.principal))
        if body.name is not None or body.environments is not None or body.options is not None:
            registering.change(
                request.principal, cluster, name=body.name, environments=body.environments, options=body.options
            )
        if body.paused is not None:
            maintenance.change_cluster(request.principal, cluster, paused=body.paused, reason=body.reason)
        cluster = _cluster(request.principal, slug)
    return answer(request, cluster_json(cluster, request.principal))


@router.delete("/clusters/{slug}", auth=scope("admin"))
def remove_cluster(request: PortalRequest, slug: str) -> HttpResponse:
    """Take a cluster out of the register and forget its credential; refused while endpoints live on it."""
    cluster = _cluster(request.principal, slug)
    registering.remove(request.principal, cluster)
    return answer(request, {"slug": cluster.slug, "removed": True})


@router.post("/clusters/{slug}/rotate", auth=scope("admin"))
@idempotent
def rotate_cluster(request: PortalRequest, slug: str, body: Access) -> HttpResponse:
    """Give a cluster a new credential, and with it another server or authority where they are named."""
    given = {name: value for name, value in body.model_dump().items() if value}
    cluster = registering.rotate(request.principal, _cluster(request.principal, slug), access=given)
    return answer(request, cluster_json(cluster, request.principal))


@router.get("/clusters/{slug}/health", auth=scope("admin"))
def get_health(request: PortalRequest, slug: str) -> HttpResponse:
    """What the last connection test found (platform roles): one entry for each check and each verb of the account."""
    cluster = _cluster(request.principal, slug)
    require(request.principal, "inspect", cluster)
    return answer(request, health_json(cluster))


@router.post("/clusters/{slug}/test", auth=scope("admin"))
@idempotent
def test_cluster(request: PortalRequest, slug: str) -> HttpResponse:
    """Ask for a connection test; its findings stand in `health` some seconds later."""
    cluster = asking.ask_for_test(request.principal, _cluster(request.principal, slug))
    return answer(request, health_json(cluster), status=202)


@router.get("/clusters/{slug}/rbac", auth=scope("admin"))
def get_rbac(request: PortalRequest, slug: str) -> HttpResponse:
    """The account, role and binding that a cluster needs for its driver, options and admission mode, as YAML for
    `kubectl apply` (platform roles).
    """
    cluster = _cluster(request.principal, slug)
    require(request.principal, "inspect", cluster)
    response = HttpResponse(rendering.access(cluster), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{rendering.ACCESS_FILE}"'
    return response


@router.get("/clusters/{slug}/admission", auth=scope("admin"))
def get_admission(request: PortalRequest, slug: str) -> HttpResponse:
    """What a cluster refuses by itself, or would, and the manifest for it (platform roles)."""
    cluster = _cluster(request.principal, slug)
    require(request.principal, "inspect", cluster)
    return answer(request, admission_json(cluster))


@router.post("/clusters/{slug}/admission", auth=scope("admin"))
@idempotent
def set_admission(request: PortalRequest, slug: str, body: AdmissionIn) -> HttpResponse:
    """Choose the mode: off, audit, enforce, one step at a time. Apply the manifest of the answer afterwards."""
    cluster = _cluster(request.principal, slug)
    cluster = admitting.set_mode(request.principal, cluster, mode=body.mode, reason=body.reason)
    return answer(request, admission_json(cluster))


def _cluster(principal: Principal, slug: str) -> Cluster:
    cluster: Cluster | None = visible(principal, Cluster.objects.all()).filter(slug=slug[:40]).first()
    if cluster is None:
        raise NotFound(f"There is no cluster {slug[:40]}.")
    return cluster
