"""The table of runs tells what folding tells: whatever was logged, merged, lost, damaged or killed meanwhile."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import table_worlds as worlds
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import mlflowish as mf
from mlflowish.journals import Journals
from mlflowish.tracking.folding import fold
from mlflowish.tracking.reading import read_runs
from mlflowish.tracking.records import RUNS, pack_batch
from mlflowish.tracking.search import _matching, _rank, value_of
from mlflowish.tracking.table import chosen, few, keeping, manifest, ordering
from mlflowish.tracking.table import folded as folded_ones
from mlflowish.tracking.table.builder import Builder
from mlflowish.tracking.table.few import FewRuns
from mlflowish.tracking.table.keeping import Keeper
from mlflowish.tracking.table.matching import matching
from mlflowish.tracking.table.ordering import ordered
from mlflowish.tracking.table.part import batch_of, file_of, part_in


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of four rows, built for every run that is missing."""
    monkeypatch.setattr(keeping, "PART_ROWS", 4)
    monkeypatch.setattr(keeping, "_TIERS", (1, 2, 3))
    monkeypatch.setattr(keeping, "MERGED_PARTS", 2)
    monkeypatch.setattr(keeping, "FOLDED_RUNS", 1)
    monkeypatch.setattr(few, "REMEMBERED_BYTES", few.REMEMBERED_BYTES)


ACTIONS = ["append", "close", "seal", "seal", "compact"]


