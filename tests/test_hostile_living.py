"""Bad input to what people live with: quotas, webhooks, files, saved views, ranges in odd zones, the end of a month.

On the page and over REST alike: one sentence at the field, and nothing changed.
"""

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from allauth.idp.oidc.models import Client as OAuthClient
from django.db import transaction
from django.test import Client
from django.utils import timezone

from approvals.models import AccessReviewItem, Finding, Request, Waiver
from audit.models import Row as AuditRow
from audit.services import record
from catalog.models import Asset, Listing, Version
from endpoints.gateways.builtin.budget import Budget, Budgets
from endpoints.gateways.builtin.directory import Directory
from endpoints.gateways.builtin.errors import Refusal
from endpoints.models import Endpoint, Event
from endpoints.rogue.models import RogueWorkload
from portal import outbound
from projects.models import ApiKey, Application, Delivery, Notification, Project, SavedView, User, Webhook
from projects.notify import calls
from projects.oauth import applications
from projects.permissions import SCOPES
from projects.principal import Principal
from quotas import alerts
from quotas.bounds import bounds
from quotas.grants import set_quotas
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Quota, UsageDay, UsageHour
from quotas.spent import spent
from tests.conftest import Org
from tests.endpoints.gateway_kit import MemorySource
from tests.projects.notify_kit import receiver
from tests.projects.test_notify_webhooks import make_hook, say, states
from tests.quotas.conftest import finished, started
from tests.test_api_matrix import OPERATIONS
from tests.test_api_matrix import path_of as operation_of
from tests.test_url_matrix import PAGES, path_of
from tests.world import PERSONAS, World

pytestmark = pytest.mark.slow  # as a whole: the quick suite has a minute
Api = Callable[..., Any]
Clients = Callable[[User], Client]
LIMITS = "/projects/fraud-detection/limits/"
QUOTAS = "/projects/fraud-detection/quotas"


def sentence(response: Any, field: str) -> str:
    """What a refusal of the API says about `field`."""
    assert response.status_code == 422, response.content
    errors = {error["field"]: error["message"] for error in response.json()["errors"]}
    return str(errors[field])


# --- Quotas -----------------------------------------------------------------------------------------------------------

USED = {"target": "project", "window": "month", "soft": None, "hard": 5000}


@pytest.fixture
def limited(org: Org) -> Org:
    """5,000 tokens a month, of which 700 are used."""
    set_quotas(Principal.of(org.pat), org.fraud, {"tokens": [USED], "gpus": {"limit": 4}})
    UsageDay.objects.create(
        start=timezone.now().replace(hour=0, minute=0, second=0, microsecond=0), project_id=org.fraud.pk,
        endpoint_id="e1", endpoint="scoring", key_id="k1", key="gth_k", person="dana", requests=7, input_tokens=700,
    )  # fmt: skip
    return org


@pytest.mark.parametrize("number", [-1, 10**30, 10**15 + 1, 1.5, "many", "1e9", "٣", True, [], {}, ""])
@pytest.mark.parametrize("name", ["soft", "hard"])
def test_a_quota_that_is_no_number_over_rest(limited: Org, api_for: Api, name: str, number: Any) -> None:
    """The field is named with its place in the document; the quota stays."""
    pat, before = api_for(limited.pat, *SCOPES), AuditRow.objects.count()
    body = {"tokens": [{**USED, name: number}]}
    answer = pat.put(QUOTAS, body, If_Match=pat.get(QUOTAS)["ETag"])
    assert sentence(answer, f"tokens.0.{name}")
    assert Quota.objects.get(kind="tokens").hard == 5000 and AuditRow.objects.count() == before


