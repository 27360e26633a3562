"""How fast a model directory is hashed and pinned, in how much memory, and what is lost with a killed worker."""

import contextlib
import hashlib
import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from benchmarks.paired import milliseconds
from benchmarks.results import Result
from benchmarks.stores import repeated, scaled
from catalog import reading
from catalog.hashing import hash_file
from catalog.models import Asset, Pin, PinState, Version
from catalog.pinning import work
from catalog.sources import open_tree

FILES, ROUNDS, MOST_MIB = 8, 5, 64
FILE_BYTES = 256 * 1024**2
SPEED = "reference: sha256sum, one process; measured: the same files through the source, in turns; target ≥ 0.95"
LIMIT = "reference: hashlib over bytes that are in memory already; measured: files through the source"
MEMORY = "reference: the target; measured: how much the process grew at its peak while it pinned 2 GiB"
RESUME = "reference: pinning from the beginning; measured: by the next worker, the first one ended at half of the bytes"


class Ended(Exception):
    """Stands for the end of a worker."""


def measure(store: str) -> list[Result]:
    """Pin a directory against a target of memory, against sha256sum, and after a worker was ended."""
    with tempfile.TemporaryDirectory() as folder:
        settings.SOURCE_DIRS = {"bench": Path(folder)}
        paths = _write(Path(folder))
        reading.SAVE_SECONDS = 0.05 * scaled(1000) / 1000
        return [_memory(store), *_speed(paths, store), _resume(store)]


def _write(folder: Path) -> list[Path]:
    """Write files that nothing can shorten, and let them lie in the cache: how fast a disk is, is not the question."""
    size, paths = scaled(FILE_BYTES), []
    for number in range(FILES):
        paths.append(folder / f"model-{number}.safetensors")
        with paths[-1].open("wb") as file:
            for start in range(0, size, 1024**2):
                file.write(os.urandom(min(1024**2, size - start)))
    return paths


def _memory(store: str) -> Result:
    """The first of all, while the process is small."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pin = work(_version("memory"))
    if pin.state != PinState.RESOLVED:
        raise SystemExit(f"the directory was not pinned: {pin.sentence}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return Result(f"peak of memory, {store}", "MiB", MOST_MIB, max(grown, 0.001), note=MEMORY)


def _speed(paths: list[Path], store: str) -> list[Result]:
    tree = open_tree("pvc://bench")
    entries, total = list(tree.entries()), sum(path.stat().st_size for path in paths)

    def ours() -> None:
        for entry in entries:
            hash_file(tree, entry, lambda count: None)

    def theirs() -> None:
        subprocess.run(["sha256sum", *map(str, paths)], stdout=subprocess.DEVNULL, check=True)

    block = bytes(1024**2)

    def limit() -> None:
        running = hashlib.sha256()
        for _ in range(max(1, total // len(block))):
            running.update(block)

    sha256sum, source, best = _in_turns(theirs, ours, limit)
    rate = total / 1e6
    return [
        Result(f"speed against sha256sum, {store}", "MB/ms", rate / sha256sum, rate / source, note=SPEED),
        Result(f"speed against hashing alone, {store}", "MB/ms", rate / best, rate / source, note=LIMIT),
    ]


def _in_turns(*calls: Callable[[], object]) -> list[float]:
    """Return the median milliseconds of each, after one round to warm up."""
    for call in calls:
        call()
    rounds = [[milliseconds(call) for call in calls] for _ in range(repeated(ROUNDS))]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _resume(store: str) -> Result:
    whole = milliseconds(lambda: work(_version("whole")))
    version = _version("resumed")

    def end() -> None:
        done = Pin.objects.values_list("progress", flat=True).get(version=version)
        if done["bytes"] >= done["of"] / 2:
            raise Ended

    with contextlib.suppress(Ended):
        work(version, end)
    rest = milliseconds(lambda: work(version))
    if Pin.objects.get(version=version).digest != Pin.objects.get(version__asset__slug="whole").digest:
        raise SystemExit("the second worker came to another digest")
    return Result(f"pinning after a kill, {store}", "ms", whole, rest, note=RESUME)


def _version(slug: str) -> Version:
    asset = Asset.objects.create(slug=slug, kind="model", name=slug)
    return Version.objects.create(
        asset=asset, version="1.0", source="pvc://bench", licence="MIT", runtime={"command": []}
    )
