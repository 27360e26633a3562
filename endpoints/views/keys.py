"""Keys one by one: create, rotate, revoke. A secret is shown on one answer and never again."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.timesince import timesince
from django.views.decorators.http import require_http_methods

from catalog import terms
from endpoints import keys, services
from endpoints.models import Desired, Endpoint, Phase
from endpoints.reading import key_or_404, names_of
from endpoints.sharing import living_shares
from portal.errors import Invalid
from portal.http import page
from projects.api import project_or_404
from projects.keys import DEFAULT_DAYS, MAX_DAYS
from projects.models import ApiKey, Project
from projects.permissions import require
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

LIFETIMES = (7, 30, DEFAULT_DAYS, 180, MAX_DAYS)
MOST_NAMES = 500  # choices of the form; the API takes every other one too
EVERYTHING = "*"  # the choice that binds a key to the whole project


@require_http_methods(["GET", "POST"])
@recently_proved(why="You make a key that calls without you.")
def key_create(request: PortalRequest, slug: str) -> HttpResponse:
    """The form for a key; its POST answers with the secret, once."""
    project = project_or_404(request.principal, slug)
    require(request.principal, "create", project, model=ApiKey)
    typed = {"name": "", "endpoint": request.GET.get("endpoint", EVERYTHING)[:120], "days": str(DEFAULT_DAYS)}
    problem: Invalid | None = None
    if request.method == "POST":
        typed = {name: request.POST.get(name, "") for name in typed}
        try:
            wanted = [] if typed["endpoint"] == EVERYTHING else [typed["endpoint"]]
            read = request.POST.getlist(terms.FIELD)
            made, secret = services.issue_key(
                request.principal, project, typed["name"], wanted, None, _days(typed["days"]), acknowledge=read[:50]
            )
        except Invalid as error:
            problem = error
        else:
            return _show_once(request, project, made, secret)
    own, shared = callable_names(project)
    context = head(project, "New key") | {
        "fields": _fields(typed, own, shared, problem.fields if problem else {}),
        "terms": _terms(project, request.POST.getlist(terms.FIELD), problem),
        "errors": _said(problem) if problem else [],
        "cancel_url": reverse("key_list", args=[project.slug]),
    }
    return page(request, "endpoints/key_create.html", context, status=problem.status if problem else 200)


@require_http_methods(["GET", "POST"])
@recently_proved(why="You make a key that calls without you.")
def key_rotate(request: PortalRequest, slug: str, key_id: UUID) -> HttpResponse:
    """Replace a key; the answer to POST shows the new secret, once."""

    def confirmed(key: ApiKey) -> HttpResponse:
        made, secret = services.rotate_key(request.principal, key)
        return _show_once(request, key.project, made, secret)

    words = {
        "title": "Rotate {name}?",
        "intro": "You get a new secret at once. The old one works until it expires, at most seven more days.",
        "submit_label": "Rotate",
    }
    return _confirmed(request, slug, key_id, "rotate", words, confirmed)


@require_http_methods(["GET", "POST"])
def key_revoke(request: PortalRequest, slug: str, key_id: UUID) -> HttpResponse:
    """End a key at once."""

    def confirmed(key: ApiKey) -> HttpResponse:
        services.revoke_key(request.principal, key)
        messages.success(request, f"{key.name} is revoked; every gateway refuses it within a second.")
        return redirect("key_list", slug=slug)

    words = {
        "title": "Revoke {name}?",
        "intro": "Calls with it are refused within a second. It cannot be undone; whoever needs it gets a new key.",
        "submit_label": "Revoke",
    }
    return _confirmed(request, slug, key_id, "revoke", words, confirmed)


def _confirmed(
    request: PortalRequest,
    slug: str,
    key_id: UUID,
    verb: str,
    words: dict[str, str],
    act: Callable[[ApiKey], HttpResponse],
) -> HttpResponse:
    """Ask for the key's name before `act`; a wrong name changes nothing."""
    key = key_or_404(request.principal, slug, key_id)
    require(request.principal, verb, key)
    error = ""
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() == key.name:
            return act(key)
        error = f"Type {key.name} exactly as it is written."
    used = f", last used {timesince(key.last_used_at)} ago" if key.last_used_at else ", never used"
    context = head(key.project, words["submit_label"]) | {
        "confirm": {
            "title": words["title"].format(name=key.name),
            "intro": words["intro"],
            "word": key.name,
            "effects": [{"count": key.prefix, "text": f" of {key.person.username}{used}"}],
            "action_url": request.path,
            "submit_label": words["submit_label"],
            "cancel_url": reverse("key_list", args=[slug]),
        },
        "errors": [{"field": "confirm", "message": error}] if error else [],
    }
    return page(request, "endpoints/confirm.html", context, status=422 if error else 200)


