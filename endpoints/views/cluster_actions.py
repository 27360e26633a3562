"""Maintenance of a cluster, and taking it out of the register."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from endpoints.fleet import maintenance, registering
from endpoints.models import Phase
from endpoints.views.clusters import cluster_or_404, crumbs
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.principal import PortalRequest


@require_http_methods(["GET", "POST"])
def cluster_pause(request: PortalRequest, cluster: str) -> HttpResponse:
    """Begin maintenance, with a reason that people read meanwhile."""
    row = cluster_or_404(request, cluster, "pause")
    reason, error = request.POST.get("reason", ""), ""
    if request.method == "POST":
        try:
            if not reason.strip():
                raise Invalid.field("reason", "Say why: people whose endpoints wait will read it.")
            maintenance.pause(request.principal, row, reason=reason)
        except Invalid as refused:
            error = refused.sentence
        else:
            messages.success(request, f"{row.name} is in maintenance. Nothing is started or stopped there.")
            return redirect("cluster_detail", cluster=row.slug)
    detail = reverse("cluster_detail", args=[row.slug])
    context = {
        "crumbs": crumbs((row.name, detail), ("Begin maintenance", "")),
        "heading": "Begin maintenance",
        "intro": f"What runs on {row.name} goes on and is watched. Nothing is started, stopped or changed there until"
        " maintenance ends; new endpoints wait.",
        "errors": [{"field": "reason", "message": error, "label": "Reason"}] if error else [],
        "fields": [
            {"name": "reason", "label": "Reason", "kind": "text", "value": reason, "required": True, "error": error,
             "help": "For example “Upgrade to 1.36 until noon”.", "attrs": {"maxlength": 300}},
        ],
        "action_url": request.path,
        "submit_label": "Begin maintenance",
        "cancel_url": detail,
        "danger": True,
    }  # fmt: skip
    return page(request, "catalog/life.html", context, status=422 if error else 200)


@require_POST
def cluster_resume(request: PortalRequest, cluster: str) -> HttpResponse:
    """End maintenance."""
    row = cluster_or_404(request, cluster, "pause")
    maintenance.resume(request.principal, row)
    messages.success(request, f"Maintenance of {row.name} has ended. What waited goes on.")
    return redirect("cluster_detail", cluster=row.slug)


@require_http_methods(["GET", "POST"])
def cluster_remove(request: PortalRequest, cluster: str) -> HttpResponse:
    """Take a cluster out of the register, after its slug was typed."""
    row = cluster_or_404(request, cluster, "remove")
    errors: list[dict[str, str]] = []
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() != row.slug:
            errors = [{"field": "confirm", "message": f"Type {row.slug} exactly as it is written."}]
        else:
            try:
                registering.remove(request.principal, row, reason=request.POST.get("reason", ""))
            except (Conflict, Invalid) as refused:
                errors = [{"field": "confirm", "message": refused.sentence}]
            else:
                messages.success(request, f"{row.name} is removed, and its credential forgotten.")
                return redirect("cluster_list")
    living = row.endpoints.exclude(phase=Phase.DELETED).count()
    detail = reverse("cluster_detail", args=[row.slug])
    context = {
        "crumbs": crumbs((row.name, detail), ("Remove", "")),
        "confirm": {
            "title": f"Remove {row.name}?",
            "intro": "The portal forgets its credential. Nothing is changed in the cluster: take the account away there"
            " with kubectl delete -f.",
            "effects": [{"count": f"{living:,}", "text": " endpoints live on it. It can be removed when none does."}],
            "word": row.slug,
            "reason": True,
            "reason_value": request.POST.get("reason", ""),
            "action_url": request.path,
            "submit_label": "Remove the cluster",
            "cancel_url": detail,
            "error": errors[0]["message"] if errors else "",
        },
        "errors": errors,
    }
    return page(request, "endpoints/confirm.html", context, status=422 if errors else 200)
