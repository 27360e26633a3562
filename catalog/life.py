"""The life cycle of a version: submit, approve, reject, deprecate, retire, block. Each step is guarded, moved by
compare-and-set and recorded in one transaction.

The catalog knows the arrows, not the reviewers: who must decide, and who may not, is the business of `approvals`.
"""

import datetime as dt
from contextlib import suppress
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.services import Actor, record, system
from catalog import proposing, standing
from catalog.listings import refresh
from catalog.models import Version, VersionState
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from portal.states import move
from projects.permissions import require
from projects.principal import Principal

MOST_NOTICE = dt.timedelta(days=730)  # of a day on which a version is retired


def submit(by: Principal, version: Version) -> Version:
    """Hand a draft, or a blocked version that is to be looked at again, to review. Raises NotFound, Forbidden and
    Conflict.
    """
    proposing.require_submit(by, version)
    again = version.state == VersionState.BLOCKED
    return _move(by, "submit", version, VersionState.BLOCKED if again else VersionState.DRAFT, VersionState.IN_REVIEW)


def take_back(by: Principal, version: Version, blocked_for: str = "") -> Version:
    """Take a version back from review, to where it came from; one that was blocked before is so again, for the reason
    `blocked_for`. Raises NotFound, Forbidden and Conflict.
    """
    proposing.require_submit(by, version)
    origin = _origin(version, blocked_for)
    return _move(by, "take_back", version, VersionState.IN_REVIEW, origin, state_reason=blocked_for[:300])


def _origin(version: Version, blocked_for: str) -> VersionState:
    """Return where a version in review goes back to: to have asked for a review lifts no block, neither of what was
    approved once nor of a proposal.
    """
    return VersionState.BLOCKED if blocked_for or version.approved_at is not None else VersionState.DRAFT


def approve(by: Principal, version: Version) -> Version:
    """Let a version in review into the catalog. Raises Forbidden, Conflict, and Conflict `evidence` when what was found
    about it, or what is missing, forbids it.
    """
    with transaction.atomic():
        require(by, "approve", version)
        # As it is now: whoever asks may have read it, and its evidence, a while ago.
        now = Version.objects.select_related("asset", "pin").prefetch_related("evidence").get(pk=version.pk)
        why = standing.problems(now) if now.state == VersionState.IN_REVIEW else []
        if why:
            raise Conflict(
                f"{now.asset.slug} {now.version} cannot be approved: {why[0]}",
                code="evidence",
                extra={"problems": why},
            )
        return _step(by, "approve", version, VersionState.IN_REVIEW, VersionState.APPROVED, approved_at=timezone.now())


def reject(by: Principal, version: Version, reason: str, blocked_for: str = "") -> Version:
    """Send a version in review back to draft, or to blocked when it was approved once, or was blocked before for the
    reason `blocked_for`; `reason` has 3 to 300 characters. Raises Forbidden, Invalid and Conflict.
    """
    origin = _origin(version, blocked_for)
    return _step(by, "reject", version, VersionState.IN_REVIEW, origin, state_reason=_reason(reason))


def deprecate(
    by: Principal,
    version: Version,
    successor: Version | None = None,
    reason: str = "",
    retires_on: dt.date | None = None,
) -> Version:
    """Take an approved version out of the choice; what runs goes on running. `successor` is what to move to, and
    `retires_on` the day (UTC) on which it is retired by itself.

    Raises Forbidden, Conflict, and Invalid for a successor that is itself, of another kind, or not approved, and for a
    day that is not after today or more than two years away.
    """
    if successor is not None and (
        successor.pk == version.pk
        or successor.asset.kind != version.asset.kind
        or successor.state != VersionState.APPROVED
    ):
        raise Invalid.field("successor", "successor must be another approved version of the same kind.")
    today = timezone.now().date()
    if retires_on is not None and not today < retires_on <= today + MOST_NOTICE:
        last = today + MOST_NOTICE
        raise Invalid.field("retires_on", f"retires_on is {retires_on}; choose a day after {today}, at most {last}.")
    text = clean_text(reason, field="reason", high=300)
    return _step(
        by, "deprecate", version, VersionState.APPROVED, VersionState.DEPRECATED, successor=successor,
        state_reason=text, retires_on=retires_on,
    )  # fmt: skip


def retire(by: Principal, version: Version, reason: str = "") -> Version:
    """End a deprecated version. Raises Forbidden and Conflict."""
    text = clean_text(reason, field="reason", high=300)
    return _step(by, "retire", version, VersionState.DEPRECATED, VersionState.RETIRED, state_reason=text)


def retire_due() -> int:
    """Retire the deprecated versions whose announced day has come, and return how many; safe to run twice."""
    due = Version.objects.filter(state=VersionState.DEPRECATED, retires_on__lte=timezone.now().date())
    count = 0
    for version in due.select_related("asset")[:500]:
        with suppress(Conflict):  # somebody else was faster
            words = f"Its last day, {version.retires_on}, was announced when it was deprecated."
            _move(system("catalog"), "retire", version, VersionState.DEPRECATED, VersionState.RETIRED,
                  state_reason=words)  # fmt: skip
            count += 1
    return count


def block(by: Principal, version: Version, reason: str) -> Version:
    """Stop every new start of a version at once, from any state; `reason` has 3 to 300 characters and is shown to
    everyone. Who asks need not know the state: a decision at the same moment does not save it.

    Raises Forbidden, Invalid, and Conflict when it is blocked already.
    """
    require(by, "block", version)
    text = _reason(reason)
    with transaction.atomic():
        state = Version.objects.select_for_update().values_list("state", flat=True).get(pk=version.pk)
        return _move(by, "block", version, VersionState(state), VersionState.BLOCKED, state_reason=text)


def _reason(text: str) -> str:
    return clean_text(text, field="reason", low=3, high=300)


def _step(
    by: Principal, verb: str, version: Version, source: VersionState, target: VersionState, **also: Any
) -> Version:
    """Guard, move and record one step; `also` are further columns of the version."""
    require(by, verb, version)
    return _move(by, verb, version, source, target, **also)


def _move(by: Actor, verb: str, version: Version, source: VersionState, target: VersionState, **also: Any) -> Version:
    also.setdefault("state_reason", "")
    also.setdefault("changed_at", timezone.now())
    with transaction.atomic():
        if not move(Version.objects.filter(pk=version.pk), source, target, **also):
            now = Version.objects.values_list("state", flat=True).get(pk=version.pk)
            raise Conflict(
                f"Version {version.version} of {version.asset.slug} is {VersionState(now).label.lower()}; "
                f"only from {source.label.lower()} can it become {target.label.lower()}."
            )
        record(
            f"catalog.{verb}",
            by=by,
            obj=version,
            before={"state": source.value},
            after={
                "asset": version.asset.slug,
                "version": version.version,
                "state": target.value,
                "digest": version.digest,
            },
            reason=str(also["state_reason"]),
        )
        version.refresh_from_db(fields=["state", *also])
        refresh(version.asset)
    return version
