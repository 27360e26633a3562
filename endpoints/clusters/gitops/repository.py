"""One repository: its copy on this machine, and the remote behind it.

Beyond this machine the remote compares and sets: what came too late is built again on the new tip. What a killed worker
left half done is made anew. Nothing is ever forced.
"""

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from endpoints.clusters import ClusterError
from endpoints.clusters.gitops import program, remote, told
from endpoints.clusters.gitops.mirror import NETWORK_SECONDS, Mirror
from endpoints.clusters.gitops.program import Ran
from endpoints.clusters.gitops.snapshot import Snapshot
from endpoints.clusters.gitops.words import error

PROPOSALS = "gatehouse"  # branches of proposals begin so
FIRST_SECONDS = 60.0  # for the first copy
HISTORY = 50  # commits of the first copy, where it has to be known at which one a proposal began; 1 elsewhere
SLOW = 3  # deadlines in a row that were too short: what is fetched is more than anybody waits for
LOCK_SECONDS = 10.0  # to wait for another worker
TRIES = 5  # at pushing beside others
REST_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # after failure 1, 2, … in a row; the last one repeats

Files = Mapping[str, bytes | None]  # None: taken away


@dataclass(frozen=True)
class Change:
    """What a commit changes, and what it says."""

    files: Files
    message: str


@dataclass
class _Health:
    """Whether the remote is left alone for a moment, so that one that is away costs one deadline and not one for each
    endpoint.
    """

    failures: int = 0
    until: float = 0.0
    problem: ClusterError | None = None


_memory = threading.Lock()
_health: dict[str, _Health] = {}


