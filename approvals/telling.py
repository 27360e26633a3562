"""Who is told about a request: the reviewers when it is sent, its requester when it is answered."""

from collections.abc import Iterable

from django.urls import reverse

from approvals.models import Choice, Comment, Decision, Request, RequestKind, Stage
from approvals.stages import keeping
from approvals.stages.people import reviewers
from projects.models import User
from projects.notify.services import tell

WORDS = {
    RequestKind.ENDPOINT: "the endpoint {name}",
    RequestKind.REVISION: "a revision of {name}",
    RequestKind.RENEWAL: "the renewal of {name}",
    RequestKind.ACCESS: "access to {name}",
    RequestKind.QUOTA: "a larger quota for {name}",
    RequestKind.MCP_ACCESS: "access to the MCP server {name}",
    RequestKind.ADMISSION: "the admission of {name}",
    RequestKind.WAIVER: "the waiver {name}",
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
    """Return who is asked to decide the open stage of `request`, without its requester, each once."""
    return reviewers(request, keeping.opened(request))


def submitted(request: Request, stage: Stage) -> None:
    """Tell the reviewers of the open stage that a request waits. Call it in the transaction of the submission."""
    again = " again" if request.submission > 1 else ""
    _waits(request, stage, f"waits for you{again}", f"{request.submission}:submitted")


def stage_passed(request: Request, passed: Stage, following: Stage) -> None:
    """Tell the reviewers of the next stage that it is their turn. Call it in the transaction of the decision."""
    _waits(
        request, following, f"waits for you, {passed.name} is done", f"{request.submission}:stage:{following.position}"
    )


def escalated(request: Request, stage: Stage) -> None:
    """Tell those who may decide now, too, that nobody has in time. Call it in the transaction of the escalation."""
    _waits(
        request, stage, "waits for you, nobody decided it in time", f"{request.submission}:escalated:{stage.position}"
    )


def assigned(request: Request, by: User, person: User, reason: str) -> None:
    """Tell `person` that they are asked to decide. Call it in the transaction of the assignment."""
    _tell(
        request,
        "request.assigned",
        [person],
        f"{by.username} asks you to decide {request}: {subject(request)}.",
        reason,
        reverse("approval_detail", args=[request.pk]),
        "",
    )


def mentioned(comment: Comment, people: Iterable[User]) -> None:
    """Tell whom a comment mentions; the same words are not sent to them as a plain comment again."""
    request = comment.request
    _tell(
        request,
        "request.mention",
        people,
        f"{comment.author.username} mentions you on {request}: {subject(request)}.",
        comment.text,
        f"{reverse('request_detail', args=[request.pk])}#timeline",
        f"comment:{comment.pk}",
    )


def _waits(request: Request, stage: Stage, words: str, once: str) -> None:
    project = ""
    if request.project is not None and request.project.slug != request.name:
        project = f" {'for' if request.kind == RequestKind.ACCESS else 'in'} {request.project.slug}"
    _tell(
        request,
        "request.submitted",
        reviewers(request, stage),
        f"{request} {words}: {request.requester.username} asks for {subject(request)}{project}.",
        request.body.get("purpose") or "",
        reverse("approval_detail", args=[request.pk]),
        once,
    )


def decided(request: Request, who: str, choice: Choice, reason: str) -> None:
    """Tell the requester what was decided by `who`. Call it in the transaction of the decision."""
    kind, words = ANSWERS[choice]
    _tell(
        request,
        kind,
        [request.requester],
        f"{request} {words}: {subject(request)}, by {who}.",
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
        once=f"request:{request.pk}:{once}" if once else "",
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
