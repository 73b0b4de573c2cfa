"""The FORMAT record at the root of a store: which format it is in, and its id. See docs/format.md."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from mlflowish import settings
from mlflowish.errors import FormatVersionError, IntegrityError, NotFoundError
from mlflowish.storage.base import Storage

FORMAT_VERSION = 1
FOLDERS = ("objects", "journals", "segments", "catalog")  # what is stored is in one of these
_PATH = "FORMAT"
_SPOOL = "spool"  # of a folder: runs that were logged, and are not moved yet


@dataclass(frozen=True, slots=True)
class Layout:
    """The parsed FORMAT record."""

    version: int
    store_id: str


def read_layout(storage: Storage) -> Layout | None:
    """The store's format, None if nothing was ever written there; FormatVersionError if it is newer than this version
    reads."""
    try:
        raw = storage.get(_PATH)
    except NotFoundError:
        return None
    try:
        record = json.loads(raw)
        version, store_id = int(record["version"]), str(record["id"])
        if record["name"] != "mlflowish":
            raise ValueError("the name is not mlflowish")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrityError(
            f"{storage.url}/{_PATH} is not the format record of a store ({error}). "
            "Point to another location, or restore "
            f'that file: {{"id": "...", "name": "mlflowish", "version": {FORMAT_VERSION}}}',
            url=storage.url,
        ) from error
    if version > FORMAT_VERSION:
        raise FormatVersionError(
            f"The store at {storage.url} is in format {version}; "
            f"this version of mlflowish reads up to {FORMAT_VERSION}. "
            "Upgrade: pip install -U mlflowish. Nothing was changed.",
            url=storage.url,
            found=version,
            supported=FORMAT_VERSION,
        )
    return Layout(version, store_id)


def require_store(storage: Storage) -> None:
    """NotFoundError if there is nothing of a store: whoever names a place to look at has mistyped it, or comes too
    early."""
    try:
        storage.size(_PATH)
    except NotFoundError:
        pass
    else:
        return
    if any(True for folder in (*FOLDERS, _SPOOL) for _ in storage.list(folder)):
        return
    inner = os.path.join(storage.url, settings.FOLDER)
    is_above = storage.capabilities.local_paths and os.path.isfile(os.path.join(inner, _PATH))
    hint = f"There is one at {inner}" if is_above else "Check the path; a store is made by the first write to it"
    raise NotFoundError(f"There is no store at {storage.url}: nothing was ever stored there. {hint}", url=storage.url)


def create_layout(storage: Storage) -> Layout:
    """Write the FORMAT record of a new store, or read what another writer wrote first."""
    record = {"id": os.urandom(16).hex(), "name": "mlflowish", "version": FORMAT_VERSION}
    if storage.put_if_absent(_PATH, json.dumps(record, sort_keys=True).encode() + b"\n"):
        return Layout(FORMAT_VERSION, str(record["id"]))
    layout = read_layout(storage)
    if layout is None:
        raise IntegrityError(f"{storage.url}/{_PATH} vanished just after it was written", url=storage.url)
    return layout
