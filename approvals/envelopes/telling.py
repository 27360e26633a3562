"""Who is told about rules that approve: governance, of what it should look at."""

from django.urls import reverse

from approvals.models import EnvelopeMode, Verdict
from approvals.policies.rules import Envelope
from projects.models import User
from projects.notify.audience import governance_leads, platform_engineers
from projects.notify.services import tell


def switched_on(envelope: Envelope, row: EnvelopeMode, by: User, reason: str) -> None:
    """Tell who runs and governs the platform that a rule decides from now on."""
    people = [person for person in (*governance_leads(), *platform_engineers()) if person.pk != by.pk]
    tell(
        "envelope.switched_on",
        people,
        title=f"{by.username} let the rule {envelope.id} approve requests: {envelope.title}."[:200],
        text=reason,
        url=reverse("envelope_detail", args=[envelope.id]),
        about=("envelope", envelope.id[:64]),
        data={"rule": envelope.id, "digest": envelope.digest, "sample_percent": row.sample_percent},
    )


def objected(verdict: Verdict, by: User) -> None:
    """Tell the governance leads that a rule approved what it should not have."""
    request = verdict.request
    tell(
        "envelope.objected",
        [person for person in governance_leads() if person.pk != by.pk] or governance_leads(),
        title=f"{by.username} objects to what the rule {verdict.rule} approved: {request} {request.name}."[:200],
        text=f"{verdict.remark} Its page offers to put the rule back into shadow.",
        url=reverse("envelope_detail", args=[verdict.rule]),
        project=request.project,
        about=("request", str(request.pk)),
        once=f"verdict:{verdict.pk}:objected",
        data={"request": request.number, "rule": verdict.rule, "digest": verdict.digest},
    )
