"""What the gateway remembers about keys and endpoints: plain values, no ORM objects."""

from dataclasses import dataclass, field

from endpoints.gateways.builtin.upstream import Upstream

SCOPE = "inference:invoke"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as it stood at one epoch. The secret is not here: the cache is keyed by its SHA-256."""

    id: str
    prefix: str
    ended: str  # "" while the key may be used, else the sentence that says why not
    expires_at: float  # seconds since 1970, compared with the clock on every call
    project_id: int
    project: str  # slug
    person: str  # user name
    purpose: str
    scopes: frozenset[str]
    targets: frozenset[str] | None  # endpoint ids; None: everything in the project

    @property
    def admits(self) -> bool:
        """Whether the key is good, apart from its end by the clock."""
        return not self.ended

    def why_not(self, now: float) -> str:
        """Return the sentence that says why the key is no longer good at `now` (seconds since 1970), or ""."""
        if not self.ended and self.expires_at <= now:
            return f"The key {self.prefix} has expired; create a new one on the endpoint's page."
        return self.ended

    def may_call(self, endpoint: "EndpointRecord") -> bool:
        """Whether the endpoint lies in the key's project or is shared with it, and is among its targets."""
        own = endpoint.project == self.project or endpoint.guest_id == self.project_id
        return own and (self.targets is None or endpoint.id in self.targets)


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """A living endpoint as it stood at one epoch."""

    id: str
    name: str
    project: str  # slug
    served_name: str  # the model name that the engine answers to
    phase: str
    running: bool  # desired
    reason: str  # sentence for a person
    created: int  # seconds since 1970
    context_tokens: int | None
    upstreams: tuple[Upstream, ...] = field(default=(), repr=False)
    project_id: int = 0  # of the project that owns it; 0: the caller's
    canary: tuple[Upstream, ...] = field(default=(), repr=False)  # of the revision that gets a share of the calls
    canary_percent: int = 0
    guest_id: int = 0  # of the project that it is shared with, in whose directory this stands; 0: of its owner's

    @property
    def admits(self) -> bool:
        """Whether calls can be forwarded."""
        return self.running and self.phase in {"ready", "degraded"} and bool(self.upstreams or self.canary)

    @property
    def model(self) -> str:
        """The full model name: project and endpoint."""
        return f"{self.project}/{self.name}"
