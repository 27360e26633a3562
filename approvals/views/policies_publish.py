"""Publishing a draft and rolling back, each after a look at what it changes and a recent proof of who it is."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals.models import Bundle as Stored
from approvals.models import PolicyDraft, Preview, Publication
from approvals.policies import drafting, publishing
from approvals.policies.active import SHIPPED, Active, active, by_digest
from approvals.views import policies_cells as cells
from approvals.views.policies_draft import last_preview, state_of
from portal.errors import Conflict, GatehouseError, Invalid
from portal.http import digest, page
from projects.permissions import require_anywhere
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

DIFFS = 20  # files that are shown line by line


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change the rules for everybody.")
def policy_draft_publish(request: PortalRequest) -> HttpResponse:
    """What publishing the draft would change, and the reason; POST publishes it."""
    by = request.principal
    require_anywhere(by, "publish", Stored)
    draft = drafting.of(by)
    if draft is None:
        return redirect("policy_list")
    problem: GatehouseError | None = None
    if request.method == "POST":
        try:
            _unchanged(draft, request.POST.get("seen", ""))
            made = publishing.publish(by, draft.files, reason=request.POST.get("reason", ""), expected=draft.base)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"Version {made.version} counts from now on; engineers and leads were told.")
            return redirect("policy_list")
    return _review(request, draft, problem)


def _unchanged(draft: PolicyDraft, seen: str) -> None:
    """Raise Conflict unless the draft is what the page showed: another tab may have written to it."""
    if seen != digest(dict(draft.files)):
        raise Conflict("Your draft changed since this page was shown. Look at it again.", code="changed_meanwhile")


def _review(request: PortalRequest, draft: PolicyDraft, problem: GatehouseError | None) -> HttpResponse:
    now, base = active(), by_digest(draft.base).files
    bundle, broken, results = state_of(draft)
    names = publishing.changed(base, draft.files)
    preview = last_preview(request.principal, draft)
    red = [one for one in results if not one.passed]
    behind = drafting.is_behind(draft, now)
    context = {
        "crumbs": [
            ("Home", reverse("home")),
            ("Policies", reverse("policy_list")),
            ("Draft", reverse("policy_draft")),
            ("Publish", ""),
        ],
        "now": now,
        "names": names,
        "diffs": [
            {"path": path, "lines": cells.diff(base.get(path, ""), draft.files.get(path, ""))} for path in names[:DIFFS]
        ],
        "more": max(0, len(names) - DIFFS),
        "steps": cells.steps(len(names), bundle is None, results, preview),
        "tested": cells.tested_words(results),
        "red": [cells.test_row(one) for one in red],
        "broken": list(broken.values()),
        "behind": behind,
        "ready": bool(names) and bundle is not None and not red and not behind,
        "impact": cells.impact_words(preview),
        "impact_url": reverse("policy_preview", args=[preview.pk]) if preview else "",
        "impact_old": _is_old(preview, now),
        "seen": digest(dict(draft.files)),
        "reason": _reason(request, problem),
        "errors": [_error(problem)] if problem else [],
    }
    return page(request, "approvals/policies/publish.html", context, status=problem.status if problem else 200)


def _is_old(preview: Preview | None, now: Active) -> bool:
    return preview is not None and preview.against != now.bundle.digest


def _error(problem: GatehouseError) -> dict[str, str]:
    return {"field": "reason" if "reason" in problem.fields else "", "label": "Reason", "message": problem.sentence}


def _reason(request: PortalRequest, problem: GatehouseError | None) -> dict[str, Any]:
    return {
        "name": "reason", "label": "Reason, kept in the record", "kind": "textarea", "required": True,
        "value": request.POST.get("reason", "")[: 2 * publishing.MAX_REASON],
        "help": "What changes for people, and why. Engineers and governance leads read it.",
        "error": problem.fields.get("reason", "") if problem else "",
        "attrs": {"maxlength": publishing.MAX_REASON, "rows": 3},
    }  # fmt: skip


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change the rules for everybody.")
def policy_roll_back(request: PortalRequest, publication: int) -> HttpResponse:
    """Ask before an earlier bundle counts again, saying what changes; POST does it."""
    by = request.principal
    require_anywhere(by, "publish", Stored)
    now, files = active(), publishing.files_of(publication)
    version = _version(publication)
    problem: GatehouseError | None = None
    error = ""
    if request.method == "POST":
        try:
            if request.POST.get("confirm", "").strip() == version:
                reason, seen = request.POST.get("reason", ""), request.POST.get("seen", "")
                made = publishing.roll_back(by, publication, reason=reason, expected=seen)
                messages.success(request, f"Version {made.version} is {version} once more, and counts from now on.")
                return redirect("policy_list")
            error = f"Type {version} to confirm."
        except (Invalid, Conflict) as refused:
            problem = refused
    names = publishing.changed(now.bundle.files, files)
    effects = [{"count": f"{len(names)} file{'s' if len(names) != 1 else ''}", "text": f" of {now.version} change"}]
    confirm = {
        "title": f"Roll the policies back to {version}?",
        "intro": "Its files are published again under a new version. Nothing that runs is stopped by it; what is sent"
        " or decided from then on is judged by these rules.",
        "effects": effects + [{"count": name, "text": ""} for name in names[:12]],
        "word": version,
        "action_url": reverse("policy_roll_back", args=[publication]),
        "submit_label": "Roll back",
        "cancel_url": reverse("policy_list"),
        "reason": True,
        "reason_value": request.POST.get("reason", "")[:500],
        "hidden": {"seen": now.bundle.digest},
        "error": error,
    }
    context = {
        "crumbs": [("Home", reverse("home")), ("Policies", reverse("policy_list")), ("Roll back", "")],
        "confirm": confirm,
        "heading": "Roll back",
        "errors": [_error(problem)] if problem else [],
    }
    status = problem.status if problem else 422 if error else 200
    return page(request, "approvals/policies/confirm.html", context, status=status)


def _version(number: int) -> str:
    if number == 0:
        return SHIPPED
    return str(Publication.objects.values_list("version", flat=True).get(number=number))
