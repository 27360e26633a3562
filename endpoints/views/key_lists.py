"""The list of a project's keys, and revoking many of them at once."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.timesince import timesince
from django.views.decorators.http import require_GET, require_POST

from endpoints import cells, services
from endpoints.keys import PLAYGROUND, may_change
from endpoints.reading import names_of
from endpoints.views.keys import head
from portal import listing
from portal.http import page, uuid_or_none
from portal.listing import BulkAction, Column, Filter, Listing
from projects import saved_views
from projects.api import project_or_404
from projects.models import ApiKey, KeyState, Project
from projects.permissions import can, require
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved

LIVING = (KeyState.ACTIVE, KeyState.ROTATING)
KEYS = Listing(
    route="key_list",
    nouns=("key", "keys"),
    columns=(
        Column("name", "Name", ("name",), {"name": "name", "person": "person"}, fixed=True),
        Column("prefix", "Prefix", csv={"prefix": "prefix"}),
        Column("endpoints", "May call", csv={"may_call": "endpoints"}),
        Column("scopes", "Scopes", csv={"scopes": "scopes"}, default=False),
        Column("used", "Last used", ("last_used_at",), {"last_used_at": "last_used"}, first="descending"),
        Column("expires", "Expires", ("expires_at",), {"expires_at": "expires_at", "revoked_at": "revoked_at"}),
        Column("state", "State", ("state",), {"state": "state"}),
        Column("created", "Created", ("created_at",), {"created_at": "created_at"}, default=False, first="descending"),
    ),
    filters=(
        Filter(
            "q",
            "Name, prefix or person",
            lambda rows, value, request: rows.filter(
                Q(name__icontains=value) | Q(prefix__istartswith=value) | Q(person__username__icontains=value)
            ),
            kind="search",
        ),
        Filter(
            "state",
            "State",
            lambda rows, value, request: rows.filter(state=value),
            choices=[(value, str(label)) for value, label in KeyState.choices],
            every="Every state",
        ),
        Filter(
            "mine",
            "Only mine",
            lambda rows, value, request: rows.filter(person=request.principal.person),
            kind="flag",
        ),
    ),
    sort="-created",
    file="keys",
)
ACTIONS = (BulkAction("revoke", "Revoke", danger=True),)


@require_GET
def key_list(request: PortalRequest, slug: str) -> HttpResponseBase:
    """The keys of a project, newest first."""
    project = project_or_404(request.principal, slug)
    require(request.principal, "view", project, model=ApiKey)
    asked, rows = listing.read(request, KEYS), _keys(project)
    may = {verb: can(request.principal, verb, project, model=ApiKey) for verb in ("create", "rotate", "revoke")}

    def lines(found: Sequence[ApiKey]) -> list[dict[str, Any]]:
        names = names_of(found)
        return [_line(request, key, names, may) for key in found]

    if asked.csv:
        return listing.csv_response(asked, rows, lines)
    found = listing.find(asked, rows)
    context = head(project, "API keys") | {
        "keys": lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
        "bulk": listing.bulk_bar(reverse("key_bulk", args=[slug]), ACTIONS) if may["revoke"] else None,
        "may_create": may["create"],
    }
    return found.render("endpoints/keys.html", context)


def _keys(project: Project) -> QuerySet[ApiKey]:
    rows = ApiKey.objects.filter(project=project).exclude(purpose=PLAYGROUND)
    return rows.select_related("project", "person").prefetch_related("targets")


def _line(request: PortalRequest, key: ApiKey, names: dict[str, str], may: dict[str, bool]) -> dict[str, Any]:
    revocable = key.state in LIVING and may["revoke"] and may_change(request.principal, key, "revoke")
    return cells.key_line(key, request.principal, names, may) | {
        "tick": str(key.pk) if revocable else "",
        "scopes": " ".join(key.scopes),
        "state": key.state,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "created_at": key.created_at,
    }


@require_POST
@recently_proved(why="You end keys that others may depend on.")
def key_bulk(request: PortalRequest, slug: str) -> HttpResponse:
    """Revoke the ticked keys after a typed confirmation, each with an outcome of its own."""
    project = project_or_404(request.principal, slug)
    require(request.principal, "revoke", project, model=ApiKey)
    action, ids = listing.chosen_action(request, ACTIONS), listing.ticked(request)
    rows = {str(key.pk): key for key in _keys(project).filter(pk__in=[pk for pk in map(uuid_or_none, ids) if pk])}
    word = f"revoke {len(ids)}"
    if request.POST.get("confirm", "").strip() != word:
        return _confirm(request, project, ids, rows, word)

    def act(key: ApiKey) -> str:
        services.revoke_key(request.principal, key)
        return "It is revoked; every gateway refuses it within a second."

    missing = f"There is no such key in {slug}, or you may not see it."
    outcomes = listing.perform(ids, rows, act, label=lambda key: f"{key.name} ({key.prefix})", missing=missing)
    back = listing.back_to(request, reverse("key_list", args=[slug]))
    context = head(project, action.label) | {
        "results": listing.outcome_context(outcomes, title="Revoke keys", back_url=back, back_label="Back to the keys")
    }
    return listing.outcome_page(request, context)


def _confirm(
    request: PortalRequest, project: Project, ids: list[str], rows: dict[str, ApiKey], word: str
) -> HttpResponse:
    back = listing.back_to(request, reverse("key_list", args=[project.slug]))
    wrong = "confirm" in request.POST
    error = f"Type {word} exactly as it is written." if wrong else ""
    effects = [
        {
            "count": f"{key.name} ({key.prefix})",
            "text": f" of {key.person.username}, "
            + (f"last used {timesince(key.last_used_at)} ago" if key.last_used_at else "never used"),
        }
        for key in rows.values()
    ]
    context = head(project, "Revoke") | {
        "confirm": {
            "title": f"Revoke {len(ids)} key{'s' if len(ids) != 1 else ''}?",
            "intro": "Calls with them are refused within a second. It cannot be undone; whoever needs one gets a new"
            " key.",
            "effects": effects,
            "word": word,
            "action_url": reverse("key_bulk", args=[project.slug]),
            "submit_label": "Revoke them",
            "cancel_url": back,
            "hidden": {"action": "revoke", "next": back},
            "ids": ids,
            "error": error,
        },
        "errors": [{"field": "confirm", "message": error}] if wrong else [],
    }
    return page(request, "_list_confirm_page.html", context, status=422 if wrong else 200)
