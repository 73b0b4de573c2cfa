"""Files and folders as values: identified by content, kept in the store, put back where they were.

`File` and `Dir` are handles: nothing is read until a digest or the content is asked for. What is known of contents
without reading is in `contents.py` for local files, in `distant.py` for those far away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from blake3 import blake3

from mlflowish.codecs.base import Buffer
from mlflowish.errors import CapabilityError, InvalidInputError, StorageError
from mlflowish.store.contents import DIGEST_BYTES, SLAB_BYTES, local_digest, raise_missing, require_file


class File:
    """A file as an argument or result of a step: its content is what counts, not its name or dates.

    `File("data.csv")` or any fsspec URL (`File("s3://bucket/data.csv", **storage_options)`). It is an `os.PathLike`,
    so `pandas.read_csv(file)` and `open(file)` take it: one that is far away is copied to this machine first, once
    for each content. As a step's result its bytes go into the store, and a hit puts them back at the path when they
    are missing or different there.

    NotFoundError if there is no such file when the content is needed; InvalidInputError if it is a folder.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> _ = Path("a.txt").write_text("same"), Path("b.txt").write_text("same")
    >>> mf.File("a.txt").digest == mf.File("b.txt").digest
    True
    """

    __slots__ = ("__weakref__", "_content", "_options", "path", "recorded")

    def __init__(self, path: str | os.PathLike[str], **storage_options: Any) -> None:
        self.path = _checked_path(path, "File")
        self._options = storage_options
        self._content: bytes | None = None  # of a remote file, when it was identified last
        self.recorded: bytes | None = None  # the digest under which a step's result was stored, or put back

    @property
    def is_local(self) -> bool:
        """Does the path name a file of this machine?"""
        return "://" not in self.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.replace(os.sep, "/").rstrip("/").rpartition("/")[2]

    @property
    def storage_options(self) -> dict[str, Any]:
        """What it was made with, for fsspec: may hold secrets."""
        return self._options

    @property
    def digest(self) -> str:
        """BLAKE3-128 of the content, as 32 hex digits."""
        return self.content_digest().hex()

    def content_digest(self) -> bytes:
        """BLAKE3-128 of the content; reads the file once, unless it is known and unchanged.

        Of a remote file its server is asked first: see `mlflowish.store.distant`.
        """
        if self.is_local:
            return local_digest(self.path)
        from mlflowish.store import distant

        self._content = distant.content_of(self.path, self._options)
        return self._content[:DIGEST_BYTES]

    def __mlf_digest__(self) -> bytes:
        return b"file" + self.content_digest()

    def local(self) -> str:
        """A path on this machine with the content: the file's own, or that of a verified copy in the cache, not to be
        written to. A file that a step was called with is as it was then, or StorageError is raised.

        >>> import mlflowish as mf
        >>> from pathlib import Path
        >>> _ = Path("here.txt").write_text("same")
        >>> mf.File("here.txt").local()
        'here.txt'
        """
        if self.is_local:
            return self.path
        from mlflowish.store import distant

        return distant.copy_of(self.path, self._options, self._content)

    def __fspath__(self) -> str:
        return self.local()

    def open(self, mode: str = "rb") -> Any:
        """The opened file, for reading; a remote one is not copied for it."""
        if not set(mode) <= set("rbt"):
            raise InvalidInputError(f"File.open reads; mode {mode!r} would write", mode=mode)
        if self.is_local:
            require_file(self.path)
        if (here := self._here()) is not None:
            return open(here, mode, encoding=None if "b" in mode else "utf-8")
        from mlflowish.store import distant

        return distant.open_far(self.path, mode, self._options)

    def _here(self) -> str | None:
        """The file, or the copy of a remote one with the content by which it was identified, if there is one."""
        if self.is_local or self._content is None:
            return self.path if self.is_local else None
        from mlflowish.store import copies

        return copies.path_of(self._content, name=self.name)

    def read_bytes(self) -> bytes:
        """The whole content."""
        with self.open("rb") as stream:
            return bytes(stream.read())

    def read_text(self) -> str:
        """The whole content, as UTF-8."""
        return self.read_bytes().decode("utf-8")

    def chunks(self) -> Iterator[Buffer]:
        """The content in slabs of 4 MiB."""
        with self.open("rb") as stream:
            while slab := stream.read(SLAB_BYTES):
                yield slab

    def __repr__(self) -> str:
        return f"File({shown_path(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_file, (self.path, self._options)


class Dir:
    """A folder as an argument or result of a step: the relative paths below it and their contents are what counts.

    Files are read, links to files followed, links to folders not; empty folders count by their path. NotFoundError if
    it is not there, InvalidInputError if a pipe, socket or device is in it.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> Path("data").mkdir()
    >>> _ = Path("data/one.txt").write_text("1")
    >>> [name for name, _ in mf.Dir("data").files()]
    ['one.txt']
    """

    __slots__ = ("__weakref__", "path", "recorded")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _checked_path(path, "Dir")
        self.recorded: bytes | None = None  # as that of File
        if "://" in self.path:
            raise CapabilityError(
                f"Dir({self.path!r}): folders are local; of a remote one give the files, mf.files({self.path!r})",
                path=self.path,
            )

    def files(self) -> list[tuple[str, str]]:
        """(path relative to the folder with `/`, full path) of every file below it, sorted."""
        return self._contents()[0]

    def empty_folders(self) -> list[str]:
        """The relative path, with `/`, of every folder below it that has nothing in it, sorted."""
        return self._contents()[1]

    def _contents(self) -> tuple[list[tuple[str, str]], list[str]]:
        if not os.path.isdir(self.path):
            raise_missing(self.path, "folder")
        files, empty = [], []
        for folder, folders, names in os.walk(self.path, onerror=_raise_unreadable):
            for name in names:
                full = os.path.join(folder, name)
                files.append((self._relative(full), full))
            if not folders and not names and folder != self.path:
                empty.append(self._relative(folder))
        return sorted(files), sorted(empty)

    def _relative(self, full: str) -> str:
        return os.path.relpath(full, self.path).replace(os.sep, "/")

    @property
    def digest(self) -> str:
        """BLAKE3-128 over paths and contents, as 32 hex digits."""
        return self.content_digest().hex()

    def content_digest(self) -> bytes:
        """The same, as 16 bytes; each file is read once, unless it is known and unchanged."""
        hasher = blake3(b"mlf1.dir")
        files, empty = self._contents()
        for relative, full in files:
            hasher.update(_sized(relative) + local_digest(full))
        for relative in empty:
            hasher.update(_sized(relative + "/"))  # no file has such a name
        return bytes(hasher.digest(length=16))

    def __mlf_digest__(self) -> bytes:
        return b"dir" + self.content_digest()

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"Dir({self.path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Dir, (self.path,)


def _sized(relative: str) -> bytes:
    name = relative.encode("utf-8", "surrogateescape")
    return len(name).to_bytes(8, "little") + name


def _raise_unreadable(error: OSError) -> None:
    raise StorageError(f"Looking through {error.filename} failed: {error}", path=error.filename) from error


def shown_path(path: str) -> str:
    """The path, without what a URL may have of passwords and signatures."""
    if "://" not in path:
        return path
    from mlflowish.storage.drivers import scrubbed

    return scrubbed(path)


def _restore_file(path: str, options: dict[str, Any]) -> File:
    return File(path, **options)


def _checked_path(path: str | os.PathLike[str], kind: str) -> str:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInputError(f"{kind} takes a path as a non-empty string, found {path!r}", found=path)
    return text
