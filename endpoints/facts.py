"""What a decision is made from, and what it says: plain values, no clock, no row, no cluster."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from endpoints.clusters import ClusterError, Observation, Replica

LOOK_SECONDS = 0.5  # between two looks while something moves
# How long an engine that gets no new calls may finish those it has, before it is asked to end.
DRAIN = timedelta(seconds=20)


class Action(StrEnum):
    """What the cluster is asked to do."""

    NONE = "none"
    APPLY = "apply"
    SUSPEND = "suspend"
    REMOVE = "remove"


class Turn(StrEnum):
    """What becomes of a rollout with a step."""

    NONE = "none"
    SWITCH = "switch"  # the next revision is ready: calls go there, the old engines finish theirs
    REPLACE = "replace"  # the next revision takes the place of the one that runs, which ends first
    ABANDON = "abandon"  # the next revision failed; the one that runs goes on
    RETURN = "return"  # the revision that took the place failed; the one before runs again
    SETTLE = "settle"  # it works: nothing is kept of the one before


@dataclass(frozen=True)
class Reason:
    """Machine word, one sentence, whose turn it is: portal, platform, owner or nobody."""

    code: str
    sentence: str
    turn: str = "portal"


@dataclass(frozen=True)
class Seat:
    """The reservation of an endpoint that needs accelerators; `state` is waiting, held, or "" where there is none."""

    state: str
    amount: int
    position: int = 0
    pool: str = ""

    @property
    def queue(self) -> str:
        """What it waits for and where, as part of a sentence."""
        return (
            f"{counted(self.amount, 'accelerator')} of the pool {self.pool}, at position {self.position} of the queue"
        )


@dataclass(frozen=True)
class Next:
    """The revision that a rollout brings. `beside`: it starts beside the one that runs; else it takes its place."""

    revision: int
    replicas: int = 1
    attempts: int = 0
    beside: bool = True
    per: int = 0  # accelerators of one replica
    seat: Seat | None = None
    refusal: Reason | None = None

    @property
    def seat_ready(self) -> bool:
        """Whether it has the accelerators that it needs."""
        return self.seat is None or self.seat.state == "held"


@dataclass(frozen=True)
class Facts:
    """All that a decision depends on. `seat` is None where no accelerator is needed; `refusal` says why nothing may
    be started.
    """

    now: datetime
    desired: str
    phase: str
    reason: Reason
    phase_since: datetime
    replicas: int = 1  # wanted
    revision: int = 1
    attempts: int = 0
    due_at: datetime | None = None
    observation: Observation = field(default_factory=Observation)
    error: ClusterError | None = None
    paused: bool = False
    paused_why: str = ""  # as whoever paused it said
    refusal: Reason | None = None
    seat: Seat | None = None
    per: int = 0  # accelerators of one replica
    growth: Seat | None = None  # asked for in addition to `seat`
    retiring: bool = False  # accelerators of engines that end are still held
    next: Next | None = None
    fallback: int = 0  # revision that runs again when this one fails; 0: none
    fallback_amount: int = 0  # accelerators that it would need
    drain_until: datetime | None = None
    remark: str = ""
    canary: int = 0  # per cent of the calls that the next revision gets when it is ready; 0: all, it takes over
    proven: bool = True  # whether this revision is known to have worked

    @property
    def granted(self) -> int:
        """Replicas that may run: those wanted, at most as many as accelerators are held for."""
        if not self.per or self.seat is None or self.seat.state != "held":
            return self.replicas
        return min(self.replicas, self.seat.amount // self.per)

    @property
    def runnable(self) -> int:
        """Replicas that are to run now: those that may, or fewer where the cluster scales by itself, or where somebody
        left fewer of them and that is only shown.
        """
        most = self.granted
        left, applied = self.observation.lowered.get(self.revision, (most, most))
        fewest = left if applied == most else most
        return min(most, fewest, max(1, self.observation.scaled.get(self.revision, most)))

    @property
    def draining(self) -> bool:
        """Whether engines still finish their calls."""
        return self.drain_until is not None and self.now < self.drain_until


@dataclass(frozen=True)
class Step:
    """The answer: what to ask of the cluster, what to write down, and in how many seconds to look again (None: at the
    next sweep).

    `routes` are the replicas that calls go to; None leaves them as they are. `keep` are revisions that `action` leaves
    alone. `resize`, `merge` and `retire` say what becomes of the accelerators.
    """

    phase: str
    reason: Reason
    action: Action = Action.NONE
    attempts: int = 0
    look_again: float | None = None
    routes: tuple[Replica, ...] | None = ()
    release: bool = False
    turn: Turn = Turn.NONE
    why: str = ""  # of a turn: the sentence for people
    next_attempts: int = 0
    of_next: bool = False  # the action is for the next revision
    both: bool = False  # the action is for the next revision, too
    keep: tuple[int, ...] = ()
    drain: bool = False  # the engines that are not needed any more begin to finish their calls
    resize: int | None = None
    merge: bool = False
    retire: bool = False

    @property
    def turns(self) -> bool:
        """Whether the rollout or the accelerators change with this step, so that another look follows at once."""
        return self.turn != Turn.NONE or self.drain or self.merge or self.retire or self.resize is not None

    def changes(self, facts: Facts) -> bool:
        """Whether the cluster is asked for something, or the row would read differently."""
        attempts = facts.next.attempts if facts.next else 0
        if self.action != Action.NONE or self.turns or self.next_attempts != attempts:
            return True
        return (self.phase, self.reason, self.attempts) != (facts.phase, facts.reason, facts.attempts)


def here(replica: Replica) -> bool:
    """Whether something of a replica still runs, so that its accelerators are not free."""
    return replica.here


def ended(sentence: str) -> str:
    """Close a sentence that ends in the engine's own words."""
    return sentence if sentence.rstrip().endswith((".", "!", "?", "…")) else f"{sentence}."


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def of(count: int, total: int) -> str:
    """Return how many of the replicas."""
    return f"{count} of {counted(total, 'replica')}"
