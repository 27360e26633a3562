"""Collecting evidence: at once where the specification is enough, by workers where content must be read."""

import datetime as dt
from functools import partial

from django.utils import timezone

from audit.services import record
from catalog import evidence
from catalog.evidence import Case, Driver
from catalog.evidence.finding import Finding
from catalog.models import Evidence, Pin, Version
from catalog.sources.tree import SourceRefused, Tree
from portal.http import digest
from projects.principal import Principal


def instantly(by: Principal, version: Version) -> list[Evidence]:
    """Make every check on `version` that needs no content, and return the findings that are new. Call it in the
    transaction of the change, and refresh the listings after it.
    """
    pin = Pin.objects.filter(version=version).first()
    case = Case(version, pin, partial(_unread, version))
    return keep(by, version, [(driver, driver.check(case)) for driver in evidence.drivers(version, content=False)])


def keep(by: Principal, version: Version, found: list[tuple[Driver, Finding]]) -> list[Evidence]:
    """Keep each finding that differs from the last one of its kind and renew the others; return the new rows, which
    stand in the audit log together. Call it in a transaction.
    """
    last = {item.kind: item for item in version.evidence.order_by("collected_at", "id")}
    content, now = Pin.objects.filter(version=version).values_list("digest", flat=True).first() or "", timezone.now()
    fresh = []
    for driver, finding in found:
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
