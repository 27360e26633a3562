"""What happened to an endpoint: its events and the log of its engines."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from endpoints import cells
from endpoints.clusters import ClusterError
from endpoints.drivers import driver_for
from endpoints.models import Endpoint, Phase
from endpoints.reading import endpoint_or_404
from endpoints.views.detail import STOP_POLLING
from endpoints.views.head import head
from portal.http import page
from projects.principal import PortalRequest

EVENTS_SHOWN = 50
LINES = (50, 200, 1000, 5000)
DEFAULT_LINES, MOST_LINES = 200, 5000
COPIED = 200  # lines up to which the page offers to copy them: the button carries them a second time


@require_GET
def endpoint_events(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """Everything that happened to it. The newest page asks again while something moves."""
    row = endpoint_or_404(request.principal, endpoint_id)
    pages = Paginator(row.events.order_by("-id"), EVENTS_SHOWN)
    shown = pages.get_page(request.GET.get("page"))
    follows = shown.number == 1 and not cells.settled(row)
    context = head(request, row, "Events") | {
        "events": cells.event_lines(list(shown)),
        "follow_url": reverse("endpoint_events", args=[row.pk]) if follows else "",
        "page": {
            "start": shown.start_index(), "end": shown.end_index(), "total": pages.count,
            "previous_url": f"?page={shown.previous_page_number()}" if shown.has_previous() else "",
            "next_url": f"?page={shown.next_page_number()}" if shown.has_next() else "",
        },
    }  # fmt: skip
    asked_again = bool(getattr(request, "htmx", None)) and not follows
    return page(request, "endpoints/events.html", context, "lines", status=STOP_POLLING if asked_again else 200)


@require_GET
def endpoint_logs(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The last `?lines=` of the engines' output; `?follow=on` keeps reading, `?download=1` answers a file."""
    row = endpoint_or_404(request.principal, endpoint_id)
    download = "download" in request.GET
    count = MOST_LINES if download else _lines(request.GET.get("lines", ""))
    text, problem = "", ""
    try:
        text = driver_for(row.cluster).logs(str(row.pk), count)
    except ClusterError as error:
        problem = error.sentence
    if download and not problem:
        answer = HttpResponse(text + "\n", content_type="text/plain; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{row.project.slug}-{row.name}.log"'
        return answer
    moves = _writes(row)
    follow = moves and request.GET.get("follow") == "on"
    context = head(request, row, "Logs") | _tail(row, text, count, follow=follow) | {
        "problem": problem, "moves": moves, "follow": follow,
    }  # fmt: skip
    asked_again = bool(getattr(request, "htmx", None)) and not follow
    return page(request, "endpoints/logs.html", context, "tail", status=STOP_POLLING if asked_again else 200)


def _tail(row: Endpoint, text: str, count: int, *, follow: bool) -> dict[str, Any]:
    url = reverse("endpoint_logs", args=[row.pk])
    return {
        "text": text,
        "shown": text.count("\n") + 1 if text else 0,
        "read_at": timezone.now(),
        "copy": text if text and count <= COPIED and not follow else "",
        "choices": [(str(one), f"{one:,} lines", False) for one in LINES],
        "count": str(count),
        "follow_url": f"{url}?{urlencode({'lines': count, 'follow': 'on'})}" if follow else "",
        "download_url": f"{url}?download=1",
    }


def _lines(text: str) -> int:
    """Return how many lines were asked for; what is no choice means the usual number."""
    return int(text) if text in {str(one) for one in LINES} else DEFAULT_LINES


def _writes(row: Endpoint) -> bool:
    """Whether its engines may write more."""
    return not cells.settled(row) or row.phase in {Phase.READY, Phase.DEGRADED}
