"""How far the checks of a version are that workers run: for pages and the API."""

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

from django.utils import timezone

from catalog import evidence
from catalog.evidence.content import has_content
from catalog.models import Evidence, Job, Pin, PinState, Version
from portal.templatetags.gatehouse import bytes_h

PIN = "pin"
WAITING, RUNNING, FAILED, DONE, HELD = "waiting", "running", "failed", "done", "held"


@dataclass(frozen=True)
class Progress:
    """One check: its state, a sentence, and the moment that the sentence is about.

    waiting (for a worker), running, failed (it came to no verdict), done, held (it reads content that is not pinned).
    """

    kind: str
    title: str
    state: str
    sentence: str
    at: dt.datetime | None

    def json(self) -> dict[str, Any]:
        """Return the line as the API shows it."""
        return asdict(self)


def by_workers(version: Version) -> dict[str, str]:
    """Return the checks of `version` that a worker runs, kind → title; the pin comes first, since others read what is
    pinned.
    """
    found = {PIN: evidence.TITLES[PIN]} if has_content(version) else {}
    return found | {driver.KIND: driver.TITLE for driver in evidence.drivers(version, content=True)}


def progress(version: Version) -> list[Progress]:
    """Return the checks of `version` that workers run, in their order (two queries; none with `jobs` prefetched and
    `pin` selected).
    """
    jobs: dict[str, Job] = {job.kind: job for job in version.jobs.all()}
    pin: Pin | None = getattr(version, "pin", None)
    reads = {driver.KIND for driver in evidence.drivers(version, content=True) if driver.CONTENT}
    return [
        _line(kind, title, jobs.get(kind), pin, unread=kind in reads and not (pin and pin.digest), version=version)
        for kind, title in by_workers(version).items()
    ]


def moving(lines: list[Progress]) -> bool:
    """Whether something will change by itself: then a page looks again."""
    return any(line.state in {WAITING, RUNNING} for line in lines)


def _line(kind: str, title: str, job: Job | None, pin: Pin | None, *, unread: bool, version: Version) -> Progress:
    now = timezone.now()
    if job is not None and job.claimed_by and job.claimed_until is not None and job.claimed_until > now:
        return Progress(kind, title, RUNNING, _running(kind, pin), job.claimed_until)
    if job is not None and job.due_at is not None:
        return Progress(kind, title, WAITING, job.problem or "Waits for a worker.", job.due_at)
    if unread and kind != PIN:
        why = "The content could not be read." if pin and pin.state == PinState.FAILED else "Waits for the content."
        return Progress(kind, title, HELD, why, None)
    if job is not None and job.problem:
        return Progress(kind, title, FAILED, job.problem, job.finished_at)
    if job is not None and job.finished_at is not None:
        return Progress(kind, title, DONE, "", job.finished_at)
    found = next((item for item in version.latest_evidence() if item.kind == kind), None)
    return _never(kind, title, found)


def _never(kind: str, title: str, found: Evidence | None) -> Progress:
    if found is None:
        return Progress(kind, title, HELD, "Nobody has asked for it yet.", None)
    return Progress(kind, title, DONE, "", found.collected_at)


def _running(kind: str, pin: Pin | None) -> str:
    """Return how far it is, where that is known."""
    done = pin.progress if kind == PIN and pin is not None else {}
    if not done.get("bytes") or not done.get("of"):
        return "A worker is at it."
    return f"{bytes_h(done['bytes'])} of {bytes_h(done['of'])} are read."
