"""Findings: what the rules of today say against what runs. A sweep opens, refreshes and closes them; a failure with a
waiver that counts is waived. Nothing is stopped by a finding: people are told, and decide.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Sequence

from celery import current_app
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError

from approvals import waiving
from approvals.kinds.base import living
from approvals.models import Finding, Waiver
from approvals.policies import document as documents
from approvals.policies.active import Active, active
from approvals.policies.judging import judge
from approvals.verdicts import FAIL, WAIVED, WARN, Check, ordered
from endpoints.models import Endpoint
from projects.notify.audience import owners
from projects.notify.services import tell

TASK = "approvals.tasks.sweep_findings"
BATCH = 200
AGAINST = (FAIL, WAIVED, WARN)

log = logging.getLogger(__name__)


def judged(endpoints: Sequence[Endpoint], rules: Active | None = None) -> dict[str, list[Check]]:
    """Return what the rules say of each of `endpoints` (of `living()`), by id, worst first, with waivers counted; a
    constant number of queries.
    """
    bundle = (rules or active()).bundle
    said = {str(row.pk): judge(bundle, document) for row, document in documents.of_endpoints(endpoints)}
    return {key: ordered(checks) for key, checks in waiving.on_endpoints(said).items()}


def nudge() -> None:
    """Ask for a sweep now: what counts has changed. Losing it costs the time until the next one."""
    try:
        current_app.send_task(TASK, expires=settings.SWEEP_SECONDS * 10)
    except (OperationalError, OSError) as error:
        log.warning("findings.nudge_failed error=%s", error)


def sweep(now: dt.datetime | None = None) -> int:
    """Judge every living endpoint and bring its findings up to date; return how many are open."""
    moment, rules, count = now or timezone.now(), active(), 0
    rows, last = living().select_related("created_by").order_by("pk"), None
    while batch := list((rows.filter(pk__gt=last.pk) if last else rows)[:BATCH]):
        count += _bring_up(batch, judged(batch, rules), moment)
        last = batch[-1]
    gone = Finding.objects.filter(closed_at=None).exclude(endpoint__in=living().values("pk"))
    gone.update(closed_at=moment)
    return count


def _bring_up(endpoints: Sequence[Endpoint], said: dict[str, list[Check]], now: dt.datetime) -> int:
    """Open, refresh and close the findings of some endpoints (three queries and what has changed)."""
    open_rows = {
        (str(row.endpoint_id), row.check_id): row
        for row in Finding.objects.filter(endpoint__in=[one.pk for one in endpoints], closed_at=None)
    }
    against = {(key, check.id): check for key, checks in said.items() for check in checks if check.verdict in AGAINST}
    for place in open_rows.keys() & against.keys():
        _refresh(open_rows[place], against[place], now)
    with transaction.atomic():
        known = list(open_rows.values())
        Finding.objects.bulk_update(known, ["title", "verdict", "reason", "fix", "waiver", "seen_at"], batch_size=BATCH)
        Finding.objects.filter(pk__in=[open_rows[place].pk for place in open_rows.keys() - against.keys()]).update(
            closed_at=now
        )
    by_id = {str(one.pk): one for one in endpoints}
    for place in against.keys() - open_rows.keys():
        _open(by_id[place[0]], against[place], now)
    return len(against)


def _refresh(row: Finding, check: Check, now: dt.datetime) -> None:
    row.title, row.verdict, row.reason, row.fix = check.title[:120], check.verdict, check.reason[:500], check.fix[:500]
    row.waiver_id, row.seen_at = check.waiver, now


def _open(endpoint: Endpoint, check: Check, now: dt.datetime) -> None:
    """Write a new finding and tell who answers for the endpoint, once; two sweeps at once open one."""
    made = Finding(endpoint=endpoint, check_id=check.id)
    _refresh(made, check, now)
    try:
        with transaction.atomic():
            made.save()
            if check.verdict == FAIL:
                _tell(made)
    except IntegrityError:
        return


def _tell(finding: Finding) -> None:
    endpoint = finding.endpoint
    contact = endpoint.contact
    tell(
        "finding.opened",
        [contact] if contact is not None and contact.is_active else owners(endpoint.project),
        title=f"{endpoint.name} fails a rule: {finding.title}."[:200],
        text=f"{finding.reason} {finding.fix} Nothing is stopped by that.".strip(),
        url=reverse("endpoint_rules", args=[endpoint.pk]),
        project=endpoint.project,
        about=("finding", str(finding.pk)),
        once=f"finding:{finding.pk}",
        data={
            "endpoint": str(endpoint.pk),
            "name": endpoint.name,
            "check": finding.check_id,
            "verdict": finding.verdict,
        },
    )


def waived(waiver: Waiver) -> None:
    """Let the open finding of a new waiver say so, in its transaction."""
    if waiver.endpoint_id is not None:
        rows = _of(waiver).filter(verdict=FAIL)
        rows.update(verdict=WAIVED, waiver=waiver)


def counts_again(waiver: Waiver) -> None:
    """Open the finding again whose waiver is over, in the transaction in which it ends."""
    if waiver.endpoint_id is not None:
        _of(waiver).filter(verdict=WAIVED).update(verdict=FAIL, waiver=None)


def _of(waiver: Waiver) -> QuerySet[Finding]:
    return Finding.objects.filter(endpoint=waiver.endpoint_id, check_id=waiver.check_id, closed_at=None)


def open_ones(rows: Iterable[Endpoint] | QuerySet[Endpoint]) -> QuerySet[Finding]:
    """Return the open findings of `rows`, the newest first, with what lists read."""
    found = Finding.objects.filter(endpoint__in=rows, closed_at=None)
    return found.select_related("endpoint__project", "waiver").order_by("-opened_at", "-pk")
