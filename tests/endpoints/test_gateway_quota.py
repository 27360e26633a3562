"""Token quotas on the data path: when a call is refused, what the headers say, and that nothing is counted twice."""

import asyncio
import datetime as dt
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F, Sum

from endpoints.gateways.builtin import app as gateway_app
from endpoints.gateways.builtin import budget as module
from endpoints.gateways.builtin import metrics
from endpoints.gateways.builtin.body import parse
from endpoints.gateways.builtin.budget import Budget, Budgets, Spend
from endpoints.gateways.builtin.directory import Directory
from endpoints.gateways.builtin.errors import Refusal
from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord
from endpoints.models import Endpoint
from projects.principal import Principal
from quotas.bounds import Bound, Raise
from quotas.grants import set_quotas
from quotas.ingest import ingest
from quotas.journal import Journal, Mark
from quotas.models import UsageDay
from quotas.spent import Spent, spent
from tests.conftest import Org
from tests.endpoints.gateway_kit import Engine, MemorySource, Received, Running, Stage, ordinary, serving, staged, until
from tests.endpoints.test_gateway_source import endpoint as make_endpoint
from tests.endpoints.test_gateway_source import issue
from tests.quotas.conftest import finished, started

pytestmark = pytest.mark.slow

CHAT = {"model": "scoring", "messages": [{"role": "user", "content": "Say hello."}]}  # answered with 7 + 3 tokens
LIMIT, LEFT, RESET = (f"x-ratelimit-{name}-tokens" for name in ("limit", "remaining", "reset"))


def bound(hard: int | None, soft: int | None = None, **fields: Any) -> Bound:
    return replace(
        Bound(1, 1, "fraud-detection", "tokens", "project", "", "day", soft, hard), **fields
    )  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(autouse=True)
def _swept(request: pytest.FixtureRequest) -> None:
    """A gateway that has counted nothing yet."""
    if "source" in request.fixturenames:
        made: Stage = request.getfixturevalue("stage")
        made.sweep()
        assert gateway_app._instance is not None
        gateway_app._instance._budgets = Budgets(gateway_app._instance._directory)


@pytest.fixture
def engine(stage: Stage) -> Engine:
    return stage.engine


@pytest.fixture
def source(stage: Stage) -> MemorySource:
    return stage.source


@pytest.fixture
def gateway(stage: Stage) -> Running:
    return stage.gateway


def midnight() -> int:
    """Seconds until the day ends, UTC."""
    return 86_400 - int(time.time()) % 86_400


# --- Through a gateway -----------------------------------------------------------------------------------------------


def test_without_a_quota_there_is_no_header_and_nothing_is_read(gateway: Running, source: MemorySource) -> None:
    secret = source.add_key()
    for _ in range(3):
        answer = gateway.request(secret, CHAT)
        assert answer.status == 200 and not [name for name in answer.headers if "ratelimit" in name or "quota" in name]
    assert source.reads.count("quotas") == 1 and "spent" not in source.reads


def test_the_quota_of_somebody_else_is_none(gateway: Running, source: MemorySource) -> None:
    source.bounds += [
        bound(0, target_kind="key", target_id="other"),
        bound(0, target_kind="endpoint", target_id="other"),
    ]
    answer = gateway.request(source.add_key(), CHAT)
    assert answer.status == 200 and LIMIT not in answer.headers


def test_a_call_is_refused_when_the_quota_is_used_up(gateway: Running, source: MemorySource, engine: Engine) -> None:
    """Not forwarded, not in the journal, and said in a sentence that leads on."""
    source.bounds.append(bound(5000))
    source.sums["project", "1"] = (5000, 5000)
    before = refusals()
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.status, answer.code) == (429, "quota_exceeded")
    assert answer.json["error"]["type"] == "rate_limit_error"
    assert abs(int(answer.headers["retry-after"]) - midnight()) <= 2
    message = answer.json["error"]["message"]
    assert "the project fraud-detection, 5,000 tokens for today (UTC), is used up" in message
    assert "/projects/fraud-detection/limits/ shows" in message
    assert (answer.headers[LIMIT], answer.headers[LEFT]) == ("5000", "0")
    assert engine.requests == [] and gateway.records("start") == []
    assert refusals() == before + 1


