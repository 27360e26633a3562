"""Columns, filters and rows of the approval queue."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Exists, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from approvals import builtin
from approvals.models import Request, RequestKind, RequestState, Stage, StageState
from approvals.objective import calendar, clock, report
from approvals.objective.words import against
from approvals.stages.keeping import roles_now
from approvals.stages.reading import waiting_for, waits_for
from approvals.stages.standing import Standing
from approvals.stages.words import role_name
from approvals.views import cells
from catalog.models import Version
from endpoints.models import Environment
from portal.listing import Asked, BulkAction, Column, Filter, Listing
from projects.models import Project, User
from projects.permissions import allows, visible
from projects.principal import PortalRequest

NEW = {
    RequestKind.ENDPOINT: "new endpoint",
    RequestKind.REVISION: "new revision",
    RequestKind.RENEWAL: "later end date",
    RequestKind.ACCESS: "access for another project",
    RequestKind.QUOTA: "more quota",
    RequestKind.MCP_ACCESS: "MCP server for a project",
    RequestKind.ADMISSION: "into the catalog",
    RequestKind.WAIVER: "waiver of a rule",
}
LEAN = (
    *("kind", "name", "state", "submission", "body", "plan", "environment", "submitted_at", "triaged_at"),
    *("clock_seconds", "clock_since", "due_at", "waiting_on", "answered_by"),
    *("project__slug", "requester__username", "assignee__username", "endpoint__name"),
    *("version__version", "version__asset__name"),
)
ACTIONS = (
    BulkAction("approve", "Approve", primary=True, without_reason=True),
    BulkAction("request_changes", "Ask for changes"),
    BulkAction("reject", "Reject", danger=True),
)


DEFAULTS = (("My queue", "mine=1"), ("Overdue", "overdue=1"))  # views that everybody has


def _matching(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    """Return the `rows` that a search finds (one query, for which of the names beside the request's own it is found in
    at all: the requests are then asked for those only).
    """
    named: dict[str, QuerySet[Any]] = {
        "project": Project.objects.filter(slug__icontains=value),
        "requester": User.objects.filter(username__icontains=value),
        "version": Version.objects.filter(asset__name__icontains=value),
    }
    me = User.objects.filter(pk=request.principal.person.pk).order_by()
    known = me.annotate(**{f"any_{name}": Exists(some) for name, some in named.items()})
    found = known.values(*(f"any_{name}" for name in named)).get()
    words = Q(name__icontains=value) | by_number(value)
    for name, some in named.items():
        if found[f"any_{name}"]:
            words |= Q(**{f"{name}__in": some.order_by().values("pk")})  # looked through once, not for each request
    return rows.filter(words)


def by_number(value: str) -> Q:
    """Return the condition for a request that is called R-12, r12 or 12; nothing for other texts."""
    digits = value.upper().removeprefix("R").removeprefix("-")
    return Q(pk=int(digits)) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else Q(pk__in=[])


QUEUE = Listing(
    route="approval_list",
    nouns=("request", "requests"),
    columns=(
        Column(
            "age",
            "Age of 5 days",
            ("-due_at",),
            {
                "submitted_at": "submitted_at",
                "due_at": "due_at",
                "used_seconds": "used",
                "overdue": lambda line: line["age"]["late"],
            },
            sort_label="Age",
            first="descending",
        ),
        Column(
            "request",
            "Request",
            ("id",),
            {"request": "number", "name": "name", "project": "project", "requester": "requester"},
            fixed=True,
        ),
        Column(
            "what", "What", ("version__asset__name",), {"what": "what", "kind": "kind", "environment": "environment"}
        ),
        Column("gpus", "GPU", csv={"gpus": "gpus"}, numeric=True, css="gh-wide-only"),
        Column(
            "cost", "Per month", csv={"per_month": "amount", "currency": "currency"}, numeric=True, css="gh-wide-only"
        ),
        Column(
            "rules",
            "Rules",
            csv={
                "passed": lambda line: line["counts"]["passed"],
                "warned": lambda line: line["counts"]["warned"],
                "failed": lambda line: line["counts"]["failed"],
            },
            css="gh-wide-only",
        ),
        Column("turn", "Waits for", csv={"waits_for": "turn", "stage": "stage", "assignee": "assignee"}),
    ),
    filters=(
        Filter("q", "Number, name, project, person", _matching, kind="search"),
        Filter(
            "kind",
            "Kind",
            lambda rows, value, request: rows.filter(kind=value),
            choices=[(value.value, label.capitalize()) for value, label in NEW.items()],
            every="Every kind",
        ),
        Filter(
            "environment",
            "Environment",
            lambda rows, value, request: rows.filter(environment=value),
            choices=[(value, str(label)) for value, label in Environment.choices],
            every="Every environment",
        ),
        Filter(
            "mine",
            "Waits for me",
            lambda rows, value, request: rows.filter(waits_for(request.principal, Standing.seen(request))),
            kind="flag",
        ),
        Filter(
            "overdue",
            "Overdue",
            lambda rows, value, request: report.overdue(rows, timezone.now()),
            kind="flag",
            more=True,
        ),
    ),
    sort="-age",
    size=25,
    file="approvals",
)


def waiting(request: PortalRequest, standing: Standing) -> QuerySet[Request]:
    """Return everything that waits for a decision and that the person's roles, or those lent to them, may decide at
    some stage.
    """
    by, rows = request.principal, Request.objects.filter(state=RequestState.SUBMITTED)
    if by.project_id is not None or not allows(by, "decide", Request, None):
        theirs = visible(by, Request.objects.all(), "decide").values("pk")
        rows = rows.filter(Q(pk__in=theirs) | Q(pk__in=waiting_for(by, standing).values("pk")))
    if request.project is not None:
        asked = Q(kind=RequestKind.ACCESS, endpoint__project=request.project)  # by another project
        rows = rows.filter(Q(project=request.project) | asked)
    return rows


def whole(rows: QuerySet[Request]) -> QuerySet[Request]:
    """Return `rows` with what an open row reads."""
    return rows.select_related("project", "requester", "version__asset", "profile", "endpoint", "assignee")


def lean(rows: QuerySet[Request]) -> QuerySet[Request]:
    """Return `rows` with what a row of the queue reads, and no more: a page makes hundreds of objects."""
    return rows.select_related("project", "requester", "version__asset", "endpoint", "assignee").only(*LEAN)


def lines(
    request: PortalRequest,
    rows: Sequence[Request],
    asked: Asked,
    standing: Standing,
    opened: Request | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of the queue (one query for their stages); `opened` is the one that is open."""
    now, days = timezone.now(), calendar.current()
    _, mark, query = asked.here.partition("?")
    stages = _open_stages(rows, opened)
    return [
        _line(request, item, opened, f"{mark}{query}")
        | _turn(request, item, standing, stages.get(item.pk))
        | _used(item, clock.seconds(item, now, days))
        for item in rows
    ]


