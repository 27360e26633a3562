"""What people set about an endpoint: replicas, last day, contact, and with whom it is shared."""

import datetime as dt
from collections.abc import Callable, Mapping
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from endpoints import effects, services
from endpoints.facts import counted
from endpoints.models import Endpoint, Share
from endpoints.reading import endpoint_or_404
from endpoints.views.head import head
from endpoints.views.setting_cells import settings_context
from portal.errors import Conflict, Invalid, NotFound
from portal.http import page
from projects.models import Project, is_slug
from projects.permissions import require
from projects.principal import PortalRequest

Act = Callable[[Endpoint], str]


@require_GET
def endpoint_settings(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Everything that can be set, for all who see the endpoint; forms only for those who may use them."""
    return _page(request, endpoint_or_404(request.principal, endpoint_id), {}, None)


@require_POST
def endpoint_scale(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Run more or fewer replicas, within what was approved."""

    def act(row: Endpoint) -> str:
        text = request.POST.get("replicas", "").strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 6):
            raise Invalid.field("replicas", f"replicas is {text[:20]!r}; write a whole number from 1 on.")
        changed = services.scale(request.principal, row, int(text))
        return f"{changed.name} is to run {counted(changed.wanted_replicas, 'replica')}."

    return _do(request, endpoint_id, "scale", act)


@require_POST
def endpoint_transfer(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Make another member the contact."""

    def act(row: Endpoint) -> str:
        changed = services.transfer(request.principal, row, request.POST.get("contact", "").strip())
        return f"{changed.contact.username if changed.contact else 'Nobody'} is the contact of {changed.name} now."

    return _do(request, endpoint_id, "transfer", act)


@require_POST
def endpoint_shareable(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Let other projects ask for access, or no longer."""

    def act(row: Endpoint) -> str:
        changed = services.set_shareable(request.principal, row, request.POST.get("shareable") == "on")
        may = "may ask for access" if changed.shareable else "can no longer ask for access; those who have it keep it"
        return f"Other projects {may}."

    return _do(request, endpoint_id, "share", act)


@require_POST
def endpoint_share(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Let another project call it, without a request."""

    def act(row: Endpoint) -> str:
        name = request.POST.get("project", "").strip()
        project = Project.objects.filter(slug=name).first() if is_slug(name) else None
        if project is None:
            raise Invalid.field("project", f"project is {name[:40]!r}; there is no such project. Use its short name.")
        reason, ends_on = request.POST.get("reason", ""), _date(request.POST.get("ends_on", ""))
        made = services.share(request.principal, row, project, ends_on=ends_on, reason=reason)
        return f"Members of {made.project.slug} may call {row.name} with keys of their own project now."

    return _do(request, endpoint_id, "share", act)


@require_http_methods(["GET", "POST"])
def endpoint_unshare(request: PortalRequest, endpoint_id: UUID, share_id: int) -> HttpResponse:
    """Ask before a share is ended, with what its project loses; POST ends it."""
    row = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, "share", row)
    rows = Share.objects.filter(endpoint=row).select_related("endpoint__project", "project")
    share = rows.filter(pk=share_id).first()
    if share is None:
        raise NotFound(f"{row.name} has no such share.")
    if request.method == "POST":
        services.unshare(request.principal, share)
        messages.success(request, f"{share.project.slug} may no longer call {row.name}.")
        return redirect("endpoint_settings", endpoint_id=row.pk)
    since = timezone.now() - dt.timedelta(hours=24)
    confirm = {
        "title": f"End the share with {share.project.slug}?",
        "intro": "Its calls are refused within a second. Its keys stay, and work again if you share the endpoint anew.",
        "effects": effects.ending_share(row, share.project_id, since),
        "action_url": request.path,
        "submit_label": f"End the share with {share.project.slug}",
        "cancel_url": reverse("endpoint_settings", args=[row.pk]),
    }
    return page(request, "endpoints/confirm.html", head(request, row, "") | {"confirm": confirm, "errors": []})


def _do(request: PortalRequest, endpoint_id: UUID, verb: str, act: Act) -> HttpResponse:
    """Do what a form asks for; what is wrong with it stands on the page with everything that was typed."""
    row = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, verb, row)
    try:
        said = act(row)
    except (Invalid, Conflict) as error:
        return _page(request, endpoint_or_404(request.principal, endpoint_id), request.POST, error)
    messages.success(request, said)
    return redirect("endpoint_settings", endpoint_id=row.pk)


def _page(
    request: PortalRequest, row: Endpoint, typed: Mapping[str, str], error: Invalid | Conflict | None
) -> HttpResponse:
    context = head(request, row, "Settings") | settings_context(request.principal, row, typed, error)
    return page(request, "endpoints/settings.html", context, status=error.status if error else 200)


def _date(text: str) -> dt.date | None:
    if not text.strip():
        return None
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError as error:
        sentence = f"ends_on is {text[:20]!r}; write a day like 2027-02-01, or nothing for no end."
        raise Invalid.field("ends_on", sentence) from error
