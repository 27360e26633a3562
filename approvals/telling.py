"""Who is told about a request: the reviewers when it is sent, its requester when it is answered."""

from collections.abc import Iterable

from django.urls import reverse

from approvals.models import Choice, Comment, Decision, Request, RequestKind
from projects.models import User
from projects.notify.audience import governance_leads, owners, platform_engineers
from projects.notify.services import tell

WORDS = {
    RequestKind.ENDPOINT: "the endpoint {name}",
    RequestKind.REVISION: "a revision of {name}",
    RequestKind.RENEWAL: "the renewal of {name}",
    RequestKind.ACCESS: "access to {name}",
    RequestKind.QUOTA: "a larger quota for {name}",
    RequestKind.MCP_ACCESS: "access to the MCP server {name}",
    RequestKind.ADMISSION: "the admission of {name}",
}
ANSWERS = {
    Choice.APPROVE: ("request.approved", "is approved"),
    Choice.REJECT: ("request.rejected", "is rejected"),
    Choice.REQUEST_CHANGES: ("request.changes_requested", "is sent back to you"),
}


def subject(request: Request) -> str:
    """Return what a request asks for, in few words: the renewal of scoring."""
    return WORDS[RequestKind(request.kind)].format(name=request.name or "no name yet")


def deciders(request: Request) -> list[User]:
    """Return who may decide `request` and is asked first, without its requester, each once.

    Access is the owners' to give; where the only owner is the requester, the platform decides.
    """
    people: list[User] = []
    if request.kind == RequestKind.ACCESS and request.endpoint is not None:
        people = owners(request.endpoint.project)
    others = [person for person in people if person.pk != request.requester_id]
    if not others:
        people = [*platform_engineers(), *governance_leads()]
        others = [person for person in people if person.pk != request.requester_id]
    return list({person.pk: person for person in others}.values())


def submitted(request: Request) -> None:
    """Tell the reviewers that a request waits. Call it in the transaction of the submission."""
    again = " again" if request.submission > 1 else ""
    project = ""
    if request.project is not None and request.project.slug != request.name:
        project = f" {'for' if request.kind == RequestKind.ACCESS else 'in'} {request.project.slug}"
    _tell(
        request,
        "request.submitted",
        deciders(request),
        f"{request} waits for you{again}: {request.requester.username} asks for {subject(request)}{project}.",
        request.body.get("purpose") or "",
        reverse("approval_detail", args=[request.pk]),
        f"{request.submission}:submitted",
    )


def decided(request: Request, reviewer: User, choice: Choice, reason: str) -> None:
    """Tell the requester what was decided. Call it in the transaction of the decision."""
    kind, words = ANSWERS[choice]
    _tell(
        request,
        kind,
        [request.requester],
        f"{request} {words}: {subject(request)}, by {reviewer.username}.",
        reason,
        reverse("request_detail", args=[request.pk]),
        f"{request.submission}:{choice.value}",
    )


def commented(comment: Comment) -> None:
    """Tell the other side of a remark: the requester, or the reviewers that took part, or else all who may decide.

    A draft has no other side yet. Call it in the transaction of the comment.
    """
    request = comment.request
    if not request.submission:
        return
    if comment.author_id != request.requester_id:
        people: Iterable[User] = [request.requester]
    else:
        answered = Decision.objects.filter(request=request).values("reviewer_id")
        wrote = Comment.objects.filter(request=request).exclude(author_id=request.requester_id).values("author_id")
        took_part = User.objects.filter(is_active=True, pk__in=answered) | User.objects.filter(
            is_active=True, pk__in=wrote
        )
        people = list(took_part.distinct()) or deciders(request)
    _tell(
        request,
        "request.comment",
        people,
        f"{comment.author.username} commented on {request}: {subject(request)}.",
        comment.text,
        f"{reverse('request_detail', args=[request.pk])}#timeline",
        f"comment:{comment.pk}",
    )


def _tell(request: Request, kind: str, people: Iterable[User], title: str, text: str, url: str, once: str) -> None:
    tell(
        kind,
        people,
        title=title,
        text=text,
        url=url,
        project=request.project,
        about=("request", str(request.pk)),
        once=f"request:{request.pk}:{once}",
        data={
            "request": request.number,
            "request_kind": request.kind,
            "state": request.state,
            "project": request.project.slug if request.project else None,
            "name": request.name,
            "requester": request.requester.username,
            "submission": request.submission,
        },
    )
