"""The first page."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from portal.errors import NotFound
from portal.home import cards
from portal.home.news import news, strip
from portal.home.sight import Sight
from portal.http import page
from projects.models import Project
from projects.permissions import can_anywhere
from projects.principal import PortalRequest

ALONE = 50  # lines of a list that has a page of its own


@require_GET
def home(request: PortalRequest) -> HttpResponse:
    """What waits for this person first, then what they look after, by role."""
    sight = Sight(request)
    filled = cards.fill(cards.on_page(sight), sight)
    context = {
        "decides": sight.decides,
        "may_request": can_anywhere(request.principal, "request", Project),
        "outsider": not (sight.everywhere or sight.principal.roles),
        "news": news(sight),
        "stats": strip(sight),
        "main": [one for one in filled if not one["card"].side],
        "side": [one for one in filled if one["card"].side],
    }
    return page(request, "portal/home.html", context)


@require_GET
def home_card(request: PortalRequest, card: str) -> HttpResponse:
    """One card: a part of the first page for a browser that fetches it, a page of its own without a script."""
    sight = Sight(request, most=6 if request.GET.get("short") else ALONE)
    found = next((one for one in cards.of(sight) if one.name == card), None)
    if found is None:
        raise NotFound("There is no such card on your first page.")
    context: dict[str, Any] = {
        "one": {"card": found, "cells": found.cells(sight)},
        "crumbs": [("Home", reverse("home")), (found.title, "")],
    }
    return page(request, "portal/home_card.html", context, part="card")
