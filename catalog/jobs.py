"""Running the checks that wait in the queue: claim a job, do it, write down what was found.

A worker may die between any two lines. A claim is a lease of 15 s that its holder renews; what was not written is done
again by the next one. However often a job is run, its finding is kept once, by whoever still holds the claim. A check
that breaks off, or ends its worker again and again, ends in a finding that says so: no job is lost, none runs for ever.
"""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Case as Choose
from django.db.models import Exists, F, OuterRef, Q, QuerySet, When
from django.utils import timezone

from audit.services import system
from catalog import evidence, pinning
from catalog.collecting import PIN, instantly, keep, schedule
from catalog.evidence import Case, Driver
from catalog.evidence.finding import Finding
from catalog.listings import refresh
from catalog.models import Job, Pin, PinState, Verdict, Version
from catalog.nudge import nudge
from catalog.sources import open_tree
from catalog.sources.tree import SourceError, SourceRefused
from portal.states import move

LEASE = dt.timedelta(seconds=15)
RENEW_SECONDS = 5.0
MOST_ATTEMPTS = 5
BACKOFF_SECONDS = (5, 30, 120, 600)  # before attempt 2, 3, …
SLICE_SECONDS = 30.0  # one message never begins another job after so long
LONGEST_SECONDS = 86_400  # of one run; a model that takes longer goes on in the next
TOOL = "gatehouse collector 1"
ACTOR = system("evidence")

log = logging.getLogger(__name__)


class Lost(Exception):
    """The claim has ended: somebody else has the job, and nothing more of this run counts."""


def run_due(worker: str, *, seconds: float = SLICE_SECONDS) -> int:
    """Run the jobs that are due, one after the other, and return how many; safe to call at any time, from many workers.

    `worker` names the caller, different for each call. A long download is one job and may take hours; after `seconds`
    no further one is begun, and the rest is for the next message.
    """
    count, end = 0, time.monotonic() + seconds
    while (job := claim(worker)) is not None:
        run(job, worker)
        count += 1
        if time.monotonic() >= end:
            nudge()
            break
    return count


def claim(worker: str) -> Job | None:
    """Take the job that is due for the longest time, for 15 s; None when there is none, or other workers have them."""
    for pk, lapsed in _claimable().values_list("pk", "claimed_by")[:20]:
        if _take(pk, worker, again=bool(lapsed)):
            return Job.objects.select_related("version__asset").get(pk=pk)
    return None


def _claimable() -> QuerySet[Job]:
    """Return what may be begun now. What reads content lets the pin go first."""
    now = timezone.now()
    pinning_first = Job.objects.filter(version=OuterRef("version"), kind=PIN, due_at__isnull=False)
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=now)
    return Job.objects.filter(free, Q(kind=PIN) | ~Exists(pinning_first), due_at__lte=now).order_by("due_at", "pk")


def _take(pk: int, worker: str, *, again: bool) -> bool:
    now = timezone.now()
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=now)
    rows = Job.objects.filter(free, pk=pk, due_at__lte=now)
    if settings.EVIDENCE_ALONE:  # the workers here have other things to do: a download of hours takes only one of them
        rows = rows.filter(~Exists(Job.objects.filter(claimed_until__gt=now)))
    # Whoever reads a large model may be interrupted many times, and goes on where it was; other checks may have ended
    # their worker.
    more = F("attempts") + 1
    attempts = Choose(When(kind=PIN, then=F("attempts")), default=more) if again else more
    return rows.update(claimed_by=worker, claimed_until=now + LEASE, attempts=attempts) > 0


def run(job: Job, worker: str) -> None:
    """Do a job that `worker` has claimed, and write down what came out; nothing when the claim was lost meanwhile."""
    if job.attempts > MOST_ATTEMPTS:
        _fail(job, worker, job.problem or "it ended its worker each time")
        return
    before = _hashed(job)
    try:
        with _lease(job, worker) as held:
            done = _pin(job, held) if job.kind == PIN else _check(job)
    except (Lost, SoftTimeLimitExceeded):  # whoever claims it next goes on
        log.warning("catalog.job_lost job=%s kind=%s", job.pk, job.kind)
        return
    except (SourceError, DatabaseError) as error:
        _stopped(job, worker, error, further=_hashed(job) > before)
        return
    except Exception as error:
        log.exception("catalog.job_failed job=%s kind=%s", job.pk, job.kind)
        _fail(job, worker, f"the check itself broke off ({type(error).__name__})")
        return
    done(worker)


def _stopped(job: Job, worker: str, error: SourceError | DatabaseError, *, further: bool) -> None:
    """Try again later, or say for good that nothing could be read. `further`: more files were read than before, so
    the attempts are counted anew.
    """
    words = str(error) if isinstance(error, SourceError) else "The database did not answer."
    if further:
        job.attempts = 1
    if isinstance(error, SourceRefused) or job.attempts >= MOST_ATTEMPTS:
        _fail(job, worker, words)
        return
    wait = BACKOFF_SECONDS[min(job.attempts, len(BACKOFF_SECONDS)) - 1]
    if _release(job, worker, problem=words[:300], wait=wait, attempts=job.attempts):
        nudge(countdown=wait)


