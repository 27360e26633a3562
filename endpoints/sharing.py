"""Whose an endpoint is, and who else may call it: contact, shareable, shares with other projects."""

import datetime as dt

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.services import Actor, record
from catalog.models import Access, AssetProjectGrant, Version, living
from endpoints.changes import contacts, fresh, locked, tell
from endpoints.models import Desired, Endpoint, Phase, Share
from endpoints.timeline import note
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects import epoch
from projects.models import Membership, Project, User
from projects.notify.audience import builders
from projects.permissions import require
from projects.principal import Principal

MAX_REASON = 500
KEPT = "kept"  # reference of a share that an owner gave without a request


def living_shares(today: dt.date | None = None) -> QuerySet[Share]:
    """Return the shares that hold now; `ends_on` is the last day, UTC."""
    day = today or timezone.now().date()
    return Share.objects.filter(Q(ends_on__isnull=True) | Q(ends_on__gte=day), ended_at__isnull=True)


def offered() -> Q:
    """Return the condition of endpoints that answer calls and whose owners let other projects ask for access."""
    return Q(shareable=True, desired=Desired.RUNNING, phase__in=[Phase.READY, Phase.DEGRADED])


def shareable(version: Version) -> QuerySet[Endpoint]:
    """Return the endpoints of `version` that answer calls and whose owners let other projects ask for access."""
    rows = Endpoint.objects.filter(offered(), revision__version=version)
    return rows.select_related("project", "revision__profile", "revision__version")


def shared_with(principal: Principal) -> QuerySet[Share]:
    """Return the living shares of the person's projects, or of the project that the credential is bound to."""
    if not principal.is_authenticated:
        return Share.objects.none()
    mine = [pk for pk in principal.roles if principal.project_id in (None, pk)]
    rows = living_shares().filter(project__in=mine).exclude(endpoint__desired=Desired.DELETED)
    return rows.select_related("endpoint__project", "project")


def transfer(by: Principal, endpoint: Endpoint, username: str) -> Endpoint:
    """Make another active member of the project the contact, who is asked and reminded.

    Raises Forbidden, NotFound, Invalid for somebody who is no active member, and Conflict `already_so`.
    """
    require(by, "transfer", endpoint)
    username = clean_text(username, field="contact", high=150)
    member = Membership.objects.filter(project=endpoint.project, user__username=username, user__is_active=True)
    person = User.objects.filter(pk__in=member.values("user_id"), is_service=False).first()
    if person is None:
        raise Invalid.field(
            "contact",
            f"contact is {username[:60]!r}, who is no active member of {endpoint.project.slug}. Add them first.",
        )
    with transaction.atomic():
        current = locked(endpoint)
        before = current.contact.username if current.contact else ""
        if before == person.username:
            raise Conflict(f"{before} is the contact of {current.name} already.", code="already_so")
        told = {one.pk: one for one in (*contacts(current), person)}
        Endpoint.objects.filter(pk=current.pk).update(contact=person)
        note(
            current,
            "transferred",
            f"{by.name} made {person.username} the contact{f', not {before}' if before else ''}.",
        )
        record(
            "endpoints.transfer", by=by, obj=current, project=current.project.slug, before={"contact": before},
            after={"contact": person.username},
        )  # fmt: skip
        title = f"{person.username} answers for {current.project.slug}/{current.name} now."
        tell(current, "endpoint.transferred", title, [one for one in told.values() if one != by.person])
    return fresh(endpoint)


def set_shareable(by: Principal, endpoint: Endpoint, shareable: bool) -> Endpoint:
    """Let other projects ask for access, or no longer; living shares stay. Raises Forbidden and NotFound."""
    require(by, "share", endpoint)
    with transaction.atomic():
        current = locked(endpoint)
        if Endpoint.objects.filter(pk=current.pk).exclude(shareable=shareable).update(shareable=shareable):
            said = "may ask for access" if shareable else "may no longer ask for access"
            note(current, "shareable", f"{by.name} changed it: other projects {said}.")
            record(
                "endpoints.set_shareable", by=by, obj=current, project=current.project.slug,
                before={"shareable": not shareable}, after={"shareable": shareable},
            )  # fmt: skip
    return fresh(endpoint)


