"""Purging: the files of a deleted version are given up for good; what it was, and what happened to it, stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlflowish.errors import StateError
from mlflowish.registry import records
from mlflowish.registry.change import Change, changed
from mlflowish.registry.names import description_text, version_number
from mlflowish.registry.records import VersionRecord
from mlflowish.registry.shelf import Reader, Shelf, names_in


def purge(name: str, version: int, *, comment: str = "", who: str | None = None, store: Any = None) -> None:
    """Give up the files of a deleted version for good: it cannot be restored, and `mf.gc` deletes what nothing else
    uses.

    Its number, its record and its history stay. StateError if the version is not deleted: delete it first, which
    refuses what is in use. To purge what was deleted long ago, see `purge_deleted` of `mf.gc`.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-purge"):
    ...     _ = mf.register_model("churn", len)
    ...     mf.registry.delete("churn", 1)
    ...     mf.registry.purge("churn", 1, comment="asked for by the customer")
    ...     [transition.action for transition in mf.registry.history("churn")]
    ['registered', 'deleted', 'purged']
    """
    number = version_number(version)

    def require_deleted(change: Change, record: VersionRecord) -> None:
        if record.deleted is None:
            raise StateError(
                f"{change.name} version {number} is not deleted, so its files are kept. Delete it first: "
                f"mf.registry.delete({change.name!r}, {number})",
                model=change.name,
                version=number,
            )

    _purge(name, number, require_deleted, comment=description_text(comment), who=who, store=store)


def purge_if_deleted_before(name: str, number: int, time_s: float, *, comment: str, store: Any) -> bool:
    """The same, if the version was deleted before that time, and is still; False if it was not, or was purged."""
    is_still = [False]

    def look(change: Change, record: VersionRecord) -> bool:
        is_still[0] = is_purgeable(record, time_s)
        return is_still[0]

    _purge(name, number, look, comment=comment, who=None, store=store)
    return is_still[0]


def deleted_before(reader: Reader, time_s: float) -> list[tuple[str, int, VersionRecord]]:
    """Versions that were deleted before that time, and not purged."""
    found = []
    for name in names_in(reader):
        shelf = Shelf(reader, name)
        found += [(name, number, record) for number, record in shelf.versions() if is_purgeable(record, time_s)]
    return found


def is_purgeable(record: VersionRecord, time_s: float) -> bool:
    """Was it deleted before that time, and not purged yet?"""
    return record.deleted is not None and not record.is_purged and record.deleted["time_s"] < time_s


def version_key(name: str, number: int) -> str:
    """Where the record of a version stands in the catalog."""
    return f"{records.VERSIONS}/{name}/{records.numbered(number)}"


def _purge(
    name: str,
    number: int,
    allows: Callable[[Change, VersionRecord], bool | None],
    *,
    comment: str,
    who: str | None,
    store: Any,
) -> None:
    def apply(change: Change) -> None:
        record = change.shelf.find_version(number)
        if record is None:
            record = change.shelf.version(number)
        if allows(change, record) is False or record.is_purged or record.deleted is None:
            return
        gone = {**record.deleted, "purged_s": change.tx.now_s}
        change.put(number, replace(record, refs=[], deleted=gone))
        change.note(number, "purged", None, None, comment)

    changed(name, apply, who=who, store=store)
