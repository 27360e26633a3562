"""REST API of notifications and webhooks."""

from typing import Literal
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Router
from pydantic import Field, model_validator

from portal.errors import Invalid
from portal.http import cursor_page, require_match
from projects.api import Bearer, Body, answer, idempotent, project_or_404, scope
from projects.models import Delivery, DeliveryState, Notification, Webhook
from projects.notify import reading, services, webhooks
from projects.notify.views import own
from projects.permissions import require, visible
from projects.principal import PortalRequest

router = Router(tags=["notifications"])
MAX_IDS = 1000


class ReadIn(Body):
    """Which notifications are read: some by id, or all."""

    ids: list[int] | None = Field(None, max_length=MAX_IDS)
    all: bool = False

    @model_validator(mode="after")
    def one_of_them(self) -> "ReadIn":
        """Exactly one of both, since an empty body must not read everything by mistake."""
        if (self.ids is None) == (not self.all):
            raise ValueError('send either "ids" or "all": true')
        return self


class WebhookIn(Body):
    """A new webhook; without a project it hears of the whole platform."""

    project: str | None = Field(None, max_length=40)
    name: str = Field(max_length=400)
    url: str = Field(max_length=2000)
    kinds: list[str] = Field(default_factory=list, max_length=100)
    enabled: bool = True
    format: str = Field("standard", max_length=40, description="standard, slack or teams")


class WebhookPatch(Body):
    """Fields of a webhook that may change."""

    name: str | None = Field(None, max_length=400)
    url: str | None = Field(None, max_length=2000)
    kinds: list[str] | None = Field(None, max_length=100)
    enabled: bool | None = None
    format: str | None = Field(None, max_length=40)


class ReplayIn(Body):
    """Which deliveries are queued again; without ids all that were given up."""

    ids: list[UUID] | None = Field(None, max_length=MAX_IDS)


def notification_json(row: Notification) -> dict[str, object]:
    """Return a notification as the API shows it."""
    return {
        "id": row.pk,
        "kind": row.kind,
        "title": row.title,
        "text": row.text,
        "url": row.url,
        "project": row.project.slug if row.project else None,
        "about": {"kind": row.about_kind, "id": row.about_id},
        "created_at": row.created_at,
        "read_at": row.read_at,
    }


def webhook_json(hook: Webhook) -> dict[str, object]:
    """Return a webhook as the API shows it: never with its secret."""
    return {
        "id": hook.pk,
        "project": hook.project.slug if hook.project else None,
        "name": hook.name,
        "url": hook.url,
        "kinds": hook.kinds,
        "enabled": hook.enabled,
        "format": hook.format,
        "created_by": hook.created_by.username if hook.created_by else None,
        "created_at": hook.created_at,
    }


def delivery_json(row: Delivery) -> dict[str, object]:
    """Return a delivery as the API shows it, with what is sent."""
    return {
        "id": row.pk,
        "kind": row.kind,
        "state": row.state,
        "attempts": row.attempts,
        "due_at": row.due_at if row.state == DeliveryState.WAITING else None,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "created_at": row.created_at,
        "sent_at": row.sent_at,
        "payload": row.payload,
    }


