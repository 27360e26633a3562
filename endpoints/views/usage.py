"""The usage of one endpoint: the plots of the usage page, and both counts."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from endpoints import numbers
from endpoints.models import Endpoint
from endpoints.reading import endpoint_or_404
from endpoints.views.head import head
from portal.http import page
from projects.principal import PortalRequest
from quotas import asked as addresses
from quotas import fields, panels, report
from quotas.asked import DEFAULT_GROUP, Asked
from quotas.report import Report


@require_GET
def endpoint_usage(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Tokens by key, times and errors of one endpoint in `?range=`, and the gateway's count beside the engines'."""
    row = endpoint_or_404(request.principal, endpoint_id)
    now, project = timezone.now(), row.project
    query = request.GET.copy()
    for name, value in {"project": project.slug, "endpoint": row.name, "key": "", "person": "", "group_by": "key",
                        "sort": "", "page": ""}.items():  # fmt: skip
        query[name] = value
    asked = addresses.read(query, request.principal, project=project.slug, now=now)
    known = {project.pk: project}
    found = report.build(request.principal, asked.wanted, asked.span, known, "key", now=now)
    # The links of this page carry only the range: what it is about stands in its path.
    links = replace(asked, values={**asked.values, "project": "", "endpoint": ""}, group=DEFAULT_GROUP)
    context = head(request, row, "Usage") | _controls(asked, links, row) | {
        "ranges": fields.ranges(links, now),
        "others": numbers.of_others(row, *asked.wanted.whole, hours=asked.span.hours),
        "counts": _counts(row),
    } | _drawn(found, links, known)  # fmt: skip
    return page(request, "endpoints/usage.html", context, status=422 if asked.error else 200)


def _controls(asked: Asked, links: Asked, row: Endpoint) -> dict[str, Any]:
    whole = {"project": row.project.slug, "endpoint": row.name, "range": asked.span.name}
    if asked.span.name == "custom":
        whole |= asked.span.dates(asked.span.start, asked.span.end)
    return {
        "span": asked.span,
        "errors": asked.error.errors if asked.error else [],
        "back": links.back_link,
        "dates": fields.dates(asked),
        "hidden": [(name, value) for name, value in fields.hidden(links) if name != "sort"],
        "whole_url": f"{reverse('usage')}?{urlencode(whole)}",
    }


def _drawn(found: Report, links: Asked, known: dict[int, Any]) -> dict[str, Any]:
    if found.empty:
        return {"plots": []}
    return {"stats": panels.stats(found), "plots": panels.plots(found, links, known)}


def _counts(row: Endpoint) -> dict[str, Any]:
    """Return the gateway's count beside the engines': they differ by what is not billed, and by what died uncounted."""
    ledger, engines = numbers.all_time(str(row.pk)), numbers.engines(row)
    names = (("Calls", "requests"), ("Input tokens", "input_tokens"), ("Output tokens", "output_tokens"))
    rows = [
        {"name": label, "gateway": getattr(ledger, field), "engine": getattr(engines, field)}
        for label, field in (*names, ("of input, cached", "cached_tokens"))
    ]
    return {"rows": rows, "at": engines.at, "error": engines.error}
