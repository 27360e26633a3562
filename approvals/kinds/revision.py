"""Another version, profile or size of a running endpoint: what changes, before and after. Approval rolls it out."""

from dataclasses import dataclass
from typing import Any

from approvals import builtin, sizing
from approvals.bodies import RevisionBody
from approvals.kinds import promotion
from approvals.kinds.base import (
    Subject,
    ask_once,
    endpoint_facts,
    own_endpoint,
    refuse,
    require_open,
    running,
    shell,
)
from approvals.kinds.endpoint import find_profile, find_version
from approvals.kinds.renewal import subject_of
from approvals.models import Request
from approvals.planning import security
from approvals.planning.loads import loads, measured
from approvals.sizing import Line
from approvals.verdicts import FAIL, PASS, WARN, Check
from catalog.models import HardwareProfile, Version, VersionState
from endpoints import services as endpoints
from endpoints.fleet.access import has_api
from endpoints.models import Desired, Endpoint, Revision
from endpoints.rollouts import ANSWERING
from endpoints.seats import accelerators, seat_of
from endpoints.services import Authorization
from projects.principal import Principal
from quotas.gpus import gpu_limit
from quotas.models import Pool, ReservationState

# The rules of a new endpoint, without those about what stays as it is: name, environment, data.
RULES = (
    builtin.only_models,
    builtin.fits_memory,
    builtin.within_context,
    builtin.pool_can_hold,
    builtin.project_gpu_quota,
    builtin.prod_has_two,
    builtin.no_demo_for_secrets,
)


@dataclass(frozen=True)
class Resolved:
    """The endpoint, what it runs now, and what it shall run. `line`: how the pool stands, when that is known."""

    endpoint: Endpoint
    now: Revision
    version: Version
    profile: HardwareProfile
    pool: Pool | None
    line: Line | None = None

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        endpoint = self.endpoint
        return Subject(endpoint.project, endpoint.name, endpoint.environment, self.version, self.profile, endpoint)


def start(endpoint: Endpoint) -> dict[str, Any]:
    """Return a body that asks for exactly what the endpoint runs now: where a form begins."""
    now = running(endpoint)
    return {
        "kind": "revision",
        "endpoint": str(endpoint.pk),
        "asset": now.version.asset.slug,
        "version": now.version.version,
        "hardware_profile": now.profile.slug,
        "replicas": now.replicas,
        "concurrency": now.concurrency,
        "context_tokens": now.context_tokens,
        "purpose": None,
    }


def subject(by: Principal, body: RevisionBody) -> Subject:
    """Return what a draft is about: the endpoint says in which project it is."""
    return subject_of(own_endpoint(by, body.endpoint))


def resolve(by: Principal, body: RevisionBody) -> Resolved:
    """Look up the endpoint and what it shall run; raises Invalid naming each field that the caller may not use."""
    endpoint = own_endpoint(by, body.endpoint)
    now = running(endpoint)
    problems: dict[str, str] = {}
    if body.asset in (None, "", now.version.asset.slug):  # it runs here, so that its name is no news
        require_open(by, now.version.asset, endpoint.project)
    version = find_version(by, body.asset or now.version.asset.slug, body.version or "", problems)
    profile = find_profile(body.hardware_profile or "", problems)
    if version is None or profile is None or problems:
        refuse(problems)
    require_open(by, version.asset, endpoint.project)
    promotion.check(promotion.source_of(by, body, endpoint.project), endpoint.environment)
    pool = None
    if profile.accelerator_count:  # it stays on its cluster
        pool = profile.pools.filter(cluster=endpoint.cluster.slug).order_by("slug").first()
    return Resolved(endpoint, now, version, profile, pool)


