"""What people do about a workload that runs without approval: tell its owner, let it be for a time, take it over.

Nothing here touches a cluster. Each verb is one transaction with its guard, the change and the audit row.
"""

import datetime as dt

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from audit.services import Actor, record
from endpoints.models import Endpoint
from endpoints.rogue import keeping
from endpoints.rogue.models import RUNNING, RogueState, RogueWorkload
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from portal.states import move
from projects.models import Project, User
from projects.notify.audience import owners
from projects.notify.services import tell
from projects.permissions import can, require
from projects.principal import Principal

MOST_DAYS = 180  # of a waiver
MAX_REASON = 500
CLAIMABLE = (RogueState.OPEN, RogueState.NOTICED, RogueState.WAIVED)


def audience(row: RogueWorkload) -> list[User]:
    """Return who is told: the guessed owner where that is an active person of the portal, else the owners of the
    project of its namespace.
    """
    if row.owner is not None and row.owner.is_active and not row.owner.is_service:
        return [row.owner]
    return owners(row.project) if row.project is not None else []


def message(row: RogueWorkload) -> str:
    """Return what its people should know, as plain text."""
    held = f"It holds {keeping.devices(row.accelerators)}" if row.accelerators else "It holds no accelerator now"
    hours = f"{row.device_hours:,.1f} accelerator hours so far"
    return (
        f"{row.kind} {row.name} in the namespace {row.namespace} of the cluster {row.cluster.name} runs without an "
        f"approval. {held}, {hours}. Ask for its adoption: it keeps running, and gets an owner, a quota and keys. Or "
        "end it, or ask a platform engineer to leave it for a time."
    )


def notify(by: Principal, row: RogueWorkload, *, note: str = "") -> list[User]:
    """Tell the people of a workload that it runs without approval; return whom. `note` (at most 500 characters) comes
    on top.

    Raises Forbidden, NotFound, Invalid, and Conflict: `nobody_to_tell` where no person is known, `wrong_state` for one
    that is gone, adopted, or asked for.
    """
    require(by, "notify", row)
    text = clean_text(note, field="note", high=MAX_REASON, lines=True)
    with transaction.atomic():
        current = _locked(row)
        if current.state not in CLAIMABLE:
            raise _wrong_state(current)
        people = audience(current)
        if not people:
            raise Conflict(
                "No person of the portal is known for it. Copy the text and send it yourself, or map the namespace to a"
                " project.",
                code="nobody_to_tell",
            )
        names = ", ".join(one.username for one in people)
        own = RogueWorkload.objects.filter(pk=current.pk)
        own.update(noticed_at=timezone.now(), timeline=keeping.told(current, f"{by.name} told {names}."))
        if current.state == RogueState.OPEN:
            move(own, RogueState.OPEN, RogueState.NOTICED)
        tell(
            "rogue.found", people,
            title=f"{current.kind} {current.name} runs without an approval",
            text=f"{text}\n\n{message(current)}".strip() + f" {by.name} asks.",
            url=reverse("rogue_adopt", args=[current.pk]), project=_known_to(people, current),
            about=("rogueworkload", str(current.pk)),
            data={"cluster": current.cluster.slug, "kind": current.kind, "namespace": current.namespace,
                  "name": current.name, "accelerators": current.accelerators},
        )  # fmt: skip
        record("rogue.notify", by=by, obj=current, project=slug_of(current), after={"told": names}, reason=text)
    row.refresh_from_db()
    return people


def waive(by: Principal, row: RogueWorkload, *, ends_on: dt.date | None, reason: str) -> RogueWorkload:
    """Leave a workload as it is until a day, at most 180 days; then it is open again.

    Raises Forbidden, NotFound, Invalid naming the field, and Conflict `wrong_state`.
    """
    require(by, "waive", row)
    text = clean_text(reason, field="reason", low=3, high=MAX_REASON, lines=True)
    today = timezone.now().date()
    if ends_on is None:
        raise Invalid.field("ends_on", "ends_on is missing. Choose the last day on which it may run so.")
    if not today < ends_on <= today + dt.timedelta(days=MOST_DAYS):
        last = today + dt.timedelta(days=MOST_DAYS)
        raise Invalid.field("ends_on", f"ends_on is {ends_on}; choose a day after today ({today}) and until {last}.")
    with transaction.atomic():
        current = _locked(row)
        if current.state not in (RogueState.OPEN, RogueState.NOTICED):
            raise _wrong_state(current)
        sentence = f"{by.name} leaves it until {ends_on:%d %b %Y}: {text}"
        move(
            RogueWorkload.objects.filter(pk=current.pk), current.state, RogueState.WAIVED, waived_until=ends_on,
            waived_reason=text, waived_by=by.person, timeline=keeping.told(current, sentence),
        )  # fmt: skip
        record(
            "rogue.waive", by=by, obj=current, project=slug_of(current), before={"state": current.state},
            after={"state": RogueState.WAIVED.value, "waived_until": ends_on, "object": str(current)}, reason=text,
        )  # fmt: skip
    row.refresh_from_db()
    return row


