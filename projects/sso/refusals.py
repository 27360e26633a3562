"""Whom single sign-on does not let in, and what the page tells them."""

import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from projects import signins
from projects.notify.audience import platform_engineers
from projects.sso import mappings

REFUSED = "sso_refused"  # session key: {"reason", "name"}
MOST_GROUPS = 20
MOST_PEOPLE = 3
SENTENCES: Mapping[str, str] = {
    "state_mismatch": "This sign-in was begun elsewhere, or too long ago. Begin again.",
    "provider_error": "The identity provider did not sign you in. Try again.",
    "unreachable": "The identity provider does not answer. Try again in a minute.",
    "not_a_sign_in": "This is not how a sign-in ends. Begin again.",
    "no_free_name": "No user name is left for you. Ask a platform engineer.",
    "inactive": "Your account in Gatehouse was closed. A platform engineer can say why.",
    "no_group": "You are known, but none of your groups leads to anything in Gatehouse yet.",
}

log = logging.getLogger(__name__)


def refuse(request: HttpRequest, reason: str, *, name: str = "") -> HttpResponse:
    """Lead to the page that says why somebody is not let in. Nothing is created for them."""
    log.warning("sso.refused reason=%s", reason)
    signins.refused_for(f"sso.{reason}", request)
    request.session[REFUSED] = {"reason": reason, "name": name[:150]}
    return HttpResponseRedirect(reverse("sso_no_group"))


def told(request: HttpRequest) -> dict[str, Any]:
    """Return what the page says: why, under which name the person is known, what to ask for, and whom.

    Groups and people are named only to somebody whom the identity provider knows.
    """
    refused = request.session.get(REFUSED)
    refused = refused if isinstance(refused, dict) else {}
    reason = str(refused.get("reason", ""))
    asks = reason == "no_group"
    return {
        "reason": reason,
        "name": str(refused.get("name", "")),
        "sentence": SENTENCES.get(reason, "Sign in to see what you may do here."),
        "groups": _groups() if asks else [],
        "people": [person.username for person in platform_engineers()[:MOST_PEOPLE]] if reason else [],
        "provider": settings.SSO,
        "login_url": reverse("openid_connect_login", args=[settings.SSO.provider]) if settings.SSO else "",
    }


def _groups() -> list[dict[str, str]]:
    """Return the groups that lead somewhere. Projects are not named: who is in none of them is a stranger to all."""
    found: dict[str, str] = {}
    for one in mappings.known():
        if not one.broken:
            found.setdefault(one.group, f"{one.role} of a project" if one.project else one.words)
    return [{"group": group, "words": words} for group, words in sorted(found.items())[:MOST_GROUPS]]
