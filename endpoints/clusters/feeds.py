"""The seam for watching a cluster: what a driver tells of changes as they happen, without the objects themselves."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class Mark(NamedTuple):
    """What is remembered of one object: the id of its endpoint, and a digest of what matters for it."""

    endpoint: str
    digest: bytes


class Told(Protocol):
    """Whoever listens to a feed. Every method returns at once."""

    def listed(self, feed: str, found: Mapping[str, Mark]) -> None:
        """`feed` begins, or begins anew: these are all of its objects now, by what identifies them."""

    def changed(self, feed: str, key: str, mark: Mark | None) -> None:
        """An object is as `mark` says, or gone (None)."""

    def sign(self, feed: str) -> None:
        """The stream of `feed` is open, and the cluster has just said something."""


class Feed(Protocol):
    """The objects of one kind: a list, and from there what changes. One thread follows it."""

    @property
    def name(self) -> str:
        """What is followed, such as `pods`."""

    def follow(self, told: Told) -> None:
        """Go on where the last call ended, until the cluster ends the stream in order, or `close`. Raises
        ClusterError; the next call resumes, with a new list where the cluster has forgotten what was."""

    def close(self) -> None:
        """End `follow` at once, from any thread, for good."""


@runtime_checkable
class Watchable(Protocol):
    """A driver whose cluster tells what changes."""

    def feeds(self) -> Sequence[Feed]:
        """Return what has to be followed to learn of every change of an engine, each feed for a thread of its own.
        Raises ClusterError when the cluster cannot be called at all."""
