"""What people do to an endpoint from its page."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.timesince import timesince
from django.views.decorators.http import require_http_methods, require_POST

from endpoints import numbers, services
from endpoints.reading import endpoint_or_404
from endpoints.views.detail import head
from portal.errors import GatehouseError, Invalid
from portal.http import page
from projects.api import problem
from projects.permissions import require
from projects.principal import PortalRequest


@require_POST
def endpoint_suspend(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Stop it and give back what is reserved."""
    row = endpoint_or_404(request.principal, endpoint_id)
    services.suspend(request.principal, row)
    messages.success(request, f"{row.name} is being suspended; calls are refused from now on.")
    return redirect("endpoint_detail", endpoint_id=row.pk)


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
    keys, used = numbers.affected_keys(row)
    calls = numbers.last_day([str(row.pk)]).get(str(row.pk), numbers.Calls())
    last = f", last used {timesince(used)} ago" if used else ", never used"
    confirm = {
        "title": f"Delete {row.name}?",
        "intro": "Calls are refused at once, the engines end. There is no undo; the name stays reserved for 30 days.",
        "effects": [
            {"count": f"{keys} key{'s' if keys != 1 else ''}", "text": f" can call it{last if keys else ''}"},
            {"count": f"{calls.requests:,} calls", "text": " went through it in the last 24 hours"},
        ],
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
