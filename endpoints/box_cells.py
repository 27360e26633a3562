"""Cells of one pool's boxes: node and number, who holds it, until when, how busy; what nothing holds, and where the
nodes and the reservations differ.

Of a project that the reader may not see nothing is shown but that it is "another project".
"""

from collections.abc import Sequence
from typing import Any

from django.urls import reverse

from endpoints import boxes, cells
from endpoints.boxes import Seat, Split
from endpoints.idle import Idle
from endpoints.models import Endpoint, Phase
from endpoints.numbers import Calls
from endpoints.scene import Scene
from endpoints.seats import GROWTH, HOLDER_KIND, RETIRING, SURGE
from quotas import fairness, lines
from quotas.capacity import Panel, Place
from quotas.models import Node, NodeCondition

Cell = dict[str, Any]
BOXES = 64  # beyond that a pool is a table
ROLES = {GROWTH: "more replicas", SURGE: "next revision", RETIRING: "ending"}  # what an endpoint holds besides its own
ABSENT = {
    NodeCondition.READY: "unhealthy",
    NodeCondition.CORDONED: "its node takes no new pods",
    NodeCondition.LOST: "its node is lost",
    NodeCondition.GONE: "its node is gone",
}


def of(scene: Scene, panel: Panel, seats: Sequence[Seat]) -> list[Cell]:
    """Return the boxes of a pool: by its nodes where it has any, else by its reservations. None of a large pool."""
    if max(panel.room.limit, len(seats)) > BOXES:
        return []
    if not seats or not scene.parts[panel.pool.pk]:
        return by_reservation(scene, panel)
    words, found = free_words(scene, panel), list[Cell]()
    beyond = sum(seat.kind == boxes.FREE for seat in seats) - max(0, panel.room.limit - panel.room.held)
    for box in boxes.boxes(seats):
        found.append(_split(scene, box) if isinstance(box, Split) else _seat(scene, box, words))
    if beyond > 0:
        _beyond(found, beyond)
    missing = panel.room.limit - len(seats)
    found += [{"kind": "absent", "why": "no node reports it"} for _ in range(max(0, missing))]
    return [box | {"number": number} for number, box in enumerate(found)]


def _beyond(found: list[Cell], count: int) -> None:
    """Mark free accelerators, from the last one on, that are more than the pool's limit lends."""
    for number in range(len(found) - 1, -1, -1):
        if count and found[number]["kind"] == "free":
            found[number] = found[number] | {"kind": "beyond", "why": "beyond the limit of the pool"}
            count -= 1


def by_reservation(scene: Scene, panel: Panel) -> list[Cell]:
    """Return the boxes of a pool of which no nodes are known."""
    made: list[Cell] = []
    for place in panel.held:
        row = scene.endpoint(place.reservation)
        own = place.reservation.holder_kind == HOLDER_KIND
        each = row.revision.profile.accelerator_count if own and row is not None and row.revision is not None else 0
        for number in range(place.reservation.amount):
            replica = number // each if each else None
            made.append({"kind": "held", **held(scene, place, replica), **_part(place, number, replica)})
    free = max(0, panel.room.limit - panel.room.held)
    words = free_words(scene, panel)
    made += [{"kind": "free", "why": words} for _ in range(max(0, free - panel.absent))]
    made += [{"kind": "absent", "why": "no node reports it"} for _ in range(min(free, panel.absent))]
    return [box | {"number": number} for number, box in enumerate(made)]


def free_words(scene: Scene, panel: Panel) -> str:
    """Return what a free accelerator waits for: who would take it, were there more."""
    for claim, kept in fairness.turns(panel.line, scene.now, lines.patience()):
        short = claim.amount - panel.room.available
        place = next((one for one in panel.waiting if one.reservation.pk == claim.id), None)
        name = who(scene, place)["name"] if place is not None else "another project"
        if kept:
            return f"kept for {name}, which waited longest and needs {short} more"
        if short > 0:
            return f"{name} would take it with {short} more"
        return f"{name} takes it as soon as a worker looks"
    return "can be had at once"


def _seat(scene: Scene, seat: Seat, free: str) -> Cell:
    cell: Cell = {"kind": seat.kind, **_where(seat)}
    if seat.kind == boxes.FREE:
        return cell | {"why": free}
    if seat.kind == boxes.ABSENT:
        return cell | {"why": ABSENT[NodeCondition(seat.node.condition)] if seat.node else ""}
    if seat.kind == boxes.OTHER or seat.place is None:
        named = scene.steers and seat.kind == boxes.OTHER
        name = f"{seat.pod['namespace']}/{seat.pod['name']}" if named else ""
        return cell | {"name": name, "lost": seat.lost}
    own = seat.place.reservation.holder_kind == HOLDER_KIND
    row = scene.endpoint(seat.place.reservation)
    each = row.revision.profile.accelerator_count if own and row is not None and row.revision is not None else 0
    number = 0 if not seat.pod else _replica(scene, seat, row)
    replica = number if each else None
    shown = held(scene, seat.place, replica if seat.kind == boxes.HELD else None)
    part = _part(seat.place, number * max(1, each), replica)
    return {**shown, **part, **cell, "lost": seat.lost}


