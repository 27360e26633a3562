"""The cluster seam: what is wanted of a place where engines run, and what it reports. One module per real system
implements `ClusterDriver`.

A driver makes progress and never waits: `apply`, `restart`, `suspend` and `remove` are called again until `observe`
(or the answer of the last two) says that observed equals desired. Every call is idempotent, may come from several
workers at once and may be killed at any point. Nothing here needs Django or names a process, a pod or a manifest.
"""

import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

Turn = Literal["platform", "you", "nobody"]
State = Literal["absent", "starting", "loading", "ready", "stopping", "failed"]


@dataclass(frozen=True)
class Adopted:
    """An object that ran before the portal came and that a revision is, known by its uid: what stands under its name
    later is another one. Its engines listen on `port`, in the container `container` ("": the first), and call their
    model `served` ("": as the endpoint is called).
    """

    api: str
    kind: str
    namespace: str
    name: str
    uid: str
    port: int = 8000
    container: str = ""
    served: str = ""


@dataclass(frozen=True)
class Place:
    """A registered cluster as its driver needs it: where it is and how the portal gets in.

    `state_dir` is for drivers that keep files, `server` the https:// address of an API, `ca` its authorities (PEM; ""
    = those that this machine trusts). The portal shows itself by `token`, by `certificate` and `key` (PEM), or, when
    `in_cluster`, as the service account of its own pod. `settings` are the options of the registration.

    `repository` is the address of the Git repository that a driver commits to, `repository_secret` the private key or
    token for it, `repository_ca` its authorities (PEM), `known_hosts` the host keys of an SSH server.
    `adopted` are the objects that endpoints here have adopted, by endpoint and revision.
    """

    slug: str
    state_dir: Path
    server: str = ""
    ca: str = ""
    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    in_cluster: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    repository: str = ""
    repository_secret: str = field(default="", repr=False)
    repository_ca: str = ""
    known_hosts: str = ""
    adopted: Mapping[str, Mapping[int, Adopted]] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Workload:
    """One revision of an endpoint as a driver needs it.

    `command` is a template: `{python} {port} {model} {host} {name} {context} {concurrency}` are filled in where the
    engine starts. `memory_bytes` limits one replica, `context_tokens` counts prompt and answer, `concurrency` counts
    requests per replica, `start_timeout_seconds` is the time to the first healthy answer. Engines of the revisions in
    `keep` are left as they are: they answer calls, or finish them, while this revision starts beside them.

    Where engines run in containers: `image` with its digest, `source` the pinned address of the model, `accelerators`
    of the kind `resource` per replica, at most `accelerator_limit` of them in the namespace of the project and
    environment (None: as many as it likes), `cpu_millis` thousandths of a core, `host_memory_bytes` of main memory,
    beside accelerators, too. A cluster that scales by itself keeps between one and `replicas`.
    """

    endpoint_id: str
    revision: int
    name: str
    project: str
    replicas: int
    command: tuple[str, ...]
    model: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    memory_bytes: int | None = None
    demo: bool = False
    context_tokens: int = 4096
    concurrency: int = 8
    health_path: str = "/health"
    start_timeout_seconds: int = 600
    authorization_digest: str = ""
    keep: tuple[int, ...] = ()
    environment_name: str = ""  # dev, staging or prod
    image: str = ""
    arguments: tuple[str, ...] = ()  # added to the command
    source: str = ""
    resource: str = ""
    accelerators: int = 0
    accelerator_limit: int | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()
    cpu_millis: int = 0
    host_memory_bytes: int = 0
    approval: str = ""  # reference of the authorization
    weight: int | None = None  # share of the calls that a router of the cluster gives it; None: no router decides
    rewrite: bool = False  # a person wants it written over what somebody else changed
    adopted: Adopted | None = None  # it is this object, of which only labels and the number of replicas are written


@dataclass(frozen=True)
class Stage:
    """One named step on the way to a healthy engine; `ended` is None while it lasts, both are None before it began."""

    name: str
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class Notice:
    """What the cluster itself wrote down about something of an endpoint: `about` names it, `count` says how often it
    happened, `at` when last (None: it does not say)."""

    at: datetime | None
    reason: str
    sentence: str
    about: str = ""
    count: int = 1
    warning: bool = False


@dataclass(frozen=True)
class Replica:
    """One engine as it is now. `index` is its place, unique among all revisions of its endpoint. `reason_code` and
    `sentence` are empty when there is nothing to say; `note` holds what is true beside the state. `identity` names
    one life of it where index, start and process id do not. `tried` is what the cluster has done about what
    `sentence` says, and `next` what is to be done; both stand in it, too.
    """

    index: int
    state: State
    url: str = ""
    key: str = field(default="", repr=False)
    pid: int | None = None
    reason_code: str = ""
    sentence: str = ""
    started_at: datetime | None = None
    revision: int = 0
    turn: Turn = "nobody"
    authorization_digest: str = ""
    note: str = ""
    restarts_itself: bool = False  # True when the cluster starts a failed replica again without another `apply`
    identity: str = ""
    occupies: bool = False  # whether it still takes its accelerators though it failed
    ends_itself: bool = False  # True when the cluster ends a stopping replica without another `apply`
    tried: str = ""
    next: str = ""

    @property
    def here(self) -> bool:
        """Whether something of it still runs or starts, so that its accelerators are not free."""
        return self.state not in ("absent", "failed") or self.pid is not None or self.occupies


@dataclass(frozen=True)
class Hold:
    """Why nothing is written of an endpoint though it could be: a person has to decide first. `next` is the part of the
    sentence that says what to do."""

    code: str
    sentence: str
    turn: Turn = "platform"
    next: str = ""


