"""Settings for MCP clients, made from what a project has been granted: to copy, with nothing secret in them.

Each entry leads to the server's own address, or starts the package that the version names. What a caller must bring is
a variable of the client, never a value.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from catalog.mcp.server_json import document
from catalog.models import ServerGrant

Snippet = dict[str, str]
RUNNERS = {"npm": ("npx", "-y"), "pypi": ("uvx",), "nuget": ("dnx",), "oci": ("docker", "run", "-i", "--rm")}
_NO_VARIABLE = re.compile(r"[^A-Z0-9]+")


def snippets(grants: Sequence[ServerGrant]) -> list[Snippet]:
    """Return the settings for `grants` of one project, for _snippets.html; none without one that is reached."""
    found = {row.asset.slug: entry for row in grants if (entry := _entry(row)) is not None}
    if not found:
        return []
    return [
        {"label": "VS Code", "note": ".vscode/mcp.json", "code": _json(_vs_code(found))},
        {"label": ".mcp.json", "note": "in the repository", "code": _json({"mcpServers": _plain(found)})},
        {"label": "Claude Code", "note": "managed-mcp.json and managed settings", "code": _claude(grants, found)},
        {
            "label": "Copilot",
            "note": "registry and managed-settings.json",
            "code": _copilot(grants[0].project.slug, found),
        },
    ]


def registry_url(project: str) -> str:
    """Return the address of a project's registry view, as clients are given it."""
    return f"{settings.BASE_URL}{reverse('registry_servers_of_project', args=[project]).removesuffix('/v0.1/servers')}"


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False)


def _entry(row: ServerGrant) -> dict[str, Any] | None:
    """Return how a client reaches the granted version: an address with its headers, or a command with its variables."""
    found = document(row.version)
    for remote in found.get("remotes", []):
        if remote["type"] == "streamable-http":
            names = [header["name"] for header in remote.get("headers", []) if _asked(header)]
            return {"url": remote["url"], "headers": {name: _variable(row.asset.slug, name) for name in names}}
    for package in found.get("packages", []):
        command = _command(package)
        if command:
            names = [one["name"] for one in package.get("environmentVariables", []) if _asked(one)]
            own = (row.version.facts.get("auth") or {}).get("package_env")
            names += [own] if own and own not in names else []
            return {"command": command, "env": {name: name for name in names}}
    return None


def _asked(item: Mapping[str, Any]) -> bool:
    return bool(item.get("isRequired") or item.get("isSecret"))


def _variable(slug: str, name: str) -> str:
    return _NO_VARIABLE.sub("_", f"{slug} {name}".upper()).strip("_")


def _command(package: Mapping[str, Any]) -> list[str]:
    """Return what starts a package, pinned to its version; empty where nothing is known that does."""
    kind, identifier, version = (str(package.get(name, "")) for name in ("registryType", "identifier", "version"))
    runner = RUNNERS.get(kind)
    if runner is None or package["transport"]["type"] != "stdio" or identifier.startswith("-"):
        return []  # what begins with a hyphen would be an option of the program that starts packages
    joined = {"npm": f"{identifier}@{version}", "pypi": f"{identifier}=={version}", "nuget": f"{identifier}@{version}"}
    return [*runner, joined.get(kind, identifier) if version else identifier]


def _plain(found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the servers as .mcp.json names them; `${NAME}` is filled in by the client from its environment."""
    return {slug: _one(entry, lambda name: f"${{{name}}}") for slug, entry in found.items()}


def _one(entry: Mapping[str, Any], fill: Any) -> dict[str, Any]:
    if "url" in entry:
        headers = {name: fill(variable) for name, variable in entry["headers"].items()}
        return {"type": "http", "url": entry["url"], **({"headers": headers} if headers else {})}
    command, *arguments = entry["command"]
    variables = {name: fill(variable) for name, variable in entry["env"].items()}
    return {"command": command, "args": arguments, **({"env": variables} if variables else {})}


def _vs_code(found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the servers with an input for everything that the editor has to ask for."""
    names = [name for entry in found.values() for name in (entry.get("headers") or entry.get("env") or {}).values()]
    inputs = [
        {
            "type": "promptString",
            "id": name.lower(),
            "description": name.replace("_", " ").capitalize(),
            "password": True,
        }
        for name in dict.fromkeys(names)
    ]
    servers = {slug: _one(entry, lambda name: f"${{input:{name.lower()}}}") for slug, entry in found.items()}
    return {"servers": servers, **({"inputs": inputs} if inputs else {})}


def _allowed(found: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the allow-list of managed settings: addresses rather than names, since anybody can choose a name."""
    rows: list[dict[str, Any]] = []
    for entry in found.values():
        if "url" in entry:
            parts = urlsplit(entry["url"])
            rows.append({"serverUrl": f"{parts.scheme}://{parts.netloc}{parts.path}*"})
        else:
            rows.append({"serverCommand": entry["command"]})
    return rows


def _claude(grants: Sequence[ServerGrant], found: Mapping[str, dict[str, Any]]) -> str:
    tools = [f"mcp__{row.asset.slug}__{name}" for row in grants if row.asset.slug in found for name in row.tools]
    managed = {
        "allowedMcpServers": _allowed(found),
        "allowManagedMcpServersOnly": True,
        **({"permissions": {"allow": tools}} if tools else {}),
    }
    head = "// /etc/claude-code/managed-mcp.json: exactly these servers"
    tail = "// or managed settings: these may be added, and these tools need no question"
    return f"{head}\n{_json({'mcpServers': _plain(found)})}\n\n{tail}\n{_json(managed)}"


def _copilot(project: str, found: Mapping[str, dict[str, Any]]) -> str:
    head = f"// MCP Registry URL: {registry_url(project)}"
    return f"{head}\n// managed-settings.json\n{_json({'allowedMcpServers': _allowed(found)})}"
