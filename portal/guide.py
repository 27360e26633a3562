"""Getting going: checklists that tick themselves from rows that exist, and what is new in this release."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Subquery, Value
from django.urls import reverse

from approvals.models import Decision, Request, RequestKind, RequestState
from endpoints.models import Endpoint
from projects.models import (
    AUDITORS,
    GOVERNANCE_LEADS,
    PLATFORM_ENGINEERS,
    ApiKey,
    Preference,
    Project,
    Role,
    SavedView,
    User,
)
from projects.permissions import can_anywhere
from projects.principal import Principal
from quotas.models import Pool, Quota, QuotaKind


@dataclass(frozen=True)
class Step:
    """One step; `done` is read from rows, nobody ticks it."""

    label: str
    help: str
    done: bool
    url: str


@dataclass(frozen=True)
class QuickStart:
    """A checklist for one kind of person."""

    key: str
    title: str
    steps: list[Step]

    @property
    def done(self) -> int:
        """How many steps are done."""
        return sum(step.done for step in self.steps)

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return self.done == len(self.steps)


def quick_start(principal: Principal) -> list[Step]:
    """Return the steps of the first checklist of `principal` that is not complete; none when all are (one query)."""
    return next((found.steps for found in quick_starts(principal) if not found.complete), [])


def quick_starts(principal: Principal) -> list[QuickStart]:
    """Return the checklists that fit what `principal` may do, in the order to take them (one query)."""
    if not principal.is_authenticated:
        return []
    may_request = can_anywhere(principal, "request", Project)
    owned = [project for project, role in principal.roles.items() if role == Role.OWNER]
    did = _did(principal, owned)
    found = []
    if PLATFORM_ENGINEERS in principal.groups:
        found.append(QuickStart("platform", "Run the platform", _platform(did)))
    if principal.groups & {GOVERNANCE_LEADS, AUDITORS}:
        found.append(QuickStart("governance", "Govern it", _governance(did, GOVERNANCE_LEADS in principal.groups)))
    if may_request:
        found.append(QuickStart("endpoint", "Your first endpoint", _endpoint(did)))
    if owned:
        found.append(QuickStart("project", "Your project", _project(did)))
    return found


def _did(principal: Principal, owned: list[int]) -> dict[str, Any]:
    """Return what rows prove, each by its own EXISTS in one query; and the name of the project that is owned alone."""
    me = OuterRef("pk")
    asked = Request.objects.filter(requester=me, kind=RequestKind.ENDPOINT)
    keys = ApiKey.objects.filter(person=me)
    decided = Decision.objects.filter(reviewer=me)
    crowded = Project.objects.filter(pk__in=owned).annotate(people=Count("memberships")).filter(people__gt=1)
    quotas = Quota.objects.all()
    checks: dict[str, Any] = {
        "picked": Exists(asked),
        "sent": Exists(asked.exclude(state=RequestState.DRAFT)),
        "ready": Exists(Endpoint.objects.filter(requests__requester=me, ready_at__isnull=False)),
        "keyed": Exists(keys.filter(purpose="api")),
        "called": Exists(keys.filter(last_used_at__isnull=False)),
        "decided": Exists(decided),
        "admitted": Exists(decided.filter(request__kind=RequestKind.ADMISSION)),
        "pool": Exists(Pool.objects.filter(limit__gt=0)),
        "gpu_quota": Exists(quotas.filter(kind=QuotaKind.GPUS)),
        "members": Exists(crowded),
        "project_key": Exists(ApiKey.objects.filter(project__in=owned, purpose="api")),
        "token_quota": Exists(quotas.filter(project__in=owned, kind=QuotaKind.TOKENS)),
        "audit_view": Exists(SavedView.objects.filter(person=me, page="audit_list")),
    }
    only = Project.objects.filter(pk__in=owned).values("slug")[:1] if len(owned) == 1 else None
    checks["project"] = Subquery(only) if only is not None else Value("")
    return dict(User.objects.filter(pk=principal.person.pk).annotate(**checks).values(*checks).get())


def _endpoint(did: dict[str, Any]) -> list[Step]:
    endpoints = reverse("endpoint_list")
    return [
        Step("Pick a model", "The plan shows what it needs and costs.", did["picked"], reverse("catalog_list")),
        Step("Send the request", "Somebody else decides.", did["sent"], reverse("request_new")),
        Step("See it get ready", "Each step with its time.", did["ready"], endpoints),
        Step("Make a key", "Its secret is shown once.", did["keyed"], endpoints),
        Step("Call the endpoint", "From the playground or your program.", did["called"], endpoints),
    ]


def _project(did: dict[str, Any]) -> list[Step]:
    page = reverse("project_detail", args=[did["project"]]) if did["project"] else reverse("project_list")
    return [
        Step("Add a member", "Developers request, viewers read.", did["members"], page),
        Step("Make a key", "For the project's programs.", did["project_key"], reverse("endpoint_list")),
        Step("Set a token quota", "A soft limit warns, a hard one refuses.", did["token_quota"], page),
    ]


def _platform(did: dict[str, Any]) -> list[Step]:
    return [
        Step("Count the accelerators", "A pool with its limit.", did["pool"], reverse("capacity")),
        Step("Decide a request", "From the plan and its checks.", did["decided"], reverse("approval_list")),
        Step("Limit a project's GPUs", "So that one project leaves room.", did["gpu_quota"], reverse("project_list")),
    ]


def _governance(did: dict[str, Any], decides: bool) -> list[Step]:
    steps = [
        Step("Decide a request", "From the plan and its checks.", did["decided"], reverse("approval_list")),
        Step("Let an asset into the catalog", "From its evidence.", did["admitted"], reverse("approval_list")),
    ]
    view = Step(
        "Save a view of the audit log", "Filter it once, open it daily.", did["audit_view"], reverse("audit_list")
    )
    return [*steps, view] if decides else [view]


# --- What is new ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """One thing that is new: what it is for, and the route of the page where it is."""

    title: str
    text: str
    route: str = ""
    groups: frozenset[str] = frozenset()  # the platform groups that may open that page; empty: everybody


@dataclass(frozen=True)
class Release:
    """What came with one release."""

    version: str
    day: dt.date
    pieces: list[Piece]


_DECIDERS = frozenset({PLATFORM_ENGINEERS, GOVERNANCE_LEADS})
# Newest first. The words people need; CHANGELOG.md has all of it. `version` is what Preference.seen_news remembers.
NEWS: list[Release] = [
    Release(
        f"{settings.VERSION}-2",
        dt.date(2026, 11, 21),
        [
            Piece("Search everything", "The box at the top finds assets, endpoints, requests, projects and people. "
                  "Press / anywhere.", "search"),
            Piece("Compare", "Tick up to three cards of the catalog and see them side by side; what differs says so.",
                  "catalog_list"),
            Piece("More facets", "Context, hardware and evidence narrow the catalog, each with its count.",
                  "catalog_list"),
            Piece("Lists as you like them", "Sort, choose columns, save the view, download it, act on many rows.",
                  "endpoint_list"),
            Piece("Renew, grow, share", "Ask for a later end date, another size or version, a share of a running "
                  "endpoint, or a larger quota.", "request_list"),
            Piece("Into the catalog", "Propose a model or an MCP server, follow its evidence, send it to review.",
                  "catalog_list"),
            Piece("Quotas", "A project's tokens and GPUs have limits, and a warning before them.", "usage"),
            Piece("Capacity", "The pool box by box: who holds what, until when, and what could be given back.",
                  "capacity"),
            Piece("Help on every page", "The question mark explains the page you are on.", "help"),
        ],
    ),
    Release(
        f"{settings.VERSION}-1",
        dt.date(2026, 11, 20),
        [
            Piece("The main line", "Pick a model, send a request with its plan, get a running endpoint and a key.",
                  "catalog_list"),
            Piece("The queue", "Requests by age, with plan, checks and room, decided without leaving the page.",
                  "approval_list", _DECIDERS),
            Piece("Usage", "Every call counted once, with time to first token.", "usage"),
        ],
    ),
]  # fmt: skip


def has_news(seen: str) -> bool:
    """Whether there is something newer than what a person has `seen`."""
    return seen != NEWS[0].version


def read_news(principal: Principal) -> None:
    """Remember that `principal` has read the news. A bookmark of the person's own: it leaves no audit row."""
    Preference.objects.update_or_create(person=principal.person, defaults={"seen_news": NEWS[0].version})
