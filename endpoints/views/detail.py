"""One endpoint: the overview with its live status. A reader with whom it is shared gets a page of its own."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from endpoints import alerting, cells, numbers
from endpoints.differences import reading
from endpoints.differences.sweeping import LOCAL
from endpoints.facts import counted
from endpoints.keys import PLAYGROUND, TARGET_KIND
from endpoints.models import Alert, Endpoint
from endpoints.reading import endpoint_or_404
from endpoints.snippets import snippets
from endpoints.views.head import alive, head, limits_url, quota_url
from endpoints.views.limits import cell as limit_cell
from endpoints.views.shared import shared_context
from endpoints.views.status import status_of, story_of
from portal.http import page
from projects.models import ApiKey
from projects.permissions import can
from projects.principal import PortalRequest, Principal
from quotas.charts import Chart, Series, bars
from quotas.limits import limits
from quotas.models import QuotaKind

SEVERE = {"critical": "red", "page": "red", "info": "blue", "none": "grey"}
STOP_POLLING = 286  # htmx: swap the answer, and ask no more
KEYS_SHOWN = 20


@require_GET
def endpoint_detail(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Status, how to call it, playground, keys, which limit binds, events, facts."""
    row = endpoint_or_404(request.principal, endpoint_id, "view")
    if not can(request.principal, "inspect", row):
        return page(request, "endpoints/shared.html", shared_context(request, row))
    story = story_of(row)
    hours = numbers.by_hour(row)
    context = head(request, row, "Overview") | status_of(row, request.principal, story, numbers.total(hours))
    context |= {
        "alive": alive(row),
        "base_url": f"{settings.BASE_URL}/v1",
        "model": f"{row.project.slug}/{row.name}",
        "snippets": snippets(row),
        "playground": cells.playground(row, context["may"]["key"]),
        "keys": _keys(row, request.principal),
        "traffic": _traffic(hours) if alive(row) else None,
        "alerts": alert_lines(alerting.firing(row)),
        "edited": reading.edited(row) if row.cluster.driver != LOCAL else 0,
        "facts": cells.facts(row, row.revision) if row.revision else [],
    } | (_limits(row, context["may"]) if alive(row) else {})
    return page(request, "endpoints/detail.html", context)


@require_GET
def endpoint_status(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The live part of the page. It asks no more at rest; a page whose actions would now be wrong is loaded again."""
    row = endpoint_or_404(request.principal, endpoint_id, "view")
    shared = not can(request.principal, "inspect", row)
    context = status_of(row, request.principal, [] if shared else story_of(row), shared=shared)
    at_rest = cells.settled(row)
    response = page(request, "endpoints/_live.html", context, status=STOP_POLLING if at_rest else 200)
    if at_rest:
        response["HX-Refresh"] = "true"
    return response


def alert_lines(rows: Sequence[Alert]) -> list[dict[str, Any]]:
    """Return the alerts that fire, each with a chip for how bad it is."""
    return [
        {"row": row, "chip": {"label": row.severity or "firing", "colour": SEVERE.get(row.severity.lower(), "orange"),
                              "icon": "warn", "kind": "outline"}}
        for row in rows
    ]  # fmt: skip


def _keys(row: Endpoint, reader: Principal) -> list[dict[str, Any]]:
    if not alive(row) or not can(reader, "view", row.project, model=ApiKey):
        return []
    mine = Q(targets__kind=TARGET_KIND, targets__target_id=str(row.pk)) | Q(targets__isnull=True)
    rows = ApiKey.objects.filter(mine, project=row.project).exclude(purpose=PLAYGROUND)
    found = rows.select_related("project", "person").distinct().order_by("-created_at", "id")[:KEYS_SHOWN]
    may = {verb: can(reader, verb, row.project, model=ApiKey) for verb in ("rotate", "revoke")}
    return [cells.key_line(key, reader, None, may) for key in found]


def _traffic(hours: list[tuple[dt.datetime, numbers.Calls]]) -> Chart | None:
    """Return the tokens of the last 24 hours, whoever called; None where nobody did."""
    if not any(one.requests for _, one in hours):
        return None
    series = [
        Series("Input", "blue", [one.input_tokens for _, one in hours],
               f"{sum(one.input_tokens for _, one in hours):,}"),
        Series("Output", "blue-light", [one.output_tokens for _, one in hours],
               f"{sum(one.output_tokens for _, one in hours):,}"),
    ]  # fmt: skip
    labels = [f"{timezone.localtime(start):%H:%M}" for start, _ in hours]
    words = "Input and output tokens per hour in the last 24 hours, of everybody who may call it."
    return bars("traffic", "Tokens per hour", words, labels, series)


def _limits(row: Endpoint, may: dict[str, bool]) -> dict[str, Any]:
    """Return the token limits of a call, the one that binds first, and how busy the engines are (four queries)."""
    found = limits(row.project, endpoint=(str(row.pk), row.name))
    tokens = [limit for limit in found if limit.kind == QuotaKind.TOKENS]
    tokens.sort(key=lambda limit: (not limit.binds, -limit.percent))
    return {
        "limits": [limit_cell(limit, ()) for limit in tokens],
        "busy": busy(row),
        "limits_url": limits_url(row),
        "more_url": quota_url(row) if may["ask"] else "",
    }


def busy(row: Endpoint) -> dict[str, Any] | None:
    """Return how many calls the engines work on, of how many they take at once (one query)."""
    if row.revision is None or not row.upstreams:
        return None
    load, revision = numbers.load(row), row.revision
    if load.at is None:
        return None
    most = len(row.upstreams) * revision.concurrency
    waits = f", {load.waiting} wait" if load.waiting else ""
    return {
        "label": f"{load.running} of {most}",
        "percent": min(100, 100 * load.running / most),
        "tone": "warn" if load.waiting else "",
        "context": f"{counted(len(row.upstreams), 'replica')} × {revision.concurrency}{waits}",
        "at": load.at,
    }
