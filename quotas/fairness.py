"""Whose turn it is in a pool, and who has borrowed how much: pure functions over a snapshot of the pool.

The words are Kueue's (docs/adr/0027-fair-share.md). A project's **share** is its `nominal` number, or by `weight` a
part of what nobody has in numbers, among the projects that hold or wait now. What it holds beyond its share is
**borrowed**, at most `borrowing_limit`. The turn is that of the project furthest below its share (held ÷ share,
accelerators being the one resource that counts here), and within a project of who came first. What does not fit is
passed over, but not for ever: when the first of a project has been that for `patience`, it comes before all others,
and what is free is kept for it.
"""

import datetime as dt
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from heapq import heapify, heappop, heapreplace
from math import ceil

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Terms:
    """What was agreed with one project about one pool, in accelerators."""

    weight: int = 1
    nominal: int | None = None
    borrowing_limit: int | None = None


@dataclass(frozen=True)
class Claim:
    """A reservation that waits; `since` it was made, or one of its project that came before it was served: those
    that came after it and passed it do not count.
    """

    id: int
    project: int
    amount: int
    since: dt.datetime = EPOCH


@dataclass(frozen=True)
class Line:
    """A pool at one moment. `held` is by project; `waiting` in the order in which they came; `granted` the sum of all
    nominal numbers, also of projects that ask for nothing.
    """

    limit: int
    observed: int
    held: Mapping[int, int] = field(default_factory=dict)
    waiting: Sequence[Claim] = ()
    terms: Mapping[int, Terms] = field(default_factory=dict)
    granted: int = 0

    @property
    def room(self) -> int:
        """Accelerators that can be held together."""
        return min(self.limit, self.observed)

    @property
    def free(self) -> int:
        """Accelerators that can be held now; below 0 when nodes are lost."""
        return self.room - sum(self.held.values())

    def of(self, project: int) -> Terms:
        """Return what was agreed with a project; with most, nothing was."""
        return self.terms.get(project, Terms())

    def holds(self, claim: Claim, now: dt.datetime) -> "Line":
        """Return the line after `claim` was served."""
        return replace(
            self,
            held={**self.held, claim.project: self.held.get(claim.project, 0) + claim.amount},
            waiting=[
                replace(one, since=now) if one.project == claim.project and one.id > claim.id else one
                for one in self.without(claim).waiting
            ],
        )

    def without(self, claim: Claim) -> "Line":
        """Return the line in which `claim` does not wait."""
        return replace(self, waiting=[one for one in self.waiting if one.id != claim.id])

    def gives(self, project: int, amount: int) -> "Line":
        """Return the line after `project` gave `amount` back."""
        return replace(self, held={**self.held, project: max(0, self.held.get(project, 0) - amount)})


def shares(line: Line) -> dict[int, Fraction]:
    """Return the share of each project that holds or waits, in accelerators, not rounded."""
    asking = {project for project, amount in line.held.items() if amount} | {one.project for one in line.waiting}
    weights = {project: line.of(project).weight for project in asking if line.of(project).nominal is None}
    rest, total = max(0, line.limit - line.granted), sum(weights.values())
    found = {project: Fraction(rest * weight, total or 1) for project, weight in weights.items()}
    return found | {one: Fraction(nominal) for one in asking if (nominal := line.of(one).nominal) is not None}


def borrowed(line: Line) -> dict[int, int]:
    """Return the whole accelerators that each project holds beyond its share, where it does."""
    own = shares(line)
    beyond = {project: amount - ceil(own[project]) for project, amount in line.held.items() if amount}
    return {project: amount for project, amount in beyond.items() if amount > 0}


def following(line: Line, now: dt.datetime, patience: dt.timedelta) -> Claim | None:
    """Return who is to be served next with what is free; None when nobody fits, or it is kept for who waited long."""
    free = line.free
    for claim, urgent in turns(line, now, patience):
        if claim.amount <= free:
            return claim
        if urgent:
            return None
    return None


def turns(line: Line, now: dt.datetime, patience: dt.timedelta) -> Iterator[tuple[Claim, bool]]:
    """Yield who may be served, in the order of their turns now, and whether what is free is kept for them: first those
    who waited too long, then project by project from the one furthest below its share.

    Nobody is served in between: `order` says in which order they will be. Who may not borrow so much is left out. What
    the pool cannot give now, or the project may not borrow, makes nobody behind it wait longer.
    """
    own, oldest = shares(line), {one.project: one.id for one in reversed(line.waiting)}
    able = [one for one in line.waiting if _may(one, line, own)]
    first = {one.project: one for one in reversed(able) if one.amount <= line.room}
    urgent = [one for one in first.values() if now - one.since >= patience]
    for claim in sorted(urgent, key=lambda one: (one.since, one.id)):
        yield claim, True
    taken = {one.id for one in urgent}
    rest = [one for one in able if one.id not in taken]
    for claim in sorted(rest, key=lambda one: (_ratio(line, own, one.project), oldest[one.project], one.id)):
        yield claim, False


def order(line: Line, now: dt.datetime, patience: dt.timedelta) -> list[Claim]:
    """Return all that wait in the order in which they will be served, were each served as soon as it is its turn."""
    own, held = shares(line), dict(line.held)
    places = [claim for claim, kept in turns(line, now, patience) if kept]
    for claim in places:
        held[claim.project] = held.get(claim.project, 0) + claim.amount
    queues: dict[int, deque[Claim]] = {}
    taken = {one.id for one in places}
    for one in line.waiting:
        if one.id not in taken:
            queues.setdefault(one.project, deque()).append(one)
    heap = [(_of(held.get(project, 0), own[project]), queue[0].id, project) for project, queue in queues.items()]
    heapify(heap)
    while heap:
        _, _, project = heap[0]
        claim = queues[project].popleft()
        held[project] = held.get(project, 0) + claim.amount
        places.append(claim)
        if queues[project]:
            heapreplace(heap, (_of(held[project], own[project]), queues[project][0].id, project))
        else:
            heappop(heap)
    return places


@dataclass(frozen=True)
class Need:
    """What is to be asked back: `amount` accelerators for `claim`, which is within its project's share and waits."""

    claim: Claim
    amount: int


def needs(line: Line, now: dt.datetime, patience: dt.timedelta) -> list[Need]:
    """Return who waits for what is theirs, in the order of their turns, and how much others have to give back for each.

    Nothing while nodes are lost: what is missing then was not borrowed by anybody.
    """
    if line.free < 0:
        return []
    own, held, free, found = shares(line), dict(line.held), line.free, []
    for claim in order(line, now, patience):
        after = held.get(claim.project, 0) + claim.amount
        if after > own[claim.project] or claim.amount > line.room:
            continue
        held[claim.project] = after
        short = max(0, claim.amount - max(0, free))
        free -= claim.amount - short
        if short:
            found.append(Need(claim, short))
    return found


def _may(claim: Claim, line: Line, own: Mapping[int, Fraction]) -> bool:
    limit = line.of(claim.project).borrowing_limit
    after = line.held.get(claim.project, 0) + claim.amount
    return limit is None or after <= own[claim.project] + limit


def _ratio(line: Line, own: Mapping[int, Fraction], project: int) -> tuple[int, float]:
    return _of(line.held.get(project, 0), own[project])


def _of(held: int, share: Fraction) -> tuple[int, float]:
    """Return how full a share is, to sort by: a share of nothing comes last."""
    return (0, float(held / share)) if share else (1, float(held))