def refusals() -> float:
    """How many calls the metrics say were refused for a quota."""
    return float(metrics.REFUSALS.labels("quota_exceeded")._value.get())


def test_a_month_of_waiting_is_not_asked_of_anybody(gateway: Running, source: MemorySource) -> None:
    source.bounds.append(bound(10, window="month"))
    source.sums["project", "1"] = (0, 10)
    answer = gateway.request(source.add_key(), CHAT)
    assert answer.status == 429 and 1 <= int(answer.headers["retry-after"]) <= 86_400
    assert "for this month" in answer.json["error"]["message"] and int(answer.headers[RESET]) <= 31 * 86_400


@pytest.mark.parametrize("stream", [False, True])
def test_headers_count_what_the_ledger_does_not_have_yet(
    gateway: Running, source: MemorySource, stream: bool
) -> None:  # fmt: skip
    """Each call costs 10 tokens: a whole answer says what is left behind it, a stream what is left before its own."""
    source.bounds.append(bound(1000))
    source.sums["project", "1"] = (100, 700)
    secret = source.add_key()
    left = []
    for _ in range(3):
        answer = gateway.request(secret, CHAT | {"stream": stream})
        assert answer.status == 200 and answer.headers[LIMIT] == "1000" and "x-gatehouse-quota" not in answer.headers
        assert abs(int(answer.headers[RESET]) - midnight()) <= 2
        left.append(int(answer.headers[LEFT]))
    estimate = len(str(CHAT)) // 4 + 10
    if stream:
        assert all(900 - 10 * number - estimate <= seen <= 900 - 10 * number for number, seen in enumerate(left)), left
    else:
        assert left == [890, 880, 870]


def test_calls_are_refused_from_the_one_on_that_finds_it_used_up(gateway: Running, source: MemorySource) -> None:
    """35 tokens: four calls of 10 pass, since the fourth begins with 30 used."""
    source.bounds.append(bound(35))
    secret = source.add_key()
    assert [gateway.request(secret, CHAT).status for _ in range(6)] == [200, 200, 200, 200, 429, 429]


def test_the_ledger_takes_over_exactly_once(gateway: Running, source: MemorySource) -> None:
    """What was ingested moves from the gateway's count into the ledger's: the sum stays."""
    source.bounds.append(bound(10**6))
    secret = source.add_key()
    for _ in range(4):
        gateway.request(secret, CHAT)
    (path,) = gateway.journal.glob("*.jsonl")
    source.sums["project", "1"], source.offsets[path.stem] = (40, 40), path.stat().st_size
    assert gateway_app._instance is not None
    budgets = gateway_app._instance._budgets

    def handed_over() -> bool:
        answer = gateway.request(secret, CHAT)
        assert int(answer.headers[LEFT]) == 10**6 - 10 * len(gateway.records())
        return len(budgets._finished) < len(gateway.records())

    until(handed_over)


def test_running_calls_are_reserved(gateway: Running, source: MemorySource, engine: Engine) -> None:
    """By the prompt's size and the most tokens that they ask for; what they leave comes free when they end."""
    go_on = threading.Event()

    async def slowly(engine: Engine, request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(go_on.wait, 10)
        await ordinary(engine, request, writer)

    source.bounds.append(bound(500))
    secret = source.add_key()
    engine.script = slowly
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.request, secret, CHAT | {"max_tokens": 490})
        until(lambda: engine.requests)
        refused = gateway.request(secret, CHAT)
        go_on.set()
        assert first.result(10).status == 200
    assert (refused.status, refused.headers["retry-after"]) == (429, "2")
    assert "has 0 used, and calls that are running may use the rest" in refused.json["error"]["message"]
    answer = gateway.request(secret, CHAT)
    assert (answer.status, answer.headers[LEFT]) == (200, "480")


