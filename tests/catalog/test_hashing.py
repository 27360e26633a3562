"""Hashing a file of a source: through breaks, and only what the source says it is."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest

from catalog.hashing import TRIES, AnotherFile, hash_file
from catalog.sources.tree import Entry, NotResumed, SourceError
from tests.catalog.source_kit import sha256

BODY = bytes(range(256)) * 4096


class Tree:
    """A tree of one file that breaks off where it is told to."""

    revision = ""

    def __init__(self, body: bytes, breaks: list[int | SourceError] = []) -> None:  # noqa: B006 - copied
        self.body, self.breaks, self.starts = body, list(breaks), list[int]()

    def entries(self) -> Iterator[Entry]:
        yield Entry("x", len(self.body))

    @contextlib.contextmanager
    def open(self, path: str, start: int = 0) -> Iterator[BinaryIO]:
        self.starts.append(start)
        stop = self.breaks.pop(0) if self.breaks else None
        if isinstance(stop, SourceError):
            raise stop
        yield _Stream(self.body[start:], stop) if stop is not None else io.BytesIO(self.body[start:])


class _Stream(io.BytesIO):
    def __init__(self, body: bytes, stop: int) -> None:
        super().__init__(body[:stop])

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        if not count:
            raise SourceError("It broke off.")
        return count

    readinto1 = readinto


def hashed(tree: Tree, entry: Entry | None = None) -> Any:
    return hash_file(tree, entry or next(tree.entries()), lambda count: None)


def test_a_file_in_one_go() -> None:
    seen: list[int] = []
    assert hash_file(Tree(BODY), Entry("x", len(BODY)), seen.append) == {
        "path": "x", "bytes": len(BODY), "sha256": sha256(BODY),
    }  # fmt: skip
    assert sum(seen) == len(BODY) and len(seen) == 8


def test_an_empty_file() -> None:
    assert hashed(Tree(b""))["sha256"] == sha256(b"")


def test_what_breaks_off_goes_on_where_it_was() -> None:
    tree = Tree(BODY, [1000, 200_000, 7])
    assert hashed(tree)["sha256"] == sha256(BODY)
    assert tree.starts == [0, 1000, 201_000, 201_007]


def test_what_cannot_go_on_begins_anew() -> None:
    tree = Tree(BODY, [1000, NotResumed("The whole instead.")])
    assert hashed(tree)["sha256"] == sha256(BODY)
    assert tree.starts == [0, 1000, 0]


def test_what_breaks_off_again_and_again_is_left_for_later() -> None:
    tree = Tree(BODY, [10] * 20)
    with pytest.raises(SourceError, match="broke off"):
        hashed(tree)
    assert len(tree.starts) == TRIES


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (Entry("x", len(BODY), "0" * 64), "its SHA-256 is"), (Entry("x", len(BODY) + 1), "it ended after 1,048,576"),
        (Entry("x", len(BODY) - 1), "it goes on after"), (Entry("x", 0), "it goes on after"),
    ],
)  # fmt: skip
def test_another_file_than_listed_is_refused(entry: Entry, why: str) -> None:
    with pytest.raises(AnotherFile, match=why):
        hashed(Tree(BODY), entry)


def test_what_never_ends_is_left_after_what_was_listed() -> None:
    class Endless(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            return len(buffer)

        readinto1 = readinto

    class EndlessTree(Tree):
        @contextlib.contextmanager
        def open(self, path: str, start: int = 0) -> Iterator[BinaryIO]:
            yield Endless()

    with pytest.raises(AnotherFile, match="goes on after"):
        hashed(EndlessTree(b""), Entry("x", 5_000_000))
