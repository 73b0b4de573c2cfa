"""docs/format-tracking.md against the code, and bytes that an earlier release wrote."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest
from golden_run import GOLDEN, RUN, T, records, spool_bytes

import mlflowish as mf
from mlflowish.errors import IntegrityError
from mlflowish.tracking import spool
from mlflowish.tracking.folding import EVENT_KINDS, fold
from mlflowish.tracking.points import metric_history
from mlflowish.tracking.records import (
    KINDS,
    VERSION,
    Batch,
    Chunk,
    Column,
    Event,
    Last,
    pack_batch,
    pack_chunk,
    part_key,
    unpack_batch,
    unpack_chunk,
)

PAGE = (Path(__file__).parents[2] / "docs" / "format-tracking.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]


def test_the_page_names_the_versions_that_are_written() -> None:
    assert PAGE.startswith(f"# Format of runs, version {VERSION}\n")
    assert spool.VERSION == VERSION


def test_the_header_is_that_of_the_page() -> None:
    listed = [row for row in rows("The spool") if row[0].isdigit() and len(row) == 3]
    offsets, sizes = [int(row[0]) for row in listed], [int(row[1]) for row in listed]
    assert offsets == [sum(sizes[:i]) for i in range(len(sizes))]
    assert (sum(sizes), spool.HEADER_BYTES) == (spool.HEADER.size, 64)
    magic = re.search(r"magic: `([0-9a-f ]+)`", PAGE)
    assert magic is not None
    assert bytes.fromhex(magic[1]) == spool.MAGIC


def test_the_kinds_of_spooled_records_are_those_of_the_page() -> None:
    listed = {row[1].split(":")[0]: int(row[0]) for row in rows("The spool") if row[0].isdigit() and len(row) == 2}
    assert listed == {
        "series": spool.SERIES,
        "event": spool.EVENT,
        "console": spool.LINE,
        "call of a step": spool.CALL,
        "open": spool.OPEN,
    }


def test_the_kinds_of_events_and_journals_are_those_of_the_page() -> None:
    assert {row[0].strip("`") for row in rows("Events") if row[0].startswith("`")} == set(EVENT_KINDS)
    assert {row[0].strip("`") for row in rows("Records") if row[0].startswith("`")} == set(KINDS)


def test_the_golden_spool_file_is_what_is_written_today() -> None:
    assert (GOLDEN / "spool-1.log").read_bytes() == spool_bytes()


def test_moving_the_golden_spool_file_makes_the_golden_records() -> None:
    assert records((GOLDEN / "spool-1.log").read_bytes()) == json.loads((GOLDEN / "records-1.json").read_text())


def test_the_golden_records_are_read(tmp_path: Path) -> None:
    store = mf.Store(tmp_path)
    store.create()
    for record in json.loads((GOLDEN / "records-1.json").read_text()):
        store.journals(record["kind"]).append(bytes.fromhex(record["key"]), bytes.fromhex(record["payload"]))
    run = mf.get_run(RUN.hex(), store=store)
    assert (run.name, run.experiment, run.params) == ("golden", "e", {"lr": "0.1"})
    assert run.metrics == {"loss": -math.inf}
    assert run.console == "hello\n"
    assert [call["step"] for call in run.calls] == ["lib.f"]
    store.close()


def test_a_golden_spool_file_in_a_store_is_read_where_it_lies(tmp_path: Path) -> None:
    store = mf.Store(tmp_path)
    store.create()
    (tmp_path / "spool").mkdir()
    shutil.copy(GOLDEN / "spool-1.log", tmp_path / "spool" / f"{(b'w' * 16).hex()}-00000003.log")
    assert mf.get_run(RUN.hex(), store=store).params == {"lr": "0.1"}


def test_parts_have_keys_of_their_own() -> None:
    assert part_key("metrics", RUN, 0).hex() == "6c8f6747211cef2cc74fa052916ec743"


def test_records_survive_the_round_trip() -> None:
    batch = Batch(b"w" * 16, 7, (Event("tags", T, {"values": {"a": None}}),), {"x": Last(1, T, 0.5)})
    assert unpack_batch(pack_batch(batch)) == batch
    column = Column()
    column.steps.extend([1, 2]), column.times_us.extend([T, T]), column.values.extend([0.5, 1.5])
    chunk = Chunk(b"w" * 16, 7, {"x": column, "y": column})
    assert unpack_chunk(pack_chunk(chunk)) == chunk
    assert unpack_chunk(pack_chunk(chunk), "y").columns == {"y": column}


# The last two are batches with a map, and with an infinite step, where a last point belongs.
@pytest.mark.parametrize(
    "payload",
    [
        *[b"", b"\xc1", b"\x91\x01", b"\x93\x01\x01\x01", b"\x81\x01\x02", b"x" * 50],
        b"\x95\x01\xc4\x01w\x00\x90\x81\xa1a\x81\xa1a\x01",
        b"\x95\x01\xc4\x01w\x00\x90\x81\xa1a\x93\xca\x7f\x80\x00\x00\x01\xca\x00\x00\x00\x00",
    ],
)
def test_what_is_no_record_of_a_run_is_a_clear_error(payload: bytes) -> None:
    for unpack in (unpack_batch, unpack_chunk):
        with pytest.raises(IntegrityError, match="cannot be parsed"):
            unpack(payload)


def test_batches_fold_to_the_same_run_in_any_order_and_number() -> None:
    start = Batch(b"a" * 16, 0, (Event("start", T, {"name": "n", "experiment": "e"}),))
    first = Batch(b"a" * 16, 1, (Event("params", T + 1, {"values": {"p": "1"}}),), {"x": Last(1, T, 1.0)})
    other = Batch(b"b" * 16, 0, (Event("params", T + 2, {"values": {"p": "2"}}),), {"x": Last(1, T, math.nan)})
    expected = fold(RUN, [start, first, other])
    assert expected is not None
    assert (expected.params, expected.metrics["x"].value) == ({"p": "1"}, 1.0)
    assert fold(RUN, [other, first, start, other, first]) == expected


HOSTILE = [
    (spool.EVENT, ("no run", "start", T, {})),
    (spool.EVENT, (RUN,)),
    (spool.EVENT, (RUN, "params", "when", {})),
    (spool.EVENT, (RUN, "params", T, 7)),
    (spool.EVENT, ([1], "params", T, {})),
    (spool.SERIES, (RUN, "x", 0, "name")),
    (spool.SERIES, (RUN, 0, [], "name")),
    (spool.LINE, ()),
    (99, (RUN, 1)),
]


@pytest.mark.parametrize("record", HOSTILE, ids=repr)
def test_a_spooled_record_that_makes_no_sense_is_passed_over(record: tuple[int, tuple[object, ...]]) -> None:
    header = spool.new_header(b"w" * 16, 0, b"m" * 16)
    good = spool.pack_record(header.check_start, spool.EVENT, (RUN, "start", T, {"name": "n"}))
    read = spool.Spooled("hostile")
    read.feed(header.packed() + spool.pack_record(header.check_start, *record) + good)
    batch = read.batch(RUN)
    assert batch is not None
    assert [event.kind for event in batch.events] == ["start"]
    assert [kind for kind, _, _ in read.records()] == ["runs"]


NONSENSE = [
    Event("artifact", T, {"path": "a", "ref": ("no name", 3)}),
    Event("artifact", T, {}),
    Event("model", T, {"name": "m", "manifest": 7}),
    Event("params", T, {"values": 3}),
    Event("tags", T, {"values": [1]}),
    Event("session", T, {"session": b"s", "process": {"pid": "x"}}),
    Event("session", T, {"session": []}),
    Event("end", T, {}),
    Event("fact", T, {"values": {"refs": [("x", 1)]}}),
    Event("start", T, {"name": "n", "forked_from": 3}),
    Event("from the future", T, {"x": 1}),
]


@pytest.mark.parametrize("event", NONSENSE, ids=repr)
def test_an_event_that_makes_no_sense_is_passed_over(event: Event) -> None:
    start = Event("start", T - 1, {"name": "n", "experiment": "e"})
    run = fold(RUN, [Batch(b"w" * 16, 0, (start, event))])
    assert run is not None
    assert (run.name, run.params, run.artifacts, run.refs) == ("n", {}, (), ())


def test_a_series_in_many_records_is_whole(tmp_path: Path) -> None:
    store = mf.Store(tmp_path)
    with mf.start_run(store=store) as run:
        for number in range(140):  # more than two parts of 64
            mf.log_metric("x", number, step=number)
            run._writer.seal()
            run._writer.mover.move()
    assert metric_history(store, run.run_id, "x")["step"].to_pylist() == list(range(140))
    store.close()
