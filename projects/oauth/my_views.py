"""What acts in a person's name, and taking it back."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.errors import Invalid
from portal.http import page
from projects.oauth import applications, consents, reading
from projects.principal import PortalRequest


@require_GET
def my_applications(request: PortalRequest) -> HttpResponse:
    """The applications that hold tokens of this person, and the person's own tokens."""
    held = reading.tokens_of(request.principal.person)
    context = {
        "crumbs": [
            ("Home", reverse("home")), ("Account", reverse("account")), ("Connected applications", None),
        ],
        "applications": reading.connected(held),
        "tokens": reading.own(held),
        "sees_platform": applications.may(request.principal, "view", None),
    }  # fmt: skip
    return page(request, "projects/applications/mine.html", context)


@require_POST
def my_application_revoke(request: PortalRequest) -> HttpResponse:
    """Take back what an application (`client`) may do, or end an own token (`token`)."""
    client, token = request.POST.get("client", ""), request.POST.get("token", "")
    if token.isdecimal() and len(token) <= 18:
        consents.revoke_own(request.principal, int(token))
        messages.success(request, "The token has ended.")
    elif client:
        name = consents.disconnect(request.principal, client)
        messages.success(request, f"{name} is disconnected; its tokens of you work no more.")
    else:
        raise Invalid.field("client", "client or token is missing. Use the buttons of the page.")
    return redirect("my_applications")
