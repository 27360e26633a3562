"""Pages of proposals: what clusters have that could become part of the portal."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from endpoints.adopting import services
from endpoints.rogue.models import Proposal, ProposalKind, ProposalState, RogueState, RogueWorkload
from endpoints.views.clusters import tabs
from portal.errors import Conflict, Invalid, NotFound
from portal.http import page
from projects.models import Project
from projects.permissions import can, require, require_anywhere, visible
from projects.principal import PortalRequest

MOST = 200
TITLE = "Import"
CHIPS = {
    ProposalState.PROPOSED: ("blue", "pending"), ProposalState.TAKEN: ("green", "ok"),
    ProposalState.DISMISSED: ("grey", "ban"), ProposalState.GONE: ("grey", "trash"),
}  # fmt: skip
LABELS = {
    "slug": "Slug",
    "name": "Name",
    "memory_gib": "Memory per accelerator, GiB",
    "price_per_hour": "Price per hour",
}


@require_GET
def proposal_list(request: PortalRequest) -> HttpResponse:
    """What the scans saw and nobody has answered yet, and what became of the rest."""
    require_anywhere(request.principal, "view", Proposal)
    rows = visible(request.principal, Proposal.objects.select_related("cluster").exclude(state=ProposalState.GONE))
    found = [_line(one) for one in rows[:MOST]]
    workloads = visible(request.principal, RogueWorkload.objects.filter(state=RogueState.OPEN, by_image=True)).count()
    context = {
        "crumbs": [("Capacity", reverse("capacity")), (TITLE, "")],
        "tabs": tabs(request, "proposal_list"),
        "tabs_label": "Capacity",
        "profiles": [one for one in found if one["kind"] == ProposalKind.HARDWARE_PROFILE],
        "projects": [one for one in found if one["kind"] == ProposalKind.PROJECT],
        "workloads": workloads,
        "may_take": can(request.principal, "take", Proposal()),
    }
    return page(request, "endpoints/rogue/proposals.html", context)


@require_http_methods(["GET", "POST"])
def proposal_take(request: PortalRequest, proposal_id: int) -> HttpResponse:
    """Take one proposal, after a person has filled in what only people know."""
    row = _find(request, proposal_id)
    require(request.principal, "take", row)
    typed = {name: request.POST.get(name, "") for name in (*LABELS, "project")} if request.POST else services.start(row)
    wrong: dict[str, str] = {}
    if request.method == "POST":
        try:
            if row.kind == ProposalKind.HARDWARE_PROFILE:
                profile = services.take_profile(request.principal, row, typed)
                said = (
                    f"{profile.name} is a hardware profile of the catalog now. Add it to a pool of {row.cluster.name}."
                )
            else:
                project = services.take_project(request.principal, row, typed)
                said = f"{row.name} belongs to {project.name} now: its people see what runs there without approval."
        except Invalid as refused:
            wrong = dict(refused.fields) or {"slug": refused.sentence}
        except Conflict as refused:
            wrong = {"slug": refused.sentence}
        else:
            messages.success(request, said)
            return redirect("proposal_list")
    context = {
        "crumbs": [("Capacity", reverse("capacity")), (TITLE, reverse("proposal_list")), (row.name, "")],
        "heading": f"Take {row.name}",
        "intro": _intro(row),
        "errors": [{"field": name, "message": text, "label": LABELS.get(name, name)} for name, text in wrong.items()],
        "fields": _fields(request, row, typed, wrong),
        "action_url": request.path,
        "submit_label": "Take it",
        "cancel_url": reverse("proposal_list"),
    }
    return page(request, "catalog/life.html", context, status=422 if wrong else 200)


@require_POST
def proposal_dismiss(request: PortalRequest, proposal_id: int) -> HttpResponse:
    """Let one proposal rest."""
    row = _find(request, proposal_id)
    try:
        services.dismiss(request.principal, row)
    except Conflict as refused:
        messages.warning(request, refused.sentence)
    else:
        messages.success(request, f"{row.name} is not proposed any more.")
    return redirect("proposal_list")


def _find(request: PortalRequest, pk: int) -> Proposal:
    require_anywhere(request.principal, "view", Proposal)
    rows = visible(request.principal, Proposal.objects.select_related("cluster"))
    row: Proposal | None = rows.filter(pk=pk).first() if pk < 2**63 else None
    if row is None:
        raise NotFound(f"There is no proposal {pk}.")
    return row


def _line(row: Proposal) -> dict[str, Any]:
    content, state = row.content, ProposalState(row.state)
    colour, icon = CHIPS[state]
    label = f"Became {row.became}" if state == ProposalState.TAKEN else str(state.label)
    has = (
        [f"{content.get('accelerator_count')} × {content.get('resource')}"] if content.get("accelerator_count") else []
    )
    has += [f"{content['cpu_millis'] / 1000:g} cores"] if content.get("cpu_millis") else []
    has += [f"{content['host_memory_bytes'] / 2**30:g} GiB memory"] if content.get("host_memory_bytes") else []
    has += [f"queue {content['queue']}"] if content.get("queue") else []
    return {
        "id": row.pk, "kind": row.kind, "name": row.name, "title": content.get("name", row.name),
        "namespace": row.namespace, "cluster": row.cluster.name, "has": ", ".join(has),
        "requester": content.get("requester", ""), "open": state == ProposalState.PROPOSED,
        "chip": {"label": label, "colour": colour, "icon": icon, "kind": "filled"},
    }  # fmt: skip


def _intro(row: Proposal) -> str:
    if row.kind == ProposalKind.PROJECT:
        return (
            f"The namespace {row.name} of {row.cluster.name} is a project of the cluster's dashboard. Say which "
            "project of the portal it belongs to: its owners see what runs there without approval. Nothing is changed "
            "there."
        )
    return (
        f"{row.name} of {row.cluster.name}, as its dashboard offers it: {_line(row)['has'] or 'no accelerator'}. "
        "Memory and price stand nowhere in the cluster. Add the profile to a pool afterwards."
    )


def _fields(
    request: PortalRequest, row: Proposal, typed: dict[str, Any], wrong: dict[str, str]
) -> list[dict[str, Any]]:
    names = ["slug", "name"] + (["memory_gib", "price_per_hour"] if row.kind == ProposalKind.HARDWARE_PROFILE else [])
    found: list[dict[str, Any]] = [
        {"name": name, "label": LABELS[name], "kind": "text", "value": str(typed.get(name, ""))[:200],
         "error": wrong.get(name, ""), "attrs": {"maxlength": 80, "autocomplete": "off"},
         "required": row.kind == ProposalKind.HARDWARE_PROFILE}
        for name in names
    ]  # fmt: skip
    if row.kind == ProposalKind.PROJECT:
        known = visible(request.principal, Project.objects.order_by("slug")).values_list("slug", "name")[:MOST]
        options = [("", "A new project, as below", False), *((slug, f"{name} ({slug})", False) for slug, name in known)]
        chosen = typed.get("project") or (row.content.get("slug") if (row.content.get("slug") in dict(known)) else "")
        found.insert(0, {
            "name": "project", "label": "Project", "kind": "select", "choices": options, "value": chosen,
            "error": wrong.get("project", ""),
        })  # fmt: skip
    return found
