"""Pages of clusters: the list, one cluster with its health, its test, and the manifest of what it must allow."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from endpoints import cells
from endpoints.clusters import rbac
from endpoints.fleet import asking, rendering
from endpoints.fleet.access import has_api
from endpoints.fleet.options import is_prefix
from endpoints.models import Cluster, Endpoint, Phase
from endpoints.views import cluster_admission_cells, cluster_cells
from endpoints.views.detail import STOP_POLLING
from portal.errors import NotFound
from portal.http import page
from projects.permissions import can, require, require_anywhere, visible
from projects.principal import PortalRequest

MOST_ENDPOINTS = 20  # on the page of a cluster; the list of endpoints has all
MOST = 200
VERBS = ("change", "rotate", "pause", "test", "remove")
FILE = rendering.ACCESS_FILE


def tabs(request: PortalRequest, current: str) -> list[dict[str, Any]]:
    """Return the tabs over pools and clusters, for those who may look at both."""
    if not can(request.principal, "inspect", Cluster()):
        return []
    places = (("Pools", "capacity"), ("Clusters", "cluster_list"), ("Environments", "environment_list"),
              ("Without approval", "rogue_list"), ("Import", "proposal_list"))  # fmt: skip
    return [{"label": label, "url": reverse(name), "current": name == current} for label, name in places]


def cluster_or_404(request: PortalRequest, slug: str, action: str = "inspect") -> Cluster:
    """Return the cluster; raises Forbidden for who may not look at clusters or do `action`, and NotFound."""
    require_anywhere(request.principal, "inspect", Cluster)
    found: Cluster | None = visible(request.principal, Cluster.objects.all()).filter(slug=slug[:40]).first()
    if found is None:
        raise NotFound(f"There is no cluster {slug[:40]}.")
    require(request.principal, action, found)
    return found


def crumbs(*more: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the way to a page of clusters; the last address is ""."""
    start = [("Capacity", reverse("capacity"))]
    return [*start, ("Clusters", reverse("cluster_list") if more else ""), *more]


@require_GET
def cluster_list(request: PortalRequest) -> HttpResponse:
    """All clusters with their health."""
    require_anywhere(request.principal, "inspect", Cluster)
    living = ~Q(endpoints__phase=Phase.DELETED) & Q(endpoints__isnull=False)
    ready = Q(endpoints__phase=Phase.READY)
    found = visible(request.principal, Cluster.objects.all()).annotate(
        living=Count("endpoints", filter=living), ready=Count("endpoints", filter=ready)
    )[:MOST]
    rows = [
        {
            "name": cluster.name, "slug": cluster.slug, "url": reverse("cluster_detail", args=[cluster.slug]),
            "chips": cluster_cells.chips(cluster), "sentence": cluster_cells.health(cluster)["sentence"],
            "driver": cluster_cells.driver_name(cluster.driver), "version": cluster.version,
            "environments": [cells.environment_named(name) for name in cluster.environments],
            "living": cluster.living, "ready": cluster.ready, "seen": cluster.last_seen_at, "api": has_api(cluster),
        }
        for cluster in found
    ]  # fmt: skip
    context = {
        "crumbs": crumbs(),
        "tabs": tabs(request, "cluster_list"),
        "tabs_label": "Capacity",
        "rows": rows,
        "may_create": can(request.principal, "create", Cluster()),
    }
    return page(request, "endpoints/clusters.html", context)


