"""Finding webhooks and their deliveries, for pages and the API alike."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Q, QuerySet

from portal.errors import Forbidden, NotFound
from projects.models import Delivery, DeliveryState, Project, Webhook
from projects.notify.kinds import KINDS
from projects.permissions import can, forbidden_sentence, require, visible
from projects.principal import Principal

STATES: Mapping[str, tuple[str, str, str]] = {  # state → label, colour, icon
    DeliveryState.WAITING: ("Waiting", "blue", "pending"),
    DeliveryState.SENT: ("Sent", "green", "ok"),
    DeliveryState.DEAD: ("Given up", "red", "err"),
}


def webhook_or_404(by: Principal, webhook_id: UUID) -> Webhook:
    """Return the webhook; raises NotFound when there is none or `by` may not see it."""
    rows = visible(by, Webhook.objects.select_related("project", "created_by")).filter(pk=webhook_id)
    found: Webhook | None = rows.first()
    if found is None:
        raise NotFound("There is no such webhook, or you may not see it.")
    return found


def webhooks_of(by: Principal, project: Project | None) -> QuerySet[Webhook]:
    """Return the webhooks of `project`, or of the platform; raises Forbidden for who may not see them."""
    if project is not None:
        require(by, "view", project, model=Webhook)
    elif not can(by, "view", Webhook()):
        raise Forbidden(forbidden_sentence("view", Webhook))
    return Webhook.objects.filter(project=project).select_related("project", "created_by")


def counted(rows: QuerySet[Webhook]) -> QuerySet[Any]:
    """Return `rows` with how many deliveries wait, how many were given up, and when one came through last."""
    return rows.annotate(
        waiting=Count("deliveries", filter=Q(deliveries__state=DeliveryState.WAITING)),
        dead=Count("deliveries", filter=Q(deliveries__state=DeliveryState.DEAD)),
        last_sent=Max("deliveries__sent_at"),
    )


def chip(state: str) -> dict[str, str]:
    """Return the chip of a delivery's state."""
    label, colour, icon = STATES[state]
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled"}


def line(row: Delivery) -> dict[str, Any]:
    """Return one delivery for the cells of a list and for its CSV."""
    return {
        "id": row.pk,
        "kind": row.kind,
        "label": KINDS[row.kind].label if row.kind in KINDS else row.kind,
        "chip": chip(row.state),
        "state": row.state,
        "attempts": row.attempts,
        "status": row.last_status,
        "error": row.last_error,
        "at": row.created_at,
        "sent_at": row.sent_at,
        "due_at": row.due_at if row.state == DeliveryState.WAITING else None,
        "again": row.state != DeliveryState.WAITING,
    }
