"""A cluster's admission policy: what it refuses by itself, the file for it, and the choice of its mode."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from endpoints.fleet import admitting, rendering
from endpoints.views.cluster_admission_cells import MODES
from endpoints.views.cluster_cells import Cell
from endpoints.views.clusters import cluster_or_404, crumbs
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.principal import PortalRequest

DONE = {
    "off": "{} no longer gets what was approved. Take the policy away there: kubectl delete -f.",
    "audit": "{} is in the mode audit. Download the manifest and apply it there.",
    "enforce": "{} is in the mode enforce. Download the manifest once more and apply it there.",
}


@require_GET
def cluster_admission_manifest(request: PortalRequest, cluster: str) -> HttpResponse:
    """The kind, the policies and their bindings, as a file for `kubectl apply` or a repository."""
    row = cluster_or_404(request, cluster)
    response = HttpResponse(rendering.manifest(row), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{rendering.FILE}"'
    return response


@require_http_methods(["GET", "POST"])
def cluster_admission(request: PortalRequest, cluster: str) -> HttpResponse:
    """Choose whether the cluster records or refuses what was not approved."""
    row = cluster_or_404(request, cluster, "change")
    rendering.plan(row)  # one of this machine has none
    choices = admitting.STEPS[row.admission]
    typed = {"mode": request.POST.get("mode", choices[0]), "reason": request.POST.get("reason", "")}
    problem: Invalid | Conflict | None = None
    if request.method == "POST":
        try:
            admitting.set_mode(request.principal, row, mode=typed["mode"], reason=typed["reason"])
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, DONE[typed["mode"]].format(row.name))
            return redirect("cluster_detail", cluster=row.slug)
    detail = reverse("cluster_detail", args=[row.slug])
    context = {
        "crumbs": crumbs((row.name, detail), ("Admission policy", "")),
        "heading": f"Admission policy of {row.name}",
        "intro": f"{MODES[row.admission][3]} The way is off, audit, enforce and back; whoever administers the cluster"
        " applies the manifest after each step.",
        "errors": _errors(problem),
        "fields": _fields(typed, choices, problem),
        "action_url": request.path,
        "submit_label": "Change the mode",
        "cancel_url": detail,
        "danger": False,
    }
    return page(request, "catalog/life.html", context, status=problem.status if problem else 200)


def _fields(typed: dict[str, str], choices: tuple[str, ...], problem: Invalid | Conflict | None) -> list[Cell]:
    errors = problem.fields if problem else {}
    return [
        {"name": "mode", "label": "Mode", "kind": "select", "value": typed["mode"],
         "choices": [(one, f"{MODES[one][0]}: {MODES[one][3]}", False) for one in choices],
         "error": errors.get("mode", "")},
        {"name": "reason", "label": "Reason", "kind": "text", "value": typed["reason"], "required": True,
         "help": "Kept in the audit log.", "error": errors.get("reason", ""), "attrs": {"maxlength": 300}},
    ]  # fmt: skip


def _errors(problem: Invalid | Conflict | None) -> list[dict[str, str]]:
    if problem is None:
        return []
    found = problem.errors or [{"field": "mode", "message": problem.sentence}]
    return [error | {"label": error["field"].capitalize()} for error in found]
