"""The life of an endpoint as people steer it. Workers make it true (`reconcile.py`).

Each verb is one transaction: permission and state, the change, the audit row and the event; after the commit a nudge.
What spends or extends is a service of `approvals`, which calls these. The verbs of a topic stand in a module of their
own: keys, scaling, rollouts, expiry, sharing.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.services import record
from catalog.models import HardwareProfile, Version
from endpoints.changes import (
    BLOCKED,
    DELETING,
    RESUMED,
    SUSPENDING,
    Authorization,
    contacts,
    fresh,
    not_blocked,
    runs,
    tell,
    want,
)
from endpoints.expiry import HOLDER, due_reminder, renew
from endpoints.facts import ended
from endpoints.keys import issue_key, playground_key, revoke_key, rotate_key
from endpoints.models import Cluster, Desired, Endpoint, Environment, Phase, Revision
from endpoints.nudge import nudge
from endpoints.rollouts import open_revision, rollback, start_again
from endpoints.scaling import scale
from endpoints.seats import accelerators, seat_of, take_seat
from endpoints.sharing import set_shareable, share, transfer, unshare
from endpoints.timeline import note
from portal.errors import Conflict, Invalid
from portal.states import move
from projects import epoch
from projects.models import Project, User, slug_validator
from projects.permissions import require
from projects.principal import Principal

__all__ = [
    "Authorization",
    "delete",
    "issue_key",
    "name_is_taken",
    "open_endpoint",
    "open_revision",
    "playground_key",
    "renew",
    "resume",
    "retry",
    "revoke_key",
    "rollback",
    "rotate_key",
    "scale",
    "set_shareable",
    "share",
    "suspend",
    "transfer",
    "unshare",
]

LIFTED = {HOLDER: "", BLOCKED: " Ask for a revision with another version, or wait until it may be used again."}
RESERVED = dt.timedelta(days=30)  # a deleted endpoint keeps its name: callers must not reach another one by an old name
MAX_REPLICAS = 64


def name_is_taken(project: Project, name: str) -> bool:
    """Whether a living endpoint of the project has this name, or one had it that was deleted in the last 30 days (one
    query).
    """
    return names_in_use(project).filter(name=name).exists()


def names_in_use(project: Project) -> QuerySet[Endpoint]:
    """Return the endpoints of `project` whose names nobody else may have: living, or deleted in the last 30 days."""
    reserved = Q(phase=Phase.DELETED, deleted_at__gt=timezone.now() - RESERVED)
    return Endpoint.objects.filter(~Q(phase=Phase.DELETED) | reserved, project=project)


def open_endpoint(
    by: Principal,
    *,
    project: Project,
    name: str,
    environment: str,
    cluster: Cluster,
    version: Version,
    profile: HardwareProfile,
    replicas: int,
    concurrency: int,
    context_tokens: int,
    purpose: str = "",
    data_classification: str = "",
    ends_on: dt.date | None = None,
    authorization: Authorization,
    created_by: User | None = None,
    endpoint_id: UUID | None = None,
    promoted_from: str | None = None,
    adopted: Mapping[str, Any] | None = None,
) -> Endpoint:
    """Write the rows of a new endpoint with revision 1, and nudge a worker after the commit.

    The caller has the authority for it, and reserves accelerators in the same transaction. The version's runtime is
    copied: what runs is what was approved. Raises Invalid for a bad name or number, and Conflict: `name_taken` for a
    name that lives or is reserved, `cluster_removed`.
    """
    _check(name, environment, replicas=replicas, concurrency=concurrency, context_tokens=context_tokens)
    taken = Conflict(
        f"An endpoint of {project.slug} has the name {name}, or had it in the last {RESERVED.days} days. Use another.",
        code="name_taken",
    )
    own_id: dict[str, Any] = {"id": endpoint_id} if endpoint_id else {}
    with transaction.atomic():
        not_blocked(version)
        # Held until the end: whoever removes the cluster comes before this, or counts the endpoint.
        if Cluster.objects.select_for_update(no_key=True).filter(pk=cluster.pk).first() is None:
            raise Conflict(f"The cluster {cluster.slug} was removed. Send a new request.", code="cluster_removed")
        if name_is_taken(project, name):
            raise taken
        source = Endpoint.objects.filter(pk=promoted_from, project=project).first() if promoted_from else None
        try:
            with transaction.atomic():
                endpoint = Endpoint.objects.create(
                    project=project,
                    name=name,
                    environment=environment,
                    cluster=cluster,
                    purpose=purpose,
                    ends_on=ends_on,
                    data_classification=data_classification,
                    created_by=created_by,
                    contact=created_by,
                    reminded_days=due_reminder(ends_on),
                    promoted_from=source,
                    **own_id,
                )
        except IntegrityError as error:  # somebody else was faster by an instant
            raise taken from error
        revision = Revision.objects.create(
            endpoint=endpoint, number=1, version=version, profile=profile, replicas=replicas, concurrency=concurrency,
            context_tokens=context_tokens, runtime=version.runtime, authorization_reference=authorization.reference,
            authorization_digest=authorization.digest, authorization_valid_until=authorization.valid_until,
            adopted=dict(adopted or {}),
        )  # fmt: skip
        if adopted:
            Cluster.objects.filter(pk=cluster.pk).update(adopts=True)
        endpoint.revision = revision
        endpoint.save(update_fields=["revision"])
        note(endpoint, endpoint.reason_code, endpoint.reason_sentence)
        record(
            "endpoints.open",
            by=by,
            obj=endpoint,
            project=project.slug,
            after={
                "name": name,
                "environment": environment,
                "cluster": cluster.slug,
                "version": f"{version.asset.slug}@{version.version}",
                "hardware_profile": profile.slug,
                "replicas": replicas,
                "concurrency": concurrency,
                "context": context_tokens,
                "authorization": authorization.reference,
                "digest": authorization.digest,
                "ends_on": ends_on,
                **({"promoted_from": source.name} if source is not None else {}),
                **({"adopted": dict(adopted)} if adopted else {}),
            },
        )
        epoch.bump()
        nudge(endpoint.pk)
    return endpoint


def suspend(by: Principal, endpoint: Endpoint, *, reason: str = "") -> Endpoint:
    """Stop all engines and give the accelerators back once they are gone. Raises Forbidden, NotFound and Conflict."""
    require(by, "suspend", endpoint)
    return want(by, "suspend", endpoint, Desired.SUSPENDED, SUSPENDING, source=Desired.RUNNING, reason=reason)


def resume(by: Principal, endpoint: Endpoint) -> Endpoint:
    """Run it again; accelerators are reserved again first, and it waits where there is no room.

    Raises Forbidden, NotFound, and Conflict: `on_hold` while a hold stands, `no_pool` when no pool offers its profile
    any more, `gpu_quota` when the project's quota is used up.
    """
    require(by, "resume", endpoint)
    if endpoint.hold_reason:
        lift = LIFTED.get(endpoint.hold_by, " Only they can lift it.")
        raise Conflict(
            f"{endpoint.name} is on hold by {endpoint.hold_by}: {ended(endpoint.hold_reason)}{lift}", code="on_hold"
        )
    with transaction.atomic():
        # The row is moved before the reservation is read: whoever releases it at this moment holds the row, or comes
        # too late.
        current = want(by, "resume", endpoint, Desired.RUNNING, RESUMED, source=Desired.SUSPENDED, hold_reason="")
        start_again(by, current)
    current.refresh_from_db()
    return current


def retry(by: Principal, endpoint: Endpoint) -> Endpoint:
    """Begin a new series of starts for a failed endpoint. Raises Forbidden, NotFound, and Conflict when it has not
    failed.
    """
    require(by, "retry", endpoint)
    with transaction.atomic():
        failed = Endpoint.objects.filter(pk=endpoint.pk, desired=Desired.RUNNING)
        before = {"phase": endpoint.phase, "reason": endpoint.reason_code}
        moved = move(
            failed,
            Phase.FAILED,
            Phase.PENDING,
            field="phase",
            phase_since=timezone.now(),
            attempts=0,
            due_at=None,
            reason_code="retried",
            reason_sentence="It was told to start again; a worker picks it up now.",
            reason_turn="portal",
            reason_tried="",
            reason_next="",
        )
        if not moved:
            raise Conflict(f"{endpoint.name} has not failed; there is nothing to retry.", code="not_failed")
        current = fresh(endpoint)
        if accelerators(runs(current)) and not seat_of(current).state:
            take_seat(by, current, runs(current))
        note(current, "retried", f"{by.name} pressed Retry.")
        record(
            "endpoints.retry",
            by=by,
            obj=current,
            project=current.project.slug,
            before=before,
            after={"phase": current.phase},
        )
        epoch.bump()
        nudge(current.pk)
    return current


def delete(by: Principal, endpoint: Endpoint, *, confirm: str | None = None, reason: str = "") -> Endpoint:
    """Take the endpoint away for good: calls are refused at once, the engines end, then the accelerators are free.

    `confirm` is the name as a person typed it; None where a program asked. Raises Invalid for another name,
    Forbidden, NotFound and Conflict.
    """
    require(by, "delete", endpoint)
    if confirm is not None and confirm.strip() != endpoint.name:
        raise Invalid.field("confirm", f"Type {endpoint.name} exactly as it is written to delete it.")
    with transaction.atomic():
        current = want(by, "delete", endpoint, Desired.DELETED, DELETING, reason=reason)
        others = [person for person in contacts(current) if person != by.person]
        title = f"{by.name} deleted {current.project.slug}/{current.name}."
        tell(current, "endpoint.deleted", title, others, text=reason)
    return current


def _check(name: str, environment: str, **numbers: int) -> None:
    if not re.fullmatch(slug_validator.regex, name):
        raise Invalid.field("name", f"name is {name[:60]!r}. {slug_validator.message}")
    if environment not in Environment.values:
        raise Invalid.field(
            "environment", f"environment is {environment[:20]!r}; choose one of {', '.join(Environment.values)}."
        )
    for field, value in numbers.items():
        limit = MAX_REPLICAS if field == "replicas" else 100_000_000
        if not 1 <= value <= limit:
            raise Invalid.field(field, f"{field} is {value}; it must lie between 1 and {limit:,}.")
