"""Pages of people: who is here, what platform-wide groups they are in, and the named groups themselves."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.models import Row
from portal.errors import Conflict, GatehouseError, Invalid, NotFound
from portal.http import page
from portal.listing import Column, Filter, Listing, csv_response, find, read
from projects import people, saved_views
from projects.models import PLATFORM_GROUPS, GroupMapping, Membership, Preset, User, Where
from projects.permissions import can, can_anywhere, require_anywhere
from projects.principal import PortalRequest
from projects.signin import sessions
from projects.signin.recent import recently_proved


def _named(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(Q(username__icontains=value) | Q(first_name__icontains=value) | Q(last_name__icontains=value))


def _in_group(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(groups__name=value)


def _kind(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    if value == "left":
        return rows.filter(is_active=False)
    return rows.filter(is_active=True, is_service=value == "service")


def _group_choices(request: PortalRequest) -> list[tuple[str, str]]:
    return [(name, name) for name in Group.objects.order_by("name").values_list("name", flat=True)]


PEOPLE = Listing(
    route="person_list",
    nouns=("person", "people"),
    columns=(
        Column("person", "Person", ("username",), {"username": "username", "name": "name"}, fixed=True),
        Column("groups", "Platform-wide", csv={"groups": "group_names"}),
        Column("projects", "Projects", csv={"projects": "projects"}, numeric=True),
        Column("seen", "Last sign-in", ("last_login",), {"last_login": "seen"}, first="descending"),
        Column("state", "State", csv={"state": "state"}),
    ),
    filters=(
        Filter("q", "Name", _named, kind="search"),
        Filter("group", "Group", _in_group, choices=_group_choices, every="Every group"),
        Filter(
            "kind",
            "Kind",
            _kind,
            choices=(("person", "People"), ("service", "Service accounts"), ("left", "Inactive")),
            every="Everybody",
        ),
    ),
    sort="person",
    file="people",
)


@require_GET
def person_list(request: PortalRequest) -> HttpResponseBase:
    """Everybody whom the portal knows; for those who read everything."""
    require_anywhere(request.principal, "view", Row)
    asked = read(request, PEOPLE)
    rows = User.objects.annotate(projects=Count("memberships", distinct=True)).prefetch_related("groups")
    if asked.csv:
        return csv_response(asked, rows, _lines)
    found = find(asked, rows)
    context = {
        "crumbs": [("Home", reverse("home")), ("People", None)],
        "rows": _lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
        "changes": can_anywhere(request.principal, "change", User),
    }
    return found.render("projects/people/list.html", context)


def _lines(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "username": row.username,
            "name": row.get_full_name(),
            "groups": sorted(group.name for group in row.groups.all()),
            "group_names": " ".join(sorted(group.name for group in row.groups.all())),
            "projects": row.projects,
            "seen": row.last_login,
            "state": "inactive" if not row.is_active else "service account" if row.is_service else "active",
        }
        for row in rows
    ]


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change what somebody may do on the whole platform.")
def person_detail(request: PortalRequest, username: str) -> HttpResponse:
    """One person: projects, platform-wide groups; POST sets the groups."""
    require_anywhere(request.principal, "view", Row)
    person = User.objects.filter(username=username).first()
    if person is None:
        raise NotFound("There is no such person.")
    held = sorted(person.groups.values_list("name", flat=True))
    problem: GatehouseError | None = None
    reason = ""
    if request.method == "POST":
        held, reason = sorted(request.POST.getlist("groups")), request.POST.get("reason", "").strip()
        try:
            now = people.set_groups(request.principal, person, held, reason=reason)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{person.username} is in {', '.join(now) or 'no platform-wide group'} now.")
            return redirect("person_detail", username=username)
    members = Membership.objects.filter(user=person).select_related("project").order_by("project__slug")
    context = {
        "heading": person.display_name,
        "crumbs": [("Home", reverse("home")), ("People", reverse("person_list")), (person.username, None)],
        "person": person,
        "members": members[:500],
        "groups": _groups(held),
        "changes": can(request.principal, "change", person) and not person.is_service,
        "leaves": can(request.principal, "leave", person) and person.is_active and not person.is_service,
        "ends_sessions": can(request.principal, "end_sessions", person) and person.is_active,
        "reason": reason,
        "errors": (problem.errors or [{"field": "groups", "message": problem.sentence}]) if problem else [],
        "error_reason": problem.fields.get("reason", "") if problem else "",
    }
    return page(request, "projects/people/detail.html", context, status=problem.status if problem else 200)


@require_POST
@recently_proved(why="You end all sessions of somebody.")
def end_sessions(request: PortalRequest, username: str) -> HttpResponse:
    """End every session of somebody at once."""
    require_anywhere(request.principal, "end_sessions", User)
    person = User.objects.filter(username=username).first()
    if person is None:
        raise NotFound("There is no such person.")
    ended = sessions.end_all(request.principal, person, reason="Ended on the person's page.")
    messages.success(request, f"{ended} session{'' if ended == 1 else 's'} of {person.username} ended.")
    return redirect("person_detail", username=username)


def _groups(held: Sequence[str]) -> list[dict[str, Any]]:
    """Return every group with what it is, ticked when held: the platform's own, presets, named groups."""
    presets = dict(Preset.objects.filter(where=Where.PLATFORM).values_list("slug", "name"))
    managed = set(GroupMapping.objects.filter(into__isnull=False, managed=True).values_list("into__name", flat=True))
    order = {name: place for place, name in enumerate(PLATFORM_GROUPS)}
    names = Group.objects.values_list("name", flat=True)
    rows = [
        {
            "name": name,
            "ticked": name in held,
            "kind": "built in" if name in order else f"preset: {presets[name]}" if name in presets else "named group",
            "managed": name in managed,
        }
        for name in names
    ]
    return sorted(rows, key=lambda row: (order.get(str(row["name"]), 9 if row["name"] in presets else 99), row["name"]))


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change what somebody may do on the whole platform.")
def group_list(request: PortalRequest) -> HttpResponse:
    """The named groups with their people; POST creates one."""
    require_anywhere(request.principal, "view", Row)
    typed, problem = "", None
    if request.method == "POST":
        typed = request.POST.get("name", "").strip()
        try:
            made = people.create_group(request.principal, typed)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{made.name} is there; put people into it on their pages.")
            return redirect("group_list")
    fixed = {*PLATFORM_GROUPS, *Preset.objects.filter(where=Where.PLATFORM).values_list("slug", flat=True)}
    rows = Group.objects.annotate(people=Count("user")).order_by("name")
    sentence = problem.sentence if problem else ""
    context = {
        "heading": "Groups",
        "crumbs": [("Home", reverse("home")), ("People", reverse("person_list")), ("Groups", None)],
        "rows": [{"pk": row.pk, "name": row.name, "people": row.people, "fixed": row.name in fixed} for row in rows],
        "changes": can_anywhere(request.principal, "change", User),
        "errors": [{"field": "name", "message": sentence}] if problem else [],
        "field": {
            "name": "name",
            "label": "New named group",
            "kind": "text",
            "value": typed,
            "required": True,
            "help": "Lower-case letters, digits and hyphens: risk-analysts",
            "error": sentence,
            "attrs": {"maxlength": 40, "autocomplete": "off"},
        },
    }
    return page(request, "projects/people/groups.html", context, status=problem.status if problem else 200)


@require_POST
@recently_proved(why="You change what somebody may do on the whole platform.")
def group_delete(request: PortalRequest, group_id: int) -> HttpResponse:
    """Delete a named group that is empty."""
    require_anywhere(request.principal, "change", User)
    group = Group.objects.filter(pk=group_id).first()
    if group is None:
        raise NotFound("There is no such group.")
    people.delete_group(request.principal, group)
    messages.success(request, f"{group.name} is deleted.")
    return redirect("group_list")
