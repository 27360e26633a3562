"""The impact preview: what a bundle would say of every live endpoint and of the last requests, against the one that
counts. The row is the queue: a worker claims it for some seconds and says how far it is; when the worker dies, the next
sweep begins it again.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from approvals import waiving
from approvals.kinds.base import living
from approvals.models import Bundle as Stored
from approvals.models import Preview, PreviewState, Request, Waiver, WaiverState
from approvals.policies import bundle as bundles
from approvals.policies import document as documents
from approvals.policies.active import active
from approvals.policies.comparing import compare, pair
from endpoints.models import Endpoint
from portal.errors import Conflict, GatehouseError
from portal.states import move
from projects.permissions import require_anywhere, visible
from projects.principal import Principal

TASK = "approvals.tasks.preview"
LEASE = dt.timedelta(seconds=20)
BEAT_SECONDS = 0.4  # between two notes of how far it is
GIVE_UP = dt.timedelta(minutes=10)  # after which a preview that never ends is not begun again
RUN_SECONDS = 120  # of one task; the sweep goes on with what is left
MOST_OPEN = 5  # of one person
MOST_CHANGES = 2000  # kept; all are counted
KEPT = dt.timedelta(days=30)
UNDONE = (PreviewState.QUEUED, PreviewState.RUNNING)

log = logging.getLogger(__name__)


class Lost(Exception):
    """Another worker has the preview by now, or it is gone."""


@dataclass(frozen=True)
class Object:
    """Something that rules judge: an endpoint or a request, its document, and the checks that are waived for it."""

    kind: str
    id: str
    document: Mapping[str, Any]
    waived: frozenset[str]


def ask(by: Principal, files: Mapping[str, str]) -> Preview:
    """Return a preview of `files` that waits for a worker; one that waits already for the same is taken.

    Raises Forbidden, Invalid for files that are no bundle, and Conflict `too_many_previews` above 5 at once.
    """
    require_anywhere(by, "publish", Stored)
    bundle = bundles.read(files)
    with transaction.atomic():
        mine = Preview.objects.filter(by=by.person, state__in=UNDONE)
        same = mine.filter(digest=bundle.digest).first()
        if same is not None:
            return same
        if mine.count() >= MOST_OPEN:
            raise Conflict(
                f"{MOST_OPEN} of your previews are not done yet. Wait for one of them.", code="too_many_previews"
            )
        made = Preview.objects.create(
            files=dict(bundle.files), digest=bundle.digest, against=active().bundle.digest, by=by.person
        )
        transaction.on_commit(_nudge)
    return made


def _nudge() -> None:
    try:
        current_app.send_task(TASK, expires=settings.SWEEP_SECONDS)
    except (OperationalError, OSError) as error:  # the sweep does it
        log.warning("policies.nudge_failed error=%s", error)


def run_due() -> int:
    """Run the previews that wait, or whose worker died; returns how many were begun."""
    end, count = time.monotonic() + RUN_SECONDS, 0
    while time.monotonic() < end and (row := claim()) is not None:
        count += 1
        try:
            run(row)
        except Lost:
            log.warning("policies.preview_lost preview=%s", row.pk)
    return count


def claim() -> Preview | None:
    """Take the preview that waits for the longest time; None when there is none, or other workers have them."""
    now = timezone.now()
    lapsed = Q(state=PreviewState.RUNNING, claimed_until__lte=now)
    for row in Preview.objects.filter(Q(state=PreviewState.QUEUED) | lapsed).order_by("id")[:20]:
        mine, until = Preview.objects.filter(pk=row.pk, claimed_until=row.claimed_until), now + LEASE
        if row.state == PreviewState.QUEUED:
            took = move(mine, PreviewState.QUEUED, PreviewState.RUNNING, claimed_until=until)
        elif row.created_at < now - GIVE_UP:
            words = "It was begun several times and never came to its end. Ask the platform team."
            move(mine, PreviewState.RUNNING, PreviewState.FAILED, claimed_until=None, sentence=words)
            continue
        else:
            took = mine.filter(state=PreviewState.RUNNING).update(claimed_until=until, done=0) > 0
        if took:
            return Preview.objects.get(pk=row.pk)
    return None


def run(row: Preview) -> None:
    """Work on a claimed preview and write down what came out. Raises Lost when the claim was lost meanwhile."""
    try:
        result, held = _result(row)
    except Lost:
        raise
    except SoftTimeLimitExceeded as error:  # the worker must stop: the next one begins again
        raise Lost from error
    except Exception as error:
        log.exception("policies.preview_failed preview=%s", row.pk)
        why = error.sentence if isinstance(error, GatehouseError) else f"It broke off ({type(error).__name__})."
        mine = Preview.objects.filter(pk=row.pk, state=PreviewState.RUNNING)
        move(mine, PreviewState.RUNNING, PreviewState.FAILED, claimed_until=None, sentence=why[:500])
        return
    total = result["endpoints"] + result["requests"]
    mine = Preview.objects.filter(pk=row.pk, claimed_until=held)
    ends = {"claimed_until": None, "result": result, "done": total, "total": total, "against": result.pop("against")}
    if not move(mine, PreviewState.RUNNING, PreviewState.DONE, **ends):
        raise Lost


def _result(row: Preview) -> tuple[dict[str, Any], dt.datetime | None]:
    """Return {"endpoints": n, "requests": n, "changed": n, "changes": […], "against": digest} and the claim."""
    tried, now = bundles.read(row.files, checked=False), active().bundle  # checked when it was asked for
    both, endpoints, requests = pair(now, tried), living(), _requests()
    total = endpoints.count() + len(requests)
    held, noted = _note(row.pk, row.claimed_until, 0, total), time.monotonic()
    counts, changes, changed = {"endpoint": 0, "request": 0}, list[dict[str, Any]](), 0
    for one in _objects(endpoints, requests):
        counts[one.kind] += 1
        found = compare(both, one.document, waived=one.waived, decides=one.kind == "request")
        if found is not None:
            changed += 1
            if len(changes) < MOST_CHANGES:
                changes.append({"kind": one.kind, "id": one.id, **found.json()})
        if time.monotonic() - noted > BEAT_SECONDS:
            held, noted = _note(row.pk, held, sum(counts.values()), total), time.monotonic()
    result = {"endpoints": counts["endpoint"], "requests": counts["request"], "changed": changed, "changes": changes}
    return {**result, "against": now.digest}, held


def _note(pk: int, held: dt.datetime | None, done: int, total: int) -> dt.datetime:
    """Say how far it is and hold the claim for longer; raises Lost when it is not held any more."""
    until = timezone.now() + LEASE
    mine = Preview.objects.filter(pk=pk, state=PreviewState.RUNNING, claimed_until=held)
    if not mine.update(done=min(done, total), total=total, claimed_until=until):
        raise Lost
    return until


def _requests() -> list[tuple[int, Any, Any]]:
    """Return (id, endpoint, document) of the last requests that were sent, the newest first (one query)."""
    sent = Request.objects.filter(submission__gt=0).order_by("-id")
    found = sent.values_list("pk", "endpoint_id", "plan__document")[: settings.POLICY_PREVIEW_REQUESTS]
    return [(pk, endpoint, document) for pk, endpoint, document in found if isinstance(document, dict)]


def _objects(endpoints: QuerySet[Endpoint], requests: list[tuple[int, Any, Any]]) -> Iterator[Object]:
    waivers: dict[tuple[str, str], set[str]] = {}
    active_ones = Waiver.objects.filter(state=WaiverState.ACTIVE, ends_on__gte=timezone.now().date())
    for one in active_ones.select_related("request"):
        of_request = one.request_id if one.request is not None and waiving.counts(one, one.request.body) else None
        for kind, about in (("request", of_request), ("endpoint", one.endpoint_id)):
            waivers.setdefault((kind, str(about)), set()).add(one.check_id)

    def waived(*about: tuple[str, Any]) -> frozenset[str]:
        return frozenset().union(*(waivers.get((kind, str(pk)), ()) for kind, pk in about if pk is not None))

    for row, document in documents.of_endpoints(endpoints):
        yield Object("endpoint", str(row.pk), document, waived(("endpoint", row.pk)))
    for pk, endpoint, document in requests:
        yield Object("request", str(pk), document, waived(("request", pk), ("endpoint", endpoint)))


def lines(by: Principal, row: Preview) -> list[dict[str, Any]]:
    """Return what a preview that is done says would change, with today's names, for the objects that `by` may see (two
    queries): {kind, id, name, project, state, now, then, why, parts}.
    """
    changes = row.result.get("changes", [])
    ids: dict[str, list[str]] = {"endpoint": [], "request": []}
    for one in changes:
        ids[one["kind"]].append(one["id"])
    endpoints = visible(by, Endpoint.objects.filter(pk__in=ids["endpoint"]))
    requests = visible(by, Request.objects.filter(pk__in=ids["request"]))
    names = {
        ("endpoint", str(pk)): {"name": name, "project": project, "state": f"{environment}, {phase}"}
        for pk, name, project, environment, phase in endpoints.values_list(
            "pk", "name", "project__slug", "environment", "phase"
        )
    } | {
        ("request", str(pk)): {"name": f"R-{pk} {name}".strip(), "project": project or "", "state": state}
        for pk, name, project, state in requests.values_list("pk", "name", "project__slug", "state")
    }
    known = [one for one in changes if (one["kind"], one["id"]) in names]
    return [{**one, **names[one["kind"], one["id"]]} for one in known]


def purge() -> int:
    """Let go of previews that nobody needs any more; returns how many."""
    return Preview.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]
