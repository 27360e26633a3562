"""Who looks at the first page, and every number on it: all of them come with one query."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Count, IntegerField, Max, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from approvals.models import Decision, Finding, Request, RequestState, Waiver, WaiverState
from approvals.objective import report
from approvals.stages.reading import waiting_for
from approvals.stages.standing import Standing
from approvals.verdicts import FAIL
from audit.models import Row, Seal
from catalog.doubts import doubt
from catalog.models import Version, VersionState
from endpoints.models import Desired, Endpoint, Phase
from endpoints.rogue.models import UNANSWERED, RogueWorkload
from projects.models import (
    AUDITORS,
    GOVERNANCE_LEADS,
    PLATFORM_ENGINEERS,
    ApiKey,
    KeyState,
    Membership,
    Project,
    Role,
    User,
)
from projects.permissions import allows, visible
from projects.principal import PortalRequest, Principal
from quotas.models import Pool

ENDS_DAYS, KEYS_DAYS, WEEK_DAYS, WAIVER_DAYS = 30, 14, 7, 14
LIVING_KEYS = (KeyState.ACTIVE, KeyState.ROTATING)
MINE = (RequestState.DRAFT, RequestState.CHANGES_REQUESTED)


@dataclass(frozen=True)
class Sight:
    """The person with what the page may show: everything, or one project when one is chosen in the switcher."""

    request: PortalRequest
    most: int = 6  # lines of a list

    @property
    def principal(self) -> Principal:
        """Who looks."""
        return self.request.principal

    @property
    def project(self) -> Project | None:
        """What is chosen in the switcher."""
        return self.request.project

    @cached_property
    def now(self) -> dt.datetime:
        """The moment of the page."""
        return timezone.now()

    @property
    def scoped(self) -> dict[str, Project]:
        """The filter of the project that was chosen, for models with a field `project`."""
        return {"project": self.project} if self.project is not None else {}

    def holds(self, *roles: str) -> bool:
        """Whether the person has one of `roles` in a project that is shown."""
        return bool(self.projects_as(*roles))

    def projects_as(self, *roles: str) -> list[int]:
        """Return the ids of the projects that are shown and in which the person has one of `roles`, sorted."""
        shown = None if self.project is None else self.project.pk
        return sorted(pk for pk, role in self.principal.roles.items() if role in roles and shown in (None, pk))

    @property
    def engineer(self) -> bool:
        """Whether the person runs the platform."""
        return PLATFORM_ENGINEERS in self.principal.groups

    @property
    def lead(self) -> bool:
        """Whether the person answers for governance."""
        return GOVERNANCE_LEADS in self.principal.groups

    @property
    def auditor(self) -> bool:
        """Whether the person reads everything."""
        return AUDITORS in self.principal.groups

    @property
    def decides(self) -> bool:
        """Whether the person decides requests."""
        return self.engineer or self.lead

    @property
    def everywhere(self) -> bool:
        """Whether the person sees all projects."""
        return allows(self.principal, "view", Project, None)

    @property
    def builder(self) -> bool:
        """Whether the person may ask for endpoints here."""
        shown = None if self.project is None else self.project.pk
        mine = (pk for pk in self.principal.roles if shown in (None, pk))
        return any(allows(self.principal, "request", Project, pk) for pk in mine)

    @property
    def member(self) -> bool:
        """Whether the person belongs to a project that is shown."""
        return self.holds(*Role.values)

    @property
    def owner(self) -> bool:
        """Whether the person owns a project that is shown."""
        return self.holds(Role.OWNER)

    def endpoints(self) -> QuerySet[Endpoint]:
        """Return the endpoints that count: of all projects for platform roles, else of the person's own."""
        rows = Endpoint.objects.exclude(phase=Phase.DELETED).filter(**self.scoped)
        if self.everywhere:
            return visible(self.principal, rows)
        return rows.filter(project__in=self.projects_as(*Role.values))  # every role of a project may see them

    @property
    def standing(self) -> Standing:
        """Who lets the person decide, read once."""
        return Standing.seen(self.request)

    def queue(self) -> QuerySet[Request]:
        """Return what waits for a decision of this person."""
        return waiting_for(self.principal, self.standing).filter(**self.scoped)

    def ending_keys(self) -> QuerySet[ApiKey]:
        """Return the keys that end soon: of owned projects, or of all for governance."""
        soon = self.now + dt.timedelta(days=KEYS_DAYS)
        rows = ApiKey.objects.filter(state__in=LIVING_KEYS, purpose="api", expires_at__lte=soon, **self.scoped)
        return rows if self.lead else rows.filter(project__in=self.projects_as(Role.OWNER))

    def ending_endpoints(self) -> QuerySet[Endpoint]:
        """Return the endpoints whose last day is near, or over."""
        last = self.now.date() + dt.timedelta(days=ENDS_DAYS)
        rows = self.endpoints().exclude(desired=Desired.DELETED).filter(ends_on__lte=last)
        return rows if self.everywhere else rows.filter(project__in=self.projects_as(Role.OWNER, Role.DEVELOPER))

    def blocked_running(self) -> QuerySet[Endpoint]:
        """Return what runs although its version is blocked."""
        return self.endpoints().filter(desired=Desired.RUNNING, revision__version__state=VersionState.BLOCKED)

    def rogues(self) -> QuerySet[RogueWorkload]:
        """Return what runs on clusters without approval and that nobody has taken or waived."""
        rows = RogueWorkload.objects.filter(state__in=UNANSWERED, **self.scoped)
        return visible(self.principal, rows)

    @property
    def answers(self) -> bool:
        """Whether the person answers for rules that do not hold: of an owned project, or of everything."""
        return self.owner or self.lead or self.auditor

    def ending_waivers(self) -> QuerySet[Waiver]:
        """Return the waivers that count and have two weeks or less left."""
        last = self.now.date() + dt.timedelta(days=WAIVER_DAYS)
        rows = Waiver.objects.filter(state=WaiverState.ACTIVE, ends_on__lte=last, **self.scoped)
        return visible(self.principal, rows)

    def failing(self) -> QuerySet[Finding]:
        """Return what the rules of today hold against endpoints that run, exceptions aside."""
        within = {"endpoint__project": self.project} if self.project is not None else {}
        return visible(self.principal, Finding.objects.filter(closed_at=None, verdict=FAIL, **within))

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Every number of the page by name, as far as the person's roles want it (one query)."""
        wanted = self._of_projects() | self._of_platform()
        named = {f"number_{name}": part for name, part in wanted.items()}  # a person has fields of their own
        row: Mapping[str, Any] = User.objects.filter(pk=self.principal.person.pk).values(**named).get()
        return {name: int(row[f"number_{name}"] or 0) for name in wanted}

    def _of_projects(self) -> dict[str, Any]:
        endpoints = self.endpoints()
        mine = Request.objects.filter(requester=self.principal.person, state__in=MINE, **self.scoped)
        found = {
            "endpoints": _count(endpoints),
            "failed": _count(endpoints.filter(phase=Phase.FAILED)),
            "ending": _count(self.ending_endpoints()),
            "my_turn": _count(visible(self.principal, mine)),
        }
        if self.owner or self.lead:
            found["keys_ending"] = _count(self.ending_keys())
        if self.answers:
            found |= {"waivers_ending": _count(self.ending_waivers()), "failing": _count(self.failing())}
        if self.owner:
            members = Membership.objects.filter(project__in=self.projects_as(Role.OWNER))
            found["members"] = _count(members, distinct="user")
        return found

    def _of_platform(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.decides:
            queue = self.queue()
            found |= {"waiting": _count(queue), "overdue": _count(report.overdue(queue, self.now))}
        if self.engineer or self.lead:
            found["rogues"] = _count(self.rogues())
        if self.engineer:
            found |= {name: _sum(Pool.objects.all(), name) for name in ("held", "limit")}
        if self.lead or self.auditor:
            found |= {"blocked_running": _count(self.blocked_running()), "unsealed": _count(unsealed())}
        if self.lead:
            found |= {
                "in_review": _count(Version.objects.filter(state=VersionState.IN_REVIEW)),
                "blocked": _count(Version.objects.filter(state=VersionState.BLOCKED)),
                "unproven": _count(unproven()),
            }
        if self.auditor:
            since = self.now - dt.timedelta(days=WEEK_DAYS)
            found["decisions"] = _count(visible(self.principal, Decision.objects.filter(at__gte=since)))
            found["sealed"] = Subquery(Seal.objects.order_by("-sequence").values("sequence")[:1])
        return found


def unproven() -> QuerySet[Version]:
    """Return the approved versions whose evidence does not hold any more."""
    return Version.objects.annotate(doubt=doubt()).filter(doubt__isnull=False, state=VersionState.APPROVED)


def unsealed() -> QuerySet[Row]:
    """Return the rows behind the last seal."""
    last = Seal.objects.order_by().values(one=Value(1)).annotate(top=Max("row_id")).values("top")
    return Row.objects.filter(id__gt=Coalesce(Subquery(last), 0))


def _count(rows: QuerySet[Any], *, distinct: str = "pk") -> Coalesce:
    """Return a number of rows as a part of another query; a joined row counts once."""
    counted = rows.order_by().values(one=Value(1)).annotate(n=Count(distinct, distinct=True)).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def _sum(rows: QuerySet[Any], field: str) -> Coalesce:
    summed = rows.order_by().values(one=Value(1)).annotate(n=Sum(field)).values("n")
    return Coalesce(Subquery(summed, output_field=IntegerField()), 0)
