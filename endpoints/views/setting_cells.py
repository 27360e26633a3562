"""The cells of the settings of an endpoint."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from endpoints import effects, numbers
from endpoints.cells import Cell, request_url
from endpoints.expiry import HOLDER, REMINDERS
from endpoints.facts import counted
from endpoints.models import Endpoint, Share
from endpoints.views.head import allowed, ask_url
from portal.errors import GatehouseError
from projects.models import Membership, Role
from projects.permissions import PLATFORM
from projects.principal import Principal

USAGE_DAYS = 30
MOST_MEMBERS, MOST_SHARES = 500, 50


def settings_context(
    reader: Principal, row: Endpoint, typed: Mapping[str, str], error: GatehouseError | None
) -> dict[str, Any]:
    """Return the context of the page (four queries); `typed` is what a refused form held, and `error` why."""
    may, wrong = allowed(reader, row), error.fields if error else {}
    errors = error.errors or [{"field": "", "message": error.sentence}] if error else []
    return {
        "errors": errors,
        "replicas": _replicas(row, may, typed, wrong),
        "ending": _ending(row, may),
        "contact": _contact(row, typed, wrong) if may["transfer"] else None,
        "share_fields": _share_fields(typed, wrong) if may["share"] and row.shareable else [],
        "shares": _shares(reader, row, may),
        "resume": effects.resuming(row) if may["resume"] else "",
    }


def _replicas(row: Endpoint, may: Mapping[str, bool], typed: Mapping[str, str], wrong: Mapping[str, str]) -> Cell:
    revision = row.revision
    if revision is None:
        return {}
    most, now = revision.replicas, row.wanted_replicas
    per = revision.profile.accelerator_count
    field = {
        "name": "replicas", "label": f"Replicas, 1 to {most}", "kind": "number", "value": typed.get("replicas", now),
        "required": True, "error": wrong.get("replicas", ""), "attrs": {"min": 1, "max": most},
        "help": f"{most} {'was' if most == 1 else 'were'} approved.",
    }  # fmt: skip
    return {
        "now": now,
        "most": most,
        "per": counted(per, "accelerator") if per else "",
        "field": field if may["scale"] and most > 1 and not row.rolling_out else None,
        "rolling": row.rolling_out,
        "ask_url": ask_url("revision", row, replicas=most + 1) if may["ask"] else "",
    }


def _ending(row: Endpoint, may: Mapping[str, bool]) -> Cell:
    """Return the last day, its reminders, and what was used in the last 30 days."""
    calls, latest = numbers.last_days(row, USAGE_DAYS)
    found: Cell = {
        "calls": calls,
        "tokens": calls.input_tokens + calls.output_tokens,
        "latest": latest,
        "days": USAGE_DAYS,
        "renew_url": ask_url("renewal", row) if may["ask"] and row.ends_on else "",
        "day": row.ends_on,
        "expired": row.hold_by == HOLDER,
        "grace": counted(settings.EXPIRY_GRACE_DAYS, "day"),
        "reminders": [],
    }
    if row.ends_on is not None:
        found["reminders"] = [_reminder(row, row.ends_on, days) for days in sorted(REMINDERS, reverse=True)]
        if row.hold_by == HOLDER and row.hold_since:
            found["deleted_on"] = (row.hold_since + dt.timedelta(days=settings.EXPIRY_GRACE_DAYS)).date()
    return found


def _reminder(row: Endpoint, ends_on: dt.date, days: int) -> Cell:
    """Whoever sets an end date is told by that of the reminders that lie behind."""
    done = row.reminded_days is not None and row.reminded_days <= days
    on = ends_on - dt.timedelta(days=days)
    return {"words": f"{counted(days, 'day')} before", "on": on, "done": done or on < timezone.now().date()}


def _contact(row: Endpoint, typed: Mapping[str, str], wrong: Mapping[str, str]) -> Cell:
    members = Membership.objects.filter(project=row.project, user__is_active=True, user__is_service=False)
    names = list(members.order_by("user__username").values_list("user__username", "role")[:MOST_MEMBERS])
    now = row.contact.username if row.contact else ""
    choices = [(name, f"{name}, {role}", name == now) for name, role in names]
    return {
        "name": "contact", "label": "New contact", "kind": "select", "value": typed.get("contact", ""),
        "required": True, "error": wrong.get("contact", ""),
        "choices": [("", "Choose a member", True), *choices] if not typed.get("contact") else choices,
        "help": "An active member of the project. Both of you are told.",
    }  # fmt: skip


def _share_fields(typed: Mapping[str, str], wrong: Mapping[str, str]) -> list[Cell]:
    return [
        {
            "name": "project", "label": "Project", "kind": "text", "value": typed.get("project", ""), "required": True,
            "error": wrong.get("project", ""), "help": "Its short name, as its members tell you.",
            "attrs": {"maxlength": 40, "autocomplete": "off"},
        },
        {
            "name": "ends_on", "label": "Last day", "kind": "date", "value": typed.get("ends_on", ""),
            "error": wrong.get("ends_on", ""), "help": "Empty: until you end it.",
            "attrs": {"min": timezone.now().date().isoformat()},
        },
        {
            "name": "reason", "label": "Reason", "kind": "text", "value": typed.get("reason", ""),
            "error": wrong.get("reason", ""), "help": "They read it, and it stays in the audit log.",
            "attrs": {"maxlength": 500},
        },
    ]  # fmt: skip


def _shares(reader: Principal, row: Endpoint, may: Mapping[str, bool]) -> list[Cell]:
    """Return living shares first, then those that have ended, newest first."""
    rows = list(row.shares.select_related("project", "granted_by").order_by("-id")[:MOST_SHARES])
    today = timezone.now().date()
    # Who asks for access belongs to the other project: besides its members only owners here and the platform read it.
    reads = reader.role_in(row.project_id) == Role.OWNER or bool(PLATFORM & set(reader.groups))
    made = [_share(one, today, may, reads=reads) for one in rows]
    return sorted(made, key=lambda one: not one["living"])


def _share(share: Share, today: dt.date, may: Mapping[str, bool], *, reads: bool) -> Cell:
    living = share.ended_at is None and (share.ends_on is None or share.ends_on >= today)
    reference = share.authorization_reference
    url = request_url(reference) if reads else ""
    label, colour, icon = ("Holds", "green", "ok") if living else ("Ended", "grey", "expired")
    return {
        "project": share.project.slug,
        "by": share.granted_by.username if share.granted_by else "–",
        "since": share.created_at,
        "ends_on": share.ends_on,
        "ended": share.ended_at,
        "reason": share.reason,
        "reference": reference if request_url(reference) else "given by an owner",
        "reference_url": url,
        "living": living,
        "chip": {"label": label, "colour": colour, "icon": icon, "kind": "filled"},
        "end_url": reverse("endpoint_unshare", args=[share.endpoint_id, share.pk]) if living and may["share"] else "",
    }
