"""Cards of people who govern and audit: assets that need a look, the seal, the last rows, the decisions of the week."""

import datetime as dt
import json
from typing import Any

from django.db.models import Case, Value, When
from django.urls import reverse

from approvals.models import Decision, Waiver
from audit import services as audit
from audit.models import Row, Seal, Subject
from catalog import doubts
from catalog.models import Version, VersionState
from portal.home.sight import WEEK_DAYS, Sight
from projects.permissions import visible

Cell = dict[str, Any]
TAIL = 100
COMINGS = ("people.sign_in", "people.sign_out")  # they change nothing
WHY = {
    "blocked": ("red", "ban"),
    "in review": ("blue", "view"),
    doubts.DRIFTED: ("red", "warn"),
    doubts.FAILED: ("red", "err"),
    doubts.EXPIRED: ("orange", "warn"),
    doubts.NONE: ("orange", "warn"),
}


def assets(sight: Sight) -> Cell:
    """Return the versions that need a look: blocked, in review, approved and in doubt (one query)."""
    why = Case(
        When(state=VersionState.BLOCKED, then=Value("blocked")),
        When(state=VersionState.IN_REVIEW, then=Value("in review")),
        When(state=VersionState.APPROVED, then=doubts.doubt()),
        default=None,
    )
    found = Version.objects.annotate(why=why).filter(why__isnull=False).select_related("asset")
    return {
        "rows": [_asset(row) for row in found.order_by("why", "asset__name", "pk")[: sight.most]],
        "total": sum(sight.numbers[name] for name in ("blocked", "in_review", "unproven")),
    }


def _asset(row: Any) -> Cell:
    """Return the cells of a version that was annotated with `why`."""
    colour, icon = WHY[row.why]
    return {
        "name": f"{row.asset.name} {row.version}",
        "url": reverse("catalog_detail", args=[row.asset.slug]),
        "publisher": row.asset.publisher,
        "chip": {"label": row.why.capitalize(), "colour": colour, "icon": icon, "kind": "filled"},
    }


def blocked(sight: Sight) -> Cell:
    """Return what still runs although its version is blocked (one query)."""
    found = sight.blocked_running().select_related("project", "revision__version__asset")
    return {
        "rows": [
            {
                "name": f"{row.project.slug}/{row.name}",
                "url": reverse("endpoint_detail", args=[row.pk]),
                "what": f"{row.revision.version.asset.name} {row.revision.version.version}" if row.revision else "",
                "phase": row.get_phase_display(),
            }
            for row in found.order_by("project__slug", "name")[: sight.most]
        ],
        "total": sight.numbers["blocked_running"],
    }


def failing(sight: Sight) -> Cell:
    """Return the newest findings of rules that fail and are not waived (one query)."""
    found = sight.failing().select_related("endpoint__project").order_by("-opened_at", "-pk")
    return {
        "rows": [
            {
                "name": f"{row.endpoint.project.slug}/{row.endpoint.name}",
                "url": reverse("endpoint_rules", args=[row.endpoint_id]),
                "rule": row.title,
                "why": row.reason,
                "since": row.opened_at,
            }
            for row in found[: sight.most]
        ],
        "total": sight.numbers["failing"],
    }


def waivers(sight: Sight) -> Cell:
    """Return the waivers that end soon, the next one first (one query)."""
    found = sight.ending_waivers().select_related("project", "request", "endpoint", "owner")
    return {
        "rows": [
            {
                "name": f"{row} {row.check_id}",
                "url": reverse("waiver_detail", args=[row.pk]),
                "what": f"{_waived(row)} in {row.project.slug}",
                "owner": row.owner.username,
                "ends_on": row.ends_on,
            }
            for row in found.order_by("ends_on", "pk")[: sight.most]
        ],
        "total": sight.numbers["waivers_ending"],
    }


