"""Page of group mappings: what the identity provider's groups make of people."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from portal.errors import Conflict, Invalid
from portal.http import page
from projects.models import GroupMapping
from projects.permissions import can_anywhere, require, require_anywhere
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved
from projects.sso import mappings

MOST = 500
WHY = "You are about to change what groups of the identity provider make of people."
EMPTY = {"group": "", "into": "", "project": "", "role": "", "managed": True}


def _crumbs(*more: tuple[str, str | None]) -> list[tuple[str, str | None]]:
    start: list[tuple[str, str | None]] = [("Home", reverse("home")), ("Groups", reverse("group_list"))]
    return [*start, ("Group mappings", reverse("group_mapping_list") if more else None), *more]


@recently_proved(why=WHY)
@require_http_methods(["GET", "POST"])
def group_mapping_list(request: PortalRequest) -> HttpResponse:
    """The mappings; POST adds one."""
    require_anywhere(request.principal, "view", GroupMapping)
    typed: dict[str, Any] = dict(EMPTY)
    problem: Invalid | Conflict | None = None
    if request.method == "POST":
        typed = {name: request.POST.get(name, "").strip() for name in ("group", "into", "project", "role")}
        managed = bool(request.POST.get("managed"))
        try:
            row = mappings.create(request.principal, **typed, managed=managed)
        except (Invalid, Conflict) as error:
            typed["managed"], problem = managed, error
        else:
            messages.success(request, f"{row.group} leads there from the next sign-in of its people on.")
            return redirect("group_mapping_list")
    return _list(request, typed, problem)


def _list(request: PortalRequest, typed: dict[str, Any], problem: Invalid | Conflict | None) -> HttpResponse:
    found, changes = mappings.known(), can_anywhere(request.principal, "change", GroupMapping)
    context = {
        "crumbs": _crumbs(),
        "rows": [_row(one) for one in found[:MOST]],
        "more": len(found) - MOST if len(found) > MOST else 0,
        "may_change": changes,
        "fields": _fields(typed, problem.fields if problem else {}) if changes else [],
        "errors": problem.errors or [{"field": "group", "message": problem.sentence}] if problem else [],
        "provider": settings.SSO,
    }
    return page(request, "projects/sso/mappings.html", context, status=problem.status if problem else 200)


def _row(one: mappings.Mapping) -> dict[str, Any]:
    managed = ("gives and takes", "blue") if one.managed else ("only gives", "grey")
    return {
        "id": one.row.pk if one.row else None,
        "group": one.group,
        "words": one.words,
        "broken": one.broken,
        "project": one.project.slug if one.project else "",
        "managed": one.managed,
        "chip": {"label": managed[0], "colour": managed[1], "icon": "", "kind": "outline"},
        "by": one.row.created_by.username if one.row and one.row.created_by else "",
        "at": one.row.created_at if one.row else None,
    }


def _fields(typed: dict[str, Any], errors: Any) -> list[dict[str, Any]]:
    groups = [(name, mappings.group_words(name), False) for name in _group_names()]
    roles = [(role, role, False) for role in mappings.project_roles()]
    texts = [
        ("group", "Group", "text", [], "Exactly as the identity provider sends it, at most 200 characters.", True),
        ("into", "Leads into", "select", [("", "a project, see beside", False), *groups], "", False),
        ("project", "Project", "text", [], "Its short name, for example fraud-detection.", False),
        ("role", "Role there", "select", [("", "none", False), *roles], "", False),
    ]
    fields: list[dict[str, Any]] = [
        {
            "name": name,
            "label": label,
            "kind": kind,
            "value": typed[name],
            "choices": choices,
            "help": text,
            "error": errors.get(name, ""),
            "required": required,
            "attrs": {"maxlength": 200} if kind == "text" else {},
        }
        for name, label, kind, choices, text, required in texts
    ]
    managed = {
        "name": "managed",
        "label": "Also takes: who loses the group loses what it gave",
        "kind": "checkbox",
        "checked": typed["managed"],
        "help": "Without it, the group only gives, and somebody takes it back by hand.",
    }
    return [*fields, managed]


def _group_names() -> list[str]:
    return list(Group.objects.order_by("name").values_list("name", flat=True)[:MOST])


@recently_proved(why=WHY)
@require_POST
def group_mapping_change(request: PortalRequest, mapping_id: int) -> HttpResponse:
    """Let a mapping also take, or only give."""
    row = mappings.get(request.principal, mapping_id)
    mappings.set_managed(request.principal, row, request.POST.get("managed") == "on")
    messages.success(request, f"{row.group} {'gives and takes' if row.managed else 'only gives'} now.")
    return redirect("group_mapping_list")


@recently_proved(why=WHY)
@require_http_methods(["GET", "POST"])
def group_mapping_delete(request: PortalRequest, mapping_id: int) -> HttpResponse:
    """Ask before a mapping goes, and say how many people lose something."""
    row = mappings.get(request.principal, mapping_id)
    require(request.principal, "delete", row)
    error = ""
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() == row.group.strip():
            mappings.delete(request.principal, row)
            messages.success(request, f"The mapping of {row.group} is deleted.")
            return redirect("group_mapping_list")
        error = f"Type {row.group} exactly as it is written."
    loses = mappings.loses(row)
    context = {
        "crumbs": _crumbs(("Delete", None)),
        "heading": "Delete a mapping",
        "confirm": {
            "title": f"Delete the mapping of {row.group}?",
            "intro": f"It makes people {mappings.words(row)}.",
            "word": row.group,
            "effects": [{"count": f"{loses:,}", "text": " people hold it by single sign-on and lose it at once"}],
            "action_url": request.path,
            "submit_label": "Delete the mapping",
            "cancel_url": reverse("group_mapping_list"),
            "error": error,
        },
        "errors": [{"field": "confirm", "message": error}] if error else [],
    }
    return page(request, "projects/notify/confirm.html", context, status=422 if error else 200)
