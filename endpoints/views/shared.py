"""The page of an endpoint for members of a project with whom it is shared: state, address, and their own limits.

Purpose, people, keys, events, logs and revisions stay with its owners.
"""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse

from endpoints import cells
from endpoints.models import Endpoint, Share
from endpoints.sharing import shared_with
from endpoints.snippets import snippets
from endpoints.views.limits import cell as limit_cell
from endpoints.views.status import status_of
from projects.models import ApiKey, Project
from projects.permissions import can
from projects.principal import PortalRequest
from quotas.limits import limits
from quotas.models import QuotaKind


def shared_context(request: PortalRequest, row: Endpoint) -> dict[str, Any]:
    """Return the context of the page: status, how to call it, and a card for each of the reader's projects."""
    model = f"{row.project.slug}/{row.name}"
    shares = list(shared_with(request.principal).filter(endpoint=row).order_by("project__slug"))
    first = _own(request, shares)
    return status_of(row, request.principal, [], shared=True) | {
        "crumbs": [("Endpoints", reverse("endpoint_list")), (model, "")],
        "chips": [cells.phase_chip(row), cells.environment_chip(row), *cells.truth_chips(row), SHARED],
        "lead": f"Shared with {', '.join(share.project.slug for share in shares) or 'you'} by {row.project.slug}.",
        "base_url": f"{settings.BASE_URL}/v1",
        "model": model,
        "snippets": snippets(row),
        "shares": [_share(request, share, model) for share in shares],
        "own": first,
        "limits": _limits(row, model, first) if first else [],
        "facts": _facts(row),
    }


SHARED = {"label": "shared with you", "colour": "teal", "icon": "share", "kind": "outline"}


def _own(request: PortalRequest, shares: list[Share]) -> Project | None:
    """Return the project whose limits are shown: the one in the switcher, else the first."""
    found = [share.project for share in shares]
    return next((one for one in found if one == request.project), found[0] if found else None)


def _share(request: PortalRequest, share: Share, model: str) -> dict[str, Any]:
    project = share.project
    keys, usage = reverse("key_create", args=[project.slug]), reverse("usage")
    return {
        "project": project.slug,
        "ends_on": share.ends_on,
        "since": share.created_at,
        "key_url": f"{keys}?{urlencode({'endpoint': model})}" if can(request.principal, "create", project, model=ApiKey)
        else "",
        "limits_url": reverse("limits", args=[project.slug]),
        "usage_url": f"{usage}?{urlencode({'project': project.slug})}",
    }  # fmt: skip


def _limits(row: Endpoint, model: str, project: Project) -> list[dict[str, Any]]:
    """Return the token limits of a call with a key of `project`, the one that binds first (three queries)."""
    found = [limit for limit in limits(project, endpoint=(str(row.pk), model)) if limit.kind == QuotaKind.TOKENS]
    found.sort(key=lambda limit: (not limit.binds, -limit.percent))
    return [limit_cell(limit, ()) for limit in found]


def _facts(row: Endpoint) -> list[dict[str, Any]]:
    revision = row.revision
    if revision is None:
        return []
    version = revision.version
    return [
        {"name": "Model", "value": f"{version.asset.name} {version.version}",
         "url": reverse("catalog_detail", args=[version.asset.slug])},
        {"name": "Engine", "value": str(revision.runtime.get("engine", "–"))},
        {"name": "Context", "value": f"{revision.context_tokens:,} tokens"},
        {"name": "Owned by", "value": row.project.slug},
        {"name": "Id", "value": str(row.pk), "copied": True},
    ]  # fmt: skip