def test_a_call_that_fails_leaves_nothing_reserved(gateway: Running, source: MemorySource, engine: Engine) -> None:
    source.bounds.append(bound(500))
    source.add_endpoint("broken", "http://127.0.0.1:1")
    secret = source.add_key()
    failed = gateway.request(secret, CHAT | {"model": "broken", "max_tokens": 400})
    assert failed.status == 502 and failed.headers[LIMIT] == "500"
    answer = gateway.request(secret, CHAT)
    assert (answer.status, answer.headers[LEFT]) == (200, "490")


def test_many_at_once_overshoot_only_by_the_calls_in_flight(gateway: Running, source: MemorySource) -> None:
    source.bounds.append(bound(300))
    secret = source.add_key()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: gateway.request(secret, CHAT).status, range(120)))
    assert set(answers) == {200, 429} and 10 <= answers.count(200) <= 30 + 16
    assert gateway.request(secret, CHAT).status in {200, 429}


def test_the_soft_quota_only_warns(gateway: Running, source: MemorySource) -> None:
    source.bounds += [bound(None, 15), bound(10_000, window="month", quota_id=2)]
    secret = source.add_key()
    answers = [gateway.request(secret, CHAT) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert [answer.headers.get("x-gatehouse-quota") for answer in answers] == [None, "soft-exceeded", "soft-exceeded"]
    assert answers[-1].headers[LIMIT] == "10000"  # of those that refuse, though the soft one has less left


def test_a_soft_quota_alone_stands_in_the_headers(gateway: Running, source: MemorySource) -> None:
    source.bounds.append(bound(None, 15))
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.headers[LIMIT], answer.headers[LEFT]) == ("15", "5")


def test_quotas_of_key_and_endpoint(gateway: Running, source: MemorySource) -> None:
    """The key's own stops one key, the endpoint's stops everybody there and nowhere else."""
    one, other = source.add_key(), source.add_key()
    first = next(iter(source.keys.values()))
    scoring = source.projects[1]["scoring"]
    source.add_endpoint("second", scoring.upstreams[0].url)
    source.bounds += [
        bound(15, target_kind="key", target_id=first.id),
        bound(45, target_kind="endpoint", target_id=scoring.id, quota_id=2, window="month"),
    ]
    assert [gateway.request(one, CHAT).status for _ in range(3)] == [200, 200, 429]
    assert "The quota of this key, 15 tokens" in gateway.request(one, CHAT).json["error"]["message"]
    assert [gateway.request(other, CHAT).status for _ in range(4)] == [200, 200, 200, 429]
    refused = gateway.request(other, CHAT).json["error"]["message"]
    assert "The quota of this endpoint, 45 tokens for this month" in refused
    assert gateway.request(other, CHAT | {"model": "second"}).status == 200


def test_a_changed_quota_reaches_the_gateway_within_a_second(gateway: Running, source: MemorySource) -> None:
    source.bounds.append(bound(0))
    secret = source.add_key()
    assert gateway.request(secret, CHAT).status == 429
    source.bounds[0], source.value = bound(1000), source.value + 1
    until(lambda: gateway.request(secret, CHAT).status == 200, 1.5)


def test_the_ledger_is_read_in_the_background(gateway: Running, source: MemorySource) -> None:
    """Hundreds of calls in a second wait for one reading, the first."""
    source.bounds.append(bound(10**9))
    secret = source.add_key()
    begun = time.monotonic()
    for _ in range(100):
        assert gateway.request(secret, CHAT).status == 200
    assert source.reads.count("spent") <= 2 + (time.monotonic() - begun) / module.REFRESH_SECONDS


def test_while_the_database_is_away_what_is_known_goes_on(gateway: Running, source: MemorySource) -> None:
    source.bounds.append(bound(45))
    secret = source.add_key()
    assert gateway.request(secret, CHAT).status == 200
    source.away = True
    assert [gateway.request(secret, CHAT).status for _ in range(5)] == [200, 200, 200, 200, 429]


