"""Background work."""

from celery import shared_task

from approvals import drafts, findings
from approvals.access import review
from approvals.objective import alerts
from approvals.policies import preview as previews
from approvals.stages import escalating
from approvals.waivers import services as waivers


@shared_task
def purge() -> None:
    """Let drafts expire that nobody touches any more, and old previews go."""
    drafts.purge()
    previews.purge()


@shared_task
def watch_objective() -> None:
    """Tell of requests that are near the objective, or beyond it."""
    alerts.watch()


@shared_task
def remind() -> None:
    """Remind the reviewers of open access reviews."""
    review.remind()


@shared_task
def preview() -> None:
    """Run the impact previews of policies that wait, or whose worker died."""
    previews.run_due()


@shared_task
def end_waivers() -> None:
    """End the waivers whose last day is over, and remind of those that end soon."""
    waivers.expire()
    waivers.remind()


@shared_task
def sweep_findings() -> None:
    """Judge what runs by the rules of today."""
    findings.sweep()


@shared_task
def escalate() -> None:
    """Let more people decide what nobody has decided in time."""
    escalating.escalate()
