"""Cells of the capacity page: the pools as boxes, whose turn it is and when, whose share is how large, what could be
given back, and nodes that no pool counts.

What `quotas` knows of a pool is enriched here with endpoints, since a route belongs to the highest app that it needs.
Of a project that the reader may not see nothing is shown but that it is "another project".
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from endpoints import box_cells, boxes, what_if
from endpoints.box_cells import ROLES, held, who
from endpoints.boxes import Seat
from endpoints.idle import Idle
from endpoints.models import Endpoint
from endpoints.scene import Scene
from portal.templatetags.gatehouse import day, money
from projects.permissions import can_anywhere
from projects.principal import Principal
from quotas import capacity as pools
from quotas import devices, fairness, forecast, lines
from quotas.capacity import STRANGER, Panel, Place
from quotas.forecast import Start
from quotas.models import Node, NodeCondition

Cell = dict[str, Any]
RETURNS = 20


def page(principal: Principal, asked: Mapping[str, str]) -> Cell:
    """Return the context of the capacity page; `asked` is what its address asks for: `view`, and what if."""
    scene = Scene(principal)
    could = list(scene.idle.values())
    return {
        "pools": [_pool(scene, panel) for panel in scene.panels],
        "stats": _stats(scene.panels, could),
        "simulated": bool(scene.panels) and all(panel.pool.simulated for panel in scene.panels),
        "could": [_could(one, scene) for one in could],
        "returns": _returns(scene),
        "idle_days": settings.IDLE_DAYS,
        "measured": timezone.now(),
        "table": asked.get("view") == "table",
        "strangers": [
            _stranger(scene, node) for node in devices.strangers([one.pool for one in scene.panels], scene.nodes)
        ],
        "what_if": what_if.cells(scene, asked) if scene.panels else None,
    }


def _pool(scene: Scene, panel: Panel) -> Cell:
    parts = scene.parts[panel.pool.pk]
    seats = boxes.seats(parts, panel.held, scene.elsewhere(panel)) if parts else []
    starts = forecast.starts(panel.line, scene.returns(panel), scene.now, lines.patience())
    known: list[Any] = [part.node for part in parts]  # with what `scene` reads beside them
    seen = [node.seen_at for node in known if node.seen_at is not None]
    return {
        "slug": panel.pool.slug,
        "name": panel.pool.name,
        "profiles": ", ".join(profile.name for profile in panel.pool.profiles.all()),
        "simulated": panel.pool.simulated,
        "room": panel.room,
        "short": panel.room.observed < panel.room.held,
        "boxes": box_cells.of(scene, panel, seats),
        "nodes": _nodes(seats, [part.node for part in parts]),
        "measured": min(seen) if seen else None,
        "problem": next((node.problem for node in known if node.problem), ""),
        "differences": " ".join(_differences(seats)) if parts else "",
        "differ": any(seat.kind in (boxes.OVER, boxes.OTHER) for seat in seats),
        "shares": _shares(scene, panel),
        "holders": [held(scene, place) for place in panel.held[: pools.QUEUE]],
        "more_holders": max(0, len(panel.held) - pools.QUEUE),
        "waiting": [_waiting(scene, panel, place, starts) for place in panel.waiting],
        "more": panel.more,
        "patience": lines.patience(),
        "give_back": panel.pool.give_back,
        "grace_hours": panel.pool.grace_hours,
        "shares_url": reverse("pool_shares", args=[panel.pool.slug]) if scene.steers else "",
    }


def _nodes(seats: Sequence[Seat], nodes: Sequence[Node]) -> list[Cell]:
    """Return each node of a pool with what is held of it."""
    by_node: dict[int, list[Seat]] = defaultdict(list)
    for seat in seats:
        if seat.node is not None:
            by_node[seat.node.pk].append(seat)
    return [
        {
            "name": node.name,
            "product": box_cells.product(node),
            "resource": node.resource,
            "count": len(by_node[node.pk]),
            "taken": sum(seat.kind in (boxes.HELD, boxes.OVER, boxes.OTHER) for seat in by_node[node.pk]),
            "free": sum(seat.kind == boxes.FREE for seat in by_node[node.pk]),
            "condition": NodeCondition(node.condition).label,
            "ready": node.condition == NodeCondition.READY,
            "since": node.since,
        }
        for node in dict.fromkeys(nodes)
    ]


def _differences(seats: Sequence[Seat]) -> list[str]:
    """Return in sentences where the nodes and the reservations differ; nothing when they say the same."""
    found, told = boxes.differences(seats), []
    if count := found[boxes.OTHER]:
        told.append(f"{_accelerators(count)} held by something that the portal did not start: there is less room than "
                    "reservations say, and who is served may wait for a node.")  # fmt: skip
    if count := found[boxes.OVER]:
        told.append(f"{_accelerators(count)} held by pods of endpoints that have no reservation for them: engines that "
                    "end, or replicas that somebody added by hand.")  # fmt: skip
    if count := found[boxes.RESERVED]:
        told.append(f"{_accelerators(count)} reserved, and no pod is there yet: they start, or wait for a node.")
    return told


def _accelerators(count: int) -> str:
    return f"{count} accelerator{' is' if count == 1 else 's are'}"


def _shares(scene: Scene, panel: Panel) -> list[Cell]:
    """Return what of a pool is whose, for the projects that hold or wait; those that are not known, together."""
    own, beyond = fairness.shares(panel.line), fairness.borrowed(panel.line)
    rows: dict[str, Cell] = {}
    for pk in own:
        known = pk in scene.projects
        row = rows.setdefault(
            scene.project(pk) if known else STRANGER,
            {"share": 0.0, "held": 0, "waits": 0, "borrowed": 0, "known": known, "count": 0},
        )
        row["count"] += 1
        row["share"] += float(own[pk])
        row["held"] += panel.line.held.get(pk, 0)
        row["waits"] += sum(claim.amount for claim in panel.queue if claim.project == pk)
        row["borrowed"] += beyond.get(pk, 0)
    for name, row in rows.items():
        row["name"] = name if row["known"] or row["count"] == 1 else f"{row['count']} other projects"
        row["text"] = f"{row['share']:.1f}".removesuffix(".0")
        row["percent"] = min(100.0, 100 * row["held"] / row["share"]) if row["share"] else 100.0
    return sorted(rows.values(), key=lambda row: (not row["known"], row["name"]))


def _stranger(scene: Scene, node: Node) -> Cell:
    """Return a node whose accelerators are no pool's, and what would make them one's."""
    fix = "A platform engineer adds a hardware profile that names them to a pool of the cluster."
    if scene.steers:
        label = f" with the node label nvidia.com/gpu.product: {node.product}" if node.product else ""
        fix = (
            f"Add a hardware profile with the resource {node.resource}{label} to a pool of the cluster {node.cluster}, "
            "or correct the one that was meant for it."
        )
    return {
        "name": node.name,
        "cluster": node.cluster,
        "product": box_cells.product(node),
        "resource": node.resource,
        "count": node.capacity,
        "fix": fix,
    }


def _waiting(scene: Scene, panel: Panel, place: Place, starts: Mapping[int, Start]) -> Cell:
    start, why = _start(scene, panel, starts.get(place.reservation.pk))
    return {
        "position": place.position,
        "amount": place.reservation.amount,
        "since": place.reservation.created_at if place.known else None,
        "reference": _reference(place, scene.endpoint(place.reservation)),
        "start": start,
        "why": why,
        **who(scene, place),
    }


def _start(scene: Scene, panel: Panel, start: Start | None) -> tuple[str, str]:
    """Return when something can start, and what that hangs on."""
    if start is None:
        return "not known", "nothing that is held before it has an end"
    if start.after is None:
        return "now", "as soon as a worker looks"
    place = next((one for one in panel.held if one.reservation.pk == start.after.reservation), None)
    name = who(scene, place)["name"] if place is not None else STRANGER
    if start.after.why == "stops":
        return "soon", f"when the engines of {name} have ended"
    if start.after.why == "asked":
        return f"not before {day(start.at)}", f"when {name} gives back what it borrowed"
    return f"not before {day(start.at)}", f"when {name} ends, unless it is renewed"


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
