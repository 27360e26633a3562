"""Who is asked to decide a stage: people, not roles."""

from django.db.models import Q, QuerySet
from django.utils import timezone

from approvals.models import Delegation, Request, Stage
from approvals.stages.keeping import roles_now
from approvals.stages.standing import asked_project
from projects.models import Role, User
from projects.permissions import OWNER


def reviewers(request: Request, stage: Stage | None) -> list[User]:
    """Return who may decide `stage` and is asked first, with those who decide for them, without the requester, each
    once.

    Where owners may decide, it is theirs to give: the others are asked only when no owner is left.
    """
    if stage is None:
        return []
    roles = roles_now(stage)
    people: list[User] = []
    if OWNER in roles:
        project = asked_project(request)
        people = _active(Q(memberships__project=project, memberships__role=Role.OWNER)) if project else []
    others = [person for person in people if person.pk != request.requester_id]
    if not others:
        found = _active(Q(groups__name__in=[role for role in roles if role != OWNER]))
        others = [person for person in found if person.pk != request.requester_id]
    for_them = [person for person in _delegates(others) if person.pk != request.requester_id]
    return list({person.pk: person for person in [*others, *for_them]}.values())


def everybody(request: Request, stage: Stage | None) -> list[User]:
    """Return everybody who may decide `stage` by role or for somebody, without the requester, each once."""
    if stage is None:
        return []
    roles, project = roles_now(stage), asked_project(request)
    who = Q(groups__name__in=[role for role in roles if role != OWNER])
    if OWNER in roles and project:
        who |= Q(memberships__project=project, memberships__role=Role.OWNER)
    theirs = _living().filter(delegator__in=User.objects.filter(who, is_active=True).exclude(pk=request.requester_id))
    found = _active(who | Q(pk__in=theirs.values("delegate")))
    return sorted((one for one in found if one.pk != request.requester_id), key=lambda person: person.username)


def _active(who: Q) -> list[User]:
    return list(User.objects.filter(who, is_active=True, is_service=False).distinct().order_by("pk"))


def _delegates(people: list[User]) -> list[User]:
    return _active(Q(pk__in=_living().filter(delegator__in=people).values("delegate")))


def _living() -> QuerySet[Delegation]:
    now = timezone.now()
    return Delegation.objects.filter(revoked_at=None, starts_at__lte=now, ends_at__gt=now)
