"""Runs as Parquet files: whole or not at all, and read by others as they are."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlflowish as mf
from mlflowish.errors import AlreadyExistsError, InvalidInputError, StorageError
from mlflowish.tracking import exporting

TIME = pa.timestamp("us", tz="UTC")


@pytest.fixture
def three(store: mf.Store) -> list[str]:
    """Ids of a run with all sorts of values, a fork of it, and a deleted one."""
    with mf.start_run("first", experiment="a", tags={"team": "blå"}) as first:
        mf.log_params({"lr": 0.1, "text": "x\ny", "db_password": "hunter2"})
        for step in range(5):
            mf.log_metrics({"loss": 1 / (step + 1), "odd": [math.nan, math.inf, -math.inf, 0.0, -0.0][step]}, step=step)
    with mf.start_run("second", experiment="b", fork_of=first, fork_step=2) as second:
        mf.log_metric("loss", 0.1, step=3)
    with mf.start_run("third", experiment="b") as third:
        mf.log_metric("loss", 0.2, step=0)
    mf.delete_run(third.run_id)
    return [first.run_id, second.run_id, third.run_id]


def test_duckdb_reads_them_as_they_are(three: list[str], tmp_path: Path) -> None:
    report = mf.export_runs(tmp_path / "out")
    assert report.rows == {"runs": 2, "tags": 1, "params": 3, "metrics": 3, "points": 11}
    ask = duckdb.connect(str(tmp_path / "memory.db"))
    points, runs = (f"'{tmp_path}/out/{name}.parquet'" for name in ("points", "runs"))
    described = {row[0]: row[1] for row in ask.execute(f"describe select * from {points}").fetchall()}
    assert described == {
        "run_id": "VARCHAR",
        "metric": "VARCHAR",
        "step": "BIGINT",
        "value": "DOUBLE",
        "time": "TIMESTAMP WITH TIME ZONE",
    }
    found = ask.execute(
        f"select name, min(value), count(*), max(step) from {points} join {runs} using (run_id) "
        "where metric = 'loss' group by name order by name"
    ).fetchall()
    assert found == [("first", 0.2, 5, 4), ("second", 0.1, 1, 3)]
    odd = ask.execute(f"select value from {points} where metric = 'odd' order by step").fetchall()
    assert [str(value) for (value,) in odd] == ["nan", "inf", "-inf", "0.0", "-0.0"]
    took = ask.execute(f"select end_time - start_time >= interval 0 second, status, user_name from {runs}").fetchone()
    assert took is not None
    assert took[:2] == (True, "FINISHED")
    ask.close()


def test_arrow_and_polars_find_plain_types(three: list[str], tmp_path: Path) -> None:
    mf.export_runs(str(tmp_path / "out"))
    for name, columns in exporting.SCHEMAS.items():
        file = pq.ParquetFile(tmp_path / "out" / f"{name}.parquet")
        assert file.schema_arrow.names == [column for column, _ in columns]
        assert set(file.schema_arrow.types) <= {pa.string(), pa.int64(), pa.float64(), pa.bool_(), TIME}
        encodings = {e for c in range(len(columns)) for e in file.metadata.row_group(0).column(c).encodings}
        assert encodings <= {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY"}
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        file.close()
    runs = pl.read_parquet(tmp_path / "out" / "runs.parquet")
    assert runs["run_id"].to_list() == three[:2]
    assert runs["forked_from"].to_list() == [None, three[0]]
    assert runs["fork_step"].to_list() == [None, 2]
    assert runs.schema["start_time"] == pl.Datetime("us", "UTC")
    assert pl.read_parquet(tmp_path / "out" / "tags.parquet").rows() == [(three[0], "team", "blå")]
    metrics = pl.read_parquet(tmp_path / "out" / "metrics.parquet").drop("time").rows()
    assert metrics[0] == (three[0], "loss", 0.2, 4)


def test_points_are_sorted_across_row_groups(store: mf.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "ROWS_A_GROUP", 64)
    for number in range(3):
        with mf.start_run(f"run {number}"):
            for step in range(99, -1, -1):
                mf.log_metrics({"b": step, "a": -step, "é": 0.5}, step=step)
    mf.export_runs(tmp_path / "out")
    file = pq.ParquetFile(tmp_path / "out" / "points.parquet")
    assert file.num_row_groups > 3
    rows = list(zip(*(file.read()[name].to_pylist() for name in ("run_id", "metric", "step")), strict=True))
    assert len(rows) == 900
    assert rows == sorted(rows)
    file.close()


def test_the_last_points_of_a_run_in_flight_are_there(store: mf.Store, tmp_path: Path) -> None:
    with mf.start_run():
        mf.log_metric("loss", 0.5, step=1)
        assert mf.export_runs(tmp_path / "out").rows["points"] == 1
    assert pl.read_parquet(tmp_path / "out" / "runs.parquet")["end_time"].to_list() == [None]


def test_runs_are_chosen_as_in_a_search(three: list[str], tmp_path: Path) -> None:
    found = mf.export_runs(tmp_path / "one", "metrics.loss < 0.15", points=False)
    assert found.rows == {"runs": 1, "tags": 0, "params": 0, "metrics": 1}
    assert not (tmp_path / "one" / "points.parquet").exists()
    assert mf.export_runs(tmp_path / "two", experiment="a").rows["runs"] == 1
    assert mf.export_runs(tmp_path / "three", experiment=["a", "b"], deleted=True).rows["runs"] == 3
    assert pl.read_parquet(tmp_path / "three" / "runs.parquet")["deleted"].to_list() == [False, False, True]
    with pytest.raises(InvalidInputError, match="at its end"):
        mf.export_runs(tmp_path / "four", "metrics.loss <")
    assert not (tmp_path / "four").exists()


def test_an_empty_store_gives_empty_tables(store: mf.Store, tmp_path: Path) -> None:
    assert mf.export_runs(tmp_path / "out").rows["runs"] == 0
    assert pl.read_parquet(tmp_path / "out" / "points.parquet").columns == ["run_id", "metric", "step", "value", "time"]


def test_secrets_stay_masked(three: list[str], tmp_path: Path) -> None:
    mf.export_runs(tmp_path / "out")
    params = {row[1]: row[2] for row in pl.read_parquet(tmp_path / "out" / "params.parquet").rows()}
    assert params["lr"] == "0.1"
    assert "hunter2" not in params["db_password"]


def test_what_is_no_text_is_told_in_text(store: mf.Store, tmp_path: Path) -> None:
    with mf.start_run():
        mf.log_param("p", "a\udc80")
    mf.export_runs(tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "params.parquet")["value"].to_list() == ["a\\udc80"]


def test_what_is_there_is_replaced_only_if_asked(three: list[str], tmp_path: Path) -> None:
    mf.export_runs(tmp_path / "out", experiment="a")
    before = (tmp_path / "out" / "runs.parquet").read_bytes()
    with pytest.raises(AlreadyExistsError, match="overwrite"):
        mf.export_runs(tmp_path / "out")
    assert (tmp_path / "out" / "runs.parquet").read_bytes() == before
    assert mf.export_runs(tmp_path / "out", overwrite=True).rows["runs"] == 2
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_a_store_takes_no_exports(store: mf.Store, folder: Path) -> None:
    mf.set_tag("a", "b")
    with pytest.raises(InvalidInputError, match="inside the store"):
        mf.export_runs(folder / "exports")


def test_the_bucket_gets_whole_files(three: list[str], moto_url, tmp_path: Path) -> None:
    url, options = moto_url
    report = mf.export_runs(f"{url}/out", **options)
    fs = mf.Store(url, **options).storage._fs()[0]
    with fs.open(f"{url}/out/points.parquet") as file:
        assert pq.read_table(file).num_rows == report.rows["points"] == 11
    with pytest.raises(AlreadyExistsError):
        mf.export_runs(f"{url}/out", **options)
    assert mf.export_runs(f"{url}/out", overwrite=True, **options).rows == report.rows


def test_other_filesystems_get_them_by_a_rename(three: list[str]) -> None:
    import fsspec

    assert mf.export_runs("memory://exports/out").rows["runs"] == 2
    assert sorted(path.rpartition("/")[2] for path in fsspec.filesystem("memory").ls("/exports/out", detail=False)) == [
        f"{name}.parquet" for name in sorted(exporting.SCHEMAS)
    ]
    fsspec.filesystem("memory").rm("/exports", recursive=True)


MANY = """
import mlflowish as mf, pathlib, sys, time
from pyarrow.parquet import ParquetWriter
from mlflowish.tracking import exporting

