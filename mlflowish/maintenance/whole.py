"""`fsck`: everything that the pages of the format promise, looked at in one store."""

from __future__ import annotations

import os

from mlflowish.maintenance.catalog_check import check_catalog
from mlflowish.maintenance.checking import Check, Watch
from mlflowish.maintenance.findings import FsckReport
from mlflowish.maintenance.journals_check import check_journals
from mlflowish.maintenance.layout_check import check_layout, check_leases, check_names, check_remains
from mlflowish.maintenance.objects_check import check_objects
from mlflowish.maintenance.records_check import check_calls, check_records, check_references
from mlflowish.maintenance.tables_check import check_tables
from mlflowish.store import Store, as_store
from mlflowish.store.layout import require_store


def fsck(
    store: Store | str | os.PathLike[str] | None = None,
    *,
    repair: bool = False,
    quick: bool = False,
    watch: Watch | None = None,
) -> FsckReport:
    """Check everything in a store, and say what is wrong; with `repair`, mend what can be mended.

    Every byte is read, past seals and caches; `quick` takes sealed files, and objects of buckets, at their word. A
    repair throws nothing good away: damaged files go to `quarantine/` after what can be read of them was written anew,
    and entries whose objects are gone are forgotten, so that they are computed again. It may run beside writers, and
    again: what a living process holds is left to a later run, which the finding says. Without `repair` nothing is
    written.

    Memory grows with the number of objects (about 200 bytes each) and findings, not with their bytes or with calls.
    NotFoundError if nothing was ever stored there: a mistyped path is no sound store. FormatVersionError if the store
    is of a newer version, StorageError if its FORMAT cannot be reached.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-fsck") as store:
    ...     mf.step(len)("abc")
    3
    >>> mf.fsck(store).is_sound
    True
    """
    opened = as_store(store)
    require_store(opened.storage)
    if repair:
        opened.close()  # what this process itself holds can be mended too; it opens again by itself
    check = Check(opened, repair=repair, quick=quick, watch=watch)
    is_readable = check_layout(check)
    check.part("names", lambda: check_names(check))
    if is_readable:
        present: dict[str, int] = {}
        kinds: set[str] = set()
        check.part("objects", lambda: check_objects(check, present))
        check.part("journals", lambda: check_journals(check, kinds))
        check.part("calls", lambda: check_calls(check, present))
        for kind in sorted(kinds):
            check.part(kind, lambda kind=kind: check_records(check, kind))  # type: ignore[misc]
        check.part("tables", lambda: check_tables(check))
        check.part("catalog", lambda: check_catalog(check))
        check.part("references", lambda: check_references(check, present))
    check.part("leases", lambda: check_leases(check))
    check.part("remains", lambda: check_remains(check))
    return check.report()
