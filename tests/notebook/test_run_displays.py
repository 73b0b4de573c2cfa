"""What a run shows of itself, and runs that span cells."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
from kernels import Notebook
from test_displays import assert_well_formed

import mlflowish as mf
from mlflowish.store.display import sparkline_of

Opener = Callable[[], Notebook]


def test_a_run_spans_cells_and_shows_itself(notebook: Opener) -> None:
    nb = notebook()
    nb.run("mf.start_run('<b>name</b>')\nmf.log_param('p', '<script>alert(1)</script>')")
    nb.run("print('printed here')\nfor i in range(5): mf.log_metric('loss', 1 / (i + 1), step=i)")
    shown = nb.run("run = mf.active_run()\nmf.end_run()\nrun")
    assert_well_formed(shown["text/html"])
    assert "<script" not in shown["text/html"]
    assert "<b>" not in shown["text/html"]
    assert "<polyline" in shown["text/html"]
    assert "finished" in shown["text/plain"]
    assert "printed here" in nb.run("run.console")["text/plain"]
    assert "printed here" in nb.run("run.source_text('notebook')")["text/plain"]


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0],
        [1.0, 1.0, 1.0],
        [math.nan, 1.0, math.inf, 2.0, -math.inf],
        [1e308, -1e308, 0.0],
        [5e-324, 0.0],
        [float(n % 7) for n in range(10_000)],
    ],
)
def test_a_series_is_drawn_inside_its_frame(values: list[float]) -> None:
    drawn = sparkline_of(enumerate(values))
    points = re.search(r'points="([^"]+)"', drawn)
    assert points is not None
    pairs = [tuple(map(float, pair.split(","))) for pair in points[1].split()]
    assert len(pairs) <= 130
    assert all(0 <= x <= 160 and 0 <= y <= 28 for x, y in pairs)


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, math.inf]])
def test_what_makes_no_line_is_not_drawn(values: list[float]) -> None:
    assert sparkline_of(enumerate(values)) == ""


def test_a_card_of_many_things_stays_small(tmp_path) -> None:
    store = mf.Store(tmp_path / "store")
    with mf.start_run(store=store, console=False, hardware=False) as run:
        mf.log_params({f"p{n}": "x" * 1000 for n in range(500)})
        mf.log_metrics({f"m{n}": n for n in range(500)}, step=0)
        mf.log_metrics({f"m{n}": n for n in range(500)}, step=1)
    html = run._repr_html_()
    assert_well_formed(html)
    assert "488 more metrics" in html
    store.close()
