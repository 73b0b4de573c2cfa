"""The folder of a local storage: which real path a path has, giving files their names there, and errors that say where.

No path leads out of the folder: a symbolic link below it is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Literal, TypeVar

from mlflowish.errors import (
    CapabilityError,
    InvalidInputError,
    MlflowishError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from mlflowish.storage.linking import CannotLink, link_new
from mlflowish.storage.paths import RESERVED, require_path
from mlflowish.storage.settling import sync_folder

Fsync = Literal["objects", "always", "never"]
T = TypeVar("T")

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_FOLDERS_KNOWN = 4096
_JUNCTION = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)  # what Windows has beside symbolic links


class Root:
    """The folder `where`, made by the first write, and how what is created in it is flushed. `links` turns False once
    the filesystem has shown that it can create a name without replacing one in no way."""

    def __init__(self, where: str | os.PathLike[str], fsync: Fsync) -> None:
        if fsync not in ("objects", "always", "never"):
            raise InvalidInputError(f"fsync is 'objects', 'always' or 'never', found {fsync!r}", found=fsync)
        folder = os.fspath(where)
        if not isinstance(folder, str) or not folder or "\0" in folder:
            raise InvalidInputError(
                f"The root of a local storage is the path of a folder, found {where!r}", found=where
            )
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self.base = os.path.join(self.folder, "")
        self.fsync: Fsync = fsync
        self.links = True
        self._known_folders: set[str] = set()

    def full(self, path: str) -> str:
        """The real path; InvalidInputError for what cannot be a path, StorageError for one that leads elsewhere."""
        require_path(path)
        folder = path.rpartition("/")[0]
        if folder and folder not in self._known_folders:
            self.require_inside(folder)
        return self.base + path

    def require_inside(self, folder: str) -> None:
        """Every part of it is a real folder, or not there yet; the root itself may be reached through a link."""
        if len(self._known_folders) >= _MOST_FOLDERS_KNOWN:
            self._known_folders.clear()
        parts = folder.split("/")
        for part in ("/".join(parts[:count]) for count in range(1, len(parts) + 1)):
            if part in self._known_folders:
                continue
            try:
                found = os.lstat(self.base + part)
            except OSError:  # nothing is there, or whoever goes there hears why not
                return
            if stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == _JUNCTION:
                raise StorageError(
                    f"{part}/ in {self.folder} leads to {os.path.realpath(self.base + part)} through a symbolic link, "
                    "which is refused; move the files into the store, or point to the store where they are",
                    path=part,
                    url=self.folder,
                )
            if not stat.S_ISDIR(found.st_mode):
                return
            self._known_folders.add(part)

    def new_temporary(self) -> str:
        """A path in `tmp/` that nobody else has."""
        return f"{self.base}{RESERVED}/{os.getpid():x}-{os.urandom(8).hex()}"

    def link(self, temporary: str, full: str, path: str) -> bool:
        """Give a finished file its name; False if that is taken."""
        try:
            return self.in_folder(full, lambda: link_new(temporary, full))
        except CannotLink as error:
            self.links = False
            raise CapabilityError(
                f"{self.folder} lies on a filesystem that has neither hard links nor a rename that keeps what is there "
                f"({error}): {path} cannot be created safely. Put the store on another filesystem, or in a bucket.",
                path=path,
                url=self.folder,
            ) from error
        except OSError as error:
            raise self.failed("create", path, error) from error

    def in_folder(self, full: str, act: Callable[[], T]) -> T:
        """Do it; if the folder of `full` is missing make it and do it again."""
        try:
            return act()
        except FileNotFoundError:
            self._make_folder(os.path.dirname(full))
            return act()

    def _make_folder(self, folder: str) -> None:
        missing = []
        while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            try:
                os.mkdir(folder)
            except FileExistsError:
                continue
            if self.fsync != "never":
                self.sync_folder_of(folder)

    def sync_folder_of(self, full: str) -> None:
        """Make the name durable as well."""
        try:
            sync_folder(os.path.dirname(full))
        except OSError as error:
            raise self.failed("sync", os.path.relpath(full, self.folder), error) from error

    def failed(self, what: str, path: str, error: OSError) -> MlflowishError:
        """The error of ours for one of the system's."""
        where, why = f"{path} in {self.folder}", error.strerror or str(error)
        if what in ("read", "stat", "list"):
            if error.errno in ABSENT:
                return NotFoundError(f"{where} is not there", path=path, url=self.folder)
            if error.errno == errno.ELOOP:
                why = "it is a symbolic link, which no store writes"
        elif error.errno in _REFUSED:
            message = f"Could not {what} {where}: {why}. Make the folder writable for this user, or use another store."
            return ReadOnlyError(message, path=path, url=self.folder)
        hint = ". Free some space: what was there is unchanged" if error.errno in _FULL else ""
        return StorageError(f"Could not {what} {where}: {why}{hint}", path=path, url=self.folder)