@pytest.mark.parametrize(
    ("fields", "estimate"),
    [
        ({}, 0), ({"max_tokens": 100}, 100), ({"max_completion_tokens": 50, "max_tokens": 100}, 50),
        ({"max_output_tokens": 70}, 70), ({"max_tokens": 10**9}, 4096), ({"max_tokens": 5, "n": 3}, 15),
        ({"max_tokens": -5}, 0), ({"max_tokens": "many"}, 0), ({"max_tokens": True}, 0), ({"max_tokens": 1.5}, 0),
        ({"max_tokens": 5, "n": 10**12}, 5 * 128), ({"max_tokens": None, "n": None}, 0),
    ],
)  # fmt: skip
def test_what_a_call_may_answer(fields: dict[str, Any], estimate: int) -> None:
    body = parse(json.dumps(CHAT | fields).encode())
    assert body.estimated_output(4096) == estimate


# --- The count itself ------------------------------------------------------------------------------------------------

KEY = KeyRecord("k1", "gth_k", "", 0, 1, "fraud-detection", "dana", "api", frozenset(), None)
ENDPOINT = EndpointRecord("e1", "scoring", "fraud-detection", "m", "ready", True, "", 0, None)


def counting(clock: Callable[[], float] = time.time, *found: Bound) -> tuple[Budgets, Budget]:
    """A count without a gateway around it."""
    budgets = Budgets(Directory(MemorySource(), grace_seconds=0), clock=clock)
    return budgets, Budget(budgets, found, "fraud-detection")


def test_midnight_begins_a_new_day_for_calls_and_not_for_those_that_run() -> None:
    """A call counts where it arrived, as in the ledger; the month goes on."""
    now = dt.datetime(2026, 11, 20, 23, 59, 59, tzinfo=dt.UTC).timestamp()
    day, month = bound(100), bound(1000, window="month", quota_id=2)
    budgets, budget = counting(lambda: now, day, month)
    running, done = budget.hold(now, 60), budget.hold(now, 40)
    with pytest.raises(Refusal):
        budget.check()
    budget.settle(done, 30, Mark("gw"))
    now += 2
    budget.check()
    assert [(one.spent, one.running) for one in budgets.standings([day, month])] == [(0, 0), (30, 60)]
    budget.settle(running, 50, Mark("gw"))
    assert [(one.spent, one.running) for one in budgets.standings([day, month])] == [(0, 0), (80, 0)]
    now -= 2
    assert [(one.spent, one.running) for one in budgets.standings([day, month])] == [(80, 0), (80, 0)]


def test_a_raise_ends_with_its_day() -> None:
    last = dt.datetime(2026, 11, 20, 23, 59, 59, tzinfo=dt.UTC)
    raised = bound(100, window="month", raises=(Raise(None, 500, last.date()),))
    now = last.timestamp()
    budgets, _ = counting(lambda: now, raised)
    assert budgets.standings([raised])[0].hard == 500
    now += 1
    assert budgets.standings([raised])[0].hard == 100


def test_a_shared_endpoint_counts_for_its_owner_and_the_caller() -> None:
    """The endpoint's quota is its owner's and counts every caller; project and key are the caller's."""

    async def main() -> None:
        source = MemorySource()
        source.bounds += [
            bound(100, project_id=2, project="search-ranking"), bound(7, quota_id=2),
            bound(50, quota_id=3, target_kind="endpoint", target_id="e1"),
        ]  # fmt: skip
        directory = Directory(source, grace_seconds=60)
        directory._epoch = source.value
        budgets = Budgets(directory)
        caller = replace(KEY, id="k2", project_id=2, project="search-ranking")
        shared = replace(ENDPOINT, project_id=1)
        budget = await budgets.of(caller, shared)
        assert budget is not None
        assert sorted(one.limit for one in budgets.standings(budget._found)) == [50, 100]
        budget.settle(budget.hold(time.time(), 5), 20, Mark("gw"))
        own = await budgets.of(KEY, shared)
        assert own is not None
        assert sorted((one.limit, one.spent) for one in budgets.standings(own._found)) == [(7, 0), (50, 20)]
        assert source.reads.count("quotas") == 2 and source.reads.count("spent") == 1
        await directory.stop()

    asyncio.run(main())


