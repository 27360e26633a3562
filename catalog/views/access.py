"""Whom an asset is for: opening and listing it, giving and taking away grants."""

import datetime as dt
from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from catalog import audience, cells
from catalog.audience_api import find_grant
from catalog.holders import HOLDERS, name_of
from catalog.models import Access, Asset
from catalog.views.detail import find, show
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.permissions import require
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved


@require_POST
@recently_proved(why="You change who may see and use an asset.")
def catalog_access(request: PortalRequest, slug: str) -> HttpResponse:
    """Open an asset to everyone, or keep it for those who are listed."""

    def act(asset: Asset) -> str:
        reason = request.POST.get("reason", "")
        if request.POST.get("access") == Access.LISTED:
            audience.list_only(request.principal, asset, reason)
            return f"{asset.name} is only for those who are listed now. What runs goes on."
        audience.open_to_everyone(request.principal, asset, reason)
        return f"Everyone may see {asset.name} and ask for it now."

    return _do(request, slug, "open", "access", act)


@require_POST
@recently_proved(why="You change who may see and use an asset.")
def catalog_grant(request: PortalRequest, slug: str) -> HttpResponse:
    """Give a project, a group or a person an asset that is not for everyone."""

    def act(asset: Asset) -> str:
        kind = request.POST.get("kind", "")
        if kind not in HOLDERS:
            raise Invalid.field("kind", f"kind is {kind[:20]!r}; choose one of {', '.join(HOLDERS)}.")
        reason, ends_on = request.POST.get("reason", ""), _date(request.POST.get("ends_on", ""))
        holder = request.POST.get("holder", "")
        made = audience.GRANTS[kind](request.principal, asset, holder, reason=reason, ends_on=ends_on)
        return f"{name_of(made)} may see {asset.name} and ask for it now."

    return _do(request, slug, "grant", "grant", act)


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change who may see and use an asset.")
def catalog_revoke(request: PortalRequest, slug: str, kind: str, grant_id: int) -> HttpResponse:
    """Ask before a grant is taken away; POST takes it away."""
    asset = find(request, slug)
    require(request.principal, "grant", asset)
    grant = find_grant(request.principal, asset, kind, grant_id)
    back = cells.detail_url(asset, tab="access")
    if request.method == "POST":
        audience.revoke(request.principal, grant)
        messages.success(request, f"{name_of(grant)} may no longer ask for {asset.name}.")
        return redirect(back)
    confirm = {
        "title": f"Take {asset.name} away from {name_of(grant)}?",
        "intro": "What runs goes on. New requests, changes and renewals are refused from now on, also those that wait "
        "for a decision, unless another grant opens it. It can be granted again.",
        "action_url": request.path,
        "submit_label": "Take it away",
        "cancel_url": back,
    }
    crumbs = [("Catalog", reverse("catalog_list")), (asset.name, back), ("Take a grant away", "")]
    return page(request, "catalog/confirm.html", {"crumbs": crumbs, "asset": asset, "confirm": confirm})


def _do(request: PortalRequest, slug: str, verb: str, form: str, act: Callable[[Asset], str]) -> HttpResponse:
    """Do what a form asks for; what is wrong with it stands on the page with everything that was typed."""
    asset = find(request, slug)
    require(request.principal, verb, asset)
    try:
        said = act(asset)
    except (Invalid, Conflict) as error:
        return show(request, find(request, slug), "access", typed={**request.POST.dict(), "form": form}, error=error)
    messages.success(request, said)
    return redirect(cells.detail_url(asset, tab="access"))


def _date(text: str) -> dt.date | None:
    if not text.strip():
        return None
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError as error:
        sentence = f"ends_on is {text[:20]!r}; write a day like 2027-02-01, or nothing for no end."
        raise Invalid.field("ends_on", sentence) from error
