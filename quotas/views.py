"""Pages: usage and capacity."""

from collections.abc import Mapping, Sequence

from django.http import HttpResponse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from portal.errors import Invalid
from portal.http import page
from projects.models import ApiKey, Project
from projects.permissions import visible
from projects.principal import PortalRequest
from quotas import capacity as boxes
from quotas import panels, period
from quotas import usage as ledger
from quotas.api import csv_answer
from quotas.period import Period

FILTERS = ("project", "endpoint", "key")
CSV_GROUPS = ("project", "endpoint", "key", "person")


@require_GET
def usage(request: PortalRequest) -> HttpResponse:
    """Tokens and times of the projects that one may see, with `format=csv` as a file."""
    wanted, error = {name: request.GET.get(name, "").strip()[:64] for name in (*FILTERS, "range", "from", "to")}, None
    if "project" not in request.GET and request.project is not None:
        wanted["project"] = request.project.slug
    try:
        span = period.of(wanted, timezone.now())
    except Invalid as found:
        error = found
        span = period.of({}, timezone.now())
    rows = ledger.load(
        request.principal,
        start=span.start,
        end=span.end,
        hours=span.interval == "hour",
        project=wanted["project"] or None,
    )
    chosen = [
        row for row in rows if wanted["endpoint"] in ("", row.endpoint) and wanted["key"] in ("", row.key, row.key_id)
    ]
    if request.GET.get("format") == "csv" and error is None:
        columns = ("start", *CSV_GROUPS, *ledger.NUMBERS, *ledger.DURATIONS)
        return csv_answer(ledger.fold(chosen, span.interval, CSV_GROUPS), columns)
    facts = panels.key_facts(rows)
    context = {
        "crumbs": [("Home", "/"), ("Usage", "")],
        "span": span,
        "scope_words": wanted["project"] or "all your projects",
        "errors": error.errors if error else [],
        "ranges": _ranges(wanted, "custom" if error else span.name),
        "fields": _fields(wanted, rows, facts, _projects(request)),
        "dates": _dates(wanted, span, error),
        "custom": wanted["range"] == "custom" or span.name == "custom",
        "csv_url": "?" + urlencode({**_kept(wanted), "range": span.name, "format": "csv"}),
        "stats": panels.stats(chosen),
        "filtered": bool(wanted["endpoint"] or wanted["key"]),
        "help_text": [
            "The gateway counts tokens when a call ends; they show here within two seconds. Hours and days are UTC.",
            "Percentiles are computed from histograms and are right within 2.5 percent.",
        ],
    }
    if chosen:
        context |= {
            "tokens": panels.tokens_chart(chosen, span),
            "ttft": panels.ttft_chart(chosen, span),
            "keys": panels.key_table(chosen, facts),
        }
    return page(request, "quotas/usage.html", context, status=422 if error else 200)


@require_GET
def capacity(request: PortalRequest) -> HttpResponse:
    """The pools as they are: who holds which accelerator, who waits, what is free."""
    found = boxes.panels(request.principal)
    context = {
        "crumbs": [("Home", "/"), ("Capacity", "")],
        "pools": found,
        "stats": boxes.stats(found),
        "simulated": any(panel["simulated"] for panel in found),
        "help_text": [
            "A reservation is made when a request is approved, never before, so a pool cannot be promised twice.",
            "What is given back goes to the first in the queue that fits. Suspending an endpoint gives back.",
        ],
    }
    return page(request, "quotas/capacity.html", context)


def _projects(request: PortalRequest) -> list[str]:
    return list(visible(request.principal, Project.objects.all()).values_list("slug", flat=True)[:200])


def _kept(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return what an address must carry on: the project even when it is "all", so that the switcher does not win."""
    kept = {name: value for name, value in wanted.items() if value and name != "range"}
    return {"project": wanted["project"], **kept}


def _ranges(wanted: Mapping[str, str], current: str) -> list[dict[str, object]]:
    kept = {name: value for name, value in _kept(wanted).items() if name in FILTERS}
    dates = {name: wanted[name] for name in ("from", "to") if wanted[name]}
    return [
        {
            "label": label,
            "url": "?" + urlencode(kept | {"range": name} | (dates if name == "custom" else {})),
            "current": name == current,
        }
        for name, label in period.RANGES.items()
    ]


def _fields(
    wanted: Mapping[str, str],
    rows: Sequence[ledger.Sums],
    facts: Mapping[str, ApiKey],
    projects: Sequence[str],
) -> list[dict[str, object]]:
    endpoints = sorted({row.endpoint for row in rows} | {wanted["endpoint"]} - {""})
    keys = {row.key: row.key for row in rows if not (row.key_id in facts and facts[row.key_id].purpose == "playground")}
    keys |= {
        row.key: f"{facts[row.key_id].name} ({row.key})" for row in rows if row.key in keys and row.key_id in facts
    }
    if wanted["key"]:
        keys.setdefault(wanted["key"], wanted["key"])
    choices = {
        "project": [("", "All projects", False), *((slug, slug, False) for slug in projects)],
        "endpoint": [("", "All endpoints", False), *((name, name, False) for name in endpoints)],
        "key": [("", "All keys", False), *((prefix, label, False) for prefix, label in sorted(keys.items()))],
    }
    return [
        {
            "name": name,
            "label": name.capitalize(),
            "kind": "select",
            "value": wanted[name],
            "choices": choices[name],
            "attrs": {"data-autosubmit": True},
        }
        for name in FILTERS
    ]


def _dates(wanted: Mapping[str, str], span: Period, error: Invalid | None) -> list[dict[str, object]]:
    """Return the two fields of a custom range, with what was typed even when it is wrong."""
    shown = {"from": f"{span.start:%Y-%m-%d}", "to": f"{timezone.now():%Y-%m-%d}"}
    return [
        {
            "name": name,
            "label": f"{name.capitalize()} (UTC)",
            "kind": "date",
            "value": wanted[name] or shown[name],
            "error": error.fields.get(name, "") if error else "",
        }
        for name in ("from", "to")
    ]
