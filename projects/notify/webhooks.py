"""Webhooks: addresses outside that are told. Created and changed here; called by `calls`."""

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from audit.services import record, system
from portal import crypto, outbound
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text
from portal.states import move
from projects.models import Delivery, DeliveryState, Project, Webhook, WebhookFormat
from projects.notify import signing
from projects.notify.audience import owners, platform_engineers
from projects.notify.kinds import DISABLED, KINDS, TEST
from projects.notify.nudge import nudge
from projects.notify.services import WEBHOOK, payload, tell
from projects.permissions import can, forbidden_sentence, require
from projects.principal import Principal

LIMIT = 20  # webhooks of a project, or of the platform
REPLAY_LIMIT = 1000  # deliveries in one go


def may_create(by: Principal, project: Project | None) -> bool:
    """Whether `by` may create a webhook of `project`, or of the whole platform."""
    return can(by, "create", project, model=Webhook) if project else can(by, "create", Webhook())


def create(
    by: Principal,
    *,
    project: Project | None,
    name: str,
    url: str,
    kinds: Iterable[str] = (),
    enabled: bool = True,
    format: str = WebhookFormat.STANDARD,
) -> tuple[Webhook, str]:
    """Create a webhook of `project`, or of the platform, and return it with its secret, which is shown once.

    `kinds` empty means all. Raises Forbidden or NotFound, Invalid naming the field, and Conflict for a name that is
    taken or above LIMIT.
    """
    if project is not None:
        require(by, "create", project, model=Webhook)
    elif not may_create(by, None):
        raise Forbidden(forbidden_sentence("create", Webhook))
    fields = {"name": _name(name), "url": _url(url), "kinds": clean_kinds(kinds), "enabled": enabled} | {
        "format": _format(format)
    }
    secret = signing.new_secret()
    with transaction.atomic():
        if project is not None:
            Project.objects.select_for_update().get(pk=project.pk)  # two creators at once count one after the other
        if Webhook.objects.filter(project=project).count() >= LIMIT:
            where = f"{project.slug} has" if project else "The platform has"
            raise Conflict(f"{where} {LIMIT} webhooks, which is the limit. Delete one first.", code="too_many")
        _free_name(project, str(fields["name"]))
        hook = Webhook.objects.create(project=project, created_by=by.person, signing=signing.keep(secret), **fields)
        record("webhooks.create", by=by, obj=hook, project=_slug(hook), after=_facts(hook))
    return hook, secret


def change(
    by: Principal,
    hook: Webhook,
    *,
    name: str | None = None,
    url: str | None = None,
    kinds: Iterable[str] | None = None,
    enabled: bool | None = None,
    format: str | None = None,
) -> Webhook:
    """Change a webhook; None leaves a field as it is. Switched off, it hears of nothing new and what waits stays.

    Raises Forbidden or NotFound, Invalid naming the field, and Conflict for a name that is taken.
    """
    require(by, "change", hook)
    with transaction.atomic():
        hook = Webhook.objects.select_for_update(of=("self",)).select_related("project").get(pk=hook.pk)
        before = _facts(hook)
        if name is not None and _name(name) != hook.name:
            _free_name(hook.project, _name(name))
            hook.name = _name(name)
        if url is not None:
            hook.url = _url(url)
        if kinds is not None:
            hook.kinds = clean_kinds(kinds)
        if enabled is not None:
            hook.enabled = enabled
        if format is not None:
            hook.format = _format(format)
        after = _facts(hook)
        if after != before:
            hook.save(update_fields=["name", "url", "kinds", "enabled", "format"])
            changed = {field for field in after if after[field] != before[field]}
            record(
                "webhooks.change",
                by=by,
                obj=hook,
                project=_slug(hook),
                before={field: before[field] for field in changed},
                after={field: after[field] for field in changed},
            )
            if hook.enabled:
                nudge()
    return hook


def delete(by: Principal, hook: Webhook) -> None:
    """Delete a webhook with its deliveries, those that wait too. Raises Forbidden or NotFound."""
    require(by, "delete", hook)
    with transaction.atomic():
        record("webhooks.delete", by=by, obj=hook, project=_slug(hook), before=_facts(hook))
        hook.delete()


def rotate(by: Principal, hook: Webhook) -> str:
    """Give a webhook a new secret and return it; the old one signs too for 24 hours. Raises Forbidden or NotFound."""
    require(by, "rotate", hook)
    secret, now = signing.new_secret(), timezone.now()
    with transaction.atomic():
        stored = Webhook.objects.select_for_update().get(pk=hook.pk)
        Webhook.objects.filter(pk=hook.pk).update(signing=signing.replace(stored.signing, secret, now))
        record(
            "webhooks.rotate", by=by, obj=hook, project=_slug(hook), after={"old_signs_until": now + signing.OVERLAP}
        )
    return secret


