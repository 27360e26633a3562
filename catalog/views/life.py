"""Deprecating and retiring a version, and the menu of what a person may do with one. To send it to review and to block
it are pages of higher apps.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from catalog import cells, collecting, proposing, services
from catalog.api import version_or_404
from catalog.models import Version, VersionState
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.permissions import can, require
from projects.principal import PortalRequest, Principal
from projects.signin.recent import recently_proved

MOST = 50  # successors to choose from


def menu(principal: Principal, version: Version) -> list[dict[str, Any]]:
    """Return what `principal` may do with `version` in its present state, for _menu.html."""
    state, arguments = VersionState(version.state), [version.asset.slug, version.version]
    found: list[dict[str, Any]] = []

    def add(label: str, route: str, *, danger: bool = False) -> None:
        found.append({"label": label, "url": reverse(route, args=arguments), "danger": danger})

    if proposing.may_propose(principal):
        found.append({"label": "Propose a version", "url": reverse("catalog_propose_version", args=arguments[:1])})
    if collecting.may_collect(principal, version, shown=True):
        add("Add a document", "catalog_attach")
    if (
        state == VersionState.DRAFT
        and version.approved_at is None
        and proposing.may_submit(principal, version, shown=True)
    ):
        add("Discard the draft", "catalog_discard", danger=True)
    if state == VersionState.APPROVED and can(principal, "deprecate", version):
        add("Deprecate", "catalog_deprecate")
    if state == VersionState.DEPRECATED and can(principal, "retire", version):
        add("Retire", "catalog_retire", danger=True)
    if can(principal, "block", version):
        blocked = state == VersionState.BLOCKED
        add("Suspend what runs on it" if blocked else "Block", "catalog_block", danger=True)
    return found


def submit_url(principal: Principal, version: Version) -> str:
    """Return where `version` is sent to review, or "" where it cannot be."""
    waits = version.state in {VersionState.DRAFT, VersionState.BLOCKED}
    if not waits or not proposing.may_submit(principal, version, shown=True):
        return ""
    return reverse("catalog_submit", args=[version.asset.slug, version.version])


@require_http_methods(["GET", "POST"])
@recently_proved(why="You take a version out of the choice of everybody.")
def catalog_deprecate(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Ask for successor, day and reason; POST deprecates."""
    found = version_or_404(request.principal, slug, version)
    require(request.principal, "deprecate", found)
    _in_state(found, VersionState.APPROVED, "deprecated")
    form = {name: request.POST.get(name, "")[:2000] for name in ("successor", "retires_on", "reason")}
    wrong: Mapping[str, str] = {}
    choices = _successors(request.principal, found)
    if request.method == "POST":
        try:
            chosen = _chosen(form["successor"], choices)
            services.deprecate(request.principal, found, chosen, form["reason"], _day(form["retires_on"]))
            messages.success(request, f"{found.asset.name} {found.version} is deprecated; what runs goes on.")
            return redirect(cells.detail_url(found.asset, found))
        except Invalid as error:
            wrong = error.fields
    options = [("", "None", False), *((cells.ticket(row), f"{row.asset.name} {row.version}", False) for row in choices)]
    tomorrow = (timezone.now().date() + dt.timedelta(days=1)).isoformat()
    fields: list[dict[str, Any]] = [
        {"name": "successor", "label": "Successor", "kind": "select", "choices": options, "value": form["successor"],
         "help": "What people are led to instead.", "error": wrong.get("successor", "")},
        {"name": "retires_on", "label": "Retired on", "kind": "date", "value": form["retires_on"],
         "help": "On that day it is retired by itself; empty: when somebody does it.",
         "error": wrong.get("retires_on", ""), "attrs": {"min": tomorrow}},
        _reason(form["reason"], wrong, required=False),
    ]  # fmt: skip
    return _ask(request, found, "Deprecate", fields, wrong, "Nobody can ask for it any more. What runs goes on.")


@require_http_methods(["GET", "POST"])
@recently_proved(why="You end a version for everybody.")
def catalog_retire(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Ask before a deprecated version is ended; POST ends it."""
    found = version_or_404(request.principal, slug, version)
    require(request.principal, "retire", found)
    _in_state(found, VersionState.DEPRECATED, "retired")
    reason, wrong = request.POST.get("reason", "")[:2000], {}
    if request.method == "POST":
        try:
            services.retire(request.principal, found, reason)
            messages.success(request, f"{found.asset.name} {found.version} is retired.")
            return redirect(cells.detail_url(found.asset, found))
        except Invalid as error:
            wrong = error.fields
    intro = "What runs goes on until its end date; it is renewed no more."
    return _ask(request, found, "Retire", [_reason(reason, wrong, required=False)], wrong, intro)


def _in_state(version: Version, state: VersionState, what: str) -> None:
    if version.state != state:
        now = VersionState(version.state).label.lower()
        raise Conflict(
            f"{version.asset.slug} {version.version} is {now}; only from {state.label.lower()} can it be {what}."
        )


def _successors(principal: Principal, version: Version) -> list[Version]:
    """Return approved versions to move to: those of the asset first."""
    rows = Version.objects.visible_to(principal).filter(state=VersionState.APPROVED, asset__kind=version.asset.kind)
    own = rows.filter(asset=version.asset_id).exclude(pk=version.pk).select_related("asset")[:MOST]
    others = rows.exclude(asset=version.asset_id).select_related("asset").order_by("asset__name", "-pk")[:MOST]
    return [*own, *others]


def _chosen(ticket: str, choices: list[Version]) -> Version | None:
    if not ticket:
        return None
    found = next((row for row in choices if cells.ticket(row) == ticket), None)
    if found is None:
        raise Invalid.field("successor", "successor is not an approved version. Choose one of the list.")
    return found


def _day(text: str) -> dt.date | None:
    if not text.strip():
        return None
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError as error:
        raise Invalid.field("retires_on", "retires_on is not a date. Write it as YYYY-MM-DD.") from error


def _reason(value: str, wrong: Mapping[str, str], *, required: bool) -> dict[str, Any]:
    return {
        "name": "reason", "label": "Reason, shown to everyone", "kind": "text", "value": value, "required": required,
        "error": wrong.get("reason", ""), "attrs": {"maxlength": 300, "autocomplete": "off"},
    }  # fmt: skip


def labelled(wrong: Mapping[str, str], fields: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return what is wrong with the labels of its fields, for _errors.html."""
    labels = {field["name"]: str(field["label"]) for field in fields}
    return [{"field": name, "message": text, "label": labels.get(name, "")} for name, text in wrong.items()]


def _ask(
    request: PortalRequest, version: Version, verb: str, fields: list[dict[str, Any]], wrong: Mapping[str, str],
    intro: str,
) -> HttpResponse:  # fmt: skip
    back = cells.detail_url(version.asset, version)
    name = f"{version.asset.name} {version.version}"
    context = {
        "heading": f"{verb} {name}",
        "crumbs": [("Catalog", reverse("catalog_list")), (version.asset.name, back), (verb, "")],
        "intro": intro,
        "fields": fields,
        "errors": labelled(wrong, fields),
        "action_url": request.path,
        "cancel_url": back,
        "submit_label": verb,
    }
    return page(request, "catalog/life.html", context, status=422 if wrong else 200)
