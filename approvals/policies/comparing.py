"""What one bundle says of a document against another one: the verdicts that differ, who would have to decide, and which
envelopes would match.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from approvals.plan import SUBJECT
from approvals.policies.bundle import Bundle
from approvals.policies.judging import judge, matching_envelopes, needed_stages
from approvals.policies.rules import StageRule
from approvals.stages.kinds import for_kind
from approvals.verdicts import FAIL, ORDER, PASS, WAIVED, Check

MOST_PARTS = 12  # of one object; more are not read anyway
NOBODY = "nobody"


@dataclass(frozen=True)
class Part:
    """One thing that would be otherwise: a rule with its verdicts, or the stages or envelopes with their names."""

    id: str
    title: str
    now: str
    then: str
    why: str


@dataclass(frozen=True)
class Change:
    """What would change for one object: its worst verdict `now` and `then`, and everything that differs."""

    now: str
    then: str
    parts: Sequence[Part]

    def json(self) -> dict[str, Any]:
        """Return the change as a preview keeps it."""
        why = " ".join(part.why for part in self.parts if part.why)
        return {"now": self.now, "then": self.then, "why": why[:500], "parts": [asdict(one) for one in self.parts]}


@dataclass(frozen=True)
class Pair:
    """Two bundles, of each the part that the other one does not have like that (only that part can differ, so only
    that is judged of most objects), and what both have alike.
    """

    now: Bundle
    then: Bundle
    before: Bundle
    after: Bundle
    alike: Bundle
    stages: bool  # whether stages differ
    envelopes: bool


def pair(now: Bundle, then: Bundle) -> Pair:
    """Return what compares `now` with `then`."""
    known, new = ({rule.id: _meaning(rule) for rule in bundle.rules} for bundle in (now, then))
    return Pair(
        now,
        then,
        replace(now, rules=tuple(rule for rule in now.rules if new.get(rule.id) != known[rule.id])),
        replace(then, rules=tuple(rule for rule in then.rules if known.get(rule.id) != new[rule.id])),
        replace(now, rules=tuple(rule for rule in now.rules if new.get(rule.id) == known[rule.id])),
        [_meaning(one) for one in now.stages] != [_meaning(one) for one in then.stages],
        [_meaning(one) for one in now.envelopes] != [_meaning(one) for one in then.envelopes],
    )


def _meaning(part: Any) -> Any:
    """Return a rule, stage or envelope without what says nothing of a document: its tests, and where it stands."""
    return replace(part, tests=(), path="")


def compare(both: Pair, document: Mapping[str, Any], *, waived: frozenset[str], decides: bool) -> Change | None:
    """Return what differs between two bundles for `document`; None when nothing does.

    `waived`: the checks that a waiver lets pass. `decides`: also who would have to approve it, and by which envelope.
    """
    before, after = (verdicts(bundle, document, waived) for bundle in (both.before, both.after))
    parts = [
        _rule(before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if _verdict(before.get(name)) != _verdict(after.get(name))
    ]
    if decides and both.stages:
        parts += [part for part in [_stages(both.now, both.then, document)] if part]
    if decides and both.envelopes:
        parts += [part for part in [_envelopes(both.now, both.then, document)] if part]
    if not parts:
        return None
    parts.sort(key=lambda part: ORDER.get(part.then, len(ORDER)))
    alike = verdicts(both.alike, document, waived)
    worsts = [worst({**alike, **found}) for found in (before, after)]
    return Change(worsts[0], worsts[1], parts[:MOST_PARTS])


def verdicts(bundle: Bundle, document: Mapping[str, Any], waived: frozenset[str]) -> dict[str, Check]:
    """Return what the rules of `bundle` say of `document`, by rule, waivers counted."""
    return {
        check.id: replace(check, verdict=WAIVED)
        if check.verdict == FAIL and check.waivable and check.id in waived
        else check
        for check in judge(bundle, document, SUBJECT.get(kind_of(document), "request"))
    }


def kind_of(document: Mapping[str, Any]) -> str:
    """Return the kind of request that a document is of; endpoints that run are as if they were asked for."""
    return str(document.get("request", {}).get("kind", ""))


def stages(bundle: Bundle, document: Mapping[str, Any]) -> list[StageRule]:
    """Return the stages of the review of what a document says."""
    return list(for_kind(kind_of(document), needed_stages(bundle, document)))


def worst(found: Mapping[str, Check]) -> str:
    """Return the worst verdict; pass where no rule applies."""
    return min((check.verdict for check in found.values()), key=ORDER.__getitem__, default=PASS)


def _verdict(check: Check | None) -> str:
    return check.verdict if check else PASS  # a rule that says nothing keeps nobody from anything


def _rule(before: Check | None, after: Check | None) -> Part:
    said = after or before
    if said is None:
        raise LookupError("a rule of neither bundle")
    gone = f"{said.title}: the rule is gone, or no longer applies."
    why = gone if after is None else f"{after.title}: {after.reason}"
    return Part(said.id, said.title, _verdict(before), _verdict(after), why)


def _stages(now: Bundle, then: Bundle, document: Mapping[str, Any]) -> Part | None:
    before, after = (stages(bundle, document) for bundle in (now, then))
    if [(one.roles, one.count, one.human) for one in before] == [(one.roles, one.count, one.human) for one in after]:
        return None
    names = [", then ".join(f"{one.name} ({one.count})" for one in needed) for needed in (before, after)]
    return Part("stages", "Who decides", names[0], names[1], f"Decided by {names[1]} instead of {names[0]}.")


def _envelopes(now: Bundle, then: Bundle, document: Mapping[str, Any]) -> Part | None:
    before, after = (
        ", ".join(one.id for one, holds in matching_envelopes(bundle, document) if holds) or NOBODY
        for bundle in (now, then)
    )
    if before == after:
        return None
    return Part("envelopes", "Envelopes that match", before, after, f"Envelopes that match: {after}; before: {before}.")
