"""Who is told about a waiver: its owner, the people of its project who act, and the governance leads."""

from collections.abc import Iterable

from django.urls import reverse

from approvals.models import Waiver
from projects.models import User
from projects.notify.audience import governance_leads, owners
from projects.notify.services import tell


def subject(waiver: Waiver) -> str:
    """Return what a waiver is for, in few words: life-001 on scoring."""
    thing = waiver.endpoint.name if waiver.endpoint else str(waiver.request)
    return f"{waiver.check_id} on {thing}"


def people(waiver: Waiver) -> list[User]:
    """Return whom an ending waiver concerns, each once."""
    contact = [waiver.endpoint.contact] if waiver.endpoint and waiver.endpoint.contact else []
    found = [waiver.owner, *contact, *owners(waiver.project), *governance_leads()]
    return list({person.pk: person for person in found}.values())


def ending(waiver: Waiver, days: int) -> None:
    """Say that a waiver has so many days left. Nothing extends it."""
    left = f"{days} day{'s' if days != 1 else ''}" if days else "its last day"
    title = f"The waiver {waiver} of {subject(waiver)} has {left} left."
    text = "Mend what fails until then, or ask for another waiver: this one is not extended."
    _tell(waiver, "waiver.ending", people(waiver), title, text, f"ending:{days}")


def expired(waiver: Waiver) -> None:
    """Say that a waiver is over and its finding open again."""
    title = f"The waiver {waiver} of {subject(waiver)} has ended; the rule counts again."
    text = f"It held until {waiver.ends_on}. Compensating control: {waiver.compensating_control}"
    _tell(waiver, "waiver.expired", people(waiver), title, text, "expired")


def revoked(waiver: Waiver, by: User, reason: str) -> None:
    """Say that somebody ended a waiver before its last day."""
    others = [person for person in people(waiver) if person.pk != by.pk]
    title = f"{by.username} revoked the waiver {waiver} of {subject(waiver)}; the rule counts again."
    _tell(waiver, "waiver.expired", others, title, reason, "revoked")


def _tell(waiver: Waiver, kind: str, whom: Iterable[User], title: str, text: str, once: str) -> None:
    tell(
        kind,
        whom,
        title=title,
        text=text,
        url=reverse("waiver_detail", args=[waiver.pk]),
        project=waiver.project,
        about=("waiver", str(waiver.pk)),
        once=f"waiver:{waiver.pk}:{once}",
        data={"waiver": str(waiver), "check": waiver.check_id, "ends_on": waiver.ends_on, "state": waiver.state},
    )