def _show_once(request: PortalRequest, project: Project, key: ApiKey, secret: str) -> HttpResponse:
    names = names_of([key])
    context = head(project, "Your new key") | {
        "key": {"name": key.name, "prefix": key.prefix, "expires": key.expires_at},
        "endpoints": ", ".join(sorted(names.values())) or f"all endpoints of {project.slug}",
        "secret": secret,
        "list_url": reverse("key_list", args=[project.slug]),
    }
    response = page(request, "endpoints/key_secret.html", context)
    response["Cache-Control"] = "no-store"
    return response


def head(project: Project, title: str) -> dict[str, Any]:
    """Return what every page about keys of `project` has: heading and breadcrumbs."""
    return {
        "project": project,
        "heading": title,
        "crumbs": [
            ("Projects", reverse("project_list")),
            (project.slug, reverse("project_detail", args=[project.slug])),
            ("API keys", reverse("key_list", args=[project.slug]) if title != "API keys" else ""),
            *([(title, "")] if title != "API keys" else []),
        ],
    }


def callable_names(project: Project) -> tuple[list[str], list[str]]:
    """Return what keys of `project` may be bound to: names of its endpoints, and full names of those shared with it
    (two queries).
    """
    living = Endpoint.objects.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    own = living.filter(project=project).order_by("name").values_list("name", flat=True)[:MOST_NAMES]
    given = living_shares().filter(project=project, endpoint__in=living)
    rows = given.order_by("endpoint__project__slug", "endpoint__name")
    names = rows.values_list("endpoint__project__slug", "endpoint__name")[:MOST_NAMES]
    return list(own), [f"{slug}/{name}" for slug, name in names]


def _said(problem: Invalid) -> list[dict[str, str]]:
    if problem.code != terms.CODE:
        return problem.errors
    said = "Read the terms below and tick their boxes; without that there is no key."
    return [{"field": terms.FIELD, "label": "Terms of licences", "message": said}]


def _terms(project: Project, ticked: Sequence[str], problem: Invalid | None) -> list[dict[str, Any]]:
    """Return the terms that the project has not acknowledged yet, of whatever its keys may call, as boxes to tick."""
    refused = problem is not None and problem.code == terms.CODE
    wanted = {str(one["licence"]) for one in problem.extra["terms"]} if refused and problem else set()  # type: ignore[attr-defined]
    return [
        {
            "id": "id_acknowledge" if not at else f"id_acknowledge-{at + 1}",
            "licence": one.key,
            "name": one.name,
            "words": one.words,
            "ticked": one.key in ticked,
            "error": f"Read the terms of {one.name} and tick the box." if one.key in wanted else "",
        }
        for at, one in enumerate(terms.missing(project, keys.licences_of(project)))
    ]


def _days(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise Invalid.field("days", f"days is {text[:20]!r}; a key lives 1 to {MAX_DAYS} days. Write a whole number.")
    return int(text)


def _fields(typed: dict[str, str], own: list[str], shared: list[str], errors: dict[str, str]) -> list[dict[str, Any]]:
    everything = "All endpoints of the project and those shared with it, also later ones"
    endpoints = [(EVERYTHING, everything), *((name, name) for name in own)]
    endpoints += [(name, f"{name}, shared with you") for name in shared]
    return [
        {
            "name": "name",
            "label": "Name",
            "kind": "text",
            "value": typed["name"],
            "required": True,
            "error": errors.get("name", ""),
            "help": "What will call with it, for example scoring-service.",
            "attrs": {"maxlength": 80, "autocomplete": "off"},
        },
        {
            "name": "endpoint",
            "label": "May call",
            "kind": "select",
            "value": typed["endpoint"],
            "required": True,
            "help": "",
            "error": errors.get("endpoints", ""),
            "choices": [(value, label, False) for value, label in endpoints],
        },
        {
            "name": "days",
            "label": "Expires after",
            "kind": "select",
            "value": typed["days"],
            "required": True,
            "help": "",
            "error": errors.get("days", ""),
            "choices": [(str(days), f"{days} days", False) for days in LIFETIMES],
        },
    ]
