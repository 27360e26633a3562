"""Whose turn it is: never more than there is, by share, first come within a project, and nobody waits for ever."""

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas import fairness
from quotas.fairness import Claim, Line, Terms

pytestmark = pytest.mark.slow
NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = 24 * HOUR


def line(
    held: dict[int, int], *waiting: tuple[int, int], limit: int = 8, observed: int | None = None,
    terms: dict[int, Terms] | None = None, since: dt.datetime = NOW,
) -> Line:  # fmt: skip
    """A pool; `waiting` are (project, amount), and get the numbers 1, 2, … as they came."""
    claims = [Claim(number, project, amount, since) for number, (project, amount) in enumerate(waiting, 1)]
    known = terms or {}
    granted = sum(one.nominal or 0 for one in known.values())
    return Line(limit, limit if observed is None else observed, held, claims, known, granted)


def serve(given: Line, now: dt.datetime = NOW) -> list[int]:
    """Serve all that can be; the numbers in their order."""
    served: list[int] = []
    while (claim := fairness.following(given, now, DAY)) is not None:
        given, served = given.holds(claim, now), [*served, claim.id]
    return served


def places(given: Line, now: dt.datetime = NOW) -> list[int]:
    return [claim.id for claim in fairness.order(given, now, DAY)]


def test_the_project_furthest_below_its_share_comes_first() -> None:
    crowd = line({1: 6}, (1, 1), (1, 1), (2, 1), (2, 1), (2, 1))
    assert serve(crowd) == [3, 4]
    assert places(crowd) == [3, 4, 5, 1, 2]


def test_weights_and_numbers_make_the_share() -> None:
    terms = {1: Terms(weight=3), 2: Terms(nominal=4), 4: Terms(weight=0)}
    assert fairness.shares(line({1: 1, 2: 1, 3: 1, 4: 1}, terms=terms)) == {1: 3, 3: 1, 2: 4, 4: 0}
    assert fairness.shares(line({}, (3, 1), terms=terms)) == {3: 4}, "what is granted in numbers stays the owner's"
    assert fairness.borrowed(line({1: 5, 2: 3}, terms=terms)) == {1: 1}
    thirds = line({1: 3, 2: 3, 3: 2})
    assert fairness.borrowed(thirds) == {}, "two thirds of an accelerator are nobody's debt"


def test_a_share_of_nothing_comes_last_and_a_limit_holds() -> None:
    assert serve(line({}, (1, 1), (2, 1), terms={1: Terms(weight=0)})) == [2, 1]
    capped = line({2: 1}, (1, 3), (1, 2), limit=4, terms={1: Terms(borrowing_limit=0)})
    assert serve(capped) == [2], "three are more than its two, and it may borrow none"


def test_within_a_project_who_came_first_and_small_ones_beside_a_large_one() -> None:
    assert serve(line({1: 5}, (1, 6), (1, 2), (1, 1))) == [2, 3]


def test_a_large_one_is_not_passed_for_ever() -> None:
    young = line({2: 6}, (1, 6), (2, 1), (2, 1))
    assert serve(young) == [2, 3]
    old = line({2: 6}, (1, 6), (2, 1), (2, 1), since=NOW - DAY)
    assert serve(old) == [] and places(old)[0] == 1, "what is free is kept for it"
    assert serve(old.gives(2, 4)) == [1]
    after = line({2: 5}, (1, 1), (1, 6), (2, 1), since=NOW - DAY)
    assert serve(after) == [1, 3], "one that came before the large one was served only now"
    never = line({2: 6}, (1, 8), (2, 1), since=NOW - DAY, observed=7)
    assert serve(never) == [2], "nothing is kept for what the nodes cannot give"


def test_what_can_never_be_served_makes_nobody_behind_it_wait_for_ever() -> None:
    """The first of its project may not borrow so much, or is more than nodes have; the next one waited long, too."""
    long_ago = NOW - 2 * DAY
    own = {1: Terms(nominal=4, borrowing_limit=0)}
    limited = line({2: 6}, (1, 6), (1, 4), (2, 1), terms=own, since=long_ago)
    assert serve(limited) == [], "what is free is kept for the second"
    assert serve(limited.gives(2, 2)) == [2]
    lost = line({2: 3}, (1, 8), (1, 3), (2, 1), observed=5, since=long_ago)
    assert serve(lost) == [] and serve(lost.gives(2, 1)) == [2]


def test_what_is_needed_back_is_what_is_ones_own() -> None:
    full = line({1: 8}, (2, 2), (2, 2), (2, 1))
    assert [(need.claim.id, need.amount) for need in fairness.needs(full, NOW, DAY)] == [(1, 2), (2, 2)]
    assert fairness.needs(line({1: 8}, (2, 5)), NOW, DAY) == [], "five of eight are not its own"
    part = line({1: 5}, (2, 4))
    assert [need.amount for need in fairness.needs(part, NOW, DAY)] == [1]
    assert fairness.needs(line({1: 8}, (2, 2), observed=4), NOW, DAY) == [], "what nodes lost nobody borrowed"


