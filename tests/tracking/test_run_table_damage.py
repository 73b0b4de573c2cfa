"""A part of the table with any byte changed is refused or right: no wrong answer, and not the end of the program."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_table import GOLDEN

import mlflowish as mf
from mlflowish.errors import IntegrityError
from mlflowish.tracking.filters import Field
from mlflowish.tracking.table import chosen, keeping
from mlflowish.tracking.table.columns import are_same
from mlflowish.tracking.table.part import part_in

FIELDS = [("attribute", "run_name"), ("attribute", "status"), ("param", "lr"), ("tag", "a"), ("metric", "loss")]

[FILE] = GOLDEN.glob("tables/runs-1/*.arrow")
DATA = FILE.read_bytes()
WHOLE = part_in(DATA, "golden").columns()


def check(at: int, flip: int) -> None:
    data = bytearray(DATA)
    data[at] ^= flip
    try:
        found = part_in(bytes(data), "damaged").columns()
    except IntegrityError:
        return
    assert are_same(found, WHOLE)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_changed_byte_is_found_or_changes_nothing(flip: int) -> None:
    for at in range(flip % 5, len(DATA), 5):
        check(at, flip)


@pytest.mark.parametrize("size", range(0, len(DATA), 499))
def test_a_part_that_ends_too_early_is_refused(size: int) -> None:
    with pytest.raises(IntegrityError):
        part_in(DATA[:size], "short")


@pytest.mark.nightly
def test_every_changed_byte_is_found_or_changes_nothing() -> None:
    for at in range(len(DATA)):
        for flip in (0x01, 0x02, 0x10, 0x40, 0x80, 0xFF):
            check(at, flip)


@pytest.mark.parametrize("every", [97, pytest.param(1, marks=pytest.mark.nightly)])
def test_what_was_found_is_told_right_whatever_part_of_the_table_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    """Values are read after the search, and some of them first then."""
    monkeypatch.setattr(keeping, "FOLDED_RUNS", 1)
    with mf.Store(tmp_path / "s") as store:
        for number in range(6):
            with mf.start_run(f"run {number}", tags={"a": "b"}):
                mf.log_param("lr", str(number % 3))
                mf.log_metric("loss", number / 7)
        mf.sync(store)
        store.compact()
        expected = told(store)
        whole = {path: path.read_bytes() for path in (tmp_path / "s" / "tables").rglob("*") if path.is_file()}
        [part] = [path for path in whole if path.suffix == ".arrow"]
        for at in range(0, len(whole[part]), every):
            for path, data in whole.items():
                path.unlink(missing_ok=True)
                path.write_bytes(data if path != part else data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
            assert told(store) == expected, at


def told(store: mf.Store) -> list[object]:
    """Everything about all runs, by who knows nothing yet."""
    keeping._known[store] = keeping.Keeper(store.storage)
    options = {"experiments": None, "orders": (), "deleted": True, "limit": None, "offset": 0}
    found = chosen.choose(store, chosen.EVERYTHING, **options)
    columns = [found.column(Field(kind, key)) for kind, key in FIELDS]
    return [[found.run_id(at) for at in range(len(found))], columns, found.names("params"), found.seconds()]
