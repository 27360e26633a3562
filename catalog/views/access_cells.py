"""The cells of the tab "Who may use it"."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils import timezone

from catalog.audience import MAX_REASON, MOST_NAME, PERSON_DAYS
from catalog.cells import Cell
from catalog.holders import HOLDERS, Grant, grants_seen, kind_of, last_day, name_of, sees_all
from catalog.models import Access, Asset
from portal.errors import GatehouseError
from projects.permissions import can
from projects.principal import Principal

MOST = 100  # grants of one kind on the page; the API has all of them
LONGEST = 600
ICONS = {"project": "team", "group": "team", "person": "user"}


def access_context(
    reader: Principal, asset: Asset, typed: Mapping[str, str], error: GatehouseError | None
) -> dict[str, Any]:
    """Return the context of the tab (three queries, and one for who gives grants without reading the whole catalog)."""
    whole, wrong = sees_all(reader, asset), error.fields if error else {}
    may = {verb: can(reader, verb, asset) for verb in ("open", "grant")}
    found = {kind: list(grants_seen(reader, asset, kind).order_by("-id")[: MOST + 1]) for kind in HOLDERS}
    rows = [_row(asset, grant, may["grant"]) for grants in found.values() for grant in grants[:MOST]]
    return {
        "errors": _errors(error),
        "listed": asset.access == Access.LISTED,
        "whole": whole,
        "may": may,
        "grants": rows,
        "more_grants": any(len(grants) > MOST for grants in found.values()),
        "most_grants": MOST,
        "access_reason": _reason(typed, wrong, "access") if may["open"] else None,
        "grant_fields": _fields(typed, wrong) if may["grant"] else [],
    }


def _errors(error: GatehouseError | None) -> list[dict[str, str]]:
    if error is None:
        return []
    return [item | {"field": _place(item["field"])} for item in error.errors] or [
        {"field": "", "message": error.sentence}
    ]


def _place(field: str) -> str:
    """Return the field of the form at which a sentence about `field` of a grant stands."""
    return "holder" if field in HOLDERS else field


def _row(asset: Asset, grant: Grant, may: bool) -> Cell:
    kind = kind_of(grant)
    return {
        "name": name_of(grant),
        "kind": kind,
        "icon": ICONS[kind],
        "reason": grant.reason,
        "ends_on": last_day(grant),
        "by": grant.granted_by.username if grant.granted_by else "–",
        "since": grant.created_at,
        "end_url": reverse("catalog_revoke", args=[asset.slug, kind, grant.pk]) if may else "",
    }


def _reason(typed: Mapping[str, str], wrong: Mapping[str, str], form: str) -> Cell:
    mine = typed.get("form") == form
    return {
        "name": "reason", "label": "Reason", "kind": "text", "required": form == "grant",
        "value": typed.get("reason", "")[:LONGEST] if mine else "", "error": wrong.get("reason", "") if mine else "",
        "help": "Kept in the audit log." if form == "access" else "The holder reads it, and it stays in the audit log.",
        "attrs": {"maxlength": MAX_REASON, "autocomplete": "off"},
    }  # fmt: skip


def _fields(typed: Mapping[str, str], wrong: Mapping[str, str]) -> list[Cell]:
    mine = typed if typed.get("form") == "grant" else {}
    error = {_place(field): text for field, text in wrong.items()} if mine else {}
    today = timezone.now().date()
    return [
        {
            "name": "kind", "label": "To", "kind": "select", "value": mine.get("kind", "project")[:20],
            "required": True, "error": error.get("kind", ""), "help": "A person only as an exception, with a last day.",
            "choices": [("project", "a project", False), ("group", "a group", False), ("person", "a person", False)],
        },
        {
            "name": "holder", "label": "Name", "kind": "text", "value": mine.get("holder", "")[:LONGEST],
            "required": True, "error": error.get("holder", ""),
            "help": "Short name of the project, name of the group, or user name.",
            "attrs": {"maxlength": MOST_NAME, "autocomplete": "off", "spellcheck": "false"},
        },
        {
            "name": "ends_on", "label": "Last day", "kind": "date", "value": mine.get("ends_on", "")[:20],
            "error": error.get("ends_on", ""), "help": f"UTC. A person: at most {PERSON_DAYS} days. Empty: no end.",
            "attrs": {"min": today.isoformat(), "max": (today + dt.timedelta(days=3650)).isoformat()},
        },
        _reason(typed, wrong, "grant"),
    ]  # fmt: skip
