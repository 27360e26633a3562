"""The lists of applications, written down as data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.listing import Column, Filter, Listing
from projects.models import Application
from projects.oauth.applications import grants_of
from projects.oauth.living import last_day, why_ended
from projects.principal import PortalRequest

STATES = {
    "": ("Works", "green", "ok"),
    "ended": ("Ended", "grey", "none"),
    "past_its_end": ("Past its last day", "grey", "none"),
    "owner_left": ("Owner has left", "red", "err"),
    "account_inactive": ("Account is closed", "red", "err"),
}


def _in_state(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    over = Q(ended_at__isnull=False) | Q(ends_at__lte=timezone.now())
    return rows.filter(over) if value == "ended" else rows.exclude(over)


PROJECT_APPLICATIONS = Listing(
    route="project_application_list",
    nouns=("application", "applications"),
    columns=(
        Column(
            "application", "Application", ("client__name",), {"application": "name", "client_id": "client"}, fixed=True
        ),
        Column("state", "State", csv={"state": "state"}),
        Column("ways", "Gets tokens by", csv={"grants": "ways"}),
        Column("scopes", "Scopes", csv={"scopes": "scopes"}, default=False),
        Column("owner", "Owner", ("owner__username",), {"owner": "owner"}),
        Column("account", "Acts as", csv={"account": "account"}),
        Column("ends", "Last day", ("ends_at",), {"ends_on": "ends_on"}),
        Column("used", "Last used", ("last_used_at",), {"last_used_at": "used"}, first="descending"),
        Column("since", "Since", ("created_at",), {"created_at": "since"}, default=False, first="descending"),
    ),
    filters=(
        Filter(
            "q",
            "Name, owner or client id",
            lambda rows, value, request: rows.filter(
                Q(client__name__icontains=value) | Q(owner__username__icontains=value) | Q(client__id__icontains=value)
            ),
            kind="search",
        ),
        Filter("state", "State", _in_state, choices=[("works", "Works"), ("ended", "Ended")], every="Every state"),
    ),
    sort="application",
    file="applications",
)
PLATFORM_APPLICATIONS = dataclasses.replace(PROJECT_APPLICATIONS, route="application_list")


def chip_of(application: Application) -> dict[str, str]:
    """Return the state of an application as a chip."""
    label, colour, icon = STATES[why_ended(application)]
    return {"label": label, "colour": colour, "icon": icon, "kind": "filled"}


def lines(rows: Sequence[Application]) -> list[dict[str, Any]]:
    """Return the rows of a list (no query: client, owner and account are selected)."""
    return [
        {
            "id": str(row.pk),
            "name": row.client.name,
            "client": row.client_id,
            "chip": chip_of(row),
            "state": why_ended(row) or "works",
            "ways": ", ".join(grants_of(row.client)),
            "scopes": " ".join(row.client.get_scopes()),
            "owner": row.owner.username,
            "account": row.account.username if row.account else "people",
            "ends_on": last_day(row),
            "used": row.last_used_at,
            "since": row.created_at,
        }
        for row in rows
    ]
