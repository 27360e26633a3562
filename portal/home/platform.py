"""Cards of people who decide and run the platform: the queue, what is broken, the pools."""

import datetime as dt
from typing import Any

from django.urls import reverse

from approvals.insights import objective
from approvals.models import Request
from approvals.objective import clock
from approvals.objective.words import against
from approvals.views.cells import per_month
from endpoints import cells, idle
from endpoints.models import Endpoint, Phase
from portal.home.sight import Sight
from projects.permissions import visible
from quotas.models import Pool

Cell = dict[str, Any]
POOLS = 4
BROKEN = (Phase.FAILED, Phase.DEGRADED)


def queue(sight: Sight) -> Cell:
    """Return what waits for a decision, oldest first against the objective (one query)."""
    related = ("project", "requester", "version__asset")
    found = sight.queue().select_related(*related).order_by("due_at", "id")[: sight.most]
    return {
        "total": sight.numbers["waiting"],
        "goal": objective(),
        "rows": [_waits(item, sight.now) for item in found],
    }


def _waits(item: Request, now: dt.datetime) -> Cell:
    age = against(clock.seconds(item, now))
    what = item.version.asset.name if item.version else item.get_kind_display()
    parts = (what, item.environment, item.project.slug if item.project else "catalog", item.requester.username)
    return {
        "label": item.number,
        "url": reverse("approval_detail", args=[item.pk]),
        "name": item.name,
        "context": " · ".join(part for part in parts if part),
        "age": age["text"],
        "rest": age["rest"],
        "late": age["late"],
        "percent": age["percent"],
        "tone": age["tone"],
        "bar": age["label"],
        "per_month": per_month(item.plan),
    }


def broken(sight: Sight) -> Cell:
    """Return the endpoints that are not as they should be, with whose turn it is (one query)."""
    related = ("project", "cluster", "revision__version__asset", "revision__profile")
    found = sight.endpoints().filter(phase__in=BROKEN, desired="running").select_related(*related)
    return {
        "total": sight.numbers["endpoints"],
        "failed": sight.numbers["failed"],
        "rows": [_broken(row, sight) for row in found.order_by("-phase", "phase_since", "pk")[: sight.most]],
    }


def _broken(row: Endpoint, sight: Sight) -> Cell:
    return {
        "name": f"{row.project.slug}/{row.name}",
        "url": reverse("endpoint_detail", args=[row.pk]),
        "chip": cells.phase_chip(row),
        "sentence": row.reason_sentence,
        "since": row.phase_since,
        **cells.turn(row, sight.principal),
    }


def pools(sight: Sight) -> Cell:
    """Return each pool with how much is held, and what could be given back (at most five queries)."""
    found = list(visible(sight.principal, Pool.objects.all())[:POOLS])
    could = idle.find(sight.principal, sight.project) if found else []
    back: dict[int, int] = {}
    for one in could:
        back[one.reservation.pool_id] = back.get(one.reservation.pool_id, 0) + one.reservation.amount
    return {
        "rows": [
            {
                "name": pool.name or pool.slug,
                "held": pool.held,
                "limit": pool.limit,
                "free": max(0, min(pool.limit, pool.observed) - pool.held),
                "percent": pool.held * 100 / max(1, pool.limit),
                "short": pool.observed < pool.held,
                "back": back.get(pool.pk, 0),
            }
            for pool in found
        ],
        "idle": [
            {
                "name": f"{one.endpoint.project.slug}/{one.endpoint.name}",
                "sentence": one.sentence,
                "amount": one.reservation.amount,
                "asked": one.suggested_at,
            }
            for one in could[:3]
        ],
        "url": f"{reverse('capacity')}#give-back",
    }
