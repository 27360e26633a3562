"""Writing what was used: journal and batched ingest against one ORM insert per call."""

import datetime as dt
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.paired import percentile
from benchmarks.results import Result
from benchmarks.stores import scaled
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import UsageEvent

CALLS, INSERTS, ROUNDS = 50_000, 2_000, 3
START = {
    "project_id": 1, "endpoint": "scoring", "key": "gth_k7Qp2vXa", "person": "dana", "purpose": "api",
    "operation": "chat", "stream": True, "estimated_input": 300,
}  # fmt: skip
END = {
    "status": 200, "outcome": "ok", "input_tokens": 312, "output_tokens": 128, "cached_tokens": 0, "estimated": False,
    "ttft_ms": 212.5, "latency_ms": 1830.25,
}  # fmt: skip
NOTE = "reference: UsageEvent.objects.create per call, each its own transaction; measured: what the portal does; " \
    "target ≥ 40×"  # fmt: skip


def measure(store: str) -> list[Result]:
    """Compare the path of a call (journal) and the ledger (ingest) with inserts."""
    inserts, journals, ingests = [], [], []
    for round_ in range(ROUNDS):
        inserts.append(_per_second(scaled(INSERTS), partial(_insert, round_)))
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
            journals.append(_per_second(scaled(CALLS), partial(_journal, journal)))
            ingests.append(_per_second(scaled(CALLS), partial(_ingest, Path(folder))))
    reference = percentile(inserts, 0.5)
    return [
        Result(f"on the path of a call, {store}", "calls/s", reference, percentile(journals, 0.5), note=NOTE),
        Result(f"into the ledger, {store}", "calls/s", reference, percentile(ingests, 0.5), note=NOTE),
    ]


def _per_second(count: int, work: Callable[[int], object]) -> float:
    begun = time.perf_counter()
    work(count)
    return count / (time.perf_counter() - begun)


def _targets(number: int) -> dict[str, str]:
    return {"endpoint_id": f"e{number % 20}", "key_id": f"00000000-0000-4000-8000-{number % 50:012d}"}


def _insert(round_: int, count: int) -> None:
    """The naive form."""
    fields = {key: value for key, value in {**START, **END}.items() if key != "estimated_input"}
    for number in range(count):
        UsageEvent.objects.create(
            gateway=f"naive-{round_}", sequence=number, request_id=f"r{number}", at=dt.datetime.now(dt.UTC),
            **fields, **_targets(number),
        )  # fmt: skip


def _journal(journal: Journal, count: int) -> None:
    for number in range(count):
        journal.end(journal.start(request_id=f"r{number}", **START, **_targets(number)), **END)


def _ingest(folder: Path, count: int) -> None:
    added = ingest(folder, seconds=600)
    if added != count:
        raise SystemExit(f"the ledger took {added} of {count} calls")
