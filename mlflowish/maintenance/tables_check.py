"""The table of runs is as `docs/format-runtable.md` says, and says what the journals say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from blake3 import blake3

from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.maintenance.aside import slabs
from mlflowish.maintenance.checking import Check
from mlflowish.tracking.records import RUNS

if TYPE_CHECKING:
    from mlflowish.journals.segment import Segment
    from mlflowish.tracking.table.manifest import Rows

_RUNS = (f"journals/{RUNS}/", f"segments/{RUNS}/", f"{RUNS}/")


def check_tables(check: Check) -> None:
    """Files have the hash of their names; what rows say is folded once more. Without numpy there is no table."""
    if find_spec("numpy") is None:
        return
    from mlflowish.tracking.table import manifest

    check.watch.begin("tables")
    if check.was_repaired(*_RUNS):
        manifest.drop(check.storage)  # a repair may have taken records away
    for info in list(check.storage.list(manifest.FOLDER)):
        path, hasher = info.path, blake3()
        check.counts["table_files"] += 1
        check.watch.advance()
        try:
            for slab in slabs(check.storage, path):
                hasher.update(slab)
        except NotFoundError:
            continue  # replaced meanwhile
        if manifest.name_of(path).rpartition("-")[2] != hasher.hexdigest(16):
            what = "its bytes have another hash than its name says"
            check.found("table-damaged", path, what, partial(check.storage.delete, path))
    _check_rows(check)


def _check_rows(check: Check) -> None:
    from mlflowish.tracking.table import manifest
    from mlflowish.tracking.table.coverage import Indexes, gaps
    from mlflowish.tracking.table.keeping import keeper_of

    table = keeper_of(check.store).stored()
    holdings = check.store.journals(RUNS).holdings()
    if table is None or holdings is None:
        return
    missing = gaps(table, holdings.segments, Indexes()).keys
    for rows in table.rows:
        check.watch.advance()
        told = rows.without(missing) if len(missing) else rows
        check.counts["table_rows"] += told.count
        try:
            wrong = _is_wrong(told, holdings.segments)
        except IntegrityError as error:
            check.found("table-damaged", rows.part.name, error.message, partial(check.storage.delete, rows.part.name))
            continue
        if wrong:
            what = f"it tells {told.count:,} runs otherwise than their records do"
            check.found("table-wrong", rows.part.name, what, partial(manifest.drop, check.storage))


def _is_wrong(rows: Rows, segments: Sequence[Segment]) -> bool:
    """Is anything in its rows not what the segments say?"""
    from mlflowish.tracking.table.building import columns_of
    from mlflowish.tracking.table.columns import are_same, joined

    if not rows.count:
        return False
    told = joined([rows.part.columns()], [rows.is_live])
    return not are_same(told, columns_of(told.ids, segments))
