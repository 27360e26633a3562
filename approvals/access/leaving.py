"""When somebody leaves: sessions, keys, tokens, applications, memberships, grants, open requests and reviews, in one
action that is counted before it happens.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from allauth.idp.oidc.models import Token
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.db.models import CharField, Count, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from approvals.deciding import slug_of
from approvals.kinds import ended
from approvals.models import AccessReviewItem, Outcome, Request, RequestKind, RequestState
from approvals.objective import clock
from approvals.stages import delegating, keeping
from audit.services import record
from catalog.mcp.granted import living_grants
from catalog.models import AssetUserGrant, ServerGrant
from endpoints.models import Desired, Endpoint, Phase
from portal.counting import number
from portal.errors import Conflict
from portal.http import clean_text
from portal.states import move
from projects import epoch
from projects.models import (
    PLATFORM_ENGINEERS,
    ApiKey,
    Application,
    KeyState,
    Membership,
    Project,
    Role,
    User,
)
from projects.notify.audience import owners, platform_engineers
from projects.notify.services import tell
from projects.permissions import require
from projects.principal import Principal
from projects.signin import sessions

MAX_REASON = 300
OPEN = (RequestState.DRAFT, RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)
LIVING_KEYS = (KeyState.ACTIVE, KeyState.ROTATING)


@dataclass(frozen=True)
class Leaving:
    """What goes with a person, counted; and what somebody has to look after."""

    sessions: int
    keys: int
    tokens: int
    applications: int
    second_factors: int
    memberships: int
    groups: int
    grants: int
    requests: int
    reviews: int
    delegations: int  # given and got, of those that are not over
    ownerless: tuple[str, ...]  # projects that are left without an owner
    endpoints: tuple[str, ...]  # project/name of those whose contact the person is
    servers: tuple[str, ...]  # project/server of the grants that hold because the person asked for them

    def facts(self) -> Mapping[str, object]:
        """Return it for an answer."""
        return asdict(self)


def preview(by: Principal, person: User) -> Leaving:
    """Count what `leave` would end, changing nothing. Raises Forbidden."""
    require(by, "leave", person)
    counted = {
        "sessions": UserSession.objects.filter(user=person),
        "keys": _keys(person),
        "tokens": Token.objects.filter(user=person),
        "applications": _applications(person),
        "second_factors": Authenticator.objects.filter(user=person),
        "memberships": person.memberships.all(),
        "groups": User.groups.through.objects.filter(user=person),
        "grants": AssetUserGrant.objects.filter(user=person),
        "requests": Request.objects.filter(requester=person, state__in=OPEN),
        "reviews": _reviews(person),
        "delegations": delegating.living(person),
    }
    me = User.objects.filter(pk=person.pk).order_by()
    numbers = me.values_list(*[number(rows) for rows in counted.values()]).get()  # one query for all of them
    return Leaving(
        **dict(zip(counted, numbers, strict=True)),
        ownerless=tuple(_ownerless(person).values_list("slug", flat=True)),
        endpoints=tuple(f"{slug}/{name}" for slug, name in _contact(person).values_list("project__slug", "name")),
        servers=tuple(
            f"{slug}/{name}" for slug, name in _asked_for(person).values_list("project__slug", "asset__slug")
        ),
    )


def leave(by: Principal, person: User, *, reason: str) -> Leaving:
    """End everything that `person` could do here, and close the account for good; all of it or nothing.

    Projects that lose their last owner, and endpoints that lose their contact, are told to those who look after them.
    Raises Forbidden, Invalid without a reason, and Conflict for oneself, a service account (its application is ended
    instead), somebody who has left, and the last platform engineer.
    """
    require(by, "leave", person)
    text = clean_text(reason, field="reason", low=3, high=MAX_REASON)
    with transaction.atomic():
        current = User.objects.select_for_update().get(pk=person.pk)
        _check(by, current)
        found = preview(by, current)
        why = f"{current.username} has left: {text}"
        _tell(current, found)
        sessions.drop_all(by, current, why)
        _end_credentials(by, current, why)
        _end_access(by, current, why)
        _hand_back(by, current, why)
        current.set_unusable_password()
        current.is_active, current.left_at = False, timezone.now()
        current.save(update_fields=["password", "is_active", "left_at"])
        record("people.leave", by=by, obj=("user", str(current.public_id)), after=found.facts(), reason=text)
        epoch.bump()
    return found


def _check(by: Principal, person: User) -> None:
    if person.left_at is not None:
        raise Conflict(f"{person.username} has left already.", code="left_already")
    if person.is_service:
        raise Conflict(f"{person.username} is a service account. End its application instead.")
    if person.pk == by.person.pk:
        raise Conflict("Nobody takes their own leave. Ask another platform engineer.")
    others = User.objects.filter(groups__name=PLATFORM_ENGINEERS, is_active=True).exclude(pk=person.pk)
    if person.groups.filter(name=PLATFORM_ENGINEERS).exists() and not others.exists():
        raise Conflict("Nobody would be left who runs the platform.", code="last_engineer")


def _end_credentials(by: Principal, person: User, why: str) -> None:
    for key in _keys(person).select_related("project"):
        for source in LIVING_KEYS:
            if move(ApiKey.objects.filter(pk=key.pk), source, KeyState.REVOKED, revoked_at=timezone.now()):
                before = {"state": source}
                record("keys.revoke", by=by, obj=key, project=key.project.slug, before=before, reason=why)
    Token.objects.filter(user=person).delete()
    Authenticator.objects.filter(user=person).delete()


def _end_access(by: Principal, person: User, why: str) -> None:
    for member in Membership.objects.filter(user=person).select_related("project"):
        project = member.project
        before = {"user": person.username, "role": member.role}
        record("projects.remove_member", by=by, obj=project, project=project.slug, before=before, reason=why)
        member.delete()
    held = sorted(person.groups.values_list("name", flat=True))
    if held:
        subject = ("user", str(person.public_id))
        record("people.set_groups", by=by, obj=subject, before={"groups": held}, after={"groups": []}, reason=why)
        person.groups.clear()
    for grant in AssetUserGrant.objects.filter(user=person).select_related("content_object"):
        asset = grant.content_object
        record("catalog.revoke", by=by, obj=asset, before={"person": person.username}, reason=why)
        grant.delete()


def _hand_back(by: Principal, person: User, why: str) -> None:
    """Withdraw what waits for nobody any more, give open reviews to the platform, and end delegations."""
    gives_back = replace(by, groups=by.groups | {PLATFORM_ENGINEERS})  # who may take the leave may do that, too
    for request in Request.objects.filter(requester=person, state__in=OPEN).select_related("project"):
        own = Request.objects.filter(pk=request.pk)
        if move(own, request.state, RequestState.WITHDRAWN, updated_at=timezone.now()):
            if request.state == RequestState.SUBMITTED:
                keeping.close(request)
                clock.stopped(request)
                ended(gives_back, request, None)
            before = {"state": request.state}
            record("approvals.withdraw", by=by, obj=request, project=slug_of(request), before=before, reason=why)
    _reviews(person).update(reviewer=None)
    Request.objects.filter(assignee=person).update(assignee=None)
    delegating.end_all(by, person, why)


def _tell(person: User, found: Leaving) -> None:
    about = ("user", str(person.public_id))
    for project in _ownerless(person):
        title = f"{project.slug} is left without an owner: {person.username} has left."
        url = f"/projects/{project.slug}/"
        tell("project.ownerless", platform_engineers(), title=title, url=url, project=project, about=about)
    for endpoint in _contact(person).select_related("project"):
        title = f"{endpoint.project.slug}/{endpoint.name} needs a new contact: {person.username} has left."
        people = [one for one in owners(endpoint.project) if one.pk != person.pk] or platform_engineers()
        url = f"/endpoints/{endpoint.pk}/settings/"
        tell("endpoint.transferred", people, title=title, url=url, project=endpoint.project, about=about)
    for application in _applications(person).select_related("client", "project"):
        title = f"The application {application.client.name} stops until it has a new owner: {person.username} has left."
        people = owners(application.project) if application.project else []
        people = [one for one in people if one.pk != person.pk] or platform_engineers()
        tell("application.ownerless", people, title=title, project=application.project, about=about)


def _keys(person: User) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(person=person, state__in=LIVING_KEYS)


def _applications(person: User) -> QuerySet[Application]:
    return Application.objects.filter(owner=person, ended_at__isnull=True)


def _reviews(person: User) -> QuerySet[AccessReviewItem]:
    return AccessReviewItem.objects.filter(reviewer=person, outcome=Outcome.WAITING)


def _contact(person: User) -> QuerySet[Endpoint]:
    living = Endpoint.objects.exclude(Q(phase=Phase.DELETED) | Q(desired=Desired.DELETED))
    mine = Q(contact=person) | Q(contact__isnull=True, created_by=person)
    return living.filter(mine).order_by("project__slug", "name")


def _asked_for(person: User) -> QuerySet[ServerGrant]:
    """Return the grants of MCP servers that a request of the person brought about; they stay with their projects."""
    asked = Request.objects.filter(requester=person, kind=RequestKind.MCP_ACCESS, state=RequestState.APPROVED)
    numbers = asked.annotate(number_=Concat(Value("R-"), Cast("pk", CharField()))).values("number_")
    return living_grants().filter(reference__in=numbers).order_by("project__slug", "asset__slug")


def _ownerless(person: User) -> QuerySet[Project]:
    """Return the projects in which the person is the only owner who is still active."""
    owned = Project.objects.filter(memberships__user=person, memberships__role=Role.OWNER)
    others = Q(memberships__role=Role.OWNER, memberships__user__is_active=True) & ~Q(memberships__user=person)
    counted = Project.objects.filter(pk__in=owned.values("pk")).annotate(others=Count("memberships", filter=others))
    return counted.filter(others=0).order_by("slug")
