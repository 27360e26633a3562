"""Metering: a start record before a call is forwarded, one end record before its last byte leaves."""

import datetime as dt
import logging
import time
from dataclasses import dataclass
from typing import Protocol

from endpoints.gateways.builtin import metrics
from endpoints.gateways.builtin.budget import Budget, Spend
from endpoints.gateways.builtin.errors import control_plane_unavailable
from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord
from endpoints.gateways.builtin.usage import Usage
from quotas.journal import Mark

CLIENT_CLOSED = 499  # nginx's number for it; nobody receives it

log = logging.getLogger(__name__)


class Journal(Protocol):
    """What the gateway needs of quotas.journal.Journal."""

    def start(self, **fields: object) -> int:
        """Write the start record and return its sequence number; raises OSError when there is no room."""

    def end(self, sequence: int, **fields: object) -> Mark:
        """Write the end record and return where it stands."""

    def close(self) -> None:
        """Let go of the files."""


@dataclass(slots=True)
class Call:
    """One call to a known endpoint, from the start record to the end record."""

    operation: str  # chat | completions | embeddings | responses
    stream: bool
    key: KeyRecord
    endpoint: EndpointRecord
    request_id: str
    estimated_input: int
    arrived: float  # monotonic seconds
    budget: Budget | None = None  # the token quotas that apply
    estimated_output: int = 0  # the most tokens that the answer may have, as far as the call says
    sequence: int = 0
    ended: bool = False
    spend: Spend | None = None
    revision: int | None = None  # of the endpoint, whose engine took the call

    def begin(self, journal: Journal) -> None:
        """Write the start record, and count the call against its quotas from now on.

        Raises Refusal when the journal has no room: what cannot be metered is not forwarded.
        """
        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=time.monotonic() - self.arrived)
        try:
            self.sequence = journal.start(
                at=at,
                request_id=self.request_id,
                project_id=self.key.project_id,
                endpoint_id=self.endpoint.id,
                endpoint=self.endpoint.name,
                key_id=self.key.id,
                key=self.key.prefix,
                person=self.key.person,
                purpose=self.key.purpose,
                operation=self.operation,
                stream=self.stream,
                estimated_input=self.estimated_input,
            )
        except OSError as error:
            metrics.JOURNAL_FAILURES.inc()
            log.error("gateway.journal_full error=%s", error)
            raise control_plane_unavailable() from error
        if self.budget is not None:
            self.spend = self.budget.hold(at.timestamp(), self.estimated_input + self.estimated_output)
        metrics.ACTIVE.inc()

    def end(self, journal: Journal, status: int, outcome: str, usage: Usage, first_at: float | None = None) -> None:
        """Write the end record, once; later calls do nothing.

        `first_at` is when the first content came (monotonic seconds).
        """
        if self.ended:
            return
        self.ended = True
        latency = time.monotonic() - self.arrived
        ttft = first_at - self.arrived if first_at is not None else None
        mark = None
        try:
            mark = journal.end(
                self.sequence,
                status=status,
                outcome=outcome,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                estimated=usage.estimated,
                ttft_ms=round(ttft * 1000, 3) if ttft is not None else None,
                latency_ms=round(latency * 1000, 3),
                revision=self.revision,
            )
        except (
            OSError,
            LookupError,
        ) as error:  # the answer is there already: deliver it, and say that the record is missing
            metrics.JOURNAL_FAILURES.inc()
            log.error("gateway.journal_failed sequence=%s error=%s", self.sequence, error)
        if self.budget is not None and self.spend is not None:
            self.budget.settle(self.spend, usage.input_tokens + usage.output_tokens, mark)
        self._count(status, usage, ttft)

    def estimate(self, output_tokens: int) -> Usage:
        """Return a usage for a call whose engine never said: the prompt by its size, the answer by its chunks."""
        return Usage(self.estimated_input, output_tokens, 0, estimated=True)

    def _count(self, status: int, usage: Usage, ttft: float | None) -> None:
        place = (self.endpoint.project, self.endpoint.name)
        metrics.ACTIVE.dec()
        metrics.requests(*place, self.operation, status).inc()
        for kind, amount in (
            ("input", usage.input_tokens), ("output", usage.output_tokens), ("cached", usage.cached_tokens),
        ):  # fmt: skip
            if amount:
                metrics.tokens(*place, kind).inc(amount)
        if ttft is not None:
            metrics.TTFT.labels(*place).observe(ttft)
