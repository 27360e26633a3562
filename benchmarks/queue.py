"""The approval queue with 10,000 open requests: its first page, filtered, searched and sorted, and one row open."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone

from approvals import services
from approvals.bodies import parse
from approvals.models import Request, RequestState, Stage, StageState
from approvals.plan import freeze
from benchmarks import policies
from benchmarks.pages import CALLS, TARGET_MS, client_of, timed
from benchmarks.paired import percentile
from benchmarks.results import Result
from benchmarks.seed_pages import many
from benchmarks.stores import scaled
from catalog.models import HardwareProfile, Version
from portal import warm
from projects.models import Membership, Project, Role, User
from projects.principal import Principal

OPEN, PROJECTS, PEOPLE = 10_000, 50, 200
PATHS = (
    "", "?mine=1", "?overdue=1", "?kind=endpoint&environment=prod", "?q=scoring-77", "?q=person3", "?sort=id",
)  # fmt: skip
PAGE = f"reference: the target, {TARGET_MS:.0f} ms p95; measured: p95 of {CALLS} calls, view and template, in process"


def measure(store: str) -> list[Result]:
    """Time the pages of the queue for a governance lead."""
    lead, opened = _seed()
    warm.up()  # as the server does when it starts
    client, results = client_of(lead), []
    for path in (*(f"/approvals/{query}" for query in PATHS), f"/approvals/{opened.pk}/"):
        times, queries = timed(client, path)
        name = path.replace(str(opened.pk), "R")
        results.append(
            Result(f"{name} of {scaled(OPEN):,} open ({queries} queries), {store}", "ms p95", TARGET_MS,
                   percentile(times, 0.95), note=PAGE)
        )  # fmt: skip
    return results


def _seed() -> tuple[User, Request]:
    """Fill the queue; return who decides, and a request in its middle."""
    person, body = policies.seed()
    by = Principal.of(person)
    projects = many(Project(slug=f"team-{n}", name=f"Team {n}", cost_centre=f"CC-{n}") for n in range(scaled(PROJECTS)))
    people = many(User(username=f"person{n}", password="!") for n in range(scaled(PEOPLE)))
    many(Membership(project=projects[n % len(projects)], user=one, role=Role.DEVELOPER) for n, one in enumerate(people))
    plan = services.check(by, body)
    made: list[Request] = many(_requests(projects, people, body, plan))
    many(
        Stage(request=one, submission=1, position=1, rule=stage["rule"], name=stage["name"], reason=stage["reason"],
              roles=stage["roles"], count=stage["count"], state=StageState.OPEN, opened_at=one.submitted_at)
        for one in made for stage in plan["stages"][:1]
    )  # fmt: skip
    lead = User.objects.create_user(username="lead")
    lead.groups.add(Group.objects.get_or_create(name="governance-leads")[0])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return lead, made[len(made) // 2]


def _requests(
    projects: list[Project], people: list[User], body: dict[str, Any], plan: dict[str, Any]
) -> Iterator[Request]:
    """Yield requests that were sent over the last days, an hour of which is never the same."""
    now, version, profile = timezone.now(), Version.objects.first(), HardwareProfile.objects.get()
    for n in range(scaled(OPEN)):
        sent, place = now - dt.timedelta(minutes=3 * n), n % len(projects)
        asked = body | {"name": f"scoring-{n}", "project": projects[place].slug}
        yield Request(
            kind="endpoint", project=projects[place], requester=people[n % len(people)], state=RequestState.SUBMITTED,
            name=f"scoring-{n}", submission=1, version=version, profile=profile, environment=("dev", "prod")[n % 2],
            body=asked, plan=plan, plan_digest=freeze(parse(asked), plan), submitted_at=sent, clock_since=sent,
            due_at=sent + dt.timedelta(days=7), waiting_on="|*|governance-leads|platform-engineers|",
        )  # fmt: skip
