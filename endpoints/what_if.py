"""What if: a request that is not made, and a pool of another size, worked out over the page's snapshot. Nothing is
written, and nobody is told.
"""

from collections.abc import Mapping
from typing import Any

from endpoints import boxes
from endpoints.box_cells import who
from endpoints.facts import counted
from endpoints.giving_back import Held, choose, leaves, may_be_asked
from endpoints.scene import Scene
from endpoints.seats import HOLDER_KIND
from portal.templatetags.gatehouse import day
from quotas import forecast, lines
from quotas.capacity import STRANGER, Panel
from quotas.devices import Part
from quotas.forecast import NEXT, Answer
from quotas.models import GiveBackRule
from quotas.pools import MAX_ACCELERATORS

Cell = dict[str, Any]
MOST_REPLICAS = 64
NAMES = ("pool", "project", "profile", "replicas", "gpus", "lost")


def cells(scene: Scene, asked: Mapping[str, str]) -> Cell:
    """Return the form with what was typed, and the answers; what cannot be worked out is said at its field."""
    typed = {name: asked.get(name, "")[:253].strip() for name in NAMES}
    panel = next((one for one in scene.panels if one.pool.slug == typed["pool"]), scene.panels[0])
    errors: dict[str, str] = {}
    if typed["pool"] and typed["pool"] != panel.pool.slug:
        errors["pool"] = f"There is no pool {typed['pool'][:40]}. Choose one from the list."
    found: Cell = {"request": None, "size": None}
    if not errors and typed["project"]:
        found["request"] = _request(scene, panel, typed, errors)
    if not errors and (typed["gpus"] or typed["lost"]):
        found["size"] = _size(scene, panel, typed, errors)
    return {
        **found,
        "fields": _fields(scene, panel, typed, errors),
        "pool": panel.pool.slug,
        "open": any(typed.values()),
    }


def _fields(scene: Scene, panel: Panel, typed: Mapping[str, str], errors: Mapping[str, str]) -> dict[str, Cell]:
    pools = [(one.pool.slug, one.pool.name or one.pool.slug) for one in scene.panels]
    projects = sorted((one.slug, one.slug) for one in scene.projects.values())
    profiles = [(one.slug, one.name) for one in panel.pool.profiles.all() if one.accelerator_count]
    nodes = [(part.node.name, part.node.name) for part in scene.parts[panel.pool.pk]]
    made: dict[str, Cell] = {
        "pool": {"kind": "select", "label": "Pool", "choices": pools, "value": panel.pool.slug},
        "project": {"kind": "select", "label": "Project", "choices": [("", "nobody"), *projects]},
        "profile": {"kind": "select", "label": "Hardware profile", "choices": [("", "one accelerator"), *profiles]},
        "replicas": {"kind": "number", "label": "Replicas", "attrs": {"min": 1, "max": MOST_REPLICAS}},
        "gpus": {"kind": "number", "label": "Accelerators of the pool", "attrs": {"min": 1, "max": MAX_ACCELERATORS}},
        "lost": {"kind": "select", "label": "Lost node", "choices": [("", "none"), *dict.fromkeys(nodes)]},
    }
    return {
        name: {"name": name, "value": typed[name] or None, "error": errors.get(name, ""), **field}
        for name, field in made.items()
    }


def _request(scene: Scene, panel: Panel, typed: Mapping[str, str], errors: dict[str, str]) -> Cell | None:
    project = next((one for one in scene.projects.values() if one.slug == typed["project"]), None)
    if project is None:
        errors["project"] = f"There is no project {typed['project'][:40]}. Choose one from the list."
    profile = next((one for one in panel.pool.profiles.all() if one.slug == typed["profile"]), None)
    if typed["profile"] and (profile is None or not profile.accelerator_count):
        errors["profile"] = f"{panel.pool.slug} has no hardware profile {typed['profile'][:40]} with accelerators."
    replicas = _number("replicas", typed["replicas"] or "1", MOST_REPLICAS, errors)
    if project is None or replicas is None or errors:
        return None
    amount = replicas * (profile.accelerator_count if profile is not None else 1)
    if amount > panel.room.limit:
        sentence = f"{counted(amount, 'accelerator')} never fit into {panel.pool.slug}, which has {panel.room.limit}."
        return {"sentence": sentence, "back": "", "rows": [], "bad": True}
    now, patience = scene.now, lines.patience()
    answer = forecast.request(panel.line, project.pk, amount, scene.returns(panel), now, patience)
    return {
        "sentence": _sentence(scene, panel, answer, amount),
        "back": _back(scene, panel, answer),
        "rows": _rows(scene, answer),
        "bad": answer.position > 0,
    }


def _sentence(scene: Scene, panel: Panel, answer: Answer, amount: int) -> str:
    what = f"{counted(amount, 'accelerator')} of {panel.pool.slug}"
    if not answer.position:
        return f"{what}: starts at once, {panel.room.available} are free."
    where = f"{what}: waits at place {answer.position} of the queue."
    if answer.start is None:
        return f"{where} When it starts is not known: not enough of what is held has an end."
    after = answer.start.after
    if after is None:
        return f"{where} It starts as soon as a worker looks."
    name = _name(scene, panel, after.reservation)
    if after.why == "stops":
        return f"{where} It starts when the engines of {name} have ended."
    how = "gives back what it borrowed" if after.why == "asked" else "ends, unless it is renewed"
    return f"{where} It starts not before {day(answer.start.at)}, when {name} {how}."


