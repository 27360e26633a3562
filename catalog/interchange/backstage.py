"""An asset as an entity of Backstage's catalog: a Component of the type ai-model, or an API of the type mcp-server."""

import json
import re
from typing import Any

from django.conf import settings
from django.urls import reverse

from catalog.models import Asset, Kind, Version, VersionState
from projects.models import PLATFORM_ENGINEERS

LIFECYCLES = {
    VersionState.APPROVED: "production",
    VersionState.DEPRECATED: "deprecated",
}
TEXT = 1000  # characters of a description
_TAG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def entity(asset: Asset, version: Version) -> dict[str, Any]:
    """Return the entity of `asset` as its best version shows it."""
    page = f"{settings.BASE_URL}{reverse('catalog_detail', args=[asset.slug])}"
    links = [{"url": page, "title": "Gatehouse", "type": "catalog"}]
    if asset.homepage:
        links.append({"url": asset.homepage, "title": asset.publisher or "Publisher", "type": "website"})
    annotations = {
        "gatehouse/asset": asset.slug,
        "gatehouse/version": version.version,
        "gatehouse/licence": version.licence,
        "gatehouse/source": version.source,
        "gatehouse/digest": version.digest,
    }
    metadata: dict[str, Any] = {
        "name": asset.slug,
        "title": asset.name,
        "description": asset.summary[:TEXT],
        "annotations": {name: value for name, value in annotations.items() if value},
        "tags": [task for task in asset.tasks if _TAG.fullmatch(task) and len(task) <= 63],
        "links": links,
    }
    spec = {
        "type": "ai-model",
        "lifecycle": LIFECYCLES.get(VersionState(version.state), "experimental"),
        "owner": f"group:default/{PLATFORM_ENGINEERS}",
    }
    if asset.kind == Kind.MCP_SERVER:
        spec |= {"type": "mcp-server", "definition": json.dumps(_definition(asset, version), indent=2)}
    kind = "API" if asset.kind == Kind.MCP_SERVER else "Component"
    return {"apiVersion": "backstage.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _definition(asset: Asset, version: Version) -> dict[str, Any]:
    """Return how a server is reached, and its tools by name."""
    facts = version.facts
    return {
        "name": facts.get("registry_name") or asset.slug,
        "version": version.version,
        "remotes": facts.get("remotes", []),
        "packages": facts.get("packages", []),
        "tools": [tool["name"] for tool in facts.get("tools", [])],
    }
