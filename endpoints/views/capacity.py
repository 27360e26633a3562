"""The pools as they are, and asking for what is not used."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from endpoints import capacity as pools
from endpoints import idle
from endpoints.reading import endpoint_or_404
from endpoints.views.clusters import tabs
from portal.errors import Conflict
from portal.http import page
from projects.principal import PortalRequest


@require_GET
def capacity(request: PortalRequest) -> HttpResponse:
    """Who holds which accelerator, until when, how busy; who waits; what could be given back; what if."""
    context = pools.page(request.principal, request.GET.dict()) | {
        "crumbs": [("Home", reverse("home")), ("Capacity", "")],
        "tabs": tabs(request, "capacity"),
        "tabs_label": "Capacity",
    }
    return page(request, "endpoints/capacity.html", context)


@require_POST
def endpoint_suggest(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Ask contact and owners to suspend an idle endpoint."""
    row = endpoint_or_404(request.principal, endpoint_id)
    try:
        idle.suggest(request.principal, row)
    except Conflict as refused:
        messages.warning(request, refused.sentence)
    else:
        messages.success(request, f"The contact and the owners of {row.name} are asked to suspend it.")
    return redirect("capacity")