def write_and_stay(self, *arguments, **options):
    write(self, *arguments, **options)
    if any(path.stat().st_size > 4 for path in pathlib.Path(sys.argv[1]).glob(".points.*.partial")):
        print("in the middle", flush=True)
        time.sleep(600)

exporting.ROWS_A_GROUP = 256
write, ParquetWriter.write_table = ParquetWriter.write_table, write_and_stay
mf.export_runs(sys.argv[1], overwrite=True)
"""


@pytest.fixture
def many(store: mf.Store) -> mf.Store:
    """Of many groups of rows."""
    for _ in range(6):
        with mf.start_run():
            for step in range(60):
                mf.log_metrics({f"m{number}": 0.1 * step for number in range(40)}, step=step)
    mf.sync()
    return store


def test_one_that_is_killed_leaves_no_half_file(many: mf.Store, program, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = program(MANY, str(out))
    assert process.stdout.readline() == "in the middle\n", process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(out.glob("*.parquet"))
    left = list(out.iterdir())
    assert left
    long_ago = time.time() - 2 * 86_400
    for path in left:
        os.utime(path, (long_ago, long_ago))
    report = mf.export_runs(out)
    assert report.rows["points"] == 6 * 60 * 40
    assert len(list(out.iterdir())) == 5  # and what the killed one left is gone


def test_one_that_fails_leaves_what_was_there(many: mf.Store, run_program, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mf.export_runs(out, "metrics.m0 > 1e9")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    code = """
    import resource, signal, sys
    import mlflowish as mf
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
    try:
        mf.export_runs(sys.argv[1], overwrite=True)
    except mf.StorageError as error:
        print(error.code, "out" in str(error))
    """
    assert run_program(code, str(out)).split() == [StorageError("").code, "True"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_number_of_points(store: mf.Store, run_program, tmp_path: Path) -> None:
    for _ in range(30):
        with mf.start_run():
            for step in range(5_000):
                mf.log_metrics({f"m{number}": 0.1 * step for number in range(20)}, step=step)
    mf.sync()
    code = """
    import resource, sys
    import mlflowish as mf
    mf.export_runs(sys.argv[1], "metrics.m0 > 1e9")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert mf.export_runs(sys.argv[2]).rows["points"] == 3_000_000
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    assert int(run_program(code, str(tmp_path / "none"), str(tmp_path / "all"))) < 200_000