def share(
    by: Principal,
    endpoint: Endpoint,
    project: Project,
    *,
    ends_on: dt.date | None,
    reason: str = "",
    reference: str = KEPT,
) -> Share:
    """Let members of `project` see the endpoint, and call it with keys of their own project until `ends_on` (last day,
    UTC; None: no end). A share that it has already is replaced.

    `reference` is the authorization, opaque here: with one the caller has the authority for it. Raises Forbidden,
    NotFound, Invalid naming the field, and Conflict: `not_shareable`,
    `asset_not_open` for an asset that `project` may not use, `wrong_state` for a deleted endpoint.
    """
    if reference == KEPT:
        require(by, "share", endpoint)
    today = timezone.now().date()
    text = clean_text(reason, field="reason", low=0, high=MAX_REASON, lines=True)
    if ends_on is not None and ends_on < today:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}, which has passed. Choose a day from {today} on.")
    with transaction.atomic():
        current = locked(endpoint)
        if current.desired == Desired.DELETED:
            raise Conflict(f"{current.name} is deleted; it cannot be shared.", code="wrong_state")
        if project.pk == current.project_id:
            raise Invalid.field("project", f"project is {project.slug}, whose endpoint it is. Name another one.")
        if not current.shareable:
            raise Conflict(
                f"{current.name} is not shareable. An owner of {current.project.slug} makes it so first.",
                code="not_shareable",
            )
        if reference == KEPT:  # otherwise the approval has looked at whom the asset is for
            _require_open(current, project)
        rows = Share.objects.filter(endpoint=current, project=project, ended_at__isnull=True)
        replaced = rows.first()
        before = {"ends_on": replaced.ends_on} if replaced else None
        rows.update(ended_at=timezone.now())
        made = Share.objects.create(
            endpoint=current, project=project, ends_on=ends_on, reason=text, granted_by=by.user,
            authorization_reference=reference,
        )  # fmt: skip
        until = f" until {ends_on}" if ends_on else ""
        note(current, "shared", f"{by.name} shared it with {project.slug}{until}.")
        after = {"project": project.slug, "ends_on": ends_on, "authorization": reference}
        record(
            "endpoints.share", by=by, obj=current, project=current.project.slug, before=before, after=after, reason=text
        )
        title = f"{project.slug} may call {current.project.slug}/{current.name}{until}."
        _tell(made, title)
        epoch.bump()
    return made


def _require_open(endpoint: Endpoint, project: Project) -> None:
    """Raise Conflict where the endpoint's asset is only for those who are listed, and `project` is not among them."""
    asset = endpoint.revision.version.asset if endpoint.revision else None
    if asset is None or asset.access == Access.EVERYONE:
        return
    if not living(AssetProjectGrant.objects.filter(content_object=asset, project=project)).exists():
        raise Conflict(
            f"{asset.name} is not open to {project.slug}. A governance lead or platform engineer grants it first.",
            code="asset_not_open",
        )


def unshare(by: Principal, share: Share) -> Share:
    """End a share at once: calls from its project are refused within a second. Raises Forbidden, NotFound, and Conflict
    `already_so`.
    """
    require(by, "share", share.endpoint)
    with transaction.atomic():
        if not end_share(by, share, ""):
            raise Conflict(f"The share with {share.project.slug} has ended already.", code="already_so")
    share.refresh_from_db()
    return share


def end_share(by: Actor, share: Share, why: str) -> bool:
    """End a share in the caller's transaction, with audit row, event, epoch and word to its project; False when it has
    ended already.
    """
    if not Share.objects.filter(pk=share.pk, ended_at__isnull=True).update(ended_at=timezone.now()):
        return False
    endpoint, project = share.endpoint, share.project
    note(endpoint, "unshared", f"{why or f'{by.name} ended it.'} {project.slug} may no longer call it.")
    before = {"project": project.slug, "ends_on": share.ends_on}
    record("endpoints.unshare", by=by, obj=endpoint, project=endpoint.project.slug, before=before, reason=why)
    _tell(share, f"{project.slug} may no longer call {endpoint.project.slug}/{endpoint.name}.")
    epoch.bump()
    return True


def _tell(share: Share, title: str) -> None:
    """Tell the builders of the project that the endpoint is shared with."""
    tell(
        share.endpoint, "endpoint.shared", title, builders(share.project), text=share.reason,
        ends_on=share.ends_on, shared_with=share.project.slug,
    )  # fmt: skip
