"""Blocking a version: what it concerns is counted and listed before it happens, with a choice for what runs."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from catalog import cells as catalog_cells
from catalog.api import version_or_404
from catalog.models import Version, VersionState
from catalog.views.life import labelled
from endpoints import blocking, cells
from endpoints.blocking import Affected
from portal.errors import Conflict, Invalid
from portal.http import page
from projects.permissions import require
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

SHOWN = 50
CHOICES = [
    ("none", "Let it go on; it is not started again", False),
    ("now", "Suspend it now", False),
    ("later", "Suspend it after a time of grace", False),
]


@require_http_methods(["GET", "POST"])
@recently_proved(why="You stop what others run.")
def catalog_block(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Say what a block concerns, and ask what becomes of it; POST blocks."""
    found = version_or_404(request.principal, slug, version)
    require(request.principal, "block", found)
    form = {name: request.POST.get(name, "")[:2000] for name in ("reason", "suspend", "grace_hours")}
    wrong: dict[str, str] = {}
    if request.method == "POST":
        try:
            done = blocking.block(
                request.principal, found, form["reason"], suspend=form["suspend"] or "none", grace_hours=_hours(form)
            )
            messages.success(request, _done(found, done, form["suspend"]))
            return redirect(catalog_cells.detail_url(found.asset, found))
        except Invalid as error:
            wrong = error.fields
        except Conflict as error:
            wrong = {"suspend": error.sentence}
    return _page(request, found, form, wrong)


def _hours(form: dict[str, str]) -> int | None:
    """Return the hours of grace that were typed, where they count."""
    text = form["grace_hours"].strip()
    if form["suspend"] != "later" or not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else -1


def _done(version: Version, done: Affected, suspend: str) -> str:
    name = f"{version.asset.name} {version.version} is blocked."
    count = f"{done.running} endpoint{'' if done.running == 1 else 's'}"
    return {
        "now": f"{name} {count} on it {'is' if done.running == 1 else 'are'} being suspended.",
        "later": f"{name} {count} on it {'is' if done.running == 1 else 'are'} suspended when the grace has passed.",
    }.get(suspend, f"{name} Nothing of it is started any more.")


def _page(request: PortalRequest, version: Version, form: dict[str, str], wrong: dict[str, str]) -> HttpResponse:
    concerned, blocked = blocking.affected(version), version.state == VersionState.BLOCKED
    back = catalog_cells.detail_url(version.asset, version)
    name = f"{version.asset.name} {version.version}"
    fields: list[dict[str, Any]] = [
        {
            "name": "suspend", "label": "What runs on it", "kind": "select", "value": form["suspend"] or "none",
            "choices": CHOICES[1:] if blocked else CHOICES, "error": wrong.get("suspend", ""), "required": True,
            "help": "Suspended endpoints give back what they hold. They run again when the version is let in again.",
        },
        {
            "name": "grace_hours", "label": "Grace, hours", "kind": "number", "value": form["grace_hours"],
            "error": wrong.get("grace_hours", ""), "help": f"Only for the last choice: 1 to {blocking.MOST_HOURS}.",
            "attrs": {"min": 1, "max": blocking.MOST_HOURS},
        },
        {
            "name": "reason", "label": "Reason, shown to everyone", "kind": "text", "required": True,
            "value": form["reason"] or (version.state_reason if blocked else ""), "error": wrong.get("reason", ""),
            "attrs": {"maxlength": 300, "autocomplete": "off"},
        },
    ]  # fmt: skip
    context = {
        "heading": f"Suspend what runs on {name}" if blocked else f"Block {name}",
        "crumbs": [("Catalog", reverse("catalog_list")), (version.asset.name, back), ("Block", "")],
        "intro": "Nothing of a blocked version is started, whoever asks: no new endpoint, no restart, no rollout. "
        "Everybody concerned is told, with the reason.",
        "stats": _stats(concerned),
        "rows": [_row(row) for row in concerned.endpoints[:SHOWN]],
        "more": max(0, len(concerned.endpoints) - SHOWN),
        "grants": [grant.project.slug for grant in concerned.grants[:SHOWN]],
        "fields": fields,
        "errors": labelled(wrong, fields),
        "action_url": request.path,
        "cancel_url": back,
        "submit_label": "Suspend" if blocked else "Block",
        "danger": True,
    }
    return page(request, "endpoints/block.html", context, status=422 if wrong else 200)


def _stats(found: Affected) -> list[dict[str, Any]]:
    numbers = found.counts()
    return [
        {"label": "Running endpoints", "value": numbers["running"], "scope": f"of {numbers['endpoints']} on it",
         "bad": numbers["running"] > 0},
        {"label": "Projects", "value": numbers["projects"], "scope": "use it", "bad": False},
        {"label": "Keys", "value": numbers["keys"], "scope": "reach these endpoints", "bad": False},
        {"label": "Grants", "value": numbers["grants"], "scope": "of the MCP server", "bad": False},
    ]  # fmt: skip


def _row(row: Any) -> dict[str, Any]:
    return {
        "name": f"{row.project.slug}/{row.name}",
        "url": reverse("endpoint_detail", args=[row.pk]),
        "environment": row.environment,
        "chip": cells.phase_chip(row),
        "suspend_at": row.suspend_at,
        "contact": (row.contact or row.created_by).username if row.contact or row.created_by else "–",
    }
