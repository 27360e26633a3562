"""The form of an application: what was typed, and the fields as the page shows them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.http import QueryDict
from django.utils import timezone

from portal.errors import Conflict, Invalid
from projects.oauth import fields
from projects.oauth.living import IDENTITY_SCOPES, in_words
from projects.permissions import SCOPES, SHORT_LIVED

LABELS = {
    "name": "Name", "description": "What it is for", "grants": "How it gets a token", "kind": "Can it keep a secret?",
    "scopes": "What it may do", "redirect_uris": "Redirect addresses", "owner": "Owner", "ends_on": "Last day",
    "role": "Role of its service account", "client_id": "Client id at the issuer",
}  # fmt: skip


def typed(form: QueryDict | None, owner: str) -> dict[str, Any]:
    """Return what stands in the form, or what a new one starts with."""
    if form is None:
        ends = timezone.now().date() + dt.timedelta(days=fields.DEFAULT_DAYS)
        return {
            "name": "", "description": "", "grants": [fields.CREDENTIALS], "kind": "confidential",
            "scopes": ["requests:read"], "redirect_uris": [], "owner": owner, "ends_on": ends.isoformat(), "role": "",
            "client_id": "",
        }  # fmt: skip
    return {
        "name": form.get("name", ""),
        "description": form.get("description", ""),
        "grants": form.getlist("grants"),
        "kind": form.get("kind", ""),
        "scopes": form.getlist("scopes"),
        "redirect_uris": [line.strip() for line in form.get("redirect_uris", "").splitlines() if line.strip()],
        "owner": form.get("owner", "").strip() or owner,
        "ends_on": form.get("ends_on", ""),
        "role": form.get("role", ""),
        "client_id": form.get("client_id", "").strip(),
    }


def form_context(
    answers: Mapping[str, Any],
    problem: Invalid | Conflict | None,
    *,
    ways: Mapping[str, str] | None = None,
    roles: Sequence[str] = (),
    grants: Sequence[str] = (),
) -> dict[str, Any]:
    """Return errors and fields. `ways` names the grants of a new application; `grants` are those of one that exists."""
    wrong = problem.fields if problem else {}
    errors = (problem.errors or [{"field": "name", "message": problem.sentence}]) if problem else []
    personal = ways is not None or bool({fields.CODE, fields.DEVICE} & set(grants))
    scopes = [*(IDENTITY_SCOPES if personal else ()), *SCOPES]
    return {
        "errors": [error | {"label": LABELS.get(error["field"], error["field"])} for error in errors],
        "first": _first(answers, wrong) if ways is not None else [_description(answers, wrong)],
        "ways": [
            {"value": way, "words": words, "chosen": way in answers["grants"]} for way, words in (ways or {}).items()
        ],
        "ways_error": wrong.get("grants", ""),
        "scopes": [
            {"value": scope, "words": in_words(scope), "chosen": scope in answers["scopes"],
             "strong": scope in SHORT_LIVED}
            for scope in scopes if personal or scope not in SHORT_LIVED
        ],
        "scopes_error": wrong.get("scopes", ""),
        "last": _last(answers, wrong, ways, roles, grants),
    }  # fmt: skip


def _field(name: str, kind: str, value: Any, wrong: Mapping[str, str], **more: Any) -> dict[str, Any]:
    return {"name": name, "label": LABELS[name], "kind": kind, "value": value, "error": wrong.get(name, ""), **more}


def _description(answers: Mapping[str, Any], wrong: Mapping[str, str]) -> dict[str, Any]:
    text = "One sentence; people read it before they say yes."
    return _field("description", "text", answers["description"], wrong, help=text, attrs={"maxlength": 300})


def _first(answers: Mapping[str, Any], wrong: Mapping[str, str]) -> list[dict[str, Any]]:
    kinds = [("confidential", "Yes: it runs on a server (confidential)", False),
             ("public", "No: a command line, an app or a page (public)", False)]  # fmt: skip
    return [
        _field("name", "text", answers["name"], wrong, required=True, attrs={"maxlength": 80, "autocomplete": "off"}),
        _description(answers, wrong),
        _field("kind", "select", answers["kind"], wrong, required=True, choices=kinds),
    ]


def _last(
    answers: Mapping[str, Any],
    wrong: Mapping[str, str],
    ways: Mapping[str, str] | None,
    roles: Sequence[str],
    grants: Sequence[str],
) -> list[dict[str, Any]]:
    found = []
    if ways is not None or fields.CODE in grants:
        text = (
            "One a line, for the code flow: https://, http://127.0.0.1 for a program on the person's machine, or the "
        )
        text += "scheme of an app like com.example.app:/callback. No wildcards."
        value = "\n".join(answers["redirect_uris"])
        found.append(
            _field("redirect_uris", "textarea", value, wrong, help=text, attrs={"rows": 3, "spellcheck": "false"})
        )
    if roles:
        choices = [("", "developer, when it acts by itself", False), *((role, role, False) for role in roles)]
        found.append(_field("role", "select", answers["role"], wrong, choices=choices))
    if ways is not None and "external" in ways:
        text = "Only for tokens of the issuer outside: the name of the client there (azp)."
        found.append(_field("client_id", "text", answers["client_id"], wrong, help=text, attrs={"maxlength": 100}))
    text = "User name of the person who answers for it and is reminded before it ends. When they leave, it stops."
    found.append(_field("owner", "text", answers["owner"], wrong, required=True, help=text, attrs={"maxlength": 150}))
    text = f"At most {fields.MAX_DAYS} days ahead."
    found.append(_field("ends_on", "date", answers["ends_on"], wrong, required=True, help=text))
    return found
