"""Cells of the capacity page: the pools as boxes, with what runs on each accelerator, how busy it is and until when.

What `quotas` knows of a pool is enriched here with endpoints, since a route belongs to the highest app that it needs.
Of a project that the reader may not see nothing is shown but that it is "another project".
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from endpoints import cells, idle, numbers
from endpoints.idle import Idle
from endpoints.models import Endpoint, EngineCount, Phase
from endpoints.numbers import Calls
from endpoints.seats import GROWTH, HOLDER_KIND, RETIRING, SURGE
from portal.templatetags.gatehouse import money
from projects.permissions import can_anywhere
from projects.principal import Principal
from quotas import capacity as pools
from quotas.capacity import Panel, Place
from quotas.models import Reservation

Cell = dict[str, Any]
BOXES = 64  # beyond that a pool is a table
FRESH = dt.timedelta(minutes=2)  # an older reading of an engine says nothing about now
RETURNS = 20
ROLES = {GROWTH: "more replicas", SURGE: "next revision", RETIRING: "ending"}  # what an endpoint holds besides its own


class Scene:
    """Everything that the page reads, by endpoint id (at most eight queries, however much there is)."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.panels = pools.panels(principal)
        places = [place for panel in self.panels for place in (*panel.held, *panel.waiting) if place.known]
        held = [place.reservation for panel in self.panels for place in panel.held if place.known]
        self.endpoints = idle.holders(place.reservation for place in places) if places else {}
        self.idle = {str(one.endpoint.pk): one for one in idle.judge(held, self.endpoints)}
        ids = [one.holder_id for one in held if one.holder_id in self.endpoints]
        self.calls: Mapping[str, Calls] = numbers.last_day(ids) if ids else {}
        self.running = _running([self.endpoints[one] for one in ids])

    def endpoint(self, reservation: Reservation) -> Endpoint | None:
        """Return the endpoint that holds or waits, if the reader may know it."""
        return self.endpoints.get(reservation.holder_id)


def page(principal: Principal) -> Cell:
    """Return the context of the capacity page."""
    scene = Scene(principal)
    could = list(scene.idle.values())
    return {
        "pools": [_pool(scene, panel) for panel in scene.panels],
        "stats": _stats(scene.panels, could),
        "simulated": any(panel.pool.simulated for panel in scene.panels),
        "could": [_could(one, scene) for one in could],
        "returns": _returns(scene),
        "idle_days": settings.IDLE_DAYS,
        "measured": timezone.now(),
    }


def _pool(scene: Scene, panel: Panel) -> Cell:
    return {
        "slug": panel.pool.slug,
        "name": panel.pool.name,
        "profiles": ", ".join(profile.name for profile in panel.pool.profiles.all()),
        "room": panel.room,
        "short": panel.room.observed < panel.room.held,
        "boxes": _boxes(scene, panel) if panel.room.limit <= BOXES else [],
        "holders": [_held(scene, place) for place in panel.held[: pools.QUEUE]],
        "more_holders": max(0, len(panel.held) - pools.QUEUE),
        "waiting": [_waiting(scene, panel, place) for place in panel.waiting],
        "more": panel.more,
    }


def _boxes(scene: Scene, panel: Panel) -> list[Cell]:
    boxes: list[Cell] = []
    for place in panel.held:
        row = scene.endpoint(place.reservation)
        own = place.reservation.holder_kind == HOLDER_KIND
        each = row.revision.profile.accelerator_count if own and row is not None and row.revision is not None else 0
        for number in range(place.reservation.amount):
            replica = number // each if each else None
            boxes.append({"kind": "held", **_held(scene, place, replica), **_part(place, number, replica)})
    free = max(0, panel.room.limit - panel.room.held)
    boxes += [{"kind": "free"} for _ in range(max(0, free - panel.absent))]
    boxes += [{"kind": "absent"} for _ in range(min(free, panel.absent))]
    return [box | {"number": number} for number, box in enumerate(boxes)]


def _part(place: Place, number: int, replica: int | None) -> Cell:
    """Return which part of its holder an accelerator is for; nothing of a stranger's."""
    amount, role = place.reservation.amount, ROLES.get(place.reservation.holder_kind, "")
    if not place.known or (amount == 1 and not role):
        return {"part": ""}
    if role:
        return {"part": role}
    return {"part": f"replica {replica + 1}" if replica is not None else f"{number + 1} of {amount}"}


def _held(scene: Scene, place: Place, replica: int | None = None) -> Cell:
    """Return the cells of a holder: of one replica, or of all."""
    cell = {"amount": place.reservation.amount, **_who(scene, place)}
    row = scene.endpoint(place.reservation)
    if row is None or row.revision is None:
        return cell | ({"since": place.reservation.held_at} if place.known else {})
    own = place.reservation.holder_kind == HOLDER_KIND
    found, calls = scene.idle.get(str(row.pk)), scene.calls.get(str(row.pk), Calls())
    tokens = calls.input_tokens + calls.output_tokens
    failed = row.phase == Phase.FAILED
    return cell | {
        "since": place.reservation.held_at,
        "accelerator": row.revision.profile.accelerator,
        "what": f"{row.revision.version.asset.name} · {row.environment}",
        "until": row.ends_on,
        "tone": "failed" if failed else "idle" if found else "",
        "chip": _idle_chip(found) if found else cells.phase_chip(row),
        "busy": _busy(scene, row, replica) if own else None,
        "calls": f"{calls.requests:,} call{'s' if calls.requests != 1 else ''}, {tokens:,} tokens in 24 h",
    }


