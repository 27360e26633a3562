"""What the gateway counts for Prometheus.

The registry is its own, so that the page that serves it decides what else stands beside it.
"""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "gatehouse_gateway_requests",
    "Calls that reached a known endpoint, by the status that the client got.",
    ["project", "endpoint", "operation", "status"],
    registry=REGISTRY,
)
REFUSALS = Counter(
    "gatehouse_gateway_refusals",
    "Calls that were refused before they were forwarded, by the code of the error.",
    ["code"],
    registry=REGISTRY,
)
TOKENS = Counter(
    "gatehouse_gateway_tokens",
    "Tokens by kind: input, output, cached (a part of input).",
    ["project", "endpoint", "kind"],
    registry=REGISTRY,
)
TTFT = Histogram(
    "gatehouse_gateway_time_to_first_token_seconds",
    "From the arrival of a streamed call to its first content.",
    ["project", "endpoint"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    registry=REGISTRY,
)
ACTIVE = Gauge("gatehouse_gateway_active_calls", "Calls that are being answered right now.", registry=REGISTRY)
JOURNAL_FAILURES = Counter(
    "gatehouse_gateway_journal_failures", "Records that could not be written to the journal.", registry=REGISTRY
)


@lru_cache(maxsize=4096)
def requests(project: str, endpoint: str, operation: str, status: int) -> Counter:
    """Return the counter of one kind of call: `labels()` each time would cost more than the count."""
    return REQUESTS.labels(project, endpoint, operation, str(status))


@lru_cache(maxsize=4096)
def tokens(project: str, endpoint: str, kind: str) -> Counter:
    """Return the counter of one kind of token."""
    return TOKENS.labels(project, endpoint, kind)
