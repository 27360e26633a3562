"""One open row of the queue: purpose, plan, rules, evidence, similar decisions, and what a decision would do."""

import datetime as dt
from typing import Any

from django.db.models import Case, Q, When
from django.urls import reverse
from django.utils import timezone

from approvals import policies, services
from approvals.models import Choice, Comment, Decision, Request, RequestKind, RequestState
from approvals.views import cells
from approvals.views.requests import DECIDED
from catalog import cells as catalog_cells
from portal.errors import GatehouseError
from projects.permissions import visible
from projects.principal import PortalRequest
from quotas.models import Pool

SIMILAR, SIMILAR_DAYS, MOST_EARLIER = 3, 90, 20
OUTCOMES = {
    Choice.APPROVE: RequestState.APPROVED,
    Choice.REJECT: RequestState.REJECTED,
    Choice.REQUEST_CHANGES: RequestState.CHANGES_REQUESTED,
}


def opened_cells(request: PortalRequest, item: Request, refused: GatehouseError | None, reason: str) -> dict[str, Any]:
    """Return what a reviewer needs to decide in place (four queries). `refused`: why the last try was."""
    body, version = item.body, item.version
    fresh = refused.extra.get("plan") if refused is not None else None
    shown = fresh if isinstance(fresh, dict) and fresh.get("cost") else item.plan
    earlier, similar = _decisions(request, item)
    own = policies.is_own(request.principal.person, item.requester_id)
    return {
        "item": item,
        "purpose": body.get("purpose", ""),
        "context": ", ".join(
            (item.requester.username, f"{body['data_classification']} data", f"until {cells.iso_day(body['ends_on'])}")
        ),
        "plan": cells.plan_cells(shown, ends_on=body["ends_on"], profile=item.profile, digest=item.plan_digest),
        "is_fresh": shown is not item.plan,
        "pool": _pool_now(item),
        "trust": catalog_cells.trust(version) if version else [],
        "version_label": cells.what(item),
        "version_url": catalog_cells.detail_url(version.asset, version, "evidence") if version else "",
        "similar": similar,
        "earlier": [
            {"who": row.reviewer.username, "words": DECIDED[Choice(row.decision)], "reason": row.reason}
            for row in earlier
        ],
        "comments": list(Comment.objects.filter(request=item).select_related("author")),
        "own": own,
        "request_url": reverse("request_detail", args=[item.pk]),
        "reason": {
            "name": "reason",
            "label": "Reason, kept in the record",
            "kind": "text",
            "value": reason,
            "error": refused.fields.get("reason", "") if refused else "",
            "attrs": {
                "maxlength": services.MAX_REASON,
                "autocomplete": "off",
                "data-focus": refused is not None and "reason" in refused.fields,
                "placeholder": "Needed to reject or to ask for changes",
            },
        },
        "approve_url": reverse("approval_approve", args=[item.pk]),
        "reject_url": reverse("approval_reject", args=[item.pk]),
        "changes_url": reverse("approval_request_changes", args=[item.pk]),
        "consequence": _consequence(item),
    }


def _pool_now(item: Request) -> dict[str, Any] | None:
    """Return the pool as it is now: the frozen plan tells how it was (one query)."""
    room = item.plan.get("room", {})
    pool = Pool.objects.filter(slug=room["pool"]).first() if room.get("pool") else None
    if pool is None:
        return None
    free = max(0, min(pool.limit, pool.observed) - pool.held)
    enough = free >= room["needed"]
    words = f"{room['needed']} of {free} free" if enough else f"waits: {free} free, {room['needed']} needed"
    return {"name": pool.name, "held": f"{pool.held} of {pool.limit} held now", "words": words, "enough": enough}


def _decisions(request: PortalRequest, item: Request) -> tuple[list[Decision], list[dict[str, Any]]]:
    """Return earlier decisions on this request, and the newest ones about the same asset (one query)."""
    alike = Q(at__gte=timezone.now() - dt.timedelta(days=SIMILAR_DAYS), request__kind=RequestKind.ENDPOINT)
    alike &= Q(request__version__asset=item.version.asset_id if item.version else None)
    own = Case(When(request=item, then=0), default=1)
    found = visible(request.principal, Decision.objects.all()).filter(Q(request=item) | alike)
    rows = list(
        found.select_related("request", "reviewer").annotate(own=own).order_by("own", "-id")[: MOST_EARLIER + SIMILAR]
    )
    earlier = [row for row in rows if row.request_id == item.pk]
    return earlier[::-1], [_similar(row) for row in rows if row.request_id != item.pk][:SIMILAR]


def _similar(row: Decision) -> dict[str, Any]:
    return {
        "number": row.request.number,
        "url": reverse("request_detail", args=[row.request_id]),
        "name": f"{row.request.name} · {row.request.environment}",
        "words": f"“{row.reason}” – {row.reviewer.username}" if row.reason else f"by {row.reviewer.username}",
        "chip": cells.state_chip(OUTCOMES[Choice(row.decision)]),
    }


def _consequence(item: Request) -> str:
    gpus = item.plan.get("gpus", {}).get("total", 0)
    what = f"Approving reserves {gpus} GPU{'s' if gpus != 1 else ''}, or queues for them, and" if gpus else "Approving"
    return f"{what} starts provisioning at once. You are the only reviewer needed."
