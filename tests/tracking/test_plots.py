"""What is drawn of metrics: where lines go, where they have gaps, and that nothing leaves the frame."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pyarrow as pa
import pytest

import mlflowish as mf
from mlflowish.tracking.curves import COLUMNS, curve_of, sparktext
from mlflowish.tracking.plots import Plot, plot_of, spans_decades, svg

NAN, INF = math.nan, math.inf


def history(values, steps=None, times_us=None):
    rows = len(values)
    steps = list(range(rows)) if steps is None else steps
    times = list(range(rows)) if times_us is None else times_us
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "value": pa.array(values, pa.float64()),
            "time": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )


def numbers_in(drawing):
    """All coordinates of lines, bands and dots of a picture, and its size."""
    root = ET.fromstring(drawing)
    wide, high = (float(root.attrib[name]) for name in ("width", "height"))
    pairs = [pair.split(",") for text in re.findall(r'points="([^"]*)"', drawing) for pair in text.split()]
    return [(float(x), float(y)) for x, y in pairs], wide, high


def test_few_points_are_drawn_as_they_are_and_many_as_their_mean_and_range():
    few = curve_of("m", history([1.0, 3.0, 2.0]))
    assert [(spot.x, spot.low, spot.mean, spot.high) for spot in few.spots()] == [
        (0, 1, 1, 1), (1, 3, 3, 3), (2, 2, 2, 2)
    ]  # fmt: skip
    values = [float(n % 10) for n in range(100_000)]
    values[54_321] = 1e3
    many = curve_of("m", history(values))
    assert len(list(many.spots())) == COLUMNS
    assert {spot.low for spot in many.spots()} == {0.0}
    assert max(spot.high for spot in many.spots()) == 1e3
    assert all(4 < spot.mean < 8 for spot in many.spots())
    assert (many.points, many.last, many.axis) == (100_000, 9.0, "step")


@pytest.mark.parametrize(
    ("values", "lengths"),
    [
        ([1.0, NAN, 2.0, 3.0], [1, 2]),
        ([NAN, 1.0, INF, -INF, 2.0, NAN], [1, 1]),
        ([NAN, INF], []),
        ([], []),
        ([1.0] * 1000 + [NAN] * 1000 + [2.0] * 1000, [80, 80]),
        ([NAN if n % 2 else 1.0 for n in range(10_000)], [240]),
    ],
)
def test_where_nothing_is_a_number_the_line_has_a_gap(values, lengths):
    assert [len(stretch) for stretch in curve_of("m", history(values)).stretches] == lengths


def test_points_without_steps_stand_at_their_times_or_in_their_order():
    late = curve_of("m", history([1.0, 2.0, 3.0], [7, 7, 7], [0, 4_000_000, 5_000_000]))
    assert ([spot.x for spot in late.spots()], late.axis) == ([0, 4, 5], "seconds")
    at_once = curve_of("m", history([1.0, 2.0, 3.0], [0, 0, 0], [0, 9, 10]))
    assert ([spot.x for spot in at_once.spots()], at_once.axis) == ([0, 1, 2], "point")


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [1.0, 1.0],
        [0.0, 0.0],
        [1e308, -1e308, 0.0],
        [5e-324, 1e308],
        [1e-300, 1e-299],
        [-1.0, -2.0],
        [1e15, 1e15 + 1],
        [float(n) ** 3 for n in range(5000)],
    ],
    ids=range(9),
)
def test_whatever_the_values_everything_is_drawn_inside_the_picture(values, log):
    drawing = svg(
        plot_of("<m> & co", [curve_of("<m>", history(values)), curve_of("b" * 99, history(values[::-1]))], log=log)
    )
    pairs, wide, high = numbers_in(drawing)
    assert all(0 <= x <= wide and 0 <= y <= high for x, y in pairs)
    assert "nan" not in drawing.replace("nance", "").lower()
    assert "inf" not in drawing


def test_a_logarithmic_scale_leaves_out_what_has_no_logarithm():
    curve = curve_of("m", history([1.0, 10.0, 0.0, -5.0, 100.0, 1000.0]))
    assert not spans_decades([curve])
    pairs, _, _ = numbers_in(svg(Plot("m", (curve,), log=True)))
    assert len(pairs) == 4
    # Equal ratios are equal distances.
    assert pairs[0][1] - pairs[1][1] == pytest.approx(pairs[2][1] - pairs[3][1], abs=0.2)
    assert spans_decades([curve_of("m", history([1.0, 30.0]))])


def test_a_line_of_text_shows_the_course():
    assert sparktext(curve_of("m", history([0.0, 1.0, NAN, 7.0]))) == "▁▂ █"
    assert sparktext(curve_of("m", history([float(n) for n in range(1000)])), 8) == "▁▂▃▄▅▆▇█"
    assert sparktext(curve_of("m", history([1.0]))) == ""


@pytest.fixture
def runs(tmp_path):
    store = mf.Store(tmp_path / "store")
    found = []
    for factor in (1, 2):
        with mf.start_run(f"run-{factor}", store=store, console=False, hardware=False) as run:
            mf.log_param("factor", factor)
            for step in range(5):
                mf.log_metrics({"train/loss": factor / (step + 1), "val/loss": factor / (step + 2)}, step=step)
            mf.log_metric("score", factor)
        found.append(mf.get_run(run.run_id, store=store))
    yield found
    store.close()


def test_a_run_plots_its_metrics(runs):
    plot = runs[0].plot("train/loss", "val/loss", log=True)
    assert [curve.name for curve in plot.curves] == ["train/loss", "val/loss"]
    assert repr(plot).splitlines()[1] == "train/loss  █▄▂▁▁  0.2"
    assert "prefers-color-scheme:dark" in plot.to_svg()
    ET.fromstring(plot.to_svg())
    assert [curve.name for curve in runs[0].plot().curves] == ["train/loss", "val/loss"]
    with pytest.raises(mf.NotFoundError, match="has no metric 'los'; it has "):
        runs[0].plot("los")


def test_the_card_of_a_run_has_plots_with_training_and_validation_on_one(runs):
    html = runs[0]._repr_html_()
    assert re.findall(r'class="mlf-plot".*?aria-label="([^"]*)"', html) == ["loss"]


def test_compared_runs_are_drawn_over_each_other(runs):
    compared = mf.compare_runs(runs)
    assert [curve.name for curve in compared.plot("val/loss").curves] == ["run-1", "run-2"]
    assert re.findall(r'class="mlf-plot".*?aria-label="([^"]*)"', compared._repr_html_()) == ["train/loss", "val/loss"]


def test_a_table_shows_series_as_lines():
    html = mf.Table(("name", "loss"), [("a", [3.0, 2.0, 1.0]), ("b", ["x", "y", "z"])])._repr_html_()
    assert html.count("<polyline") == 1
