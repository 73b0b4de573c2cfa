"""One series out of very many points, beside a sorted Parquet file of them. Nothing fails here because of a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from points_world import run_id, series, write_parquet, write_store

import mlflowish as mf
from mlflowish.tracking import Run


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def median_of(function: Callable[[int], object], numbers: range) -> float:
    """The median time, each for another run: what was read once is remembered."""
    function(numbers[0])
    seconds = sorted(timed(lambda number=number: function(number)) for number in numbers[1:])
    return seconds[len(seconds) // 2]


def test_10000_points_of_one_series_out_of_100_million(figures, full: bool, tmp_path: Path) -> None:
    runs, points = (1000, 10_000) if full else (8, 100)
    store = write_store(tmp_path / "store", runs=runs, names=10, points=points, chunks=4)

    def history(number: int, name: str = "m0003") -> None:
        assert Run(store, run_id(number).hex()).metric_history(name).num_rows == points

    group = "10,000 points of one series out of 100 million"
    figures.add(group, "mlflowish", median_of(history, range(0, runs, max(runs // 50, 1))))
    figures.add(group, "mlflowish, another series of the run", timed(lambda: history(0, "m0007")))
    fresh = mf.Store(tmp_path / "store")
    first = timed(lambda: Run(fresh, run_id(1).hex()).metric_history("m0003"))
    figures.add(group, "mlflowish, the first of a store", first)
    store.close(), fresh.close()


def test_one_series_beside_a_sorted_parquet_file(figures, full: bool, tmp_path: Path) -> None:
    import duckdb
    import pyarrow.parquet as pq

    runs, points = (100, 10_000) if full else (4, 100)
    store = write_store(tmp_path / "store", runs=runs, names=10, points=points, chunks=4)
    file, connection = tmp_path / "points.parquet", duckdb.connect()
    write_parquet(file, runs=runs, names=10, points=points)
    query = f"select step, value from '{file}' where run_id = $1 and metric = $2"

    def by_duckdb(number: int) -> None:
        found = connection.execute(query, [run_id(number).hex(), "m0003"]).fetchnumpy()
        assert len(found["step"]) == points

    def by_pyarrow(number: int) -> None:
        wanted = [("run_id", "==", run_id(number).hex()), ("metric", "==", "m0003")]
        assert pq.read_table(file, columns=["step", "value"], filters=wanted).num_rows == points

    def by_us(number: int) -> None:
        assert Run(store, run_id(number).hex()).metric_history("m0003").num_rows == points

    for who, function in (("mlflowish", by_us), ("duckdb", by_duckdb), ("pyarrow", by_pyarrow)):
        figures.add("10,000 points of one series out of 10 million", who, median_of(function, range(0, runs, 2)))
    connection.close(), store.close()


@pytest.mark.parametrize("chunks", [250, 1000])
def test_a_series_of_a_run_in_very_many_batches(figures, full: bool, tmp_path: Path, chunks: int) -> None:
    runs = 20 if full else 2
    chunks = chunks if full else chunks // 25
    store = write_store(tmp_path / "store", runs=runs, names=10, points=chunks * 40, chunks=chunks)

    def history(number: int) -> None:
        assert Run(store, run_id(number).hex()).metric_history("m0003").num_rows == chunks * 40

    figures.add(f"a series of {chunks * 40:,} points in {chunks} batches", "mlflowish", median_of(history, range(runs)))
    store.close()


def test_a_million_points_and_fewer_of_them(figures, full: bool, tmp_path: Path) -> None:
    points = 1_000_000 if full else 4_000
    store = write_store(tmp_path / "store", runs=2, names=1, points=points, chunks=40)
    (name,) = series(1)

    def plotted(number: int) -> None:
        assert Run(store, run_id(number).hex()).metric_history(name, points=1000).num_rows <= 1000

    figures.add(
        "1,000,000 points of a series", "mlflowish", timed(lambda: Run(store, run_id(0).hex()).metric_history(name))
    )
    figures.add("1,000,000 points, 1,000 of them to plot", "mlflowish", median_of(plotted, range(2)))
    store.close()


def test_export_every_point(figures, full: bool, tmp_path: Path) -> None:
    runs, points = (100, 10_000) if full else (2, 100)
    store = write_store(tmp_path / "store", runs=runs, names=10, points=points, chunks=4)
    group = "export 10,000,000 points to Parquet"
    figures.add(group, "mlflowish", timed(lambda: mf.export_runs(tmp_path / "out", store=store)))
    written = timed(lambda: write_parquet(tmp_path / "points.parquet", runs=runs, names=10, points=points))
    figures.add(group, "pyarrow writes as many rows", written)
    assert (tmp_path / "out" / "points.parquet").stat().st_size > 0
    store.close()
