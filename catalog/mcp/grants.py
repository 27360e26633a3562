"""Letting a project use tools of an MCP server, and ending it. Each verb: guard, change, audit row and word to the
project in one transaction.

A grant stops counting with its last day (catalog/mcp/granted.py); `expire` only tidies up.
"""

import datetime as dt
from collections.abc import Sequence

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from audit.services import Actor, record, system
from catalog.mcp.granted import USABLE
from catalog.models import Asset, Kind, ServerGrant, Version
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.models import Project
from projects.notify.audience import builders
from projects.notify.services import tell
from projects.permissions import require, require_anywhere
from projects.principal import Principal

MAX_REASON = 300
MOST_TOOLS, LONGEST_NAME = 500, 128
BATCH = 500


def grant(
    by: Principal,
    version: Version,
    project: Project,
    *,
    tools: Sequence[str],
    ends_on: dt.date | None,
    reason: str = "",
    reference: str = "",
) -> ServerGrant:
    """Let `project` use `tools` of an MCP server until `ends_on` (last day, UTC; None: until somebody ends it). A grant
    of the same server that it has already is replaced.

    `reference` is what allowed it, opaque here: with one the caller has the authority for it. Raises Forbidden, Invalid
    naming the field, and Conflict `wrong_state` for a version that nobody may use.
    """
    if not reference:
        require_anywhere(by, "grant", ServerGrant)
    text = clean_text(reason, field="reason", high=MAX_REASON)
    names = _names(tools)
    today = timezone.now().date()
    if ends_on is not None and ends_on < today:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}, which has passed. Choose a day from {today} on.")
    with transaction.atomic():
        # Two at once for the same server: the asset's row is what both wait for.
        asset = Asset.objects.select_for_update().get(pk=version.asset_id)
        current = Version.objects.get(pk=version.pk)
        if asset.kind != Kind.MCP_SERVER:
            raise Invalid.field("asset", f"asset is {asset.slug}, which is a model. Ask for an endpoint instead.")
        if current.state not in USABLE:
            words = f"{asset.slug} {current.version} is {current.get_state_display().lower()}"
            raise Conflict(f"{words}; no project can be given it.", code="wrong_state")
        rows = ServerGrant.objects.filter(project=project, asset=asset, ended_at__isnull=True)
        replaced = rows.select_related("version").first()
        rows.update(ended_at=timezone.now())
        made = ServerGrant.objects.create(
            project=project, asset=asset, version=current, tools=names, ends_on=ends_on, reason=text,
            reference=reference, granted_by=by.user,
        )  # fmt: skip
        record(
            "catalog.grant_server", by=by, obj=asset, project=project.slug, reason=text,
            before=_facts(replaced) if replaced else None, after=_facts(made) | {"reference": reference},
        )  # fmt: skip
        until = f" until {ends_on}" if ends_on else ""
        count = f"{len(names)} tool{'' if len(names) == 1 else 's'} of" if names else "the server"
        _tell(made, f"{project.slug} may use {count} {asset.name} {current.version}{until}.", text)
    return made


def _names(tools: Sequence[str]) -> list[str]:
    if len(tools) > MOST_TOOLS:
        raise Invalid.field("tools", f"tools names {len(tools):,}; the limit is {MOST_TOOLS:,}. Name fewer.")
    return sorted({clean_text(name, field="tools", low=1, high=LONGEST_NAME) for name in tools})


def end(by: Principal, grant: ServerGrant, reason: str = "") -> ServerGrant:
    """Take a grant away at once. Raises NotFound, Forbidden, Invalid, and Conflict `already_so`."""
    require(by, "end", grant)
    text = clean_text(reason, field="reason", high=MAX_REASON)
    with transaction.atomic():
        if not _end_one(by, grant, text, f"{by.name} ended it."):
            raise Conflict(f"{grant.project.slug} has no such grant of {grant.asset.slug} any more.", code="already_so")
    grant.refresh_from_db()
    return grant


def expire() -> int:
    """End the grants whose last day has passed and return how many. May run twice, or at the same time as itself."""
    today, count = timezone.now().date(), 0
    due = ServerGrant.objects.filter(ended_at__isnull=True, ends_on__lt=today)
    for row in due.select_related("project", "asset", "version").order_by("pk")[:BATCH]:
        with transaction.atomic():
            count += _end_one(system("catalog"), row, f"The last day was {row.ends_on}.", "Its last day has passed.")
    return count


def _end_one(by: Actor, row: ServerGrant, reason: str, why: str) -> bool:
    """End a grant in the caller's transaction; False when it has ended already."""
    if not ServerGrant.objects.filter(pk=row.pk, ended_at__isnull=True).update(ended_at=timezone.now()):
        return False
    verb = "catalog.end_server_grant"
    record(verb, by=by, obj=row.asset, project=row.project.slug, before=_facts(row), reason=reason)
    _tell(row, f"{row.project.slug} may no longer use {row.asset.name}. {why}", row.reason)
    return True


def _facts(row: ServerGrant) -> dict[str, object]:
    return {
        "asset": row.asset.slug,
        "version": row.version.version,
        "project": row.project.slug,
        "tools": row.tools,
        "ends_on": row.ends_on,
    }


def _tell(row: ServerGrant, title: str, text: str) -> None:
    """Tell the builders of the project; its list of servers shows the rest."""
    url = reverse("server_list", args=[row.project.slug])
    tell(
        "server.granted", builders(row.project), title=title, text=text, url=url,
        project=row.project, about=("asset", row.asset.slug),
        data={"asset": row.asset.slug, "version": row.version.version, "ends_on": row.ends_on},
    )  # fmt: skip