@require_GET
def cluster_detail(request: PortalRequest, cluster: str) -> HttpResponse:
    """How a cluster is, what its last test found, what runs on it, and how the portal gets in."""
    row = cluster_or_404(request, cluster)
    endpoints = visible(request.principal, Endpoint.objects.filter(cluster=row)).exclude(phase=Phase.DELETED)
    total = endpoints.count()
    shown = endpoints.select_related("project", "revision__profile").order_by("name", "pk")[:MOST_ENDPOINTS]
    context = {
        "crumbs": crumbs((row.name, "")),
        "cluster": row,
        "chips": cluster_cells.chips(row),
        "health": cluster_cells.health(row),
        "api": has_api(row),
        "facts": cluster_cells.facts(row),
        "may": {verb: can(request.principal, verb, row) for verb in VERBS},
        "manifest_url": manifest_url(row) if has_api(row) else "",
        "endpoints": [
            {
                "name": f"{one.project.slug}/{one.name}", "url": reverse("endpoint_detail", args=[one.pk]),
                "chip": cells.phase_chip(one), "environment": cells.environment_chip(one),
                "sentence": one.reason_sentence,
            }
            for one in shown
        ],
        "total": total,
        "more": max(total - MOST_ENDPOINTS, 0),
        "commands": commands(row),
    } | _test_context(row)  # fmt: skip
    if context["api"]:
        context["admission"] = cluster_admission_cells.part(row)
    return page(request, "endpoints/cluster.html", context)


def _test_context(row: Cluster) -> dict[str, Any]:
    return {
        "cluster": row,
        "found": cluster_cells.findings(row),
        "checks_url": reverse("cluster_checks", args=[row.slug]),
    }


def manifest_url(row: Cluster) -> str:
    """Return where the manifest for the driver and options of `row` is."""
    options = row.options | ({"admission": row.admission} if row.admission != "off" else {})
    asked = [name for name in rbac.SETTINGS if row.admission != "off" or name not in ("admission", "namespace_prefix")]
    chosen = {name: options[name] for name in asked if options.get(name)}
    url = reverse("cluster_manifest", args=[row.driver])
    return f"{url}?{urlencode(chosen)}" if chosen else url


def commands(row: Cluster) -> str:
    """Return what an engineer types to make the account that `row` needs, and its token."""
    return (
        f"kubectl apply -f {FILE}\n"
        f"kubectl create token {rbac.ACCOUNT} -n {rbac.NAMESPACE} --duration=2160h\n"
        "kubectl config view --raw --minify --flatten -o jsonpath='{.clusters[0].cluster}'"
    )


@require_GET
def cluster_checks(request: PortalRequest, cluster: str) -> HttpResponse:
    """The live part of a cluster's page, asked again until the test is made; then the page is loaded anew, since its
    health may be another. Without htmx it is that page.
    """
    row = cluster_or_404(request, cluster)
    if not getattr(request, "htmx", None):
        return redirect("cluster_detail", cluster=row.slug)
    context = _test_context(row) | {"may": {"test": can(request.principal, "test", row)}}
    if context["found"]["testing"]:
        return page(request, "endpoints/_cluster_checks.html", context)
    response = page(request, "endpoints/_cluster_checks.html", context, status=STOP_POLLING)
    response["HX-Refresh"] = "true"
    return response


@require_POST
def cluster_test(request: PortalRequest, cluster: str) -> HttpResponse:
    """Ask a worker for a connection test."""
    row = cluster_or_404(request, cluster, "test")
    asking.ask_for_test(request.principal, row)
    if getattr(request, "htmx", None):
        return page(request, "endpoints/_cluster_checks.html", _test_context(row) | {"may": {"test": True}})
    messages.success(request, "The test is on its way; its findings stand below in a few seconds.")
    return redirect("cluster_detail", cluster=row.slug)


@require_GET
def cluster_manifest(request: PortalRequest, driver: str) -> HttpResponse:
    """The account, role and binding that a driver needs, as a file for `kubectl apply`."""
    require_anywhere(request.principal, "inspect", Cluster)
    if driver not in rbac.GRANTS:
        raise NotFound(f"There is no manifest for the driver {driver[:20]}; choose from {', '.join(rbac.GRANTS)}.")
    settings = {name: request.GET.get(name, "") for name in rbac.SETTINGS}
    if not is_prefix(settings["namespace_prefix"]):
        settings["namespace_prefix"] = ""
    response = HttpResponse(rbac.manifest(driver, settings), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{FILE}"'
    return response