def _hashed(job: Job) -> int:
    """Return how many files are read of what a pin is being made of."""
    if job.kind != PIN:
        return 0
    progress = Pin.objects.filter(version=job.version_id).values_list("progress", flat=True).first() or {}
    return len(progress.get("files", ()))


# --- What a job does --------------------------------------------------------------------------------------------------

Done = Callable[[str], None]


def _check(job: Job) -> Done:
    """Run one check and return what writes its finding."""
    version = job.version
    driver = _driver(job)
    if driver is None:  # an upgrade took the check away, or it does not apply any more
        return lambda worker: _finish(job, worker, None)
    pin = Pin.objects.filter(version=version).first()
    finding = driver.check(Case(version, pin, partial(open_tree, version.source, revision=pin.revision if pin else "")))
    return lambda worker: _finish(job, worker, (driver, finding), read=pin.digest if pin else "")


def _driver(job: Job) -> Driver | None:
    drivers = evidence.drivers(job.version, content=True)
    return next((driver for driver in drivers if job.kind == driver.KIND), None)


def _pin(job: Job, held: Callable[[], None]) -> Done:
    """Resolve or verify the source and return what writes the pin's finding and wants the checks of its content."""
    pin = pinning.work(job.version, held)

    def done(worker: str) -> None:
        with transaction.atomic():
            if not _release(job, worker, problem=pin.sentence if pin.state != PinState.RESOLVED else ""):
                return
            _tell_pin(job.version)

    return done


def _tell_pin(version: Version) -> None:
    """Keep the pin's finding; want every check that is not about the pinned content yet."""
    instantly(ACTOR, version)
    pin = Pin.objects.filter(version=version).first()
    if pin is not None and pin.digest:
        about = {item.kind: item.content for item in version.latest_evidence()}
        reads = [one.KIND for one in evidence.drivers(version, content=True) if one.CONTENT]
        schedule(version, [kind for kind in reads if about.get(kind) != pin.digest])
    refresh(version.asset)


def _finish(job: Job, worker: str, found: tuple[Driver, Finding] | None, *, read: str = "") -> None:
    """Keep the finding and end the job, if the claim still holds and the content is still what was read."""
    with transaction.atomic():
        if not _release(job, worker):
            return
        if found is None:
            return
        pinned = Pin.objects.filter(version=job.version).values_list("digest", flat=True).first() or ""
        if found[0].CONTENT and pinned != read:
            schedule(job.version, [job.kind])
            return
        keep(ACTOR, job.version, [found])
        refresh(job.version.asset)


def _fail(job: Job, worker: str, why: str) -> None:
    """End a job that comes to no verdict with a finding that says so: what could not be checked is not approved."""
    words = f"It could not be checked: {why.rstrip('.')}."[:300]
    with transaction.atomic():
        if not _release(job, worker, problem=words):
            return
        version = job.version
        if job.kind == PIN:
            waiting = Pin.objects.filter(version=version)
            move(waiting, PinState.PENDING, PinState.FAILED, sentence=words)  # what was pinned once stays pinned
            instantly(ACTOR, version, {PIN})
        elif (driver := _driver(job)) is not None:
            report = {"problem": why[:1000], "attempts": job.attempts}
            keep(ACTOR, version, [(driver, Finding(job.kind, Verdict.FAIL, words, TOOL, report))])
        refresh(version.asset)


def _release(job: Job, worker: str, *, problem: str = "", wait: float | None = None, attempts: int = 0) -> bool:
    """Give the claim back; False when it is not ours any more. With `wait` the job is due again after so many seconds.

    What was wanted anew meanwhile stays due.
    """
    now = timezone.now()
    fields: dict[str, Any] = {"claimed_by": "", "claimed_until": None, "problem": problem, "attempts": attempts}
    due = None if wait is None else now + dt.timedelta(seconds=wait)
    if wait is None:
        fields["finished_at"] = now
    with transaction.atomic():
        mine = Job.objects.filter(pk=job.pk, claimed_by=worker)
        if mine.filter(due_at=job.due_at).update(**fields, due_at=due):
            return True
        return mine.update(**fields) > 0


# --- The claim --------------------------------------------------------------------------------------------------------


@contextmanager
def _lease(job: Job, worker: str) -> Iterator[Callable[[], None]]:
    """Keep the claim while the block runs; yields what raises Lost once it is gone, for work that takes long.

    A thread renews it: what a check does meanwhile, and for how long, is its own business.
    """
    stop, lost = threading.Event(), threading.Event()

    def renew() -> None:
        try:
            while not stop.wait(RENEW_SECONDS):
                try:
                    rows = Job.objects.filter(pk=job.pk, claimed_by=worker)
                    if not rows.update(claimed_until=timezone.now() + LEASE):
                        lost.set()
                        return
                except DatabaseError as error:  # the lease outlives two missed renewals
                    log.warning("catalog.renew_failed job=%s error=%s", job.pk, error)
        finally:
            connection.close()

    def held() -> None:
        if lost.is_set():
            raise Lost

    thread = threading.Thread(target=renew, name=f"lease-{job.pk}", daemon=True)
    thread.start()
    try:
        yield held
        held()
    finally:
        stop.set()
        thread.join()
