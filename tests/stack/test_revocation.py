"""A key that ends while 50 streams run: one second later none of three gateway processes lets a new request in, with
the bus up, killed and hung; and what happens while the database is away as well.
"""

import glob
import time
from collections.abc import Iterator

import pytest

from tests.stack.conftest import wait_for
from tests.stack.revocation_kit import POSTGRES, Gateways, Hammer, Streams, Told, gateways
from tests.stack.revoker import WAYS

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.xdist_group("processes")]

STREAMS = 50
PROMISE_SECONDS = 1.0
GRACES = (60, 6, 0)  # seconds, of the three gateways on PostgreSQL
FIRST = next(iter(WAYS))
needs_postgres = pytest.mark.skipif(not glob.glob(POSTGRES), reason=f"no PostgreSQL at {POSTGRES}")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=[needs_postgres])])
def trio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """Three gateways, for all tests of this file."""
    on_postgres = request.param == "postgres"
    graces = GRACES if on_postgres else (60, 60, 60)
    with gateways(tmp_path_factory.mktemp("drill"), on_postgres=on_postgres, graces=graces) as made:
        yield made


def calm(trio: Gateways) -> None:
    """Everything is there, and heard."""
    trio.broker.start()
    wait_for(lambda: trio.broker.heard_by() == 3, 15, "the gateways to listen")


@pytest.mark.parametrize(("bus", "way"), [*(("killed", way) for way in WAYS), ("up", FIRST), ("hung", FIRST)])
def test_no_new_request_passes_after_a_second(trio: Gateways, bus: str, way: str) -> None:
    """On any of the three; and the answers that ran at that moment come to their end."""
    calm(trio)
    key, secret = trio.key(6 if way == "rotated, and the overlap ended" else 3600)
    streams = _running(trio, secret)
    if bus != "up":
        {"killed": trio.broker.kill, "hung": trio.broker.hang}[bus]()
    with Hammer(trio, secret) as hammer:
        wait_for(lambda: {one.gateway for one in hammer.told} == {0, 1, 2}, 10, "requests to each gateway")
        ended = trio.do("end", way, key)
        time.sleep(max(0.0, ended + PROMISE_SECONDS + 1 - time.monotonic()))  # the time that is measured
    trio.broker.start()
    _judge(hammer.told, ended, f"bus {bus}, {way}")
    ends = streams.finish(90)
    assert set(ends.values()) == {"data: [DONE]"} and len(ends) == STREAMS


def _running(trio: Gateways, secret: str) -> Streams:
    """All streams at once; a machine on which the first ends before the last has begun gets longer ones."""
    for tokens in (60, 180, 540):
        streams = Streams(trio, secret, STREAMS, tokens)
        wait_for(streams.ended_or_run, 30, "all streams to run")
        if not streams.ends:
            return streams
        streams.finish(90)
    pytest.fail(f"{STREAMS} streams never ran at the same time")


def _judge(told: list[Told], ended: float, what: str) -> None:
    """Every request that was sent later than a second after `ended` is refused for its key, on each gateway."""
    last = [max(one.sent for one in told if one.gateway == number and one.status == 200) for number in range(3)]
    print(f"{what}: last one admitted {[round(1000 * (at - ended)) for at in last]} ms after it ended")
    late = [one for one in told if one.sent > ended + PROMISE_SECONDS]
    assert {one.gateway for one in late} == {0, 1, 2}
    assert {(one.status, one.code) for one in late} == {(401, "invalid_api_key")}
    assert {one.status for one in told} == {200, 401}


# --- The database away as well ----------------------------------------------------------------------------------------

AWAY = (503, "control_plane_unavailable")


@needs_postgres  # SQLite is a file beside the gateway: it does not go away by itself
@pytest.mark.parametrize("trio", ["postgres"], indirect=True)
@pytest.mark.parametrize("how", ["shut", "block"])
def test_with_bus_and_database_away_known_keys_go_on_for_the_grace_period(trio: Gateways, how: str) -> None:
    """Connections break, or are blocked without a word. What is revoked meanwhile is refused as soon as it can be
    known.
    """
    assert trio.door is not None
    calm(trio)
    (key, known), (_, other), (_, unknown) = trio.key(), trio.key(), trio.key()
    for secret in (known, other):
        assert [trio.ask(number, secret).status for number in range(3)] == [200] * 3
    trio.broker.kill()
    {"shut": trio.door.shut, "block": trio.door.block}[how]()
    left = time.monotonic()
    try:
        with Hammer(trio, known, per_gateway=1) as hammer:
            ended = trio.do("end", FIRST, key)  # the portal still reaches its database
            time.sleep(left + 9 - time.monotonic())  # the time that is measured
            strangers = [trio.ask(number, unknown) for number in range(3)]
            mistyped = [trio.ask(number, unknown[:-1] + "!") for number in range(3)]
            assert trio.ask(0, other).status == 200
            trio.door.open()
            back = time.monotonic()
            time.sleep(4)  # the time that is measured
    finally:
        trio.door.open()
        trio.broker.start()
    patient, short, closed = (
        [one for one in hammer.told if one.gateway == number and ended < one.sent < back] for number in range(3)
    )
    assert {one.status for one in patient} == {200}
    in_grace = [one for one in short if one.sent < left + GRACES[1] - 1]
    after_grace = [one for one in short if one.sent > left + GRACES[1]]
    assert in_grace and {one.status for one in in_grace} == {200}
    assert after_grace and {(one.status, one.code) for one in after_grace} == {AWAY}
    assert {(one.status, one.code) for one in closed if one.sent > left + PROMISE_SECONDS} == {AWAY}
    assert {(one.status, one.code) for one in strangers} == {AWAY}
    assert {(one.status, one.code) for one in mistyped} == {(401, "invalid_api_key")}
    late = [one for one in hammer.told if one.sent > back + 2]
    assert {one.gateway for one in late} == {0, 1, 2}
    assert {(one.status, one.code) for one in late} == {(401, "invalid_api_key")}
    assert [trio.ask(number, other).status for number in range(3)] == [200] * 3
