"""What the usage page shows, computed from one load of the roll-ups: numbers, charts, the table by key."""

import uuid
from collections.abc import Mapping, Sequence
from typing import cast

from projects.models import ApiKey
from quotas import charts
from quotas.charts import Chart, Series
from quotas.period import Period
from quotas.usage import Row, Sums, fold

COLOURS = ("blue", "teal", "purple", "orange")
REST = "other endpoints"
PER = {"hour": "hour", "day": "day", "month": "month"}
TABLE_ROWS = 50
BAD_SHARE = 0.01  # of calls that failed, from which the number is marked


def _int(row: Row, name: str) -> int:
    return cast("int", row[name])


def tokens(row: Row) -> int:
    """Return input and output tokens of a row together."""
    return _int(row, "input_tokens") + _int(row, "output_tokens")


def percent(part: float, whole: float) -> str:
    """Return a share as words: 0.04 %."""
    return f"{100 * part / whole:.2f} %" if whole else "0 %"


def seconds(value: object) -> str:
    """Return a duration with two decimals, a dash where nothing was measured."""
    return f"{value:.2f} s" if isinstance(value, float) else "–"


def stats(rows: Sequence[Sums]) -> list[dict[str, object]]:
    """Return the strip of numbers of all `rows`."""
    folded = fold(rows, None)
    total = folded[0] if folded else {}
    if not total:
        return []
    calls, errors = _int(total, "requests"), _int(total, "errors")
    return [
        {
            "label": "Tokens",
            "value": f"{tokens(total):,}",
            "scope": f"{_int(total, 'input_tokens'):,} in, {_int(total, 'output_tokens'):,} out",
            "bad": False,
        },
        {
            "label": "Requests",
            "value": f"{calls:,}",
            "scope": f"{percent(errors, calls)} failed",
            "bad": errors > BAD_SHARE * calls,
        },
        {"label": "First token, half", "value": seconds(total["ttft_p50"]), "scope": "or faster", "bad": False},
        {"label": "First token, 95 of 100", "value": seconds(total["ttft_p95"]), "scope": "or faster", "bad": False},
        {"label": "Answer, 95 of 100", "value": seconds(total["latency_p95"]), "scope": "or faster", "bad": False},
    ]


def tokens_chart(rows: Sequence[Sums], period: Period) -> Chart:
    """Return the bars of tokens per interval, stacked by the endpoints with the most tokens.

    Endpoints carry the name of their project where `rows` are of several.
    """
    group = ("project", "endpoint") if len({row.project for row in rows}) > 1 else ("endpoint",)

    def name(row: Row) -> str:
        return "/".join(str(row[part]) for part in group)

    by_endpoint = sorted(fold(rows, None, group), key=tokens, reverse=True)
    top = [name(row) for row in by_endpoint[: len(COLOURS)]]
    counts: dict[str, dict[object, int]] = {}
    for row in fold(rows, period.interval, group):
        slots = counts.setdefault(name(row) if name(row) in top else REST, {})
        slots[row["start"]] = slots.get(row["start"], 0) + tokens(row)
    colours = dict(zip(top, COLOURS, strict=False)) | {REST: "grey"}
    series = [
        Series(label, colours[label], [counts[label].get(slot, 0) for slot in period.slots], f"{_sum(counts[label]):,}")
        for label in (*top, REST)
        if label in counts
    ]
    title = f"Tokens per {PER[period.interval]}"
    words = f"{title}, input and output together, by endpoint, {period.words}, UTC."
    return charts.bars("tokens", title, words, [period.label(slot) for slot in period.slots], series)


def _sum(counts: Mapping[object, int]) -> int:
    return sum(counts.values())


def ttft_chart(rows: Sequence[Sums], period: Period) -> Chart:
    """Return the lines of the time to first token."""
    found = {row["start"]: row for row in fold(rows, period.interval)}
    series = [
        Series(label, colour, [cast("float | None", found.get(slot, {}).get(name)) for slot in period.slots])
        for label, colour, name in (
            ("Half of the calls", "blue", "ttft_p50"),
            ("95 of 100 calls", "purple", "ttft_p95"),
        )
    ]
    words = f"Time to first token per {PER[period.interval]} in seconds, {period.words}, UTC."
    labels = [period.label(slot) for slot in period.slots]
    return charts.lines("ttft", "Time to first token, seconds", words, labels, series)


def key_facts(rows: Sequence[Sums]) -> dict[str, ApiKey]:
    """Return the keys behind `rows` by id, for their names (one query)."""
    wanted = set()
    for row in rows:
        try:
            wanted.add(uuid.UUID(row.key_id))
        except ValueError:
            continue
    return {str(key.pk): key for key in ApiKey.objects.filter(pk__in=wanted).only("name", "prefix", "purpose")}


def key_table(rows: Sequence[Sums], facts: Mapping[str, ApiKey]) -> list[dict[str, object]]:
    """Return the keys with the most tokens; the short-lived keys of the playground are one line."""
    lines: dict[str, list[Sums]] = {}
    for row in rows:
        known = facts.get(row.key_id)
        lines.setdefault("" if known and known.purpose == "playground" else row.key, []).append(row)
    everything = sum(tokens(row) for row in fold(rows, None))
    table = []
    for prefix, own in lines.items():
        total = fold(own, None)[0]
        known = facts.get(own[0].key_id)
        people = sorted({row.person for row in own})
        table.append(
            {
                "name": (known.name if known else prefix) if prefix else "Playground",
                "context": prefix or ", ".join(people[:5]),
                "endpoints": ", ".join(sorted({row.endpoint for row in own})[:3]),
                "requests": f"{_int(total, 'requests'):,}",
                "input": f"{_int(total, 'input_tokens'):,}",
                "output": f"{_int(total, 'output_tokens'):,}",
                "cached": f"{_int(total, 'cached_tokens'):,}",
                "errors": percent(_int(total, "errors"), _int(total, "requests")),
                "share": 100 * tokens(total) / everything if everything else 0.0,
                "tokens": tokens(total),
            }
        )
    table.sort(key=lambda line: cast("int", line["tokens"]), reverse=True)
    for line in table:
        line["share_label"] = f"{line['share']:.0f} % of the tokens"
    return table[:TABLE_ROWS]
