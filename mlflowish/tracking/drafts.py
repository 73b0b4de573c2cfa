"""Files that appear at once and whole: written beside where they go, or on this machine, and moved there at the end."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflowish.errors import AlreadyExistsError, StorageError
from mlflowish.storage.drivers import driver_of, make_filesystem, scrubbed

_LEFT_S = 86_400.0  # unfinished files of whoever was killed
_PARTIAL = re.compile(r"\.[A-Za-z0-9_.-]+\.[0-9a-f]{16}\.partial\Z")
_FOLDER_URL = re.compile(r"(?:file|local)://")


class Drafts:
    """Files of one folder, local or at any fsspec URL. `with` it: an error leaves the folder as it was."""

    def __init__(self, target: str | os.PathLike[str], options: Mapping[str, Any]) -> None:
        location = _FOLDER_URL.sub("", os.fspath(target))
        self._drafts: dict[str, Path] = {}
        self._cleaning = contextlib.ExitStack()
        self._place: _Folder | _Remote = (
            _Remote(location, dict(options)) if "://" in location else _Folder(Path(location))
        )

    @property
    def url(self) -> str:
        """Where the files go, without secrets."""
        return self._place.url

    @property
    def folder(self) -> Path | None:
        """Where they go, if that is a folder of this machine."""
        return self._place.path if isinstance(self._place, _Folder) else None

    def require_new(self, *names: str) -> None:
        """AlreadyExistsError if there is a file of one of these names."""
        for name in names:
            if self._place.has(name):
                raise AlreadyExistsError(
                    f"{self.url} has a file {name} already; export into another folder, or pass overwrite=True "
                    "(--overwrite)",
                    path=name,
                    url=self.url,
                )

    def begin(self, name: str) -> Path:
        """The path of a local file to write what is to become `name`."""
        draft = self._drafts[name] = self._place.draft(name, self._cleaning)
        return draft

    def publish(self) -> dict[str, int]:
        """Move all of them to where they go, in the order in which they were begun; their sizes."""
        sizes = {}
        for name, draft in self._drafts.items():
            sizes[name] = draft.stat().st_size
            self._place.take(draft, name)
        return sizes

    def __enter__(self) -> Drafts:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleaning.close()


class _Folder:
    """A folder of this machine: a rename makes a file visible."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def draft(self, name: str, cleaning: contextlib.ExitStack) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        self._remove_left()
        draft = self.path / f".{name}.{os.urandom(8).hex()}.partial"
        cleaning.callback(draft.unlink, missing_ok=True)
        return draft

    def take(self, draft: Path, name: str) -> None:
        with open(draft, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, self.path / name)

    def _remove_left(self) -> None:
        for path in self.path.iterdir():
            if _PARTIAL.match(path.name) and time.time() - path.stat().st_mtime > _LEFT_S:
                path.unlink(missing_ok=True)


class _Remote:
    """A bucket: an upload is visible when it has ended. Elsewhere it gets its name then."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = scrubbed(url)
        self._options = options
        self._driver = driver_of(url)
        self._fs, self._root = make_filesystem(self._driver, url, options)

    def has(self, name: str) -> bool:
        return bool(self._told(lambda: self._fs.exists(f"{self._root}/{name}")))

    def draft(self, name: str, cleaning: contextlib.ExitStack) -> Path:
        folder = cleaning.enter_context(tempfile.TemporaryDirectory(prefix="mlflowish-export-"))
        return Path(folder) / name

    def take(self, draft: Path, name: str) -> None:
        final = f"{self._root}/{name}"
        if self._driver.is_proven:
            self._told(lambda: self._fs.put_file(str(draft), final))
            return
        partial = f"{self._root}/.{name}.{os.urandom(8).hex()}.partial"
        self._told(lambda: self._fs.makedirs(self._root, exist_ok=True))
        self._told(lambda: self._fs.put_file(str(draft), partial))
        self._told(lambda: self._fs.mv(partial, final))

    def _told(self, act: Callable[[], Any]) -> Any:
        """Do it; what drivers raise, each in words of its own, is a StorageError."""
        try:
            return act()
        except Exception as error:  # noqa: BLE001  as above
            what = scrubbed(f"{type(error).__name__}: {error}", self._options)
            cause = error if what == f"{type(error).__name__}: {error}" else None
            raise StorageError(f"Writing to {self.url} failed: {what}", path=self.url, url=self.url) from cause