@router.get("/notifications", auth=Bearer())
def list_notifications(
    request: PortalRequest, unread: bool = False, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """What the caller was told, newest first."""
    rows = own(request.principal).select_related("project")
    if unread:
        rows = rows.filter(read_at=None)
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-id",))
    return answer(request, {"items": [notification_json(row) for row in found], "next": following})


@router.post("/notifications/read", auth=Bearer())
@idempotent
def read_notifications(request: PortalRequest, body: ReadIn) -> HttpResponse:
    """Mark the caller's notifications as read, some or all."""
    ids = body.ids
    if ids is not None and any(not 0 < pk < 2**63 for pk in ids):
        raise Invalid.field("ids", "ids must hold numbers of notifications.")
    if request.principal.project_id is not None:  # a credential of one project reads of that one only
        rows = own(request.principal) if ids is None else own(request.principal).filter(pk__in=ids)
        ids = list(rows.filter(read_at=None).values_list("pk", flat=True)[:MAX_IDS])
    return answer(request, {"read": services.mark_read(request.principal.person, ids)})


@router.get("/webhooks", auth=scope("admin"))
def list_webhooks(
    request: PortalRequest, project: str = "", limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The webhooks that the caller may see, of one project or all."""
    rows = visible(request.principal, Webhook.objects.select_related("project", "created_by"))
    if project:
        rows = rows.filter(project=project_or_404(request.principal, project))
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("name", "id"))
    return answer(request, {"items": [webhook_json(row) for row in found], "next": following})


@router.post("/webhooks", auth=scope("admin"))
@idempotent
def create_webhook(request: PortalRequest, body: WebhookIn) -> HttpResponse:
    """Create a webhook of a project, or of the platform; its secret is in this answer and never again."""
    project = project_or_404(request.principal, body.project) if body.project is not None else None
    hook, secret = webhooks.create(request.principal, project=project, **body.model_dump(exclude={"project"}))
    return answer(request, webhook_json(hook) | {"secret": secret}, status=201, secret=True)


@router.get("/webhooks/{webhook_id}", auth=scope("admin"))
def get_webhook(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """One webhook."""
    return answer(request, webhook_json(reading.webhook_or_404(request.principal, webhook_id)))


@router.patch("/webhooks/{webhook_id}", auth=scope("admin"))
def change_webhook(request: PortalRequest, webhook_id: UUID, body: WebhookPatch) -> HttpResponse:
    """Change a webhook, or switch it on and off; needs If-Match."""
    with transaction.atomic():
        hook = reading.webhook_or_404(request.principal, webhook_id)
        require(request.principal, "change", hook)
        Webhook.objects.select_for_update().get(pk=hook.pk)
        require_match(request, webhook_json(reading.webhook_or_404(request.principal, webhook_id)))
        webhooks.change(request.principal, hook, **body.model_dump())
    return answer(request, webhook_json(reading.webhook_or_404(request.principal, webhook_id)))


@router.delete("/webhooks/{webhook_id}", auth=scope("admin"))
def delete_webhook(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """Delete a webhook with its deliveries."""
    webhooks.delete(request.principal, reading.webhook_or_404(request.principal, webhook_id))
    return HttpResponse(status=204)


@router.post("/webhooks/{webhook_id}/test", auth=scope("admin"))
@idempotent
def test_webhook(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """Queue a call of the kind webhook.test; its delivery tells how it went."""
    row = webhooks.test(request.principal, reading.webhook_or_404(request.principal, webhook_id))
    return answer(request, delivery_json(row), status=202)


@router.post("/webhooks/{webhook_id}/rotate", auth=scope("admin"))
@idempotent
def rotate_webhook(request: PortalRequest, webhook_id: UUID) -> HttpResponse:
    """Give a webhook a new secret, in this answer and never again; the old one signs too for 24 hours."""
    hook = reading.webhook_or_404(request.principal, webhook_id)
    secret = webhooks.rotate(request.principal, hook)
    return answer(request, webhook_json(hook) | {"secret": secret}, secret=True)


@router.get("/webhooks/{webhook_id}/deliveries", auth=scope("admin"))
def list_deliveries(
    request: PortalRequest,
    webhook_id: UUID,
    state: Literal["", "waiting", "sent", "dead"] = "",
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """The deliveries of a webhook, newest first."""
    rows = Delivery.objects.filter(webhook=reading.webhook_or_404(request.principal, webhook_id))
    if state:
        rows = rows.filter(state=state)
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-created_at", "id"))
    return answer(request, {"items": [delivery_json(row) for row in found], "next": following})


@router.post("/webhooks/{webhook_id}/replay", auth=scope("admin"))
@idempotent
def replay_webhook(request: PortalRequest, webhook_id: UUID, body: ReplayIn) -> HttpResponse:
    """Queue deliveries again: those of `ids`, or all that were given up. They keep their ids."""
    hook = reading.webhook_or_404(request.principal, webhook_id)
    return answer(request, {"queued": webhooks.replay(request.principal, hook, body.ids)}, status=202)
