"""Replay: what another bundle says of the input from which something was decided. “The checks of 12 March with today's
rules” are the stored input of that decision, judged anew; nothing is looked up again, and nothing is changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from approvals.models import Decision, Publication, Request
from approvals.plan import SUBJECT
from approvals.policies import active as counting
from approvals.policies import record
from approvals.policies.active import SHIPPED, Active
from approvals.policies.judging import judge, needed_stages
from approvals.verdicts import FAIL, ORDER
from portal.errors import Conflict, Invalid
from portal.http import digest

NOW = "now"
ABSENT = "–"  # the rule is not in that bundle, or does not apply


@dataclass(frozen=True)
class Line:
    """One rule: its verdict then and now, with the sentence of the verdict now, or of then where it is gone."""

    id: str
    title: str
    then: str
    now: str
    reason: str

    @property
    def changed(self) -> bool:
        """Whether the other bundle says something else."""
        return self.then != self.now


@dataclass(frozen=True)
class Replay:
    """The comparison. `of`: "decision" or "submission"; `at`: when it was decided or sent. `intact`: whether what is
    stored is what was signed; None where an earlier release signed nothing. `trouble`: what is wrong with it, in words.
    """

    of: str
    at: Any
    by: str
    then: Mapping[str, str]
    now: Mapping[str, str]
    lines: tuple[Line, ...]
    stages_then: tuple[str, ...]
    stages_now: tuple[str, ...]
    intact: bool | None
    trouble: str = ""

    @property
    def would_pass(self) -> bool:
        """Whether no rule of the other bundle fails."""
        return not any(line.now == FAIL for line in self.lines)

    def json(self) -> dict[str, Any]:
        """Return the comparison as the API shows it."""
        lines = [{**asdict(line), "changed": line.changed} for line in self.lines]
        return {
            "of": self.of,
            "at": self.at,
            "by": self.by,
            "then": dict(self.then),
            "now": dict(self.now),
            "would_pass": self.would_pass,
            "changed": sum(line.changed for line in self.lines),
            "checks": lines,
            "stages": {"then": list(self.stages_then), "now": list(self.stages_now)},
            "intact": self.intact,
            "trouble": self.trouble or None,
        }


def of(request: Request, bundle: str = NOW) -> Replay:
    """Return what `bundle` says of the input of the newest decision on `request` (of `with_all`), or of its submission
    while nobody decided. `bundle`: "now", "baseline", a version such as 2026.11.2, or a digest.

    Raises Invalid for an unknown bundle, and Conflict `no_record` where no input was stored. At most five queries.
    """
    chosen = find(bundle)
    decision = max(request.decisions.all(), key=lambda one: one.pk, default=None)
    if decision is not None and decision.inputs:
        return _of_decision(request, decision, chosen)
    document = request.plan.get("document")
    if not document:
        raise Conflict(
            f"{request} has no stored input: it was not sent yet, or by a release without policies.", code="no_record"
        )
    frozen = digest({"body": request.body, "plan": request.plan}) == request.plan_digest
    trouble = "" if frozen else "The stored plan is not the one under the digest that was frozen when it was sent."
    then = request.plan.get("bundle") or {}
    return Replay(
        "submission", request.submitted_at, request.requester.username, then, chosen.json(),
        lines(request.plan["checks"], document, chosen), _names(request.plan), _stages(document, chosen), frozen,
        trouble,
    )  # fmt: skip


def _of_decision(request: Request, decision: Decision, chosen: Active) -> Replay:
    intact = record.is_as_audited(decision)
    trouble = ""
    if intact is False:
        trouble = "The stored record is not the one that the audit log names: it was changed after the decision."
    publication = Publication.objects.filter(bundle__digest=decision.bundle_digest).order_by("-number").first()
    version = publication.version if publication else SHIPPED
    then = {"name": (request.plan.get("bundle") or {}).get("name", ""), "version": version,
            "digest": decision.bundle_digest}  # fmt: skip
    if publication is None and decision.bundle_digest != counting.baseline().digest:
        then["version"] = "unknown"  # a baseline of an earlier release
    return Replay(
        "decision", decision.at, decision.reviewer.username, then, chosen.json(),
        lines(decision.verdicts, decision.inputs, chosen), _names(request.plan), _stages(decision.inputs, chosen),
        intact, trouble,
    )  # fmt: skip


def find(name: str) -> Active:
    """Return a bundle by what people call it: see `of`. Raises Invalid naming what would do."""
    if name in ("", NOW):
        return counting.active()
    if name in (SHIPPED, counting.baseline().digest):
        return Active(counting.baseline(), SHIPPED)
    row = None
    if len(name) <= 80 and name.isprintable():
        rows = Publication.objects.select_related("bundle").defer("bundle__files")
        row = rows.filter(version=name).first() or rows.filter(bundle__digest=name).first()
    if row is None:
        raise Invalid.field(
            "bundle",
            f"bundle is {name[:80]!r}; give now, baseline, or the version or digest of one that was published.",
        )
    return Active(counting.by_digest(row.bundle.digest), row.version, row.number)


def lines(then: Iterable[Mapping[str, Any]], document: Mapping[str, Any], chosen: Active) -> tuple[Line, ...]:
    """Return every rule of both sides, what changed first, then worst first. The portal's own checks are left out: they
    look at the world, not at a document. A waived rule is one that fails.
    """
    before = {check["id"]: check for check in then if check.get("source") == "policy"}
    kind = document.get("request", {}).get("kind", "")
    now = {check.id: check.json() for check in judge(chosen.bundle, document, SUBJECT.get(kind, "request"))}
    found = []
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        shown = new or old or {}
        found.append(Line(key, shown["title"], _verdict(old), _verdict(new), shown["reason"]))
    return tuple(sorted(found, key=lambda line: (not line.changed, ORDER.get(line.now, 9), line.id)))


def _verdict(check: Mapping[str, Any] | None) -> str:
    if check is None:
        return ABSENT
    return FAIL if check["verdict"] == "waived" else str(check["verdict"])


def _names(plan: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(stage["name"] for stage in plan.get("stages") or ())


def _stages(document: Mapping[str, Any], chosen: Active) -> tuple[str, ...]:
    return tuple(stage.name for stage in needed_stages(chosen.bundle, document))


def choices() -> list[tuple[str, str]]:
    """Return the bundles that can be chosen, newest first, as (value, label) (one query)."""
    rows = Publication.objects.values_list("version", "at")[:50]
    return [
        (NOW, "The rules that count now"),
        *((version, f"{version}, published {at:%-d %b %Y}") for version, at in rows),
        (SHIPPED, "The baseline that ships"),
    ]


__all__ = ["NOW", "Line", "Replay", "choices", "find", "of"]