class World(RuleBasedStateMachine):
    """Writers, compaction, losses and damage, beside clients that keep a table."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="run-table-"))
        self.store = mf.Store(self.folder / "s")
        self.store.create()
        self.others = [Journals(self.store.storage, RUNS) for _ in range(2)]
        self.keepers = [Keeper(self.store.storage) for _ in range(2)]
        self.few = FewRuns()
        self.turn = self.batches = 0

    def teardown(self):
        for journals in self.others:
            journals.close()
        self.store.close()
        shutil.rmtree(self.folder)

    @initialize(records=worlds.written(6, 12), action=st.sampled_from(ACTIONS))
    def begin(self, records, action):
        self.write(0, records, action)

    @rule(writer=st.integers(0, 1), records=worlds.written(1, 3), action=st.sampled_from(ACTIONS))
    def write(self, writer, records, action):
        journals = self.others[writer]
        for run_id, batch in records:
            # A spool file that was moved twice is two records: what it held first, and all that it held.
            self.batches += 1
            whole = replace(batch, number=self.batches)
            if batch.number == 0:
                journals.append(run_id, pack_batch(replace(whole, events=batch.events[:-1])))
            journals.append(run_id, pack_batch(whole))
        if action == "close":
            journals.close()
        elif action == "seal":
            journals.seal(at_least=1)
        elif action == "compact":
            journals.compact()

    # How many files there are, and in which order, differs each time: nothing may be drawn from them.
    @rule(which=st.floats(0, 1, exclude_max=True))
    def lose_a_file(self, which):
        paths = sorted(info.path for info in self.store.storage.list(manifest.FOLDER))
        if paths:
            self.store.storage.delete(paths[int(which * len(paths))])

    @rule(which=st.floats(0, 1, exclude_max=True), where=st.floats(0, 1, exclude_max=True))
    def damage_a_file(self, which, where):
        paths = sorted(info.path for info in self.store.storage.list(manifest.FOLDER))
        if paths:
            file = self.folder / "s" / paths[int(which * len(paths))]
            found = bytearray(file.read_bytes())
            found[int(len(found) * where)] ^= 0x55
            file.unlink()
            file.write_bytes(found)

    @rule(which=st.floats(0, 1, exclude_max=True))
    def lose_records(self, which):
        segments = sorted(info.path for info in self.store.storage.list(f"segments/{RUNS}"))
        if segments and self.turn % 4 == 0:
            self.store.storage.delete(segments[int(which * len(segments))])

    @rule(client=st.integers(0, 1))
    def begin_anew(self, client):
        self.keepers[client] = Keeper(self.store.storage)

    @invariant()
    def few_runs_are_those_that_folding_tells(self):
        few.REMEMBERED_BYTES = (folded_ones.REMEMBERED_BYTES, 0)[self.turn % 8 == 7]
        expected = list(read_runs(self.store, deleted=True))
        assert worlds.told(self.few.records(self.store)) == worlds.told(expected)

    @invariant()
    def every_run_is_told_of_as_it_is(self):
        self.turn += 1
        keeping.FOLDED_RUNS = (1, 3, 1000)[self.turn % 3]
        found = everything(self.store, self.keepers[self.turn % 2])
        expected = sorted(read_runs(self.store, deleted=True), key=lambda record: _rank(record, []))
        ids = [found.run_id(at) for at in range(len(found))]
        assert ids == [record.run_id for record in expected]
        assert worlds.told([found.record(at) for at in range(len(found))]) == worlds.told(expected)
        for field in worlds.ALL_FIELDS:
            assert repr(found.column(field)) == repr([value_of(record, field) for record in expected]), field
        for kind in ("metrics", "params", "tags"):
            assert found.names(kind) == sorted({name for record in expected for name in getattr(record, kind)})
        begins, ends = found.seconds()
        assert (begins, ends) == ([each.start_s for each in expected], [each.end_s for each in expected])

    @rule(
        client=st.integers(0, 1),
        wanted=worlds.filters,
        orders=worlds.orders,
        limit=st.none() | st.integers(0, 5),
        offset=st.integers(0, 3),
        experiments=st.none() | st.sets(worlds.texts, max_size=3),
        deleted=st.booleans(),
    )
    def find(self, client, wanted, orders, limit, offset, experiments, deleted):
        options = {"orders": orders, "limit": limit, "offset": offset, "deleted": deleted, "experiments": experiments}
        found = everything(self.store, self.keepers[client], wanted, **options)
        fitting = _matching(read_runs(self.store, deleted=deleted), wanted, experiments)
        expected = sorted(fitting, key=lambda record: _rank(record, orders))[offset:]
        assert [found.run_id(at) for at in range(len(found))] == [each.run_id for each in expected][:limit]


def everything(store, keeper, wanted=chosen.EVERYTHING, **options):
    page = {"experiments": None, "orders": (), "deleted": True, "limit": None, "offset": 0, **options}
    before = keeping._known.get(store)
    keeping._known[store] = keeper
    try:
        return chosen.choose(store, wanted, **page)
    finally:
        if before is not None:
            keeping._known[store] = before


def folded(records):
    return [
        record
        for number, batches in enumerate(records)
        if (record := fold(bytes(14) + bytes([number // 3, number]), batches)) is not None
    ]


searches = {
    "records": st.lists(st.lists(worlds.batches, min_size=1, max_size=2), max_size=9).map(folded),
    "wanted": worlds.filters,
    "orders": worlds.orders,
    "most": st.none() | st.integers(0, 4),
    "each": st.integers(1, 5),
}


def check_search(records, wanted, orders, most, each):
    """Filter and order of parts of `each` runs are those of the runs one by one."""
    parts = []
    for start in range(0, len(records), each):
        builder = Builder()
        for record in records[start : start + each]:
            builder.add(bytes.fromhex(record.run_id), record)
        parts.append(part_in(file_of(batch_of(builder.finished())).to_pybytes(), "memory"))
    found = [np.flatnonzero(matching(part, wanted)) for part in parts]
    expected = sorted(_matching(records, wanted, None), key=lambda record: _rank(record, orders))
    for most_looked_up in (ordering.FEW, 0):  # columns laid out; each row looked up
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ordering, "FEW", most_looked_up)
            places, rows = ordered(parts, found, orders, most)
        ids = [parts[place].ids[row : row + 1].tobytes().hex() for place, row in zip(places, rows, strict=True)]
        assert ids == [record.run_id for record in expected][:most]


@settings(max_examples=100, deadline=None)
@given(**searches)
def test_filters_and_orders_of_columns_are_those_of_runs(records, wanted, orders, most, each):
    check_search(records, wanted, orders, most, each)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(10))
def test_filters_and_orders_of_columns_are_those_of_runs_at_length(part):
    seed(numbers(part))(settings(max_examples=1_000, deadline=None)(given(**searches)(check_search)))()


def test_the_table_tells_what_folding_tells():
    run_state_machine_as_test(
        World,
        settings=settings(
            max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(15))
def test_the_table_tells_what_folding_tells_at_length(part):
    run_state_machine_as_test(
        seed(numbers(part))(type("World", (World,), {})),
        settings=settings(
            max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def numbers(part: int) -> int:
    """Where the random numbers of a part of a long test begin: on a busy machine the whole would take too long for one
    test. Where $CI is set they are the same each time, and yet not those of the other parts."""
    return part if os.environ.get("CI") else random.SystemRandom().getrandbits(60)