def test_memory_stays_small_when_nothing_is_ingested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit finished calls are counted in groups: the same tokens, let go of with the last of a group."""
    monkeypatch.setattr(module, "MOST_PENDING", 100)
    one = bound(10**9)
    budgets, budget = counting(time.time, one)
    for number in range(1, 501):
        budget.settle(budget.hold(time.time(), 1), 2, Mark(f"gw-{number % 2}", number))
    now = dt.datetime.now(dt.UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)

    def read(offsets: dict[str, int]) -> None:
        budgets._apply(Spent(day, day.replace(day=1), frozenset(), {}, offsets))

    read({})
    assert len(budgets._finished) == 2 and budgets.standings([one])[0].spent == 1000
    read({"gw-0": 499})
    assert budgets.standings([one])[0].spent == 1000
    read({"gw-0": 500})
    assert budgets.standings([one])[0].spent == 500 and len(budgets._spent) == 1
    read({"gw-0": 500, "gw-1": 499})
    assert not budgets._finished and not budgets._spent


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(5))
def test_ledger_and_gateway_together_count_every_call_once(tmp_path: Path, seed: int) -> None:
    """Random calls, ends, ingestions, readings, new journal files in any order: never one too many, never one lost."""
    chance = random.Random(seed)
    one = bound(10**9)
    month = bound(10**9, window="month", quota_id=2)
    budgets, budget = counting(time.time, one, month)
    running: list[tuple[int, Spend, int]] = []
    total, gateways = 0, set()
    with Journal(tmp_path, segment_bytes=3000) as journal:
        for _ in range(400):
            step = chance.random()
            if step < 0.4:
                at, tokens = dt.datetime.now(dt.UTC), chance.randint(0, 50)
                sequence = journal.start(**started(at=at, project_id=1))
                running.append((sequence, budget.hold(at.timestamp(), 30), tokens))
            elif step < 0.8 and running:
                sequence, spend, tokens = running.pop(chance.randrange(len(running)))
                mark = journal.end(sequence, **finished(input_tokens=tokens, output_tokens=0))
                budget.settle(spend, tokens, mark)
                total += tokens
                gateways.add(mark.gateway)
            elif step < 0.9:
                ingest(tmp_path)
            else:
                marks = {spend.mark.gateway for spend in budgets._finished if spend.mark is not None}
                read = spent([one, month], journals=sorted(marks))
                if chance.random() < 0.5:
                    ingest(tmp_path)  # between the reading and its use
                budgets._apply(read)
            for standing in budgets.standings([one, month]):
                assert (standing.spent, standing.running) == (total, 30 * len(running))
        for sequence, spend, _ in running:
            budget.settle(spend, 0, journal.end(sequence, **finished(input_tokens=0, output_tokens=0)))
    assert len(gateways) > 5
    ingest(tmp_path)
    budgets._apply(spent([one, month], journals=sorted(gateways)))
    assert not budgets._finished and budgets.standings([one])[0].spent == total
    assert UsageDay.objects.aggregate(used=Sum(F("input_tokens") + F("output_tokens")))["used"] == total


# --- With the real database ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_quota_in_the_database_stops_calls_and_a_raise_lets_them_pass(
    org: Org, state_dir: Path, settings: Any
) -> None:
    """From `set_quotas` to a refused call and back, with calls that are ingested in between."""
    with Engine(ordinary) as engine, serving(state_dir / "journal") as gateway:
        row: Endpoint = make_endpoint(org, "scoring", engine.url)
        key, secret = issue(org)
        pat = Principal.of(org.pat)

        def limit(hard: int) -> None:
            body = {"tokens": [{"target": "endpoint", "name": "scoring", "window": "day", "hard": hard},
                               {"target": "key", "name": key.prefix, "window": "month", "hard": 10**6}]}  # fmt: skip
            set_quotas(pat, org.fraud, body, endpoints={"scoring": str(row.pk)})

        limit(55)
        statuses = []
        for _ in range(8):
            statuses.append(gateway.request(secret, CHAT).status)
            ingest(state_dir / "journal")
        assert statuses == [200] * 6 + [429] * 2
        limit(85)
        until(lambda: gateway.request(secret, CHAT).status == 200, 2)
        assert UsageDay.objects.exists()