@dataclass(frozen=True)
class Observation:
    """All replicas that the cluster knows of one endpoint, in the order of their index. `scaled` says, by revision,
    how many the cluster wants now where it scales by itself; `drifted`, that what was applied has to be written again
    at once, since somebody changed it there, or part of it is missing. `changed` says that something of it was changed,
    also what is only shown; `lowered`, by revision, how many replicas somebody left of how many that were applied.
    `progress` holds, by revision, the steps of the replica that is furthest, where the cluster knows them; `weights`
    the share of the calls, where a router of the cluster could give one (None: it gives none).
    """

    replicas: tuple[Replica, ...] = ()
    scaled: Mapping[int, int] = field(default_factory=dict)
    drifted: bool = False
    progress: Mapping[int, tuple[Stage, ...]] = field(default_factory=dict)
    weights: Mapping[int, int | None] = field(default_factory=dict)
    changed: bool = False
    lowered: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    hold: Hold | None = None  # nothing of it is written before a person has decided

    @property
    def ready_count(self) -> int:
        """How many replicas answer calls."""
        return sum(replica.state == "ready" for replica in self.replicas)

    @property
    def any_failed(self) -> bool:
        """Whether at least one replica cannot go on by itself."""
        return any(replica.state == "failed" for replica in self.replicas)

    @property
    def present(self) -> bool:
        """Whether anything of the endpoint still runs or starts."""
        return any(replica.here for replica in self.replicas)


@dataclass(frozen=True)
class Difference:
    """One field of one object that is not as the portal would write it now; without a `field` the object is missing.

    `wanted` and `found` are shown to people, shortened and without secrets; None: it is not there. `manager`,
    `operation` and `at` say who changed it last, as far as the cluster keeps that; `sure`, that it says so of this very
    field. `guarded`: it bears on what was approved, so that it never stays. `own`: nobody changed it, the portal itself
    would write it otherwise today.
    """

    kind: str
    name: str
    namespace: str = ""
    field: str = ""
    wanted: str | None = None
    found: str | None = None
    manager: str = ""
    operation: str = ""
    at: datetime | None = None
    sure: bool = True
    guarded: bool = True
    own: bool = False


class ClusterError(Exception):
    """The cluster cannot do what is asked: a stable code, one sentence, whose turn it is, and whether trying again
    can help, after how many seconds at the earliest. `next` is the part of the sentence that says what to do."""

    def __init__(
        self, code: str, sentence: str, turn: Turn = "platform", retry: bool = True, wait_seconds: float = 0.0,
        next: str = "",
    ) -> None:  # fmt: skip
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.turn: Turn = turn
        self.retry = retry
        self.wait_seconds = wait_seconds
        self.next = next


class ClusterDriver(Protocol):
    """What the reconciler needs of a cluster. Every method raises ClusterError and nothing else for what the cluster
    does wrong."""

    def apply(self, workload: Workload) -> None:
        """Take the next step towards `replicas` healthy engines of this revision and none of another that is not to be
        kept. Of too many, those with the highest index go. Nothing is started while engines of a revision that is not
        to be kept still run: their accelerators are not free yet."""

    def observe(self, endpoint_id: str) -> Observation:
        """Return what is there now, with real health checks; an unknown endpoint has no replicas."""

    def observe_all(self) -> Mapping[str, Observation]:
        """Return of every endpoint that has something here what `observe` returns, by its id; why something is not
        ready may be missing. Meant to cost a few calls for the whole cluster."""

    def compare(self, workload: Workload) -> Sequence[Difference]:
        """Return in what the cluster differs from what `apply` would write of this workload; empty where it keeps
        nothing that somebody could change. Nothing is written."""

    def manifests(self, workload: Workload) -> Sequence[Mapping[str, Any]]:
        """Return the objects that `apply` would bring about for this workload, in their order and without a secret;
        empty where a cluster has no such objects. Asks nobody."""

    def restart(self, endpoint_id: str) -> None:
        """Ask every replica to stop; the next `apply` starts them again."""

    def suspend(self, endpoint_id: str) -> bool:
        """Take the next step towards no engine while what describes it stays; True when nothing runs any more. The
        next `apply` starts it again at the same addresses."""

    def remove(self, endpoint_id: str) -> bool:
        """Take the next step towards nothing; return True when nothing is left. Logs stay readable until their
        retention ends."""

    def logs(self, endpoint_id: str, lines: int = 200, *, replica: int | None = None, previous: bool = False) -> str:
        """Return the last `lines` lines of each replica's output, or of the one with this index; `previous`: of the run
        before this one, where the cluster keeps it apart."""

    def notices(self, endpoint_id: str) -> "builtins.list[Notice]":
        """Return what the cluster says of the endpoint's objects, newest first, each thing once; empty where it keeps
        no such record."""

    def prune_logs(self, older_than: timedelta) -> int:
        """Delete the logs of endpoints that are gone, when they are older than this; return of how many endpoints."""

    def list(self) -> builtins.list[str]:
        """Return the ids of all endpoints that the cluster has something of, wanted or not."""


@runtime_checkable
class Comparable(Protocol):
    """A driver that compares all of a cluster with a few lists."""

    def compare_all(self, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, Sequence[Difference]]]:
        """Yield what `compare` returns of each workload, by the id of its endpoint. Raises ClusterError."""


@dataclass(frozen=True)
class Commit:
    """Where something stands in a Git repository: `commit` of `branch`, or, as long as it is not merged, `proposed` on
    a branch of its own; `path` is the directory."""

    repository: str
    branch: str
    commit: str
    path: str
    proposed: str = ""


@runtime_checkable
class Committing(Protocol):
    """A driver that commits what others apply."""

    def committed(self, endpoint_id: str) -> Commit | None:
        """Return where an endpoint stood in Git when this machine looked last, None when it saw none; asks nobody."""
