"""The first page: what it says to whom, what each number opens, and what it costs."""

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.models import Request, RequestState
from audit import services as audit
from audit.models import Seal
from catalog import services as catalog
from catalog.services import collect_evidence
from endpoints.models import Endpoint, Phase
from portal.home import cards
from portal.home.sight import Sight
from portal.states import move
from projects import keys
from projects.models import PLATFORM_GROUPS, Membership, Project
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Quota
from tests.conftest import Org
from tests.factories import engineer, lead, make_endpoint, make_pool, make_profile, make_request, make_version
from tests.quotas.conftest import call

pytestmark = pytest.mark.slow

MOST_QUERIES = 15
ClientFor = Callable[[Any], Client]


def read(client: Client) -> str:
    """The page; fails when it needs too many queries."""
    client.get("/")  # content types and the like are remembered after the first page
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/")
    assert response.status_code == 200
    assert len(queries) <= MOST_QUERIES, [query["sql"][:120] for query in queries]
    return response.content.decode()


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def endpoint(org: Org, name: str, phase: Phase, **fields: Any) -> Endpoint:
    """An endpoint of dana's in `phase`, by the arrows that the reconciler takes."""
    made = make_endpoint(org.dana, name=name, **fields)
    rows = Endpoint.objects.filter(pk=made.pk)
    assert move(rows, made.phase, Phase.PROVISIONING, field="phase")
    assert move(rows, Phase.PROVISIONING, phase, field="phase", ready_at=timezone.now())
    made.refresh_from_db()
    return made


def stats(client: Client) -> dict[str, tuple[Any, str]]:
    """The strip of numbers: value and address by label."""
    return {one["label"]: (one["value"], one["url"]) for one in client.get("/").context["stats"]}


# --- the data scientist


def test_new_person_sees_the_first_steps(org: Org, client_for: ClientFor) -> None:
    text = read(client_for(org.dana))
    assert "Nothing runs yet" in text
    assert "Ticks itself from what you did. 0 of" in text and "Your first endpoint" in text
    assert "Request an endpoint" in text and "Pick an approved model" in text


def test_own_requests_say_whose_turn_it_is(org: Org, client_for: ClientFor) -> None:
    make_request(org.dana, state=RequestState.SUBMITTED, name="asked")
    make_request(org.dana, state=RequestState.DRAFT, name="unfinished")
    text = read(client_for(org.dana))
    assert "Waits for one decision." in text and "1 of your requests waits for you." in text
    assert text.index("unfinished") < text.index("asked")  # the own turn first


def test_failed_endpoint_comes_first_and_is_news(org: Org, client_for: ClientFor) -> None:
    endpoint(org, "a-good-one", Phase.READY)
    endpoint(org, "z-broken", Phase.FAILED)
    text = read(client_for(org.dana))
    assert "1 endpoint failed" in text
    assert text.index("z-broken") < text.index("a-good-one")


def test_calls_and_first_token_of_the_day(org: Org, client_for: ClientFor, tmp_path: Path) -> None:
    row = endpoint(org, "busy", Phase.READY)
    start = {"project_id": org.fraud.pk, "endpoint_id": str(row.pk), "endpoint": row.name}
    with Journal(tmp_path / "a") as journal:
        for ttft in (180.0, 180.0, 900.0):
            call(journal, start=start | {"at": timezone.now()}, ttft_ms=ttft)
        call(journal, start=start | {"at": timezone.now() - dt.timedelta(days=2)}, ttft_ms=5000.0)
    ingest(tmp_path / "a")
    client = client_for(org.dana)
    [line] = next(one for one in client.get("/").context["main"] if one["card"].name == "endpoints")["cells"]["rows"]
    assert (line["calls"], line["first"]) == (3, "0.18 s")
    chart = client.get("/home/chart/").context["one"]["cells"]["chart"]
    assert chart.legend[0]["total"] == "480" and chart.rows[-1][1] == "360"


