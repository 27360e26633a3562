"""Which requests wait for whom, and which may be read because of that."""

from collections.abc import Callable
from typing import Any

from django.db.models import Q, QuerySet

from approvals.models import Decision, Request, RequestState
from approvals.stages.standing import ANY, Standing, owns
from portal.errors import Forbidden
from projects.permissions import OWNER, allows, can_anywhere, require_anywhere, visible
from projects.principal import Principal

Whole = Callable[[QuerySet[Request]], QuerySet[Request]]


def waiting_for(by: Principal, standing: Standing | None = None) -> QuerySet[Request]:
    """Return the requests whose open stage `by` may decide and has not decided yet, by the own roles or as a delegate.

    It asks for permission itself: it needs no `visible` around it. One query for the delegations, unless the
    `standing` is known already.
    """
    return Request.objects.filter(waits_for(by, standing or Standing.of(by)))


def waits_for(by: Principal, standing: Standing) -> Q:
    """Return the condition of `waiting_for`, for rows in an order of theirs: a page of them then ends where it is full,
    without sorting all that wait.
    """
    mine = _by_roles(standing.by)
    for one in standing.lent:
        mine |= _by_roles(one) & _not_said(one.person.pk)
    return mine & _not_said(by.person.pk) & Q(state=RequestState.SUBMITTED)


def _not_said(person: int) -> Q:
    """Return the condition for requests that the person with this id has neither made nor decided."""
    return ~Q(requester=person) & ~Q(answered_by__contains=f"|{person}|")


def _by_roles(one: Principal) -> Q:
    """Return the condition for what the roles of `one` may decide, lent ones aside; without a query."""
    words = Q(waiting_on__contains=f"|{ANY}|")
    for group in sorted(one.groups):
        words |= Q(waiting_on__contains=f"|{group}|")
    if one.project_id is None and allows(one, "decide", Request, None):
        found = words
    else:
        rooms = sorted(one.roles) if one.project_id is None else [one.project_id]
        found = words & Q(project__in=[pk for pk in rooms if allows(one, "decide", Request, pk)])
    owned: list[Any] = [("waiting_on__contains", f"|{OWNER}:{pk}|") for pk in sorted(one.roles) if owns(one, pk)]
    if owned:  # most requests wait for no owner: one look spares them a look for each project
        found |= Q(waiting_on__contains=f"|{OWNER}:") & Q.create(owned, connector=Q.OR)
    return found


def readable(by: Principal) -> QuerySet[Request]:
    """Return the requests that `by` may read: by role, because one waits for them as a delegate, or because they
    decided it as one.
    """
    if by.project_id is None and allows(by, "view", Request, None):
        return Request.objects.all()
    return Request.objects.filter(Q(pk__in=visible(by, Request.objects.all()).values("pk")) | _lent(by))


def find(by: Principal, request_id: int, whole: Whole = lambda rows: rows) -> Request | None:
    """Return a request that `by` may read, with what `whole` adds to a queryset; None when there is none.

    What was lent is asked only where the own roles show nothing, so that it costs those nothing who decide by role.
    """
    found: Request | None = whole(visible(by, Request.objects.all())).filter(pk=request_id).first()
    if found is None and by.is_authenticated:
        found = whole(Request.objects.filter(_lent(by), pk=request_id)).first()
    return found


def _lent(by: Principal) -> Q:
    """Return the condition for what somebody reads since they decide it, or decided it, for somebody else."""
    if not by.is_authenticated or by.person.is_service:
        return Q(pk__in=[])
    decided = Decision.objects.filter(reviewer=by.user, on_behalf_of__isnull=False)
    if by.project_id is not None:
        decided = decided.filter(request__project=by.project_id)
    standing = Standing.of(by)
    waiting = Q(pk__in=waiting_for(by, standing).values("pk")) if standing.lent else Q(pk__in=[])
    return waiting | Q(pk__in=decided.values("request"))


def reviews(by: Principal, standing: Standing | None = None) -> bool:
    """Whether `by` decides requests at all: by role, or for somebody (one query, none for who decides by role)."""
    if not by.is_authenticated:
        return False
    if can_anywhere(by, "decide", Request):
        return True
    lent = (standing or Standing.of(by)).lent
    return any(can_anywhere(one, "decide", Request) for one in lent)


def require_reviewer(by: Principal, standing: Standing | None = None) -> None:
    """Raise Forbidden unless `by` decides requests, by role or for somebody."""
    if not reviews(by, standing):
        require_anywhere(by, "decide", Request)
        raise Forbidden("You decide no requests.")