class Repository(Mirror):
    """The repository of one place; instances hold no state and may be many."""

    @property
    def problem(self) -> ClusterError | None:
        """Why the remote could not be asked last; None when it could."""
        return self._health.problem

    # --- The remote

    def refresh(self, seconds: float, *, wait: bool = False) -> None:
        """Fetch, unless that was done within `seconds`, or somebody does it now and nobody wants to `wait`. Raises
        ClusterError for what the remote does wrong; what was seen before stays.
        """
        stamp = self.path / "gatehouse-fetched"
        with suppress(OSError):
            if time.time() - stamp.stat().st_mtime < seconds:
                return
        try:
            with self._locked(LOCK_SECONDS if wait else 0.0) as lock:
                self._fetch(lock)
        except ClusterError as problem:
            if problem.code != "git_busy" or wait or not self.path.exists():
                raise

    def commit(self, branch: str, change: Callable[[Snapshot | None, str], Change | None], folder: str) -> str:
        """Bring a change to the remote's `branch` and return its commit, "" when there was nothing to change.

        `change` gets what stands on the followed branch below `folder`, and the tip of `branch` ("" when that is
        new), and is asked again on the new tip when somebody else pushed meanwhile. Raises ClusterError.
        """
        with self._locked(LOCK_SECONDS) as lock:
            if not self.tip():
                self._fetch(lock)
            for _ in range(TRIES):
                base, tip = self.tip(), self.tip(branch)
                wanted = change(self.snapshot(base, folder), tip)
                if wanted is None:
                    return ""
                made = self._build(base if branch == self.branch else tip or base, base, wanted)
                ran = self._push(lock, made, branch)
                if ran.well:
                    self._seen(made, branch, base, wanted, folder)
                    return made
                if not told.behind(ran):
                    refusal = told.rejected(ran, branch=branch, secrets=self._secrets)
                    self._tidied()
                    raise self._noted(refusal or self._failed(ran, NETWORK_SECONDS))
                self._fetch(lock)
        raise error("git_moving", branch=branch, tries=TRIES)

    def branches(self, seconds: float) -> dict[str, str]:
        """Return the commits of the remote's branches, asked now; raises ClusterError."""
        with self._scratch() as (lock, way):
            ran = self._run(lock, "ls-remote", "--heads", way.url, way=way, seconds=seconds)
            if not ran.well:
                raise self._failed(ran, seconds)
            lines = (line.partition("\t") for line in ran.out.decode("utf-8", "replace").splitlines())
            return {name.removeprefix("refs/heads/"): commit for commit, _, name in lines}

    def may_push(self, seconds: float) -> None:
        """Try a push that changes nothing; raises ClusterError when the remote would not take one from the portal."""
        with self._scratch() as (lock, way):
            tree = self._well(self._here("mktree")).out.decode().strip()
            who = {"user.name": "Gatehouse", "user.email": self.address}
            given = [part for name, value in who.items() for part in ("-c", f"{name}={value}")]
            made = self._well(self._here(*given, "commit-tree", "-m", "test", tree)).out.decode().strip()
            target = f"{made}:refs/heads/{PROPOSALS}/connection-test"
            ran = self._run(lock, "push", "--porcelain", "--dry-run", way.url, target, way=way, seconds=seconds)
            if not ran.well:
                raise told.rejected(ran, branch=self.branch, secrets=self._secrets) or self._failed(ran, seconds)

    @contextmanager
    def _scratch(self) -> Iterator[tuple[int, program.Way]]:
        """Hold the copy, made empty when there is none, for questions that need none of it."""
        with self._locked(LOCK_SECONDS) as lock:
            if not self.path.exists():
                self._make(lock)
            with remote.way(self._place, self._home) as way:
                yield lock, way

    # --- Steps

    def _fetch(self, lock: int) -> None:
        """Bring the copy up to date; makes it anew where it is broken. Where others rewrote so much that it cannot be
        fetched in time, of the history only its end is.
        """
        self._rested()
        fresh, before = not self.path.exists(), self.tip()
        if fresh:
            self._make(lock)
        health = self._health
        late = health.failures >= SLOW and health.problem is not None and health.problem.code == "git_slow"
        first = fresh or late or not before
        ran = self._fetched(lock, first)
        if not ran.well and not fresh and not ran.late and self._broken(ran):
            shutil.rmtree(self.path, ignore_errors=True)
            self._make(lock)
            first = True
            ran = self._fetched(lock, first)
        if not ran.well:
            raise self._noted(self._failed(ran, FIRST_SECONDS if first else NETWORK_SECONDS))
        if not self.tip():
            raise self._noted(error("git_branch_missing", branch=self.branch))
        if before and before != self.tip() and not self.contains(self.tip(), before):
            (self.path / "gatehouse-rewritten").touch()
        (self.path / "gatehouse-fetched").touch()
        self._noted(None)

    def _fetched(self, lock: int, first: bool) -> Ran:
        names = (self.branch, f"{PROPOSALS}/*") if self.proposes else (self.branch,)
        refs = [f"+refs/heads/{one}:refs/remotes/origin/{one}" for one in names]
        depth = (f"--depth={HISTORY if self.proposes else 1}",) if first else ()
        with remote.way(self._place, self._home) as way:
            return self._run(
                lock, "fetch", "--quiet", "--no-tags", "--prune", "--no-write-fetch-head", "--no-auto-gc", *depth,
                way.url, *refs, way=way, seconds=FIRST_SECONDS if first else NETWORK_SECONDS,
            )  # fmt: skip

    def _broken(self, ran: Ran) -> bool:
        """Whether a failure is the copy's own: its objects or the history that it is cut off from. What the server
        says, or the way to it, tells nothing about the copy.
        """
        if self._failed(ran, NETWORK_SECONDS).code != "git_failed":
            return False
        own = "\n".join(line for line in ran.words.lower().splitlines() if not line.startswith("remote:"))
        signs = ("not a git repository", "bad object", "missing blob", "missing tree", "unable to read", "shallow",
                 "did not send all necessary objects", "loose object", "inflate", "corrupt", "unresolved")  # fmt: skip
        return any(one in own for one in signs) or self._here("fsck", "--connectivity-only").code > 0

    def _make(self, lock: int) -> None:
        """Make an empty copy beside its place and move it there whole."""
        half = self._home / "half.git"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True, mode=0o700)
        ran = program.run(half, ["init", "--quiet", "--bare", "--object-format=sha1", str(half)], inherit=(lock,))
        if not ran.well:
            raise self._failed(ran, program.HERE_SECONDS)
        half.rename(self.path)

    def _build(self, parent: str, base: str, change: Change) -> str:
        """Return a new commit on `parent` with the tree of `base` and `change` in it."""
        name = str(self._place.settings.get("git_author_name") or "Gatehouse")
        address = self.address
        who = f"{_plain(name)} <{_plain(address)}> {int(time.time())} +0000"
        text = f"{change.message.rstrip()}\nSigned-off-by: {_plain(name)} <{_plain(address)}>\n".encode()
        merge = parent if parent != base else ""
        parts: list[bytes] = [
            f"commit refs/gatehouse/build\nmark :1\nauthor {who}\ncommitter {who}\ndata {len(text)}\n".encode(), text,
            f"\nfrom {base}\n".encode(), *([f"merge {merge}\n".encode()] if merge else []),
        ]  # fmt: skip
        for path, content in sorted(change.files.items()):
            if content is None:
                parts.append(b"D %s\n" % _quoted(path))
        for path, content in sorted(change.files.items()):
            if content is not None:
                parts += [b"M 100644 inline %s\ndata %d\n" % (_quoted(path), len(content)), content, b"\n"]
        parts.append(b"\nget-mark :1\ndone\n")
        ran = self._well(self._here("fast-import", "--quiet", "--done", "--force", data=b"".join(parts)))
        return ran.out.decode().split()[0]

    def _push(self, lock: int, commit: str, branch: str) -> Ran:
        self._rested()
        with remote.way(self._place, self._home) as way:
            return self._run(lock, "push", "--porcelain", way.url, f"{commit}:refs/heads/{branch}", way=way)

    def _seen(self, made: str, branch: str, base: str, change: Change, folder: str) -> None:
        """Remember what the remote has taken."""
        if branch == self.branch:
            before = self.snapshot(base, folder)
            self._remembered((f"{self.path}:{folder}", made), before.changed(made, change.files))
        self._here("update-ref", f"refs/remotes/origin/{branch}", made)
        self._noted(None)
        self._tidied()

    def _tidied(self) -> None:
        self._here("gc", "--auto", "--quiet", seconds=60.0)

    @property
    def _health(self) -> _Health:
        secret = hashlib.sha256(self._place.repository_secret.encode()).hexdigest()[:12]
        with _memory:
            return _health.setdefault(f"{self.path} {secret}", _Health())

    def _rested(self) -> None:
        """Raise what went wrong last while the remote is left alone."""
        health = self._health
        if health.problem is not None and monotonic() < health.until:
            raise health.problem.with_traceback(None)  # the same one each time: its traces would pile up

    def _noted(self, problem: ClusterError | None) -> ClusterError:
        health = self._health
        if problem is None:
            health.failures, health.problem = 0, None
            return error("git_failed", detail="")
        if problem.code != "git_rejected":  # that is about one commit, not about the remote
            health.until = monotonic() + REST_SECONDS[min(health.failures, len(REST_SECONDS) - 1)]
            health.failures, health.problem = health.failures + 1, problem
        return problem


def _quoted(path: str) -> bytes:
    """Return a path as fast-import reads it: whatever a name holds, it ends nothing and begins nothing."""
    name = path.encode("utf-8", "surrogateescape")
    signs = (chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\{one:03o}" for one in name)
    return f'"{"".join(signs)}"'.encode()


def _plain(text: str) -> str:
    return "".join(one for one in text if one.isprintable() and one not in "<>")
