"""Collecting evidence: at once where the specification is enough, by workers where content must be read or somebody
else must be asked. The rows of `Job` are the queue; catalog/jobs.py empties it.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from audit.services import Actor, record, system
from catalog import asking, evidence
from catalog.evidence import Case, Driver
from catalog.evidence.finding import Finding, storable
from catalog.listings import refresh
from catalog.models import Evidence, Job, Pin, Version, VersionState
from catalog.nudge import nudge
from catalog.progress import PIN, by_workers, moving, progress
from catalog.sources.tree import SourceRefused, Tree
from portal.errors import Invalid
from portal.http import digest
from projects.permissions import can, require
from projects.principal import Principal

__all__ = [
    "PIN",
    "begin",
    "by_workers",
    "forget",
    "instantly",
    "keep",
    "may_collect",
    "moving",
    "progress",
    "renew",
    "require_collect",
    "schedule",
    "want",
]

LIVING = (VersionState.IN_REVIEW, VersionState.APPROVED, VersionState.DEPRECATED)
AHEAD = dt.timedelta(days=1)  # evidence is collected again so long before it expires
BATCH = 500


# --- Now --------------------------------------------------------------------------------------------------------------


def instantly(by: Actor, version: Version, kinds: Collection[str] | None = None) -> list[Evidence]:
    """Make every check on `version` that needs no worker, or those of `kinds`, and return the findings that are new.
    Call it in the transaction of the change, and refresh the listings after it.
    """
    pin = Pin.objects.filter(version=version).first()
    case = Case(version, pin, partial(_unread, version))
    wanted = [one for one in evidence.drivers(version, content=False) if kinds is None or one.KIND in kinds]
    return keep(by, version, [(driver, driver.check(case)) for driver in wanted])


def keep(by: Actor, version: Version, found: list[tuple[Driver, Finding]]) -> list[Evidence]:
    """Keep each finding that differs from the last one of its kind and renew the others; return the new rows, which
    stand in the audit log together. Call it in a transaction.
    """
    last = {item.kind: item for item in version.evidence.order_by("collected_at", "id")}
    content, now = Pin.objects.filter(version=version).values_list("digest", flat=True).first() or "", timezone.now()
    fresh = []
    for driver, raw in found:
        finding = replace(raw, summary=storable(raw.summary), report=storable(raw.report))
        fields = {
            "digest": digest({"verdict": str(finding.verdict), "report": finding.report}),
            "content": content if driver.CONTENT else "",
            "collected_at": now,
            "expires_at": now + dt.timedelta(days=driver.DAYS) if driver.DAYS else None,
        }
        known = last.get(finding.kind)
        same = known is not None and (known.verdict, known.summary, known.tool, known.report, known.content) == (
            finding.verdict, finding.summary, finding.tool, finding.report, fields["content"],
        )  # fmt: skip
        if known is not None and same:
            Evidence.objects.filter(pk=known.pk).update(**fields)
        else:
            fresh.append(Evidence(version=version, **vars(finding), **fields))
    if fresh:
        Evidence.objects.bulk_create(fresh)
        after = {"verdicts": {row.kind: str(row.verdict) for row in fresh}}
        record(
            "catalog.collect_evidence",
            by=by,
            obj=version,
            after=after | {"digests": {row.kind: row.digest for row in fresh}},
        )
    return fresh


def _unread(version: Version) -> Tree:
    raise SourceRefused(f"The content of {version.source} is not read for this check.")


# --- By workers -------------------------------------------------------------------------------------------------------


def may_collect(by: Principal, version: Version, *, shown: bool = False) -> bool:
    """Whether `by` may have evidence of `version` collected and add documents about it: stewards, and whoever proposed
    it as long as it was never approved. `shown`: it was read as one that they see, so that no query is needed.
    """
    if can(by, "collect_evidence", version):
        return True
    own = by.user is not None and version.proposed_by_id == by.user.pk and by.project_id is None
    return own and version.approved_at is None and (shown or can(by, "view", version))


def require_collect(by: Principal, version: Version) -> None:
    """Raise NotFound or Forbidden unless `may_collect`."""
    if not may_collect(by, version):
        require(by, "collect_evidence", version)


def want(by: Principal, version: Version, kinds: Iterable[str] | None = None) -> list[Job]:
    """Have `version` looked at again: every check of it, or those that are named; return the jobs that workers get.

    What needs no worker is made at once. A check that reads content waits until the content is pinned. Raises
    Forbidden, NotFound, RateLimited, and Invalid for a check that does not apply to it.
    """
    require_collect(by, version)
    asking.count(by)
    with transaction.atomic():
        instant = [driver.KIND for driver in evidence.drivers(version, content=False)]
        known = [*by_workers(version), *(kind for kind in instant if kind not in by_workers(version))]
        wanted = list(dict.fromkeys(kinds)) if kinds is not None else known
        for kind in wanted:
            if kind not in known:
                fits = ", ".join(known)
                raise Invalid.field("kinds", f"kinds holds {kind[:40]!r}; choose among {fits}.")
        if not wanted:
            raise Invalid.field("kinds", "kinds is empty. Name a check, or leave it out for all of them.")
        record(
            "catalog.want_evidence", by=by, obj=version,
            after={"asset": version.asset.slug, "version": version.version, "kinds": sorted(wanted)},
        )  # fmt: skip
        if set(wanted) & set(instant):
            instantly(by, version, wanted)
            refresh(version.asset)
        return schedule(version, wanted, by=by)


def begin(by: Principal, version: Version) -> None:
    """Have a new version looked at: what the specification is enough for at once, the rest by workers. Call it in the
    transaction that adds it.
    """
    instantly(by, version)
    schedule(version, by_workers(version), by=by)


def schedule(version: Version, kinds: Iterable[str], *, by: Principal | None = None) -> list[Job]:
    """Make those of `kinds` that a worker runs due now, and nudge one; return their jobs. `by` None: the schedule.

    Where the content is not pinned yet, a check of it makes the pin due: pinning wants the checks. Call it in a
    transaction; permission and audit row are the caller's.
    """
    possible, wanted = by_workers(version), set(kinds)
    pin = Pin.objects.get_or_create(version=version)[0] if PIN in possible else None
    reads = {driver.KIND for driver in evidence.drivers(version, content=True) if driver.CONTENT}
    if pin is not None and not pin.digest and wanted & reads:
        wanted = wanted - reads | {PIN}
    wanted &= set(possible)
    fields = {"due_at": timezone.now(), "attempts": 0, "problem": "", "wanted_by": by.user if by else None}
    jobs = [Job.objects.update_or_create(version=version, kind=kind, defaults=fields)[0] for kind in sorted(wanted)]
    if jobs:
        nudge()
    return jobs


def forget(version: Version) -> None:
    """Let no worker ask somebody else about a version that is let in as it is described; the pin is another matter, and
    the button on its page asks. Call it in the transaction that lets it in.
    """
    asking = [one.KIND for one in evidence.drivers(version, content=True) if evidence.asks(one)]
    Job.objects.filter(version=version, kind__in=asking, finished_at=None).update(due_at=None)


def renew() -> int:
    """Have evidence collected again that expires within a day, of versions in use or in review; return how many checks.

    A check that waits already, or has failed for good within that time, is not asked for again and again: its job
    would be due.
    """
    soon, count = timezone.now() + AHEAD, 0
    newer = Evidence.objects.filter(version=OuterRef("version"), kind=OuterRef("kind"), pk__gt=OuterRef("pk"))
    waiting = Job.objects.filter(version=OuterRef("version"), kind=OuterRef("kind"), due_at__isnull=False)
    old = Evidence.objects.filter(~Exists(newer), ~Exists(waiting), expires_at__lte=soon, version__state__in=LIVING)
    kinds: dict[int, set[str]] = {}
    for pk, kind in old.order_by("version", "kind").values_list("version", "kind")[:BATCH]:
        kinds.setdefault(pk, set()).add(kind)
    for version in Version.objects.filter(pk__in=kinds).select_related("asset"):
        wanted = kinds[version.pk]
        with transaction.atomic():
            at_once = {one.KIND for one in evidence.drivers(version, content=False)} & wanted
            if at_once:
                instantly(system("evidence"), version, at_once)
                refresh(version.asset)
            jobs = schedule(version, wanted)
            kept = sorted(at_once | {job.kind for job in jobs})
            if kept:
                after = {"asset": version.asset.slug, "version": version.version, "kinds": kept}
                record("catalog.want_evidence", by=system("evidence"), obj=version, after=after)
            count += len(kept)
    return count
