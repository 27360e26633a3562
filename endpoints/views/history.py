"""What happened to an endpoint: its events and the log of its engines."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from endpoints import cells, engine_logs, why
from endpoints.clusters import ClusterError, Notice
from endpoints.drivers import driver_for
from endpoints.models import Endpoint, Phase
from endpoints.reading import endpoint_or_404
from endpoints.views.detail import STOP_POLLING
from endpoints.views.head import alive, head
from portal.http import page
from projects.principal import PortalRequest

EVENTS_SHOWN = 50
FORBIDDEN = {"permission_missing", "forbidden", "token_refused", "not_signed_in"}
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
        "notices_url": reverse("endpoint_notices", args=[row.pk]) if has_api(row) and alive(row) else "",
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
def endpoint_notices(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """What the cluster says of its objects, asked when the events are read and never before: a part of their page, and
    a page of its own without JavaScript.
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    context = head(request, row, "Events") | {"notices": [], "problem": "", "help_url": "", "has_api": has_api(row)}
    try:
        context["notices"] = [notice_line(one) for one in driver_for(row.cluster).notices(str(row.pk))]
    except ClusterError as error:
        context |= {"problem": error.sentence, "help_url": why.help_url(error.code)}
        context["forbidden"] = error.code in FORBIDDEN
    moves = has_api(row) and not cells.settled(row)
    context["follow_url"] = reverse("endpoint_notices", args=[row.pk]) if moves else ""
    return page(request, "endpoints/notices.html", context, "lines")


@require_GET
def endpoint_logs(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The last `?lines=` of the engines' output, of one `?replica=`, of the run before with `?previous=on`;
    `?follow=on` keeps reading, `?download=1` answers a file.
    """
    row = endpoint_or_404(request.principal, endpoint_id)
    download, places = "download" in request.GET, _places(row)
    asked = _asked(request, row, places, download=download)
    text, problem = "", dict[str, str]()
    try:
        replica = int(asked["replica"]) if asked["replica"] else None
        text = engine_logs.tail(row, asked["lines"], replica=replica, previous=bool(asked["previous"]))
    except ClusterError as error:
        problem = {"sentence": error.sentence, "help_url": why.help_url(error.code)}
    if download and not problem:
        answer = HttpResponse(text + "\n", content_type="text/plain; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{row.project.slug}-{row.name}.log"'
        return answer
    moves = _writes(row) and not asked["previous"]
    follow = moves and request.GET.get("follow") == "on"
    context = head(request, row, "Logs") | _tail(row, text, asked, follow=follow) | {
        "problem": problem, "moves": moves, "follow": follow, "asked": asked, "has_api": has_api(row),
        "places": [("", "All replicas", False), *((one, f"Replica {one}", False) for one in places)] if places else [],
    }  # fmt: skip
    asked_again = bool(getattr(request, "htmx", None)) and not follow
    return page(request, "endpoints/logs.html", context, "tail", status=STOP_POLLING if asked_again else 200)


def _asked(request: PortalRequest, row: Endpoint, places: list[str], *, download: bool) -> dict[str, Any]:
    """Return what is to be read; what is no choice means the usual."""
    replica = request.GET.get("replica", "")
    return {
        "lines": MOST_LINES if download else _lines(request.GET.get("lines", "")),
        "replica": replica if replica in places else "",
        "previous": "on" if request.GET.get("previous") == "on" and has_api(row) else "",
    }


def notice_line(one: Notice) -> dict[str, Any]:
    """Return what the cluster says as a line of the timeline."""
    colour, icon = ("orange", "warn") if one.warning else ("grey", "info")
    times = f"{one.count} times" if one.count > 1 else ""
    context = " · ".join(part for part in (one.reason, one.about, times) if part)
    return {"at": one.at, "colour": colour, "icon": icon, "sentence": one.sentence, "context": context}


def has_api(row: Endpoint) -> bool:
    """Whether its cluster has an API that keeps a record and the output of earlier runs: this machine has none."""
    return bool(row.cluster.authentication)


def _places(row: Endpoint) -> list[str]:
    """Return the replicas to choose among; none where there is one at most."""
    following = row.next_revision.replicas if row.next_revision else 0
    count = max(len(row.upstreams), row.wanted_replicas + following)
    return [str(index) for index in range(count)] if count > 1 else []


def _tail(row: Endpoint, text: str, asked: dict[str, Any], *, follow: bool) -> dict[str, Any]:
    url, count = reverse("endpoint_logs", args=[row.pk]), asked["lines"]
    chosen = {name: value for name, value in asked.items() if value and name != "lines"}
    return {
        "text": text,
        "shown": text.count("\n") + 1 if text else 0,
        "read_at": timezone.now(),
        "copy": text if text and count <= COPIED and not follow else "",
        "choices": [(str(one), f"{one:,} lines", False) for one in LINES],
        "count": str(count),
        "follow_url": f"{url}?{urlencode({'lines': count, 'follow': 'on'} | chosen)}" if follow else "",
        "download_url": f"{url}?{urlencode({'download': '1'} | chosen)}",
    }


def _lines(text: str) -> int:
    """Return how many lines were asked for; what is no choice means the usual number."""
    return int(text) if text in {str(one) for one in LINES} else DEFAULT_LINES


def _writes(row: Endpoint) -> bool:
    """Whether its engines may write more."""
    return not cells.settled(row) or row.phase in {Phase.READY, Phase.DEGRADED}
