"""The FORMAT record, names that no store writes, links, leases, and what was left behind."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import partial

from mlflowish.errors import IntegrityError, NotFoundError, StateError, StorageError
from mlflowish.maintenance.aside import set_aside
from mlflowish.maintenance.checking import Check
from mlflowish.storage import LocalStorage
from mlflowish.storage.base import Storage
from mlflowish.storage.paths import RESERVED, is_path
from mlflowish.store.layout import FOLDERS, create_layout, read_layout

_HASH = "[0-9a-f]{64}"
_NAMES = re.compile(
    rf"""FORMAT | \.gitignore
    | objects/[0-9a-f]{{2}}/{_HASH}(?:\.[A-Za-z0-9_-]{{1,64}})?
    | journals/[a-z][a-z0-9-]{{0,23}}/[0-9a-f]{{32}}(?:-[0-9a-f]{{16}})?\.log
    | segments/[a-z][a-z0-9-]{{0,23}}/[0-9a-f]{{32}}\.seg
    | leases/[0-9a-f]{{32}}/[0-9]+
    | spool/[0-9a-f]{{32}}-[0-9]{{8,}}\.log
    | quarantine/[^/]+
    | tables/[a-z]+-[0-9]+/[^/]+
    | catalog/(?:HINT | floors/[0-9]{{10}} | checkpoints/[0-9]{{20}} | log/[0-9]{{10}}/[0-9]{{20}})
    | catalog/bodies/[0-9]{{20}}\.[0-9a-f]+ | catalog/segments/[0-9]{{20}}\.{_HASH}
    | {RESERVED}/.+
    """,
    re.VERBOSE,
)


def check_layout(check: Check) -> bool:
    """Is there a store that can be read? FormatVersionError if it is of a newer version."""
    check.watch.begin("format")
    storage = check.storage
    try:
        if read_layout(storage) is not None:
            return True
    except IntegrityError as error:
        why = error.message
        what = "it cannot be parsed, or is of something else"
        return check.found("format-damaged", "FORMAT", what, lambda: _renew_format(storage, why))
    if not _holds_ours(storage):
        return False
    return check.found("format-missing", "FORMAT", "it is not there", lambda: create_layout(storage))


def check_names(check: Check) -> None:
    """Files that are no part of a store, and symbolic links."""
    check.watch.begin("names")
    for path, link in _all_names(check.storage):
        check.counts["files"] += 1
        check.watch.advance()
        if link is not None:
            what = f"it leads to {link}; move the files into the store, or point to the store where they are"
            check.found("link", path, what)
        elif path.endswith("/"):
            check.found("stray", path[:-1], "it is no file: a folder or a pipe where a store has a file")
        elif not _NAMES.fullmatch(path):
            check.found("stray", path, "no store writes a file of this name")


def check_leases(check: Check) -> None:
    """Leases parse, and none is older than a day."""
    check.watch.begin("leases")
    for info in check.storage.list("leases"):
        path = info.path
        if not _NAMES.fullmatch(path):
            continue
        check.counts["leases"] += 1
        remove = partial(check.storage.delete, path)
        try:
            lease = json.loads(check.storage.get(path))
            is_right = isinstance(lease, dict) and isinstance(lease.get("nonce"), str) and "beat" in lease
        except NotFoundError:
            continue  # given back meanwhile
        except (ValueError, RecursionError):
            is_right = False
        if not is_right:
            check.found("lease-damaged", path, "it is no JSON of nonce and beat", remove)
        elif check.is_old(info.modified_s):
            check.found("lease-stale", path, "not renewed for a day", remove)


def check_remains(check: Check) -> None:
    """What was put aside, and what dead processes left in `tmp/`."""
    check.watch.begin("remains")
    for info in check.storage.list("quarantine"):
        check.counts["quarantined"] += 1
        check.found("quarantine", info.path, f"{info.size_bytes:,} bytes")
    storage = check.storage
    root = local_root(storage)
    if root is None:
        return
    for path, _, modified_s in leftovers(root):
        if check.is_old(modified_s):
            check.found("leftover", path, "older than a day", LocalStorage(root).remove_leftovers)


def local_root(storage: Storage) -> str | None:
    """The folder of a local store."""
    if not storage.capabilities.local_paths:
        return None
    path = storage.local_path("FORMAT")
    return os.path.dirname(path) if path else None


def _holds_ours(storage: Storage) -> bool:
    return any(True for folder in FOLDERS for _ in storage.list(folder))


def _renew_format(storage: Storage, why: str) -> None:
    """Only where everything else is a store's: a folder of something else is not made one."""
    if not _holds_ours(storage):
        raise StateError(f"{why} Nothing else there is a store's either.", url=storage.url)
    set_aside(storage, "FORMAT")
    create_layout(storage)


def _all_names(storage: Storage) -> Iterator[tuple[str, str | None]]:
    """Every path, and where it leads if it is a symbolic link; one that ends in `/` is no file and stands where a file
    should. Local folders are walked past the storage, which hides what it does not write."""
    root = local_root(storage)
    if root is None:
        yield from ((info.path, None) for info in storage.list(""))
        return
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in _listed(os.path.join(root, folder)):
            path = folder + entry.name
            if entry.is_symlink():
                yield path, _target(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path + "/")
                if _NAMES.fullmatch(path):
                    yield path + "/", None
            elif not entry.is_file(follow_symlinks=False):
                yield path + "/", None
            elif path.startswith(RESERVED + "/") or is_path(path):
                yield path, None
            else:
                yield path.encode(errors="backslashreplace").decode(), None


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError as error:
        return f"({error.strerror})"


def leftovers(root: str) -> Iterator[tuple[str, int, float]]:
    """Path, size and time of modification of the unfinished files of a local store; none where a link leads."""
    folder = os.path.join(root, RESERVED)
    if os.path.islink(folder):
        return
    for entry in _listed(folder):
        try:
            if entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                yield f"{RESERVED}/{entry.name}", found.st_size, found.st_mtime
        except FileNotFoundError:  # its writer has finished it
            continue


def _listed(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, nothing if it is none; StorageError if nobody may look."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"Could not list {folder}: {error.strerror}", path=folder) from error
