"""Sending a version to review from its page, and taking a draft away."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals import admission
from approvals.bodies import MAX_PURPOSE
from approvals.stages.words import sentence as who_decides
from catalog import cells, proposing, standing
from catalog.api import version_or_404
from catalog.models import VersionState
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.principal import PortalRequest


@require_http_methods(["GET", "POST"])
def catalog_submit(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Ask what reviewers should read; POST sends the admission request."""
    found = version_or_404(request.principal, slug, version)
    proposing.require_submit(request.principal, found)
    if found.state not in {VersionState.DRAFT, VersionState.BLOCKED}:
        now = VersionState(found.state).label.lower()
        raise Conflict(f"{slug} {version} is {now}; only a draft or a blocked version can be sent to review.")
    purpose, errors = request.POST.get("purpose", "")[: MAX_PURPOSE * 4], []
    if request.method == "POST":
        try:
            made = admission.submit(request.principal, found, purpose)
            messages.success(request, f"{made} is sent. {who_decides(made.plan)}")
            return redirect("request_detail", pk=made.pk)
        except (Invalid, Conflict) as error:
            said = error.fields if "purpose" in error.fields else {"": error.sentence}
            errors = [{"field": field, "message": text} for field, text in said.items()]
    back = cells.detail_url(found.asset, found)
    name = f"{found.asset.name} {found.version}"
    context = {
        "heading": f"Send {name} to review",
        "crumbs": [("Catalog", reverse("catalog_list")), (found.asset.name, back), ("Send to review", "")],
        "problems": standing.problems(found),
        "evidence_url": cells.detail_url(found.asset, found, "evidence"),
        "fields": [
            {
                "name": "purpose",
                "label": "Purpose",
                "kind": "textarea",
                "value": purpose,
                "required": False,
                "help": "Reviewers read this first: who needs it, and what for.",
                "error": next((item["message"] for item in errors if item["field"] == "purpose"), ""),
                "attrs": {"maxlength": MAX_PURPOSE},
            }
        ],
        "errors": errors,
        "action_url": request.path,
        "cancel_url": back,
        "submit_label": "Send to review",
        "intro": "A platform engineer or governance lead who is not you decides. Until then nothing of it is started.",
    }
    return page(request, "approvals/submit.html", context, status=422 if errors else 200)


@require_http_methods(["GET", "POST"])
def catalog_discard(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Ask before a draft is taken away; POST does it."""
    found = version_or_404(request.principal, slug, version)
    admission.require_discard(request.principal, found)
    name = f"{found.version} of {found.asset.name}"
    if request.method == "POST":
        admission.discard(request.principal, found)
        messages.success(request, f"The draft {name} is discarded.")
        return redirect("catalog_list")
    back = cells.detail_url(found.asset, found)
    confirm = {
        "title": f"Discard the draft {name}?",
        "intro": "It was sent to review once, so it stays with its evidence and history, as retired. It counts no more "
        "among your open proposals, and its name stays taken."
        if found.changed_at is not None
        else "It was never sent to review. Its evidence and documents are deleted with it.",
        "action_url": request.path,
        "submit_label": "Discard it",
        "cancel_url": back,
    }
    crumbs = [("Catalog", reverse("catalog_list")), (found.asset.name, back), ("Discard a draft", "")]
    return page(request, "catalog/confirm.html", {"crumbs": crumbs, "asset": found.asset, "confirm": confirm})
