"""Charts as SVG: the geometry is computed here, templates/_chart_bars.html and _chart_lines.html only write it down.

Every chart carries its numbers as a table, too. Colours are names of the classes gh-fill-* and gh-stroke-*.
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
    lines: list[dict[str, str]] = field(default_factory=list)
    dots: list[dict[str, str]] = field(default_factory=list)
    legend: list[dict[str, str]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


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


def lines(
    ident: str, title: str, description: str, labels: Sequence[str], series: Sequence[Series], *, first: str = "Start"
) -> Chart:
    """Return a chart of lines; where a value is missing the line has a gap, and a value alone is a dot."""
    known = [value for one in series for value in one.values if value is not None]
    step, steps = scale(max(known, default=0))
    width = (RIGHT - LEFT) / max(len(labels) - 1, 1)
    places = [LEFT + width * index for index in range(len(labels))] if len(labels) > 1 else [(LEFT + RIGHT) / 2]
    drawn: list[dict[str, str]] = []
    dots: list[dict[str, str]] = []
    for one in series:
        for run in _runs(one.values):
            points = [(_n(places[index]), _n(_y(value, step * steps))) for index, value in run]
            if len(points) == 1:
                dots.append({"x": points[0][0], "y": points[0][1], "colour": one.colour})
            else:
                drawn.append({"points": " ".join(f"{x},{y}" for x, y in points), "colour": one.colour})
    return Chart(
        ident,
        title,
        description,
        grid=_grid(step, steps, lambda value: f"{value:g}"),
        ticks=_ticks(labels, places),
        lines=drawn,
        dots=dots,
        legend=_legend(series),
        columns=[first, *(one.label for one in series)],
        rows=_rows(labels, series, lambda value: f"{value:.3g}"),
    )


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the stretches of `values` without a gap, as (index, value)."""
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(values):
        if value is not None:
            runs[-1].append((index, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


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
