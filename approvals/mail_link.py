"""Deciding from a mail: a signed link, for one person, one submission and one plan, that leads to a page.

The link alone decides nothing. Its page asks for a sign-in as that very person, shows the plan under its digest, and
decides by a form that wants a recent proof, through the same services as the queue.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import signing
from django.urls import reverse

from approvals.models import Decision, Request, RequestState
from approvals.stages.sitting import may_decide
from portal.errors import Conflict, GatehouseError, NotFound
from projects.models import Notification, User
from projects.principal import Principal

SALT = "approvals.mail_link"
LASTS = dt.timedelta(days=3)
KINDS = ("request.submitted", "request.assigned", "request.due", "request.overdue")  # mails that carry one
LABEL = "Read the plan and decide"


class Gone(GatehouseError):
    """The link was good once."""

    status, code, title = 410, "link_gone", "This link is over"


@dataclass(frozen=True)
class Link:
    """What a link is for."""

    person: int
    request: int
    submission: int
    digest: str  # of the frozen plan


def offer(notification: Notification) -> tuple[str, str] | None:
    """Return label and address of the link that the mail of `notification` carries; None where nothing waits for its
    person any more, so that no mail offers what is over.
    """
    number = notification.about_id
    if notification.about_kind != "request" or not (number.isascii() and number.isdigit()):
        return None
    request = Request.objects.filter(pk=int(number), state=RequestState.SUBMITTED).first()
    if request is None or not may_decide(Principal.of(notification.person), request):
        return None
    return LABEL, f"{settings.BASE_URL}{reverse('approval_by_mail', args=[sign(notification.person, request)])}"


def sign(person: User, request: Request) -> str:
    """Return the text of a link for `person` to the present submission of `request`."""
    facts = [person.pk, request.pk, request.submission, request.plan_digest]
    return signing.dumps(facts, salt=SALT, compress=True)


def read(text: str) -> Link:
    """Return what a link is for; raises Gone for an old one, and NotFound for what the portal has not signed."""
    try:
        facts: Any = signing.loads(text, salt=SALT, max_age=LASTS)
        person, request, submission, digest = facts
    except signing.SignatureExpired as error:
        raise Gone(
            f"The link in the mail was good for {LASTS.days} days and is over. If the request still waits, it is in "
            "the approval queue."
        ) from error
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise NotFound("This is no link that the portal has sent, or not all of it arrived. Open the queue.") from error
    return Link(int(person), int(request), int(submission), str(digest))


def other_person() -> NotFound:
    """Return the error for whoever follows a link of somebody else; it names nobody and nothing."""
    sentence = (
        "This link was sent to somebody else and works for nobody but them. Sign in as the person who got the mail."
    )
    return NotFound(sentence, code="other_person")


def check(by: Principal, link: Link, request: Request) -> None:
    """Raise in one sentence why `link` does not lead to a decision on `request` now: another person, decided, sent
    again, another plan.
    """
    if by.person.pk != link.person:
        raise other_person()
    mine = Decision.objects.filter(request=request, reviewer=by.person, submission=link.submission).last()
    if mine is not None:
        said = mine.get_decision_display().lower()
        raise Gone(f"You have used this link: you said {said} to {request}. The record is on its page.")
    if request.state != RequestState.SUBMITTED:
        raise Gone(f"{request} is {request.get_state_display().lower()}; there is nothing left to decide.")
    if request.submission != link.submission:
        raise Gone(f"{request} was sent again since the mail, with another plan. Decide it in the queue.")
    if request.plan_digest != link.digest:
        raise Conflict(
            f"The plan of {request} is not the one that the mail was about. Decide it in the queue.",
            code="plan_changed",
        )