def build(by: Principal, body: RevisionBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: memory, cost and room as they would be, with the difference to what runs now."""
    now, profile = found.now, found.profile
    replicas, concurrency, context = body.replicas or 1, body.concurrency or 1, body.context_tokens or 1
    memory = sizing.memory(found.version, profile, context, concurrency)
    before = sizing.memory(now.version, now.profile, now.context_tokens, now.concurrency)
    gpus, gpus_now = profile.accelerator_count * replicas, accelerators(now)
    seat = seat_of(found.endpoint)
    own = seat.amount if seat.state == ReservationState.HELD else 0
    canary = body.canary_percent
    same_pool = found.pool is not None and seat.pool == found.pool.slug
    room = _room(found, gpus, own if same_pool and canary is None else 0)  # a canary never takes the place
    cost = sizing.cost(profile, replicas, found.endpoint.ends_on)
    cost_now = sizing.cost(now.profile, now.replicas, found.endpoint.ends_on)
    quota = gpu_limit(found.endpoint.project) if gpus else None
    case = builtin.Case(
        version=found.version, profile=profile, pool=found.pool, replicas=replicas, concurrency=concurrency,
        context_tokens=context, environment=found.endpoint.environment, memory=memory, name_taken=False,
        data_classification=found.endpoint.data_classification, cluster=found.endpoint.cluster.slug,
        project=found.endpoint.project.slug, quota=quota,
        own_gpus=seat.amount if seat.state else 0, containers=has_api(found.endpoint.cluster),
    )  # fmt: skip
    changes = _changes(found, body)
    checks = builtin.run(case, RULES)
    checks += [_version(found), _profile(found), _something(found, changes), _same_model(found), _room_check(room)]
    checks.append(_no_rollout(found.endpoint))
    if canary is not None:
        checks.append(_compared(found.endpoint))
    return {
        **shell("revision", checks),
        **sizing.asset_facts(found.version, found.endpoint.cluster),
        "endpoint": endpoint_facts(found.endpoint),
        "changes": changes,
        **_promotion(by, body, found),
        **({"canary_percent": canary} if canary is not None else {}),
        "memory": memory,
        "gpus": {"per_replica": profile.accelerator_count, "replicas": replicas, "total": gpus},
        "room": room,
        "project_gpus": sizing.held_gpus(quota),
        "cost": cost,
        "security": security.of_endpoint(found.version, found.endpoint),
        "loads": loads(measured(found.version, profile, concurrency), profile, replicas=replicas, calls=concurrency),
        "before": {
            "revision": now.number,
            "memory_bytes": before["needed_bytes"],
            "gpus": gpus_now,
            "per_month": cost_now["per_month"],
        },
        "delta": {
            "memory_bytes": memory["needed_bytes"] - before["needed_bytes"],
            "gpus": gpus - gpus_now,
            "per_month": sizing.difference(cost["per_month"], cost_now["per_month"]),
        },
    }


def _promotion(by: Principal, body: RevisionBody, found: Resolved) -> dict[str, Any]:
    """Return from where it is promoted, and in what it still differs from there."""
    endpoint = found.endpoint
    source = promotion.source_of(by, body, endpoint.project)
    promotion.check(source, endpoint.environment)
    asked = {
        "asset": found.version.asset.slug, "version": found.version.version, "concurrency": body.concurrency,
        "context_tokens": body.context_tokens, "hardware_profile": found.profile.slug, "replicas": body.replicas,
    }  # fmt: skip
    return promotion.part(source, asked, endpoint.environment)


def _changes(found: Resolved, body: RevisionBody) -> list[dict[str, Any]]:
    """Return what differs from the revision that runs."""
    now = found.now
    pairs = (
        ("asset", now.version.asset.slug, found.version.asset.slug),
        ("version", now.version.version, found.version.version),
        ("hardware_profile", now.profile.slug, found.profile.slug),
        ("replicas", now.replicas, body.replicas),
        ("concurrency", now.concurrency, body.concurrency),
        ("context_tokens", now.context_tokens, body.context_tokens),
    )
    return [{"field": name, "before": before, "after": after} for name, before, after in pairs if before != after]


def _room(found: Resolved, gpus: int, own: int) -> dict[str, Any]:
    """Return the room for the new engines beside the old ones, or in their place. `own` are held in the same pool."""
    room = sizing.room(found.pool, gpus, found.endpoint.project, found.line)
    if not room["pool"]:
        return room | {"way": "beside"}
    free = room["available"]
    if gpus <= free:
        back = f"; the {own} it holds go back when the old engines have ended" if own else ""
        words = f"Takes {gpus} of {free} free GPUs beside what runs{back}. No call is refused."
        return room | {"way": "beside", "own": own, "sentence": words}
    if gpus <= free + own:
        words = (
            f"{free} GPUs are free: the old engines end first and give back {own}, then the new ones start. Calls are "
            "refused in between."
        )
        return room | {"way": "instead", "own": own, "position": 0, "sentence": words}
    words = (
        f"Needs {gpus} GPUs; {free} are free and {own} are its own. It waits at place {room['position']}, and what "
        "runs now goes on until there is room."
    )
    return room | {"way": "waits", "own": own, "sentence": words}


def _version(found: Resolved) -> Check:
    """Only approved versions; what runs already may stay while it is deprecated."""
    version = found.version
    state = VersionState(version.state)
    keeps = version.pk == found.now.version_id and state == VersionState.DEPRECATED
    ok = state == VersionState.APPROVED
    reason = f"{version.asset.slug} {version.version} is {state.label.lower()}{' and runs already' if keeps else ''}."
    fix = "" if ok else "Choose an approved version in the catalog."
    return Check("cat-001", "Version is approved", PASS if ok else WARN if keeps else FAIL, reason, fix, "version")


def _profile(found: Resolved) -> Check:
    """A profile that was switched off takes nothing new."""
    keeps = found.profile.pk == found.now.profile_id
    ok = found.profile.enabled or keeps
    reason = f"{found.profile.slug} is {'offered' if found.profile.enabled else 'no longer offered'}."
    fix = "" if ok else "Choose another profile."
    return Check("cap-004", "Hardware profile is offered", PASS if ok else FAIL, reason, fix, "hardware_profile")


def _something(found: Resolved, changes: list[dict[str, Any]]) -> Check:
    words = ", ".join(str(change["field"]) for change in changes)
    return Check(
        "rev-001",
        "Something changes",
        PASS if changes else FAIL,
        f"Other than revision {found.now.number}: {words}." if changes else f"Revision {found.now.number} is the same.",
        "" if changes else "Change the version, the profile or a number.",
        "version",
    )


def _same_model(found: Resolved) -> Check:
    same = found.version.asset_id == found.now.version.asset_id
    reason = "Callers go on talking to the same model." if same else "Callers get answers of another model."
    fix = "" if same else "Tell the callers first, or ask for a new endpoint."
    return Check("rev-002", "Same model", PASS if same else WARN, reason, fix, "asset")


def _no_rollout(endpoint: Endpoint) -> Check:
    busy = endpoint.rolling_out
    reason = "Another revision is being rolled out." if busy else "No other rollout is running."
    fix = "Approving works once that one has ended." if busy else ""
    return Check("rev-003", "One rollout at a time", WARN if busy else PASS, reason, fix, "endpoint")


def _compared(endpoint: Endpoint) -> Check:
    answers = endpoint.desired == Desired.RUNNING and endpoint.phase in ANSWERING
    reason = "The endpoint answers calls." if answers else "The endpoint does not answer calls now."
    fix = "" if answers else "Approving works while it does; or let the revision take over at once."
    return Check(
        "rev-004", "A canary has something beside it", PASS if answers else WARN, reason, fix, "canary_percent"
    )


def _room_check(room: dict[str, Any]) -> Check:
    calm = room["way"] == "beside"
    fix = "" if calm else "Send it when more GPUs are free, or ask for a smaller size."
    return Check("cap-005", "Rolls out beside what runs", PASS if calm else WARN, room["sentence"], fix, "replicas")


def guard(request: Request, found: Resolved) -> None:
    """One at a time: two would undo each other."""
    ask_once(request, found.subject, words=f"a revision of {found.endpoint.name}")


def apply(by: Principal, request: Request, body: RevisionBody, found: Resolved) -> Endpoint:
    """Open the revision; workers roll it out."""
    endpoints.open_revision(
        by,
        found.endpoint,
        version=found.version,
        profile=found.profile,
        replicas=body.replicas or 1,
        concurrency=body.concurrency or 1,
        context_tokens=body.context_tokens or 1,
        authorization=Authorization(
            reference=request.number, digest=request.plan_digest, valid_until=found.endpoint.ends_on
        ),
        canary_percent=body.canary_percent,
        promoted_from=body.promoted_from,
    )
    return found.endpoint
