"""The lists of waivers and of findings, written down as data."""

import datetime as dt
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from approvals.models import WaiverState
from approvals.verdicts import FAIL, WAIVED, WARN
from approvals.waivers.reading import SOON
from portal.listing import Column, Filter, Listing
from projects.middleware import offered_names
from projects.principal import PortalRequest


def _waiver(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    words = Q(check_id__icontains=value) | Q(owner__username__icontains=value) | Q(endpoint__name__icontains=value)
    return rows.filter(words | Q(request__name__icontains=value))


def _soon(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    last = timezone.now().date() + dt.timedelta(days=SOON)
    return rows.filter(state=WaiverState.ACTIVE, ends_on__lte=last)


def _finding(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(Q(check_id__icontains=value) | Q(title__icontains=value) | Q(endpoint__name__icontains=value))


WAIVERS = Listing(
    route="waiver_list",
    nouns=("waiver", "waivers"),
    columns=(
        Column("waiver", "Waiver", ("id",), {"waiver": "number", "check": "check"}, fixed=True, first="descending"),
        Column("about", "For", csv={"about": "thing", "project": "project"}),
        Column("control", "Done instead", csv={"reason": "reason", "compensating_control": "control"}),
        Column("owner", "Owner", ("owner__username",), {"owner": "owner"}),
        Column("approved", "Approved by", csv={"requested_by": "requested_by", "approved_by": "approved_by"}),
        Column("ends", "Last day", ("ends_on",), {"ends_on": "ends_on"}),
        Column("state", "State", ("state",), {"state": "state"}),
    ),
    filters=(
        Filter("q", "Rule, name or owner", _waiver, kind="search"),
        Filter(
            "state",
            "State",
            lambda rows, value, request: rows.filter(state=value),
            choices=[(value, str(label)) for value, label in WaiverState.choices],
            every="Any state",
        ),
        Filter(
            "project",
            "Project",
            lambda rows, value, request: rows.filter(project__slug=value),
            choices=offered_names,
            every="Every project",
        ),
        Filter("soon", "Ends within 14 days", _soon, kind="flag", more=True),
    ),
    sort="ends",
    file="waivers",
)
FINDINGS = Listing(
    route="finding_list",
    nouns=("finding", "findings"),
    columns=(
        Column("rule", "Rule", ("check_id",), {"check": "check", "title": "title"}, fixed=True),
        Column("endpoint", "Endpoint", ("endpoint__name",), {"endpoint": "name"}),
        Column("why", "Why", csv={"verdict": "verdict", "reason": "reason", "fix": "fix"}),
        Column("since", "Since", ("opened_at",), {"opened_at": "since"}, first="descending"),
        Column("waiver", "Waiver", csv={"waiver": "waiver", "until": "until"}),
    ),
    filters=(
        Filter("q", "Rule or endpoint", _finding, kind="search"),
        Filter(
            "verdict",
            "Verdict",
            lambda rows, value, request: rows.filter(verdict=value),
            choices=[(FAIL, "Fails"), (WAIVED, "Waived"), (WARN, "Warns")],
            every="Any verdict",
        ),
        Filter(
            "project",
            "Project",
            lambda rows, value, request: rows.filter(endpoint__project__slug=value),
            choices=offered_names,
            every="Every project",
        ),
    ),
    sort="rule",
    file="findings",
)
