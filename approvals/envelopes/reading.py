"""What the envelopes said beside what people decided: the agreement by which one is switched on, or is not."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Cast, Left

from approvals.envelopes.submitting import mode_of
from approvals.models import Choice, Decision, EnvelopeMode, Mode, Reading, RequestState, Verdict
from approvals.policies.active import Active, active
from approvals.policies.rules import Envelope

YES, NO, OPEN = "yes", "no", "open"  # what people said
WEEKS = 12


@dataclass
class Agreement:
    """How often an envelope said what people said. `bold`: it would have approved, people did not; `careful`: people
    approved, it would not have. `live`: approved by rule; `waiting`, `confirmed`, `objected`: later reviews of those.
    """

    agreed: int = 0
    bold: int = 0
    careful: int = 0
    undecided: int = 0
    live: int = 0
    waiting: int = 0
    confirmed: int = 0
    objected: int = 0

    @property
    def decided(self) -> int:
        """The size of the sample: what people decided."""
        return self.agreed + self.bold + self.careful

    @property
    def share(self) -> float | None:
        """The share of the sample in which both said the same; None without one."""
        return self.agreed / self.decided if self.decided else None

    def add(self, mode: str, approves: bool, said: str, reading: str, number: int) -> None:
        """Count `number` verdicts of one sort."""
        if approves and mode == Mode.LIVE:
            self.live += number
            if reading in {Reading.WAITING, Reading.CONFIRMED, Reading.OBJECTED}:
                setattr(self, reading, getattr(self, reading) + number)
        elif said == OPEN:
            self.undecided += number
        elif approves == (said == YES):
            self.agreed += number
        elif approves:
            self.bold += number
        else:
            self.careful += number

    def json(self) -> dict[str, Any]:
        """Return the numbers as the API shows them."""
        names = ("agreed", "bold", "careful", "undecided", "live", "waiting", "confirmed", "objected")
        share = round(self.share, 4) if self.share is not None else None
        return {"decided": self.decided, "share": share} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Standing:
    """An envelope of the bundle that counts, with what it does and how it compares. `row` may be of an earlier text."""

    envelope: Envelope
    mode: Mode
    row: EnvelopeMode | None
    agreement: Agreement = field(default_factory=Agreement)

    @property
    def fell_back(self) -> bool:
        """Whether it was live with an earlier text, and is in shadow since the text was changed."""
        return self.row is not None and self.row.mode == Mode.LIVE and self.mode != Mode.LIVE

    @property
    def sample_percent(self) -> int:
        """Of what it approves, how much a person reads later."""
        return self.row.sample_percent if self.row is not None else EnvelopeMode().sample_percent


def standings(rules: Active | None = None, *, only: str = "") -> list[Standing]:
    """Return the envelopes of the bundle that counts, those first that decide (three queries)."""
    envelopes = [one for one in (rules or active()).bundle.envelopes if only in ("", one.id)]
    rows = {row.rule: row for row in EnvelopeMode.objects.select_related("changed_by")}
    counted = agreements(envelopes)
    found = [
        Standing(one, mode_of(one, rows.get(one.id)), rows.get(one.id), counted.get(one.id, Agreement()))
        for one in envelopes
    ]
    place = {Mode.LIVE: 0, Mode.SHADOW: 1, Mode.OFF: 2}
    return sorted(found, key=lambda one: (place[one.mode], one.envelope.id))


def modes(rules: Active | None = None, *, numbers: bool = True) -> list[dict[str, Any]]:
    """Return the envelopes with their modes as the API shows them (two queries, three without `rules`). Without
    `numbers`, the agreement is None: it is counted over all projects.
    """
    rows = [standing_json(one) for one in standings(rules)]
    return rows if numbers else [row | {"agreement": None} for row in rows]


def standing_json(one: Standing) -> dict[str, Any]:
    """Return one envelope as the API shows it."""
    row = one.row
    return {
        "id": one.envelope.id,
        "title": one.envelope.title,
        "kinds": list(one.envelope.kinds),
        "when": one.envelope.when,
        "digest": one.envelope.digest,
        "mode": one.mode.value,
        "sample_percent": one.sample_percent,
        "reason": row.reason if row else "",
        "changed_by": row.changed_by.username if row and row.changed_by else None,
        "changed_at": row.changed_at if row else None,
        "agreement": one.agreement.json(),
    }


def with_answer(rows: QuerySet[Verdict]) -> QuerySet[Any]:
    """Return `rows` annotated with `said`: what people answered to that very submission."""
    here = Decision.objects.filter(request=OuterRef("request"), submission=OuterRef("submission"))
    refused = Exists(here.filter(rule="", decision__in=(Choice.REJECT, Choice.REQUEST_CHANGES)))
    by_rule = Exists(here.exclude(rule=""))
    approved = Q(request__state=RequestState.APPROVED, request__submission=F("submission"))
    return rows.annotate(
        refused=refused,
        by_rule=by_rule,
        said=Case(
            When(refused=True, then=Value(NO)),
            When(approved & Q(by_rule=False), then=Value(YES)),
            default=Value(OPEN),
        ),
    )


def agreements(envelopes: list[Envelope]) -> dict[str, Agreement]:
    """Return how each of `envelopes` compares, with exactly its present text (one query)."""
    rows = with_answer(Verdict.objects.filter(digest__in=[one.digest for one in envelopes])).order_by()
    groups = rows.values_list("rule", "mode", "approves", "said", "reading").annotate(n=Count("pk"))
    found: dict[str, Agreement] = {}
    for rule, mode, approves, said, reading, number in groups:
        found.setdefault(rule, Agreement()).add(mode, approves, said, reading, number)
    return found


def weeks(envelope: Envelope, now: dt.datetime) -> list[tuple[dt.date, Agreement]]:
    """Return the last 12 weeks (Monday to Sunday, UTC) in which it said something, the newest first (one query)."""
    monday = now.date() - dt.timedelta(days=now.weekday())
    first = dt.datetime.combine(monday - dt.timedelta(weeks=WEEKS - 1), dt.time(), tzinfo=dt.UTC)
    rows = with_answer(Verdict.objects.filter(rule=envelope.id, digest=envelope.digest, at__gte=first)).order_by()
    # By day, as text: what SQLite truncates to weeks, it asks Python to truncate, row by row.
    days = rows.annotate(day=Left(Cast("at", TextField()), 10))
    groups = days.values_list("day", "mode", "approves", "said", "reading").annotate(n=Count("pk"))
    found: dict[dt.date, Agreement] = {}
    for text, mode, approves, said, reading, number in groups:
        day = dt.date.fromisoformat(text)
        found.setdefault(day - dt.timedelta(days=day.weekday()), Agreement()).add(mode, approves, said, reading, number)
    return sorted(found.items(), reverse=True)


def verdicts(envelope: Envelope) -> QuerySet[Any]:
    """Return what the present text of an envelope said, the newest first, with what lists read."""
    rows = Verdict.objects.filter(rule=envelope.id, digest=envelope.digest)
    return with_answer(rows).select_related("request__project", "request__requester", "read_by").order_by("-at", "-pk")


def differing(envelope: Envelope, *, bold: bool) -> QuerySet[Any]:
    """Return where it and people differ: `bold`, it would have approved; else, only people did."""
    rows = verdicts(envelope).exclude(mode=Mode.LIVE, approves=True)
    return rows.filter(approves=bold, said=NO if bold else YES)


def to_read() -> QuerySet[Verdict]:
    """Return the approvals by rule that wait for a later review, the oldest first."""
    rows = Verdict.objects.filter(reading=Reading.WAITING).select_related("request__project", "request__requester")
    return rows.order_by("at", "pk")


def said_of(request_id: int, submission: int) -> list[Mapping[str, Any]]:
    """Return what each envelope said of a submission, for the pages of that request (one query)."""
    rows = Verdict.objects.filter(request=request_id, submission=submission).order_by("rule")
    return list(rows.values("rule", "mode", "approves", "why"))
