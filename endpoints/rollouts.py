"""Rolling out a revision, and going back to one. The worker takes the steps (`turnover.py`); here is how it begins.

What runs stays while the next revision starts beside it, if there is room for both; else it waits for room, or the next
one takes its place when the accelerators that are held already are enough. A canary never takes the place of what it
is compared with.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from audit.services import Actor, record
from catalog.models import HardwareProfile, Version, VersionState, with_pins
from endpoints import facts, seats, serving
from endpoints.changes import Authorization, fresh, locked, not_blocked, runs
from endpoints.models import Desired, Endpoint, Phase, Revision, RevisionOutcome
from endpoints.nudge import nudge
from endpoints.refusals import refusal
from endpoints.timeline import note
from endpoints.turning import NO_NEXT, taking_place
from portal.errors import Conflict, Invalid
from portal.states import move
from projects import epoch
from projects.permissions import require
from projects.principal import Principal
from quotas.models import ReservationState

MAX_REPLICAS = 64
MAX_NUMBER = 100_000_000
ANSWERING = {Phase.READY, Phase.DEGRADED}
CANARY_PERCENT = 50  # of the calls at most: above that it is no trial any more, promote it


def open_revision(
    by: Principal,
    endpoint: Endpoint,
    *,
    version: Version,
    profile: HardwareProfile,
    replicas: int,
    concurrency: int,
    context_tokens: int,
    authorization: Authorization,
    canary_percent: int | None = None,
    promoted_from: str | None = None,
) -> Revision:
    """Write the next revision of `endpoint` and begin to roll it out; the caller has the authority for it.

    `context_tokens` counts prompt and answer, `concurrency` requests per replica. With `canary_percent` it gets that
    share of the calls when it is ready, and takes over when it is promoted. A suspended endpoint runs it when it is
    resumed. Raises Invalid for a number out of bounds, and Conflict: `rollout_running`, `wrong_state` for a deleted
    endpoint, `nothing_to_compare` for a canary of one that does not answer, `no_pool`, `gpu_quota`.
    """
    check_percent(canary_percent)
    for field, value, limit in (
        ("replicas", replicas, MAX_REPLICAS), ("concurrency", concurrency, MAX_NUMBER),
        ("context_tokens", context_tokens, MAX_NUMBER),
    ):  # fmt: skip
        if isinstance(value, bool) or not 1 <= value <= limit:
            raise Invalid.field(field, f"{field} is {value}; it must lie between 1 and {limit:,}.")
    with transaction.atomic():
        not_blocked(version)
        current = locked(endpoint)
        _may_begin(current)
        _comparable(canary_percent, current.revision)
        newest = current.revisions.order_by("-number").values_list("number", flat=True).first() or 0
        revision = Revision.objects.create(
            endpoint=current, number=newest + 1, version=version, profile=profile, replicas=replicas,
            concurrency=concurrency, context_tokens=context_tokens, runtime=version.runtime,
            authorization_reference=authorization.reference, authorization_digest=authorization.digest,
            authorization_valid_until=authorization.valid_until,
        )  # fmt: skip
        what = f"{version.asset.slug} {version.version} on {profile.slug}"
        note(current, "revision_opened", f"{by.name} opened revision {revision.number}: {what}.")
        record(
            "endpoints.open_revision", by=by, obj=current, project=current.project.slug,
            before={"revision": current.revision.number if current.revision else None},
            after={
                "revision": revision.number, "version": f"{version.asset.slug}@{version.version}",
                "hardware_profile": profile.slug, "replicas": replicas, "concurrency": concurrency,
                "context": context_tokens, "authorization": authorization.reference, "digest": authorization.digest,
                "canary_percent": canary_percent,
            },
        )  # fmt: skip
        _begin(by, current, revision, canary_percent)
        if promoted_from:
            others = Endpoint.objects.filter(project=current.project_id).exclude(pk=current.pk)
            Endpoint.objects.filter(pk=current.pk).update(promoted_from=others.filter(pk=promoted_from).first())
    return revision


def _comparable(percent: int | None, *revisions: Revision | None) -> None:
    """Raise Conflict for a canary beside what was adopted: its engines call the model by a name of their own."""
    if percent is not None and any(one is not None and one.adopted for one in revisions):
        raise Conflict(
            "What was adopted calls its model by a name of its own, so calls cannot be shared with it. Leave"
            " canary_percent out.",
            code="nothing_to_compare",
        )


def check_percent(percent: int | None) -> None:
    """Raise Invalid for a share of calls that a canary cannot have."""
    if percent is not None and (isinstance(percent, bool) or not 1 <= percent <= CANARY_PERCENT):
        raise Invalid.field("canary_percent", f"canary_percent is {percent}; a canary gets 1 to {CANARY_PERCENT} %.")


def rollback(by: Principal, endpoint: Endpoint, number: int, *, canary_percent: int | None = None) -> Endpoint:
    """Go back to revision `number`; to the one that runs, to cancel a rollout. With `canary_percent` it begins as a
    canary with that share of the calls.

    Raises Forbidden, NotFound, Invalid for a number that it never had or a share out of bounds, and Conflict:
    `already_so`, `rollout_running`, `wrong_state`, `version_blocked`, `version_drifted`, `version_retired`,
    `revision_altered`, `authorization_ended`, `nothing_to_compare`, `no_pool`, `gpu_quota`.
    """
    require(by, "rollback", endpoint)
    check_percent(canary_percent)
    with transaction.atomic():
        current = locked(endpoint)
        rows = with_pins(current.revisions.select_related("version__asset", "profile"), "version")
        target = None if isinstance(number, bool) else rows.filter(number=min(number, MAX_NUMBER)).first()
        if target is None:
            numbers = ", ".join(str(one) for one in rows.order_by("number").values_list("number", flat=True)[:20])
            raise Invalid.field("revision", f"revision is {number}, which {current.name} never had. It has {numbers}.")
        running = runs(current).number
        _comparable(canary_percent, current.revision, target)
        cancelled = current.next_revision if target.number == running and canary_percent is None else None
        if target.number == running and cancelled is None:
            raise Conflict(f"Revision {number} of {current.name} is what runs.", code="already_so")
        said = f"{by.name} went back from revision {running} to revision {number}."
        if canary_percent is not None:
            said = f"{by.name} lets revision {number} have {canary_percent} % of the calls, as a canary."
        if cancelled is not None:
            said = f"{by.name} cancelled the rollout of revision {cancelled.number}; revision {number} goes on."
        note(current, "rolled_back", said)
        before = {"revision": cancelled.number if cancelled else running}
        after: dict[str, object] = {"revision": number, "authorization": target.authorization_reference}
        if canary_percent is not None:
            after["canary_percent"] = canary_percent
        record("endpoints.rollback", by=by, obj=current, project=current.project.slug, before=before, after=after)
        if cancelled is not None:
            _cancel(by, current, cancelled)
        else:
            _may_begin(current)
            _may_run(target)
            _begin(by, current, target, canary_percent)
    return fresh(endpoint)


def start_again(by: Actor, current: Endpoint) -> None:
    """Reserve what an endpoint needs that is to run again. A rollout that was under way goes on in place, since nothing
    runs beside it; a canary has ended: what it was compared with runs again.

    In the caller's transaction, after `desired` was moved. Raises Conflict `no_pool` and `gpu_quota`.
    """
    row = Endpoint.objects.filter(pk=current.pk)
    following = current.next_revision
    if following is not None and current.canary_percent is not None:
        end_canary(by, current, following, reason="It was suspended as a canary, which nobody had promoted.")
    elif following is not None:
        row.update(**taking_place(current, following))
        record(
            "endpoints.roll_out", by=by, obj=current, project=current.project.slug,
            before={"revision": runs(current).number}, after={"revision": following.number},
            reason="It goes on in place: nothing runs beside it.",
        )  # fmt: skip
    move(row, Phase.SUSPENDED, Phase.PENDING, field="phase", phase_since=timezone.now())
    now = fresh(current)
    seats.reseat(by, now, runs(now), now.wanted_replicas)


def _may_begin(current: Endpoint) -> None:
    if current.desired == Desired.DELETED:
        raise Conflict(f"{current.name} is deleted; nothing of it runs again.", code="wrong_state")
    if current.rolling_out and current.desired == Desired.RUNNING:
        following = current.next_revision or current.revision
        raise Conflict(
            f"Revision {following.number if following else ''} of {current.name} is being rolled out. Wait until that "
            "has ended, or go back to the revision that runs to cancel it.",
            code="rollout_running",
        )


def _may_run(target: Revision) -> None:
    """Raise Conflict unless `target` may be started now."""
    refused = refusal(target, timezone.now())
    if refused is not None:
        raise Conflict(refused.sentence, code=refused.code)
    if target.version.state == VersionState.RETIRED:
        name = f"{target.version.asset.name} {target.version.version}"
        raise Conflict(f"{name} is retired in the catalog; ask for a revision with another.", code="version_retired")


def _begin(by: Actor, current: Endpoint, target: Revision, canary: int | None = None) -> None:
    """Write what the worker will make true: beside what runs, in its place, or waiting for room. A canary, which gets
    `canary` per cent of the calls, only beside.
    """
    row = Endpoint.objects.filter(pk=current.pk)
    Revision.objects.filter(pk=target.pk).update(outcome=RevisionOutcome.UNTRIED, outcome_sentence="")
    answering = current.desired == Desired.RUNNING and current.phase in ANSWERING
    if canary is not None and not answering:
        raise Conflict(
            f"{current.name} does not answer calls now, so that a canary has nothing to be compared with. Roll "
            f"revision {target.number} out without one, or wait until the endpoint is ready.",
            code="nothing_to_compare",
        )
    if canary is not None:
        seats.give_back(by, current, seats.GROWTH, seats.SURGE)
        seats.take(by, current, target, seats.SURGE, seats.accelerators(target))
    if canary is not None or (answering and not _takes_place(by, current, target)):
        beside = seats.seats_of(current).growth is None
        row.update(
            next_revision=target, next_beside=beside, next_attempts=0, remark="", due_at=None, canary_percent=canary,
        )  # fmt: skip
    else:
        row.update(**taking_place(current, target), upstreams=[], due_at=None, drain_until=timezone.now())
        if current.desired == Desired.RUNNING:
            said = {"reason_code": "revision_opened", "reason_turn": "portal", "phase_since": timezone.now()}
            said["reason_sentence"] = f"Revision {target.number} is to run; a worker picks it up now."
            said |= {"reason_tried": "", "reason_next": ""}
            aim = Phase.PROVISIONING if answering else Phase.PENDING
            if current.phase != aim:
                move(row, current.phase, aim, field="phase", **said)
            if not answering:
                seats.reseat(by, current, target, target.replicas)
        serving.keep(current.pk)
    epoch.bump()
    nudge(current.pk)


def _takes_place(by: Actor, current: Endpoint, target: Revision) -> bool:
    """Reserve what `target` needs beside what runs. True when it can only take its place, and enough is held for it."""
    amount = seats.accelerators(target)
    seats.give_back(by, current, seats.GROWTH, seats.SURGE)
    if not amount:
        return False
    pool, own = seats.pool_of(current, target), seats.seats_of(current).own
    refused: Conflict | None = None
    try:
        with transaction.atomic():
            made = seats.take(by, current, target, seats.SURGE, amount)
            if made is not None and made.state == ReservationState.HELD:
                return False
    except Conflict as error:  # the project's quota has no room for both
        refused = error
    if own is None or own.state != ReservationState.HELD or own.pool != pool.slug:
        if refused is not None:
            raise refused
        return False  # it waits for room beside what runs
    seats.give_back(by, current, seats.SURGE)
    return amount <= own.amount or seats.grow(by, current, target, amount - own.amount)


def end_canary(by: Actor, current: Endpoint, tried: Revision, *, reason: str) -> None:
    """End the canary `tried`, in the caller's transaction: it gets no more calls, and finishes those it has."""
    _cancel(by, current, tried)
    record(
        "endpoints.abort_canary", by=by, obj=current, project=current.project.slug,
        before={"revision": tried.number, "canary_percent": current.canary_percent},
        after={"revision": runs(current).number}, reason=reason,
    )  # fmt: skip


def _cancel(by: Actor, current: Endpoint, cancelled: Revision) -> None:
    routes = [one for one in current.upstreams if one.get("revision") != cancelled.number]
    until = timezone.now() + (facts.DRAIN if len(routes) < len(current.upstreams) else timedelta())
    Endpoint.objects.filter(pk=current.pk).update(**NO_NEXT, upstreams=routes, due_at=None, drain_until=until)
    Revision.objects.filter(pk=cancelled.pk).update(outcome=RevisionOutcome.CANCELLED)
    seats.retire(by, current, seats.SURGE)
    seats.give_back(by, current, seats.GROWTH)
    epoch.bump()
    nudge(current.pk)
