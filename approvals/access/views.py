"""Pages of the access explorer: who may do what, through what, and why not."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from approvals.access.api import chosen_word, csv_answer, cursor_of, place_of
from approvals.access.explain import Explorer, Row
from approvals.access.sight import Question, Sight, question, sight
from approvals.access.ways import KEY, PROJECT, SERVICE
from approvals.access.why import choices, why
from approvals.access.words import MEANINGS, WORDS
from catalog.models import Asset
from portal.errors import Invalid
from portal.http import page
from projects.models import ApiKey, KeyState, Project, User
from projects.permissions import visible
from projects.principal import PortalRequest

FEW, MANY, SUGGESTED = 25, 100, 200  # rows of a word among others, rows of one word, names that a field suggests
FIELDS: Mapping[str, tuple[str, str]] = {  # name → tab, label of its field
    "project": ("Project", "Project"),
    "asset": ("Asset", "Asset"),
    "user": ("Person", "Person or service account"),
    "key": ("Key", "API key, by its beginning"),
}
NARROWS: Mapping[str, tuple[str, ...]] = {  # what else a tab asks for
    "project": ("user",),
    "asset": ("project", "user"),
    "user": ("project",),
    "key": ("project", "asset"),
}
TITLES = {"see": "See", "request": "Request", "invoke": "Invoke", "manage": "Manage", "decide": "Decide"}
KIND_CHIPS: Mapping[str, dict[str, str]] = {
    SERVICE: {"label": "service account", "colour": "purple", "icon": "code", "kind": "outline"},
    KEY: {"label": "key", "colour": "teal", "icon": "key", "kind": "outline"},
    "application": {"label": "application", "colour": "blue", "icon": "link", "kind": "outline"},
    PROJECT: {"label": "project", "colour": "grey", "icon": "team", "kind": "outline"},
}


@require_GET
def access(request: PortalRequest) -> HttpResponse:
    """Pick an asset, project, person or key: who may see, request, invoke, manage and decide, and through what."""
    who = sight(request.principal)
    names = _names(request)
    tab = _tab(who, request, names)
    if not (who.whole or who.owned) and not names:  # who may ask about nobody else sees the own access at once
        names = {"user": who.principal.name}
    context: dict[str, Any] = {"names": names, "errors": []}
    status = 200
    if names:
        try:
            word = chosen_word(request.GET.get("word", ""))
            explorer = Explorer(who, question(who, **names))
            if request.GET.get("format") == "csv":
                return csv_answer(explorer.rows(word=word))
            context |= _answer(explorer, names, word, request.GET.get("after", ""))
        except Invalid as error:
            context["errors"], status = _errors(error), 422
    context |= {
        "crumbs": [("Home", reverse("home")), ("Access", "")],
        "tabs": _tabs(who, tab),
        "tabs_label": "Explain by",
        "fields": _fields(who, tab, names, context["errors"]),
        "by": tab,
        "only_self": not (who.whole or who.owned),
        "whole": who.whole,
    }
    return page(request, "approvals/access/access.html", context, status=status)


@require_GET
def access_why(request: PortalRequest) -> HttpResponse:
    """Why somebody may do something, or why not: what is missing and who can give it."""
    who = sight(request.principal)
    names, action = _names(request), request.GET.get("why", "").strip()[:120]
    if not who.whole and not who.owned:
        names = {"user": who.principal.name} | names
    context: dict[str, Any] = {"errors": []}
    status = 200
    if action:
        try:
            found = why(Explorer(who, question(who, **names)), action)
            context["answer"] = found
            context["lines"] = [way.sentence for way in found.through]
        except Invalid as error:
            context["errors"], status = _errors(error), 422
    context |= {
        "crumbs": [("Home", reverse("home")), ("Access", reverse("access")), ("Why not?", "")],
        "fields": [
            *(_field(name, names.get(name, ""), context["errors"]) for name in ("user", "project", "asset")),
            {
                "name": "why", "label": "May they", "kind": "select", "value": action or WORDS[1],
                "choices": _actions(), "required": True, "error": _message(context["errors"], "why"), "attrs": {},
            },
        ],
        "back_url": f"{reverse('access')}?{urlencode(names)}" if names else reverse("access"),
    }  # fmt: skip
    return page(request, "approvals/access/why.html", context, status=status)


def _names(request: PortalRequest) -> dict[str, str]:
    """Return what the address names, without what is empty."""
    found = {name: request.GET.get(name, "").strip()[:200] for name in FIELDS}
    return {name: text for name, text in found.items() if text}


def _tab(who: Sight, request: PortalRequest, names: Mapping[str, str]) -> str:
    asked = request.GET.get("by", "")
    if asked in FIELDS:
        return asked
    if not (who.whole or who.owned):
        return "user"
    return next((name for name in ("key", "asset", "user", "project") if name in names), "project")


def _tabs(who: Sight, tab: str) -> list[dict[str, Any]]:
    if not (who.whole or who.owned):
        return []
    route = reverse("access")
    return [
        {"label": label, "url": f"{route}?by={name}", "current": name == tab} for name, (label, _) in FIELDS.items()
    ]


def _errors(error: Invalid) -> list[dict[str, str]]:
    labels = {name: label for name, (_, label) in FIELDS.items()} | {"why": "May they"}
    return [entry | {"label": labels.get(entry["field"], entry["field"])} for entry in error.errors]


def _message(errors: Sequence[Mapping[str, str]], name: str) -> str:
    return next((error["message"] for error in errors if error["field"] == name), "")


def _field(
    name: str, value: str, errors: Sequence[Mapping[str, str]], *, required: bool = False, listed: bool = False
) -> dict[str, Any]:
    attrs: dict[str, Any] = {"autocomplete": "off", "maxlength": 200}
    return {
        "name": name,
        "label": FIELDS[name][1],
        "kind": "search",
        "value": value,
        "required": required,
        "error": _message(errors, name),
        "attrs": attrs | ({"list": f"names-{name}"} if listed else {}),
    }


def _fields(
    who: Sight, tab: str, names: Mapping[str, str], errors: Sequence[Mapping[str, str]]
) -> list[dict[str, Any]]:
    """Return the search field of the tab with its suggestions, and what narrows it (one query)."""
    main = _field(tab, names.get(tab, ""), errors, required=True, listed=True) | {"suggestions": _suggestions(who, tab)}
    return [main, *(_field(name, names.get(name, ""), errors) for name in NARROWS[tab])]


def _suggestions(who: Sight, tab: str) -> list[str]:
    one = who.principal
    if tab == "asset":
        return list(Asset.objects.visible_to(one).order_by("slug").values_list("slug", flat=True)[:SUGGESTED])
    if tab == "project":
        rows = visible(one, Project.objects.order_by("slug"))
        rows = rows if who.whole else rows.filter(pk__in=who.owned)
        return list(rows.values_list("slug", flat=True)[:SUGGESTED])
    if tab == "user":
        people = User.objects.filter(is_active=True).order_by("username")
        if not who.whole:
            mine = people.filter(memberships__project__in=who.owned) if who.owned else people.filter(pk=one.person.pk)
            people = mine.distinct()
        return list(people.values_list("username", flat=True)[:SUGGESTED])
    keys = visible(one, ApiKey.objects.filter(state__in=[KeyState.ACTIVE, KeyState.ROTATING]).order_by("prefix"))
    keys = keys if who.whole else keys.filter(project__in=who.owned)
    return list(keys.values_list("prefix", flat=True)[:SUGGESTED])


def _answer(explorer: Explorer, names: Mapping[str, str], word: str, after: str) -> dict[str, Any]:
    """Return the rows by word: the first ones of each, or a page of one."""
    asked, base = explorer.asked, reverse("access")
    sections = []
    for one in (word,) if word else WORDS:
        size = MANY if word else FEW
        rows = list(itertools.islice(explorer.rows(after=place_of(after) if word else None, word=one), size + 1))
        more = urlencode(
            {**names, "word": one} | ({"after": cursor_of(rows[size - 1])} if word and rows[size:] else {})
        )
        sections.append(
            {
                "word": one,
                "title": TITLES[one],
                "meaning": _meaning(asked, explorer, one),
                "rows": [_line(asked, row) for row in rows[:size]],
                "more_url": f"{base}?{more}" if len(rows) > size else "",
            }
        )
    return {
        "sections": sections,
        "word": word,
        "subject": _subject(asked),
        "nothing": not any(section["rows"] for section in sections),
        "by_object": _by_object(asked),
        "csv_url": f"{base}?{urlencode({**names, 'format': 'csv'} | ({'word': word} if word else {}))}",
        "all_url": f"{base}?{urlencode(names)}" if word else "",
        "why_url": f"{reverse('access_why')}?{urlencode(names)}",
    }


def _by_object(asked: Question) -> bool:
    """Whether the rows are about several objects of one person."""
    return asked.user is not None and asked.asset is None and asked.project is None


def _subject(asked: Question) -> str:
    """Return what the answer is about, in words."""
    parts = [asked.user.username] if asked.user else [asked.key.prefix] if asked.key else []
    parts += [asked.asset.slug] if asked.asset else []
    parts += [asked.project.slug] if asked.project else []
    return ", ".join(parts)


def _meaning(asked: Question, explorer: Explorer, word: str) -> str:
    kinds = dict.fromkeys(target.kind for target in explorer.targets if target.only in ("", word))
    return "; ".join(MEANINGS[kind, word].sentence for kind in kinds)


def _line(asked: Question, row: Row) -> dict[str, Any]:
    """Return a row as the table shows it."""
    ends = [way.ends_at for way in row.through if way.ends_at is not None]
    return {
        "who": row.who,
        "chip": KIND_CHIPS.get(row.kind),
        "person": row.kind == "person",
        "on": row.on.name,
        "on_kind": row.on.kind,
        "allowed": row.allowed,
        "through": [way.sentence for way in row.through],
        "ends_at": ends[0] if ends else None,
        "why_url": f"{reverse('access_why')}?{urlencode(_why(asked, row))}",
    }


def _why(asked: Question, row: Row) -> dict[str, str]:
    holder = "key" if row.kind == KEY else "user"
    return {holder: row.who, row.on.kind: row.on.name, "why": row.word}


def _actions() -> list[tuple[str, str, bool]]:
    words = [(word, f"{TITLES[word].lower()} it", False) for word in WORDS]
    return [*words, *((name, f"{label} ({name})", False) for name, label in choices())]