def test_tokens_left_of_the_own_projects(org: Org, client_for: ClientFor, tmp_path: Path) -> None:
    client = client_for(org.dana)
    assert "No token quota" in client.get("/home/tokens/").content.decode()
    Quota.objects.create(project=org.fraud, kind="tokens", window="month", hard=1000)
    Quota.objects.create(project=org.search, kind="tokens", window="month", hard=7)
    with Journal(tmp_path / "a") as journal:
        call(journal, start={"project_id": org.fraud.pk, "at": timezone.now()})
    ingest(tmp_path / "a")
    [line] = client.get("/home/tokens/").context["one"]["cells"]["rows"]
    assert (line["left"], line["limit"], line["project"], line["percent"]) == (880, 1000, "fraud-detection", 12.0)


# --- who decides and runs the platform


def test_decider_sees_queue_and_pool(org: Org, client_for: ClientFor) -> None:
    make_pool(limit=8)
    waiting = make_request(org.dana, state=RequestState.SUBMITTED)
    text = read(client_for(org.pat))
    assert "1 request waits for a decision" in text
    assert f'href="/approvals/{waiting.pk}/"' in text
    assert "of 8 held" in text


def test_overdue_is_said_first(org: Org, client_for: ClientFor) -> None:
    late = make_request(org.dana, state=RequestState.SUBMITTED, name="late")
    make_request(org.dana, state=RequestState.SUBMITTED, name="fresh")
    used = {"clock_seconds": 5 * 86_400 + 7_200, "clock_since": timezone.now()}
    Request.objects.filter(pk=late.pk).update(due_at=timezone.now() - dt.timedelta(hours=2), **used)
    client = client_for(org.pat)
    text = read(client)
    assert "1 request is overdue and 1 request waits for a decision." in text.replace("\n", " ")
    assert "5 d 2 h" in text and "2 h overdue" in text
    assert stats(client)["Waiting for you"] == (2, "/approvals/?mine=1")
    assert stats(client)["Overdue"][0] == 1


def test_broken_endpoints_of_all_projects(org: Org, client_for: ClientFor) -> None:
    endpoint(org, "down", Phase.FAILED)
    endpoint(org, "fine", Phase.READY)
    client = client_for(org.pat)
    text = read(client)
    assert "fraud-detection/down" in text and "fraud-detection/fine" not in text
    assert stats(client)["Failing"] == (1, "/endpoints/?phase=failed")


def test_what_could_be_given_back(org: Org, client_for: ClientFor) -> None:
    gpu = make_profile(gpus=1)
    pool = make_pool(limit=8, profiles=[gpu])
    row = endpoint(org, "sleepy", Phase.READY, profile=gpu)
    long_ago = timezone.now() - dt.timedelta(days=30)
    Endpoint.objects.filter(pk=row.pk).update(ready_at=long_ago)
    pool.reservations.update(held_at=long_ago)
    text = read(client_for(org.pat))
    assert "1 could be given back" in text and "fraud-detection/sleepy" in text
    assert "sleepy" not in read(client_for(org.cy))


# --- who governs and audits


def test_governance_sees_what_needs_a_look(org: Org, client_for: ClientFor) -> None:
    version = make_version()
    row = endpoint(org, "risky", Phase.READY, version=version)
    catalog.block(lead(), version, reason="A finding.")
    make_version("in_review")
    proven = make_version()
    collect_evidence(engineer(), proven)
    bare = make_version()
    bare.evidence.all().delete()
    client = client_for(org.yasmine)
    text = read(client)
    assert "1 endpoint runs a blocked version" in text and f"/endpoints/{row.pk}/" in text
    numbers = stats(client)
    assert numbers["Blocked, running"] == (1, "/home/blocked/") and numbers["In review"][0] == 1
    assets = client.get("/home/assets/").content.decode()
    assert bare.asset.name in assets and version.asset.name in assets and proven.asset.name not in assets


