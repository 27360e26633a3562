"""Steering a canary: a revision that answers a share of the calls beside the one that runs, until an owner promotes or
aborts it. It begins with a rollout (`rollouts.py`); one that fails is aborted by the worker (`turnover.py`).
"""

from django.db import transaction
from django.utils import timezone

from audit.services import record
from endpoints.changes import fresh, locked, runs
from endpoints.models import Desired, Endpoint, Revision
from endpoints.nudge import nudge
from endpoints.refusals import refusal
from endpoints.rollouts import check_percent, end_canary
from endpoints.timeline import note
from portal.errors import Conflict
from projects import epoch
from projects.permissions import require
from projects.principal import Principal


def set_share(by: Principal, endpoint: Endpoint, percent: int) -> Endpoint:
    """Give the revision that is on its way `percent` of the calls, 1 to 50, instead of letting it take over.

    Raises Forbidden, NotFound, Invalid for another share, and Conflict: `no_rollout` where nothing is on its way beside
    what runs, `already_so`.
    """
    require(by, "rollback", endpoint)
    check_percent(percent)
    with transaction.atomic():
        current = locked(endpoint)
        following = _following(current)
        before = current.canary_percent
        if before == percent:
            raise Conflict(f"Revision {following.number} has {percent} % of the calls already.", code="already_so")
        Endpoint.objects.filter(pk=current.pk).update(canary_percent=percent, due_at=None)
        was = f", not {before} %" if before is not None else ""
        note(current, "canary_share", f"{by.name} gave revision {following.number} {percent} % of the calls{was}.")
        record(
            "endpoints.set_canary_share", by=by, obj=current, project=current.project.slug,
            before={"revision": following.number, "canary_percent": before},
            after={"revision": following.number, "canary_percent": percent},
        )  # fmt: skip
        epoch.bump()
        nudge(current.pk)
    return fresh(endpoint)


def promote(by: Principal, endpoint: Endpoint) -> Endpoint:
    """Let the canary take over: a worker sends all calls to it as soon as it is ready, and what ran ends.

    Raises Forbidden, NotFound, and Conflict: `no_canary` where there is none, or it was aborted meanwhile, and why it
    may not be started any more, such as `version_blocked`.
    """
    require(by, "rollback", endpoint)
    with transaction.atomic():
        current = locked(endpoint)
        following = _canary(current)
        refused = refusal(following, timezone.now())
        if refused is not None:
            raise Conflict(refused.sentence, code=refused.code)
        Endpoint.objects.filter(pk=current.pk).update(canary_percent=None, due_at=None)
        note(current, "canary_promoted", f"{by.name} promoted the canary: revision {following.number} takes over.")
        record(
            "endpoints.promote_canary", by=by, obj=current, project=current.project.slug,
            before={"revision": runs(current).number, "canary_percent": current.canary_percent},
            after={"revision": following.number},
        )  # fmt: skip
        epoch.bump()
        nudge(current.pk)
    return fresh(endpoint)


def abort(by: Principal, endpoint: Endpoint, *, reason: str = "") -> Endpoint:
    """End the canary: all calls go to the revision that runs, at once; the canary finishes the calls it has.

    Raises Forbidden, NotFound, and Conflict `no_canary` where there is none, or it was promoted meanwhile.
    """
    require(by, "rollback", endpoint)
    with transaction.atomic():
        current = locked(endpoint)
        following = _canary(current)
        end_canary(by, current, following, reason=reason)
        said = f"{by.name} aborted the canary: revision {following.number} ends, {runs(current).number} goes on."
        note(current, "canary_aborted", said)
    return fresh(endpoint)


def _following(current: Endpoint) -> Revision:
    """Return the revision that is on its way beside what runs; raises Conflict."""
    if current.next_revision is None or not current.next_beside or current.desired != Desired.RUNNING:
        raise Conflict(
            f"No revision of {current.name} is on its way beside the one that runs. Begin with a request for a new "
            "revision, or with one of its revisions, and name canary_percent there.",
            code="no_rollout",
        )
    return current.next_revision


def _canary(current: Endpoint) -> Revision:
    """Return the revision that is the canary; raises Conflict."""
    if current.canary_percent is None or current.next_revision is None or current.desired != Desired.RUNNING:
        raise Conflict(
            f"{current.name} has no canary now: it was promoted, aborted or failed, or the endpoint is suspended.",
            code="no_canary",
        )
    return current.next_revision
