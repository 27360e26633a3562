"""Pages of applications: of a project for its members, of the platform for its engineers."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from portal.errors import Conflict, Forbidden, Invalid
from portal.http import page
from portal.listing import csv_response, find, read
from projects import saved_views
from projects.api import project_or_404
from projects.models import Application, Project, Role
from projects.oauth import applications, fields
from projects.oauth.forms import form_context, typed
from projects.oauth.lists import PLATFORM_APPLICATIONS, PROJECT_APPLICATIONS, chip_of, lines
from projects.oauth.living import in_words, last_day
from projects.oauth.reading import effects_of_end, living_tokens
from projects.permissions import can, forbidden_sentence, require
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

VERBS = ("change", "rotate", "end")
WAYS = {
    fields.CODE: "Authorization code with PKCE: people sign in here and come back to it",
    fields.DEVICE: "Device code: people approve it in a browser while a program waits",
    fields.CREDENTIALS: "Client credentials: it acts by itself, as a service account",
    "external": "Tokens of the issuer outside: it acts by itself, as a service account",
}


def list_url(project: Project | None) -> str:
    """Return the list that an application stands in."""
    return reverse("project_application_list", args=[project.slug]) if project else reverse("application_list")


def crumbs(project: Project | None, *more: tuple[str, str | None]) -> list[tuple[str, str | None]]:
    """Return the way to a page of applications."""
    start: list[tuple[str, str | None]] = [("Home", reverse("home"))]
    if project:
        detail = reverse("project_detail", args=[project.slug])
        start += [("Projects", reverse("project_list")), (project.slug, detail)]
    return [*start, ("Applications", list_url(project) if more else None), *more]


def _seen_project(request: PortalRequest, slug: str) -> Project | None:
    """Return the project of the address, None for the platform; raises NotFound, or Forbidden for the platform's."""
    if slug:
        return project_or_404(request.principal, slug)
    if not applications.may(request.principal, "view", None):
        raise Forbidden(forbidden_sentence("view", Application))
    return None


@require_GET
def application_list(request: PortalRequest, slug: str = "") -> HttpResponseBase:
    """The applications of a project, or of the platform."""
    project = _seen_project(request, slug)
    asked = read(request, PROJECT_APPLICATIONS if slug else PLATFORM_APPLICATIONS)
    rows = Application.objects.filter(project=project).select_related("client", "owner", "account")
    if asked.csv:
        return csv_response(asked, rows, lines)
    found = find(asked, rows)
    context = {
        "crumbs": crumbs(project),
        "project": project,
        "rows": lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
        "may_create": applications.may(request.principal, "create", project),
        "create_url": reverse("project_application_create", args=[slug]) if slug else reverse("application_create"),
    }
    return found.render("projects/applications/list.html", context)


@require_http_methods(["GET", "POST"])
@recently_proved(why="You are about to register a program that acts in the portal.")
def application_create(request: PortalRequest, slug: str = "") -> HttpResponse:
    """The form for an application; its POST answers with the secret, once."""
    project = _seen_project(request, slug)
    if project is not None:
        require(request.principal, "create", project, model=Application)
    elif not applications.may(request.principal, "create", None):
        raise Forbidden(forbidden_sentence("create", Application))
    answers, problem = typed(request.POST if request.method == "POST" else None, request.principal.name), None
    if request.method == "POST":
        try:
            made, secret = applications.create(request.principal, project=project, **answers)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            return _show_once(request, made, secret)
    external = settings.EXTERNAL_JWT is not None and applications.may(request.principal, "create", None)
    ways = {way: words for way, words in WAYS.items() if external or way != "external"}
    context = form_context(answers, problem, ways=ways, roles=Role.values if project else []) | {
        "crumbs": crumbs(project, ("New application", None)),
        "heading": "New application",
        "submit_label": "Register",
        "cancel_url": list_url(project),
    }
    return page(request, "projects/applications/form.html", context, status=problem.status if problem else 200)


@require_GET
def application_detail(request: PortalRequest, application_id: UUID) -> HttpResponse:
    """What an application is, who answers for it, and what it may."""
    found = applications.application_or_404(request.principal, application_id)
    client = found.client
    context = {
        "crumbs": crumbs(found.project, (client.name, None)),
        "application": found,
        "client": client,
        "chip": chip_of(found),
        "ways": [WAYS[way] for way in applications.grants_of(client)],
        "scopes": [{"name": scope, "words": in_words(scope)} for scope in client.get_scopes()],
        "redirects": client.get_redirect_uris(),
        "last_day": last_day(found),
        "tokens": living_tokens(found),
        "may": {
            verb: not found.ended_at and can(request.principal, verb, found) for verb in ("change", "rotate", "end")
        },
        "has_secret": client.secret != applications.NO_SECRET,
    }
    return page(request, "projects/applications/detail.html", context)