def _back(scene: Scene, panel: Panel, answer: Answer) -> str:
    """Return whose borrowed accelerators would be asked back, as the portal would choose them now."""
    pool = panel.pool
    if not answer.asked_back:
        return "Nothing would be asked back for it." if answer.position else ""
    if pool.give_back == GiveBackRule.NEVER:
        return f"{counted(answer.asked_back, 'accelerator')} of its share are lent, and {pool.slug} asks nothing back."
    there, beyond = _able(scene, panel, answer)
    chosen = choose(there, beyond, answer.asked_back)
    if not chosen:
        return "It would be within its share, and nobody who may be asked has borrowed anything."
    names = [f"{_name(scene, panel, one.reservation.pk)} ({one.amount})" for one in chosen]
    return (
        f"It would be within its share, so borrowed accelerators would be asked back: {', '.join(names)}. Their people "
        f"have {counted(pool.grace_hours, 'hour')}, then they are suspended."
    )


def _able(scene: Scene, panel: Panel, answer: Answer) -> tuple[list[Held], dict[int, int]]:
    """Return who may be asked for something, and what each project holds beyond its share without what it gives back
    already.
    """
    found, beyond = list[Held](), dict(answer.beyond)
    for place in panel.held:
        one, row = place.reservation, scene.everyone.get(place.reservation.holder_id)
        if leaves(one, scene.everyone) or one.pk in scene.asked:
            beyond[one.project_id] = beyond.get(one.project_id, 0) - one.amount
        elif row is not None and one.holder_kind == HOLDER_KIND and may_be_asked(panel.pool, row):
            found.append(Held(one, row, one.holder_id in scene.lazy))
    return found, beyond


def _rows(scene: Scene, answer: Answer) -> list[Cell]:
    """Return the shares that change, before and after; those of unknown projects are left out."""
    rows = []
    for pk in sorted({*answer.shares_before, *answer.shares_after}):
        if pk not in scene.projects:
            continue
        before, after = answer.shares_before.get(pk), answer.shares_after.get(pk, 0.0)
        rows.append(
            {
                "name": scene.project(pk),
                "before": "–" if before is None else f"{before:.1f}".removesuffix(".0"),
                "after": f"{after:.1f}".removesuffix(".0"),
                "borrowed_before": answer.borrowed_before.get(pk, 0),
                "borrowed_after": answer.borrowed_after.get(pk, 0),
            }
        )
    return rows


def _size(scene: Scene, panel: Panel, typed: Mapping[str, str], errors: dict[str, str]) -> Cell | None:
    parts = [part for part in scene.parts[panel.pool.pk] if part.node.name == typed["lost"]]
    if typed["lost"] and not parts:
        errors["lost"] = f"{panel.pool.slug} has no node {typed['lost'][:60]}. Choose one from the list."
    wanted = _number("gpus", typed["gpus"], MAX_ACCELERATORS, errors) if typed["gpus"] else None
    if errors:
        return None
    lost = sum(part.usable for part in parts)
    limit = wanted or panel.room.limit
    observed = max(0, (wanted or panel.room.observed) - lost)
    found = forecast.resized(panel.line, scene.now, lines.patience(), limit=limit, observed=observed)
    names = [_waiter(scene, panel, claim.id) for claim in found.start]
    sentences = [f"{panel.pool.slug} could lend {counted(found.room, 'accelerator')}; {found.free} would be free."]
    if found.short:
        sentences.append(
            f"{found.short} more would be held than there are: nothing is taken away, and nobody new is served."
        )
    if names:
        sentences.append(f"{len(names)} of {panel.queued} that wait would start at once: {', '.join(names[:10])}.")
    elif panel.queued:
        sentences.append(f"None of the {panel.queued} that wait would start.")
    if parts:
        sentences.append(_on(scene, panel, parts, lost))
    return {"sentences": sentences, "bad": bool(found.short)}


def _on(scene: Scene, panel: Panel, parts: list[Part], lost: int) -> str:
    """Return who runs on a node."""
    seats = [seat for seat in boxes.seats(parts, panel.held, scene.elsewhere(panel)) if seat.pod]
    names = {
        who(scene, seat.place)["name"] if seat.place is not None else "something that is not the portal's"
        for seat in seats
    }
    head = f"{parts[0].node.name} has {counted(lost, 'accelerator')} of it"
    if not names:
        return f"{head}; nothing runs there."
    return f"{head}. What runs there starts elsewhere where there is room: {', '.join(sorted(names))}."


def _waiter(scene: Scene, panel: Panel, pk: int) -> str:
    if pk == NEXT:
        return "this request"
    place = next((one for one in panel.waiting if one.reservation.pk == pk), None)
    return str(who(scene, place)["name"]) if place is not None else STRANGER


def _name(scene: Scene, panel: Panel, pk: int) -> str:
    place = next((one for one in panel.held if one.reservation.pk == pk), None)
    return str(who(scene, place)["name"]) if place is not None else STRANGER


def _number(name: str, text: str, most: int, errors: dict[str, str]) -> int | None:
    if text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most and len(text) < 9:
        return int(text)
    errors[name] = f"{name} is {text[:20]}; it must be a whole number between 1 and {most:,}."
    return None
