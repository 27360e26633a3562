"""Which calls go to a canary: its share of them, by chance, and none that fails because one of the two is away."""

import math
import random
import socket
from collections.abc import Iterator

import pytest

from endpoints.gateways.builtin.upstream import Pool, Upstream
from tests.endpoints.gateway_kit import Engine, Running, Stage, ordinary, staged

pytestmark = pytest.mark.slow
CHAT = {"model": "scoring", "messages": [{"role": "user", "content": "Say hello."}]}
RUNS, TRIED = (Upstream.parse("http://127.0.0.1:1"),), (Upstream.parse("http://127.0.0.1:2"),)
CALLS = 40_000


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("gateway"), GATEWAY_UPSTREAM_TIMEOUT_SECONDS=0.4) as made:
        yield made


@pytest.fixture
def gateway(stage: Stage) -> Running:
    stage.sweep()
    return stage.gateway


@pytest.mark.parametrize("percent", [1, 5, 10, 25, 50])
def test_of_many_calls_a_canary_gets_its_share(percent: int) -> None:
    pool, share = Pool(patience=1, chance=random.Random(percent).random), percent / 100
    count = sum(pool.ways(RUNS, TRIED, percent) == (TRIED, RUNS) for _ in range(CALLS))
    # Seven standard deviations of so many draws: chance goes beyond them less than once in 10^11.
    assert abs(count - CALLS * share) <= 7 * math.sqrt(CALLS * share * (1 - share))


def test_the_draw_decides_and_nothing_is_drawn_without_a_canary() -> None:
    def nothing() -> float:
        raise AssertionError("a call without a canary needs no chance")

    plain = Pool(patience=1, chance=nothing)
    assert plain.ways(RUNS, (), 10) == (RUNS, ()) and plain.ways(RUNS, (), 0) == (RUNS, ())
    assert plain.ways((), TRIED, 10) == (TRIED, ())  # what runs is away
    for drawn, percent, first in ((0.0999, 10, TRIED), (0.1, 10, RUNS), (0.0, 0, RUNS), (0.999, 50, RUNS)):
        assert Pool(patience=1, chance=lambda drawn=drawn: drawn).ways(RUNS, TRIED, percent)[0] == first  # type: ignore[misc]


def test_calls_go_to_both_and_the_journal_says_which_revision_answered(stage: Stage, gateway: Running) -> None:
    with Engine(ordinary) as second:
        runs = Upstream.parse(stage.engine.url, "engine-key", 3)
        tried = Upstream.parse(second.url, "engine-key", 4)
        stage.source.add_endpoint("scoring", upstreams=(runs,), canary=(tried,), canary_percent=50)
        secret = stage.source.add_key()
        assert {gateway.request(secret, CHAT).status for _ in range(60)} == {200}
        # 2 · 2^-60: that one of the two got none of them
        assert len(stage.engine.requests) + len(second.requests) == 60 and stage.engine.requests and second.requests
        told = [record["revision"] for record in gateway.records()]
        assert (told.count(3), told.count(4)) == (len(stage.engine.requests), len(second.requests))


@pytest.mark.parametrize("gone", ["canary", "runs"])
def test_no_call_fails_because_one_of_the_two_is_away(stage: Stage, gateway: Running, gone: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    here, away = Upstream.parse(stage.engine.url, "", 1), Upstream.parse(nobody, "", 2)
    runs, tried = (here, away) if gone == "canary" else (away, here)
    stage.source.add_endpoint("scoring", upstreams=(runs,), canary=(tried,), canary_percent=50)
    secret = stage.source.add_key()
    assert {gateway.request(secret, CHAT).status for _ in range(20)} == {200}
    assert {record["revision"] for record in gateway.records()} == {1}


def test_an_endpoint_without_revisions_in_its_routes_is_called_as_before(stage: Stage, gateway: Running) -> None:
    assert gateway.request(stage.source.add_key(), CHAT).status == 200
    assert gateway.record()["revision"] is None
