"""The pages of an endpoint's life: state and rollout, revisions and the way back, settings, usage, events, logs."""

import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.models import Row
from endpoints import services
from endpoints.models import Desired, Endpoint, EngineCount, Event, Phase, Revision, RevisionOutcome, Share
from portal import crypto
from projects.models import Membership, Role
from projects.principal import Principal
from quotas.grants import set_quotas
from quotas.models import Reservation, ReservationState, UsageDay, UsageHour
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import next_demo, open_demo

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[[Any], Client]
ROUTES = [{"url": "http://127.0.0.1:9", "key": "", "instance": "0-1-2"}]


@pytest.fixture
def endpoint(org: Org, state_dir: Any) -> Endpoint:
    """A ready endpoint of two replicas whose first revision worked."""
    return ready(open_demo(org.fraud, replicas=2))


def ready(endpoint: Endpoint, **fields: Any) -> Endpoint:
    routes = [one | {"key": crypto.encrypt("k")} for one in ROUTES]
    fields = {"phase": Phase.READY, "upstreams": routes, "reason_code": "ready", "reason_sentence": "Answers calls."
              } | fields  # fmt: skip
    Endpoint.objects.filter(pk=endpoint.pk).update(**fields)
    Revision.objects.filter(endpoint=endpoint, number=1).update(outcome=RevisionOutcome.WORKED)
    endpoint.refresh_from_db()
    return endpoint


def url(name: str, endpoint: Endpoint, *more: Any) -> str:
    return reverse(f"endpoint_{name}", args=[endpoint.pk, *more])


def read(client: Client, address: str, status: int = 200, **data: Any) -> str:
    answer = client.get(address, data)
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def called(project: Any, endpoint: Endpoint, *, key: str = "gth_one", requests: int = 12) -> None:
    """Usage of today as the ledger has it."""
    now = timezone.now()
    numbers = {"requests": requests, "errors": 1, "input_tokens": 5000, "output_tokens": 250}
    place = {"endpoint_id": str(endpoint.pk), "endpoint": endpoint.name, "key_id": key, "key": key, "person": "dana"}
    for model, start in (
        (UsageHour, now.replace(minute=0, second=0, microsecond=0)),
        (UsageDay, now.replace(hour=0, minute=0, second=0, microsecond=0)),
    ):
        model._default_manager.create(project_id=project.pk, start=start, ttft={}, latency={}, **place, **numbers)


# --- State


