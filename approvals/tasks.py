"""Background work."""

from celery import shared_task

from approvals import drafts
from approvals.access import review


@shared_task
def purge() -> None:
    """Let drafts expire that nobody touches any more."""
    drafts.purge()


@shared_task
def remind() -> None:
    """Remind the reviewers of open access reviews."""
    review.remind()
