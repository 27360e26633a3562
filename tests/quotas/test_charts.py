"""Geometry of the charts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas import charts
from quotas.charts import BOTTOM, LEFT, RIGHT, TOP, Series


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


def test_lines_have_gaps_and_a_lone_value_is_a_dot():
    chart = charts.lines("t", "TTFT", "…", list("abcdef"), [Series("p50", "blue", [0.1, 0.2, None, 0.3, None, 0.4])])
    assert len(chart.lines) == 1
    assert chart.lines[0]["points"].split(" ")[0].startswith(f"{LEFT},")
    assert [dot["x"] for dot in chart.dots] == [f"{LEFT + (RIGHT - LEFT) * 0.6:.1f}", str(RIGHT)]
    assert chart.rows[2] == ["c", "–"]


def test_nothing_to_draw_is_still_a_chart():
    empty = charts.bars("t", "T", "…", [], [])
    assert (empty.bars, empty.ticks, len(empty.grid)) == ([], [], 5)
    alone = charts.lines("t", "T", "…", ["a"], [Series("p50", "blue", [None])])
    assert (alone.lines, alone.dots) == ([], [])


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=400))
def test_nothing_leaves_the_frame_and_labels_stay_few(values):
    labels = [str(number) for number in range(len(values))]
    chart = charts.bars("t", "T", "…", labels, [Series("a", "blue", values)])
    for bar in chart.bars:
        assert float(bar["x"]) >= LEFT and float(bar["x"]) + float(bar["width"]) <= RIGHT + 0.2
        assert float(bar["y"]) >= TOP - 0.1 and float(bar["y"]) + float(bar["height"]) <= BOTTOM + 0.11
    assert len(chart.bars) == sum(value > 0 for value in values)
    assert 1 <= len(chart.ticks) <= charts.MAX_TICKS
