"""Everything that the usage page counts, from one pass over the roll-ups of its range and one look at the pools."""

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from django.db.models import Q

from projects.models import ApiKey, Project
from projects.principal import Principal
from quotas import costs, usage
from quotas.costs import Cost
from quotas.period import Period
from quotas.rollups import Total, floor
from quotas.usage import Line, Wanted

PLAYGROUND = "playground"
Place = tuple[object, ...]  # (project id, name) of what is grouped by, or (name,) of a person

PLACES: Mapping[str, Callable[[Line], Place]] = {
    "project": lambda line: (line.project_id,),
    "endpoint": lambda line: (line.project_id, line.endpoint),
    "key": lambda line: (line.project_id, line.key_id),
    "person": lambda line: (line.person,),
}
HOLDING = ("project", "endpoint")  # groups that hold accelerators, and so have a cost


@dataclass
class Report:
    """Sums by group, by interval, and the tokens (or, in detail, everything) by both."""

    group: str
    total: Total = field(default_factory=Total)
    groups: dict[Place, Total] = field(default_factory=dict)
    slots: dict[dt.datetime, Total] = field(default_factory=dict)
    tokens: dict[Place, dict[dt.datetime, int]] = field(default_factory=dict)
    detail: dict[tuple[dt.datetime, Place], Total] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)  # key id → prefix
    people: dict[Place, set[str]] = field(default_factory=dict)
    facts: dict[str, ApiKey] = field(default_factory=dict)
    priced: bool = False  # whether cost has a meaning: keys and people hold no accelerators
    cost: Cost = field(default_factory=Cost)
    costs: dict[Place, Cost] = field(default_factory=dict)
    slot_costs: dict[tuple[dt.datetime, Place], Cost] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there was neither a call nor anything held."""
        return not self.groups

    def cost_of(self, place: Place) -> Cost:
        """The cost of one group; empty where it held nothing that has a price."""
        return self.costs.get(place, Cost())


def build(
    principal: Principal,
    wanted: Wanted,
    span: Period,
    known: Mapping[int, Project],
    group: str,
    *,
    now: dt.datetime,
    detail: bool = False,
) -> Report:
    """Return the report of `wanted` in the intervals of `span`, by `group`; only projects of `known` count.

    With `detail` everything is kept per interval and group, as the time series needs it. Two queries; one more by key.
    """
    report = Report(group, priced=group in HOLDING and not wanted.key and not wanted.person)
    place_of, starts = PLACES[group], dict[dt.datetime, dt.datetime]()
    for line in usage.scan(principal, wanted):
        if line.project_id not in known:
            continue
        slot = starts.get(line.start) or starts.setdefault(line.start, span.slot(line.start))
        place = place_of(line)
        report.groups.setdefault(place, Total()).merge(line)
        report.slots.setdefault(slot, Total()).merge(line)
        counts = report.tokens.setdefault(place, {})
        counts[slot] = counts.get(slot, 0) + line.input_tokens + line.output_tokens
        if detail:
            report.detail.setdefault((slot, place), Total()).merge(line)
        if group == "key":
            report.prefixes[line.key_id] = line.key
            report.people.setdefault(place, set()).add(line.person)
    for sums in report.slots.values():
        report.total.merge(sums)
    if group == "key":
        report.facts = key_facts(report.prefixes)
        _one_playground(report)
    if report.priced:
        _price(report, principal, wanted, span, known, now)
    return report


def key_facts(ids: Iterable[str]) -> dict[str, ApiKey]:
    """Return name, prefix and purpose of the keys with these ids, by id (one query)."""
    wanted = set()
    for text in ids:
        try:
            wanted.add(uuid.UUID(text))
        except ValueError:
            continue
    found = ApiKey.objects.filter(Q(pk__in=wanted)).only("name", "prefix", "purpose") if wanted else ()
    return {str(key.pk): key for key in found}


def _one_playground(report: Report) -> None:
    """Make the short-lived keys of the playground one group per project."""
    folded: dict[Place, Place] = {
        place: (place[0], PLAYGROUND)
        for place in report.groups
        if (known := report.facts.get(str(place[1]))) is not None and known.purpose == PLAYGROUND
    }
    for place, target in folded.items():
        report.groups.setdefault(target, Total()).merge(report.groups.pop(place))
        report.people.setdefault(target, set()).update(report.people.pop(place))
        counts = report.tokens.setdefault(target, {})
        for slot, count in report.tokens.pop(place).items():
            counts[slot] = counts.get(slot, 0) + count
    for slot, place in [key for key in report.detail if key[1] in folded]:
        report.detail.setdefault((slot, folded[place]), Total()).merge(report.detail.pop((slot, place)))


def _price(
    report: Report, principal: Principal, wanted: Wanted, span: Period, known: Mapping[int, Project], now: dt.datetime
) -> None:
    """Add what was held; a group that only held and was never called appears with zeros, since it costs."""
    for held in costs.held(principal, span.start, span.end, now=now, project=wanted.project, endpoint=wanted.endpoint):
        if held.project_id not in known:
            continue
        place: Place = (held.project_id,) if report.group == "project" else (held.project_id, held.name)
        report.groups.setdefault(place, Total())
        report.cost.add(held, held.start, held.end)
        report.costs.setdefault(place, Cost()).add(held, held.start, held.end)
        at = held.start
        while at < held.end:
            slot = span.slot(floor(at, "hour"))
            following = min(span.after(slot), held.end)
            report.slot_costs.setdefault((slot, place), Cost()).add(held, at, following)
            at = following
