"""Is an engine healthy? One real HTTP request with short deadlines, and what its answer means over time."""

import contextlib
import http.client
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from endpoints.clusters import Replica, Turn, processes
from endpoints.clusters.replicas import Record, ReplicaFiles, age_seconds

TIMEOUT_SECONDS = 2.0
PATIENCE_SECONDS = 10.0  # a busy engine may miss a check; the gateway must not lose it for one
GIVE_UP_SECONDS = 30.0  # after this `apply` replaces an engine that was healthy once

Answer = Literal["ok", "busy", "refused", "silent"]


@dataclass(frozen=True)
class Condition:
    """State, reason and whose turn it is, as a `Replica` names them."""

    state: Literal["starting", "loading", "ready", "stopping", "failed"]
    reason_code: str = ""
    sentence: str = ""
    turn: Turn = "nobody"


def ask(port: int, path: str) -> Answer:
    """Return what the engine at this loopback port says: healthy, not (yet), nobody there, or no answer in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return "ok" if connection.getresponse().status == 200 else "busy"
    except ConnectionRefusedError:
        return "refused"
    except (OSError, http.client.HTTPException):
        return "silent"
    finally:
        connection.close()


def check(files: ReplicaFiles, record: Record) -> Condition:
    """Return how a running engine is, and remember since when; what cannot be remembered (a full disk) is judged
    afresh each time."""
    answer = ask(record.port, record.health_path)
    known = files.note("health", record)
    if answer == "ok":
        if not known.get("was_ready") or known.get("failing_since"):
            _remember(files, record, None)
        return Condition("ready")
    if not known.get("was_ready"):
        return _young(record, answer)
    failing = known.get("failing_since") or processes.uptime()
    if not known.get("failing_since"):
        _remember(files, record, failing)
    seconds = processes.uptime() - failing
    if seconds < PATIENCE_SECONDS and answer == "refused":
        return Condition("stopping", "not_answering", "The engine has closed its port and is probably ending.")
    if seconds < PATIENCE_SECONDS:
        return Condition("ready", "not_answering", "The engine is slow to answer its health check.")
    sentence = f"The engine runs, but its health check has failed for {seconds:.0f} s."
    return Condition("failed", "not_answering", sentence, "platform")


def observe(files: ReplicaFiles, record: Record) -> Replica:
    """Return one replica as it is now: healthy or not, ending, stopped as asked, or failed and why."""
    base = Replica(
        index=record.index,
        state="absent",
        revision=record.revision,
        started_at=datetime.fromtimestamp(record.started_at, UTC),
        authorization_digest=record.authorization_digest,
    )
    running = record.running
    if running and not files.note("stop", record):
        now = check(files, record)
        if record.running:
            return replace(
                base,
                state=now.state,
                reason_code=now.reason_code,
                sentence=now.sentence,
                turn=now.turn,
                url=record.url,
                key=files.key(),
                pid=record.pid,
                note=_memory_note(record),
            )
        running = False  # it ended during the check
    if running or record.ending:
        return replace(base, state="stopping", pid=record.pid, reason_code="stopping", sentence="The engine is ending.")
    if files.note("stop", record):
        return replace(base, reason_code="stopped", sentence="The engine was stopped as asked.")
    outcome = files.outcome(record)
    return replace(base, state="failed", reason_code=outcome.code, sentence=outcome.sentence, turn=outcome.turn)


def _memory_note(record: Record) -> str:
    if record.memory_bytes is None or record.memory_limit != "none":
        return ""
    return "The memory limit is not enforced: this machine offers no writable control group."


def overdue(files: ReplicaFiles, record: Record) -> bool:
    """Return whether a running engine has had its chance: never healthy within its start time, or unhealthy for too
    long since."""
    known = files.note("health", record)
    if not known.get("was_ready"):
        return age_seconds(record) > record.start_timeout_seconds
    failing: float | None = known.get("failing_since")
    return failing is not None and processes.uptime() - failing > GIVE_UP_SECONDS


def _young(record: Record, answer: Answer) -> Condition:
    """Judge an engine that was never healthy."""
    if age_seconds(record) > record.start_timeout_seconds:
        sentence = f"The engine was not healthy within {record.start_timeout_seconds} s of its start."
        return Condition("failed", "start_timeout", sentence, "platform")
    if answer == "refused":
        return Condition("starting", "starting", "The engine process has started.")
    sentence = "The engine is loading the model; it answers calls when that is done."
    return Condition("loading", "loading", sentence)


def _remember(files: ReplicaFiles, record: Record, failing_since: float | None) -> None:
    with contextlib.suppress(OSError):
        files.write_note("health", record, was_ready=True, failing_since=failing_since)
