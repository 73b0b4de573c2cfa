"""Points of metrics: a series is cut out of what is stored, whatever its place there and wherever it lies."""

from __future__ import annotations

import itertools
import math
from array import array
from pathlib import Path

import msgpack
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlflowish as mf
from mlflowish.errors import FormatVersionError, IntegrityError
from mlflowish.tracking import metric_history, read_points
from mlflowish.tracking.folding import fold
from mlflowish.tracking.records import (
    Batch,
    Chunk,
    Column,
    Event,
    Last,
    pack_chunk,
    series_of,
    unpack_chunk,
    unpack_series,
)
from mlflowish.tracking.writer import writer_of

WRITER = b"w" * 16
names = st.text(max_size=8) | st.sampled_from(["loss", "val/loss", "lo\udcffss", "é" * 40])


def column(steps: list[int]) -> Column:
    return Column(array("q", steps), array("q", [1000 + step for step in steps]), array("d", [s / 2 for s in steps]))


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(names, st.integers(0, 40), max_size=6), st.sampled_from([1, 1, 300, 2000]), names)
def test_a_series_that_is_cut_out_is_that_of_the_whole_chunk(sizes: dict[str, int], scale: int, other: str) -> None:
    columns = {name: column(list(range(size * scale))) for name, size in sizes.items()}
    payload = pack_chunk(Chunk(WRITER, 3, columns))
    for name in [*columns, other]:
        expected = unpack_chunk(payload, name).columns.get(name)
        found = unpack_series(payload, name)
        assert found[:2] == (WRITER, 3)
        assert (None if expected is None else series_of(expected)) == (found[2] and tuple(map(bytes, found[2])))


def test_a_series_is_found_among_very_many() -> None:
    columns = {f"a rather long name of a series, {number}": column([number]) for number in range(2000)}
    payload = pack_chunk(Chunk(WRITER, 0, columns))
    assert unpack_series(payload, "a rather long name of a series, 1999")[2] == series_of(column([1999]))


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x91\x01", b"\x93\x01\x01\x01", b"\x81\x01\x02", b"x" * 50])
def test_what_is_no_chunk_is_a_clear_error(payload: bytes) -> None:
    with pytest.raises(IntegrityError, match="cannot be parsed"):
        unpack_series(payload, "loss")


def test_a_chunk_of_other_lengths_than_it_says_is_a_clear_error() -> None:
    payload = msgpack.packb((1, WRITER, 0, [("loss", 2)], b"x" * 16, b"x" * 8, b"x" * 16))
    with pytest.raises(IntegrityError, match="other lengths"):
        unpack_series(payload, "loss")


def test_a_chunk_of_a_newer_format_is_refused() -> None:
    payload = msgpack.packb((2, WRITER, 0, [("loss", 1)], b"x" * 8, b"x" * 8, b"x" * 8))
    with pytest.raises(FormatVersionError):
        unpack_series(payload, "loss")


def test_fields_that_a_later_release_adds_are_passed_over() -> None:
    payload = msgpack.packb((1, WRITER, 0, [("loss", 1)], b"x" * 8, b"y" * 8, b"z" * 8, {"more": 1}))
    assert unpack_series(payload, "loss")[2] == (b"x" * 8, b"y" * 8, b"z" * 8)


def test_points_in_the_spool_and_in_journals_are_one_series(store: mf.Store) -> None:
    with mf.start_run() as run:
        for step in (5, 3, 4):
            mf.log_metric("x", step, step=step)
        writer_of(store).mover.move()
        for step in (1, 2):
            mf.log_metric("x", step, step=step)
        assert mf.get_run(run.run_id).metric_history("x")["step"].to_pylist() == [1, 2, 3, 4, 5]
        assert list(read_points(store, run.run_id)["x"].steps) == [5, 3, 4, 1, 2]
    assert mf.get_run(run.run_id).metric_history("x").schema == pa.schema(
        [("step", pa.int64()), ("value", pa.float64()), ("time", pa.timestamp("us", tz="UTC"))]
    )


def test_points_of_one_step_stand_in_order_of_time(store: mf.Store) -> None:
    with mf.start_run() as run:
        for value in (3.0, 1.0, 2.0):
            mf.log_metric("x", value, step=7)
            mf.log_metric("x", value, step=1)
    table = mf.get_run(run.run_id).metric_history("x")
    assert table["value"].to_pylist() == [3.0, 1.0, 2.0] * 2
    assert table["time"].to_pylist() == sorted(table["time"].to_pylist()[:3]) + sorted(table["time"].to_pylist()[3:])


def test_what_another_process_logs_is_seen_at_the_next_look(store: mf.Store, run_program) -> None:
    with mf.start_run() as run:
        mf.log_metric("x", 0.0, step=0)
    mine = mf.get_run(run.run_id)
    for step in range(1, 4):
        assert mine.metric_history("x").num_rows == step
        run_program(
            f"""
            import mlflowish as mf
            with mf.start_run(run_id="{run.run_id}"):
                mf.log_metric("x", {step}, step={step})
            """
        )
    assert mine.metric_history("x")["step"].to_pylist() == [0, 1, 2, 3]


def test_a_run_of_hundreds_of_batches_is_compacted_and_whole(tmp_path: Path) -> None:
    place = tmp_path / "store"
    store = mf.Store(place)
    with mf.start_run(store=store) as run:
        mf.log_metrics({"x": 0.0, "y": 0.0}, step=0)
        writer_of(store).mover.move()
    for opening in range(1, 41):  # as many processes would, each with a journal of its own
        other = mf.Store(place)
        with mf.start_run(run_id=run.run_id, store=other):
            for batch in range(8):
                step = opening * 8 + batch
                mf.log_metrics({"x": step, "y": -step}, step=step)
                writer_of(other).mover.move()
        other.close()
    expected = [0, *range(8, 41 * 8)]
    loose = list((place / "journals" / "metrics").glob("*.log"))
    assert len(loose) < 20  # merged by themselves, though nobody asked
    assert metric_history(mf.Store(place), run.run_id, "x")["step"].to_pylist() == expected
    store.close()
    mf.Store(place).compact()
    fresh = mf.Store(place)
    assert len(list((place / "segments" / "metrics").glob("*.seg"))) == 1
    assert not list((place / "journals" / "metrics").glob("*.log"))
    assert metric_history(fresh, run.run_id, "y")["value"].to_pylist() == [-float(step) for step in expected]
    assert len(read_points(fresh, run.run_id)["x"]) == len(expected)


@pytest.mark.parametrize("values", [(0.0, -0.0), (1.0, math.nan), (math.inf, 5.0)], ids=["zeros", "nan", "inf"])
def test_of_points_of_one_moment_the_same_is_the_last_in_any_order(
    values: tuple[float, float],
) -> None:
    batches = [Batch(bytes([number]) * 16, 0, (), {"x": Last(1, 5, value)}) for number, value in enumerate(values)]
    start = Batch(bytes(16), 9, (Event("start", 1, {"name": "a", "experiment": "e"}),))
    told = set()
    for order in itertools.permutations([*batches, start]):
        record = fold(bytes(16), order)
        assert record is not None
        told.add(repr(record.metrics["x"].value))
    for first, second in (values, values[::-1]):
        told.add(repr(Column(array("q", [1, 1]), array("q", [5, 5]), array("d", [first, second])).last().value))
    assert told == {repr(values[0])}
