"""Access reviews: a campaign lists who holds what, and everybody who answers for it says keep or revoke.

An entry is a copy of what was held when the review began. Revoking goes through the services that everybody uses, so
their guards hold here too: a project keeps its owner, the platform somebody who runs it.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from approvals.access import entries
from approvals.models import AccessReview, AccessReviewItem, Outcome, ReviewState
from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import clean_text
from portal.states import move
from projects.models import PLATFORM_ENGINEERS, Project, Role, User
from projects.notify.audience import governance_leads
from projects.notify.services import tell
from projects.permissions import allows, require_anywhere
from projects.principal import Principal

MAX_REASON, MAX_DAYS = 300, 180
REMIND_DAYS = 7  # before the due day, then daily
BATCH = 1000


def start(by: Principal, *, name: str, due_on: dt.date, project: Project | None = None) -> AccessReview:
    """Begin a review of one project, or of everything, with an entry for each thing that is held now.

    Raises Forbidden, and Invalid for a name out of bounds or a day that is not among the next 180.
    """
    require_anywhere(by, "create", AccessReview)
    label = clean_text(name, field="name", low=1, high=80)
    today = timezone.now().date()
    if not today <= due_on <= today + dt.timedelta(days=MAX_DAYS):
        raise Invalid.field("due_on", f"due_on is {due_on}; choose a day from {today} to {MAX_DAYS} days from now.")
    with transaction.atomic():
        review = AccessReview.objects.create(name=label, due_on=due_on, project=project, created_by=by.user)
        items = list(entries.collect(review))
        AccessReviewItem.objects.bulk_create(items, batch_size=BATCH)
        after = {"name": label, "due_on": due_on, "entries": len(items)}
        record("reviews.start", by=by, obj=review, project=project.slug if project else "", after=after)
        _tell_reviewers(review, "begins")
    return review


def decide(by: Principal, item: AccessReviewItem, outcome: str, *, reason: str = "") -> AccessReviewItem:
    """Say of one entry whether it stays. "revoke" takes the access away in the same transaction.

    Raises Invalid for another word, Forbidden for somebody else's entry and for one's own access, and Conflict when
    the review is closed, the entry has its answer, or a guard keeps what would be revoked. What has ended by itself
    is marked so, whatever was said.
    """
    if outcome not in {Outcome.KEEP, Outcome.REVOKE}:
        raise Invalid.field("outcome", f"outcome is {outcome[:20]!r}; choose keep or revoke.")
    text = clean_text(reason, field="reason", high=MAX_REASON)
    require_answer(by, item)
    with transaction.atomic():
        current = (
            AccessReviewItem.objects.select_related("review", "project").select_for_update(of=("self",)).get(pk=item.pk)
        )
        if current.review.state != ReviewState.OPEN:
            raise Conflict(f"The review {current.review.name} is closed.", code="review_closed")
        held = entries.find(current)
        said = outcome if held is not None else Outcome.GONE.value
        rows = AccessReviewItem.objects.filter(pk=current.pk)
        facts = {"decided_by": by.user, "decided_at": timezone.now(), "reason": text}
        if not move(rows, current.outcome, said, field="outcome", **facts):
            raise Conflict("Somebody answered this entry a moment ago.", code="already_decided")
        if said == Outcome.REVOKE and held is not None:
            entries.revoke(_acting(by), held, text or f"Access review {current.review.name}.")
        record(
            "reviews.decide",
            by=by,
            obj=("reviewentry", str(current.pk)),
            project=current.project.slug if current.project else "",
            before={"holder": current.holder, "what": current.words},
            after={"review": current.review.name, "outcome": said},
            reason=text,
        )
    current.refresh_from_db()
    return current


def require_answer(by: Principal, item: AccessReviewItem) -> None:
    """Raise Forbidden unless `by` answers for the entry: its reviewer, an owner of its project, or whoever holds the
    review as a whole; never the one whose access it is.
    """
    if item.holder == by.name:
        raise Forbidden("Nobody reviews their own access. Another owner or the platform team answers this entry.")
    if not answers(by, item):
        raise Forbidden("This entry is somebody else's to answer.")


def answers(by: Principal, item: AccessReviewItem) -> bool:
    """Whether `by` answers for the entry, own access aside. Costs no query."""
    if by.project_id is not None and by.project_id != item.project_id:
        return False  # a credential of a project says nothing about another one
    if item.reviewer_id == by.person.pk or allows(by, "decide", AccessReview, None):
        return True
    return item.project_id is not None and by.role_in(item.project_id) == Role.OWNER


def entries_of(by: Principal, review: AccessReview) -> QuerySet[AccessReviewItem]:
    """Return the entries that `by` may read: all for those who read everything, else those they answer for."""
    rows = AccessReviewItem.objects.filter(review=review).select_related("review", "project", "reviewer", "decided_by")
    return rows if allows(by, "view", AccessReview, None) else rows.filter(_answered_by(by))


def reviews_of(by: Principal) -> QuerySet[AccessReview]:
    """Return the reviews that `by` may read: all, or those with an entry that they answer for."""
    rows = AccessReview.objects.select_related("project", "created_by")
    if not allows(by, "view", AccessReview, None):
        rows = rows.filter(pk__in=AccessReviewItem.objects.filter(_answered_by(by)).values("review"))
    return rows


def _answered_by(by: Principal) -> Q:
    """Return which entries `by` answers for: those given to them, and those of the projects that they own."""
    owned = [pk for pk in by.roles if by.role_in(pk) == Role.OWNER]
    mine = Q(reviewer=by.person) | Q(project__in=owned)
    return mine if by.project_id is None else mine & Q(project=by.project_id)


def counts(found: Sequence[AccessReview]) -> dict[int, dict[str, int]]:
    """Return how many entries of each review have which answer (one query)."""
    items = AccessReviewItem.objects.filter(review__in=found).order_by().values_list("review", "outcome")
    numbers: dict[int, dict[str, int]] = {}
    for review, outcome, many in items.annotate(n=Count("pk")):
        numbers.setdefault(review, {})[outcome] = many
    return numbers


def close(by: Principal, review: AccessReview) -> AccessReview:
    """End a review; what nobody answered stays as it is and is counted. Raises Forbidden and Conflict."""
    require_anywhere(by, "close", AccessReview)
    with transaction.atomic():
        rows = AccessReview.objects.filter(pk=review.pk)
        if not move(rows, ReviewState.OPEN, ReviewState.CLOSED, closed_at=timezone.now()):
            raise Conflict(f"The review {review.name} is closed already.", code="review_closed")
        said = review.items.order_by().values_list("outcome").annotate(n=Count("pk"))
        after = {"name": review.name, **{str(word): n for word, n in said}}
        record("reviews.close", by=by, obj=review, project=review.project.slug if review.project else "", after=after)
    review.refresh_from_db()
    return review


def remind() -> int:
    """Remind reviewers of entries that wait, from seven days before the due day, once a day; returns of how many
    reviews.
    """
    today, count = timezone.now().date(), 0
    soon = AccessReview.objects.filter(state=ReviewState.OPEN, due_on__lte=today + dt.timedelta(days=REMIND_DAYS))
    for review in soon.exclude(reminded_on=today):
        with transaction.atomic():
            if AccessReview.objects.filter(pk=review.pk).exclude(reminded_on=today).update(reminded_on=today):
                _tell_reviewers(review, "is due" if review.due_on >= today else "is overdue since", once=str(today))
                count += 1
    return count


def _tell_reviewers(review: AccessReview, verb: str, *, once: str = "start") -> None:
    waiting = review.items.filter(outcome=Outcome.WAITING)
    counts = dict(waiting.filter(reviewer__isnull=False).order_by().values_list("reviewer").annotate(n=Count("pk")))
    people = User.objects.in_bulk(list(counts))
    unowned = waiting.filter(reviewer__isnull=True).count()
    told: list[tuple[Iterable[User], int]] = [([people[pk]], number) for pk, number in counts.items()]
    told += [(governance_leads(), unowned)] if unowned else []
    for whom, number in told:
        noun = "entry waits" if number == 1 else "entries wait"
        tell(
            "review.waiting",
            whom,
            title=f"The access review {review.name} {verb}: {number} {noun} for you, due {review.due_on}.",
            url=f"/access/reviews/{review.pk}/",
            about=("accessreview", str(review.pk)),
            once=f"review:{review.pk}:{once}",
        )


def _acting(by: Principal) -> Principal:
    """Return `by` with the right to take access away: the review gave it, entry by entry, to whoever answers. It stands
    in the audit row as done through a review.
    """
    return replace(by, via="review", groups=by.groups | {PLATFORM_ENGINEERS}, project_id=None)
