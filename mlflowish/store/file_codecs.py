"""Files and folders in the store: their bytes as objects, put back at their paths by a hit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
from blake3 import blake3

from mlflowish.codecs.base import Buffer, Encoded, Part, PartReader
from mlflowish.errors import CapabilityError, IntegrityError, StorageError
from mlflowish.store.contents import local_digest
from mlflowish.store.files import Dir, File


class FileCodec:
    """Files as results: the bytes are one object; the head has the path at which a hit puts them back."""

    name = "file"
    executes_code = False

    def encode(self, value: File, *, inline_limit: int) -> Encoded:
        size = os.stat(value.path).st_size if value.is_local else -1
        value.recorded = value.content_digest()
        head = msgpack.packb([value.path, value.recorded], unicode_errors="surrogateescape")
        return Encoded(self.name, head, (Part(value.chunks, size, Path(value.path).suffix),))

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> File:
        path, digest = _unpacked(head, 2)
        restored = File(path)
        restored.recorded = digest
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
        fields = [value.path, [(name, local_digest(full)) for name, full in files]]
        value.recorded = _digest_of(fields[1])
        if empty := value.empty_folders():
            fields.append(empty)
        head = msgpack.packb(fields, unicode_errors="surrogateescape")
        parts = tuple(Part(File(full).chunks, os.stat(full).st_size, Path(full).suffix) for _, full in files)
        return Encoded(self.name, head, parts)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Dir:
        path, files, *more = _unpacked(head, 2, 3)
        restored = Dir(path)
        restored.recorded = _digest_of(files)
        _require_restorable(path, trusted=allow_pickle)
        for (name, digest), part in zip(files, parts, strict=True):
            full = _place_in(path, name, trusted=allow_pickle)
            if not _is_content(full, digest):
                _restore(full, part.chunks)
        # Whatever else lies in the folder stays: it may be the user's, and it shows in the digest of the folder.
        for name in ("", *(more[0] if more else ())):
            _restore_folder(_place_in(path, name, trusted=allow_pickle))
        return restored


def decode_below(folder: str, codec: str, head: bytes, parts: Sequence[PartReader]) -> File | Dir:
    """A stored file or folder, put into a folder instead of where it belongs: for whoever only wants to read it."""
    path, *rest = _unpacked(head, 2, 3)
    place = os.path.join(folder, os.path.basename(path.rstrip("/")) or codec)
    moved = msgpack.packb([place, *rest], unicode_errors="surrogateescape")
    found: FileCodec | DirCodec = FileCodec() if codec == FileCodec.name else DirCodec()
    return found.decode(moved, parts, allow_pickle=True)


def _digest_of(files: Any) -> bytes:
    """What tells two recorded contents of a folder apart."""
    return bytes(blake3(msgpack.packb(files, unicode_errors="surrogateescape")).digest(length=16))


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
    return os.path.isfile(path) and local_digest(path) == digest


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