def _line(request: PortalRequest, item: Request, opened: Request | None, query: str) -> dict[str, Any]:
    is_open = opened is not None and item.pk == opened.pk
    cost = item.plan.get("cost") or {}
    project = item.project.slug if item.project else "catalog"
    news = "sent again" if item.submission > 1 else NEW.get(RequestKind(item.kind), item.get_kind_display())
    where = reverse("approval_list") if is_open else reverse("approval_detail", args=[item.pk])
    return {
        "pk": item.pk,
        "number": item.number,
        "url": f"{where}{query}",
        "open": is_open,
        "name": item.name or (item.endpoint.name if item.endpoint else ""),
        "project": project,
        "requester": item.requester.username,
        "by": f"{project} · {item.requester.username}",
        "what": cells.what(item),
        "kind": item.kind,
        "environment": item.environment,
        "where": f"{item.environment} · {news}" if item.environment else news,
        "gpus": (item.plan.get("gpus") or {}).get("total"),
        "per_month": cells.per_month(item.plan),
        "amount": cost.get("per_month", ""),
        "currency": cost.get("currency", ""),
        "counts": cells.counts(item.plan),
        "submitted_at": item.submitted_at,
        "due_at": item.due_at,
    }


def _open_stages(rows: Sequence[Request], opened: Request | None) -> dict[int, Stage]:
    """Return the open stage of each request of a page, and keep all stages of the one that is open (one query)."""
    wanted = Q(request__in=[item.pk for item in rows], state=StageState.OPEN)
    found = list(Stage.objects.filter(wanted | Q(request=opened) if opened is not None else wanted))
    if opened is not None:
        keep(opened, "stages", [stage for stage in found if stage.request_id == opened.pk])
    return {stage.request_id: stage for stage in found if stage.state == StageState.OPEN}


def keep(item: Request, name: str, rows: Sequence[Any]) -> None:
    """Let `item` have its related rows, as `prefetch_related` would, since they were read together with others'."""
    vars(item).setdefault("_prefetched_objects_cache", {})[name] = rows


def _turn(request: PortalRequest, item: Request, standing: Standing, stage: Stage | None) -> dict[str, Any]:
    """Return whom a request waits for: the reader, who was asked in person, or the roles of its stage."""
    mine, own = standing.decides(item), builtin.is_own(request.principal.person, item.requester_id)
    assignee = item.assignee.username if item.assignee else ""
    roles = [role_name(role) for role in (roles_now(stage) if stage else ())]
    words = assignee or " or ".join(roles).capitalize() or "A reviewer"
    if own:
        words, below = "Another reviewer", "your own request"
    elif item.assignee_id == request.principal.person.pk:
        below = "you were asked"
    else:  # the reader still may, and sees who looks at it
        below = f"{assignee} was asked" if mine and assignee else ""
    name = stage.name if stage is not None and (stage.position > 1 or not below) else ""
    return {
        "tick": str(item.pk) if mine else "",
        "mine": mine,
        "turn": "You" if mine else words,
        "below": " · ".join(part for part in (name, below) if part),
        "stage": stage.name if stage else "",
        "assignee": assignee,
    }


def _used(item: Request, seconds: int) -> dict[str, Any]:
    return {"used": seconds, "age": against(seconds)}
