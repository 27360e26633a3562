"""The page that takes somebody's leave: what goes with them, counted, before it happens."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals.access import leaving
from portal.errors import GatehouseError, Invalid, NotFound
from portal.http import page
from projects.models import User
from projects.permissions import require_anywhere
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

COUNTED = {  # one, and more than one
    "sessions": (" session ends", " sessions end"),
    "keys": (" API key is revoked", " API keys are revoked"),
    "tokens": (" access token is gone", " access tokens are gone"),
    "applications": (
        " application stops until it has another owner",
        " applications stop until they have another owner",
    ),
    "second_factors": (" second factor is removed", " second factors are removed"),
    "memberships": (" membership ends", " memberships end"),
    "groups": (" platform-wide group is left", " platform-wide groups are left"),
    "grants": (" grant of an asset ends", " grants of assets end"),
    "requests": (" open request is withdrawn", " open requests are withdrawn"),
    "reviews": (
        " waiting entry of an access review goes to governance",
        " waiting entries of access reviews go to governance",
    ),
    "delegations": (" delegation ends", " delegations end"),
}


@require_http_methods(["GET", "POST"])
@recently_proved(why="You take away everything that somebody may do.")
def person_leave(request: PortalRequest, username: str) -> HttpResponse:
    """Ask for the user name and a reason, then end everything that the person could do here."""
    require_anywhere(request.principal, "leave", User)
    person = User.objects.filter(username=username).first()
    if person is None:
        raise NotFound("There is no such person.")
    problem: GatehouseError | None = None
    if request.method == "POST":
        try:
            if request.POST.get("confirm", "").strip() != person.username:
                raise Invalid.field("confirm", f"Type {person.username} exactly as it is written.")
            leaving.leave(request.principal, person, reason=request.POST.get("reason", ""))
        except GatehouseError as error:
            problem = error
        else:
            messages.success(request, f"{person.username} is offboarded; nothing of theirs opens the portal any more.")
            return redirect("person_detail", username=username)
    found = leaving.preview(request.principal, person)
    counts = found.facts()
    effects: list[dict[str, Any]] = [
        {"count": counts[name], "text": words[counts[name] != 1]} for name, words in COUNTED.items() if counts[name]
    ]
    alone = " is left without an owner; platform engineers are told"
    effects += [{"count": slug, "text": alone} for slug in found.ownerless]
    effects += [{"count": name, "text": " needs a new contact; its owners are told"} for name in found.endpoints[:20]]
    asked = " stays granted, since the person asked for it: its project should say whether it is still needed"
    effects += [{"count": name, "text": asked} for name in found.servers[:20]]
    context = {
        "crumbs": [
            ("Home", reverse("home")),
            ("People", reverse("person_list")),
            (username, reverse("person_detail", args=[username])),
            ("Offboard", ""),
        ],
        "confirm": {
            "title": f"Offboard {person.display_name}?",
            "intro": "Everything that they could do here ends at once. What they made stays, under their name.",
            "effects": effects,
            "word": person.username,
            "reason": True,
            "action_url": request.path,
            "submit_label": "Offboard",
            "cancel_url": reverse("person_detail", args=[username]),
        },
        "errors": (problem.errors or [{"field": "confirm", "message": problem.sentence}]) if problem else [],
    }
    return page(request, "endpoints/confirm.html", context, status=problem.status if problem else 200)
