"""One open row of the queue: purpose, plan, rules, evidence, similar decisions, and what a decision would do."""

import datetime as dt
from typing import Any

from django.db.models import Case, Q, When
from django.urls import reverse
from django.utils import timezone

from approvals import builtin, services
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
    shown = fresh if isinstance(fresh, dict) and fresh.get("checks") else item.plan
    earlier, similar = _decisions(request, item)
    own = builtin.is_own(request.principal.person, item.requester_id)
    return {
        "item": item,
        "purpose": body.get("purpose", ""),
        "context": _context(item),
        "plan": cells.plan_cells(shown, ends_on=_ends_on(item), profile=item.profile, digest=item.plan_digest),
        "is_fresh": shown is not item.plan,
        "pool": _pool_now(item),
        "trust": catalog_cells.trust(version) if version else [],
        "reports": _reports(item),
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


def _reports(item: Request) -> list[dict[str, str]]:
    """Return the raw reports of what is to be let in."""
    version = item.version
    if item.kind != RequestKind.ADMISSION or version is None:
        return []
    address = [version.asset.slug, version.version]
    return [
        {"title": one["title"], "url": reverse("catalog_report", args=[*address, one["kind"]])}
        for one in item.plan.get("evidence", [])
        if one["digest"]
    ]


def _pool_now(item: Request) -> dict[str, Any] | None:
    """Return the pool as it is now: the frozen plan tells how it was (one query)."""
    room = item.plan.get("room", {})
    pool = Pool.objects.filter(slug=room["pool"]).first() if room.get("pool") else None
    if pool is None:
        return None
    free = max(0, min(pool.limit, pool.observed) - pool.held)
    own, needed = room.get("own", 0), room["needed"]
    enough = free + own >= needed
    if free >= needed:
        words = f"{needed} of {free} free"
    elif enough:
        words = f"{free} free and {own} of its own: old engines end first"
    else:
        words = f"waits: {free} free, {needed} needed"
    return {"name": pool.name, "held": f"{pool.held} of {pool.limit} held now", "words": words, "enough": enough}


def _decisions(request: PortalRequest, item: Request) -> tuple[list[Decision], list[dict[str, Any]]]:
    """Return earlier decisions on this request, and the newest ones about the same asset (one query)."""
    alike = Q(at__gte=timezone.now() - dt.timedelta(days=SIMILAR_DAYS), request__kind=item.kind)
    alike &= Q(request__version__asset=item.version.asset_id) if item.version else Q(request__project=item.project_id)
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
        "name": " · ".join(part for part in (row.request.name, row.request.environment) if part),
        "words": f"“{row.reason}” – {row.reviewer.username}" if row.reason else f"by {row.reviewer.username}",
        "chip": cells.state_chip(OUTCOMES[Choice(row.decision)]),
    }


def _ends_on(item: Request) -> str | None:
    """Return the end date that the cost of a plan is calculated to: the asked one, or the endpoint's own."""
    asked: str | None = item.body.get("ends_on") or item.plan.get("endpoint", {}).get("ends_on")
    return asked


def _context(item: Request) -> str:
    body = item.body
    asker = item.requester.username
    if item.kind == RequestKind.ACCESS and item.project is not None:
        asker = f"{asker} for {item.project.slug}"
    data = f"{body['data_classification']} data" if body.get("data_classification") else ""
    until = f"until {cells.iso_day(body['ends_on'])}" if body.get("ends_on") else ""
    return ", ".join(part for part in (asker, data, until) if part)


def _consequence(item: Request) -> str:
    """Return what approving does, before it happens."""
    until = f" until {cells.iso_day(item.body['ends_on'])}" if item.body.get("ends_on") else ""
    words = {
        RequestKind.REVISION: "Approving rolls the revision out at once.",
        RequestKind.RENEWAL: f"Approving lets {item.name} run{until}.",
        RequestKind.ACCESS: f"Approving lets {item.project} call {item.name}{until} with keys of its own.",
        RequestKind.MCP_ACCESS: f"Approving lets {item.project} use {cells.what(item)}{until}.",
        RequestKind.QUOTA: f"Approving raises the quota at once{until}.",
        RequestKind.ADMISSION: f"Approving lets {cells.what(item)} into the catalog, for everyone it is for.",
    }.get(RequestKind(item.kind))
    if words:
        return f"{words} You are the only reviewer needed."
    gpus = item.plan.get("gpus", {}).get("total", 0)
    what = f"Approving reserves {gpus} GPU{'s' if gpus != 1 else ''}, or queues for them, and" if gpus else "Approving"
    return f"{what} starts provisioning at once. You are the only reviewer needed."
