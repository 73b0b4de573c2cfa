"""A part of the table with any byte changed is refused or right: no wrong answer, and not the end of the program."""

from __future__ import annotations

import pytest
from golden_table import GOLDEN

from mlflowish.errors import IntegrityError
from mlflowish.tracking.table.columns import are_same
from mlflowish.tracking.table.part import part_in

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
