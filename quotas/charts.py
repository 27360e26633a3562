"""Charts: bars as SVG for a glance, and plots that a script draws from their table.

`bars` computes the geometry, templates/_chart_bars.html only writes it down. A `Plot` is a table with colours and
links: templates/_chart_plot.html writes it, and static/gatehouse/charts.js draws what stands there, so that picture and
numbers cannot differ. Both carry their numbers as a table. Colours are names of the classes gh-fill-*.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 470, 190
LEFT, RIGHT, TOP, BOTTOM = 44.0, 462.0, 10.0, 168.0
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MAX_TICKS = 6  # labels below the axis
BAR_SHARE = 0.7  # of its slot


@dataclass(frozen=True)
class Series:
    """One line or one colour of the bars: a value (or None) for each label."""

    label: str
    colour: str
    values: Sequence[float | None]
    total: str = ""  # shown in the legend


@dataclass(frozen=True)
class Chart:
    """What a template needs to draw one chart. Coordinates are text, so that no locale touches them."""

    ident: str
    title: str
    description: str
    width: int = WIDTH
    height: int = HEIGHT
    grid: list[dict[str, str]] = field(default_factory=list)
    ticks: list[dict[str, str]] = field(default_factory=list)
    bars: list[dict[str, str]] = field(default_factory=list)
    legend: list[dict[str, str]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Slot:
    """One interval of a plot: its words, its address (empty: nothing smaller to look at), and one cell per series."""

    label: str
    url: str
    cells: list[dict[str, str]]  # value for the script, text for people


@dataclass(frozen=True)
class Plot:
    """What `_chart_plot.html` needs. `kind` is bars (stacked) or lines; `unit` is "" or what stands behind a number."""

    ident: str
    title: str
    description: str
    kind: str
    unit: str
    first: str
    series: Sequence[Series]
    slots: Sequence[Slot]


def plot(
    ident: str,
    title: str,
    description: str,
    labels: Sequence[tuple[str, str]],
    series: Sequence[Series],
    *,
    kind: str = "bars",
    unit: str = "",
    first: str = "Start",
) -> Plot:
    """Return a plot; `labels` are (words, address) of each interval, `unit` s, % or nothing (a count)."""
    slots = [
        Slot(label, url, [_cell(one.values[index], unit) for one in series])
        for index, (label, url) in enumerate(labels)
    ]
    return Plot(ident, title, description, kind, unit, first, series, slots)


def _cell(value: float | None, unit: str) -> dict[str, str]:
    if value is None:
        return {"value": "", "text": "–"}
    if not unit:
        return {"value": f"{value:.0f}", "text": f"{value:,.0f}"}
    return {"value": f"{value:.6g}", "text": f"{value:.2f} {unit}"}


def scale(highest: float) -> tuple[float, int]:
    """Return (step, number of steps) of an axis from 0 that holds `highest`: 2 to 5 steps of 1, 2, 2.5 or 5 × 10^n."""
    if highest <= 0 or not math.isfinite(highest):
        return 0.25, 4
    rough = highest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(one for one in STEPS if one * power >= rough * (1 - 1e-9))
    return step, max(1, math.ceil(highest / step - 1e-9))


def compact(value: float) -> str:
    """Return a count in few characters: 950, 1.5k, 20k, 2.5M, 3G."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def bars(
    ident: str, title: str, description: str, labels: Sequence[str], series: Sequence[Series], *, first: str = "Start"
) -> Chart:
    """Return a chart of stacked bars, one per label; counts are shown with thousands separators."""
    sums = [sum(one.values[index] or 0 for one in series) for index in range(len(labels))]
    step, steps = scale(max(sums, default=0))
    rects: list[dict[str, str]] = []
    slot = (RIGHT - LEFT) / max(len(labels), 1)
    for index, label in enumerate(labels):
        below = 0.0
        for one in series:
            value = one.values[index] or 0
            if value <= 0:
                continue
            top, base = _y(below + value, step * steps), _y(below, step * steps)
            below += value
            height = max(base - top - 0.6, 0.6)  # a hair of ground keeps two colours apart
            rects.append(
                {
                    "x": _n(LEFT + slot * (index + (1 - BAR_SHARE) / 2)),
                    "y": _n(base - height),
                    "width": _n(slot * BAR_SHARE),
                    "height": _n(height),
                    "colour": one.colour,
                    "title": f"{label}: {one.label} {value:,.0f}",
                }
            )
    centres = [LEFT + slot * (index + 0.5) for index in range(len(labels))]
    return Chart(
        ident,
        title,
        description,
        grid=_grid(step, steps, compact),
        ticks=_ticks(labels, centres),
        bars=rects,
        legend=_legend(series),
        columns=[first, *(one.label for one in series)],
        rows=_rows(labels, series, lambda value: f"{value:,.0f}"),
    )


def _y(value: float, top: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * value / top


def _n(value: float) -> str:
    return f"{value:.1f}"


def _grid(step: float, steps: int, text: Callable[[float], str]) -> list[dict[str, str]]:
    levels = [(step * index, _y(index, steps)) for index in range(steps + 1)]
    return [{"y": _n(y), "text_y": _n(y + 3.5), "label": text(round(value, 9))} for value, y in levels]


def _ticks(labels: Sequence[str], places: Sequence[float]) -> list[dict[str, str]]:
    every = max(1, math.ceil(len(labels) / MAX_TICKS))
    ticks = []
    for index in range(0, len(labels), every):
        anchor = "end" if places[index] > RIGHT - 12 else "start" if places[index] < LEFT + 6 else "middle"
        ticks.append({"x": _n(places[index]), "label": labels[index], "anchor": anchor})
    return ticks


def _legend(series: Sequence[Series]) -> list[dict[str, str]]:
    return [{"label": one.label, "colour": one.colour, "total": one.total} for one in series]


def _rows(labels: Sequence[str], series: Sequence[Series], text: Callable[[float], str]) -> list[list[str]]:
    return [
        [label, *("–" if (value := one.values[index]) is None else text(value) for one in series)]
        for index, label in enumerate(labels)
    ]
