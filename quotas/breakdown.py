"""The table of the usage page, "By endpoint" or by whatever else: its rows, its order, and both as CSV.

A row is made once: `raw` are the columns of the file, and the cells of the page are the same values in words. So the
file holds exactly the rows of the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from projects.models import Project
from quotas.asked import Asked
from quotas.costs import Cost
from quotas.panels import MANY, name_of, percent, tokens
from quotas.report import PLAYGROUND, Place, Report
from quotas.rollups import Total
from quotas.usage import DURATIONS, MONEY, NUMBERS, OWNERS, PERCENTILES, Row, numbers

TABLE_ROWS = 50
NAMES: Mapping[str, tuple[str, ...]] = {
    "project": ("project",),
    "endpoint": ("project", "endpoint"),
    "key": ("project", "key", "name"),
    "person": ("person",),
}
COUNTS = (
    ("requests", "Requests"),
    ("input_tokens", "Input"),
    ("output_tokens", "Output"),
    ("cached_tokens", "Cached"),
    ("errors", "Failed"),
)
TIMES = (("ttft", "First token, s"), ("latency", "Answer, s"))
ARROWS = {"ascending": "sortdesc", "descending": "sortdesc", "none": "sort"}  # the style sheet turns the first one


@dataclass(frozen=True, eq=False)
class Line:
    """One group. What it shows is worked out when it is asked for: of a thousand rows a page shows fifty."""

    report: Report
    place: Place
    asked: Asked
    project: Project | None
    name: str
    everything: int  # tokens of all groups

    @property
    def total(self) -> Total:
        """The sums of the group."""
        return self.report.groups[self.place]

    @cached_property
    def raw(self) -> Row:
        """The columns for the file."""
        row = _named(self.report, self.place, self.project, self.name) | numbers(self.total)
        row |= _money(self.report.cost_of(self.place)) | _owners(self.project)
        row["share"] = round(100 * tokens(self.total) / self.everything, 1) if self.everything else 0.0
        return row

    @cached_property
    def context(self) -> str:
        """The words below the name."""
        return _context(self.report, self.place, self.asked, self.project)

    @cached_property
    def url(self) -> str:
        """The page of this group alone."""
        return _address(self.report, self.place, self.asked, self.project)

    @property
    def cost_words(self) -> str:
        """What was held, as money."""
        return self.report.cost_of(self.place).words

    @property
    def counts(self) -> list[dict[str, object]]:
        """The cells before the cost: label, and the value with its words."""
        found: list[dict[str, object]] = [
            {"label": label, "value": self.raw[name], "text": f"{self.raw[name]:,}"} for name, label in COUNTS[:4]
        ]
        failed = percent(self.total.errors, self.total.requests)
        return [*found, {"label": "Failed", "value": self.total.errors, "text": failed}]

    @property
    def times(self) -> list[dict[str, object]]:
        """The cells of percentiles: label, and three values with their words."""
        found: list[dict[str, object]] = []
        for what, label in TIMES:
            values = [cast("float | None", self.raw[f"{what}_{name}"]) for name, _ in PERCENTILES]
            cells = [
                {"value": "", "text": "–"} if one is None else {"value": one, "text": f"{one:.2f}"} for one in values
            ]
            found.append({"label": label, "values": cells})
        return found

    @property
    def share(self) -> float:
        """Percent of the tokens of all groups."""
        return cast("float", self.raw["share"])

    @property
    def share_label(self) -> str:
        """`share` in words."""
        return f"{self.share} % of the tokens"


def columns(report: Report) -> list[str]:
    """Return the columns of the table as a file: cost where it has a meaning, owners where there is one."""
    owned = OWNERS if report.group != "person" else ()
    return [*NAMES[report.group], *NUMBERS, *DURATIONS, *(MONEY if report.priced else ()), *owned, "share"]


def lines(report: Report, asked: Asked, known: Mapping[int, Project]) -> list[Line]:
    """Return all rows of the table in the order that was asked for; equal ones by name."""
    name = name_of(report, known, several=False)
    everything = tokens(report.total)
    found = [
        Line(report, place, asked, _project(report, place, known), name(place), everything) for place in report.groups
    ]
    found.sort(key=lambda line: (line.name, line.project.slug if line.project else "", line.context))
    by = asked.sort.removeprefix("-")
    down = asked.sort.startswith("-")
    if by == "name":
        return found[::-1] if down else found
    return sorted(found, key=lambda line: (_weight(line, by) is None, _signed(_weight(line, by), down)))


def _weight(line: Line, by: str) -> float | None:
    """Return the number by which a row is sorted; None, last in both directions, where there is none."""
    if by == "tokens":
        return float(tokens(line.total))
    if by == "cost":
        cost = line.report.cost_of(line.place).text
        return None if cost is None else float(cost)
    if by in NUMBERS:
        return float(getattr(line.total, by))
    value = line.raw[f"{by}_p95"]
    return None if value is None else float(cast("float", value))


def _signed(value: float | None, down: bool) -> float:
    return 0.0 if value is None else -value if down else value


def _project(report: Report, place: Place, known: Mapping[int, Project]) -> Project | None:
    return known[cast("int", place[0])] if report.group != "person" else None


def _named(report: Report, place: Place, project: Project | None, name: str) -> Row:
    """Return the columns that say which group it is."""
    slug = project.slug if project else ""
    if report.group == "project":
        return {"project": slug}
    if report.group == "endpoint":
        return {"project": slug, "endpoint": place[1]}
    if report.group == "key":
        return {"project": slug, "key": report.prefixes.get(str(place[1]), ""), "name": name}
    return {"person": place[0]}


def _money(cost: Cost) -> Row:
    return {"cost": cost.text, "currency": cost.currency}


def _owners(project: Project | None) -> Row:
    return {name: getattr(project, name) if project else "" for name in OWNERS}


def _context(report: Report, place: Place, asked: Asked, project: Project | None) -> str:
    """Return the words below the name."""
    if report.group == "key":
        people = ", ".join(sorted(report.people[place])[:5])
        prefix = report.prefixes.get(str(place[1]), "")
        return people if place[1] == PLAYGROUND else f"{prefix} · {people}"
    return project.slug if project and report.group == "endpoint" and not asked.values["project"] else ""


def _address(report: Report, place: Place, asked: Asked, project: Project | None) -> str:
    """Return the page of one group alone: endpoints of a project, keys of an endpoint, and so on."""
    following = {"project": "endpoint", "endpoint": "key", "key": "endpoint", "person": "key"}[report.group]
    changes = {"group_by": following, "project": project.slug} if project else {"group_by": following}
    if report.group == "key":
        prefix = report.prefixes.get(str(place[1]), "")
        return asked.url(**changes, key=prefix) if prefix else ""
    if report.group != "project":
        changes[report.group] = str(place[-1])
    return asked.url(**changes)


def context(found: Sequence[Line], report: Report, asked: Asked) -> dict[str, object]:
    """Return what the template needs of the table: heads with their links, the rows of this page, the pager."""
    pages = max(1, -(-len(found) // TABLE_ROWS))
    page = min(asked.page, pages)
    first = (page - 1) * TABLE_ROWS
    shown = found[first : first + TABLE_ROWS]
    return {
        "title": f"By {report.group}",
        "heads": [_head(name, label, asked) for name, label in _heads(report, asked)],
        "lines": shown,
        "noun": MANY[report.group],
        "owned": _owned(report, asked),
        "priced": report.priced,
        "page": {
            "start": first + 1,
            "end": first + len(shown),
            "total": len(found),
            "previous_url": asked.url(page=str(page - 1)) if page > 1 else "",
            "next_url": asked.url(page=str(page + 1)) if page < pages else "",
        },
    }


def _owned(report: Report, asked: Asked) -> bool:
    """Whether rows differ in who pays for them: of one project the page says it once, below the table."""
    return report.group != "person" and not asked.values["project"]


def _heads(report: Report, asked: Asked) -> Iterator[tuple[str, str]]:
    yield "name", report.group.capitalize()
    yield from COUNTS
    if report.priced:
        yield "cost", "Cost"
    yield "tokens", "Share"
    yield from TIMES
    if _owned(report, asked):
        yield "", "Cost centre, team"


def _head(name: str, label: str, asked: Asked) -> dict[str, object]:
    """Return one head; a number is first sorted downwards, a name upwards."""
    if not name:
        return {"label": label}
    natural = name if name == "name" else f"-{name}"
    opposite = natural.removeprefix("-") if natural.startswith("-") else f"-{natural}"
    chosen = asked.sort.removeprefix("-") == name
    state = ("descending" if asked.sort.startswith("-") else "ascending") if chosen else "none"
    return {
        "label": label,
        "name": name,
        "numeric": name not in ("name", "tokens"),
        "state": state,
        "icon": ARROWS[state],
        "url": asked.url(sort=opposite if chosen and asked.sort == natural else natural),
    }


def series(report: Report, known: Mapping[int, Project]) -> tuple[list[Row], list[str]]:
    """Return rows and columns of the time series: one row per interval and group, oldest first.

    `report` must have been made in detail.
    """
    name = name_of(report, known, several=False)
    both = {*report.detail, *report.slot_costs}
    rows = []
    for slot, place in sorted(both, key=lambda one: (one[0], name(one[1]), str(one[1]))):
        total = report.detail.get((slot, place), Total())
        project = _project(report, place, known)
        cost = report.slot_costs.get((slot, place), Cost())
        named = _named(report, place, project, name(place))
        rows.append({"start": slot} | named | numbers(total) | _money(cost) | _owners(project))
    return rows, ["start", *(column for column in columns(report) if column != "share")]
