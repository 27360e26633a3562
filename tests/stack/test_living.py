"""Quotas, usage, capacity and the life of endpoints on the whole embedded stack, as people live with it."""

import csv
import datetime as dt
import io
import itertools
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.stack.conftest import wait_for
from tests.stack.living_kit import Living, Told, day, flat, living, signed, values

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.xdist_group("processes")]

CALLERS = 8
SOON = 2  # seconds: Retry-After while running calls may use what is left
NUMBERS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens")


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """One portal for all tests here: each has a project of its own."""
    with living(tmp_path_factory.mktemp("state")) as found:
        yield found


# --- Quotas -----------------------------------------------------------------------------------------------------------


def test_a_quota_is_told_about_once_per_threshold_and_then_refuses(portal: Living) -> None:
    """Real calls cross what warns and 50, 80, 100 % of what refuses: each is told once, on the page, by mail, and to
    the webhook. Past the last one callers are refused, and everybody is told which limit it was.
    """
    project, soft, hard = portal.project("budget"), 400, 1000
    portal.open(project, "metered")
    secret, model = portal.key(project)["secret"], f"{project}/metered"
    _, signing = portal.webhook(project, "quota.threshold", "quota.projected")
    portal.quotas(project, [{"target": "project", "window": "month", "soft": soft, "hard": hard}])
    told: list[Told] = []
    wait_for(lambda: _one_more_knows_the_limit(portal, told, secret, model), 5, "the gateway to know the quota")

    marks = ((soft, 1), (hard // 2, 50), (hard * 4 // 5, 80), (hard, 100))
    for number, (at, threshold) in enumerate(marks[:-1], start=1):
        _call_up_to(portal, told, secret, model, at)
        _wait_told(portal, project, number)
        data = portal.heard("quota.threshold", project)[-1][2]["data"]
        assert data["threshold"] == threshold and at <= data["used"] <= _tokens(told) + 100
    _soft_header_from_the_call_on_that_finds_it_passed(told, soft)

    accepted, refused = _callers_until_used_up(portal, secret, model)
    told += accepted
    _wait_told(portal, project, len(marks))
    total = _tokens(told)
    crossed = next(end for end, sum_ in _running_sums(told) if sum_ >= hard)
    assert all(one.began < crossed for one in told), "a call was let in after the quota was used up"
    assert 0 <= total - hard < CALLERS * max(one.tokens for one in told)
    _refusal(refused, project, hard)

    limits = wait_for(lambda: _used(portal, project, total), 10, f"{total} tokens in the ledger")
    binds = limits["binds"]
    assert (binds["target_kind"], binds["target"], binds["window"], binds["left"]) == ("project", project, "month", 0)
    assert binds in limits["items"] and [one["binds"] for one in limits["items"]].count(True) == 1
    status, html = portal.page("omar", f"/projects/{project}/limits/")
    assert status == 200 and "calls are refused" in html and f"{total:,} of its {hard:,} tokens" in html

    again = portal.rows("from quotas import alerts\nfound = alerts.check()")
    assert again == 0, "something was still to be told"
    calls = portal.heard("quota.threshold", project)
    assert sorted(document["data"]["threshold"] for _, _, document in calls) == [1, 50, 80, 100]
    assert signed(signing, calls) and len({headers["webhook-id"] for headers, _, _ in calls}) == len(marks)
    for who in ("dana", "omar"):
        notes = portal.notes(who, "quota.threshold", project)
        assert len(notes) == len({note["title"] for note in notes}) == len(marks)
        _, html = portal.page(who, "/notifications/")
        for note in notes:
            assert html.count(f"{note['title']}</span>") == 1
            assert len(portal.mails(who, note["title"])) == 1


def _one_more_knows_the_limit(portal: Living, told: list[Told], secret: str, model: str) -> bool:
    told.append(portal.chat(secret, model))
    return "x-ratelimit-limit-tokens" in told[-1].headers


def _tokens(told: list[Told]) -> int:
    return sum(one.tokens for one in told)


def _running_sums(told: list[Told]) -> Iterator[tuple[float, int]]:
    """When each call had ended, with the tokens of all that had ended by then."""
    ordered = sorted(told, key=lambda one: one.ended)
    return zip((one.ended for one in ordered), itertools.accumulate(one.tokens for one in ordered), strict=True)


def _call_up_to(portal: Living, told: list[Told], secret: str, model: str, at: int) -> None:
    while _tokens(told) < at:
        told.append(portal.chat(secret, model, stream=len(told) % 2 == 1))
        assert told[-1].status == 200, told[-1].body
        assert told[-1].tokens < 90, "one call must not cross two thresholds"


def _wait_told(portal: Living, project: str, count: int) -> None:
    """Wait until `count` thresholds have reached webhook and mailboxes."""

    def arrived() -> bool:
        mailed = [len(portal.mails(who, f"{project}: ")) >= count for who in ("dana", "omar")]
        return len(portal.heard("quota.threshold", project)) >= count and all(mailed)

    wait_for(arrived, 20, f"{count} thresholds to be told")


def _soft_header_from_the_call_on_that_finds_it_passed(told: list[Told], soft: int) -> None:
    spent = 0
    for number, one in enumerate(told):
        warned = one.headers.get("x-gatehouse-quota") == "soft-exceeded"
        streamed = "event-stream" in one.headers["content-type"]  # its headers leave before its tokens are known
        spent += one.tokens
        assert warned == (spent - one.tokens * streamed >= soft), (number, spent, one.headers)


def _callers_until_used_up(portal: Living, secret: str, model: str) -> tuple[list[Told], list[Told]]:
    """Eight call at once, again and again, until each is told that the quota is used up."""

    def caller(number: int) -> list[Told]:
        mine: list[Told] = []
        while not mine or mine[-1].status == 200 or int(mine[-1].headers["retry-after"]) <= SOON:
            mine.append(portal.chat(secret, model, stream=number % 2 == 1))
            assert mine[-1].status == 200 or mine[-1].code == "quota_exceeded", mine[-1]
        return mine

    with ThreadPoolExecutor(CALLERS) as pool:
        every = [one for mine in pool.map(caller, range(CALLERS)) for one in mine]
    return [one for one in every if one.status == 200], [one for one in every if one.status == 429]


def _refusal(refused: list[Told], project: str, hard: int) -> None:
    final = [one for one in refused if int(one.headers["retry-after"]) > SOON]
    assert len(final) == CALLERS
    for one in final:
        assert (one.status, one.code) == (429, "quota_exceeded")
        assert one.headers["x-ratelimit-limit-tokens"] == str(hard)
        assert one.headers["x-ratelimit-remaining-tokens"] == "0"
        assert 0 < int(one.headers["retry-after"]) <= 86_400 and int(one.headers["x-ratelimit-reset-tokens"]) > 0
        assert f"the project {project}" in one.body["error"]["message"]


def _used(portal: Living, project: str, total: int) -> Any:
    limits = portal.api("omar", "GET", f"/projects/{project}/limits")
    return limits if limits["binds"]["used"] == total else None


# --- Usage ------------------------------------------------------------------------------------------------------------

COUNTERS = """
from urllib.request import Request, urlopen
from django.db.models import Count, Q, Sum
from endpoints.models import Endpoint
from portal import crypto
from quotas.models import UsageEvent
row = Endpoint.objects.get(pk="{endpoint}")
text = ""
for one in row.upstreams:
    headers = {{"Authorization": "Bearer " + crypto.decrypt(one["key"])}}
    text += urlopen(Request(one["url"] + "/metrics", headers=headers), timeout=10).read().decode()
events = UsageEvent.objects.filter(endpoint_id=str(row.pk))
tokens = {{name: Sum(name) for name in ("input_tokens", "output_tokens", "cached_tokens")}}
found = {{"metrics": text, "ledger": events.aggregate(
    requests=Count("pk"), errors=Count("pk", filter=~Q(outcome__in=["ok", "cancelled"])), **tokens)}}
"""


def test_usage_is_the_same_number_everywhere(portal: Living) -> None:
    """What clients were told = the engine's own counters = the ledger = the API = its CSV = the page = its CSVs = what
    the quota counts.
    """
    project = portal.project("counted")
    identifier = portal.open(project, "exact")
    key = portal.key(project)
    secret, model = key["secret"], f"{project}/exact"
    portal.quotas(project, [{"target": "endpoint", "name": "exact", "window": "month", "hard": 10**9}])
    told = [portal.chat(secret, model, most=10 + number, stream=number % 2 == 0) for number in range(12)]
    long = "Why does a bank review card payments? " * 30
    told += [portal.chat(secret, model, text=long, stream=stream) for stream in (True, False)]  # the second is cached
    assert {one.status for one in told} == {200}
    wrong = portal.chat(secret, model, most=10**6)
    assert wrong.status == 400
    for refused in (portal.chat(secret, "counted/none"), portal.chat("gth_wrong", model)):
        assert refused.status in {401, 404}  # never reached an engine, so it counts nowhere

    query = f"project={project}&endpoint=exact"
    path = f"/usage?{query}&interval=day&group_by=endpoint"

    def counted() -> dict[str, Any] | None:
        rows = portal.api("dana", "GET", path)["items"]
        return dict(rows[0]) if rows and rows[0]["requests"] >= len(told) + 1 else None

    row = wait_for(counted, 30, "all calls to be counted")
    sums = {
        "input_tokens": sum(one.input_tokens for one in told),
        "output_tokens": sum(one.output_tokens for one in told),
    }
    assert {name: row[name] for name in sums} == sums and (row["requests"], row["errors"]) == (len(told) + 1, 1)

    seen = portal.rows(COUNTERS.format(endpoint=identifier))
    assert seen["ledger"] == {name: row[name] for name in NUMBERS}
    engine = {
        "input_tokens": _metric(seen["metrics"], "prompt_tokens_total"),
        "output_tokens": _metric(seen["metrics"], "generation_tokens_total"),
        "cached_tokens": _metric(seen["metrics"], "prompt_tokens_cached_total"),
    }
    assert engine == {name: row[name] for name in engine} and row["cached_tokens"] > 0
    assert _metric(seen["metrics"], "request_success_total") == len(told)

    wanted = {name: str(row[name]) for name in NUMBERS}
    for table in (f"{path}&format=csv", f"/usage?{query}&interval=hour&format=csv"):
        status, text, headers = portal.raw("dana", "GET", table)
        assert status == 200 and headers["content-type"].startswith("text/csv")
        assert _sums(text.decode()) == wanted, table
    for form in ("csv", "series"):
        for group in ("endpoint", "key", "project", "person"):
            _, text_ = portal.page("dana", f"/usage/?{query}&range=24h&group_by={group}&format={form}")
            assert _sums(text_) == wanted, (form, group)
    _, html = portal.page("dana", f"/usage/?{query}&range=24h")
    line = next(part for part in html.split("<tr") if 'scope="row"' in part and ">exact</" in part)
    order = ("requests", "input_tokens", "output_tokens", "cached_tokens", "errors")
    assert values(line)[:5] == [wanted[name] for name in order]
    limits = portal.api("dana", "GET", f"/projects/{project}/limits?endpoint=exact&key={key['prefix']}")
    assert limits["binds"]["used"] == sum(sums.values())


def _metric(text: str, name: str) -> int:
    found = re.findall(rf"^vllm:{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    assert found, name
    return int(sum(map(float, found)))


def _sums(text: str) -> dict[str, str]:
    """The columns of numbers of a CSV, summed over its rows."""
    rows = list(csv.DictReader(io.StringIO(text)))
    return {name: str(sum(int(row[name]) for row in rows)) for name in NUMBERS}


# --- Capacity ---------------------------------------------------------------------------------------------------------

GROW_OLD = """
import datetime as dt
from django.utils import timezone
from endpoints.models import Endpoint
from quotas.models import Reservation
long_ago = timezone.now() - dt.timedelta(days=30)
found = Endpoint.objects.filter(pk="{endpoint}").update(ready_at=long_ago)
found += Reservation.objects.filter(holder_id="{endpoint}", state="held").update(held_at=long_ago)
"""


def test_suspending_what_the_portal_suggests_lets_the_next_one_in(portal: Living) -> None:
    """A full pool, one who waits, one who idles: asked, its owner suspends it; the other one runs."""
    project = portal.project("squeeze")
    pool = portal.api("pat", "GET", "/pools/gpu-pool")
    _set_limit(portal, pool["held"] + 1)
    try:
        idle = portal.open(project, "idler", hardware_profile="l4-24gb", ends_on=day(60))
        waiting = str(portal.granted("dana", portal.wanted(project, "waiter", hardware_profile="l4-24gb"))["endpoint"])
        waits = lambda: portal.endpoint(waiting)["reason"]["code"] == "waiting_for_capacity"  # noqa: E731
        wait_for(waits, 20, "the second one to wait")
        assert portal.api("omar", "GET", f"/insights/idle?project={project}")["items"] == []
        assert portal.rows(GROW_OLD.format(endpoint=idle)) == 2
        found = portal.api("omar", "GET", f"/insights/idle?project={project}")["items"]
        assert [(one["name"], one["accelerators"], one["never_called"]) for one in found] == [("idler", 1, True)]

        status, html = portal.page("pat", f"/endpoints/{idle}/suggest/", {})
        assert status == 200 and "are asked to suspend it" in html
        assert portal.endpoint(idle)["phase"] == "ready", "a suggestion changes nothing by itself"
        note = portal.notes("omar", "endpoint.idle", project)[0]
        assert note["url"] == f"/endpoints/{idle}/" and portal.page("omar", note["url"])[0] == 200
        portal.api("omar", "POST", f"/endpoints/{idle}/suspend", {"reason": "Nobody needs it."}, status=202)
        portal.until(idle, "suspended")
        portal.until(waiting, "ready")
        secret = portal.key(project)["secret"]
        assert portal.chat(secret, f"{project}/waiter").status == 200
        assert portal.chat(secret, f"{project}/idler").code == "endpoint_not_ready"
        now = portal.api("pat", "GET", "/pools/gpu-pool")
        assert (now["held"], now["waiting"]) == (pool["held"] + 1, 0)
    finally:
        _set_limit(portal, pool["limit"])


def _set_limit(portal: Living, limit: int) -> None:
    _, _, headers = portal.raw("pat", "GET", "/pools/gpu-pool")
    portal.api("pat", "PATCH", "/pools/gpu-pool", {"limit": limit}, If_Match=headers["etag"])


# --- The life of an endpoint ------------------------------------------------------------------------------------------


def test_the_whole_life_of_an_endpoint_over_rest(portal: Living) -> None:
    """As a pipeline lives it: open, scale, another revision, back, renew, expire, renew again, delete."""
    project = portal.project("alive")
    identifier = portal.open(project, "whole", replicas=2, ends_on=day(30))
    secret, model = portal.key(project)["secret"], f"{project}/whole"
    engines = lambda: len(portal.stack.processes("--served-model-name whole "))  # noqa: E731
    assert engines() == 2

    assert portal.api("dana", "POST", f"/endpoints/{identifier}/scale", {"replicas": 1}, status=202)["scale"] == 1
    wait_for(lambda: engines() == 1, 30, "one engine to end")
    above = portal.api("dana", "POST", f"/endpoints/{identifier}/scale", {"replicas": 3}, status=409)
    assert above["code"] == "needs_request"
    portal.api("dana", "POST", f"/endpoints/{identifier}/scale", {"replicas": 2}, status=202)
    wait_for(lambda: engines() == 2, 30, "the second engine to come back")

    body = {"kind": "revision", "endpoint": identifier, "version": "1.0", "hardware_profile": "cpu-demo",
            "replicas": 1, "concurrency": 4, "context_tokens": 2048, "purpose": "Smaller."}  # fmt: skip
    portal.granted("dana", body)
    wait_for(lambda: portal.endpoint(identifier)["revision"] == 2, 60, "revision 2 to take over")
    assert portal.chat(secret, model).status == 200
    portal.api("dana", "POST", f"/endpoints/{identifier}/rollback", {"revision": 1}, status=202)
    wait_for(lambda: _runs(portal, identifier, 1), 60, "revision 1 to run again")
    assert portal.chat(secret, model).status == 200

    renewal = portal.api("dana", "POST", f"/endpoints/{identifier}/renew", _renewal(90), status=201)
    portal.api("pat", "POST", f"/requests/{renewal['id']}/decisions", {"decision": "approve", "reason": "Used."})
    assert portal.endpoint(identifier)["ends_on"] == day(90)
    _expire(portal, identifier)
    gone = portal.until(identifier, "suspended")
    assert gone["hold"]["by"] == "expiry" and portal.chat(secret, model).code == "endpoint_not_ready"
    held = portal.api("dana", "POST", f"/endpoints/{identifier}/resume", {}, status=409)
    assert held["code"] == "on_hold", held
    assert [note["about"]["id"] for note in portal.notes("omar", "endpoint.expired", project)] == [identifier]
    renewal = portal.api("dana", "POST", f"/endpoints/{identifier}/renew", _renewal(45), status=201)
    portal.api("pat", "POST", f"/requests/{renewal['id']}/decisions", {"decision": "approve", "reason": "Again."})
    assert portal.until(identifier, "ready")["hold"] is None
    wait_for(lambda: portal.chat(secret, model).status == 200, 5, "it to answer again")

    portal.api("dana", "DELETE", f"/endpoints/{identifier}", status=202)
    portal.until(identifier, "deleted")
    wait_for(lambda: engines() == 0, 20, "its engines to end")
    events = portal.api("dana", "GET", f"/endpoints/{identifier}/events?limit=200")["items"]
    said = " ".join(event["sentence"] for event in reversed(events))
    order = ("renewed it until", "has passed. It is suspended", "It runs again, since it was renewed")
    assert re.search(".*".join(order), said), said


def _renewal(days: int) -> dict[str, str]:
    return {"ends_on": day(days), "purpose": "It is still used."}


def _runs(portal: Living, identifier: str, revision: int) -> bool:
    now = portal.endpoint(identifier)
    return (now["revision"], now["next_revision"], now["phase"]) == (revision, None, "ready")


def _expire(portal: Living, identifier: str) -> None:
    """Let its last day be yesterday, and have the worker look."""
    yesterday = (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)).isoformat()
    portal.rows(
        "from celery import current_app\nfrom endpoints.models import Endpoint\n"
        f'found = Endpoint.objects.filter(pk="{identifier}").update(ends_on="{yesterday}")\n'
        'current_app.send_task("endpoints.tasks.expire")'
    )


def test_a_share_opens_an_endpoint_and_ends_within_a_second(portal: Living) -> None:
    """Another project asks, an owner grants, its key calls; ended, its calls are refused one second later at most."""
    project, other = portal.project("lender"), portal.project("borrower", ravi="owner")
    identifier = portal.open(project, "lent")
    model, secret = f"{project}/lent", portal.key(other, "ravi")["secret"]
    own = portal.key(project)["secret"]
    asked = {"kind": "access", "project": other, "endpoint": identifier, "ends_on": day(20), "purpose": "Share first."}
    portal.api("ravi", "POST", "/requests", asked, status=422)  # not shareable: to a stranger it is not there
    assert portal.chat(secret, model).code == "model_not_found"
    _, _, headers = portal.raw("omar", "GET", f"/endpoints/{identifier}")
    portal.api("omar", "PATCH", f"/endpoints/{identifier}", {"shareable": True}, If_Match=headers["etag"])
    portal.granted("ravi", asked, by="omar")
    wait_for(lambda: portal.chat(secret, model).status == 200, 2, "the share to reach the gateway")
    assert portal.chat(secret, "lent").code == "model_not_found", "the short name is the owner's"
    shown = portal.endpoint(identifier, "ravi")
    assert shown["name"] == "lent"
    rows = lambda: portal.api("ravi", "GET", f"/usage?project={other}&group_by=endpoint")["items"]  # noqa: E731
    wait_for(rows, 10, "the caller's usage")
    assert rows()[0]["endpoint"] == "lent"

    share = portal.api("omar", "GET", f"/endpoints/{identifier}/shares")["items"][0]
    portal.api("omar", "DELETE", f"/endpoints/{identifier}/shares/{share['id']}")
    ended, after = time.monotonic(), []
    while time.monotonic() < ended + 2:
        after.append(portal.chat(secret, model, most=1))
    late = [one for one in after if one.began > ended + 1]
    assert late and {one.code for one in late} == {"model_not_found"}
    assert portal.chat(own, model).status == 200
    wait_for(lambda: portal.mails("ravi", "may no longer call lender/lent"), 20, "the mail about it")


# --- News, whatever dies ----------------------------------------------------------------------------------------------

END_LEASES = """
from django.utils import timezone
from projects.models import Delivery
found = Delivery.objects.filter(state="waiting", claimed_until__isnull=False).update(claimed_until=timezone.now())
"""
LAST_ATTEMPT = """
from django.utils import timezone
from projects.models import Delivery
rows = Delivery.objects.filter(webhook="{hook}", state="waiting", claimed_until=None, attempts__range=(1, 8))
found = rows.update(attempts=9, due_at=timezone.now())
"""
WAITING = """
from projects.models import Delivery
rows = Delivery.objects.filter(notification__person__username="{who}", notification__project__slug="{project}")
found = list(rows.filter(state="waiting").values_list("attempts", flat=True))
"""


def _talk(portal: Living, project: str) -> str:
    """A request of dana's under which pat can write: the path of its comments."""
    made = portal.api("dana", "POST", "/requests", portal.wanted(project, "talked-about"), status=201)
    return f"/requests/{made['id']}/comments"


def _write(portal: Living, path: str, text: str) -> None:
    """Write as a pipeline does that never gives up: the same key until there is an answer."""

    def written() -> bool:
        status, body, _ = portal.raw("pat", "POST", path, {"text": text}, Idempotency_Key=f"{path} {text}")
        assert status in {201, 503}, body
        return status == 201

    wait_for(written, 60, f"{text!r} to be written")


def _write_all(portal: Living, path: str, texts: tuple[str, ...]) -> None:
    for text in texts:
        _write(portal, path, text)


def _ids(portal: Living, project: str, text: str) -> list[str]:
    """The webhook-ids under which a comment came, one per call."""
    calls = portal.heard("request.comment", project)
    return [headers["webhook-id"] for headers, _, document in calls if document["data"]["text"] == text]


def test_no_news_is_lost_or_told_anew_when_processes_die(portal: Living) -> None:
    """kill -9 in the middle of a call, in the middle of a mail, and of server and worker at any moment: everything is
    told, once per person on the page; what is sent twice says so by its id.
    """
    project = portal.project("fragile")
    path, (hook, signing) = _talk(portal, project), portal.webhook(project, "request.comment")

    portal.hook.hold = threading.Event()
    _write(portal, path, "While the receiver thinks.")
    wait_for(lambda: portal.hook.inside, 20, "the call to be in flight")
    portal.kill("worker")
    portal.hook.hold.set()
    portal.hook.hold = None
    assert portal.rows(END_LEASES) >= 1
    wait_for(lambda: len(_ids(portal, project, "While the receiver thinks.")) == 2, 30, "the call to be made again")
    assert len(set(_ids(portal, project, "While the receiver thinks."))) == 1
    wait_for(lambda: portal.mails("dana", "While the receiver thinks."), 30, "its mail")

    portal.box.hold = threading.Event()
    _write(portal, path, "While the mail server thinks.")
    wait_for(lambda: portal.mails("dana", "While the mail server thinks."), 20, "the mail to be in flight")
    portal.kill("worker")
    portal.box.hold.set()
    portal.box.hold = None
    assert portal.rows(END_LEASES) >= 1
    again = wait_for(lambda: portal.mails("dana", "While the mail server thinks.")[1:], 30, "the mail to be sent again")
    assert again[0]["Message-ID"] == portal.mails("dana", "While the mail server thinks.")[0]["Message-ID"]

    texts = [f"Remark {number}." for number in range(10)]
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(_write_all, portal, path, tuple(texts))
        for child in ("server", "worker", "server"):
            portal.kill(child)
        writing.result()
    texts += ["While the receiver thinks.", "While the mail server thinks."]
    portal.rows(END_LEASES)

    def all_told() -> bool:
        return all(_ids(portal, project, text) and portal.mails("dana", text) for text in texts)

    wait_for(all_told, 60, "everything to be told")
    assert sorted(note["text"] for note in portal.notes("dana", "request.comment", project)) == sorted(texts)
    ids = {text: set(_ids(portal, project, text)) for text in texts}
    assert all(len(one) == 1 for one in ids.values()) and len(set().union(*ids.values())) == len(texts)
    assert signed(signing, portal.heard("request.comment", project))
    wait_for(lambda: _states(portal, hook) == ["sent"] * len(texts), 20, "every delivery to be known as sent")


def _states(portal: Living, hook: str) -> list[str]:
    return [item["state"] for item in portal.api("omar", "GET", f"/webhooks/{hook}/deliveries")["items"]]


def test_mail_waits_for_its_server_and_comes_together(portal: Living) -> None:
    """While the mail server is away the page tells everything; afterwards it is one mail with all of it, once."""
    project = portal.project("outage")
    path, texts = _talk(portal, project), [f"Away {number}." for number in range(6)]
    with portal.mail_away():
        for text in texts:
            _write(portal, path, text)
        _, html = portal.page("dana", "/notifications/")
        assert all(text in html for text in texts)
        tried = lambda: portal.rows(WAITING.format(who="dana", project=project))  # noqa: E731
        wait_for(lambda: len(tried()) == len(texts) and min(tried()) >= 1, 30, "every mail to have been tried")
    wait_for(lambda: portal.mails("dana", texts[0]), 60, "the mail after the outage")
    assert tried() == []
    mails = [mail for mail in portal.box.to("dana@example.com") if any(text in flat(mail) for text in texts)]
    assert len(mails) == 1 and all(text in flat(mails[0]) for text in texts)


def test_dead_letters_outlive_a_restart_and_can_be_sent_again(portal: Living) -> None:
    """A receiver that is broken for too long: its call is kept with the reason, and replayed under its old id."""
    project = portal.project("deadletter")
    path, (hook, signing) = _talk(portal, project), portal.webhook(project, "request.comment")
    portal.hook.status = 500
    try:
        _write(portal, path, "Nobody listens.")
        wait_for(lambda: portal.rows(LAST_ATTEMPT.format(hook=hook)) == 1, 30, "the first attempt to fail")
        wait_for(lambda: _states(portal, hook) == ["dead"], 30, "the last attempt to fail")
        assert portal.stack.launcher is not None
        portal.stack.launcher.kill()
        portal.stack.launcher.wait(timeout=30)
        portal.stack.start()
    finally:
        portal.hook.status = 204
    row = portal.api("omar", "GET", f"/webhooks/{hook}/deliveries?state=dead")["items"][0]
    assert (row["attempts"], row["last_status"], row["last_error"]) == (10, 500, "The receiver answered 500.")
    status, html = portal.page("omar", f"/webhooks/{hook}/")
    assert status == 200 and "The receiver answered 500." in html
    assert portal.api("omar", "POST", f"/webhooks/{hook}/replay", {}, status=202) == {"queued": 1}
    wait_for(lambda: _states(portal, hook) == ["sent"], 30, "the replay to arrive")
    assert set(_ids(portal, project, "Nobody listens.")) == {row["id"]}
    assert signed(signing, portal.heard("request.comment", project))