def test_a_rollout_shows_its_own_steps_and_the_page_goes_on_asking(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    next_demo(endpoint, replicas=2)
    Event.objects.create(endpoint=endpoint, code="rollout_starting", phase=Phase.READY, sentence="Revision 2 starts.")
    client = client_for(org.dana)
    page = read(client, url("detail", endpoint))
    assert "The rollout of revision 2, beside revision 1" in page and "Takes over" in page
    assert "1, 2 on its way" in page and 'hx-trigger="every 2s"' in page
    status = client.get(url("status", endpoint), headers={"HX-Request": "true"})
    assert status.status_code == 200 and 'id="endpoint-events" hx-swap-oob="true"' in status.content.decode()
    assert "Revision 2 starts." in status.content.decode()


def test_a_revision_that_failed_leaves_its_remark_beside_the_state(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    ready(endpoint, remark="Revision 2 did not work: it ran out of memory.")
    assert "Revision 2 did not work: it ran out of memory." in read(client_for(org.vic), url("detail", endpoint))


def test_a_waiting_one_says_its_place_in_the_queue(org: Org, client_for: Clients, state_dir: Any) -> None:
    pool = factories.make_pool(limit=2, slug="small")
    open_demo(org.search, gpus=2, pool=pool)
    waiting = open_demo(org.fraud, gpus=1, pool=pool)
    Endpoint.objects.filter(pk=waiting.pk).update(reason_code="waiting_for_capacity", reason_turn="nobody")
    page = read(client_for(org.dana), url("detail", waiting))
    assert "Place 1 in the queue of small, for 1 accelerator." in page and reverse("capacity") in page


def test_suspended_says_by_whom_and_what_resume_does(org: Org, client_for: Clients, state_dir: Any) -> None:
    pool = factories.make_pool(limit=4, slug="small")
    mine = ready(open_demo(org.fraud, gpus=1, pool=pool, replicas=3))
    services.suspend(Principal.of(org.dana), mine)
    page = read(client_for(org.omar), url("detail", mine))
    assert "dana suspended it." in page and url("resume", mine) in page
    assert "Resume reserves 3 accelerators of small (1 free now), waits for them, then starts 3 replicas" in page
    page = read(client_for(org.aud), url("detail", mine))
    assert url("resume", mine) not in page and "Resume reserves" not in page


def test_after_its_last_day_only_a_renewal_is_offered(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    ready(
        endpoint, phase=Phase.SUSPENDED, desired=Desired.SUSPENDED, hold_by="expiry", hold_since=timezone.now(),
        hold_reason="Its last day was 2026-11-01.", ends_on=dt.date(2026, 11, 1), upstreams=[],
    )  # fmt: skip
    client = client_for(org.dana)
    page = read(client, url("detail", endpoint))
    assert "On hold by its expiry" in page and url("resume", endpoint) not in page
    assert f"/requests/new/?kind=renewal&amp;endpoint={endpoint.pk}" in page
    page = read(client, url("settings", endpoint))
    assert "Its last day was 1 Nov 2026." in page and "Without a renewal it is deleted on" in page


def test_a_near_last_day_is_announced_to_those_who_can_ask(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    ready(endpoint, ends_on=timezone.now().date() + dt.timedelta(days=12))
    assert "in 12 days." in read(client_for(org.vic), url("detail", endpoint))
    assert "kind=renewal" in read(client_for(org.dana), url("detail", endpoint))
    assert "kind=renewal" not in read(client_for(org.vic), url("detail", endpoint))
    ready(endpoint, ends_on=timezone.now().date() + dt.timedelta(days=31))
    assert "Its last day is" not in read(client_for(org.dana), url("detail", endpoint))


def test_the_limit_that_binds_and_the_load_stand_beside_the_address(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    ids = {endpoint.name: str(endpoint.pk)}
    tokens = [
        {"target": "project", "window": "month", "hard": 100_000},
        {"target": "endpoint", "name": endpoint.name, "window": "day", "hard": 6_000},
    ]
    set_quotas(factories.engineer(), org.fraud, {"gpus": None, "tokens": tokens}, endpoints=ids)
    called(org.fraud, endpoint)
    EngineCount.objects.create(endpoint=endpoint, instance="0-1-2", at=timezone.now(), running=5, waiting=2)
    page = read(client_for(org.dana), url("detail", endpoint))
    card = page.split('id="binds"')[1].split("</section>")[0]
    assert card.index("5,250 / 6,000") < card.index("5,250 / 100,000") and card.count("Reached first.") == 1
    assert "5 of 8" in card and "2 wait" in card and f"kind=quota&amp;project={org.fraud.slug}" in card
    assert "Tokens per hour" in page and "5,000" in page.split('id="traffic"')[1].split("</section>")[0]


def test_facts_count_what_runs_and_lead_to_the_request(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    Endpoint.objects.filter(pk=endpoint.pk).update(scale=1, contact=org.dana)
    page = read(client_for(org.vic), url("detail", endpoint))
    card = page.split('id="facts"')[1].split("</section>")[0]
    assert "1 × " in card and ", 2 approved" in card and "73.00 / month" in card and "dana" in card
    assert '<a href="/requests/1/">R-1</a>' in card
    Revision.objects.filter(endpoint=endpoint).update(authorization_reference="import of 2025")
    page = read(client_for(org.vic), url("detail", endpoint))
    assert "import of 2025" in page and "/requests/1/" not in page


def test_a_deleted_one_shows_its_history_and_offers_nothing(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    ready(endpoint, phase=Phase.DELETED, desired=Desired.DELETED, upstreams=[])
    page = read(client_for(org.omar), url("detail", endpoint))
    assert "It is deleted" in page and "data-playground" not in page and 'id="call-it"' not in page
    for name in ("suspend", "resume", "delete"):
        assert url(name, endpoint) not in page


# --- Suspend and delete, counted


def test_suspend_and_delete_count_calls_keys_accelerators_and_who_waits(
    org: Org, client_for: Clients, state_dir: Any
) -> None:
    pool = factories.make_pool(limit=2, slug="small")
    mine = ready(open_demo(org.fraud, gpus=1, pool=pool, replicas=2), shareable=True)
    open_demo(org.search, gpus=2, pool=pool)
    omar = Principal.of(org.omar)
    services.issue_key(omar, org.fraud, "only", [mine.name])
    services.issue_key(omar, org.fraud, "everything", [])
    services.share(omar, mine, org.search, ends_on=None)
    services.issue_key(Principal.of(org.cy), org.search, "theirs", [f"fraud-detection/{mine.name}"])
    EngineCount.objects.create(endpoint=mine, instance="0-1-2", at=timezone.now(), running=3)
    client = client_for(org.dana)
    page = read(client, url("suspend", mine))
    for words in (
        "<strong>2 keys</strong> can call it", "<strong>3 calls</strong> in its engines now are cut off",
        "<strong>2 accelerators</strong> of small go back as soon as the engines have ended; 1 endpoint waits for 2",
    ):  # fmt: skip
        assert words in page
    mine.refresh_from_db()
    assert mine.desired == Desired.RUNNING  # asking changes nothing
    page = read(client, url("delete", mine))
    assert "<strong>2 keys</strong> can call nothing else" in page  # only, and theirs
    assert "<strong>1 share</strong> with other projects ends: search-ranking, with 1 key made for it" in page
    assert url("suspend", mine) in page


# --- Revisions


def test_revisions_say_what_changed_what_became_of_it_and_under_which_approval(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    second = next_demo(endpoint, "--flag", replicas=1)
    Endpoint.objects.filter(pk=endpoint.pk).update(next_revision=None)
    Revision.objects.filter(pk=second.pk).update(
        outcome=RevisionOutcome.FAILED, outcome_sentence="Revision 2 did not work: it ended."
    )
    page = read(client_for(org.vic), url("revisions", endpoint))
    assert "Replicas: 2 → 1" in page and "Engine: other command" in page and "the first one" in page
    assert "Revision 2 did not work: it ended." in page and '<a href="/requests/2/">R-2</a>' in page
    assert url("rollback", endpoint, 2) not in page  # a viewer goes nowhere
    assert url("rollback", endpoint, 2) in read(client_for(org.dana), url("revisions", endpoint))


def test_a_revision_whose_approval_has_ended_says_why_there_is_no_way_back(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    next_demo(endpoint)
    Endpoint.objects.filter(pk=endpoint.pk).update(next_revision=None)
    Revision.objects.filter(endpoint=endpoint, number=2).update(authorization_valid_until=dt.date(2026, 1, 1))
    page = read(client_for(org.dana), url("revisions", endpoint))
    assert "The approval R-2 ended on 2026-01-01." in page and url("rollback", endpoint, 2) not in page


def test_going_back_is_asked_first_and_says_how_it_happens(org: Org, client_for: Clients, state_dir: Any) -> None:
    pool = factories.make_pool(limit=3, slug="small")
    mine = ready(open_demo(org.fraud, gpus=1, pool=pool, replicas=2))
    next_demo(mine, gpus=1, pool=pool, replicas=1)
    client = client_for(org.dana)
    page = read(client, url("rollback", mine, 1))
    assert "Cancel the rollout of revision 2?" in page and "no call fails" in page
    assert client.post(url("rollback", mine, 1)).status_code == 302
    mine.refresh_from_db()
    assert mine.next_revision is None and Row.objects.filter(action="endpoints.rollback").count() == 1
    # The cancelled one again: one accelerator is needed beside the two that are held.
    Reservation.objects.filter(holder_kind="retiring").update(state=ReservationState.RELEASED)
    type(pool).objects.filter(pk=pool.pk).update(held=2)
    page = read(client, url("rollback", mine, 2))
    assert "starts beside the one that runs" in page and "holds 1 accelerator of small more" in page
    assert "<strong>Replicas</strong>: 2 → 1" in page
    type(pool).objects.filter(pk=pool.pk).update(held=3)
    page = read(client, url("rollback", mine, 2))
    assert "There is no room for both (small has 0 free)" in page and "endpoint_not_ready in between" in page
    assert client.get(url("rollback", mine, 9)).status_code == 404
    assert client.get(url("rollback", mine, 10**40)).status_code == 404


def test_a_second_rollout_is_refused_with_a_sentence(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    next_demo(endpoint)
    answer = client_for(org.dana).post(url("rollback", endpoint, 2))
    assert answer.status_code == 409 and "is being rolled out" in answer.content.decode()


# --- Settings


@pytest.mark.parametrize(
    ("name", "data", "who"),
    [
        ("scale", {"replicas": "1"}, "dana omar pat"),
        ("transfer", {"contact": "omar"}, "dana omar pat"),
        ("shareable", {"shareable": "on"}, "omar"),
        ("share", {"project": "search-ranking"}, "omar"),
    ],
)
def test_settings_change_for_those_who_may_and_show_no_form_to_others(
    org: Org, client_for: Clients, endpoint: Endpoint, name: str, data: dict[str, str], who: str
) -> None:
    Endpoint.objects.filter(pk=endpoint.pk).update(shareable=name == "share")
    people = ("dana", "omar", "pat", "vic", "yasmine", "aud")
    for person in people:
        client = client_for(getattr(org, person))
        page = read(client, url("settings", endpoint))
        assert (f'action="{url(name, endpoint)}"' in page) == (person in who.split()), person
    for person in set(people) - set(who.split()):
        answer = client_for(getattr(org, person)).post(url(name, endpoint), data)
        assert answer.status_code == 403 and "owner" in answer.content.decode(), person
    assert client_for(org.cy).post(url(name, endpoint), data).status_code == 404
    first = who.split()[0]
    assert client_for(getattr(org, first)).post(url(name, endpoint), data).status_code == 302
    endpoint.refresh_from_db()
    done = {
        "scale": endpoint.wanted_replicas == 1,
        "transfer": endpoint.contact == org.omar,
        "shareable": endpoint.shareable,
        "share": Share.objects.filter(project=org.search, ended_at__isnull=True).exists(),
    }
    assert done[name]


@pytest.mark.parametrize(
    ("name", "data", "status", "words"),
    [
        ("scale", {"replicas": "3"}, 409, "was approved for 2 replicas; 3 need a request"),
        ("scale", {"replicas": "0"}, 422, "at least 1 runs"),
        ("scale", {"replicas": "many"}, 422, "write a whole number"),
        ("scale", {"replicas": "²"}, 422, "write a whole number"),
        ("transfer", {"contact": "cy"}, 422, "who is no active member"),
        ("share", {"project": "nowhere"}, 422, "there is no such project"),
        ("share", {"project": "fraud-detection"}, 422, "whose endpoint it is"),
        ("share", {"project": "search-ranking", "ends_on": "2020-01-01"}, 422, "which has passed"),
        ("share", {"project": "search-ranking", "ends_on": "soon"}, 422, "write a day like"),
        ("share", {"project": "search-ranking", "reason": "x" * 600}, 422, "the limit is 500"),
    ],
)
def test_a_wrong_setting_is_refused_on_its_page_with_what_was_typed(
    org: Org, client_for: Clients, endpoint: Endpoint, name: str, data: dict[str, str], status: int, words: str
) -> None:
    Endpoint.objects.filter(pk=endpoint.pk).update(shareable=True)
    answer = client_for(org.omar).post(url(name, endpoint), data)
    page = answer.content.decode()
    assert answer.status_code == status and words in page and "Nothing was changed" in page
    if name == "share":
        assert f'value="{data["project"]}"' in page
    assert not Share.objects.exists()
    endpoint.refresh_from_db()
    assert (endpoint.scale, endpoint.contact) == (None, None)


def test_more_replicas_and_a_later_day_are_requests(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    ends_on = timezone.now().date() + dt.timedelta(days=10)
    Endpoint.objects.filter(pk=endpoint.pk).update(ends_on=ends_on, reminded_days=14)
    called(org.fraud, endpoint)
    page = read(client_for(org.dana), url("settings", endpoint))
    assert f"kind=revision&amp;endpoint={endpoint.pk}&amp;replicas=3" in page
    assert f"kind=renewal&amp;endpoint={endpoint.pk}" in page
    assert "In the last 30 days: 12 calls, 5,250 tokens." in page
    card = page.split('id="ending"')[1].split("</section>")[0]
    assert card.count("behind us") == 2 and card.count("are reminded") == 1
    assert "kind=renewal" not in read(client_for(org.pat), url("settings", endpoint))  # no member asks for nothing


def test_ending_a_share_counts_what_the_project_loses(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    Endpoint.objects.filter(pk=endpoint.pk).update(shareable=True)
    omar = Principal.of(org.omar)
    share = services.share(omar, endpoint, org.search, ends_on=None, reason="Ranking.", reference="R-77")
    services.issue_key(Principal.of(org.cy), org.search, "theirs", [f"fraud-detection/{endpoint.name}"])
    called(org.search, endpoint, requests=7)
    address = url("unshare", endpoint, share.pk)
    client = client_for(org.omar)
    assert address in read(client, url("settings", endpoint)) and '<a href="/requests/77/">' in read(
        client, url("settings", endpoint)
    )
    seen = read(client_for(org.dana), url("settings", endpoint))
    assert "search-ranking" in seen and address not in seen and "/requests/77/" not in seen
    page = read(client, address)
    assert "<strong>7 calls</strong> of that project" in page and "<strong>1 key</strong> of that project is" in page
    assert client.post(address).status_code == 302
    share.refresh_from_db()
    assert share.ended_at is not None and client.post(address).status_code == 409
    assert client_for(org.dana).post(address).status_code == 403
    assert client.get(url("unshare", endpoint, 987654)).status_code == 404


# --- Usage, events, logs


def test_usage_is_of_this_endpoint_alone_and_names_what_others_made(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    called(org.fraud, endpoint, key="gth_one")
    called(org.fraud, open_demo(org.fraud), key="gth_other")
    called(org.search, endpoint, key="gth_theirs", requests=7)
    client = client_for(org.vic)
    page = read(client, url("usage", endpoint))
    assert "gth_one" in page and "gth_other" not in page and "gth_theirs" not in page
    assert "made 7 calls in this range" in page and "Time to first token" in page and page.count("data-plot=") == 4
    assert f"/usage/?project=fraud-detection&amp;endpoint={endpoint.name}" in page
    assert 'href="?project=&amp;range=24h"' in page  # a zoom stays on this page
    assert 'aria-current="true"><span class="pf-v6-c-toggle-group__text">24 h' in read(
        client, url("usage", endpoint), range="24h"
    )
    # Nobody turns the page to another endpoint by its address.
    page = read(client, url("usage", endpoint), project="search-ranking", key="gth_theirs")
    assert "gth_theirs" not in page.split("<main")[1] and "gth_one" in page
    assert "choose one of" in read(client, url("usage", endpoint), 422, range="for ever")


def test_usage_without_calls_says_so_and_counts_twice(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    EngineCount.objects.create(endpoint=endpoint, instance="0-1-2", at=timezone.now(), requests=4321)
    page = read(client_for(org.dana), url("usage", endpoint))
    assert "No calls in this range" in page and "4,321" in page.split('id="counts"')[1]


def test_events_follow_only_while_something_moves(org: Org, client_for: Clients, state_dir: Any) -> None:
    moving = open_demo(org.fraud)
    client, htmx = client_for(org.dana), {"HX-Request": "true"}
    assert 'hx-trigger="every 3s"' in read(client, url("events", moving))
    part = client.get(url("events", moving), headers=htmx)
    assert part.status_code == 200 and "<html" not in part.content.decode()
    ready(moving)
    rest = client.get(url("events", moving), headers=htmx)
    assert rest.status_code == 286 and "hx-trigger" not in rest.content.decode()
    for number in range(60):
        Event.objects.create(endpoint=moving, code="ready", phase=Phase.READY, sentence=f"Event {number}.")
    second = read(client, url("events", moving), page=2)
    assert "Event 0." in second and "Event 59." not in second


class Log:
    """A cluster driver that has a log and counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def logs(self, endpoint_id: str, lines: int = 200, **which: Any) -> str:
        self.asked.append(lines)
        return "\n".join(f"line {number}" for number in range(min(lines, 300)))


def test_logs_follow_choose_their_length_and_download(
    org: Org, client_for: Clients, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    monkeypatch.setattr("endpoints.engine_logs.driver_for", lambda cluster: log)
    client, address = client_for(org.vic), url("logs", endpoint)
    page = read(client, address)
    assert "line 199" in page and "hx-trigger" not in page.split('id="log-tail"')[1].split(">")[0]
    page = read(client, address, lines="50", follow="on")
    assert (
        'hx-trigger="every 2s"' in page
        and "lines=50&amp;follow=on" in page
        and "data-copy=" not in page.split('id="logs"')[1]
    )
    part = client.get(address, {"lines": "50", "follow": "on"}, headers={"HX-Request": "true"})
    assert part.status_code == 200 and part.content.decode().strip().startswith('<div id="log-tail"')
    read(client, address, lines="999999")  # no choice: the usual number
    file = client.get(address, {"download": "1"})
    assert file["Content-Type"] == "text/plain; charset=utf-8" and file.content.decode().count("\n") == 300
    assert file["Content-Disposition"] == f'attachment; filename="fraud-detection-{endpoint.name}.log"'
    assert log.asked == [200, 50, 50, 200, 5000]
    ready(endpoint, phase=Phase.SUSPENDED, desired=Desired.SUSPENDED, upstreams=[])
    rest = client.get(address, {"follow": "on"}, headers={"HX-Request": "true"})
    assert rest.status_code == 286 and "hx-trigger" not in rest.content.decode()
    assert 'name="follow"' not in read(client, address)


# --- Queries


def test_no_page_asks_more_often_because_there_is_more(org: Org, client_for: Clients, state_dir: Any) -> None:
    pool = factories.make_pool(limit=3, slug="small")
    mine = ready(open_demo(org.fraud, gpus=1, pool=pool), shareable=True, ends_on=timezone.now().date())
    failed = ready(open_demo(org.fraud), phase=Phase.FAILED, upstreams=[])
    waiting = open_demo(org.fraud, gpus=3, pool=pool)
    Endpoint.objects.filter(pk=waiting.pk).update(reason_code="waiting_for_capacity")
    omar, names = Principal.of(org.omar), itertools.count(1)
    set_quotas(
        factories.engineer(), org.fraud, {"gpus": None, "tokens": [{"target": "project", "window": "day", "hard": 9}]},
        endpoints={},
    )  # fmt: skip

    first = mine.revision
    assert first

    def more() -> None:
        number = next(names)
        services.issue_key(omar, org.fraud, f"key-{number}", [mine.name])
        project = type(org.fraud).objects.create(slug=f"other-{number}", name="Other")
        Membership.objects.create(project=project, user=org.cy, role=Role.OWNER)
        services.share(omar, mine, project, ends_on=None)
        called(org.fraud, mine, key=f"gth_{number}")
        Revision.objects.create(
            endpoint=mine, number=number + 1, version=first.version, profile=first.profile, replicas=1,
            concurrency=1, context_tokens=1, authorization_reference=f"R-{number}", authorization_digest="x",
        )  # fmt: skip
        EngineCount.objects.create(endpoint=mine, instance=f"{number}", at=timezone.now())

    more()
    tabs = ("detail", "usage", "revisions", "settings", "events", "logs", "status", "delete", "suspend")
    addresses = [url(name, mine) for name in tabs] + [url("rollback", mine, 2), url("detail", failed)]
    addresses += [url("detail", waiting), url("unshare", mine, Share.objects.get().pk)]
    client = client_for(org.omar)
    few = {address: count(client, address) for address in addresses}
    shared = count(client_for(org.cy), url("detail", mine))
    for _ in range(6):
        more()
    assert {address: count(client, address) for address in addresses} == few
    assert count(client_for(org.cy), url("detail", mine)) == shared
    assert max(*few.values(), shared) <= 15, few


def count(client: Client, address: str) -> int:
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code in {200, 286}, address
    return len(queries)
