"""docs/format-runtable.md against the code, and a table that an earlier release wrote."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import pytest
from golden_table import GOLDEN

import mlflowish as mf
from mlflowish.tracking import table
from mlflowish.tracking.records import RUNS
from mlflowish.tracking.table import keeping, manifest, part
from mlflowish.tracking.table.building import columns_of
from mlflowish.tracking.table.columns import ATTRIBUTES, DATASET, IS_DELETED, IS_NO_RUN, OPEN, are_same
from mlflowish.tracking.table.coverage import Indexes, gaps
from mlflowish.tracking.table.keeping import keeper_of

PAGE = (Path(__file__).parents[2] / "docs" / "format-runtable.md").read_text(encoding="utf-8")


@pytest.fixture
def golden(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "FOLDED_RUNS", 1)
    monkeypatch.setattr(keeping, "FOLDED_RUNS", 1)
    shutil.copytree(GOLDEN, tmp_path / "s")
    with mf.Store(tmp_path / "s") as store:
        yield store
    store.close()


def test_the_columns_are_those_of_the_page():
    section = PAGE.split("## Parts\n", 1)[1]
    listed = re.findall(r"^\| `(\w+)` \| ([\w\[\]]+) \|", section, re.MULTILINE)
    assert listed == [(name, str(kind)) for name, kind in part.COLUMNS]


def test_the_page_names_the_version_and_what_is_in_texts_and_flags():
    assert PAGE.startswith(f"# Format of the table of runs, version {manifest.VERSION}\n")
    assert f"`{manifest.FOLDER}/`" in PAGE
    for name in (*ATTRIBUTES, *DATASET, OPEN):
        assert f"`{name}`" in PAGE
    assert f"{IS_DELETED} deleted; {IS_NO_RUN} no run" in PAGE


def test_a_table_of_an_earlier_release_is_read_and_says_what_the_records_say(golden):
    stored = keeper_of(golden).stored()
    segments = golden.journals(RUNS).holdings().segments
    assert not len(gaps(stored, segments, Indexes()).keys)
    [rows] = stored.rows
    assert (stored.number, rows.part.records.tolist(), rows.part.flags.tolist()) == (1, [1, 2, 1], [2, 1, 0])
    assert are_same(rows.part.columns(), columns_of(rows.part.ids, segments))


def test_a_search_of_it_changes_nothing_and_finds_what_is_there(golden):
    before = {info.path for info in golden.storage.list("tables")}
    found = mf.search_runs(deleted=True, order_by="experiment")
    assert [(run.name, run.status, run.params) for run in found] == [
        ("two", "RUNNING", {}),
        ("renamed", "FINISHED", {"lr": "0.1", "ünï": "\ud800"}),
    ]
    assert found.column("metrics.loss")[0] == 0.125
    assert math.isnan(found.column("metrics.loss")[1])
    assert [run.name for run in mf.search_runs("datasets.context = 'training' and metrics.`system/cpu` = 0.5")] == [
        "renamed"
    ]
    assert {info.path for info in golden.storage.list("tables")} == before
    assert mf.fsck(golden).findings == ()


def test_what_a_later_version_writes_is_left_alone(golden):
    later = "tables/runs-2/0000000000000009-" + "ab" * 16 + ".map"
    golden.storage.put(later, b"?")
    assert len(mf.search_runs(deleted=True)) == 2
    mf.gc(golden, dry_run=False, grace=0)
    assert later in {info.path for info in golden.storage.list("tables")}
    assert mf.fsck(golden).findings == ()
