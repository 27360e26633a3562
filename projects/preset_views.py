"""Pages of the role presets: what each holds, who has it, and changing it."""

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib import messages
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.errors import Conflict, GatehouseError, Invalid, NotFound
from portal.http import page
from projects import presets
from projects.models import Membership, Preset, User, Where
from projects.permissions import can, can_anywhere, require, require_anywhere
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

APPS = {
    "catalog": "Catalog",
    "approvals": "Requests",
    "endpoints": "Endpoints",
    "quotas": "Quotas and usage",
    "projects": "Projects, keys, people",
    "audit": "Audit",
}
WORDS = {  # actions whose name alone does not say it
    "inspect": "read events, logs and revisions",
    "suggest": "suggest suspending an idle one",
    "alert": "post alerts of it",
    "revoke_any": "revoke those of others",
    "rotate_any": "rotate those of others",
    "request": "ask for something in it",
    "grant": "grant",
    "review": "see what is not approved yet",
}


@require_GET
def preset_list(request: PortalRequest) -> HttpResponse:
    """Every preset with the number of people who hold it."""
    require_anywhere(request.principal, "view", Preset)
    members = Membership.objects.filter(role=OuterRef("slug")).order_by().values("role").annotate(n=Count("pk"))
    people = (
        User.objects.filter(groups__name=OuterRef("slug")).order_by().values("groups__name").annotate(n=Count("pk"))
    )
    rows = Preset.objects.annotate(
        in_projects=Coalesce(Subquery(members.values("n")), 0), on_platform=Coalesce(Subquery(people.values("n")), 0)
    )
    groups = [
        {
            "title": "In a project" if where == Where.PROJECT else "On the whole platform",
            "rows": [
                {
                    "slug": row.slug,
                    "name": row.name,
                    "description": row.description,
                    "permissions": len(row.granted),
                    "people": row.in_projects if where == Where.PROJECT else row.on_platform,
                    "shipped": row.shipped,
                }
                for row in rows
                if row.where == where
            ],
        }
        for where in (Where.PROJECT, Where.PLATFORM)
    ]
    context = _head("Role presets") | {"groups": groups, "creates": can_anywhere(request.principal, "create", Preset)}
    return page(request, "projects/presets/list.html", context)


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change what a role may do.")
def preset_create(request: PortalRequest) -> HttpResponse:
    """The form for a preset of your own."""
    require_anywhere(request.principal, "create", Preset)
    typed: dict[str, Any] = {"slug": "", "name": "", "description": "", "where": Where.PROJECT.value, "permissions": []}
    problem: GatehouseError | None = None
    if request.method == "POST":
        typed = {name: request.POST.get(name, "").strip() for name in ("slug", "name", "description", "where")}
        typed["permissions"] = request.POST.getlist("permissions")
        try:
            made = presets.create(request.principal, **typed)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{made.name} can be given now.")
            return redirect("preset_detail", preset=made.slug)
    context = _head("New preset") | _form(typed, problem, slug=True) | {"cancel_url": reverse("preset_list")}
    return page(request, "projects/presets/form.html", context, status=problem.status if problem else 200)


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change what a role may do.")
def preset_detail(request: PortalRequest, preset: str) -> HttpResponse:
    """One preset with all its permissions; for those who may, the form that changes it."""
    found = _preset(preset)
    require(request.principal, "view", found)
    typed: dict[str, Any] = {"name": found.name, "description": found.description, "where": found.where}
    typed["permissions"] = sorted(found.granted)
    problem: GatehouseError | None = None
    if request.method == "POST":
        typed |= {name: request.POST.get(name, "").strip() for name in ("name", "description")}
        typed["permissions"] = request.POST.getlist("permissions")
        fields = {name: typed[name] for name in ("name", "description", "permissions")}
        try:
            presets.change(request.principal, found, **fields)
        except Invalid as error:
            problem = error
        else:
            messages.success(request, f"{typed['name']} is saved; whoever holds it has the new set at once.")
            return redirect("preset_detail", preset=preset)
    changes = can(request.principal, "change", found)
    context = (
        _head(found.name)
        | _form(typed, problem)
        | {
            "preset": found,
            "people": presets.holders(found),
            "changes": changes,
            "deletes": changes and not found.shipped,
            "cancel_url": reverse("preset_list"),
        }
    )
    return page(request, "projects/presets/detail.html", context, status=problem.status if problem else 200)


