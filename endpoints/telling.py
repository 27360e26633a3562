"""What a row remembers of a look beside its reason: what the cluster has tried, what is to be done, and how far the
engines have come, in named steps with begin and end.

Pure functions over the row and what was seen; the reconciler writes their answer with its step.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from endpoints.clusters import ClusterError, Hold, Replica, Stage
from endpoints.facts import Action, Facts, Step
from endpoints.models import Endpoint, Phase

MARK = 80  # characters by which a sentence is found again in the one that was made of it
TRIED, NEXT = 200, 500  # characters of the columns
Steps = list[dict[str, Any]]


def columns(row: Endpoint, facts: Facts, step: Step) -> dict[str, Any]:
    """Return what changes of the row's columns `reason_tried`, `reason_next` and `progress` with a step."""
    found = _words(row, facts, step) | {"progress": _progress(row, facts, step)}
    return {name: value for name, value in found.items() if getattr(row, name) != value}


def stages(row: Endpoint, revision: int) -> tuple[Stage, ...]:
    """Return the steps of a revision as the row remembers them; empty where the cluster told none."""
    return tuple(
        Stage(one["name"], _moment(one["started"]), _moment(one["ended"]))
        for one in row.progress.get(str(revision), ())
    )


def document(row: Endpoint, revision: int) -> list[dict[str, Any]]:
    """Return the steps of a revision as the API shows them."""
    steps = row.progress.get(str(revision), ())
    return [{"name": one["name"], "started_at": one["started"], "ended_at": one["ended"]} for one in steps]


def _words(row: Endpoint, facts: Facts, step: Step) -> dict[str, Any]:
    source = _source(facts, step.reason.sentence)
    if source is not None:
        return {"reason_tried": getattr(source, "tried", "")[:TRIED], "reason_next": source.next[:NEXT]}
    if (step.reason.code, step.reason.sentence) == (row.reason_code, row.reason_sentence):
        return {}  # a failed one whose engines are gone keeps what was said of them
    return {"reason_tried": "", "reason_next": ""}


def _source(facts: Facts, sentence: str) -> ClusterError | Replica | Hold | None:
    """Return whose words the sentence of a step holds; None when they are the portal's own."""
    if facts.error is not None and facts.error.sentence[:MARK] in sentence:
        return facts.error
    hold = facts.observation.hold
    if hold is not None and hold.sentence[:MARK] in sentence:
        return hold
    told: Iterable[Replica] = (one for one in facts.observation.replicas if one.sentence)
    return next((one for one in told if one.sentence.rstrip(".")[:MARK] in sentence), None)


def _progress(row: Endpoint, facts: Facts, step: Step) -> dict[str, Steps]:
    if step.phase in {Phase.SUSPENDED, Phase.DELETED}:
        return {}
    known: Mapping[str, Steps] = row.progress
    anew = _anew(facts, step)
    wanted = {facts.revision, facts.next.revision if facts.next else 0, facts.fallback} - {0}
    found: dict[str, Steps] = {}
    for number in sorted(wanted):
        old = known.get(str(number), [])
        seen = facts.observation.progress.get(number, ())
        at_rest = number == facts.revision and row.phase == step.phase == Phase.READY and bool(old)
        if number == anew:
            continue  # what follows is another start
        steps = old if at_rest or not seen else _merged(old, seen)
        if steps:
            found[str(number)] = steps
    return found


def _anew(facts: Facts, step: Step) -> int:
    """Return the revision that is started once more with this step, 0 for none."""
    if step.action != Action.APPLY:
        return 0
    if facts.next is not None and step.of_next:
        return facts.next.revision if step.next_attempts > facts.next.attempts else 0
    return facts.revision if step.attempts > facts.attempts else 0


def _merged(old: Steps, seen: Sequence[Stage]) -> Steps:
    """Return the steps as they are seen now, each with the end that was known first: what tells it is forgotten by the
    cluster after an hour."""
    ends = {(one["name"], one["started"]): one["ended"] for one in old if one["ended"]}
    merged = []
    for one in seen:
        begin = _text(one.started)
        merged.append({"name": one.name, "started": begin, "ended": ends.get((one.name, begin)) or _text(one.ended)})
    return merged


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
