"""Writing over what is damaged: whole, durable, and at any time, since whoever does it writes the same bytes."""

from __future__ import annotations

import os

from mlflowish.errors import StorageError
from mlflowish.storage.base import Buffer, Storage
from mlflowish.storage.settling import sync_folder


def put_durably(storage: Storage, path: str, data: Buffer) -> None:
    """Create or replace an object, on the disk by the policy of the storage. `Storage.put` alone need not flush."""
    storage.put(path, data)
    can = storage.capabilities
    full = storage.local_path(path) if can.local_paths and can.durable else None
    if full is None:
        return
    try:
        fd = os.open(full, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(os.path.dirname(full))
    except FileNotFoundError:  # removed by a cleaning meanwhile: nobody needs it
        return
    except OSError as error:
        raise StorageError(f"Could not flush {path} in {storage.url}: {error.strerror or error}", path=path) from error