@pytest.mark.parametrize("typed", ["-1", str(10**30), str(10**15 + 1), "1.5", "many", "1e9", "٣", "²", "9" * 5000])
@pytest.mark.parametrize("name", ["soft", "hard"])
def test_a_quota_that_is_no_number_on_the_page(limited: Org, client_for: Clients, name: str, typed: str) -> None:
    """What was typed stays in the field, with the sentence at it; the quota stays too."""
    client, before = client_for(limited.pat), AuditRow.objects.count()
    line = {"target-0": "project:", "window-0": "month", "soft-0": "", "hard-0": "5,000", f"{name}-0": typed}
    version = str(client.get(LIMITS).context["form"]["version"])
    answer = client.post(LIMITS, line | {"version": version, "gpus": "4"})
    assert answer.status_code == 422
    fields = {field["name"]: field for row in answer.context["form"]["lines"] for field in row["fields"]}
    assert fields[f"{name}-0"]["error"] and f'href="#id_{name}-0"' in answer.content.decode()
    assert Quota.objects.get(kind="tokens").hard == 5000 and AuditRow.objects.count() == before


def test_a_quota_below_what_is_used_is_taken_and_said(limited: Org, api_for: Api, client_for: Clients) -> None:
    """It is the platform's right to stop a project; whoever does it hears that it stops at once."""
    pat = api_for(limited.pat, *SCOPES)
    answer = pat.put(QUOTAS, {"tokens": [{**USED, "hard": 600}]}, If_Match=pat.get(QUOTAS)["ETag"]).json()
    assert len(answer["warnings"]) == 1 and "700 were used" in answer["warnings"][0]
    client = client_for(limited.pat)
    line = {"target-0": "project:", "window-0": "month", "soft-0": "", "hard-0": "100"}
    version = str(client.get(LIMITS).context["form"]["version"])
    html = client.post(LIMITS, line | {"version": version, "gpus": "4"}, follow=True).content.decode()
    assert "700 were used" in html and "calls are refused" in html
    assert Quota.objects.get(kind="tokens").hard == 100


@pytest.mark.parametrize("hard", [-1, 0, 10**30, 600, 5000, 1.5, "many", None, True])
def test_a_raise_that_raises_nothing_is_not_sent(limited: Org, api_for: Api, hard: Any) -> None:
    """Below what is used, below what counts already, or no number: refused by name, and no request is made."""
    ends = (timezone.now().date() + dt.timedelta(days=20)).isoformat()
    body = {"kind": "quota", "project": "fraud-detection", "quota": "tokens", "target": "project", "window": "month",
            "hard": hard, "ends_on": ends, "purpose": "More."}  # fmt: skip
    answer = api_for(limited.dana, "requests:write").post("/requests", body)
    assert answer.status_code in {409, 422}, answer.content
    problem = answer.json()
    assert "hard" in {error["field"] for error in problem["errors"]}, problem
    assert not Request.objects.exists()


# --- Webhooks ---------------------------------------------------------------------------------------------------------

PRIVATE = (
    *(
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://192.168.0.9/x",
        "https://169.254.169.254/latest/meta-data/",
    ),
    *("https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://[::ffff:7f00:1]/x", "https://[fe80::1]/x"),
    *("https://2130706433/x", "https://0x7f000001/x", "https://0x7f.1/x", "https://0177.0.0.1/x", "https://127.1/x"),
    *(
        "https://0/x",
        "https://0.0.0.0/x",
        "https://localhost/x",
        "https://inside.example.com/x",
        "https://127。0。0。1/x",
    ),
    *(
        "https://user:word@inside.example.com/x",
        "ftp://93.184.215.14/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_",
    ),
    *("https://", "x", "https://93.184.215.14:99999/", "https://93.184.215.14/\r\nHost: x", "https://93.184.215.14/\0"),
    "https://93.184.215.14/" + "x" * 2000,
)


