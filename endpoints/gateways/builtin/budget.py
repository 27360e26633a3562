"""Token quotas on the data path: refused without a query per call, counted without counting twice.

What a target has used is three parts that never overlap:

* the ledger, read in the background about once a second while calls come, for all projects that call together;
* the calls that this gateway has finished and that the ledger did not hold at that reading. The reading brings along
  how far each journal had been ingested, in the same statement; a finished call knows where its record ends;
* the calls that run now, by their prompt's size and the most tokens that they ask for.

So one gateway lets a quota be overshot only by calls that run, several by what the others finish before it is ingested.
Everything here happens in the event loop, between two awaits: nothing needs a lock.
"""

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from endpoints.gateways.builtin.directory import Directory
from endpoints.gateways.builtin.errors import Refusal, control_plane_unavailable
from endpoints.gateways.builtin.quota_words import refused
from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord
from quotas.bounds import Bound, Target, window_end, window_start
from quotas.journal import Mark
from quotas.models import Window
from quotas.spent import Spent

REFRESH_SECONDS = 1.0
STALE_SECONDS = 4.0  # after a pause a call waits for a new reading rather than trusting one that is older
ACTIVE_SECONDS = 15.0  # how long a project is read along with the others after its last call
MOST_PENDING = 10_000  # finished calls that the ledger does not hold yet; beyond that the oldest are counted in groups
DAY_SECONDS = 86_400

Slot = tuple[str, str, str, int]  # target kind, target id, window, its start in seconds since 1970


@lru_cache(maxsize=16)
def _windows(day: int) -> dict[str, tuple[int, int]]:
    """Return (start, end) of the day with this number since 1970 and of its month, in seconds since 1970, UTC."""
    now = dt.datetime.fromtimestamp(day * DAY_SECONDS, dt.UTC)
    return {
        window: (int(window_start(window, now).timestamp()), int(window_end(window, now).timestamp()))
        for window in (Window.DAY.value, Window.MONTH.value)
    }


def _date(day: int) -> dt.date:
    return dt.datetime.fromtimestamp(day * DAY_SECONDS, dt.UTC).date()


