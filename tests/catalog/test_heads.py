"""The beginning of large weights: hashed with the file, compared when it is looked at, and not part of the digest."""

import contextlib
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.utils import timezone

from catalog import heads, reading
from catalog.evidence import files, fit, probing
from catalog.hashing import bare, hash_file
from catalog.models import Pin, PinState
from catalog.sources.directory import DirectoryTree
from catalog.sources.tree import Entry, NotResumed, SourceError
from tests.catalog.content_kit import case_of, pin_of, write_gguf, write_model, write_safetensors
from tests.catalog.source_kit import sha256
from tests.catalog.test_hashing import Tree

pytestmark = pytest.mark.slow

NEEDS = {"parameters": 41_088, "layers": 2, "kv_heads": 2, "head_dim": 16, "max_context_tokens": 512}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as large that a test can write."""
    for module in (heads, probing, files):
        monkeypatch.setattr(module, "WHOLE_BYTES", 4096)
    for module in (heads, probing):
        monkeypatch.setattr(module, "GGUF_BYTES", (8192, 65_536))


def hashed(folder: Path, name: str) -> dict[str, Any]:
    tree = DirectoryTree(folder, [])
    entry = next(entry for entry in tree.entries() if entry.path == name)
    return hash_file(tree, entry, lambda count: None)


def pinned(folder: Path) -> Pin:
    """The pin as a worker makes it."""
    tree = DirectoryTree(folder, [])
    found = [hash_file(tree, entry, lambda count: None) for entry in tree.entries()]
    found.sort(key=lambda file: str(file["path"]))
    return Pin(state=PinState.RESOLVED, digest=pin_of(folder).digest, files=found)


def test_the_header_is_hashed_in_the_same_reading(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors")
    body = (tmp_path / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", body[:8])
    found = hashed(tmp_path, "model.safetensors")
    assert found["sha256"] == sha256(body)
    end = max(512, 8 + length)  # what is read to see what a file is
    assert found["heads"] == {str(end): sha256(body[:end])}
    write_gguf(tmp_path / "model.gguf")
    body = (tmp_path / "model.gguf").read_bytes()
    assert hashed(tmp_path, "model.gguf")["heads"] == {str(n): sha256(body[:n]) for n in (8192, 65_536)}


@pytest.mark.parametrize("name", ["model.safetensors", "small.safetensors", "model.bin"])
def test_whatever_the_pieces_and_whatever_breaks_off(name: str) -> None:
    """Pieces of a byte, a break in the middle, a source that begins again: the same digests; none for other files."""
    body = struct.pack("<Q", 1000) + bytes(range(256)) * (40 if name == "model.safetensors" else 8)
    body = body if name != "model.bin" else body * 4

    class Pieces(Tree):
        @contextlib.contextmanager
        def open(self, path: str, start: int = 0) -> Iterator[BinaryIO]:
            with super().open(path, start) as stream:
                stream.readinto1 = lambda buffer: stream.readinto(memoryview(buffer)[:7])  # type: ignore[attr-defined]
                yield stream

    breaks: list[list[int | SourceError]] = [[], [3], [900, 200], [5000, NotResumed("From the beginning.")]]
    for stops in breaks:
        for kind in (Tree, Pieces):
            found = hash_file(kind(body, stops), Entry(name, len(body)), lambda count: None)
            wanted = {"1008": sha256(body[:1008])} if name == "model.safetensors" else None
            assert (found["sha256"], found.get("heads")) == (sha256(body), wanted), stops


def test_a_length_that_no_library_takes_is_pinned_by_what_is_read_of_it() -> None:
    body = struct.pack("<Q", 2**63) + b"x" * 9000
    found = hash_file(Tree(body), Entry("a.safetensors", len(body)), lambda count: None)
    assert found["heads"] == {"512": sha256(body[:512])}
    assert bare([found]) == [{"path": "a.safetensors", "bytes": len(body), "sha256": sha256(body)}]


def test_a_worker_that_goes_on_keeps_them(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors")
    tree = DirectoryTree(tmp_path, [])
    (entry,) = tree.entries()
    whole = hashed(tmp_path, "model.safetensors")
    done = {**whole, "claim": entry.sha256, "mark": entry.mark}
    progress = {"revision": tree.revision, "begun": timezone.now().isoformat(), "files": [done]}
    assert reading._known(progress, tree.revision, [entry]) == {"model.safetensors": whole}


class Liar:
    """A source that shows whoever looks at its weights another header than whoever hashed them."""

    def __init__(self, tree: DirectoryTree, shown: bytes) -> None:
        self.tree, self.shown, self.revision = tree, shown, tree.revision

    def entries(self) -> Iterator[Entry]:
        return self.tree.entries()

    def open(self, path: str, start: int = 0) -> Any:
        if path in {"model.safetensors", "model.gguf"}:
            return contextlib.nullcontext(io.BytesIO(self.shown[start:]))
        return self.tree.open(path, start)


def judged(folder: Path, pin: Pin, shown: bytes | None = None) -> list[tuple[str, str]]:
    case = case_of(folder, pin=pin, needs=NEEDS)
    if shown is not None:
        case = type(case)(case.version, pin, lambda: Liar(DirectoryTree(folder, []), shown))
    found = [driver.check(case) for driver in (files, fit)]
    return [(finding.verdict, finding.summary) for finding in found]


def test_another_header_than_the_pinned_one_fails(tmp_path: Path) -> None:
    """The weights that were pinned are hostile, and the source shows the checks harmless ones of the same size."""
    folder = write_model(tmp_path / "model")
    good = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", good[:8])
    header = json.loads(good[8 : 8 + length])
    header["__metadata__"] = {"format": "no"}
    other = json.dumps(header, separators=(",", ":")).encode().ljust(length)
    assert len(other) == length, "the same length, so that nothing else would tell"
    bad = struct.pack("<Q", length) + b"{" + b" " * (length - 1) + good[8 + length :]
    (folder / "model.safetensors").write_bytes(bad)
    pin = pinned(folder)
    assert judged(folder, pin)[0][0] == "fail", "what was pinned is damaged"
    for shown in (good, struct.pack("<Q", length) + other + good[8 + length :]):
        verdict, said = judged(folder, pin, shown)[0]
        assert verdict == "fail" and "its beginning is not what was pinned" in said
    shorter = struct.pack("<Q", length - 1) + good[8:]
    assert "its beginning is not" in judged(folder, pin, shorter)[0][1]
    old = Pin(state=pin.state, digest=pin.digest, files=bare(pin.files))
    assert judged(folder, old, good)[0][0] == "pass", "a pin of an earlier release names no beginning"


def test_what_was_pinned_passes(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    assert [verdict for verdict, _ in judged(folder, pinned(folder))] == ["pass", "pass"]
    (folder / "model.safetensors").unlink()
    write_gguf(folder / "model.gguf")
    pin = pinned(folder)
    assert judged(folder, pin)[0][0] == "pass"
    body = bytearray((folder / "model.gguf").read_bytes())
    body[60_000] ^= 1  # in the part that is fetched only when the header goes on
    assert "its beginning is not what was pinned" in judged(folder, pin, bytes(body))[0][1]