def test_the_newest_links_of_the_chain_are_checked(
    org: Org, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for(org.aud)
    make_version()
    assert "Nothing is sealed yet" in client.get("/home/seal/").content.decode()
    audit.seal()
    make_version()
    page = client.get("/home/seal/")
    cells = page.context["one"]["cells"]
    assert "links hold" in page.content.decode() and cells["wrong"] is None
    assert cells["sequence"] == Seal.objects.count() and cells["unsealed"] > 0
    monkeypatch.setattr(audit, "row_hash", lambda text: "another")
    broken = client.get("/home/seal/")
    assert broken.context["one"]["cells"]["wrong"] is not None and "Broken at row" in broken.content.decode()


def test_auditor_sees_decisions_and_changes(org: Org, client_for: ClientFor) -> None:
    made = make_request(org.dana, state="rejected", name="too-large")
    text = read(client_for(org.aud))
    assert made.number in text and "pat on a request of dana" in text
    assert "approvals.reject" in text and "Request an endpoint" not in text and "Open the queue" not in text
    assert stats(client_for(org.aud))["Decisions"][0] == 1


# --- the owner


def test_owner_sees_what_ends_soon(org: Org, client_for: ClientFor) -> None:
    keys.issue(org.principal(org.dana), project=org.fraud, name="nightly", scopes=["inference:invoke"], days=10)
    keys.issue(org.principal(org.dana), project=org.fraud, name="yearly", scopes=["inference:invoke"], days=300)
    row = endpoint(org, "ending", Phase.READY)
    Endpoint.objects.filter(pk=row.pk).update(ends_on=timezone.now().date() + dt.timedelta(days=20))
    client = client_for(org.omar)
    text = read(client)
    assert "1 endpoint ends within 30 days and 1 key ends within 14 days." in text
    due = client.get("/home/due/").content.decode()
    assert "nightly" in due and "yearly" not in due and "fraud-detection/ending" in due
    numbers = stats(client)
    assert (numbers["Members"][0], numbers["Keys ending"][0], numbers["Ending"][0]) == (3, 1, 1)
    assert client_for(org.dana).get("/").context["stats"] == []
    assert "nightly" not in client_for(org.dana).get("/home/due/").content.decode()  # keys are the owner's concern


def test_owner_sees_the_gpu_budget(org: Org, client_for: ClientFor) -> None:
    client = client_for(org.omar)
    assert "hold no accelerator" in client.get("/home/gpus/").content.decode()
    gpu = make_profile(gpus=2)
    make_pool(limit=3, profiles=[gpu])
    make_endpoint(org.dana, profile=gpu, name="first")
    make_endpoint(org.dana, profile=gpu, name="second")  # waits
    Quota.objects.create(project=org.fraud, kind="gpus", hard=8)
    [line] = client.get("/home/gpus/").context["one"]["cells"]["rows"]
    assert (line["project"], line["held"], line["waiting"], line["limit"], line["percent"]) == (
        "fraud-detection", 2, 2, 8, 50.0,
    )  # fmt: skip
    assert client_for(org.dana).get("/home/gpus/").status_code == 404


# --- for everybody


def test_nobody_is_told_of_foreign_projects(org: Org, client_for: ClientFor) -> None:
    row = endpoint(org, "secret-plan", Phase.FAILED)
    Endpoint.objects.filter(pk=row.pk).update(ends_on=timezone.now().date())
    make_request(org.dana, name="secret-ask")
    client = client_for(org.cy)
    text = read(client) + "".join(
        client.get(f"/home/{card.name}/").content.decode() for card in cards.of(Sight(org.request(org.cy)))
    )
    assert "secret-" not in text and "fraud-detection" not in text and "failed" not in plain(read(client))


@pytest.mark.parametrize("name", ["aud", "vic"])
def test_who_may_not_request_is_not_offered_it(org: Org, client_for: ClientFor, name: str) -> None:
    assert "Request an endpoint" not in read(client_for(getattr(org, name)))


def test_somebody_without_a_project_is_told_what_to_do(org: Org, client_for: ClientFor) -> None:
    Membership.objects.filter(user=org.vic).delete()
    assert "You are in no project yet" in read(client_for(org.vic))


def test_the_switcher_narrows_every_number(org: Org, client_for: ClientFor) -> None:
    endpoint(org, "down", Phase.FAILED)
    client = client_for(org.pat)
    client.post("/projects/switch/", {"project": "search-ranking"})
    assert stats(client)["Failing"][0] == 0
    client.post("/projects/switch/", {"project": "fraud-detection"})
    assert stats(client)["Failing"][0] == 1


def test_every_number_opens_a_page(org: Org, client_for: ClientFor) -> None:
    for person in (org.pat, org.yasmine, org.aud, org.omar):
        client = client_for(person)
        for label, (_, url) in stats(client).items():
            assert client.get(url).status_code == 200, (person.username, label, url)


def test_cards_are_only_for_whom_they_are(org: Org, client_for: ClientFor) -> None:
    assert client_for(org.dana).get("/home/pools/").status_code == 404
    assert client_for(org.dana).get("/home/nothing/").status_code == 404
    part = client_for(org.dana).get("/home/newest/", headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<section") and "<html" not in part
    assert "<html" in client_for(org.dana).get("/home/newest/").content.decode()


def everything(org: Org) -> None:
    """pat gets every role there is; a page of everything to show."""
    for group in PLATFORM_GROUPS:
        Group.objects.get(name=group).user_set.add(org.pat)
    Membership.objects.create(project=org.fraud, user=org.pat, role="owner")
    Membership.objects.create(project=org.search, user=org.pat, role="developer")
    gpu = make_profile(gpus=1)
    make_pool(limit=8, profiles=[gpu])
    for number in range(3):
        row = endpoint(org, f"sleepy-{number}", Phase.READY, profile=gpu)
        long_ago = timezone.now() - dt.timedelta(days=30)
        Endpoint.objects.filter(pk=row.pk).update(ready_at=long_ago, ends_on=timezone.now().date())
        Quota.objects.get_or_create(project=row.project, kind="tokens", window="month", defaults={"hard": 1000})
        make_request(org.dana, state="submitted", name=f"asked-{number}")
        make_request(org.pat, state="draft", name=f"mine-{number}")
        make_request(org.dana, state="rejected", name=f"no-{number}")
        keys.issue(org.principal(org.pat), project=org.fraud, name=f"k{number}", scopes=["inference:invoke"], days=3)
    endpoint(org, "down", Phase.FAILED)
    make_version("blocked")
    audit.seal()


def test_one_person_with_every_role(org: Org, client_for: ClientFor) -> None:
    """At most 15 queries; what does not fit is fetched card by card, in the same order."""
    everything(org)
    for number in range(30):
        Project.objects.create(slug=f"more-{number}", name="More")
        Membership.objects.create(project=Project.objects.get(slug=f"more-{number}"), user=org.pat, role="owner")
    client = client_for(org.pat)
    html = read(client)
    titles = [one.title for one in cards.CARDS if one.name not in {"newest", "blocked", "failing", "waivers", "rogues"}]
    assert [title for title in titles if title not in html and title != "Get going"] == []
    later = re.findall(r'hx-get="(/home/[a-z]+/)\?short=1"', html)
    assert later and all(client.get(url).status_code == 200 for url in later)
    for url in later:
        assert f'<a href="{url}">' in html  # without a script


@pytest.mark.parametrize("card", [card.name for card in cards.CARDS])
def test_no_card_costs_more_than_it_says(org: Org, card: str) -> None:
    """The budget of the page is true because each price is."""
    everything(org)
    found = next(one for one in cards.CARDS if one.name == card)
    sight = Sight(org.request(org.pat))
    assert sight.numbers
    with CaptureQueriesContext(connection) as queries:
        found.cells(sight)
    assert len(queries) <= found.cost, [query["sql"][:160] for query in queries]


def test_all_numbers_are_one_query(org: Org) -> None:
    everything(org)
    sight = Sight(org.request(org.pat))
    assert sight.standing  # for whom pat decides, too
    with CaptureQueriesContext(connection) as queries:
        assert sight.numbers["failed"] == 1 and sight.numbers["waiting"] == 3 and sight.numbers["keys_ending"] == 3
    assert len(queries) == 1
