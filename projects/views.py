"""Pages of projects: members, the switcher, the theme. Their lists stand in `projects.lists`."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from portal.errors import GatehouseError, NotFound
from portal.http import page
from projects import services
from projects.giving import roles_of_projects
from projects.middleware import PROJECT_SESSION_KEY
from projects.models import Membership, Project, Role, User, is_slug
from projects.permissions import can, visible
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

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


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change who may do what in a project.")
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
            "service": item.user.is_service,
            "initial": item.user.username[:1].upper(),
            "since": item.created_at,
        }
        for item in Membership.objects.filter(project=project).select_related("user").order_by("user__username")[:500]
    ]
    roles = {member["user"]: f"{member['user']} ({member['role']})" for member in members}
    people: list[str] = []
    if manages:
        names = (
            User.objects.filter(is_active=True, is_service=False)
            .order_by("username")
            .values_list("username", flat=True)
        )
        people = list(names[:500])
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
                "choices": [(name, roles.get(name, name), False) for name in people],
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
                "choices": [(value, label, False) for value, label in roles_of_projects()],
            },
        ],
    }
    return page(request, "projects/detail.html", context, status=status)


@require_POST
@recently_proved(why="You change who may do what in a project.")
def remove_member(request: PortalRequest, slug: str) -> HttpResponse:
    """Take a person out of the project."""
    project = _project(request, slug)
    name = request.POST.get("user", "")
    services.remove_member(request.principal, project, username=name)
    messages.success(request, f"{name} is no longer a member.")
    return redirect("project_detail", slug=slug)
