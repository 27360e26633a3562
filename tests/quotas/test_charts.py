"""Geometry of the charts, their tables, and the library that draws them."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas import charts
from quotas.charts import BOTTOM, LEFT, RIGHT, TOP, Series
from tools import vendor_static


@pytest.mark.parametrize(
    ("highest", "step", "steps"),
    [
        (0, 0.25, 4),
        (4, 1, 4),
        (5, 2, 3),
        (7, 2, 4),
        (10, 2.5, 4),
        (2_213_000, 1_000_000, 3),
        (0.49, 0.2, 3),
        (1, 0.25, 4),
    ],
)
def test_scale_takes_round_steps(highest, step, steps):
    found = charts.scale(highest)
    assert found[0] == pytest.approx(step)
    assert found[1] == steps


@given(st.floats(min_value=1e-6, max_value=1e15))
def test_scale_holds_the_highest_with_few_lines(highest):
    step, steps = charts.scale(highest)
    assert step * steps >= highest * (1 - 1e-6)
    assert 2 <= steps <= 5


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (1500, "1.5k"), (20_000, "20k"), (2.5e6, "2.5M"), (3e9, "3G"), (4e12, "4T")],
)
def test_compact_is_short(value, text):
    assert charts.compact(value) == text


def test_bars_stand_on_each_other():
    chart = charts.bars(
        "t", "Tokens", "Tokens by day.", ["Mon", "Tue"], [Series("a", "blue", [3, 0], "3"), Series("b", "teal", [1, 2])]
    )
    first, second, third = chart.bars
    assert [bar["colour"] for bar in chart.bars] == ["blue", "teal", "teal"]
    assert first["x"] == second["x"] != third["x"]
    assert float(second["y"]) + float(second["height"]) <= float(first["y"])
    assert float(first["y"]) + float(first["height"]) == BOTTOM
    assert float(second["y"]) == pytest.approx(TOP + 0.6, abs=0.11)  # 4 is the top of the axis
    assert second["title"] == "Mon: b 1"
    assert chart.columns == ["Start", "a", "b"]
    assert chart.rows == [["Mon", "3", "1"], ["Tue", "0", "2"]]
    assert chart.legend[0] == {"label": "a", "colour": "blue", "total": "3"}
    assert [line["label"] for line in chart.grid] == ["0", "1", "2", "3", "4"]


def test_a_plot_is_its_table():
    series = [Series("p50", "blue", [0.1234567, None]), Series("p95", "purple", [1.0, 2.5])]
    chart = charts.plot("t", "TTFT", "…", [("Mon", "?from=1"), ("Tue", "")], series, kind="lines", unit="s")
    assert [(slot.label, slot.url) for slot in chart.slots] == [("Mon", "?from=1"), ("Tue", "")]
    assert chart.slots[0].cells == [{"value": "0.123457", "text": "0.12 s"}, {"value": "1", "text": "1.00 s"}]
    assert chart.slots[1].cells[0] == {"value": "", "text": "–"}  # a gap, not a zero
    counts = charts.plot("t", "Tokens", "…", [("Mon", "")], [Series("a", "blue", [12_345_678_901])])
    assert counts.slots[0].cells == [{"value": "12345678901", "text": "12,345,678,901"}]


def test_nothing_to_draw_is_still_a_chart():
    empty = charts.bars("t", "T", "…", [], [])
    assert (empty.bars, empty.ticks, len(empty.grid)) == ([], [], 5)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=400))
def test_nothing_leaves_the_frame_and_labels_stay_few(values):
    labels = [str(number) for number in range(len(values))]
    chart = charts.bars("t", "T", "…", labels, [Series("a", "blue", values)])
    for bar in chart.bars:
        assert float(bar["x"]) >= LEFT and float(bar["x"]) + float(bar["width"]) <= RIGHT + 0.2
        assert float(bar["y"]) >= TOP - 0.1 and float(bar["y"]) + float(bar["height"]) <= BOTTOM + 0.11
    assert len(chart.bars) == sum(value > 0 for value in values)
    assert 1 <= len(chart.ticks) <= charts.MAX_TICKS


def test_the_chart_library_is_the_one_that_was_looked_at():
    for name, wanted in vendor_static.UPLOT_FILES.values():
        assert hashlib.sha256((vendor_static.TARGET / "vendor" / name).read_bytes()).hexdigest() == wanted
