"""When who waits can start, and what would be if: pure functions over a snapshot of a pool and what is known to come
back.

An estimate plays the queue forward: at each moment at which accelerators are known to come back, because an endpoint
ends or was asked back, whose turn it is then gets them (quotas/fairness.py). It assumes that nobody gives back earlier,
nobody is renewed, nobody new comes, and that who is served has no end; so it says "not before", and where nothing is
known to come back it says nothing.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quotas import fairness
from quotas.fairness import Claim, Line

HORIZON = 200  # of more that wait, the others have no estimate
NEXT = 2**62  # id of a reservation that does not exist: it came last


@dataclass(frozen=True)
class Return:
    """Accelerators that are known to come back: of which reservation, and why (`ends` or `asked`)."""

    at: dt.datetime
    project: int
    amount: int
    reservation: int
    why: str = "ends"


@dataclass(frozen=True)
class Start:
    """When a reservation can be held at the earliest: at once where `after` is None, else as soon as that is back."""

    at: dt.datetime
    after: Return | None = None


def starts(line: Line, returns: Iterable[Return], now: dt.datetime, patience: dt.timedelta) -> dict[int, Start]:
    """Return the start of each of the first that wait, by reservation id, as far as it is known."""
    line = replace(line, waiting=_first(line, now, patience))
    found: dict[int, Start] = {}
    line = _serve(line, Start(now), found, patience)
    for one in sorted(returns, key=lambda one: (one.at, one.reservation)):
        if not line.waiting:
            break
        line = _serve(line.gives(one.project, one.amount), Start(max(one.at, now), one), found, patience)
    return found


def _first(line: Line, now: dt.datetime, patience: dt.timedelta) -> Sequence[Claim]:
    if len(line.waiting) <= HORIZON:
        return line.waiting
    chosen = {claim.id for claim in fairness.order(line, now, patience)[:HORIZON]}
    return [claim for claim in line.waiting if claim.id in chosen or claim.id == NEXT]


def _serve(line: Line, start: Start, found: dict[int, Start], patience: dt.timedelta) -> Line:
    while (claim := fairness.following(line, start.at, patience)) is not None:
        line = line.holds(claim, start.at)
        found[claim.id] = start
    return line


@dataclass(frozen=True)
class Answer:
    """What would become of a request: its place (0: it starts at once), its start as far as it is known, how much would
    be asked back for it, of whom (`beyond`: what each then holds beyond its share), and the shares with what is
    borrowed before and after it is served.
    """

    position: int
    start: Start | None
    asked_back: int
    beyond: Mapping[int, int]
    shares_before: Mapping[int, float]
    shares_after: Mapping[int, float]
    borrowed_before: Mapping[int, int]
    borrowed_after: Mapping[int, int]


def request(
    line: Line, project: int, amount: int, returns: Iterable[Return], now: dt.datetime, patience: dt.timedelta
) -> Answer:
    """Return what would become of a request of `project` for `amount` accelerators that was approved now."""
    claim = Claim(NEXT, project, amount, now)
    asked = replace(line, waiting=[*line.waiting, claim])
    start = starts(asked, returns, now, patience).get(NEXT)
    at_once = start is not None and start.after is None
    places = [one.id for one in fairness.order(asked, now, patience)]
    served = asked.holds(claim, now)
    return Answer(
        position=0 if at_once else places.index(NEXT) + 1,
        start=start,
        asked_back=sum(need.amount for need in fairness.needs(asked, now, patience) if need.claim.id == NEXT),
        beyond=fairness.borrowed(asked),
        shares_before=_numbers(line),
        shares_after=_numbers(served),
        borrowed_before=fairness.borrowed(line),
        borrowed_after=fairness.borrowed(served),
    )


@dataclass(frozen=True)
class Resized:
    """What would become of a pool of another size: how much could be had then, who of those that wait would start at
    once, and by how much what is held would exceed what there is.
    """

    room: int
    free: int
    start: Sequence[Claim]
    short: int


def resized(line: Line, now: dt.datetime, patience: dt.timedelta, *, limit: int, observed: int) -> Resized:
    """Return what would become of a pool with this limit and so many accelerators that nodes report."""
    other, found = replace(line, limit=limit, observed=observed), list[Claim]()
    while (claim := fairness.following(other, now, patience)) is not None:
        other = other.holds(claim, now)
        found.append(claim)
    return Resized(other.room, max(0, other.free), found, max(0, -other.free))


def _numbers(line: Line) -> dict[int, float]:
    return {project: float(share) for project, share in fairness.shares(line).items()}
