"""One endpoint: overview with its live status, events, logs."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from endpoints import cells, numbers
from endpoints.clusters import ClusterError
from endpoints.drivers import driver_for
from endpoints.keys import PLAYGROUND, TARGET_KIND
from endpoints.models import Desired, Endpoint, Phase
from endpoints.reading import endpoint_or_404, names_of
from portal.http import page
from projects.models import ApiKey
from projects.permissions import can
from projects.principal import PortalRequest, Principal

STORY = 60  # events that the steps are read from
STOP_POLLING = 286  # htmx: swap the answer, and ask no more
KEYS_SHOWN = 20


@require_GET
def endpoint_detail(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Status, how to call it, playground, keys, both counts, events, facts."""
    row = endpoint_or_404(request.principal, endpoint_id)
    story = list(row.events.order_by("-id")[:STORY])
    may_create = can(request.principal, "create", row.project, model=ApiKey)
    context = head(request, row, "Overview") | status_of(row, request.principal, story) | {
        "base_url": f"{settings.BASE_URL}/v1",
        "model": f"{row.project.slug}/{row.name}",
        "snippets": cells.snippets(row),
        "playground": cells.playground(row, may_create),
        "keys": _keys(row, request.principal),
        "counts": _counts(row),
        "events": cells.event_lines(story[:8]),
        "facts": cells.facts(row, row.revision) if row.revision else [],
    }  # fmt: skip
    return page(request, "endpoints/detail.html", context)


@require_GET
def endpoint_status(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The live part of the page. It asks no more at rest; a page whose actions would now be wrong is loaded again."""
    row = endpoint_or_404(request.principal, endpoint_id)
    context = status_of(row, request.principal, list(row.events.order_by("-id")[:STORY]))
    at_rest = cells.settled(row)
    response = page(request, "endpoints/_status.html", context, status=STOP_POLLING if at_rest else 200)
    if at_rest:
        response["HX-Refresh"] = "true"
    return response


@require_GET
def endpoint_events(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Everything that happened to it."""
    row = endpoint_or_404(request.principal, endpoint_id)
    pages = Paginator(row.events.order_by("-id"), 50)
    shown = pages.get_page(request.GET.get("page"))
    context = head(request, row, "Events") | {
        "events": cells.event_lines(list(shown)),
        "page": {
            "start": shown.start_index(), "end": shown.end_index(), "total": pages.count,
            "previous_url": f"?page={shown.previous_page_number()}" if shown.has_previous() else "",
            "next_url": f"?page={shown.next_page_number()}" if shown.has_next() else "",
        },
    }  # fmt: skip
    return page(request, "endpoints/events.html", context)


@require_GET
def endpoint_logs(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The last lines of the engines' output."""
    row = endpoint_or_404(request.principal, endpoint_id)
    text, problem = "", ""
    try:
        text = driver_for(row.cluster).logs(str(row.pk), 200)
    except ClusterError as error:
        problem = error.sentence
    return page(request, "endpoints/logs.html", head(request, row, "Logs") | {"text": text, "problem": problem})


def head(request: PortalRequest, row: Endpoint, current: str) -> dict[str, Any]:
    """Return the context of the head that all pages of an endpoint share: crumbs, chips, tabs, actions."""
    principal: Principal = request.principal
    failed = row.desired == Desired.RUNNING and row.phase == Phase.FAILED
    allowed = {verb: can(principal, verb, row) for verb in ("suspend", "resume", "retry", "delete")}
    tabs = (("Overview", "endpoint_detail"), ("Events", "endpoint_events"), ("Logs", "endpoint_logs"))
    menu = []
    if allowed["delete"] and row.desired != Desired.DELETED:
        menu.append({"label": "Delete", "url": reverse("endpoint_delete", args=[row.pk]), "danger": True})
    return {
        "endpoint": row,
        "crumbs": [
            ("Endpoints", reverse("endpoint_list")),
            (row.project.slug, reverse("project_detail", args=[row.project.slug])),
            (row.name, ""),
        ],
        "tabs_label": "Endpoint",
        "tabs": [
            {"label": label, "url": reverse(name, args=[row.pk]), "current": label == current} for label, name in tabs
        ],
        "chips": [cells.phase_chip(row), cells.environment_chip(row), *cells.truth_chips(row)],
        "lead": row.purpose or f"Owned by {row.project.slug}.",
        "may_suspend": allowed["suspend"] and row.desired == Desired.RUNNING,
        "may_resume": allowed["resume"] and row.desired == Desired.SUSPENDED,
        "may_retry": allowed["retry"] and failed,
        "may_create_key": can(principal, "create", row.project, model=ApiKey) and row.desired != Desired.DELETED,
        "menu": menu,
    }


def status_of(row: Endpoint, reader: Principal, story: list[Any]) -> dict[str, Any]:
    """Return the context of the live part; `story` are the last events, newest first. Broken things also say who is
    affected.
    """
    broken = row.desired == Desired.RUNNING and row.phase == Phase.FAILED
    calls = numbers.last_day([str(row.pk)]).get(str(row.pk), numbers.Calls())
    keys, _ = numbers.affected_keys(row) if broken else (0, None)
    return {
        "endpoint": row,
        "steps": cells.steps(row, list(reversed(story))),
        "chip": cells.broken_chip(row) if broken else cells.phase_chip(row),
        "sentence": row.reason_sentence,
        "code": row.reason_code,
        "turn": cells.turn(row, reader),
        "settled": cells.settled(row),
        "broken": broken,
        "happens": cells.happens(row),
        "hold": f"On hold by {row.hold_by}: {row.hold_reason}" if row.hold_reason else "",
        "affected": f"{'1 key' if keys == 1 else f'{keys} keys'} of {row.project.slug}: calls get endpoint_not_ready.",
        "calls": calls,
        "status_url": reverse("endpoint_status", args=[row.pk]),
        "may_retry": broken and can(reader, "retry", row),
    }


def _keys(row: Endpoint, reader: Principal) -> list[dict[str, Any]]:
    if not can(reader, "view", row.project, model=ApiKey):
        return []
    mine = ApiKey.objects.filter(targets__kind=TARGET_KIND, targets__target_id=str(row.pk), project=row.project)
    whole = ApiKey.objects.filter(targets__isnull=True, project=row.project)
    rows = (mine | whole).exclude(purpose=PLAYGROUND).select_related("project", "person").prefetch_related("targets")
    found = list(rows.distinct().order_by("-created_at", "id")[:KEYS_SHOWN])
    names, may = names_of(found), {verb: can(reader, verb, row.project, model=ApiKey) for verb in ("rotate", "revoke")}
    return [cells.key_line(key, reader, names, may) for key in found]


def _counts(row: Endpoint) -> dict[str, Any]:
    """Return the gateway's count beside the engines': they differ by what is not billed, and by what died uncounted."""
    ledger, engines = numbers.all_time(str(row.pk)), numbers.engines(row)
    names = (("Calls", "requests"), ("Input tokens", "input_tokens"), ("Output tokens", "output_tokens"))
    rows = [
        {"name": label, "gateway": getattr(ledger, field), "engine": getattr(engines, field)}
        for label, field in (*names, ("of input, cached", "cached_tokens"))
    ]
    return {"rows": rows, "at": engines.at, "error": engines.error}
