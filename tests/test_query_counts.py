"""No page and no list asks the database more often because there is more in it; no page asks more than 15 times."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import services as approvals
from approvals.models import (
    Bundle,
    Delegation,
    Finding,
    Mode,
    Preview,
    Publication,
    Reading,
    Request,
    Verdict,
    Waiver,
)
from approvals.policies.active import baseline
from catalog.services import collect_evidence
from endpoints.models import Endpoint, Event, Phase
from endpoints.services import issue_key
from projects.models import Membership, Project, User
from projects.notify.services import tell
from projects.permissions import SCOPES
from projects.principal import Principal
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.services import reserve
from tests.factories import engineer, make_asset, make_endpoint, make_pool, make_profile, make_request, make_version
from tests.quotas.conftest import call
from tests.test_api_matrix import OPERATIONS, path_of
from tests.test_url_matrix import PAGES
from tests.test_url_matrix import path_of as page_of
from tests.world import World

pytestmark = pytest.mark.slow
FEW, MANY = 2, 60
MOST = 15
TABS = ("?tab=evidence", "?tab=versions", "?tab=access", "?tab=history", "?tab=history&before=900000")


@pytest.fixture
def world(world: World, settings: Any) -> World:
    settings.API_RATE_PER_MINUTE = 1_000_000
    pat = engineer()
    for name, amount in (("full", world.pool.limit), ("waits", 1)):  # who waits is looked at by one query more
        reserve(pat, world.pool, amount, holder=("test", name), project=world.org.fraud)
    return world


def grow(world: World, numbers: range, journal: Path) -> None:
    """One more of everything for each of `numbers`, in every place where a page or a list counts it."""
    org, dana, pat = world.org, Principal.of(world.org.dana), engineer()
    for number in numbers:
        person = User.objects.create_user(username=f"person-{number}")
        Membership.objects.create(project=org.fraud, user=person, role="viewer")
        project = Project.objects.create(slug=f"project-{number}", name=f"Project {number}")
        Membership.objects.create(project=project, user=org.dana, role="owner")
        version = make_version(asset=make_asset(f"grown-{number}"))
        collect_evidence(pat, make_version(asset=world.version.asset, version=f"9.{number}"))
        profile = make_profile(slug=f"cpu-grown-{number}")
        endpoint = make_endpoint(org.dana, version=version, profile=profile, name=f"grown-{number}")
        gone = make_endpoint(org.dana, version=version, profile=profile, name=f"broken-{number}")
        Endpoint.objects.filter(pk=gone.pk).update(phase=Phase.FAILED)  # broken ones say who is affected
        issue_key(dana, org.fraud, f"key-{number}", ["running", endpoint.name], None, 30)
        Event.objects.create(endpoint=world.running, code="ready", phase=Phase.READY, sentence=f"Event {number}.")
        waiting = make_request(org.dana, version=version, profile=profile, name=f"asked-{number}")
        refused = make_request(org.dana, state="rejected", version=world.version, profile=profile, name=f"no-{number}")
        make_request(org.dana, state="draft", version=version, profile=profile, name=f"draft-{number}")
        approvals.comment(dana, world.submitted, f"Remark {number}.")
        approvals.comment(dana, waiting, "Soon?")
        pool = make_pool(slug=f"pool-{number}", profiles=[make_profile(gpus=1, slug=f"gpu-grown-{number}")])
        reserve(pat, pool, 1, holder=("endpoint", str(endpoint.pk)), project=org.fraud)
        reserve(pat, world.pool, 1, holder=("endpoint", str(gone.pk)), project=org.fraud)
        tell("endpoint.ready", [org.dana, pat.person], title=f"{endpoint.name} is ready.", project=org.fraud)
        with Journal(journal / str(number)) as book:
            row = {"project_id": org.fraud.pk, "endpoint_id": str(endpoint.pk), "endpoint": endpoint.name}
            at = timezone.now() - dt.timedelta(hours=number)
            call(book, start=row | {"at": at, "key_id": f"k{number}", "key": f"gth_{number:08}"})
        ingest(journal / str(number))
        judged(world, number, endpoint, waiting, refused)


def judged(world: World, number: int, endpoint: Endpoint, waiting: Request, asked: Request) -> None:
    """One more of what the rules say and of what people made of it."""
    org, now = world.org, timezone.now()
    later = now + dt.timedelta(days=9)
    Delegation.objects.create(delegator=org.ravi, delegate=org.pat, starts_at=now, ends_at=later, reason="Away.")
    Waiver.objects.create(
        asked=asked, check_id=f"grown-{number}", project=org.fraud, endpoint=world.running, reason="Not yet.",
        compensating_control="Made-up data.", owner=org.omar, requested_by=org.dana, approved_by=org.yasmine,
        beneficiary=org.dana, ends_on=later.date(),
    )  # fmt: skip
    for thing in (world.running, endpoint):
        Finding.objects.create(
            endpoint=thing, check_id=f"grown-{number}", title="A rule", verdict="fail", reason="So.", seen_at=now
        )
    verdicts = Verdict.objects.filter(request=waiting, rule=world.verdict.rule)
    assert verdicts.update(mode=Mode.LIVE, approves=True, reading=Reading.WAITING)
    digest, files = baseline().digest, baseline().files
    bundle, _ = Bundle.objects.get_or_create(digest=digest, defaults={"name": "baseline", "files": files})
    number += 1
    Publication.objects.create(number=number, version=f"2026.11.{number}", bundle=bundle, reason="Again.")
    Preview.objects.create(files=files, digest=digest, against=digest, by=org.yasmine)


def page_addresses(world: World) -> list[tuple[str, str]]:
    """(person, address) of every page that reads, by whom it shows most."""
    found = []
    for route, row in sorted(PAGES.items()):
        statuses = row.get.split()
        readable = any(status in {"200", "286"} for status in statuses[3:])
        if readable and not route.startswith(("accounts/", "health/", "metrics")):
            by = (("dana", 3), ("pat", 5), ("omar", 4), ("yasmine", 6))
            person = next(name for name, column in by if statuses[column] in {"200", "286"})
            path = page_of(route, world)
            tabs = TABS if route == "catalog/<str:slug>/" else ()
            found += [(person, path + query) for query in ("", "?page=2", *tabs)]
            found += [("pat", path), ("pat/1", path)] if statuses[5] == "200" else []
            found += [("dana/1", path)] if person == "dana" else []  # with a project in the switcher
    found += [("dana", f"/endpoints/{world.running.pk}/revisions/?on=2027-03-12")]
    found += [("dana", f"/requests/new/?kind=waiver{about}") for about in ("", f"&request={world.draft.pk}")]
    found += [("dana", f"/endpoints/{world.failed.pk}/"), ("dana", f"/requests/{world.draft.pk}/")]
    return [*found, ("dana", f"/requests/new/?asset={world.version.asset.slug}&version=1.0")]


def api_addresses(world: World) -> list[tuple[str, str]]:
    """(person, address) of every reading operation."""
    paths = [path_of("get", path, world) for method, path in sorted(OPERATIONS) if method == "get"]
    lists = ["/usage?group_by=key,endpoint,person,project&limit=200", "/requests?assigned=me", "/requests?limit=200"]
    wanted = [path for path in (*paths, *lists) if path != "/audit/export"]
    for_pat = (
        "audit", "access?", "access/", "sso/", "assigned", "webhooks", "policies/previews", "admission", "health",
        "/rbac",
    )  # fmt: skip
    return [("pat" if any(word in path for word in for_pat) else "dana", f"/api/v1{path}") for path in wanted]


def measure(clients: dict[str, Client], addresses: list[tuple[str, str]]) -> dict[str, int]:
    """Queries of each address; the first call of each warms what is cached for the process."""
    if connection.vendor == "postgresql":
        # By what a vacuum in between said of tables whose rows are not committed they are empty, and joins take hours.
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    counts = {}
    for person, address in addresses:
        clients[person].get(address)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = clients[person].get(address)
        assert response.status_code in {200, 286}, (address, response.status_code)
        counts[f"{person:6} {address}"] = len(queries)
    return counts


def test_pages(world: World, client_for: Callable[..., Client], tmp_path: Path, capsys: Any) -> None:
    """The same number with 2 and with 60 of everything, and at most 15."""
    clients = {name: client_for(getattr(world.org, name)) for name in ("dana", "pat", "omar", "yasmine")}
    clients |= {"dana/1": client_for(world.org.dana), "pat/1": client_for(world.org.pat)}
    for name in ("dana/1", "pat/1"):
        clients[name].post("/projects/switch/", {"project": "fraud-detection"})
    Membership.objects.create(project=world.org.fraud, user=world.org.pat, role="developer")
    make_request(world.org.pat, version=world.version, profile=world.profile, name="of-pat")
    judge(world, clients, page_addresses(world), tmp_path, capsys, most=MOST)


def test_api(world: World, api_for: Any, tmp_path: Path, capsys: Any) -> None:
    """The same number with 2 and with 60 of everything."""
    clients = {name: api_for(getattr(world.org, name), *SCOPES).client for name in ("dana", "pat")}
    judge(world, clients, api_addresses(world), tmp_path, capsys, most=MOST)


def judge(
    world: World, clients: dict[str, Client], addresses: list[tuple[str, str]], folder: Path, capsys: Any, *, most: int
) -> None:
    """Measure, grow, measure again, and print the table."""
    grow(world, range(FEW), folder)
    few = measure(clients, addresses)
    grow(world, range(FEW, MANY), folder)
    many = measure(clients, addresses)
    with capsys.disabled():
        print()
        for address, count in sorted(many.items(), key=lambda item: -item[1]):
            print(f"{few[address]:4} {count:4}  {address}")
    # A second page of a list that fits on one has nothing to read; it may ask for more once there is one.
    grown = {key: (few[key], many[key]) for key in many if many[key] > few[key] and "?page=" not in key}
    assert not grown, f"these grow with the data: {grown}"
    assert not (over := {key: count for key, count in many.items() if count > most}), f"more than {most}: {over}"
