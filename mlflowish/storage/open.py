"""From a URL or a folder to the storage behind it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from mlflowish.errors import InvalidInputError, nearest
from mlflowish.storage.base import Storage
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.memory import MemoryStorage

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_storage(url: str | os.PathLike[str], **storage_options: Any) -> Storage:
    """The storage of a folder (`data/store`, `file:///data/store`), `memory://name`, `s3://bucket/prefix`, `gs://...`, `az://...`.

    Other schemes that fsspec knows are opened after a self-test, with one stated writer if they fail it.
    `storage_options` go to the backend: `fsync=` for folders, those of s3fs, gcsfs and adlfs for buckets. Nothing is
    written.
    """
    location = os.fspath(url)
    if not isinstance(location, str) or not location.strip():
        raise InvalidInputError(f"A store is the path of a folder or a URL, found {url!r}", found=url)
    match = _SCHEME.match(location)
    if match is None and "://" in location:
        from mlflowish.storage.drivers import driver_of

        driver_of(location)
    if match is None:
        return _open_local(location, storage_options)
    return _opener(match[1].lower())(location, storage_options)


def _opener(scheme: str) -> Callable[[str, dict[str, Any]], Storage]:
    if scheme in ("file", "local"):
        return lambda url, options: _open_local(_folder_of(url), options)
    if scheme == "memory":
        return _open_memory
    return _open_remote


def _open_local(folder: str, options: dict[str, Any]) -> Storage:
    _require_options(folder, options, {"fsync"})
    return LocalStorage(folder, **options)


def _open_memory(url: str, options: dict[str, Any]) -> Storage:
    _require_options(url, options, set())
    return MemoryStorage(url.partition("://")[2])


def _open_remote(url: str, options: dict[str, Any]) -> Storage:
    from mlflowish.storage.remote import FsspecStorage

    return FsspecStorage(url, **options)


def _folder_of(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        message = f"{url} names a folder of another machine ({parts.netloc}); write file:///folder"
        raise InvalidInputError(message, url=url)
    return unquote(parts.path) or "/"


def _require_options(url: str, options: dict[str, Any], known: set[str]) -> None:
    for name in options:
        if name not in known:
            takes = ", ".join(nearest(name, known)) or "none"
            raise InvalidInputError(f"{url} takes no option {name!r}; it takes: {takes}", option=name)