@require_http_methods(["GET", "POST"])
@recently_proved(why="You are about to change what a program may do in the portal.")
def application_change(request: PortalRequest, application_id: UUID) -> HttpResponse:
    """The form for owner, end, scopes and addresses of an application."""
    found = applications.application_or_404(request.principal, application_id)
    require(request.principal, "change", found)
    client, problem = found.client, None
    answers: dict[str, Any] = {
        "owner": found.owner.username,
        "ends_on": last_day(found).isoformat(),
        "scopes": client.get_scopes(),
        "redirect_uris": client.get_redirect_uris(),
        "description": found.description,
    }
    if request.method == "POST":
        sent = typed(request.POST, found.owner.username)
        before, answers = answers, {name: sent[name] for name in answers}
        changed = {name: value for name, value in answers.items() if value != before[name]}
        try:
            applications.change(request.principal, found, **changed)
        except (Invalid, Conflict) as error:
            problem = error
        else:
            messages.success(request, f"{client.name} is saved.")
            return redirect("application_detail", application_id=found.pk)
    detail = reverse("application_detail", args=[found.pk])
    context = form_context(answers, problem, grants=applications.grants_of(client)) | {
        "crumbs": crumbs(found.project, (client.name, detail), ("Change", None)),
        "heading": f"Change {client.name}",
        "submit_label": "Save",
        "cancel_url": detail,
    }
    return page(request, "projects/applications/form.html", context, status=problem.status if problem else 200)


def _show_once(request: HttpRequest, application: Application, secret: str) -> HttpResponse:
    client = application.client
    context = {
        "crumbs": crumbs(application.project, (client.name, None)),
        "application": application,
        "client": client,
        "secret": secret,
        "detail_url": reverse("application_detail", args=[application.pk]),
    }
    response = page(request, "projects/applications/secret.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "POST"])
@recently_proved(why="You are about to give a program a new secret.")
def application_rotate(request: PortalRequest, application_id: UUID) -> HttpResponse:
    """Give an application a new secret; the answer to POST shows it, once."""
    words = {
        "title": "Rotate the secret of {name}?",
        "intro": "The old secret stops at once, so put the new one in place right after. Tokens that the application "
        "already has work until they end, an hour at most.",
        "submit_label": "Rotate the secret",
    }
    return _confirmed(
        request,
        application_id,
        "rotate",
        words,
        lambda found: _show_once(request, found, applications.rotate(request.principal, found)),
    )


@require_http_methods(["GET", "POST"])
def application_end(request: PortalRequest, application_id: UUID) -> HttpResponse:
    """End an application with all that it has."""

    def confirmed(found: Application) -> HttpResponse:
        applications.end(request.principal, found, reason=request.POST.get("reason", "")[:500])
        messages.success(request, f"{found.client.name} has ended; nothing that it held works any more.")
        return redirect(list_url(found.project))

    words = {
        "title": "End {name}?",
        "intro": "It is refused at once, everywhere. There is no undo; who needs it registers a new one.",
        "submit_label": "End the application",
    }
    return _confirmed(request, application_id, "end", words, confirmed)


def _confirmed(
    request: PortalRequest,
    application_id: UUID,
    verb: str,
    words: dict[str, str],
    act: Callable[[Application], HttpResponse],
) -> HttpResponse:
    """Ask for the application's name before `act`; a wrong name changes nothing."""
    found = applications.application_or_404(request.principal, application_id)
    require(request.principal, verb, found)
    error, status, name = "", 200, found.client.name
    if request.method == "POST":
        try:
            if request.POST.get("confirm", "").strip() == name:
                return act(found)
            error, status = f"Type {name} exactly as it is written.", 422
        except Conflict as problem:
            error, status = problem.sentence, problem.status
    detail = reverse("application_detail", args=[found.pk])
    effects: Sequence[dict[str, Any]] = effects_of_end(found) if verb == "end" else []
    context = {
        "crumbs": crumbs(found.project, (name, detail), (words["submit_label"], None)),
        "heading": words["submit_label"],
        "confirm": {
            "title": words["title"].format(name=name),
            "intro": words["intro"],
            "word": name,
            "effects": effects,
            "action_url": request.path,
            "submit_label": words["submit_label"],
            "cancel_url": detail,
            "reason": verb == "end",
            "error": error,
        },
        "errors": [{"field": "confirm", "message": error}] if error else [],
    }
    return page(request, "projects/applications/confirm.html", context, status=status)