def _who(scene: Scene, place: Place) -> Cell:
    row = scene.endpoint(place.reservation)
    if row is None:
        return {"name": place.project, "url": ""}
    return {"name": f"{place.project}/{row.name}", "url": reverse("endpoint_detail", args=[row.pk])}


def _idle_chip(found: Idle) -> Cell:
    words = f"No token for {found.days} day{'s' if found.days != 1 else ''}"
    return {"label": words, "colour": "orange", "icon": "clock", "kind": "filled", "title": found.sentence}


def _busy(scene: Scene, row: Endpoint, replica: int | None) -> Cell | None:
    """Return how many of the calls that fit at once are running now, as the engines say; None without a reading."""
    readings = scene.running.get(str(row.pk), {})
    chosen = [one for index, one in readings.items() if replica is None or index == replica]
    if not chosen or row.revision is None:
        return None
    running, waiting = round(sum(one.running for one in chosen)), round(sum(one.waiting for one in chosen))
    seats = row.revision.concurrency * len(chosen)
    memory = [one.kv_cache_usage for one in chosen if one.kv_cache_usage is not None]
    words = f"{running} of {seats} calls"
    more = [f"{waiting} wait"] if waiting else []
    more += [f"KV cache {max(memory):.0%}".replace("%", " %")] if memory else []
    percent = running * 100 / max(1, seats)
    tone = "warn" if waiting else ""
    return {"percent": percent, "words": words, "more": ", ".join(more), "tone": tone, "label": f"{words} at once"}


def _running(rows: Iterable[Endpoint]) -> dict[str, dict[int, EngineCount]]:
    """Return the fresh readings of the engines that answer now, by endpoint id and replica (one query)."""
    living = {str(row.pk): {str(route.get("instance", "")) for route in row.upstreams} for row in rows}
    living = {endpoint_id: instances for endpoint_id, instances in living.items() if instances}
    if not living:
        return {}
    found: dict[str, dict[int, EngineCount]] = {}
    counts = EngineCount.objects.filter(endpoint_id__in=list(living), at__gt=timezone.now() - FRESH, error="")
    for one in counts.order_by("at"):
        index = one.instance.partition("-")[0]
        if one.instance in living[str(one.endpoint_id)] and index.isdecimal():
            found.setdefault(str(one.endpoint_id), {})[int(index)] = one
    return found


def _waiting(scene: Scene, panel: Panel, place: Place) -> Cell:
    short = max(0, place.reservation.amount - panel.room.available)
    row = scene.endpoint(place.reservation)
    start = "as soon as a worker looks"
    if short:
        start = f"when {short} more {'is' if short == 1 else 'are'} free" if place.position == 1 else "when it fits"
    return {
        "position": place.position,
        "amount": place.reservation.amount,
        "since": place.reservation.created_at if place.known else None,
        "reference": _reference(place, row),
        "start": start,
        **_who(scene, place),
    }


def _reference(place: Place, row: Endpoint | None) -> str:
    if row is None or row.revision is None:
        return ""
    return ROLES.get(place.reservation.holder_kind, row.revision.authorization_reference)


def _could(one: Idle, scene: Scene) -> Cell:
    row, held = one.endpoint, one.reservation
    contact = row.contact or row.created_by
    month = one.per_month
    frees = f"Frees {held.amount} of {held.pool.name or held.pool.slug}"
    return {
        "name": f"{row.project.slug}/{row.name}",
        "url": reverse("endpoint_detail", args=[row.pk]),
        "sentence": one.sentence,
        "frees": frees if month is None else f"{frees}, {money(month, held.currency)} / month at list price",
        "asked": one.suggested_at,
        "suggest_url": reverse("endpoint_suggest", args=[row.pk])
        if can_anywhere(scene.principal, "suggest", Endpoint) and one.suggested_at is None
        else "",
        "ask": contact.username if contact is not None else "the owners",
    }


def _returns(scene: Scene) -> list[Cell]:
    """Return what comes back by itself: the end dates of the holders that the reader may see."""
    held = [
        (row, place.reservation.amount)
        for panel in scene.panels
        for place in panel.held
        if (row := scene.endpoint(place.reservation)) is not None and row.ends_on is not None
    ]
    return [
        {
            "when": row.ends_on,
            "name": f"{row.project.slug}/{row.name}",
            "url": reverse("endpoint_detail", args=[row.pk]),
            "amount": amount,
        }
        for row, amount in sorted(held, key=lambda one: (one[0].ends_on, one[0].name))[:RETURNS]
    ]


def _stats(panels: Sequence[Panel], could: Sequence[Idle]) -> list[dict[str, object]]:
    """Return the strip of numbers over all pools."""
    held, limit = sum(panel.room.held for panel in panels), sum(panel.room.limit for panel in panels)
    observed, queued = sum(panel.room.observed for panel in panels), sum(panel.queued for panel in panels)
    back = sum(one.reservation.amount for one in could)
    endpoints = f"{len(could)} idle endpoint{'s' if len(could) != 1 else ''}"
    return [
        {"label": "Held", "value": f"{held} of {limit}", "scope": "accelerators", "bad": False},
        {
            "label": "Free now",
            "value": sum(panel.room.available for panel in panels),
            "scope": "can be had at once",
            "bad": False,
        },
        {
            "label": "Waiting",
            "value": sum(panel.room.waiting for panel in panels),
            "scope": f"asked for by {queued} reservation{'' if queued == 1 else 's'}",
            "bad": False,
        },
        {"label": "Could be given back", "value": back, "scope": f"by {endpoints} that you see", "bad": False},
        {"label": "Reported by nodes", "value": observed, "scope": f"of {limit}", "bad": observed < held},
    ]