def rogues(sight: Sight) -> Cell:
    """Return what runs on clusters without approval, what has taken most accelerator hours first (one query)."""
    found = sight.rogues().select_related("cluster").order_by("-device_seconds", "pk")
    return {
        "rows": [
            {
                "name": row.name,
                "url": reverse("rogue_detail", args=[row.pk]),
                "what": f"{row.kind} in {row.namespace} on {row.cluster.name}",
                "hours": f"{row.device_hours:,.0f} h",
            }
            for row in found[: sight.most]
        ],
        "total": sight.numbers["rogues"],
    }


def _waived(row: Waiver) -> str:
    if row.endpoint is not None or row.request is None:
        return row.endpoint.name if row.endpoint is not None else ""
    return f"{row.request} {row.request.name}".strip()


def seal(sight: Sight) -> Cell:
    """Return the state of the chain: its end, what is not sealed yet, and whether its last links hold (two queries).

    The whole chain is checked by `manage.py audit verify`; a page checks the newest links, whatever the chain's length.
    """
    links = list(Seal.objects.order_by("-sequence")[:TAIL])[::-1]
    rows = {row.pk: row for row in Row.objects.filter(pk__in=[link.row_id for link in links])}
    wrong = _first_wrong(links, rows)
    last = links[-1] if links else None
    return {
        "sequence": last.sequence if last else 0,
        "digest": f"{last.hash[:8]}…{last.hash[-8:]}" if last else "",
        "full": last.hash if last else "",
        "at": rows[last.row_id].at if last and last.row_id in rows else None,
        "unsealed": sight.numbers["unsealed"],
        "checked": len(links),
        "wrong": wrong,
    }


def _first_wrong(links: list[Seal], rows: dict[int, Row]) -> int | None:
    """Return the id of the first row of which seal, text or link do not fit, or None."""
    previous = links[0].previous_hash if links else ""
    if links and links[0].sequence == 1 and previous != audit.GENESIS:
        return links[0].row_id
    for link in links:
        row = rows.get(link.row_id)
        sealed = audit.link(link.sequence, link.row_id, link.row_hash, link.previous_hash)
        if row is None or audit.row_hash(row.canonical) != link.row_hash:
            return link.row_id
        if link.previous_hash != previous or sealed != link.hash:
            return link.row_id
        previous = link.hash
    return None


def log(sight: Sight) -> Cell:
    """Return the newest audit rows but those of people coming and going (two queries)."""
    rows = list(Row.objects.exclude(action__in=COMINGS).order_by("-id")[: sight.most])
    names = dict(Subject.objects.filter(key__in={row.actor for row in rows}).values_list("key", "name"))
    return {
        "rows": [
            {
                "at": row.at,
                "who": names.get(row.actor, row.actor),
                "action": row.action,
                "what": _what(row),
                "url": f"{reverse('audit_list')}?object_id={row.object_id}",
            }
            for row in rows
        ]
    }


def _what(row: Row) -> str:
    named = json.loads(row.after or "{}").get("name", "") if row.after.startswith("{") else ""
    return " ".join(part for part in (row.object_kind, str(named), f"in {row.project}" if row.project else "") if part)


def decisions(sight: Sight) -> Cell:
    """Return the newest decisions of the last seven days (one query)."""
    since = sight.now - dt.timedelta(days=WEEK_DAYS)
    found = visible(sight.principal, Decision.objects.filter(at__gte=since)).select_related(
        "reviewer", "request__project", "requester"
    )
    looks = {"approve": ("green", "ok"), "reject": ("red", "err"), "request_changes": ("orange", "rotate")}
    return {
        "total": sight.numbers["decisions"],
        "rows": [
            {
                "label": row.request.number,
                "url": reverse("request_detail", args=[row.request_id]),
                "name": row.request.name,
                "who": f"{row.reviewer.username} on a request of {row.requester.username}",
                "project": row.request.project.slug if row.request.project else "catalog",
                "at": row.at,
                "chip": {
                    "label": row.get_decision_display().capitalize(),
                    "colour": looks[row.decision][0],
                    "icon": looks[row.decision][1],
                    "kind": "filled",
                },
            }
            for row in found.order_by("-at", "-pk")[: sight.most]
        ],
    }