@require_POST
@recently_proved(why="You change what a role may do.")
def preset_restore(request: PortalRequest, preset: str) -> HttpResponse:
    """Set a shipped preset back to what the portal ships."""
    restored = presets.restore(request.principal, _preset(preset))
    messages.success(request, f"{restored.name} is what the portal ships again.")
    return redirect("preset_detail", preset=preset)


@require_POST
@recently_proved(why="You change what a role may do.")
def preset_delete(request: PortalRequest, preset: str) -> HttpResponse:
    """Delete a preset that nobody holds."""
    found = _preset(preset)
    presets.delete(request.principal, found)
    messages.success(request, f"{found.name} is deleted.")
    return redirect("preset_list")


def _preset(slug: str) -> Preset:
    preset = Preset.objects.filter(slug=slug).first()
    if preset is None:
        raise NotFound("There is no such preset.")
    return preset


def _head(title: str) -> dict[str, Any]:
    own = [] if title == "Role presets" else [(title, "")]
    crumbs = [("Home", reverse("home")), ("Role presets", reverse("preset_list") if own else ""), *own]
    return {"heading": title, "crumbs": crumbs}


def _form(typed: dict[str, Any], problem: GatehouseError | None, *, slug: bool = False) -> dict[str, Any]:
    errors = dict(problem.fields) if problem else {}
    if problem and not errors:
        errors = {"slug": problem.sentence}
    names = {
        "slug": ("Short name", "Stands in the API: data-steward"),
        "name": ("Name", ""),
        "description": ("For whom", ""),
    }
    fields: list[dict[str, Any]] = [
        {
            "name": name,
            "label": label,
            "kind": "text",
            "value": typed.get(name, ""),
            "required": name != "description",
            "help": text,
            "error": errors.get(name, ""),
            "attrs": {"maxlength": {"slug": 40, "name": 80, "description": 500}[name], "autocomplete": "off"},
        }
        for name, (label, text) in names.items()
        if name != "slug" or slug
    ]
    if slug:
        choices = [(value, f"Held {label}", False) for value, label in Where.choices]
        where = {"name": "where", "label": "Where", "kind": "select", "value": typed["where"], "choices": choices}
        fields.append(where | {"required": True, "help": "", "error": errors.get("where", "")})
    return {
        "fields": fields,
        "sections": _sections(typed["permissions"], "" if slug else typed["where"]),
        "error_permissions": errors.get("permissions", ""),
        "errors": problem.errors or [{"field": "slug", "message": problem.sentence}] if problem else [],
    }


def _sections(chosen: Iterable[str], where: str) -> list[dict[str, Any]]:
    """Return every permission that a preset may hold there, by app and thing, with those that are chosen ticked."""
    ticked, found = set(chosen), dict[str, dict[str, list[dict[str, Any]]]]()
    for name, holders in presets.known().items():
        if where == Where.PROJECT and presets.platform_wide(name) and name not in ticked:
            continue
        label, _, action = name.rpartition(".")
        thing = str(apps.get_model(label)._meta.verbose_name_plural)
        words = WORDS.get(action, action.replace("_", " "))
        cell = {"name": name, "words": words, "ticked": name in ticked, "held_by": ", ".join(sorted(holders))}
        found.setdefault(label.split(".")[0], {}).setdefault(thing, []).append(cell)
    return [
        {"title": title, "things": [{"title": thing, "cells": cells} for thing, cells in found[app].items()]}
        for app, title in APPS.items()
        if app in found
    ]
