"""What the capacity page shows: each pool as its accelerators, who holds them and who waits."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.urls import NoReverseMatch, reverse

from projects.models import Project
from projects.permissions import visible
from projects.principal import Principal
from quotas import services
from quotas.models import Pool, Reservation, ReservationState

BOXES, QUEUE = 64, 50  # beyond that a pool is a list, and a queue is cut
STRANGER = "another project"


def panels(principal: Principal) -> list[dict[str, Any]]:
    """Return one panel per pool (five queries, however many reservations).

    A project that `principal` may not see is "another project", without link, name or people.
    """
    pools = list(visible(principal, Pool.objects.prefetch_related("profiles")))
    living = Reservation.objects.filter(pool__in=pools, state__in=services.LIVING).select_related("project")
    reservations = list(living.order_by("id"))
    known = set(visible(principal, Project.objects.all()).values_list("pk", flat=True))
    left = services.rooms(pools)
    return [
        _panel(pool, left[pool.pk], [one for one in reservations if one.pool_id == pool.pk], known) for pool in pools
    ]


def _panel(pool: Pool, room: services.Room, living: Sequence[Reservation], known: Collection[int]) -> dict[str, Any]:
    held = [one for one in living if one.state == ReservationState.HELD]
    waiting = [one for one in living if one.state == ReservationState.WAITING]
    absent = max(0, room.limit - room.observed)
    return {
        "slug": pool.slug,
        "name": pool.name,
        "simulated": pool.simulated,
        "profiles": ", ".join(profile.name for profile in pool.profiles.all()),
        "room": room,
        "short": room.observed < room.held,
        "boxes": _boxes(held, room, absent, known) if room.limit <= BOXES else [],
        "holders": [_who(one, known) | {"amount": one.amount, "since": one.held_at} for one in held[:QUEUE]],
        "waiting": [
            _who(one, known) | {"position": place, "amount": one.amount, "since": one.created_at}
            for place, one in enumerate(waiting[:QUEUE], 1)
        ],
        "more": max(0, len(waiting) - QUEUE),
    }


def _boxes(
    held: Iterable[Reservation], room: services.Room, absent: int, known: Collection[int]
) -> list[dict[str, Any]]:
    boxes: list[dict[str, Any]] = []
    for one in held:
        for number in range(1, one.amount + 1):
            part = f"{number} of {one.amount}" if one.amount > 1 else ""
            boxes.append({"kind": "held", "part": part, "since": one.held_at} | _who(one, known))
    free = max(0, room.limit - room.held)
    boxes += [{"kind": "free"} for _ in range(max(0, free - absent))]
    boxes += [{"kind": "absent"} for _ in range(min(free, absent))]
    for number, box in enumerate(boxes):
        box["number"] = number
    return boxes


def _who(reservation: Reservation, known: Collection[int]) -> dict[str, str]:
    if reservation.project_id not in known:
        return {"project": STRANGER, "url": ""}
    url = ""
    if reservation.holder_kind == "endpoint":
        try:
            url = reverse("endpoint_detail", args=[reservation.holder_id])
        except NoReverseMatch:
            url = ""  # a holder whose page cannot be named is shown without a link
    return {"project": reservation.project.slug, "url": url}


def stats(panels: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    """Return the strip of numbers over all pools."""
    rooms: list[services.Room] = [panel["room"] for panel in panels]
    held, limit = sum(room.held for room in rooms), sum(room.limit for room in rooms)
    waiting, observed = sum(room.waiting for room in rooms), sum(room.observed for room in rooms)
    available = sum(room.available for room in rooms)
    queued = sum(len(panel["waiting"]) + panel["more"] for panel in panels)
    return [
        {"label": "Held", "value": f"{held} of {limit}", "scope": "accelerators", "bad": False},
        {"label": "Free now", "value": available, "scope": "can be had at once", "bad": False},
        {
            "label": "Waiting",
            "value": waiting,
            "scope": f"asked for by {queued} reservation{'' if queued == 1 else 's'}",
            "bad": False,
        },
        {"label": "Reported by nodes", "value": observed, "scope": f"of {limit}", "bad": observed < held},
    ]
