"""Pages for errors: what happened, and for a refusal which role would do, who has it, and where to ask."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from approvals.models import Request
from portal.errors import Forbidden, GatehouseError
from projects.models import PLATFORM_GROUPS, Project, Role, User
from projects.permissions import visible
from projects.principal import ANONYMOUS, Principal

PEOPLE = 5
PAGES = {400, 403, 404, 409, 429}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: the browser sent something that cannot be read."""
    return render(
        request, "400.html", {"sentence": "The request could not be read. Go back and try again."}, status=400
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 of Django itself; those of the portal's own rules come through `expected`."""
    return render(request, "403.html", {"sentence": "Your role does not allow this."}, status=403)


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: the same whether there is nothing or whether it is hidden."""
    return render(request, "404.html", {"sentence": "There is no such page, or you may not see it."}, status=404)


def mistake(request: HttpRequest) -> HttpResponse:
    """500: says the request id and nothing else."""
    return render(request, "500.html", {"request_id": getattr(request, "request_id", "")}, status=500)


def expected(request: HttpRequest, error: GatehouseError) -> HttpResponse:
    """Return the page of an error that people read."""
    known = error.status if error.status in PAGES else 400
    context: dict[str, Any] = {"sentence": error.sentence, "title": error.title, "errors": error.errors}
    if isinstance(error, Forbidden):
        context["needs"] = needs(request, error)
    return render(request, f"{known}.html", context, status=error.status)


def needs(request: HttpRequest, error: Forbidden) -> dict[str, Any]:
    """Return which roles would allow it, up to five people who have one, and where to ask them.

    People and project are named only to somebody who may see the project (at most four queries).
    """
    principal = getattr(request, "principal", ANONYMOUS)
    if not error.roles or not principal.is_authenticated:
        return {}
    project = None
    if error.project_id is not None:
        project = visible(principal, Project.objects.filter(pk=error.project_id)).first()
        if project is None:
            return {}
    return {
        "roles": _words(error.roles, project),
        "people": _people(error.roles, project),
        "ask": _ask(request, principal, project),
    }


def _words(roles: frozenset[str], project: Project | None) -> list[str]:
    place = f" of {project.slug}" if project else " of the project"
    held = [f"{role.label.lower()}{place}" for role in Role if role in roles]
    return held + [name.removesuffix("s").replace("-", " ") for name in PLATFORM_GROUPS if name in roles]


def _people(roles: frozenset[str], project: Project | None) -> list[dict[str, str]]:
    """Return the project's owners, who have the role or give it, before people of the platform's groups."""
    active = User.objects.filter(is_active=True, is_service=False).order_by("username")
    found: dict[str, str] = {}
    if project is not None and roles & set(Role.values):
        owners = active.filter(memberships__project=project, memberships__role=Role.OWNER)
        found |= {person.username: f"owner of {project.slug}" for person in owners[:PEOPLE]}
    groups = [name for name in PLATFORM_GROUPS if name in roles]
    if groups and len(found) < PEOPLE:
        pairs = active.filter(groups__name__in=groups).values_list("username", "groups__name")
        for username, group in pairs[: PEOPLE * len(groups)]:
            found.setdefault(username, group.removesuffix("s").replace("-", " "))
    return [{"name": name, "role": role} for name, role in list(found.items())[:PEOPLE]]


def _ask(request: HttpRequest, principal: Principal, project: Project | None) -> dict[str, str]:
    """Return where to ask: under the request that the page is about, else on the project's page."""
    match = request.resolver_match
    number = match.kwargs.get("pk") if match and (match.url_name or "").startswith(("request_", "approval_")) else None
    if number is not None:
        asked = visible(principal, Request.objects.filter(pk=number)).first()
        if asked is not None:
            return {"label": f"Ask in a comment on {asked}", "url": reverse("request_detail", args=[asked.pk])}
    if project is not None:
        return {"label": f"See who is in {project.slug}", "url": reverse("project_detail", args=[project.slug])}
    return {}
