"""Tab “Tools” of an MCP server: what is pinned, how it stands, what has changed, who may see it in the registry."""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse

from catalog import cells
from catalog.cells import Cell
from catalog.evidence.tools import CHANGED
from catalog.mcp import clients, definitions, diff, publishing
from catalog.mcp.granted import usable
from catalog.models import Asset, Evidence, Kind, Tool, Version
from projects.models import Project
from projects.permissions import can, visible
from projects.principal import PortalRequest

STATES = {
    "pinned": ("Pinned", "green", "lock"),
    "changed": ("Changed", "red", "err"),
    "new": ("New", "red", "err"),
    "missing": ("Missing", "red", "err"),
    "listed": ("Not pinned", "orange", "warn"),
    "described": ("Described", "grey", "info"),
}
TITLES = {
    "described": "Its publisher's word; nobody has asked the server.",
    "listed": "The server listed it, and it was not pinned.",
}


def tab(request: PortalRequest, version: Version) -> dict[str, Any]:
    """Return what the tab shows (three queries)."""
    latest = Evidence.objects.filter(version=version, kind="tools").order_by("-collected_at", "-pk").first()
    report: Mapping[str, Any] = latest.report if latest else {}
    changed = report.get("code") == CHANGED
    return {
        "tools": rows(version, report),
        "tools_finding": latest,
        "tools_chip": cells.verdict_chip(latest.verdict) if latest else None,
        "tools_changed": changed,
        "tools_code": report.get("code", ""),
        "tools_diff": diff.lines(report) if changed else [],
        "tools_remarks": report.get("lint", []),
        "tools_report_url": reverse("catalog_report", args=[version.asset.slug, version.version, "tools"])
        if latest
        else "",
        "server_facts": _facts(report),
        "registry": _registry(request, version.asset),
    }


def count(version: Version) -> int:
    """Return how many tools a version has: pinned ones, or else those that are described (one query)."""
    return version.tools.count() or len(version.facts.get("tools", []))


def rows(version: Version, report: Mapping[str, Any]) -> list[Cell]:
    """Return a line for each tool: what it may do, the digest of its pinned definition, and how it stands now."""
    pinned = {row.name: row for row in Tool.objects.filter(version=version)}
    odd = {name: state for state in ("changed", "missing", "new") for name in report.get(state, {})}
    found = [_pinned(row, odd.get(name, "pinned")) for name, row in pinned.items()]
    new = report.get("new", {})
    found += [_row(name, definitions.hints(new[name]), str(new[name].get("description", "")), "new") for name in new]
    if not pinned and not found:
        found += [_row(item["name"], item, "", "listed") for item in report.get("tools", [])]
    known = {item["name"] for item in found}
    if not pinned:
        described = [tool for tool in version.facts.get("tools", []) if tool["name"] not in known]
        found += [_row(tool["name"], tool, _note(tool), "described") for tool in described]
    return found


def _pinned(row: Tool, state: str) -> Cell:
    text = str(row.definition.get("title") or row.definition.get("description") or "")
    shown = _row(row.name, definitions.hints(row.definition), text, state)
    plain = row.digest.removeprefix("sha256:")
    return shown | {"digest": row.digest, "short_digest": f"{plain[:4]}…{plain[-2:]}"}


def _row(name: str, hints: Mapping[str, Any], text: str, state: str) -> Cell:
    label, colour, icon = STATES[state]
    first = text.strip().partition("\n")[0]
    return {
        "name": "".join(char if char.isprintable() else "�" for char in name),
        "note": first if len(first) <= 160 else f"{first[:159]}…",
        "chips": cells.hint_chips(hints),
        "digest": "",
        "short_digest": "",
        "state": {"label": label, "colour": colour, "icon": icon, "kind": "filled", "title": TITLES.get(state, "")},
    }


def _note(tool: Mapping[str, Any]) -> str:
    return " ".join(part for part in (tool.get("description", ""), tool.get("note", "")) if part)


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    server = report.get("server") or {}
    rows = [
        ("Server", " ".join(str(server.get(name, "")) for name in ("name", "version")).strip()),
        ("Protocol", str(report.get("protocol", ""))),
        ("Resources", str(len(report["resources"])) if report.get("resources") else ""),
        ("Prompts", str(len(report["prompts"])) if report.get("prompts") else ""),
        ("Sign-in at", ", ".join(map(str, report.get("issuers", [])))),
        ("Scopes", " ".join(map(str, report.get("scopes", [])))),
        ("Digest of all tools", str(report.get("set_digest", ""))),
    ]
    return [row for row in rows if row[1]]


def _registry(request: PortalRequest, asset: Asset) -> dict[str, Any]:
    """Return whether anybody may read of the server, and the form to change it for those who may."""
    return {
        "public": asset.registry_public,
        "may": can(request.principal, "open", asset),
        "action_url": reverse("catalog_registry", args=[asset.slug]),
        "field": {
            "name": "reason",
            "label": "Reason, kept in the record",
            "kind": "text",
            "value": "",
            "required": not asset.registry_public,
            "attrs": {"maxlength": publishing.MAX_REASON, "autocomplete": "off"},
        },
    }


# --- Connecting a client ----------------------------------------------------------------------------------------------


def connect(request: PortalRequest, asset: Asset) -> dict[str, Any]:
    """Return the settings for clients, for one of the person's projects that was granted the server (two queries)."""
    if asset.kind != Kind.MCP_SERVER:
        return {}
    mine = visible(request.principal, Project.objects.all())
    member = [pk for pk in request.principal.roles if request.principal.project_id in (None, pk)]
    grants = list(usable_in(mine.filter(pk__in=member), asset))
    if not grants:
        return {}
    wanted = request.GET.get("project", "") or (request.project.slug if request.project else "")
    chosen = next((row for row in grants if row.project.slug == wanted), grants[0])
    return {
        "connect": {
            "grant": chosen,
            "project": chosen.project.slug,
            "tools": len(chosen.tools),
            "others": [row.project.slug for row in grants if row.pk != chosen.pk],
            "snippets": clients.snippets([chosen]),
            "registry_url": clients.registry_url(chosen.project.slug),
            "list_url": reverse("server_list", args=[chosen.project.slug]),
        }
    }


def usable_in(projects: Any, asset: Asset) -> Any:
    """Return what `projects` may use of a server now, by project."""
    return usable().filter(project__in=projects, asset=asset).order_by("project__slug")