@dataclass(slots=True)
class Spend:
    """What one call counts in its slots: an estimate while it runs, then its tokens, until the ledger has them."""

    slots: tuple[Slot, ...]
    tokens: int
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One quota as it stands for a call."""

    bound: Bound
    soft: int | None
    hard: int | None
    spent: int  # finished calls
    running: int  # estimated tokens of calls that run
    ends_at: int  # of the window, in seconds since 1970

    @property
    def limit(self) -> int:
        """The number that refuses, where there is one, else the one that warns."""
        return self.hard if self.hard is not None else self.soft or 0

    @property
    def left(self) -> int:
        """Tokens that are left of it, those of running calls taken off."""
        return max(0, self.limit - self.spent - self.running)

    @property
    def share_left(self) -> float:
        """The same as a share of the limit."""
        return self.left / self.limit if self.limit else 0.0


class Budgets:
    """The token quotas of all projects that call through this gateway, with what is used of them."""

    def __init__(self, directory: Directory, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells the seconds since 1970."""
        self._directory, self.clock = directory, clock
        self._read: Spent | None = None
        self._starts: dict[str, int] = {}  # of the windows that were read, in seconds since 1970
        self._read_at = float("-inf")  # monotonic, as everything about the age of a reading
        self._reading: asyncio.Task[None] | None = None
        self._active: dict[int, tuple[float, Mapping[Target, tuple[Bound, ...]]]] = {}  # by project
        self._finished: list[Spend] = []
        self._spent: Counter[Slot] = Counter()
        self._running: Counter[Slot] = Counter()

    async def of(self, key: KeyRecord, endpoint: EndpointRecord) -> "Budget | None":
        """Return the quotas that apply to a call, None when there is none. Raises Refusal when nobody can tell.

        The quotas of the key's project and of the key itself, and that of the endpoint, which may be another project's.
        """
        own = await self._directory.quotas(key.project_id)
        owner = endpoint.project_id or key.project_id
        others = own if owner == key.project_id else await self._directory.quotas(owner)
        if not own and not others:
            return None
        found = (
            *own.get(("project", str(key.project_id)), ()),
            *own.get(("key", key.id), ()),
            *others.get(("endpoint", endpoint.id), ()),
        )
        if not found:
            return None
        now = time.monotonic()
        self._active[key.project_id] = (now, own)
        self._active[owner] = (now, others)
        await self._up_to_date({bound.target for bound in found})
        return Budget(self, found, key.project)

    def standings(self, found: Iterable[Bound]) -> list[Standing]:
        """Return how each of the quotas stands now."""
        day = int(self.clock() // DAY_SECONDS)
        windows = _windows(day)
        standings = []
        for bound in found:
            start, end = windows[bound.window]
            slot = (*bound.target, bound.window, start)
            numbers = bound.on(_date(day)) if bound.raises else bound  # this is done for every call
            standings.append(
                Standing(bound, numbers.soft, numbers.hard, self._ledger(bound, start) + self._spent[slot],
                         self._running[slot], end)
            )  # fmt: skip
        return standings

    def hold(self, found: Iterable[Bound], at: float, estimate: int) -> Spend:
        """Count a call that begins in the window of its arrival, as the ledger will (`at`: seconds since 1970)."""
        windows = _windows(int(at // DAY_SECONDS))
        spend = Spend(tuple({(*bound.target, bound.window, windows[bound.window][0]) for bound in found}), estimate)
        for slot in spend.slots:
            self._running[slot] += estimate
        return spend

    def settle(self, spend: Spend, tokens: int, mark: Mark | None) -> None:
        """Count a call that has ended with its `tokens`; without a `mark` no journal has it, and it counts nowhere."""
        _take(self._running, spend)
        if mark is None or not tokens:
            return
        spend.tokens, spend.mark = tokens, mark
        for slot in spend.slots:
            self._spent[slot] += tokens
        self._finished.append(spend)

    def _ledger(self, bound: Bound, start: int) -> int:
        """Return what the last reading says; nothing for a window that had not begun then."""
        if self._read is None or self._starts[bound.window] != start:
            return 0
        return self._read.used(bound.target, bound.window)

    def stop(self) -> None:
        """Give up the reading that runs."""
        if self._reading is not None:
            self._reading.cancel()

    # --- Reading the ledger ------------------------------------------------------------------------------------------

    async def _up_to_date(self, targets: set[Target]) -> None:
        """Wait for a reading only when there is none of these targets that is young enough; else have one made."""
        for _ in range(3):  # one that began before this project called does not have its targets
            age = time.monotonic() - self._read_at
            known = self._read is not None and targets <= self._read.targets
            if known and age < STALE_SECONDS:
                if age >= REFRESH_SECONDS:
                    self._begin()
                return
            try:
                await asyncio.shield(self._begin())
            except Refusal:
                if known and self._directory.reachable():
                    return  # while the database is away, what is known goes on for the grace period
                raise
        raise control_plane_unavailable()

    def _begin(self) -> "asyncio.Task[None]":
        if self._reading is None:
            self._reading = asyncio.create_task(self._refresh(), name="gateway-quotas")
            self._reading.add_done_callback(self._ended)
        return self._reading

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits for it

    async def _refresh(self) -> None:
        now = time.monotonic()
        self._active = {key: item for key, item in self._active.items() if now - item[0] < ACTIVE_SECONDS}
        wanted = {bound.quota_id: bound for _, own in self._active.values() for part in own.values() for bound in part}
        journals = {spend.mark.gateway for spend in self._finished if spend.mark is not None}
        self._apply(await self._directory.spent(list(wanted.values()), sorted(journals)))

    def _apply(self, read: Spent) -> None:
        """Take over a reading, and let go of the finished calls that are in it."""
        self._read, self._read_at = read, time.monotonic()
        self._starts = {"day": int(read.day.timestamp()), "month": int(read.month.timestamp())}
        kept = []
        for spend in self._finished:
            mark = spend.mark
            if mark is None or mark.offset is None or mark.offset > read.offsets.get(mark.gateway, -1):
                kept.append(spend)
            else:
                _take(self._spent, spend)
        self._finished = kept if len(kept) <= MOST_PENDING else _grouped(kept)


class Budget:
    """The quotas that apply to one call."""

    __slots__ = ("_budgets", "_found", "_project")

    def __init__(self, budgets: Budgets, found: tuple[Bound, ...], project: str) -> None:
        """`project` is the slug of the caller's project, whose page explains a refusal."""
        self._budgets, self._found, self._project = budgets, found, project

    def check(self) -> None:
        """Raise Refusal 429 `quota_exceeded` when one of the quotas is used up."""
        for one in self._budgets.standings(self._found):
            if one.hard is not None and one.spent + one.running >= one.hard:
                raise refused(one.bound, one.hard, one.spent, now=self._budgets.clock(), ends_at=one.ends_at,
                              project=self._project, headers=self.headers())  # fmt: skip

    def hold(self, at: float, estimate: int) -> Spend:
        """Count the call while it runs; see Budgets.hold."""
        return self._budgets.hold(self._found, at, estimate)

    def settle(self, spend: Spend, tokens: int, mark: Mark | None) -> None:
        """Count the call when it has ended; see Budgets.settle."""
        self._budgets.settle(spend, tokens, mark)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return x-ratelimit-*-tokens of the quota that binds, and the sign that a soft one is passed."""
        standings = self._budgets.standings(self._found)
        refusing = [one for one in standings if one.hard is not None] or standings
        first = min(refusing, key=lambda one: one.share_left)
        reset = max(0, first.ends_at - int(self._budgets.clock()))
        found = [
            (b"x-ratelimit-limit-tokens", str(first.limit).encode()),
            (b"x-ratelimit-remaining-tokens", str(first.left).encode()),
            (b"x-ratelimit-reset-tokens", str(reset).encode()),
        ]
        if any(one.soft is not None and one.spent >= one.soft for one in standings):
            found.append((b"x-gatehouse-quota", b"soft-exceeded"))
        return found


def _take(counts: "Counter[Slot]", spend: Spend) -> None:
    """Take a call out of its slots; a slot with nothing in it goes, so that old windows do not pile up."""
    for slot in spend.slots:
        counts[slot] -= spend.tokens
        if not counts[slot]:
            del counts[slot]


def _grouped(finished: list[Spend]) -> list[Spend]:
    """Return the same tokens in fewer entries: when nothing is ingested for long, memory must not grow with every call.

    Calls with the same slots in the same journal become one that is let go of with the last of them. Until then some
    may count twice, so the error is on the safe side.
    """
    groups: dict[tuple[object, ...], Spend] = {}
    loose = []
    for spend in finished:
        mark = spend.mark
        if mark is None or mark.offset is None:
            loose.append(spend)
            continue
        group = groups.setdefault((mark.gateway, spend.slots), Spend(spend.slots, 0, mark))
        group.tokens += spend.tokens
        if group.mark is None or group.mark.offset is None or group.mark.offset < mark.offset:
            group.mark = mark
    return [*groups.values(), *loose]
