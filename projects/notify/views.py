"""Pages of the person: what was told, and how the portal should tell it."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.errors import Invalid, NotFound
from portal.http import page
from portal.listing import Column, Filter, Listing, csv_response, find, read
from projects import zones
from projects.models import Delivery, DeliveryState, MailMode, Notification, Preference, Webhook
from projects.notify import preferences, services
from projects.notify.kinds import KINDS
from projects.permissions import can
from projects.principal import PortalRequest, Principal

NAMES = {"mail": "Mail", "digest_hour": "Hour of the digest", "zone": "Time zone", "muted": "What comes by mail"}
LABELS = {kind: one.label for kind, one in KINDS.items()}


def _search(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(Q(title__icontains=value) | Q(text__icontains=value))


LIST = Listing(
    route="notification_list",
    nouns=("notification", "notifications"),
    columns=(
        Column("what", "What", csv={"title": "title", "text": "text", "read": "read", "url": "url"}, fixed=True),
        Column("kind", "Kind", csv={"kind": "kind"}),
        Column("project", "Project", csv={"project": "project"}),
        # Rows are numbered as they are written: the number is the time.
        Column("when", "When", ("id",), {"created_at": "at"}, fixed=True, first="descending"),
    ),
    filters=(
        Filter("q", "Words", _search, kind="search"),
        Filter("unread", "Unread only", lambda rows, value, request: rows.filter(read_at=None), kind="flag"),
        Filter(
            "kind",
            "Kind",
            lambda rows, value, request: rows.filter(kind=value),
            choices=list(LABELS.items()),
            every="Every kind",
        ),
    ),
    sort="-when",
    size=25,
    file="notifications",
)


def own(principal: Principal) -> QuerySet[Notification]:
    """Return the notifications of `principal`; with a credential of one project only those of that project."""
    rows = Notification.objects.filter(person=principal.person)
    return rows.filter(project=principal.project_id) if principal.project_id is not None else rows


def _lines(rows: Sequence[Notification]) -> list[dict[str, Any]]:
    return [
        {
            "id": row.pk,
            "title": row.title,
            "text": row.text,
            "url": row.url,
            "kind": row.kind,
            "label": LABELS.get(row.kind, row.kind),
            "project": row.project.slug if row.project else "",
            "at": row.created_at,
            "read": row.read_at is not None,
        }
        for row in rows
    ]


@require_GET
def notification_list(request: PortalRequest) -> HttpResponseBase:
    """What the person was told, newest first."""
    asked, rows = read(request, LIST), own(request.principal).select_related("project")
    if asked.csv:
        return csv_response(asked, rows, _lines)
    found = find(asked, rows)
    context = {
        "crumbs": [("Home", reverse("home")), ("Notifications", None)],
        "rows": _lines(found.rows),
        "unread": services.unread_count(request.principal.person),
    }
    return found.render("projects/notify/list.html", context)


@require_POST
def notification_read(request: PortalRequest) -> HttpResponse:
    """Mark one notification as read (`id`), or all."""
    text = request.POST.get("id", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid.field("id", "id must be the number of a notification. Leave it away to mark all as read.")
    count = services.mark_read(request.principal.person, [int(text)] if text else None)
    if not text:
        messages.success(request, f"{count} notification{'s'[: count != 1]} marked as read.")
    return redirect("notification_list")


@require_POST
def notification_open(request: PortalRequest, notification_id: int) -> HttpResponse:
    """Mark a notification as read and go to what it is about."""
    row = own(request.principal).filter(pk=notification_id).first() if notification_id < 2**63 else None
    if row is None:
        raise NotFound("There is no such notification.")
    services.mark_read(request.principal.person, [row.pk])
    return redirect(row.url or "notification_list")


@require_http_methods(["GET", "POST"])
def preference_page(request: PortalRequest) -> HttpResponse:
    """How the portal speaks to the person; POST changes it."""
    who = request.principal
    row, errors, status = preferences.of(who.person), [], 200
    typed = {"mail": row.mail, "digest_hour": str(row.digest_hour), "zone": who.person.zone, "muted": row.muted}
    if request.method == "POST":
        typed = {name: request.POST.get(name, "") for name in ("mail", "digest_hour", "zone")}
        typed["muted"] = [kind for kind in KINDS if kind not in request.POST.getlist("heard")]
        try:
            preferences.change(
                who,
                mail=typed["mail"],
                digest_hour=_hour(typed["digest_hour"]),
                muted=typed["muted"],
                zone=typed["zone"],
            )
        except Invalid as error:
            errors = [one | {"label": NAMES.get(one["field"], one["field"])} for one in error.errors]
            status = error.status
        else:
            messages.success(request, "Your preferences are saved.")
            return redirect("preferences")
    context = {
        "crumbs": [("Home", reverse("home")), ("Preferences", None)],
        "errors": errors,
        "fields": _fields(typed, {error["field"]: error["message"] for error in errors}),
        "kinds": [
            {"kind": kind, "label": one.label, "sentence": one.sentence, "heard": kind not in typed["muted"]}
            for kind, one in KINDS.items()
        ],
        "mail_note": _mail_note(who, row),
        "failed": _failed(who),
        "platform_webhooks": can(who, "view", Webhook()),
    }
    return page(request, "projects/notify/preferences.html", context, status=status)


def _hour(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        raise Invalid.field("digest_hour", "digest_hour must be a whole number between 0 and 23.")
    return int(text)


def _mail_note(who: Principal, row: Preference) -> str:
    if not settings.MAIL_ON:
        return "This portal sends no mail: whoever runs it has named no mail server (GATEHOUSE_SMTP_URL)."
    if not who.person.email:
        return "You have no mail address here, so nothing is sent. Whoever runs the portal can add it."
    return "" if row.mail != MailMode.NEVER else "You have switched mail off. Everything still stands in the portal."


def _failed(who: Principal) -> str:
    """Say whether mail to the person was given up, and why."""
    dead = Delivery.objects.filter(notification__person=who.person, state=DeliveryState.DEAD).order_by("-created_at")
    last = dead.values_list("last_error", flat=True).first()
    return f"A mail to {who.person.email} was given up: {last}" if last else ""


def _fields(typed: dict[str, Any], wrong: dict[str, str]) -> list[dict[str, Any]]:
    hours = [(str(hour), f"{hour:02d}:00", False) for hour in range(24)]
    places = [(name, name.replace("_", " "), False) for name in zones.names()]
    return [
        {
            "name": "mail",
            "label": "Mail",
            "kind": "select",
            "choices": [(value, label.capitalize(), False) for value, label in MailMode.choices],
            "value": typed["mail"],
            "error": wrong.get("mail", ""),
        },
        {
            "name": "digest_hour",
            "label": "Hour of the digest",
            "kind": "select",
            "choices": hours,
            "value": typed["digest_hour"],
            "help": "In your time zone; only for one digest a day.",
            "error": wrong.get("digest_hour", ""),
        },
        {
            "name": "zone",
            "label": "Time zone",
            "kind": "select",
            "choices": places,
            "value": typed["zone"],
            "help": "All times on pages and in mails.",
            "error": wrong.get("zone", ""),
        },
    ]