def _replica(scene: Scene, seat: Seat, row: Endpoint | None) -> int:
    """Return the place of a pod among those of its endpoint, in the order in which the driver counts them."""
    if row is None:
        return 0
    pods = [
        (pod.get("since") or "", pod["name"])
        for node in scene.nodes
        for pod in node.pods
        if pod["endpoint"] == str(row.pk)
    ]
    return sorted(pods).index((seat.pod.get("since") or "", seat.pod["name"]))


def _split(scene: Scene, box: Split) -> Cell:
    """Return the cells of an accelerator in slices."""
    taken = [one for one in box.slices if one.kind in (boxes.HELD, boxes.OVER, boxes.OTHER, boxes.RESERVED)]
    names = [who(scene, one.place)["name"] if one.place is not None else "something else" for one in taken]
    kind = box.node.resource.rpartition("/mig-")[2]
    return {
        "kind": "split",
        "where": f"{box.node.name} / {box.index}",
        "node": box.node.name,
        "product": model(box.node),
        "name": f"{len(taken)} of {len(box.slices)} × {kind} held",
        "what": ", ".join(dict.fromkeys(names)),
        "slices": [{"kind": one.kind, "holder": _holder(one)} for one in box.slices],
    }


def _where(seat: Seat) -> Cell:
    if seat.node is None:
        return {"where": "no node", "product": "", "node": "", "index": None, "holder": _holder(seat)}
    return {
        "where": f"{seat.node.name} / {seat.index}",
        "node": seat.node.name,
        "index": seat.index,
        "product": product(seat.node),
        "holder": _holder(seat),
    }


def _holder(seat: Seat) -> str:
    """Return the id of the endpoint that a pod is of; "" where there is none. Never shown, only compared."""
    return str(seat.pod.get("endpoint") or "")


def model(node: Node) -> str:
    """Return the name of an accelerator as people say it: NVIDIA-H100-80GB-HBM3 is an H100 80GB HBM3."""
    return node.product.removeprefix("NVIDIA-").replace("-", " ") or node.resource


def product(node: Node) -> str:
    """Return what an accelerator is, with its memory where the node says it."""
    words = model(node)
    return f"{words}, {round(node.memory_mib / 1024)} GiB" if node.memory_mib else words


def _part(place: Place, number: int, replica: int | None) -> Cell:
    """Return which part of its holder an accelerator is for; nothing of a stranger's."""
    amount, role = place.reservation.amount, ROLES.get(place.reservation.holder_kind, "")
    if not place.known or (amount == 1 and not role):
        return {"part": ""}
    if role:
        return {"part": role}
    return {"part": f"replica {replica + 1}" if replica is not None else f"{number + 1} of {amount}"}


def held(scene: Scene, place: Place, replica: int | None = None) -> Cell:
    """Return the cells of a holder: of one replica, or of all."""
    cell = {"amount": place.reservation.amount, **who(scene, place)}
    row = scene.endpoint(place.reservation)
    if row is None or row.revision is None:
        return cell | ({"since": place.reservation.held_at} if place.known else {})
    own = place.reservation.holder_kind == HOLDER_KIND
    found, calls = scene.idle.get(str(row.pk)), scene.calls.get(str(row.pk), Calls())
    asked = scene.asked.get(place.reservation.pk)
    tokens = calls.input_tokens + calls.output_tokens
    failed = row.phase == Phase.FAILED
    return cell | {
        "since": place.reservation.held_at,
        "accelerator": row.revision.profile.accelerator,
        "what": f"{row.revision.version.asset.name} · {row.environment}",
        "until": row.ends_on,
        "asked_back": asked.due_at if asked is not None else None,
        "tone": "failed" if failed else "idle" if found or asked else "",
        "chip": _idle_chip(found) if found else cells.phase_chip(row),
        "busy": _busy(scene, row, replica) if own else None,
        "calls": f"{calls.requests:,} call{'s' if calls.requests != 1 else ''}, {tokens:,} tokens in 24 h",
    }


def who(scene: Scene, place: Place) -> Cell:
    """Return name and address of a holder."""
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
