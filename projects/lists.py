"""List pages of projects and of the audit log, and saving a view of any list."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from audit.models import Row, Subject
from portal.listing import Column, Filter, Listing, csv_response, find, read
from projects import saved_views
from projects.models import Project, Role
from projects.permissions import require_anywhere, visible
from projects.principal import PortalRequest


def _of_role(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    roles = request.principal.roles
    return rows.filter(pk__in=[pk for pk, role in roles.items() if role == value])


PROJECTS = Listing(
    route="project_list",
    nouns=("project", "projects"),
    columns=(
        Column("project", "Project", ("slug",), {"project": "slug", "name": "name"}, fixed=True),
        Column("team", "Owner team", ("owner_team",), {"owner_team": "team"}),
        Column("cost_centre", "Cost centre", ("cost_centre",), {"cost_centre": "cost_centre"}),
        Column("role", "Your role", csv={"your_role": "role"}),
        Column("since", "Since", ("created_at",), {"created_at": "since"}, default=False, first="descending"),
    ),
    filters=(
        Filter(
            "q",
            "Name, team or cost centre",
            lambda rows, value, request: rows.filter(
                Q(slug__icontains=value)
                | Q(name__icontains=value)
                | Q(owner_team__icontains=value)
                | Q(cost_centre__icontains=value)
            ),
            kind="search",
        ),
        Filter("role", "Your role", _of_role, choices=[(value, value) for value in Role.values], every="Every role"),
    ),
    sort="project",
    file="projects",
)


@require_GET
def project_list(request: PortalRequest) -> HttpResponseBase:
    """The projects that the person may see, with the own role."""
    roles = request.principal.roles

    def lines(rows: Sequence[Project]) -> list[dict[str, Any]]:
        return [
            {
                "slug": item.slug,
                "name": item.name,
                "team": item.owner_team,
                "cost_centre": item.cost_centre,
                "role": roles.get(item.pk, ""),
                "since": item.created_at,
            }
            for item in rows
        ]

    asked, rows = read(request, PROJECTS), visible(request.principal, Project.objects.all())
    if asked.csv:
        return csv_response(asked, rows, lines)
    found = find(asked, rows)
    context = {
        "crumbs": [("Home", reverse("home")), ("Projects", None)],
        "rows": lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
    }
    return found.render("projects/list.html", context)


def _exactly(name: str) -> Any:
    return lambda rows, value, request: rows.filter(**{name: value})


def _of_actor(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    keys = Subject.objects.filter(name=value).values("key")
    return rows.filter(Q(actor__in=keys) | Q(actor=value))


def _midnight(value: str) -> dt.datetime:
    return dt.datetime.combine(dt.date.fromisoformat(value), dt.time(), tzinfo=timezone.get_current_timezone())


def _from(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(at__gte=_midnight(value))


def _to(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    day = dt.date.fromisoformat(value)
    return rows.filter(at__lt=_midnight((day + dt.timedelta(days=1)).isoformat())) if day < dt.date.max else rows


AUDIT = Listing(
    route="audit_list",
    nouns=("row", "rows"),
    columns=(
        # Rows are numbered as they are written: the number is the time, and the only index of a table of millions.
        Column("when", "When", ("id",), {"at": "at", "row": "id"}, fixed=True, first="descending"),
        Column("who", "Who", csv={"actor": "actor", "via": "via"}),
        Column("action", "Action", csv={"action": "action"}),
        Column(
            "object",
            "Object",
            csv={"object_kind": "kind", "object_id": "object_id", "project": "project"},
        ),
        Column("change", "Before and after", csv={"before": "before", "after": "after", "reason": "reason"}),
        Column("request", "Request id", csv={"request_id": "request_id"}, default=False),
        Column("address", "Address", csv={"address": "address"}, default=False),
    ),
    filters=(
        Filter("action", "Action", _exactly("action"), kind="text"),
        Filter("actor", "Who", _of_actor, kind="text"),
        Filter("project", "Project", _exactly("project"), kind="text"),
        Filter("object_id", "Object id", _exactly("object_id"), kind="text", more=True),
        Filter("request_id", "Request id", _exactly("request_id"), kind="text", more=True),
        Filter("from", "From", _from, kind="day", more=True),
        Filter("to", "To", _to, kind="day", more=True),
    ),
    sort="-when",
    file="audit",
)


@require_GET
def audit_list(request: PortalRequest) -> HttpResponseBase:
    """The audit log, newest first, filtered by action, person, project, object, request or day."""
    require_anywhere(request.principal, "view", Row)
    asked, rows = read(request, AUDIT), Row.objects.all()
    if asked.csv:
        return csv_response(asked, rows, _audit_lines)
    found = find(asked, rows)
    context = {
        "crumbs": [("Home", reverse("home")), ("Audit", None)],
        "rows": _audit_lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
    }
    return found.render("projects/audit.html", context)


def _audit_lines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    names = dict(Subject.objects.filter(key__in={row.actor for row in rows}).values_list("key", "name"))
    return [
        {
            "id": row.pk,
            "at": row.at,
            "actor": names.get(row.actor, row.actor),
            "via": row.via,
            "action": row.action,
            "kind": row.object_kind,
            "object_id": row.object_id,
            "object_short": row.object_id if len(row.object_id) <= 12 else f"{row.object_id[:8]}…",
            "project": row.project,
            "before": row.before,
            "after": row.after,
            "reason": row.reason,
            "request_id": row.request_id,
            "address": row.address,
        }
        for row in rows
    ]


@require_POST
def view_save(request: PortalRequest) -> HttpResponse:
    """Keep the list that the person looks at under a name."""
    address = request.POST.get("next", "")
    view = saved_views.save_view(request.principal, name=request.POST.get("name", ""), address=address)
    messages.success(request, f"The view {view.name} is saved; it is in the menu Views of this list.")
    return _back(request)


@require_POST
def view_delete(request: PortalRequest, view_id: int) -> HttpResponse:
    """Delete an own view."""
    back = _back(request)  # read the form first: one that cannot be read changes nothing
    view = saved_views.delete_view(request.principal, view_id)
    messages.success(request, f"The view {view.name} is deleted.")
    return back


def _back(request: PortalRequest) -> HttpResponseRedirect:
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(target if safe else reverse("home"))
