"""What the table takes straight from a record is what folding says of it."""

from __future__ import annotations

import msgpack
import pytest
import table_worlds as worlds
from hypothesis import given, settings
from hypothesis import strategies as st

import mlflowish as mf
from mlflowish.errors import MlflowishError
from mlflowish.tracking.records import RUNS, Batch, Event, pack_batch
from mlflowish.tracking.table import building
from mlflowish.tracking.table.builder import Builder
from mlflowish.tracking.table.columns import are_same
from mlflowish.tracking.table.coverage import as_ids, as_keys
from mlflowish.tracking.table.plain import plain_run

KEY = bytes(15) + b"k"
HASH = "ab" * 32
odd = st.sampled_from([None, 0, -1, True, 2.5, "", "t", b"t", (), ("a", 1), {"a": 1}, {1: "a"}, {"a": None}])


def sometimes(strategy):
    """As it should be, mostly."""
    return st.one_of(strategy, strategy, strategy, strategy, strategy, odd)


def an_event(kind, **fields):
    body = st.fixed_dictionaries({}, optional={name: sometimes(each) for name, each in fields.items()})
    return sometimes(st.tuples(sometimes(st.just(kind)), sometimes(worlds.times), sometimes(body)))


session_ids = st.sampled_from([b"session1", b"session1", b"session1", b"session2"])
raw_events = st.one_of(
    an_event("session", session=session_ids, process=worlds.processes),
    an_event("start", name=worlds.texts, experiment=worlds.texts, user=worlds.texts, parent=worlds.texts),
    an_event("start", name=worlds.texts, forked_from=st.tuples(worlds.texts, st.integers(0, 3))),
    an_event("params", values=worlds.maps, overwrite=st.booleans()),
    an_event("tags", values=worlds.maps | st.fixed_dictionaries({"mlflow.runName": worlds.texts})),
    an_event("end", session=session_ids, status=worlds.texts, found_dead=st.booleans()),
    an_event("artifact", path=worlds.texts, ref=st.just((HASH, 1))),
    an_event("fact", name=worlds.texts, values=st.just({"refs": ((HASH, 1),)})),
    an_event("life", deleted=st.booleans()),
    an_event("purge", records=st.just({"runs": ((b"w" * 16, 0, 9),)})),
)
raw_lasts = st.dictionaries(
    worlds.names,
    sometimes(st.tuples(sometimes(st.integers(-1, 2)), sometimes(worlds.times), sometimes(worlds.numbers))),
)
raw_records = st.tuples(
    st.just(1),
    sometimes(st.just(b"w" * 16)),
    sometimes(st.integers(0, 2)),
    sometimes(st.lists(raw_events, max_size=5).map(tuple)),
    sometimes(raw_lasts),
).map(lambda fields: msgpack.packb(fields, unicode_errors="surrogatepass"))


def well_ended(name, experiment, process, params, tags, lasts):
    """A run as most are."""
    events = (
        Event("session", worlds.T, {"session": b"s", "process": process}),
        Event("start", worlds.T, {"name": name, "experiment": experiment, "user": "u"}),
        *(Event("params", worlds.T + 1, {"values": values}) for values in params),
        *(Event("tags", worlds.T + 2, {"values": values}) for values in tags),
        Event("end", worlds.T + 3, {"session": b"s", "status": "FINISHED", "reason": ""}),
    )
    return pack_batch(Batch(b"w" * 16, 0, events, lasts))


well_ended_records = st.builds(
    well_ended,
    worlds.texts,
    worlds.texts,
    worlds.processes,
    st.lists(worlds.maps, max_size=2),
    st.lists(worlds.maps, max_size=2),
    worlds.lasts,
)


def told_of(add, payloads):
    """The columns of such runs, or the error that there is."""
    builder = Builder()
    try:
        for number, payload in enumerate(payloads):
            add(builder, KEY[:-1] + bytes([number]), [payload])
        return builder.finished()
    except (MlflowishError, TypeError, ValueError) as error:
        return repr(error)


def check(payloads) -> None:
    plain, folded = told_of(building._add, payloads), told_of(building._add_folded, payloads)
    if isinstance(plain, str) or isinstance(folded, str):
        assert plain == folded
    else:
        assert are_same(plain, folded)


records = st.lists(st.one_of(well_ended_records, worlds.batches.map(pack_batch), raw_records), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(records)
def test_a_plain_run_is_what_folding_says(payloads) -> None:
    check(payloads)


@pytest.mark.nightly
@settings(max_examples=5_000, deadline=None)
@given(records)
def test_a_plain_run_is_what_folding_says_at_length(payloads) -> None:
    check(payloads)


@settings(max_examples=50, deadline=None)
@given(well_ended_records)
def test_a_run_that_ended_well_is_plain(payload) -> None:
    assert plain_run(payload) is not None


def test_what_a_program_logs_is_plain(store, tmp_path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with mf.start_run("r", experiment="e", tags={"t": "1"}) as run:
        mf.log_params({"lr": 0.1})
        mf.log_params({"depth": 3})
        mf.log_metric("loss", 0.5, step=1)
        mf.log_artifact(tmp_path / "a.txt")
    mf.sync(store)
    [payload] = store.journals(RUNS).get(bytes.fromhex(run.run_id))
    found = plain_run(payload)
    assert found is not None
    assert (found.name, found.params, found.metrics["loss"]) == ("r", {"lr": "0.1", "depth": "3"}, 0.5)


@pytest.mark.parametrize("whole", [1, 10_000], ids=["looked up", "read from front to back"])
def test_pieces_are_the_same_however_segments_are_read(store, monkeypatch, whole) -> None:
    monkeypatch.setattr(building, "READ_WHOLE", whole)
    keys = [bytes([7, number]) + bytes(14) for number in range(40)]
    for turn in range(2):
        journals = store.journals(RUNS)
        for number, key in enumerate(keys[:: turn + 1]):
            journals.append(key, well_ended(f"run {number}", "e", {"host": "h"}, [{"turn": str(turn)}], [], {}))
            if number % 2:
                journals.append(key, pack_batch(Batch(b"v" * 16, turn, (Event("life", worlds.T, {"deleted": True}),))))
        journals.seal(at_least=1)
    segments = store.journals(RUNS).holdings().segments
    assert len(segments) == 2
    wanted = as_ids(keys[5:30])
    pieces = list(building.pieces_of(wanted, segments, most=10, text_bytes=1 << 20))
    assert [key for _, ids in pieces for key in as_keys(ids)] == as_keys(wanted)
    for columns, ids in pieces:
        assert are_same(columns, building.columns_of(ids, segments))