projects = st.integers(1, 4)
moments = st.integers(0, 72).map(lambda hours: NOW - hours * HOUR)
agreed = st.builds(
    Terms, st.integers(0, 5), st.none() | st.integers(0, 8), st.none() | st.integers(0, 8)
)  # fmt: skip


@st.composite
def pools(draw: st.DrawFn) -> Line:
    """Any pool that may exist: never more held than its limit."""
    limit = draw(st.integers(1, 16))
    held: dict[int, int] = {}
    for project in draw(st.lists(projects, max_size=limit)):
        held[project] = held.get(project, 0) + 1
    waiting = draw(st.lists(st.tuples(projects, st.integers(1, limit), moments), max_size=12))
    claims = [Claim(number, *one) for number, one in enumerate(waiting, 1)]
    terms = draw(st.dictionaries(projects, agreed, max_size=4))
    granted = sum(one.nominal or 0 for one in terms.values())
    return Line(limit, draw(st.integers(0, 20)), held, claims, terms, granted)


@given(pools())
@settings(max_examples=300, deadline=None)
def test_never_more_than_there_is_and_nothing_idle_without_a_reason(pool: Line) -> None:
    free = max(0, pool.free)
    chosen = serve_claims(pool)
    assert sum(one.amount for one in chosen) <= free
    after = pool
    for one in chosen:
        after = after.holds(one, NOW)
    turns = list(fairness.turns(after, NOW, DAY))
    kept = any(urgent for _, urgent in turns)
    assert kept or all(one.amount > after.free for one, _ in turns), "work is done with what is free"


def serve_claims(pool: Line) -> list[Claim]:
    chosen: list[Claim] = []
    while (claim := fairness.following(pool, NOW, DAY)) is not None:
        chosen.append(claim)
        pool = pool.holds(claim, NOW)
    return chosen


@given(pools())
@settings(max_examples=200, deadline=None)
def test_every_place_is_given_once_and_in_order_within_a_project(pool: Line) -> None:
    found = fairness.order(pool, NOW, DAY)
    assert sorted(one.id for one in found) == [one.id for one in pool.waiting]
    able = {one.id for one, _ in fairness.turns(pool, NOW, DAY) if one.amount <= pool.room}
    for project in {one.project for one in found}:
        own = [one.id for one in found if one.project == project and one.id in able]
        assert own == sorted(own)


@given(pools())
@settings(max_examples=200, deadline=None)
def test_who_is_served_is_never_fuller_than_who_could_have_been(pool: Line) -> None:
    claim = fairness.following(pool, NOW, DAY)
    if claim is None or any(urgent for _, urgent in fairness.turns(pool, NOW, DAY)):
        return
    own = fairness.shares(pool)

    def full(project: int) -> float:
        return float(pool.held.get(project, 0) / own[project]) if own[project] else float("inf")

    others = [one for one, _ in fairness.turns(pool, NOW, DAY) if one.amount <= pool.free]
    assert full(claim.project) <= min(full(one.project) for one in others)


@given(
    st.lists(st.tuples(projects, st.integers(1, 8)), min_size=1, max_size=3),
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
)
@settings(max_examples=30, deadline=None)
def test_nobody_waits_for_ever(asked: Sequence[tuple[int, int]], others: Sequence[int]) -> None:
    """Two newcomers an hour want one accelerator for five hours, more than there is: whoever waits is served all the
    same, each within a day of patience and half a day for those before it.
    """
    pool, running = line({}, *asked), list[tuple[dt.datetime, Claim]]()
    now, number, first = NOW, len(asked), {one.id for one in line({}, *asked).waiting}
    while first & {one.id for one in pool.waiting}:
        assert now < NOW + 36 * HOUR * (len(asked) + 1), "somebody starves"
        for ends, claim in [one for one in running if one[0] <= now]:
            pool = pool.gives(claim.project, claim.amount)
            running.remove((ends, claim))
        newcomers = [Claim(number + step, others[(number + step) % len(others)], 1, now) for step in (1, 2)]
        number += 2
        pool = Line(8, 8, pool.held, [*pool.waiting, *newcomers])
        while (served := fairness.following(pool, now, DAY)) is not None:
            pool = pool.holds(served, now)
            running.append((now + 5 * HOUR, served))
            assert pool.free >= 0
        now += HOUR


@given(pools())
@settings(max_examples=200, deadline=None)
def test_only_what_is_ones_own_is_asked_back(pool: Line) -> None:
    own, needs = fairness.shares(pool), fairness.needs(pool, NOW, DAY)
    if pool.free < 0:
        assert needs == []
    mine: dict[int, int] = dict(pool.held)
    for need in needs:
        assert 0 < need.amount <= need.claim.amount
        mine[need.claim.project] = mine.get(need.claim.project, 0) + need.claim.amount
        assert mine[need.claim.project] <= own[need.claim.project]


@pytest.mark.parametrize("waiting", [100, 10_000])
def test_a_long_queue_is_ordered_at_once(waiting: int) -> None:
    crowd = line({1: 8}, *[(number % 50, 1 + number % 3) for number in range(waiting)])
    begun = dt.datetime.now(dt.UTC)
    assert len(fairness.order(crowd, NOW, DAY)) == waiting
    assert dt.datetime.now(dt.UTC) - begun < dt.timedelta(seconds=5)
