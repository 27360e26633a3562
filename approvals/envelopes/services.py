"""Switching rules on and off, and the later review of what they approved."""

from django.db import transaction
from django.utils import timezone

from approvals.envelopes import telling
from approvals.envelopes.submitting import mode_of
from approvals.models import EnvelopeMode, Mode, Reading, Verdict
from approvals.policies.active import active
from approvals.policies.rules import Envelope
from audit.services import record
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.http import clean_text
from portal.states import move
from projects.oauth.reading import behind
from projects.permissions import require, require_anywhere
from projects.principal import Principal

MAX_REASON, MAX_REMARK = 2000, 2000
DEFAULT_SAMPLE = 10  # percent
STOPPED = {Mode.OFF.value: "Switched off.", Mode.SHADOW.value: "Put into shadow.", Mode.LIVE.value: ""}


def find(rule: str) -> Envelope:
    """Return an envelope of the bundle that counts; raises NotFound."""
    found = next((one for one in active().bundle.envelopes if one.id == rule), None)
    if found is None:
        raise NotFound(f"The policies that count have no auto-approve rule {rule[:60]!r}.")
    return found


def set_mode(
    by: Principal, rule: str, mode: str, *, reason: str, sample_percent: int | None = None, seen: str = ""
) -> EnvelopeMode:
    """Set what an envelope does from now on, for exactly its present text.

    `sample_percent`: of what it approves, to be read later by a person (0 to 100; None = as it is). `seen`: the digest
    of the text that the caller has read. Only a governance lead may let it decide, for a reason; stopping it needs
    none. Raises Forbidden, NotFound, Invalid, and Conflict `changed_meanwhile` when the text is another one by now.
    """
    if mode not in Mode.values:
        raise Invalid.field("mode", f"mode is {mode[:20]!r}; choose one of {', '.join(Mode.values)}.")
    require_anywhere(by, "switch_on" if mode == Mode.LIVE else "switch_off", EnvelopeMode)
    percent = _percent(sample_percent)
    text = clean_text(reason, field="reason", low=3 if mode == Mode.LIVE else 0, high=MAX_REASON, lines=True)
    envelope = find(rule)
    if seen and seen != envelope.digest:
        raise Conflict(
            f"The text of {rule} was changed since you read it. Read it again, with what it would have decided.",
            code="changed_meanwhile",
        )
    with transaction.atomic():
        row = _locked(envelope)
        before = _facts(envelope, row)
        row.digest, row.mode, row.reason, row.changed_by = envelope.digest, mode, text or STOPPED[mode], by.user
        if percent is not None:
            row.sample_percent = percent
        row.save()
        record("envelopes.set_mode", by=by, obj=row, before=before, after=_facts(envelope, row), reason=row.reason)
        if mode == Mode.LIVE:
            telling.switched_on(envelope, row, by.person, text)
    return row


def switch_all_off(by: Principal, *, reason: str = "") -> list[str]:
    """Stop every rule that decides, in one step; return their ids. The very next request waits for people."""
    require_anywhere(by, "switch_off", EnvelopeMode)
    text = clean_text(reason, field="reason", high=MAX_REASON, lines=True) or "All rules were switched off."
    with transaction.atomic():
        rows = list(EnvelopeMode.objects.select_for_update().filter(mode=Mode.LIVE).order_by("pk"))
        for row in rows:
            before = {"mode": row.mode, "digest": row.digest, "sample_percent": row.sample_percent}
            row.mode, row.reason, row.changed_by = Mode.OFF, text, by.user
            row.save()
            after = before | {"mode": row.mode}
            record(
                "envelopes.switch_all_off",
                by=by,
                obj=row,
                before=before,
                after={"rule": row.rule, **after},
                reason=text,
            )
    return [row.rule for row in rows]


def confirm(by: Principal, verdict: Verdict, *, remark: str = "") -> Verdict:
    """Say of an approval by rule that it was right. Raises Forbidden for an own request, Conflict when it is read."""
    return _read(by, verdict, Reading.CONFIRMED, clean_text(remark, field="remark", high=MAX_REMARK, lines=True))


def object_to(by: Principal, verdict: Verdict, *, remark: str) -> Verdict:
    """Say of an approval by rule that it was wrong, and why; governance is told. What it opened goes on: that is for
    people to judge. Raises as `confirm` does, and Invalid without a remark.
    """
    text = clean_text(remark, field="remark", low=3, high=MAX_REMARK, lines=True)
    return _read(by, verdict, Reading.OBJECTED, text)


def _read(by: Principal, verdict: Verdict, said: Reading, remark: str) -> Verdict:
    require(by, "read", verdict)
    request = verdict.request
    asked = request.requester
    if asked.pk == by.person.pk or (asked.is_service and by.person.pk in behind(asked.username)):
        raise Forbidden("Nobody reads an approval of an own request. Ask another reviewer.", code="own_request")
    with transaction.atomic():
        rows = Verdict.objects.filter(pk=verdict.pk)
        facts = {"read_by": by.person, "read_at": timezone.now(), "remark": remark}
        if not move(rows, Reading.WAITING, said, field="reading", **facts):
            raise Conflict(f"The approval of {request} is read already, or is not in the sample.", code="already_read")
        verdict.refresh_from_db()
        record(
            "envelopes.object_to" if said == Reading.OBJECTED else "envelopes.confirm",
            by=by,
            obj=request,
            project=request.project.slug if request.project else "",
            after={"rule": verdict.rule, "digest": verdict.digest, "reading": said.value},
            reason=remark,
        )
        if said == Reading.OBJECTED:
            telling.objected(verdict, by.person)
    return verdict


def _locked(envelope: Envelope) -> EnvelopeMode:
    """Return the row of an envelope under its lock; it begins in shadow."""
    start = {"digest": envelope.digest, "mode": Mode.SHADOW, "sample_percent": DEFAULT_SAMPLE}
    EnvelopeMode.objects.get_or_create(rule=envelope.id, defaults=start)
    return EnvelopeMode.objects.select_for_update().get(rule=envelope.id)


def _facts(envelope: Envelope, row: EnvelopeMode) -> dict[str, object]:
    return {
        "rule": envelope.id,
        "mode": mode_of(envelope, row).value,
        "digest": row.digest,
        "sample_percent": row.sample_percent,
    }


def _percent(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= 100:
        raise Invalid.field("sample_percent", f"sample_percent is {value}; choose a whole number from 0 to 100.")
    return value
