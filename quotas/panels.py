"""What the usage page draws: the strip of numbers, the plots, and the bars of the home page."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from projects.models import Project
from quotas import charts
from quotas.asked import Asked
from quotas.charts import Chart, Plot, Series
from quotas.costs import NOT_PRICED
from quotas.period import Period
from quotas.report import PLAYGROUND, Place, Report
from quotas.rollups import Total
from quotas.usage import Row, seconds

COLOURS = ("blue", "teal", "purple", "orange")
MANY = {"project": "projects", "endpoint": "endpoints", "key": "keys", "person": "people"}
Group = TypeVar("Group")
BAD_SHARE = 0.01  # of calls that failed, from which the number is marked


def percent(part: float, whole: float) -> str:
    """Return a share as words: 0.04 %."""
    return f"{100 * part / whole:.2f} %" if whole else "0 %"


def seconds_text(value: float | None) -> str:
    """Return a duration with two decimals, a dash where nothing was measured."""
    return "–" if value is None else f"{value:.2f} s"


def tokens(total: Total) -> int:
    """Return input and output tokens together."""
    return total.input_tokens + total.output_tokens


def stats(report: Report) -> list[dict[str, object]]:
    """Return the strip of numbers."""
    total = report.total
    found: list[dict[str, object]] = [
        {
            "label": "Tokens",
            "value": f"{tokens(total):,}",
            "scope": f"{total.input_tokens:,} in, {total.output_tokens:,} out",
            "bad": False,
        },
        {
            "label": "Requests",
            "value": f"{total.requests:,}",
            "scope": f"{percent(total.errors, total.requests)} failed",
            "bad": total.errors > BAD_SHARE * total.requests,
        },
    ]
    for label, counts, share in (
        ("First token, half", total.ttft, 0.5),
        ("First token, 95 of 100", total.ttft, 0.95),
        ("Answer, 95 of 100", total.latency, 0.95),
    ):
        found.append(
            {"label": label, "value": seconds_text(seconds(counts, share)), "scope": "or faster", "bad": False}
        )
    if report.priced:
        known = report.cost.words != NOT_PRICED
        scope = "list price of the GPUs held" if known else "no GPU was held"
        if report.cost.unpriced:
            scope = "some GPUs have no list price"
        found.append({"label": "Cost", "value": report.cost.words if known else "–", "scope": scope, "bad": False})
    return found


def name_of(report: Report, known: Mapping[int, Project], *, several: bool) -> Callable[[Place], str]:
    """Return how a group is called; with `several` projects their name stands before it."""

    def name(place: Place) -> str:
        if report.group == "person":
            return str(place[0])
        slug = known[cast("int", place[0])].slug
        if report.group == "project":
            return slug
        own = str(place[1])
        if report.group == "key":
            fact = report.facts.get(own)
            own = "Playground" if own == PLAYGROUND else fact.name if fact else report.prefixes.get(own, own)
        return f"{slug}/{own}" if several else own

    return name


def plots(report: Report, asked: Asked, known: Mapping[int, Project]) -> list[Plot]:
    """Return the four plots of the page."""
    span = asked.span
    slots = span.slots
    labels = [(span.label(slot), asked.zoomed(slot, span.after(slot))) for slot in slots]
    several = len({place[0] for place in report.groups}) > 1
    per, place = span.interval, span.words
    series = stacked(report.tokens, name_of(report, known, several=several), slots, f"other {MANY[report.group]}")
    sums = [report.slots.get(slot, Total()) for slot in slots]
    times = [
        Series(words, colour, [seconds(one.ttft, share) for one in sums])
        for words, colour, share in (("Half of the calls", "blue", 0.5), ("95 of 100 calls", "purple", 0.95))
    ]
    calls = Series("Requests", "blue", [one.requests for one in sums], f"{report.total.requests:,}")
    failed = [100 * one.errors / one.requests if one.requests else None for one in sums]
    return [
        charts.plot(
            "tokens",
            f"Tokens per {per}",
            f"Tokens per {per}, input and output together, by {report.group}, {place}.",
            labels,
            series,
        ),
        charts.plot(
            "ttft",
            "Time to first token, seconds",
            f"Time to first token per {per} in seconds, {place}: half of the calls and 95 of 100 calls.",
            labels,
            times,
            kind="lines",
            unit="s",
        ),
        charts.plot("requests", f"Requests per {per}", f"Requests per {per}, {place}.", labels, [calls]),
        charts.plot(
            "failed",
            "Failed requests, percent",
            f"Share of the requests that failed or were interrupted per {per}, {place}.",
            labels,
            [Series("Failed", "red", failed, percent(report.total.errors, report.total.requests))],
            unit="%",
        ),
    ]


def stacked(
    counts: Mapping[Group, Mapping[dt.datetime, int]],
    name: Callable[[Group], str],
    slots: Sequence[dt.datetime],
    rest: str,
) -> list[Series]:
    """Return one series per group, those with the most first; behind the fourth they are one, called `rest`."""
    sums = {group: sum(own.values()) for group, own in counts.items()}
    order = sorted(counts, key=lambda group: (-sums[group], name(group)))
    parts = [(name(group), COLOURS[index], [group]) for index, group in enumerate(order[: len(COLOURS)])]
    if others := order[len(COLOURS) :]:
        parts.append((rest, "grey", others))
    return [
        Series(
            label,
            colour,
            [sum(counts[group].get(slot, 0) for group in groups) for slot in slots],
            f"{sum(sums[group] for group in groups):,}",
        )
        for label, colour, groups in parts
    ]


def tokens_chart(rows: Sequence[Row], span: Period) -> Chart:
    """Return the bars of tokens per interval, stacked by the endpoints with the most tokens.

    `rows` come from `usage.load`. Endpoints carry the name of their project where the rows are of several.
    """
    several = len({row["project"] for row in rows}) > 1
    counts: dict[str, dict[dt.datetime, int]] = {}
    for row in rows:
        own = counts.setdefault(f"{row['project']}/{row['endpoint']}" if several else str(row["endpoint"]), {})
        slot = span.slot(cast("dt.datetime", row["start"]))
        own[slot] = own.get(slot, 0) + cast("int", row["input_tokens"]) + cast("int", row["output_tokens"])
    title = f"Tokens per {span.interval}"
    words = f"{title}, input and output together, by endpoint, {span.words}, UTC."
    series = stacked(counts, str, span.slots, f"other {MANY['endpoint']}")
    return charts.bars("tokens", title, words, [span.label(slot) for slot in span.slots], series)
