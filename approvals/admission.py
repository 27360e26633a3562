"""Getting into the catalog is a request with a decision, also when it is loaded as code."""

from django.db import transaction
from django.utils import timezone

from approvals.models import Choice, Decision, Request, RequestKind, RequestState
from audit.services import record, system
from catalog import services as catalog
from catalog.models import Version, VersionState
from portal.http import digest
from portal.states import move
from projects.models import User
from projects.people import create_person
from projects.principal import Principal

LOADER = "catalog-loader"


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
        record(
            "approvals.submit", by=Principal(user=loader, via="command"), obj=made, after={"version": str(version.pk)}
        )
        catalog.submit(by, version)
        version.refresh_from_db()
        catalog.approve(by, version)
        version.refresh_from_db()
        Decision.objects.create(
            request=made,
            requester=loader,
            reviewer=by.person,
            submission=1,
            decision=Choice.APPROVE,
            reason=reason,
            plan_digest=made.plan_digest,
            plan_digest_now=made.plan_digest,
            via=by.via,
        )
        move(
            Request.objects.filter(pk=made.pk), RequestState.SUBMITTED, RequestState.APPROVED, decided_at=timezone.now()
        )
        record(
            "approvals.approve",
            by=by,
            obj=made,
            after={"state": "approved", "plan_digest": made.plan_digest},
            reason=reason,
        )
    return True
