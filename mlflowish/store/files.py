"""Files and folders as values: identified by content, kept in the store, put back where they were.

`File` and `Dir` are handles: nothing is read until a digest or the content is asked for. Content digests of local
files are remembered
by (size, mtime, ctime, inode), except for files changed within the last two seconds: a change within the clock's
granularity would not show.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import msgpack
from blake3 import blake3

from mlflowish.codecs.base import Buffer, Encoded, Part, PartReader
from mlflowish.errors import (
    CapabilityError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    missing_extra,
)

_SLAB = 4 << 20
_DISTRUST_S = 2.0
_memo: dict[tuple[str, int, int, int, int], bytes] = {}


class File:
    """A file as an argument or result of a step: its content is what counts, not its name or dates.

    `File("data.csv")` or any fsspec URL (`File("s3://bucket/data.csv", **storage_options)`). It is an `os.PathLike`
    where it is local,
    so `pandas.read_csv(file)` and `open(file)` take it. As a step's result its bytes go into the store, and a hit
    puts them back at the
    path when they are missing or different there.

    NotFoundError if there is no such file when the content is needed; InvalidInputError if it is a folder.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> _ = Path("a.txt").write_text("same"), Path("b.txt").write_text("same")
    >>> mf.File("a.txt").digest == mf.File("b.txt").digest
    True
    """

    __slots__ = ("_options", "path")

    def __init__(self, path: str | os.PathLike[str], **storage_options: Any) -> None:
        self.path = _checked_path(path, "File")
        self._options = storage_options

    @property
    def is_local(self) -> bool:
        """Does the path name a file of this machine?"""
        return "://" not in self.path

    @property
    def digest(self) -> str:
        """BLAKE3-128 of the content, as 32 hex digits."""
        return self.content_digest().hex()

    def content_digest(self) -> bytes:
        """BLAKE3-128 of the content; reads the file once, unless it is known and unchanged."""
        if not self.is_local:
            return _hash_chunks(self.chunks())
        return _local_digest(self.path)

    def __mlf_digest__(self) -> bytes:
        return b"file" + self.content_digest()

    def __fspath__(self) -> str:
        if not self.is_local:
            raise InvalidInputError(
                f"{self.path} is not a local file; use File.open() or File.read_bytes()", path=self.path
            )
        return self.path

    def open(self, mode: str = "rb") -> Any:
        """The opened file, for reading."""
        if not set(mode) <= set("rbt"):
            raise InvalidInputError(f"File.open reads; mode {mode!r} would write", mode=mode)
        if self.is_local:
            _require_file(self.path)
            return open(self.path, mode, encoding=None if "b" in mode else "utf-8")
        return _fsspec_file(self.path, mode, self._options)

    def read_bytes(self) -> bytes:
        """The whole content."""
        with self.open("rb") as stream:
            return bytes(stream.read())

    def chunks(self) -> Iterator[Buffer]:
        """The content in slabs of 4 MiB."""
        with self.open("rb") as stream:
            while slab := stream.read(_SLAB):
                yield slab

    def __repr__(self) -> str:
        return f"File({self.path!r})"

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

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _checked_path(path, "Dir")
        if "://" in self.path:
            raise CapabilityError(
                f"Dir({self.path!r}): folders are local; name the remote files one by one with File", path=self.path
            )

    def files(self) -> list[tuple[str, str]]:
        """(path relative to the folder with `/`, full path) of every file below it, sorted."""
        return self._contents()[0]

    def empty_folders(self) -> list[str]:
        """The relative path, with `/`, of every folder below it that has nothing in it, sorted."""
        return self._contents()[1]

    def _contents(self) -> tuple[list[tuple[str, str]], list[str]]:
        if not os.path.isdir(self.path):
            _raise_missing(self.path, "folder")
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
            hasher.update(_sized(relative) + _local_digest(full))
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


def _restore_file(path: str, options: dict[str, Any]) -> File:
    return File(path, **options)


def _checked_path(path: str | os.PathLike[str], kind: str) -> str:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInputError(f"{kind} takes a path as a non-empty string, found {path!r}", found=path)
    return text


def _raise_missing(path: str, kind: str) -> None:
    raise NotFoundError(f"There is no {kind} at {path} (working directory: {os.getcwd()}). Check the path.", path=path)


def _require_file(path: str) -> os.stat_result:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        _raise_missing(path, "file")
        raise
    except OSError as error:
        raise StorageError(f"Looking at {path} failed: {error}", path=path) from error
    if S_ISDIR(found.st_mode):
        raise InvalidInputError(f"{path} is a folder; use Dir for folders", path=path)
    if not S_ISREG(found.st_mode):
        raise InvalidInputError(
            f"{path} is a pipe, socket or device: it has no content that could be read twice. "
            "Write what comes from it into a file first, or keep it outside of the folder.",
            path=path,
        )
    return found


def _local_digest(path: str) -> bytes:
    stat = _require_file(path)
    identity = (os.path.realpath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    if (known := _memo.get(identity)) is not None:
        return known
    try:
        with open(path, "rb") as stream:
            digest = _hash_chunks(iter(lambda: stream.read(_SLAB), b""))
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise StorageError(f"Reading {path} failed: {error}", path=path) from error
    unchanged = (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == identity[1:4]
    if unchanged and time.time() - max(stat.st_mtime, stat.st_ctime) > _DISTRUST_S:
        if len(_memo) > 100_000:
            _memo.clear()
        _memo[identity] = digest
    return digest


def _hash_chunks(chunks: Iterator[Buffer]) -> bytes:
    hasher = blake3()
    for chunk in chunks:
        hasher.update(chunk)
    return bytes(hasher.digest(length=16))


def _fsspec_file(url: str, mode: str, options: dict[str, Any]) -> Any:
    import fsspec

    try:
        return fsspec.open(url, mode, **options).open()
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file at {url}. Check the URL.", path=url) from error
    except ImportError as error:
        raise missing_extra(_extra_of(url), needed_for=f"File({url!r})", cause=error) from error
    except ValueError as error:
        raise InvalidInputError(f"File({url!r}) cannot be opened: {error}", path=url) from error


def _extra_of(url: str) -> str:
    scheme = url.partition("://")[0]
    return {"gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}.get(scheme, scheme)


class FileCodec:
    """Files as results: the bytes are one object; the head has the path at which a hit puts them back."""

    name = "file"
    executes_code = False

    def encode(self, value: File, *, inline_limit: int) -> Encoded:
        size = os.stat(value.path).st_size if value.is_local else -1
        head = msgpack.packb([value.path, value.content_digest()], unicode_errors="surrogateescape")
        return Encoded(self.name, head, (Part(value.chunks, size, Path(value.path).suffix),))

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> File:
        path, digest = _unpacked(head, 2)
        restored = File(path)
        if restored.is_local:
            _require_restorable(path, trusted=allow_pickle)
            if not _is_content(path, digest):
                _restore(path, parts[0].chunks)
        return restored


class DirCodec:
    """Folders as results: an object for each file; a hit puts back what is missing or different below the path."""

    name = "dir"
    executes_code = False

    def encode(self, value: Dir, *, inline_limit: int) -> Encoded:
        files = value.files()
        fields = [value.path, [(name, _local_digest(full)) for name, full in files]]
        if empty := value.empty_folders():
            fields.append(empty)
        head = msgpack.packb(fields, unicode_errors="surrogateescape")
        parts = tuple(Part(File(full).chunks, os.stat(full).st_size, Path(full).suffix) for _, full in files)
        return Encoded(self.name, head, parts)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Dir:
        path, files, *more = _unpacked(head, 2, 3)
        restored = Dir(path)
        _require_restorable(path, trusted=allow_pickle)
        for (name, digest), part in zip(files, parts, strict=True):
            full = _place_in(path, name, trusted=allow_pickle)
            if not _is_content(full, digest):
                _restore(full, part.chunks)
        # Whatever else lies in the folder stays: it may be the user's, and it shows in the digest of the folder.
        for name in ("", *(more[0] if more else ())):
            _restore_folder(_place_in(path, name, trusted=allow_pickle))
        return restored


def _place_in(folder: str, name: str, *, trusted: bool) -> str:
    """Where a stored name belongs below the folder; IntegrityError if that is not below it."""
    if os.path.isabs(name) or ".." in name.split("/") or "\0" in name:
        raise IntegrityError(f"a stored folder names a file outside itself: {name!r}; it is not restored", path=name)
    full = os.path.join(folder, *name.split("/")) if name else folder
    _require_restorable(full, trusted=trusted)  # a link on the way may lead out of the folder
    return full


def _restore_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Putting the folder {path} back failed: {error}", path=path) from error


def _unpacked(head: bytes, *lengths: int) -> Any:
    try:
        fields = msgpack.unpackb(head, use_list=False, unicode_errors="surrogateescape")
    except ValueError as error:
        raise IntegrityError(f"the record of a stored file cannot be parsed: {error}") from error
    if not isinstance(fields, tuple) or len(fields) not in lengths or not isinstance(fields[0], str):
        raise IntegrityError("the record of a stored file has the wrong shape")
    return fields


def _require_restorable(path: str, *, trusted: bool) -> None:
    """A store that may not run code here may not write files outside the working directory either."""
    if trusted:
        return
    here = os.path.realpath(os.getcwd())
    if os.path.commonpath([here, os.path.realpath(path)]) != here:
        raise CapabilityError(
            f"The stored file belongs at {path}, outside the working directory, and this store is not trusted "
            "(allow_pickle=False). Open it with allow_pickle=True, or return a file below the working directory.",
            path=path,
        )


def _is_content(path: str, digest: bytes) -> bool:
    return os.path.isfile(path) and _local_digest(path) == digest


def _restore(path: str, chunks: Callable[[], Iterator[Buffer]]) -> None:
    """Write the content beside the path, then move it there: nobody sees half a file."""
    folder = os.path.dirname(os.path.abspath(path))
    temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}.part"
    try:
        os.makedirs(folder, exist_ok=True)
        with open(temporary, "wb") as stream:
            for chunk in chunks():
                stream.write(chunk)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"Putting {path} back failed: {error}", path=path) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
