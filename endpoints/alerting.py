"""Alerts of endpoints, as Alertmanager posts them (webhook, version 4): shown where the endpoint's people look.

It sends the same alert again and again, groups in any order and what was resolved long ago: a row per fingerprint takes
each word once. What names no endpoint that the caller operates is counted and left aside.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.services import record
from endpoints.models import Alert, Endpoint, Phase
from endpoints.timeline import note
from portal.errors import Invalid
from portal.http import canonical
from projects.permissions import visible
from projects.principal import Principal

VERSION = "4"
MOST = 500  # alerts of one call that are read
MOST_FIRING = 100  # of one endpoint; more says nothing new
KEPT_DAYS = 30  # that a resolved one is kept
NAME, SEVERITY, SUMMARY, URL, FINGERPRINT = 120, 20, 500, 500, 64
FIRST_YEAR = 1970


@dataclass(frozen=True)
class Told:
    """One alert of a call, read. `ends_at` None: it fires."""

    fingerprint: str
    name: str
    severity: str
    summary: str
    runbook_url: str
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    place: "Place"


@dataclass(frozen=True)
class Place:
    """The endpoint that labels name: by its id, or by project and name."""

    id: UUID | None = None
    project: str = ""
    name: str = ""


@dataclass
class Counts:
    """What became of the alerts of one call."""

    firing: int = 0
    resolved: int = 0
    unchanged: int = 0  # known already, or older than what is known
    unknown: int = 0  # of no endpoint that the caller operates
    invalid: int = 0  # without labels, or without a time that can be read
    left_out: int = 0  # beyond MOST
    changed: dict[Any, list[str]] = field(default_factory=dict)  # endpoint → words, for the audit log


def receive(by: Principal, payload: Mapping[str, Any]) -> Counts:
    """Take the alerts of one call; the same call twice changes nothing. Raises Invalid for what is no such call."""
    if payload.get("version") != VERSION:
        raise Invalid.field(
            "version", f'version is not "{VERSION}". Send what the webhook_configs of Alertmanager send.'
        )
    alerts = payload.get("alerts")
    if not isinstance(alerts, list):
        raise Invalid.field("alerts", "alerts must be a list. Send what the webhook_configs of Alertmanager send.")
    now, counts = timezone.now(), Counts(left_out=max(0, len(alerts) - MOST))
    found = [told for one in alerts[:MOST] if (told := _read(one, now)) is not None]
    counts.invalid = min(len(alerts), MOST) - len(found)
    known = _endpoints(by, [one.place for one in found])
    with transaction.atomic():
        for one in found:
            endpoint = known.get(one.place)
            if endpoint is None:
                counts.unknown += 1
            else:
                _take(endpoint, one, now, counts)
        for endpoint, words in counts.changed.items():
            record("endpoints.alert", by=by, obj=endpoint, project=endpoint.project.slug, after={"alerts": words})
    return counts


def firing(endpoint: Endpoint) -> list[Alert]:
    """Return the alerts that fire now, the newest first (one query)."""
    return list(endpoint.alerts.filter(ends_at=None)[:MOST_FIRING])


def prune() -> int:
    """Delete what was resolved KEPT_DAYS ago; return how many."""
    return Alert.objects.filter(ends_at__lt=timezone.now() - dt.timedelta(days=KEPT_DAYS)).delete()[0]


def _take(endpoint: Endpoint, told: Told, now: dt.datetime, counts: Counts) -> None:
    """Write down one alert, under the lock of its row."""
    facts = {
        "name": told.name, "severity": told.severity, "summary": told.summary, "runbook_url": told.runbook_url,
        "starts_at": told.starts_at, "ends_at": told.ends_at, "told_at": now,
    }  # fmt: skip
    mine = Alert.objects.filter(endpoint=endpoint, fingerprint=told.fingerprint)
    row, new = mine.select_for_update().first(), False
    if row is None and told.ends_at is None:
        if endpoint.alerts.filter(ends_at=None).count() >= MOST_FIRING:
            counts.left_out += 1
            return
        row, new = Alert.objects.get_or_create(endpoint=endpoint, fingerprint=told.fingerprint, defaults=facts)
    if row is None or (not new and not _is_news(row, told)):
        counts.unchanged += 1
        mine.update(told_at=now)
        return
    if not new:
        Alert.objects.filter(pk=row.pk).update(**facts)
    verb = "resolved" if told.ends_at else "firing"
    setattr(counts, verb, getattr(counts, verb) + 1)
    counts.changed.setdefault(endpoint, []).append(f"{verb}: {told.name}")
    summary = f": {told.summary}" if told.summary and not told.ends_at else ""
    note(endpoint, f"alert_{verb}", f"Alert {told.name} {'is resolved' if told.ends_at else 'fires'}{summary}.")


def _is_news(row: Alert, told: Told) -> bool:
    """Whether `told` changes `row`: a later beginning, or the end of what fires."""
    if told.starts_at != row.starts_at:
        return told.starts_at > row.starts_at and told.ends_at is None
    return row.ends_at is None and told.ends_at is not None


def _endpoints(by: Principal, places: Sequence[Place]) -> dict[Place, Endpoint]:
    """Return the living endpoints among `places` that `by` operates (one query)."""
    wanted = Q(pk__in={place.id for place in places if place.id})
    named = [place for place in places if not place.id]
    if named:
        wanted |= Q(name__in={one.name for one in named}, project__slug__in={one.project for one in named})
    rows = visible(by, Endpoint.objects.exclude(phase=Phase.DELETED), "alert").filter(wanted).select_related("project")
    found: dict[Place, Endpoint] = {}
    for row in rows:
        found[Place(id=row.pk)] = found[Place(project=row.project.slug, name=row.name)] = row
    return found


def _read(one: object, now: dt.datetime) -> Told | None:
    """Return one alert of the list, cut to what is kept; None when it cannot be read."""
    if not isinstance(one, dict):
        return None
    labels, notes = _texts(one.get("labels")), _texts(one.get("annotations"))
    place, starts = _place(labels), _moment(one.get("startsAt"))
    if not labels or starts is None:
        return None
    ends = None
    if one.get("status") == "resolved":
        ends = max(starts, min(_moment(one.get("endsAt")) or now, now))
    fingerprint = one.get("fingerprint")
    if not isinstance(fingerprint, str) or not 0 < len(fingerprint) <= FINGERPRINT or not fingerprint.isprintable():
        fingerprint = hashlib.sha256(canonical(labels).encode()).hexdigest()[:16]
    return Told(
        fingerprint=fingerprint,
        name=_cut(labels.get("alertname") or "Alert", NAME),
        severity=_cut(labels.get("severity", ""), SEVERITY),
        summary=_cut(notes.get("summary") or notes.get("description") or notes.get("message") or "", SUMMARY),
        runbook_url=_address(notes.get("runbook_url") or notes.get("runbook") or ""),
        starts_at=starts,
        ends_at=ends,
        place=place,
    )


def _place(labels: Mapping[str, str]) -> Place:
    """Return the endpoint that labels name; labels of the portal's own come before those that others use, too."""
    identifier = labels.get("gatehouse_endpoint_id", "")
    if identifier:
        try:
            return Place(id=UUID(identifier))
        except ValueError:
            return Place()
    project = labels.get("gatehouse_project") or labels.get("project") or ""
    return Place(project=project[:63], name=(labels.get("gatehouse_endpoint") or labels.get("endpoint") or "")[:63])


def _texts(values: object) -> dict[str, str]:
    return {str(key): text for key, text in values.items() if isinstance(text, str)} if isinstance(values, dict) else {}


def _cut(text: str, limit: int) -> str:
    plain = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * limit]).split())
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def _moment(text: object) -> dt.datetime | None:
    """Return a time of RFC 3339 in UTC; None for anything else, and for the zero time of what has no end."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
        found = found.astimezone(dt.UTC) if found.tzinfo is not None else found
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None and FIRST_YEAR < found.year < 9999 else None


def _address(text: str) -> str:
    """Return the address of a runbook when a browser may follow it, else ""."""
    if len(text) > URL or not text.isascii() or not text.isprintable() or " " in text:
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc else ""
