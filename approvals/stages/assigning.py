"""Asking one person in particular to decide the open stage."""

from django.db import transaction

from approvals import telling
from approvals.deciding import MAX_REASON, slug_of
from approvals.models import Request, RequestState
from approvals.objective import clock
from approvals.stages import keeping, people
from approvals.stages.sitting import barring
from approvals.stages.standing import Refusal, Standing
from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text
from projects.models import User
from projects.permissions import require
from projects.principal import Principal


def assign(by: Principal, request: Request, *, to: str, reason: str = "") -> Request:
    """Ask the person with the user name `to` to decide the open stage; "" asks nobody in particular any more.

    Others who may decide it still may. Raises NotFound and Forbidden for whoever reviews nothing here, Conflict
    `already_decided`, and Invalid for somebody who may not decide it.
    """
    text = clean_text(reason, field="reason", low=0, high=MAX_REASON, lines=True)
    standing = Standing.of(by)
    with transaction.atomic():
        current = Request.objects.select_for_update().get(pk=request.pk)
        if not standing.decides(current):
            require(by, "decide", current)
        if current.requester_id == by.person.pk:
            raise Forbidden("Who reviews an own request is not the requester's to say.", code="own_request")
        if current.state != RequestState.SUBMITTED:
            raise Conflict(
                f"{current} is {current.get_state_display().lower()}; nobody needs to decide it.",
                code="already_decided",
            )
        before = current.assignee
        person = _reviewer(current, to) if to else None
        if before == person:
            return current
        Request.objects.filter(pk=current.pk).update(assignee=person)
        current.refresh_from_db()
        clock.triaged(current, by.person)
        record(
            "approvals.assign",
            by=by,
            obj=current,
            project=slug_of(current),
            before={"to": before.username if before else ""},
            after={"to": person.username if person else ""},
            reason=text,
        )
        if person is not None and person.pk != by.person.pk:
            telling.assigned(current, by.person, person, text)
    return current


def require_reviewer(by: Principal, request: Request) -> None:
    """Raise NotFound, Forbidden or Conflict unless `by` may say who decides `request`: whoever decides requests
    like it, or may decide it as it stands.
    """
    if not Standing.of(by).decides(request):
        require(by, "decide", request)
    if request.requester_id == by.person.pk:
        raise Forbidden("Who reviews an own request is not the requester's to say.", code="own_request")
    if request.state != RequestState.SUBMITTED:
        raise Conflict(
            f"{request} is {request.get_state_display().lower()}; nobody needs to decide it.", code="already_decided"
        )


def candidates(request: Request) -> list[User]:
    """Return who could be asked: people that may decide the open stage and have not said yes (two queries)."""
    stage, barred = keeping.opened(request), barring(request)
    return [one for one in people.everybody(request, stage) if barred(one) is None and not _said_yes(request, one)]


def _said_yes(request: Request, person: User) -> bool:
    return f"|{person.pk}|" in request.answered_by


def _reviewer(request: Request, username: str) -> User:
    """Return the person; raises Invalid, in the same words for unknown people and for those who may not decide it."""
    person = User.objects.filter(username=username, is_active=True, is_service=False).first()
    wrong = Invalid.field(
        "to", f"to is {username[:80]!r}, who may not decide {request} as it stands. Choose one of its reviewers."
    )
    if person is None or isinstance(barring(request)(person), Refusal):
        raise wrong
    if not Standing.of(Principal.of(person)).decides(request):
        raise wrong
    return person
