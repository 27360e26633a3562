"""What people do to an endpoint from its page."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from endpoints import effects, services
from endpoints.models import Desired
from endpoints.reading import endpoint_or_404
from endpoints.views.head import head
from portal.errors import GatehouseError, Invalid
from portal.http import page
from projects.api import problem
from projects.permissions import require
from projects.principal import PortalRequest


@require_http_methods(["GET", "POST"])
def endpoint_suspend(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Say what suspending affects; POST stops it and gives back what is reserved."""
    row = endpoint_or_404(request.principal, endpoint_id)
    if request.method == "POST":
        services.suspend(request.principal, row)
        messages.success(request, f"{row.name} is being suspended; calls are refused from now on.")
        return redirect("endpoint_detail", endpoint_id=row.pk)
    require(request.principal, "suspend", row)
    confirm = {
        "title": f"Suspend {row.name}?",
        "intro": "Calls get endpoint_not_ready at once, and the engines end. Address, keys and settings stay; Resume "
        "starts it again, and waits where there is no room then.",
        "effects": effects.stopping(row),
        "action_url": reverse("endpoint_suspend", args=[row.pk]),
        "submit_label": f"Suspend {row.name}",
        "cancel_url": reverse("endpoint_detail", args=[row.pk]),
    }
    return page(request, "endpoints/confirm.html", head(request, row, "") | {"confirm": confirm, "errors": []})


@require_POST
def endpoint_resume(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Run it again."""
    row = endpoint_or_404(request.principal, endpoint_id)
    services.resume(request.principal, row)
    messages.success(request, f"{row.name} is being started.")
    return redirect("endpoint_detail", endpoint_id=row.pk)


@require_POST
def endpoint_retry(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Start a failed one again."""
    row = endpoint_or_404(request.principal, endpoint_id)
    services.retry(request.principal, row)
    messages.success(request, f"{row.name} is being started again.")
    return redirect("endpoint_detail", endpoint_id=row.pk)


@require_http_methods(["GET", "POST"])
def endpoint_delete(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Typed confirmation that counts what is affected; POST deletes."""
    row = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, "delete", row)
    errors: list[dict[str, str]] = []
    status = 200
    if request.method == "POST":
        try:
            services.delete(request.principal, row, confirm=request.POST.get("confirm", ""))
        except Invalid as mistake:
            errors, status = mistake.errors, mistake.status
        else:
            messages.success(request, f"{row.name} is being deleted.")
            return redirect("endpoint_list")
    confirm = {
        "title": f"Delete {row.name}?",
        "intro": "Calls are refused at once, the engines end. There is no undo; the name stays reserved for 30 days.",
        "effects": effects.deleting(row),
        "alternative_url": reverse("endpoint_suspend", args=[row.pk]) if row.desired == Desired.RUNNING else "",
        "alternative_label": "Suspend it instead",
        "word": row.name,
        "action_url": reverse("endpoint_delete", args=[row.pk]),
        "submit_label": f"Delete {row.name}",
        "cancel_url": reverse("endpoint_detail", args=[row.pk]),
    }
    context = head(request, row, "") | {"confirm": confirm, "errors": errors}
    return page(request, "endpoints/confirm.html", context, status=status)


@require_POST
def endpoint_playground_key(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """A 15-minute key for the script of the playground; it is not shown, and ends by itself."""
    try:
        row = endpoint_or_404(request.principal, endpoint_id)
        key, secret = services.playground_key(request.principal, row)
    except GatehouseError as error:
        return problem(error, getattr(request, "request_id", ""))
    body = {
        "key": secret,
        "base_url": f"{settings.BASE_URL}/v1",
        "model": f"{row.project.slug}/{row.name}",
        "expires_at": key.expires_at,
    }
    return JsonResponse(body, headers={"Cache-Control": "no-store"})
