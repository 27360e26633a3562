"""Metering: a start record before a call is forwarded, one end record before its last byte leaves."""

import datetime as dt
import logging
import time
from dataclasses import dataclass
from typing import Protocol

from endpoints.gateways.builtin import metrics
from endpoints.gateways.builtin.errors import control_plane_unavailable
from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord
from endpoints.gateways.builtin.usage import Usage

CLIENT_CLOSED = 499  # nginx's number for it; nobody receives it

log = logging.getLogger(__name__)


class Journal(Protocol):
    """What the gateway needs of quotas.journal.Journal."""

    def start(self, **fields: object) -> int:
        """Write the start record and return its sequence number; raises OSError when there is no room."""

    def end(self, sequence: int, **fields: object) -> None:
        """Write the end record."""

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
    sequence: int = 0
    ended: bool = False

    def begin(self, journal: Journal) -> None:
        """Write the start record.

        Raises Refusal when the journal has no room: what cannot be metered is not forwarded.
        """
        try:
            self.sequence = journal.start(
                at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=time.monotonic() - self.arrived),
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
        try:
            journal.end(
                self.sequence,
                status=status,
                outcome=outcome,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                estimated=usage.estimated,
                ttft_ms=round(ttft * 1000, 3) if ttft is not None else None,
                latency_ms=round(latency * 1000, 3),
            )
        except (
            OSError,
            LookupError,
        ) as error:  # the answer is there already: deliver it, and say that the record is missing
            metrics.JOURNAL_FAILURES.inc()
            log.error("gateway.journal_failed sequence=%s error=%s", self.sequence, error)
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
