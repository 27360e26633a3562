"""server.json documents: made from a version of the catalog, and turned into what is proposed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from pydantic import ValidationError

from catalog.mcp import schema
from catalog.models import Version
from catalog.specs import AssetSpec
from portal.errors import Invalid
from portal.http import field_errors

LONGEST = 100  # characters of title and description, by the schema
HOSTS = {"github.com": "github", "gitlab.com": "gitlab"}
_NO_SLUG = re.compile(r"[^a-z0-9.]+")


# --- From a version ---------------------------------------------------------------------------------------------------


def server_name(version: Version) -> str:
    """Return the name of a server in registries: its publisher's, or one under this installation's own host."""
    given = str(version.facts.get("document", {}).get("name") or version.facts.get("registry_name") or "")
    return given if 3 <= len(given) <= 200 and schema.NAME.fullmatch(given) else f"{own_space()}/{version.asset.slug}"


def own_space() -> str:
    """Return the host of this installation turned around: com.example.gatehouse."""
    host = (urlsplit(settings.BASE_URL).hostname or "").rstrip(".")
    parts = host.split(".")
    return ".".join(reversed(parts)) if len(parts) > 1 and not parts[-1].isdigit() else "local.gatehouse"


def document(version: Version) -> dict[str, Any]:
    """Return the server.json of a version: as its publisher wrote it, or made from what the catalog knows.

    A package whose way of being reached is not known is left out. The answer always fits the schema.
    """
    facts, asset = version.facts, version.asset
    own = {"$schema": schema.SCHEMA, "name": server_name(version), "version": version.version}
    if facts.get("document"):
        return {**facts["document"], **own}
    made: dict[str, Any] = {
        **own,
        "title": asset.name[:LONGEST],
        "description": _short(asset.summary or asset.name),
    }
    if asset.homepage:
        made["websiteUrl"] = asset.homepage
    if facts.get("repository"):
        host = urlsplit(facts["repository"]).hostname or ""
        made["repository"] = {"url": facts["repository"], "source": HOSTS.get(host, host or "other")}
    remotes = [_remote(item, facts.get("auth") or {}) for item in facts.get("remotes", [])]
    packages = [one for item in facts.get("packages", []) if (one := _package(item)) is not None]
    return made | ({"remotes": remotes} if remotes else {}) | ({"packages": packages} if packages else {})


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _remote(item: Mapping[str, Any], auth: Mapping[str, Any]) -> dict[str, Any]:
    found = {"type": item["type"], "url": item["url"]}
    if not auth.get("header"):
        return found
    header = {"name": auth["header"], "isRequired": bool(auth.get("required")), "isSecret": True}
    return found | {"headers": [header]}


def _package(item: Mapping[str, Any]) -> dict[str, Any] | None:
    if item.get("transport", "stdio") != "stdio":
        return None  # the document would have to say at which address
    kind, identifier, version, digest = (item.get(name, "") for name in ("type", "identifier", "version", "digest"))
    made: dict[str, Any] = {"registryType": kind, "identifier": identifier, "transport": {"type": "stdio"}}
    if kind == "oci":  # a whole reference, without a version beside it
        tail = f"@{digest}" if digest else f":{version}" if version else ""
        return made | {"identifier": f"{identifier}{tail}"}
    if kind == "mcpb" and not digest:
        return None
    made |= {"fileSha256": digest.removeprefix("sha256:")} if digest else {}
    return made | ({"version": version} if version and version != "latest" else {})


# --- To a proposal ----------------------------------------------------------------------------------------------------


def asset_spec(
    found: Mapping[str, Any],
    *,
    licence: str,
    slug: str = "",
    name: str = "",
    publisher: str = "",
    description: str = "",
    tasks: Sequence[str] = (),
    homepage: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
) -> AssetSpec:
    """Return the asset with one version that a server.json describes; what it says itself need not be given again.

    `description` is Markdown with the sections “Intended use” and “Limitations”; `tools` as facts.tools, for servers
    that are described and not inspected. Raises Invalid naming each wrong field, its limit and the fix.
    """
    schema.check(found)
    document = dict(found)
    space, _, short = document["name"].partition("/")
    repository = document.get("repository", {}).get("url", "")
    website = document.get("websiteUrl") or repository
    data = {
        "slug": slug or _slug(short),
        "kind": "mcp-server",
        "name": name or document.get("title") or short,
        "publisher": publisher or ".".join(reversed(space.split("."))),
        "summary": document["description"],
        "description": description,
        "tasks": list(tasks),
        "homepage": homepage or website,
        "versions": [
            {
                "version": document["version"],
                "source": _source(document),
                "licence": licence,
                "facts": _facts(document, tools),
            }
        ],
    }
    try:
        return AssetSpec.model_validate(data)
    except ValidationError as error:
        raise _where(field_errors(error.errors(include_url=False))) from error


def _where(error: Invalid) -> Invalid:
    """Return `error` with the fields by the names of the document: version, not versions.0.version."""
    return Invalid(
        error.sentence.replace("versions.0.", ""),
        fields={
            place.removeprefix("versions.0."): text.replace("versions.0.", "") for place, text in error.fields.items()
        },
    )


def _slug(name: str) -> str:
    return _NO_SLUG.sub("-", name.lower())[:40].strip("-.") or "server"


def _source(document: Mapping[str, Any]) -> str:
    """Return the address of the version; a single package with a digest is what the version stands for."""
    packages = document.get("packages", [])
    digest = packages[0].get("fileSha256", "") if len(packages) == 1 and not document.get("remotes") else ""
    return f"mcp://{document['name']}@{f'sha256:{digest}' if digest else document['version']}"


def _facts(document: dict[str, Any], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    repository = document.get("repository", {}).get("url", "")
    facts: dict[str, Any] = {
        "registry_name": document["name"],
        "repository": repository,
        "remotes": [{"type": item["type"], "url": item["url"]} for item in document.get("remotes", [])],
        "packages": [_known_package(item) for item in document.get("packages", [])],
        "tools": [dict(tool) for tool in tools],
        "sources": {"read": ["server.json", *([repository] if repository else [])]},
        "document": document,
    }
    auth = _auth(document)
    return facts | ({"auth": auth} if auth else {})


def _known_package(item: Mapping[str, Any]) -> dict[str, Any]:
    digest = item.get("fileSha256", "")
    return {
        "type": item["registryType"],
        "identifier": item["identifier"],
        "version": item.get("version", ""),
        "digest": f"sha256:{digest}" if digest else "",
        "transport": item["transport"]["type"],
    }


def _auth(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how callers sign in, as far as secret headers and variables tell."""
    headers = [
        header for item in document.get("remotes", []) for header in item.get("headers", []) if header.get("isSecret")
    ]
    variables = [
        one for item in document.get("packages", []) for one in item.get("environmentVariables", [])
        if one.get("isSecret")
    ]  # fmt: skip
    if not headers and not variables:
        return None
    return {
        "required": any(one.get("isRequired") for one in (headers or variables)),
        "kinds": ["api-key"],
        "header": headers[0]["name"] if headers else "",
        "package_env": variables[0]["name"] if variables else "",
    }
