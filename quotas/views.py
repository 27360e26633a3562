"""The page: usage."""

import datetime as dt
from collections.abc import Mapping, Sequence

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from portal.http import page
from projects.models import Project
from projects.permissions import can
from projects.principal import PortalRequest
from quotas import asked as addresses
from quotas import breakdown, fields, hints, panels, report
from quotas import usage as ledger
from quotas.api import csv_answer
from quotas.asked import Asked
from quotas.hints import Hint
from quotas.report import Report

FORMATS = ("csv", "series")


@require_GET
def usage(request: PortalRequest) -> HttpResponse:
    """Tokens, times and cost of the projects that one may see, by whatever one groups by.

    `format=csv` answers the table as a file, `format=series` the time series.
    """
    now, principal = timezone.now(), request.principal
    chosen = request.project.slug if request.project else ""
    asked = addresses.read(request.GET, principal, project=chosen, now=now)
    everything = ledger.owners(principal)
    known = ledger.narrowed(everything, asked.values["project"])
    wanted_format = request.GET.get("format", "")
    detail = wanted_format == "series"
    found = report.build(principal, asked.wanted, asked.span, known, asked.group, now=now, detail=detail)
    if wanted_format in FORMATS and asked.error is None:
        return _file(found, asked, known, wanted_format)
    slugs = sorted(project.slug for project in everything.values())
    context = _context(request, asked, found, known) | _controls(request, asked, slugs, now)
    return page(request, "quotas/usage.html", context, status=422 if asked.error else 200)


def _file(found: Report, asked: Asked, known: Mapping[int, Project], wanted: str) -> HttpResponse:
    """Return the table or the time series as CSV."""
    if wanted == "series":
        rows, columns = breakdown.series(found, known)
        return csv_answer(rows, columns, name=f"usage-{asked.group}-by-{asked.span.interval}.csv")
    lines = breakdown.lines(found, asked, known)
    return csv_answer([line.raw for line in lines], breakdown.columns(found), name=f"usage-{asked.group}.csv")


def _controls(request: PortalRequest, asked: Asked, slugs: Sequence[str], now: dt.datetime) -> dict[str, object]:
    """Return what stands above the numbers: ranges, filters, links."""
    return {
        "errors": asked.error.errors if asked.error else [],
        "ranges": fields.ranges(asked, now),
        "back": asked.back_link,
        "fields": fields.filters(request.principal, asked, slugs),
        "dates": fields.dates(asked),
        "hidden": fields.hidden(asked),
        "csv_url": asked.url(format="csv"),
        "series_url": asked.url(format="series"),
        "all_url": asked.url(**dict.fromkeys(("endpoint", "key", "person"), "")),
        "filtered": asked.filtered,
    }


def _context(request: PortalRequest, asked: Asked, found: Report, known: Mapping[int, Project]) -> dict[str, object]:
    """Return the numbers, and the limit that comes first where the page is of one project."""
    slug = asked.values["project"]
    only = next(iter(known.values())) if slug else None
    hint = hints.hint(only, timezone.now()) if only else None
    context: dict[str, object] = {
        "crumbs": [("Home", "/"), ("Usage", "")],
        "span": asked.span,
        "scope_words": slug or "all your projects",
        "hint": hint if hint and hint.kind else None,
        "may_ask": only is not None and can(request.principal, "request", only),
        "project_slug": slug,
        "only": only,
    }
    if not found.empty:
        context |= {
            "stats": _stats(found, asked, hint),
            "plots": panels.plots(found, asked, known),
            "table": breakdown.context(breakdown.lines(found, asked, known), found, asked),
        }
    return context


def _stats(found: Report, asked: Asked, hint: Hint | None) -> list[dict[str, object]]:
    """Return the strip of numbers; the tokens of a month stand beside the monthly quota that counts the same ones."""
    stats = panels.stats(found)
    if hint and hint.window == "month" and asked.span.name == "month" and not asked.filtered:
        stats[0]["scope"] = f"{stats[0]['scope']} · {hint.percent:.0f} % of {hint.limit:,}"
        stats[0]["bad"] = hint.kind == "danger"
    return stats
