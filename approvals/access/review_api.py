"""REST API of access reviews and of the leaver."""

import datetime as dt
from typing import Any

from django.http import HttpResponse
from ninja import Field, Router

from approvals.access import leaving
from approvals.access import review as reviews
from approvals.models import AccessReview, AccessReviewItem
from portal.errors import NotFound
from portal.http import cursor_page
from projects.api import Body, answer, idempotent, project_or_404, scope
from projects.models import User
from projects.permissions import require_anywhere
from projects.principal import PortalRequest, Principal

router = Router(tags=["access"])


class ReviewIn(Body):
    """A new review: of one project, or without one of everything."""

    name: str = Field(max_length=400)
    due_on: dt.date
    project: str | None = Field(None, max_length=400)


class AnswerIn(Body):
    """What is said of an entry: keep or revoke."""

    outcome: str = Field(max_length=40)
    reason: str = Field("", max_length=2000)


class LeaveIn(Body):
    """Why somebody leaves. With `dry_run` it is counted and nothing changes."""

    reason: str = Field("", max_length=2000)
    dry_run: bool = False


def review_json(review: AccessReview) -> dict[str, Any]:
    """Return a review as the API shows it."""
    return {
        "id": review.pk,
        "name": review.name,
        "project": review.project.slug if review.project else None,
        "state": review.state,
        "due_on": review.due_on,
        "created_at": review.created_at,
        "closed_at": review.closed_at,
    }


def entry_json(item: AccessReviewItem) -> dict[str, Any]:
    """Return an entry as the API shows it."""
    return {
        "id": item.pk,
        "kind": item.kind,
        "holder": item.holder,
        "what": item.words,
        "project": item.project.slug if item.project else None,
        "reviewer": item.reviewer.username if item.reviewer else None,
        "outcome": item.outcome,
        "reason": item.reason,
        "decided_by": item.decided_by.username if item.decided_by else None,
        "decided_at": item.decided_at,
    }


@router.get("/access/reviews", auth=scope("audit:read"))
def list_reviews(request: PortalRequest, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """The access reviews with an entry that the caller may read, newest first."""
    found, following = cursor_page(reviews.reviews_of(request.principal), limit=limit, cursor=cursor, order=("-id",))
    return answer(request, {"items": [review_json(row) for row in found], "next": following})


@router.post("/access/reviews", auth=scope("admin"))
@idempotent
def start_review(request: PortalRequest, body: ReviewIn) -> HttpResponse:
    """Begin a review; whoever answers for an entry is told."""
    project = project_or_404(request.principal, body.project) if body.project is not None else None
    made = reviews.start(request.principal, name=body.name, due_on=body.due_on, project=project)
    return answer(request, review_json(made), status=201)


@router.get("/access/reviews/{review_id}/entries", auth=scope("audit:read"))
def list_entries(
    request: PortalRequest, review_id: int, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The entries of a review that the caller may read."""
    rows = reviews.entries_of(request.principal, _review(request.principal, review_id))
    found, following = cursor_page(rows, limit=limit, cursor=cursor, order=("id",))
    return answer(request, {"items": [entry_json(item) for item in found], "next": following})


@router.post("/access/reviews/{review_id}/entries/{entry_id}", auth=scope("admin"))
@idempotent
def answer_entry(request: PortalRequest, review_id: int, entry_id: int, body: AnswerIn) -> HttpResponse:
    """Keep or revoke one entry; what is revoked ends at once."""
    rows = reviews.entries_of(request.principal, _review(request.principal, review_id))
    item = rows.filter(pk=entry_id).first()
    if item is None:
        raise NotFound("There is no such entry, or you may not see it.")
    said = reviews.decide(request.principal, item, body.outcome, reason=body.reason)
    return answer(request, entry_json(said))


@router.post("/access/reviews/{review_id}/close", auth=scope("admin"))
@idempotent
def close_review(request: PortalRequest, review_id: int) -> HttpResponse:
    """End a review; what nobody answered stays as it is."""
    return answer(request, review_json(reviews.close(request.principal, _review(request.principal, review_id))))


@router.post("/people/{user}/leave", auth=scope("admin"))
@idempotent
def leave(request: PortalRequest, user: str, body: LeaveIn) -> HttpResponse:
    """End everything that somebody could do here, or count it first."""
    require_anywhere(request.principal, "leave", User)
    person = User.objects.filter(username=user).first()
    if person is None:
        raise NotFound("There is no such person.")
    if body.dry_run:
        found = leaving.preview(request.principal, person)
    else:
        found = leaving.leave(request.principal, person, reason=body.reason)
    return answer(request, {"user": person.username, "dry_run": body.dry_run, **found.facts()})


def _review(by: Principal, review_id: int) -> AccessReview:
    found = reviews.reviews_of(by).filter(pk=review_id).first()
    if found is None:
        raise NotFound("There is no such access review, or none of its entries is yours.")
    review: AccessReview = found
    return review