def test(by: Principal, hook: Webhook) -> Delivery:
    """Queue a call that changes nothing at the receiver, and return it. Raises Conflict when the webhook is off."""
    require(by, "test", hook)
    if not Webhook.objects.filter(pk=hook.pk, enabled=True).exists():
        raise Conflict(f"{hook.name} is switched off. Switch it on, then test it.", code="webhook_off")
    now = timezone.now()
    data = {
        "title": f"{by.name} tests the webhook {hook.name}.",
        "text": "",
        "url": "",
        "project": hook.project.slug if hook.project else None,
        "about": {"kind": "webhook", "id": str(hook.pk)},
    }
    with transaction.atomic():
        row = Delivery.objects.create(
            channel=WEBHOOK, webhook=hook, kind=TEST, payload=payload(TEST, data, now), due_at=now
        )
        record("webhooks.test", by=by, obj=hook, project=_slug(hook), after={"delivery": str(row.pk)})
        nudge()
    return row


def replay(by: Principal, hook: Webhook, ids: Sequence[UUID] | None = None) -> int:
    """Queue deliveries again, those of `ids` or all dead ones, oldest first; return how many (≤ REPLAY_LIMIT).

    They keep their ids, by which the receiver knows what it has seen. Raises Forbidden, NotFound and Invalid.
    """
    require(by, "replay", hook)
    if ids is not None and len(ids) > REPLAY_LIMIT:
        raise Invalid.field("ids", f"ids has {len(ids):,} entries; the limit is {REPLAY_LIMIT:,}. Send fewer.")
    rows = Delivery.objects.filter(webhook=hook)
    rows = rows.filter(state=DeliveryState.DEAD) if ids is None else rows.filter(pk__in=ids)
    count = 0
    with transaction.atomic():
        found = list(rows.exclude(state=DeliveryState.WAITING).order_by("created_at")[:REPLAY_LIMIT])
        for state in (DeliveryState.DEAD, DeliveryState.SENT):
            mine = Delivery.objects.filter(pk__in=[row.pk for row in found if row.state == state])
            if move(mine, state, DeliveryState.WAITING, attempts=0, due_at=timezone.now(), sent_at=None):
                count += sum(row.state == state for row in found)
        if count:
            record("webhooks.replay", by=by, obj=hook, project=_slug(hook), after={"deliveries": count})
            nudge()
    return count


def gone(hook: Webhook) -> None:
    """Switch off a webhook whose receiver said that it is gone for good (410), and tell those who own it."""
    people = owners(hook.project) if hook.project else platform_engineers()
    with transaction.atomic():
        if not Webhook.objects.filter(pk=hook.pk, enabled=True).update(enabled=False):
            return
        record(
            "webhooks.disable",
            by=system("notify"),
            obj=hook,
            project=_slug(hook),
            before={"enabled": True},
            after={"enabled": False},
            reason="The receiver answered 410 Gone.",
        )
        tell(
            DISABLED,
            people,
            title=f"The webhook {hook.name} was switched off: its receiver answered that it is gone.",
            text="Change its address and switch it on again, or delete it. What waits is kept.",
            url=reverse("webhook_detail", args=[hook.pk]),
            project=hook.project,
            about=("webhook", str(hook.pk)),
        )


def clean_kinds(kinds: Iterable[str], *, field: str = "kinds") -> list[str]:
    """Return `kinds` sorted, each once; raises Invalid for one that does not exist."""
    wanted = list(kinds)
    unknown = [str(kind)[:40] for kind in wanted if kind not in KINDS]
    if unknown:
        raise Invalid.field(field, f"{field} holds {unknown[0]!r}; choose from {', '.join(KINDS)}.")
    return sorted(set(wanted))


def _format(value: str) -> str:
    if value not in WebhookFormat.values:
        raise Invalid.field("format", f"format is {value[:20]!r}; choose one of {', '.join(WebhookFormat.values)}.")
    return value


def _name(name: str) -> str:
    return clean_text(name, field="name", low=1, high=80)


def _url(url: str) -> str:
    found = clean_text(url, field="url", low=1, high=outbound.MAX_URL)
    try:
        outbound.check(found, purpose="webhook")
    except outbound.OutboundRefused as error:
        raise Invalid.field("url", str(error)) from error
    return found


def _free_name(project: Project | None, name: str) -> None:
    if Webhook.objects.filter(project=project, name=name).exists():
        raise Conflict(f"There is a webhook named {name} already. Choose another name.", code="name_taken")


def _slug(hook: Webhook) -> str:
    return hook.project.slug if hook.project else ""


def _facts(hook: Webhook) -> dict[str, object]:
    """What an audit row may say: an address can hold a secret in its path, so only its host, and a mark of the rest."""
    parts = urlsplit(hook.url)
    mark = crypto.digest(hook.url)[:12]
    return {
        "name": hook.name,
        "address": f"{parts.scheme}://{parts.netloc}/… ({mark})",
        "kinds": list(hook.kinds),
        "enabled": hook.enabled,
        "format": hook.format,
    }
