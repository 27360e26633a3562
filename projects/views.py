"""Pages of projects: members, the switcher, the theme; and the audit log, which belongs to no app above."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.models import Row, Subject
from portal.errors import GatehouseError, NotFound
from portal.http import page
from projects import services
from projects.middleware import PROJECT_SESSION_KEY
from projects.models import Membership, Project, Role, User, is_slug
from projects.permissions import can, require_anywhere, visible
from projects.principal import PortalRequest

THEMES = ("", "light", "dark", "high-contrast")
THEME_COOKIE = "gatehouse_theme"


def _back(request: PortalRequest) -> HttpResponseRedirect:
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(target if safe else reverse("home"))


@require_POST
def switch_project(request: PortalRequest) -> HttpResponse:
    """Choose the project that lists show; an empty choice means all."""
    slug = request.POST.get("project", "")
    known = Project.objects.filter(slug=slug) if is_slug(slug) else Project.objects.none()
    project = visible(request.principal, known).first()
    if slug and project is None:
        raise NotFound("There is no such project, or you may not see it.")
    request.session[PROJECT_SESSION_KEY] = project.pk if project else None
    return _back(request)


@require_POST
def set_theme(request: PortalRequest) -> HttpResponse:
    """Remember the theme in a cookie, so that the server sets the class and nothing flashes; empty follows the
    system.
    """
    theme = request.POST.get("theme", "")
    response = _back(request)
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, max_age=365 * 86_400, samesite="Lax", secure=request.is_secure(), httponly=True
        )
    return response


def _project(request: PortalRequest, slug: str) -> Project:
    project: Project | None = visible(request.principal, Project.objects.all()).filter(slug=slug).first()
    if project is None:
        raise NotFound(f"There is no project {slug}, or you may not see it.")
    return project


@require_GET
def project_list(request: PortalRequest) -> HttpResponse:
    """The projects that the person may see, with the own role."""
    roles = request.principal.roles
    rows = [
        {
            "slug": item.slug,
            "name": item.name,
            "team": item.owner_team,
            "cost_centre": item.cost_centre,
            "role": roles.get(item.pk, ""),
        }
        for item in visible(request.principal, Project.objects.all())[:500]
    ]
    context = {
        "heading": "Projects",
        "lead": "A project holds members, endpoints, keys and usage.",
        "rows": rows,
        "crumbs": [("Home", reverse("home")), ("Projects", None)],
    }
    return page(request, "projects/list.html", context)


@require_http_methods(["GET", "POST"])
def project_detail(request: PortalRequest, slug: str) -> HttpResponse:
    """A project with its members; POST gives a person a role."""
    project = _project(request, slug)
    error, typed, status = "", {"user": "", "role": Role.DEVELOPER.value}, 200
    if request.method == "POST":
        typed = {"user": request.POST.get("user", "").strip(), "role": request.POST.get("role", "")}
        try:
            services.set_member(request.principal, project, username=typed["user"], role=typed["role"])
        except GatehouseError as problem:
            error, status = problem.sentence, problem.status
        else:
            messages.success(request, f"{typed['user']} is {typed['role']} now.")
            return redirect("project_detail", slug=slug)
    manages = can(request.principal, "manage_members", project)
    members = [
        {
            "user": item.user.username,
            "name": item.user.display_name,
            "role": item.role,
            "initial": item.user.username[:1].upper(),
            "since": item.created_at,
        }
        for item in Membership.objects.filter(project=project).select_related("user").order_by("user__username")[:500]
    ]
    taken = {member["user"] for member in members}
    people = []
    if manages:
        names = (
            User.objects.filter(is_active=True, is_service=False)
            .order_by("username")
            .values_list("username", flat=True)
        )
        people = [name for name in names[:500] if name not in taken]
    context = {
        "heading": project.name,
        "lead": project.description or "Members, their roles, and what the project is charged to.",
        "crumbs": [("Home", reverse("home")), ("Projects", reverse("project_list")), (project.slug, None)],
        "project": project,
        "members": members,
        "manages": manages,
        "error": error,
        "fields": [
            {
                "name": "user",
                "label": "Person",
                "kind": "select" if people else "text",
                "value": typed["user"],
                "required": True,
                "choices": [(name, name, False) for name in people],
                "error": error,
                "help": "",
            },
            {
                "name": "role",
                "label": "Role",
                "kind": "select",
                "value": typed["role"],
                "required": True,
                "error": "",
                "help": "",
                "choices": [(value, label, False) for value, label in Role.choices],
            },
        ],
    }
    return page(request, "projects/detail.html", context, status=status)


@require_POST
def remove_member(request: PortalRequest, slug: str) -> HttpResponse:
    """Take a person out of the project."""
    project = _project(request, slug)
    name = request.POST.get("user", "")
    services.remove_member(request.principal, project, username=name)
    messages.success(request, f"{name} is no longer a member.")
    return redirect("project_detail", slug=slug)


AUDIT_FILTERS = {"action": "Action", "project": "Project", "object_id": "Object id", "request_id": "Request id"}
AUDIT_BROWSED = 10_000  # the newest are browsed here; an export holds everything


@require_GET
def audit_list(request: PortalRequest) -> HttpResponse:
    """The audit log, newest first, filtered by action, project, object or request."""
    require_anywhere(request.principal, "view", Row)
    chosen = {name: request.GET.get(name, "").replace("\0", "").strip()[:80] for name in AUDIT_FILTERS}
    rows = Row.objects.order_by("-id").filter(**{name: value for name, value in chosen.items() if value})
    pages = Paginator(rows[:AUDIT_BROWSED], 50)
    shown = pages.get_page(request.GET.get("page"))
    names = dict(Subject.objects.filter(key__in={row.actor for row in shown}).values_list("key", "name"))
    query = request.GET.copy()
    query.pop("page", None)
    link = "?" + (query.urlencode() + "&" if query else "")
    context = {
        "crumbs": [("Home", reverse("home")), ("Audit", None)],
        "filters": [{"name": name, "label": label, "value": chosen[name]} for name, label in AUDIT_FILTERS.items()],
        "rows": [_audit_row(row, names) for row in shown],
        "page": {
            "start": shown.start_index(),
            "end": shown.end_index(),
            "total": pages.count,
            "previous_url": f"{link}page={shown.previous_page_number()}" if shown.has_previous() else "",
            "next_url": f"{link}page={shown.next_page_number()}" if shown.has_next() else "",
        },
    }
    return page(request, "projects/audit.html", context)


def _audit_row(row: Row, names: dict[str, str]) -> dict[str, object]:
    return {
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
    }