def revoke(by: Principal, row: RogueWorkload) -> RogueWorkload:
    """End a waiver before its last day. Raises Forbidden, NotFound and Conflict `wrong_state`."""
    require(by, "waive", row)
    with transaction.atomic():
        current = _locked(row)
        if current.state != RogueState.WAIVED:
            raise _wrong_state(current)
        told = keeping.told(current, f"{by.name} ended the waiver.")
        own = RogueWorkload.objects.filter(pk=current.pk)
        move(own, RogueState.WAIVED, RogueState.OPEN, waived_until=None, timeline=told)
        record(
            "rogue.revoke", by=by, obj=current, project=slug_of(current),
            before={"state": RogueState.WAIVED.value, "waived_until": current.waived_until},
            after={"state": RogueState.OPEN.value},
        )  # fmt: skip
    row.refresh_from_db()
    return row


def claim(by: Actor, row: RogueWorkload, request: int, words: str) -> None:
    """Let a request be the one that adopts a workload, in its transaction; raises Conflict `already_adopting` when
    another one was faster, and `rogue_gone` when it is not there any more.
    """
    current = _locked(row)
    if current.state == RogueState.ADOPTING and current.request == request:
        return
    if current.state not in CLAIMABLE:
        raise taken(current)
    text = f"{by.name} asked to adopt it by {words}."
    own = RogueWorkload.objects.filter(pk=current.pk)
    if not move(
        own, current.state, RogueState.ADOPTING, request=request, waived_until=None,
        timeline=keeping.told(current, text),
    ):  # fmt: skip
        raise taken(current)
    record(
        "rogue.claim", by=by, obj=current, project=slug_of(current), before={"state": current.state},
        after={"state": RogueState.ADOPTING.value, "request": request},
    )  # fmt: skip


def release(by: Actor, request: int, words: str) -> None:
    """Open again what a request would have adopted, when it was refused or taken back; nothing to open is success."""
    for row in RogueWorkload.objects.select_for_update().filter(request=request, endpoint=None):
        own = RogueWorkload.objects.filter(pk=row.pk)
        if row.state != RogueState.ADOPTING:  # it is gone; should it come back, nobody waits for it
            own.update(request=None)
            continue
        text = f"{words} was not carried out; it is open again."
        move(own, RogueState.ADOPTING, RogueState.OPEN, request=None, timeline=keeping.told(row, text))
        record(
            "rogue.release", by=by, obj=row, project=slug_of(row), before={"state": RogueState.ADOPTING.value},
            after={"state": RogueState.OPEN.value, "request": request},
        )  # fmt: skip


def adopted(by: Actor, row: RogueWorkload, request: int, endpoint: Endpoint) -> None:
    """Note what a workload became, in the transaction of the approval; raises Conflict when it is not claimed by this
    request.
    """
    current = _locked(row)
    text = f"It is the endpoint {endpoint.project.slug}/{endpoint.name} now."
    own = RogueWorkload.objects.filter(pk=current.pk, request=request)
    if current.state != RogueState.ADOPTING or not move(
        own, RogueState.ADOPTING, RogueState.ADOPTED, endpoint=endpoint, project=endpoint.project,
        timeline=keeping.told(current, text),
    ):  # fmt: skip
        raise taken(current)
    record(
        "rogue.adopt", by=by, obj=current, project=endpoint.project.slug, before={"state": current.state},
        after={"state": RogueState.ADOPTED.value, "endpoint": str(endpoint.pk), "object": str(current),
               "uid": current.uid},
    )  # fmt: skip


def taken(row: RogueWorkload) -> Conflict:
    """Return why nobody else can adopt a workload."""
    if row.state == RogueState.GONE:
        sentence = f"{row.kind} {row} is not on the cluster any more, so there is nothing to adopt."
        return Conflict(sentence, code="rogue_gone")
    if row.state == RogueState.ADOPTED:
        return Conflict(f"{row.kind} {row} was adopted already.", code="already_adopted")
    return Conflict(
        f"Another request asks to adopt {row.kind} {row} already. Wait for its decision, or talk to who sent it.",
        code="already_adopting",
    )


def _known_to(people: list[User], row: RogueWorkload) -> Project | None:
    """Return the project of a workload where all of `people` may see it: whose it is was guessed from its labels."""
    project = row.project
    if project is None or not all(can(Principal.of(one), "view", project) for one in people):
        return None
    return project


def slug_of(row: RogueWorkload) -> str:
    """Return the project of a workload as audit rows name it."""
    return row.project.slug if row.project else ""


def page_of(row: RogueWorkload) -> str:
    """Return the address of its page."""
    return reverse("rogue_detail", args=[row.pk])


def _locked(row: RogueWorkload) -> RogueWorkload:
    rows = RogueWorkload.objects.select_for_update(of=("self",)).select_related("cluster", "project", "owner")
    return rows.get(pk=row.pk)


def _wrong_state(row: RogueWorkload) -> Conflict:
    what = RogueState(row.state).label.lower()
    return Conflict(f"{row.kind} {row} is {what} by now, so this changes nothing. Reload the page.", code="wrong_state")


assert set(CLAIMABLE) < set(RUNNING)  # noqa: S101 - what can be adopted runs
