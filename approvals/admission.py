"""Getting into the catalog is a request with a decision: sent by whoever proposes, or made by the loader of the catalog
as code.
"""

from django.db import transaction
from django.utils import timezone

from approvals import services
from approvals.lead_time import LOADER
from approvals.models import Choice, Decision, Request, RequestKind, RequestState
from approvals.stages import keeping
from audit.services import record, system
from catalog import collecting, proposing
from catalog import services as catalog
from catalog.mcp.described import describe
from catalog.models import Version, VersionState
from portal.errors import Conflict
from portal.http import digest
from portal.states import move
from projects.models import User
from projects.people import create_person
from projects.principal import Principal


def submit(by: Principal, version: Version, purpose: str = "") -> Request:
    """Send `version` to review: makes and sends the admission request of `by`, or sends again the one that came back.
    One that waits already is returned as it is.

    Raises NotFound, Forbidden, Conflict, and Invalid `checks_failed` as long as a check has come to no verdict, or has
    failed.
    """
    proposing.require_submit(by, version)
    own = Request.objects.filter(kind=RequestKind.ADMISSION, version=version, requester=by.person).order_by("-pk")
    waiting = own.filter(state=RequestState.SUBMITTED).first()
    if waiting is not None:
        return waiting
    data = {"kind": "admission", "asset": version.asset.slug, "version": version.version, "purpose": purpose or None}
    returned = own.filter(state__in=(RequestState.DRAFT, RequestState.CHANGES_REQUESTED)).first()
    if returned is None:
        return services.send(by, data)
    with transaction.atomic():
        kept = data if purpose else data | {"purpose": returned.body.get("purpose")}
        return services.submit(by, services.change(by, returned, kept))


def discard(by: Principal, version: Version) -> None:
    """Take a draft away, as catalog.proposing.discard does. Raises as `require_discard` does."""
    with transaction.atomic():
        require_discard(by, version)
        proposing.discard(by, version)


def require_discard(by: Principal, version: Version) -> None:
    """Raise NotFound, Forbidden, Conflict `not_a_draft`, and Conflict `request_open` as long as a request that was sent
    for `version` waits for somebody.
    """
    proposing.require_submit(by, version)
    proposing.require_discardable(version)
    sent = Request.objects.filter(kind=RequestKind.ADMISSION, version=version, submission__gt=0)
    waiting = sent.filter(state__in=(RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)).first()
    if waiting is not None:
        raise Conflict(
            f"{waiting} asks for {version.asset.slug} {version.version} and was sent back for changes. Withdraw it "
            "first, or answer it.",
            code="request_open",
            extra={"request": waiting.pk},
        )


def admit(by: Principal, version: Version, *, reason: str) -> bool:
    """Approve a draft that was loaded from files: an admission request of the loader's service account, decided by
    `by`.

    Returns False when the version is no draft (and therefore needs nothing). Raises Forbidden when `by` may not
    approve versions.
    """
    if version.state != VersionState.DRAFT:
        return False
    with transaction.atomic():
        loader = User.objects.filter(username=LOADER).first() or create_person(
            system("catalog"), username=LOADER, full_name="Catalog loader", service=True
        )
        plan = {"asset": version.asset.slug, "version": version.version, "digest": version.digest}
        made = Request.objects.create(
            kind=RequestKind.ADMISSION,
            requester=loader,
            name=version.asset.slug,
            version=version,
            body=plan,
            plan=plan,
            plan_digest=digest(plan),
            submission=1,
            submitted_at=timezone.now(),
        )
        move(Request.objects.filter(pk=made.pk), RequestState.DRAFT, RequestState.SUBMITTED)
        stages = keeping.write(made, timezone.now())
        record(
            "approvals.submit", by=Principal(user=loader, via="command"), obj=made, after={"version": str(version.pk)}
        )
        describe(by, version)  # whoever loads and approves at once has no worker to wait for
        collecting.forget(version)
        catalog.submit(by, version)
        version.refresh_from_db()
        catalog.approve(by, version)
        version.refresh_from_db()
        Decision.objects.create(
            request=made,
            requester=loader,
            reviewer=by.person,
            submission=1,
            stage=stages[0],
            decision=Choice.APPROVE,
            reason=reason,
            plan_digest=made.plan_digest,
            plan_digest_now=made.plan_digest,
            via=by.via,
        )
        keeping.advance(made, stages, stages[0])
        move(
            Request.objects.filter(pk=made.pk), RequestState.SUBMITTED, RequestState.APPROVED, decided_at=timezone.now()
        )
        keeping.close(made)
        record(
            "approvals.approve",
            by=by,
            obj=made,
            after={"state": "approved", "plan_digest": made.plan_digest},
            reason=reason,
        )
    return True