@pytest.mark.parametrize("url", PRIVATE)
def test_a_webhook_to_a_place_it_may_not_go(
    url: str, org: Org, api_for: Api, client_for: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused when it is made and when it is changed, on the page and over REST: one sentence at `url`, no row."""
    system = outbound.resolve

    def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host in {"inside.example.com", "localhost"} else system(host, port)

    monkeypatch.setattr(outbound, "resolve", resolve)
    hook, _ = make_hook(org, "https://93.184.215.14/hook", name="good")
    omar, client, before = api_for(org.omar, *SCOPES), client_for(org.omar), AuditRow.objects.count()
    body = {"project": "fraud-detection", "name": "bad", "url": url}
    assert len(sentence(omar.post("/webhooks", body), "url")) < 400
    path = f"/webhooks/{hook.pk}"
    assert sentence(omar.patch(path, {"url": url}, If_Match=omar.get(path)["ETag"]), "url")
    form = {"name": "bad", "url": url, "enabled": "on"}
    for where in ("/projects/fraud-detection/webhooks/new/", f"{path}/change/"):
        answer = client.post(where, form)
        assert answer.status_code == 422 and 'href="#id_url"' in answer.content.decode(), where
    assert list(Webhook.objects.values_list("name", "url")) == [("good", "https://93.184.215.14/hook")]
    assert AuditRow.objects.count() == before


def test_a_redirect_into_the_house_is_not_followed(org: Org, settings: Any) -> None:
    """The receiver is allowed; where it points to hears nothing."""
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    with receiver() as inside, receiver(status=307) as outside:
        outside.headers["Location"] = inside.url
        hook, _ = make_hook(org, outside.url)
        say(org)
        assert calls.deliver() == 0
        row = Delivery.objects.get(webhook=hook)
        assert (len(outside.seen), inside.seen, row.last_status) == (1, [], 307)
        assert "Redirects are not followed" in row.last_error


def test_a_day_of_500s_beside_a_healthy_neighbour(org: Org, settings: Any) -> None:
    """Every quarter of an hour something happens: the neighbour hears all of it at once, the broken one is not
    hammered, and after a day it gets everything, each once.
    """
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}
    start = timezone.now().replace(microsecond=0)
    with receiver() as healthy, receiver(status=500) as broken, time_machine.travel(start, tick=False) as clock:
        good, _ = make_hook(org, healthy.url, name="healthy")
        bad, _ = make_hook(org, broken.url, name="broken")
        for number in range(96):
            say(org, title=f"News {number}.")
            calls.deliver()
            assert len(healthy.seen) == number + 1
            clock.shift(900)
        assert 96 <= len(broken.seen) <= 96 * 2, "a receiver that fails is asked about once a quarter of an hour"
        assert set(states(bad)) == {"waiting"} and states(good) == ["sent"] * 96
        before = len(broken.seen)
        broken.status = 204
        for _ in range(96 * 2):
            calls.deliver()
            clock.shift(900)
        assert states(bad) == ["sent"] * 96
        ids = [headers["webhook-id"] for headers, _ in broken.seen[before:]]
        assert len(ids) == len(set(ids)) == 96


# --- Files ------------------------------------------------------------------------------------------------------------

RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")


def plant(world: World, text: str) -> None:
    """Write `text` wherever a person, or a program with a key, may have written words that a file shows."""
    words = {
        Project: ("name", "description", "cost_centre", "owner_team"), User: ("full_name",), ApiKey: ("name",),
        Asset: ("name", "publisher", "summary"), Listing: ("publisher", "licence", "name"), Version: ("licence",),
        Endpoint: ("purpose", "reason_sentence", "hold_reason"), Event: ("sentence",), Request: ("name",),
        Notification: ("title", "text"), AccessReviewItem: ("words", "reason"),
        OAuthClient: ("name",), Application: ("description",), Waiver: ("reason", "compensating_control"),
        RogueWorkload: ("owner_name", "owner_source"),  # annotations of a cluster, which anybody may have written
    }  # fmt: skip
    pat = Principal.of(world.org.pat)
    applications.create(pat, project=None, name="Nightly", grants=["client_credentials"], scopes=["catalog:read"])
    Finding.objects.create(
        endpoint=world.running, check_id="planted", title=text, verdict="fail", reason=text, fix=text,
        seen_at=timezone.now(),
    )  # fmt: skip
    for model, names in words.items():
        known = {field.name for field in model._meta.get_fields()}
        model._default_manager.update(**{name: text for name in names if name in known})
    Delivery.objects.create(channel="webhook", webhook=world.webhook, kind="endpoint.ready", state="dead",
                            due_at=timezone.now(), last_error=text)  # fmt: skip
    User.objects.filter(username="dana").update(username=text)
    with transaction.atomic():
        record("test.plant", by=Principal.of(world.org.pat), obj=(text, text), project=text, reason=text)
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for table, start in ((UsageHour, now), (UsageDay, now.replace(hour=0))):
        table._default_manager.create(
            start=start, project_id=world.org.fraud.pk, endpoint_id="e1", endpoint=text, key_id=str(world.key.pk),
            key=text[:16], person=text, requests=1, input_tokens=5,
        )  # fmt: skip


def files(world: World, api_for: Api, client_for: Clients) -> Iterator[tuple[str, str]]:
    """Every address of the portal that answers with a CSV, page or API, and its text: found by asking all of them."""
    column, pat = PERSONAS.index("pat"), client_for(world.org.pat)
    for route, row in sorted(PAGES.items()):
        if row.get.split()[column] != "200" or route.startswith("accounts/"):
            continue
        forms = (
            ["csv", *[f"series&group_by={name}" for name in ("endpoint", "key", "person")]]
            if "usage" in route
            else ["csv"]
        )
        for form in forms:
            yield from _csv(f"{route}?format={form}", pat.get(f"{path_of(route, world)}?format={form}"))
    api = api_for(world.org.pat, *SCOPES)
    for method, path in sorted(OPERATIONS):
        if method == "get" and not path.endswith("/logs"):
            more = "&group_by=project,endpoint,key,person" if path == "/usage" else ""
            where = f"{operation_of(method, path, world)}?format=csv{more}"
            yield from _csv(f"/api{path}", api.get(where, Accept="text/csv"))


def _csv(name: str, response: Any) -> Iterator[tuple[str, str]]:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    if response.get("Content-Type", "").startswith("text/csv"):
        assert response.status_code == 200 and "attachment" in response["Content-Disposition"], name
        yield name, content.decode()


# Files of slugs, numbers and words of the portal alone: nobody writes a cell of them.
CHOSEN_WORDS = {"environments/?format=csv"}


@pytest.mark.parametrize("start", RISKY, ids=repr)
def test_no_cell_of_any_file_runs(start: str, world: World, api_for: Api, client_for: Clients) -> None:
    """Every file, with words that a spreadsheet would run in every column that people write: all of them disarmed."""
    plant(world, f"{start}cmd|' /C calc'!A0")
    found = dict(files(world, api_for, client_for))
    assert len(found) >= 10, sorted(found)
    for name, text in found.items():
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert len(rows) > 1, f"{name} has no row: nothing was tried"
        cells = [cell for row in rows for cell in row]
        assert not [cell for cell in cells if cell.startswith(RISKY)], name
        if name not in CHOSEN_WORDS:
            armed = [cell for cell in cells if cell.startswith(f"'{start}")]
            assert armed, f"{name} shows none of the words: {rows[1]}"


# --- Saved views ------------------------------------------------------------------------------------------------------


def test_ten_thousand_saved_views(org: Org, client_for: Clients) -> None:
    """The 51st and all after it are refused with the way out; other lists and other people have their own fifty."""
    client = client_for(org.dana)

    def save(number: int, page: str = "/requests/") -> Any:
        return client.post("/views/save/", {"name": f"View {number}", "next": f"{page}?q={number}"}, follow=True)

    for number in range(50):
        save(number)
        assert SavedView.objects.filter(person=org.dana).count() == number + 1
    before = AuditRow.objects.count()
    for number in range(50, 10_000, 199):
        assert "You have 50 saved views of this list; delete one first." in save(number).content.decode()
    assert SavedView.objects.filter(person=org.dana).count() == 50 and AuditRow.objects.count() == before
    save(0, "/endpoints/")
    assert SavedView.objects.filter(person=org.dana).count() == 51


# --- Zones of half and quarter hours ----------------------------------------------------------------------------------

ODD = ("Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham")


@pytest.mark.parametrize("zone", ODD)
def test_days_of_odd_zones_lose_and_double_nothing(zone: str, org: Org, client_for: Clients) -> None:
    """Each hour is counted in exactly one day: 24 of them in each, and two ranges side by side make the long one."""
    User.objects.filter(pk=org.dana.pk).update(zone=zone)
    today = dt.datetime.now(ZoneInfo(zone)).date()
    first = dt.datetime.combine(today - dt.timedelta(days=12), dt.time(), tzinfo=dt.UTC)
    UsageHour.objects.bulk_create(
        UsageHour(
            start=first + dt.timedelta(hours=number), project_id=org.fraud.pk, endpoint_id="e1", endpoint="scoring",
            key_id="k1", key="gth_k", person="dana", requests=1, input_tokens=10_000 + number,
        )
        for number in range(12 * 24)
    )  # fmt: skip
    client, day = client_for(org.dana), dt.timedelta(days=1)

    def range_of(start: dt.date, end: dt.date) -> list[tuple[int, int]]:
        query = {"range": "custom", "from": str(start), "to": str(end), "format": "series", "project": ""}
        answer = client.get("/usage/", query)
        assert answer.status_code == 200, answer.content[:300]
        rows = csv.DictReader(io.StringIO(answer.content.decode()))
        return [(int(row["requests"]), int(row["input_tokens"])) for row in rows]

    begin = today - 10 * day
    whole, left, right = (
        range_of(begin, begin + 7 * day),
        range_of(begin, begin + 3 * day),
        range_of(begin + 4 * day, begin + 7 * day),
    )
    assert [requests for requests, _ in whole] == [24] * 8 and left + right == whole
    hours = sorted(UsageHour.objects.values_list("start", "input_tokens"))
    local = [tokens for at, tokens in hours if begin <= at.astimezone(ZoneInfo(zone)).date() <= begin + 7 * day]
    assert sum(tokens for _, tokens in whole) == sum(local)
    for bad in ("2026-02-30", "tomorrow", "10000-01-01", "2026-11-01T00:00:00+25:00"):
        answer = client.get("/usage/", {"range": "custom", "from": bad, "to": str(today)})
        assert answer.status_code == 422 and "from" in answer.content.decode()


# --- The end of a month -----------------------------------------------------------------------------------------------


def test_a_stream_across_the_end_of_a_month(org: Org, tmp_path: Path) -> None:
    """It counts where it began, at the gateway and in the ledger: December starts with nothing used and nobody told."""
    set_quotas(Principal.of(org.pat), org.fraud, {"tokens": [{**USED, "hard": 100}]})
    found = tuple(bounds())
    last = dt.datetime(2026, 11, 30, 23, 59, 58, tzinfo=dt.UTC)
    now = last.timestamp()
    budgets = Budgets(Directory(MemorySource(), grace_seconds=0), clock=lambda: now)
    budget = Budget(budgets, found, "fraud-detection")
    (tmp_path / "journal").mkdir()
    with Journal(tmp_path / "journal") as journal:
        sequence = journal.start(**started(at=last, project_id=org.fraud.pk))
        spend = budget.hold(now, 120)
        with pytest.raises(Refusal):
            budget.check()  # what runs is counted in November
        now += 5
        budget.check()
        assert [(one.spent, one.running) for one in budgets.standings(found)] == [(0, 0)]
        mark = journal.end(sequence, **finished(input_tokens=100, output_tokens=20))
        budget.settle(spend, 120, mark)
        assert [(one.spent, one.running) for one in budgets.standings(found)] == [(0, 0)]
        ingest(tmp_path / "journal")
    november, december = (
        spent(found, now=moment).used(found[0].target, "month") for moment in (last, last + dt.timedelta(seconds=5))
    )
    assert (november, december) == (120, 0)
    assert UsageDay.objects.get().start == last.replace(hour=0, minute=0, second=0)
    assert alerts.check(last + dt.timedelta(seconds=5)) == 0 and not Notification.objects.exists()
