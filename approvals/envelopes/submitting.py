"""What the envelopes say of a request the moment it is sent: recorded always, and for a live one carried out."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from approvals import deciding
from approvals.models import EnvelopeMode, Mode, Reading, Request, RequestKind, Verdict
from approvals.policies.active import by_digest
from approvals.policies.judging import matching_envelopes
from approvals.policies.rules import Envelope
from approvals.verdicts import INFO, PASS
from portal.errors import GatehouseError
from projects.oauth.reading import behind

log = logging.getLogger(__name__)

NEVER = {
    RequestKind.WAIVER.value: "An exception from a rule is never approved by a rule.",
    RequestKind.ADMISSION.value: "What enters the catalog is never approved by a rule.",
}
VERDICTS = {"fail": "fails", "warn": "warns", "waived": "is waived"}
CLEAR = "Its condition holds, every check passes, it starts at once, and no stage needs a person."
MAX_WHY = 500


def submitted(request: Request, plan: Mapping[str, Any]) -> None:
    """Record what each envelope says of the submission, and let the first live one that approves do so.

    Part of the transaction of the submission, so that what it approves is opened at once or not at all. A live one that
    cannot approve leaves the request waiting for people and says why. A second call for the same submission does
    nothing.
    """
    if Verdict.objects.filter(request=request, submission=request.submission).exists():
        return
    found = matching_envelopes(by_digest(plan["bundle"]["digest"]), plan["document"])
    if not found:
        return
    modes = {row.rule: row for row in EnvelopeMode.objects.filter(rule__in=[one.id for one, _ in found])}
    barrier, approved = obstacle(plan), ""
    for envelope, holds in found:
        row = modes.get(envelope.id)
        mode = mode_of(envelope, row)
        if mode == Mode.OFF:
            continue
        why = barrier if holds else "Its condition does not hold."
        if not why and mode == Mode.LIVE and row is not None:
            why = _own(request, row)
        approves = not why
        if approves and mode == Mode.LIVE and approved:
            mode, why = Mode.SHADOW, f"{approved} had approved it already."
        elif approves and mode == Mode.LIVE:
            why = _approve(request, envelope)
            approves, approved = not why, envelope.id if not why else ""
        live = approves and mode == Mode.LIVE
        Verdict.objects.create(
            request=request,
            submission=request.submission,
            rule=envelope.id,
            digest=envelope.digest,
            mode=mode,
            approves=approves,
            why=(why or CLEAR)[:MAX_WHY],
            reading=Reading.WAITING if live and row and sampled(request, row.sample_percent) else Reading.NONE,
        )


def mode_of(envelope: Envelope, row: EnvelopeMode | None) -> Mode:
    """Return what an envelope does now: a text about which nobody has said anything is in shadow."""
    return Mode(row.mode) if row is not None and row.digest == envelope.digest else Mode.SHADOW


def obstacle(plan: Mapping[str, Any]) -> str:
    """Return what stands in the way of any approval by rule, in a sentence; "" when nothing does."""
    kind = str(plan.get("kind", ""))
    if kind in NEVER:
        return NEVER[kind]
    against = [check for check in plan["checks"] if check["verdict"] not in {PASS, INFO}]
    if against:
        first = against[0]
        return f"{first['title']} ({first['id']}) {VERDICTS.get(first['verdict'], 'does not pass')}."
    if (plan.get("room") or {}).get("position"):
        return "It would wait for room in the pool."
    human = next((stage for stage in plan["stages"] if stage["human"]), None)
    return f"The stage {human['name']} needs a person." if human else ""


def _own(request: Request, row: EnvelopeMode) -> str:
    """Return why a rule does not decide for who let it decide, also through an application; "" for everybody else."""
    asks, let = request.requester, row.changed_by
    if let is None or not (let == asks or (asks.is_service and let.pk in behind(asks.username))):
        return ""
    return f"{let.username} let this rule decide, so what they ask for themselves waits for people."


def sampled(request: Request, percent: int) -> bool:
    """Whether a person shall read an approval later: the same answer for the same request, evenly spread over them."""
    mark = hashlib.sha256(f"later-review:{request.pk}:{request.submission}".encode()).digest()
    return int.from_bytes(mark[:4]) % 100 < percent


def _approve(request: Request, envelope: Envelope) -> str:
    """Approve in the name of the rule; return "" or why that did not work, with nothing of it left behind."""
    try:
        with transaction.atomic():
            deciding.approve_by_rule(request, rule=envelope.id, why=f"{envelope.title}. {CLEAR}")
    except GatehouseError as error:
        return f"It could not be approved: {error.sentence}"
    except Exception:
        # Whatever is broken in the approval, the request itself is sound: people decide on it.
        log.exception("envelopes.approve %s %s", request.number, envelope.id)
        return "It could not be approved: the portal made a mistake, which is logged."
    return ""
