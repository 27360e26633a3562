"""The portal's own copy of one repository: bare, shallow, without a work tree, so that no name in it can write a file.

Everything that writes holds a lock of the kernel, which ends with its holder and with what that started.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.gitops import program, snapshot, told
from endpoints.clusters.gitops.program import Ran
from endpoints.clusters.gitops.snapshot import Snapshot
from endpoints.clusters.gitops.words import error

BRANCH = "main"
AUTHOR = "gatehouse@localhost"
NETWORK_SECONDS = 12.0  # for each fetch or push but the first
REWRITTEN_SECONDS = 600.0  # for which a rewritten history is told
KEPT_PATHS, KEPT_BYTES = 400_000, 32 * 2**20  # of snapshots, and of contents, in memory
KEPT = 512  # snapshots
READ_BYTES = 16 * 2**20  # of contents at a time
MOST_BLOB = 2**20  # bytes of one file; what the portal writes is far smaller
_STALE = ("shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock", "FETCH_HEAD.lock")

_memory = threading.Lock()
_snapshots: "OrderedDict[tuple[str, str], Snapshot]" = OrderedDict()
_blobs: "OrderedDict[str, bytes]" = OrderedDict()


class Mirror:
    """The copy of the repository of one place; instances hold no state and may be many."""

    def __init__(self, place: Place) -> None:
        """Nothing is called before the first method is."""
        self._place = place
        mark = hashlib.sha256(place.repository.encode()).hexdigest()[:12]
        self._home = place.state_dir / "gitops" / place.slug
        self.path = self._home / f"{mark}.git"
        self.branch = str(place.settings.get("git_branch") or BRANCH)
        self.proposes = place.settings.get("git_flow") == "pull_request"

    @property
    def address(self) -> str:
        """As whom the portal commits; what is committed under another address was not by it."""
        return str(self._place.settings.get("git_author_email") or AUTHOR)

    # --- Reading

    @property
    def rewritten(self) -> bool:
        """Whether others rewrote the history of the followed branch a short time ago."""
        try:
            return time.time() - (self.path / "gatehouse-rewritten").stat().st_mtime < REWRITTEN_SECONDS
        except OSError:
            return False

    def tip(self, branch: str = "") -> str:
        """Return the commit of a branch as it was seen last, "" when it is not there."""
        return self.tips().get(branch or self.branch, "")

    def tips(self) -> dict[str, str]:
        """Return the commits of all branches that the portal follows, as they were seen last."""
        if not self.path.exists():
            return {}
        listed = self._here("for-each-ref", "--format=%(objectname) %(refname)", "refs/remotes/origin/")
        lines = (line.partition(" ") for line in listed.out.decode("utf-8", "surrogateescape").split("\n") if line)
        return {name.removeprefix("refs/remotes/origin/"): commit for commit, _, name in lines}

    def snapshot(self, commit: str, folder: str) -> Snapshot:
        """Return what stands below `folder` at `commit`; raises ClusterError."""
        key = (f"{self.path}:{folder}", commit)
        with _memory:
            if key in _snapshots:
                _snapshots.move_to_end(key)
                return _snapshots[key]
        above = folder.split("/")[:-1]
        found = self._well(self._here("ls-tree", "-r", "-z", "--full-tree", commit, "--", folder)).out
        for depth in range(1, len(above) + 1):  # a file may stand where a directory should be
            path = "/".join(above[:depth])
            listed = self._well(self._here("ls-tree", "-z", "--full-tree", commit, "--", path)).out
            found += b"" if listed.startswith(b"040000 ") else listed
        return self._remembered(key, snapshot.parsed(commit, found))

    def blobs(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return contents by their ids; what is not there, or too large to be the portal's, is left out."""
        with _memory:
            found = {one: _blobs[one] for one in ids if one in _blobs}
        for part in _parts(self._sizes(sorted({*ids} - {*found}))):
            read = self._well(self._here("cat-file", "--batch", data="".join(f"{one}\n" for one in part).encode()))
            fresh = dict(_batch(read.out))
            with _memory:
                _blobs.update(fresh)
                kept = sum(map(len, _blobs.values()))
                while kept > KEPT_BYTES:
                    kept -= len(_blobs.popitem(last=False)[1])
            found |= fresh
        return found

    def _sizes(self, ids: Sequence[str]) -> dict[str, int]:
        """Return how large contents are, of those that are there and not too large."""
        if not ids:
            return {}
        asked = "".join(f"{one}\n" for one in ids).encode()
        told = self._well(self._here("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", data=asked))
        lines = (line.split(" ") for line in told.out.decode().splitlines())
        return {line[0]: int(line[2]) for line in lines if line[1] == "blob" and int(line[2]) <= MOST_BLOB}

    def last(self, commit: str, folder: str, *, since: str = "", but: str = "") -> tuple[str, str, str] | None:
        """Return commit, name and address of whoever changed `folder` last, as far back as the copy reaches; with
        `since`, only after what that commit knows; not by the address `but`. None when nobody did.
        """
        span = f"{since}..{commit}" if since else commit
        listed = self._here("log", "-20" if but else "-1", "--format=%H%x00%an%x00%ae", span, "--", folder)
        edge = self._edge()
        for line in listed.out.decode("utf-8", "replace").splitlines():
            parts = line.split("\0")
            if len(parts) == 3 and parts[0] not in edge and parts[2] != but:
                return parts[0], parts[1], parts[2]
        return None

    def moment(self, commit: str) -> int:
        """Return when a commit was made, in seconds of the epoch; 0 where that is not known."""
        words = self._here("log", "-1", "--format=%ct", commit).out.decode().strip()
        return int(words) if words.isdecimal() and len(words) < 11 else 0

    def contains(self, commit: str, old: str) -> bool:
        """Whether `old` is part of the history of `commit`, as far as the copy reaches."""
        return self._here("merge-base", "--is-ancestor", old, commit).code == 0

    def base(self, one: str, other: str) -> str:
        """Return where two branches parted, "" when the copy does not reach so far."""
        return self._here("merge-base", one, other).out.decode().strip()

    def merges(self, one: str, other: str) -> bool:
        """Whether two branches can be merged without a conflict, as far as the copy can tell."""
        return self._here("merge-tree", "--write-tree", "--no-messages", one, other).code != 1

    @contextmanager
    def _locked(self, seconds: float) -> Iterator[int]:
        """Hold the repository alone on this machine; yields the lock's descriptor, which git inherits, so that it is
        held for as long as what was started runs. Raises ClusterError `git_busy`.
        """
        try:
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise error("git_failed", detail=f"the state directory cannot be written ({problem.strerror})") from problem
        try:
            ends = monotonic() + seconds
            while not _taken(descriptor):
                if monotonic() >= ends:
                    raise error("git_busy")
                time.sleep(0.02)
            self._unlock()
            yield descriptor
        finally:
            os.close(descriptor)

    def _unlock(self) -> None:
        """Take away the lock files of a git that was killed: nobody else runs one that writes here now."""
        for name in _STALE:
            (self.path / name).unlink(missing_ok=True)
        for one in (*self.path.glob("refs/**/*.lock"), *self.path.glob("objects/**/tmp_*"), *self.path.glob("gc.pid*")):
            with suppress(OSError):
                one.unlink()

    # --- Small

    def _run(self, lock: int, *arguments: str, way: program.Way, seconds: float = NETWORK_SECONDS) -> Ran:
        return self._guarded(lambda: program.run(self.path, arguments, way=way, seconds=seconds, inherit=(lock,)))

    def _here(self, *arguments: str, data: bytes = b"", seconds: float = program.HERE_SECONDS) -> Ran:
        return self._guarded(lambda: program.run(self.path, arguments, data=data, seconds=seconds))

    def _guarded(self, call: Callable[[], Ran]) -> Ran:
        try:
            return call()
        except OSError as problem:
            if isinstance(problem, FileNotFoundError) and self.path.exists():
                raise error("git_missing", detail="") from problem
            raise error("git_failed", detail=problem.strerror or "it cannot be started") from problem

    def _well(self, ran: Ran) -> Ran:
        if not ran.well:
            raise self._failed(ran, program.HERE_SECONDS)
        return ran

    def _failed(self, ran: Ran, seconds: float) -> ClusterError:
        return told.failed(ran, branch=self.branch, seconds=seconds, secrets=self._secrets)

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (self._place.repository_secret.strip(),) if self._place.repository_secret else ()

    def _edge(self) -> set[str]:
        """Return the commits at which the copy ends: who changed what before is not known."""
        try:
            return set((self.path / "shallow").read_text(encoding="ascii").split())
        except OSError:
            return set()

    def _remembered(self, key: tuple[str, str], found: Snapshot) -> Snapshot:
        with _memory:
            _snapshots[key] = found
            kept = sum(len(one.entries) for one in _snapshots.values())
            while len(_snapshots) > 1 and (kept > KEPT_PATHS or len(_snapshots) > KEPT):
                kept -= len(_snapshots.popitem(last=False)[1].entries)
        return found


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parts(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the ids of contents, so many at a time as one answer can hold."""
    part, size = list[str](), 0
    for one, length in sizes.items():
        if part and size + length > READ_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += length
    if part:
        yield part


def _batch(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield id and content of what `cat-file --batch` printed."""
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        head = data[at:end].decode().split(" ")
        at = end + 1
        if len(head) == 3:
            size = int(head[2])
            yield head[0], data[at : at + size]
            at += size + 1
