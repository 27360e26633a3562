"""The cluster seam: what is wanted of a place where engines run, and what it reports. One module per real system
implements `ClusterDriver`.

A driver makes progress and never waits: `apply`, `restart`, `suspend` and `remove` are called again until `observe`
(or the answer of the last two) says that observed equals desired. Every call is idempotent, may come from several
workers at once and may be killed at any point. Nothing here needs Django or names a process, a pod or a manifest.
"""

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

Turn = Literal["platform", "you", "nobody"]
State = Literal["absent", "starting", "loading", "ready", "stopping", "failed"]


@dataclass(frozen=True)
class Place:
    """A registered cluster as its driver needs it: where it is and how the portal gets in.

    `state_dir` is for drivers that keep files, `server` the https:// address of an API, `ca` its authorities (PEM; ""
    = those that this machine trusts). The portal shows itself by `token`, by `certificate` and `key` (PEM), or, when
    `in_cluster`, as the service account of its own pod. `settings` are the options of the registration.
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
class Observation:
    """All replicas that the cluster knows of one endpoint, in the order of their index. `scaled` says, by revision,
    how many the cluster wants now where it scales by itself; `drifted`, that somebody changed there what was applied,
    or that part of it is missing. `progress` holds, by revision, the steps of the replica that is furthest, where the
    cluster knows them; `weights` the share of the calls, where a router of the cluster could give one (None: it gives
    none).
    """

    replicas: tuple[Replica, ...] = ()
    scaled: Mapping[int, int] = field(default_factory=dict)
    drifted: bool = False
    progress: Mapping[int, tuple[Stage, ...]] = field(default_factory=dict)
    weights: Mapping[int, int | None] = field(default_factory=dict)

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
