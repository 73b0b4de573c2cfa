"""What purges and drops mean, as records: golden bytes, and the law of what is buried."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest
from golden_run import GOLDEN, RUN, T, records, spool_bytes
from hypothesis import given
from hypothesis import strategies as st

import mlflowish as mf
from mlflowish.errors import NotFoundError
from mlflowish.tracking import metric_history, read_runs
from mlflowish.tracking.burial import NOT_SPOOLED, Names, burial_body, burials, is_buried, living, stretches
from mlflowish.tracking.folding import fold, fold_all
from mlflowish.tracking.purging import remove_buried
from mlflowish.tracking.records import CALLS, CONSOLE, POINTS, RUNS, Batch, Event, pack_batch, unpack_batch

W = b"w" * 16
START = {"name": "golden", "experiment": "e", "user": "u"}
NAMED = {RUNS: [(W, 3)], POINTS: [(W, 65)], CONSOLE: [(W, 3)], CALLS: [(W, 3)]}
GOLDEN_PURGES = {
    "purge": Batch(
        b"p" * 16,
        NOT_SPOOLED,
        (Event("purge", T + 9, burial_body(NAMED, start=START, start_us=T, deleted=True)),),
    ),
    "drop": Batch(
        b"d" * 16,
        NOT_SPOOLED,
        (Event("drop", T + 9, burial_body({POINTS: [(W, 65)], CONSOLE: [(W, 3)]}, only="system/")),),
    ),
}


@pytest.fixture
def golden(tmp_path: Path) -> mf.Store:
    store = mf.Store(tmp_path / "store")
    store.create()
    for record in records(spool_bytes()):
        store.journals(record["kind"]).append(bytes.fromhex(record["key"]), bytes.fromhex(record["payload"]))
    return store


def golden_payload(name: str) -> bytes:
    return bytes.fromhex(json.loads((GOLDEN / "purges-1.json").read_text())[name])


@pytest.mark.parametrize("name", ["purge", "drop"])
def test_the_golden_records_are_what_is_written_today(name: str) -> None:
    assert pack_batch(GOLDEN_PURGES[name]) == golden_payload(name)
    assert unpack_batch(golden_payload(name)) == GOLDEN_PURGES[name]


def test_a_golden_purge_hides_the_golden_run_and_lets_its_records_go(golden: mf.Store) -> None:
    assert metric_history(golden, RUN.hex(), "loss").num_rows == 2
    golden.journals(RUNS).append(RUN, golden_payload("purge"))
    assert RUN.hex() not in {run.run_id for run in read_runs(golden, deleted=True)}
    with pytest.raises(NotFoundError):
        mf.get_run(RUN.hex(), store=golden)
    assert remove_buried(golden, dry_run=True).records == 4
    assert remove_buried(golden).records == 4
    assert golden.journals(RUNS).get(RUN) == (golden_payload("purge"),)
    assert remove_buried(golden).records == 0
    golden.close()


def test_a_golden_drop_changes_nothing_of_the_run_but_what_it_names(golden: mf.Store) -> None:
    golden.journals(RUNS).append(RUN, golden_payload("drop"))
    run = mf.get_run(RUN.hex(), store=golden)
    assert (run.name, run.console) == ("golden", "hello\n")
    remove_buried(golden)
    assert run.metric_history("loss").num_rows == 2  # it has no series of the hardware to lose
    golden.close()


names = st.lists(st.tuples(st.sampled_from([b"a" * 16, b"b" * 16]), st.integers(0, 12)), max_size=12)


@given(names, names)
def test_stretches_name_what_they_were_made_of_and_nothing_else(named: list[tuple[bytes, int]], others) -> None:
    found = Names(stretches(named))
    assert all(name in found for name in named)
    assert all((name in found) == (name in named) for name in others)
    assert bool(found) == bool(named)


def test_a_purge_counts_only_while_it_names_everything_that_is_known() -> None:
    start = Batch(W, 3, (Event("start", T, START),))
    purge = GOLDEN_PURGES["purge"]
    late = Batch(b"l" * 16, 0, (Event("params", T + 1, {"values": {"a": "1"}}),))
    for batches in permutations([start, purge]):
        assert is_buried(batches)
        assert fold(RUN, batches) is None
        assert fold_all(RUN, batches) is not None
    for batches in permutations([start, purge, late]):
        assert not is_buried(batches)
        found = fold(RUN, batches)
        assert found is not None
        assert (found.name, found.params, found.is_deleted) == ("golden", {"a": "1"}, False)
    assert not is_buried([start, GOLDEN_PURGES["drop"]])
    assert not is_buried([start])


def test_two_purges_bury_together_what_neither_names_alone() -> None:
    first, second = Batch(W, 3, (Event("start", T, START),)), Batch(b"l" * 16, 0, (Event("end", T + 1, {}),))
    other = Batch(b"q" * 16, NOT_SPOOLED, (Event("purge", T + 11, burial_body({RUNS: [(b"l" * 16, 0)]})),))
    assert not is_buried([first, second, GOLDEN_PURGES["purge"]])
    assert is_buried([first, second, GOLDEN_PURGES["purge"], other])


NONSENSE = [{}, {"records": 7}, {"records": {"runs": [(1,)]}}, {"records": {"runs": [("w", 0, "x")]}}, {"records": []}]


@pytest.mark.parametrize("body", NONSENSE, ids=repr)
def test_a_purge_that_makes_no_sense_buries_nothing(body: dict[str, object]) -> None:
    start = Batch(W, 3, (Event("start", T, START),))
    for kind in ("purge", "drop"):
        nonsense = Batch(b"x" * 16, NOT_SPOOLED, (Event(kind, T + 1, body),))
        assert burials([nonsense]) == []
        assert living([start, nonsense]) == [start]
        found = fold(RUN, [start, nonsense])
        assert found is not None
        assert found.name == "golden"


def test_a_purge_hides_a_run_from_searches_and_what_comes_late_shows_it(golden: mf.Store) -> None:
    def found() -> list[str]:
        return [run.run_id for run in mf.search_runs("run_name = 'golden'", deleted=True, store=golden)]

    assert found() == [RUN.hex()]
    golden.compact()
    assert found() == [RUN.hex()]
    golden.journals(RUNS).append(RUN, golden_payload("purge"))
    assert found() == []
    late = Batch(b"l" * 16, 0, (Event("params", T + 1, {"values": {"a": "1"}}),))
    golden.journals(RUNS).append(RUN, pack_batch(late))
    assert found() == [RUN.hex()]
    golden.compact()
    assert found() == [RUN.hex()]
    golden.close()


if __name__ == "__main__":  # a change of these bytes is a change of the format
    payloads = {name: pack_batch(batch).hex() for name, batch in GOLDEN_PURGES.items()}
    (GOLDEN / "purges-1.json").write_text(json.dumps(payloads, indent=1) + "\n")
