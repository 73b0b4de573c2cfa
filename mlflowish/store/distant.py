"""Files that rest far away, read through fsspec: what their server says about them, their content, a copy of it here.

A server's word is taken for the content only where it is made to tell contents apart (`mark_of`): then an unchanged
file costs one request, or none if a listing brought the word, and is downloaded once. Of all others the content is read
each time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from mlflowish.errors import InvalidInputError, MlflowishError, NotFoundError, StorageError, missing_extra
from mlflowish.storage import drivers
from mlflowish.storage.answers import Answer, advice, answer_in
from mlflowish.store import copies, remembered

_SLAB_BYTES = 16 << 20
_TRIES = 3
_DISTRUST_S = 60.0  # their clock may not be ours
_CONTENT_HASH = re.compile(r"[0-9a-f]{32}(-\d+)?\Z")
_EXTRAS = {"gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "s3a": "s3"}
_filesystems: dict[tuple[int, str, str], Any] = {}


@dataclass(frozen=True, slots=True)
class Look:
    """What a server says of a file. `mark` differs whenever the content does; empty if nothing that it says is as
    strong as that. `size_bytes` is -1 if it does not say. `content`: what was read of the file since, if it was."""

    size_bytes: int
    mark: bytes
    content: bytes | None = None


_listed: ContextVar[Mapping[str, Look] | None] = ContextVar("mlflowish_listed", default=None)


@contextmanager
def trusting(listing: Mapping[str, Look]) -> Iterator[None]:
    """In the block these URLs look as the listing says, which is not older than the block: they are not asked for one
    by one."""
    token = _listed.set(listing)
    try:
        yield
    finally:
        _listed.reset(token)


def content_of(url: str, options: dict[str, Any]) -> bytes:
    """BLAKE3-256 of the content: read, and kept as a copy, unless the server's word for it is known. NotFoundError,
    StorageError, InvalidInputError, MissingExtraError."""
    look = _seen(url) or look_at(url, options)
    if look.content is not None:
        return look.content
    for _ in range(_TRIES):
        key = _record_key(url, options, look)
        if key is None:
            return fetch(url, options, look.size_bytes)
        if (known := remembered.recall(key)) is not None:
            return known
        content, before = fetch(url, options, look.size_bytes), look
        look = look_at(url, options)
        if look == before:
            remembered.remember(key, content)
            return content
    raise StorageError(
        f"{drivers.scrubbed(url)} changed each of the {_TRIES} times that it was read. Wait until it is complete.",
        path=drivers.scrubbed(url),
    )


def is_known(url: str, options: dict[str, Any]) -> bool:
    """Can the content be told without reading the file?"""
    listed = (_listed.get() or {}).get(url)
    if listed is not None and not listed.mark and not url.startswith("http"):
        return False  # a server that tells in answers what it does not in listings is one of HTTP
    look = _seen(url) or look_at(url, options)
    key = _record_key(url, options, look)
    return key is not None and remembered.recall(key) is not None


def _seen(url: str) -> Look | None:
    """What can be believed without asking."""
    look = (_listed.get() or {}).get(url)
    return look if look is not None and (look.mark or look.content is not None) else None


def copy_of(url: str, options: dict[str, Any], content: bytes | None) -> str:
    """The path of a file here with that content, or the present one; not to be written to."""
    wanted = content_of(url, options) if content is None else content
    for _ in range(_TRIES):
        if (path := copies.path_of(wanted, name=_name_in(url))) is not None:
            return path
        found = fetch(url, options, look_at(url, options).size_bytes)
        if found != wanted and content is not None:
            raise StorageError(
                f"{drivers.scrubbed(url)} has changed since a step was called with it. Call it again.",
                path=drivers.scrubbed(url),
            )
        wanted = found
    raise StorageError(
        f"No copy of {drivers.scrubbed(url)} can be kept in {copies.folder()}. Is it larger than ${copies.LIMIT}, or "
        "the disk full? Read it with File.open().",
        path=drivers.scrubbed(url),
    )


def look_at(url: str, options: dict[str, Any]) -> Look:
    """What the server says now; one request."""
    with _our_errors(url, options):
        fs, path = filesystem(url, options)
        info = fs.info(path)
        if info.get("type") == "directory":
            raise InvalidInputError(f"{drivers.scrubbed(url)} is a folder, not a file", path=drivers.scrubbed(url))
    return look_of(url, info)


def listed_below(url: str, options: dict[str, Any], *, depth: int | None) -> list[tuple[str, Look]] | None:
    """The path relative to the folder and the look of every file below it; None if it is a file itself. NotFoundError
    if nothing is there. `depth` 1 asks for the folder alone, which is one request for each thousand names."""
    with _our_errors(url, options):
        fs, root = filesystem(url.rstrip("/"), options)
        fs.invalidate_cache()
        root = root.rstrip("/")
        if depth == 1:
            found = {info["name"]: info for info in fs.ls(root, detail=True)}
        else:
            found = fs.find(root, detail=True)
        if not isinstance(found, dict) or not found:  # adlfs answers a list when there is nothing
            fs.info(root)
            found = {}
    names = {name.rstrip("/") for name in found}
    if names == {root} and found[next(iter(found))].get("type") == "file":
        return None
    files = ((name, info) for name, info in found.items() if info.get("type") == "file" and not name.endswith("/"))
    below = ((name[len(root) + 1 :], info) for name, info in files if name.startswith(f"{root}/"))
    return [(relative, look_of(url, info)) for relative, info in below if relative]


def fetch(url: str, options: dict[str, Any], size_bytes: int) -> bytes:
    """Read the file, keep a copy if there is room for it, and say which content it has."""
    with copies.keeping(size_bytes) as copy, _our_errors(url, options):
        for slab in _slabs(url, options, size_bytes):
            copy.write(slab)
        return copy.finish()


def open_far(url: str, mode: str, options: dict[str, Any]) -> Any:
    """The opened file, read from its server as it goes."""
    import fsspec

    with _our_errors(url, options):
        return fsspec.open(url, mode, **options).open()


def look_of(url: str, info: Mapping[str, Any]) -> Look:
    """What a driver's record of a file says."""
    size = info.get("size")
    return Look(size if isinstance(size, int) else -1, mark_of(url, info))


def mark_of(url: str, info: Mapping[str, Any]) -> bytes:
    """What tells contents apart, from a driver's record of a file: b"" if nothing in it does.

    S3: the entity tag, "changes only to the contents of an object" (API reference, Object); of an upload in parts it
    depends on the parts, so equal contents may have two. Google: the generation, new with each write. Azure: the ETag,
    likewise. HTTP: a strong ETag (RFC 9110, 8.8.3), which servers make from a time of modification, so not if that is
    recent. Size and time alone (SFTP, FTP, HDFS, ...) can be the same for two contents.
    """
    scheme = url.partition("://")[0].lower()
    modified = drivers.modified_s(info)
    tag: Any = None
    if "::" in url:
        return b""
    if scheme in ("s3", "s3a"):
        tag = str(info.get("ETag") or "").strip('"')
        if not _CONTENT_HASH.match(tag) and not _is_old(modified):
            return b""  # a server of its own kind, which may make tags from times
    elif scheme in ("gs", "gcs"):
        tag = info.get("generation") and f"{info['generation']} {info.get('md5Hash') or info.get('crc32c') or ''}"
    elif scheme in ("az", "abfs", "abfss"):
        tag = str(info.get("etag") or "").strip('"')
    elif scheme in ("http", "https"):
        tag = str(info.get("ETag") or "")
        if tag.startswith("W/") or not _is_old(modified):
            return b""
    if not tag:
        return b""
    # Google's time changes with the metadata, and its generation needs none. Listings tell whole seconds.
    when = "" if scheme in ("gs", "gcs") or modified != modified else str(int(modified))
    return f"{tag}\0{when}".encode()


def _is_old(modified: float) -> bool:
    return time.time() - modified > _DISTRUST_S  # False for NaN: not said


def _record_key(url: str, options: dict[str, Any], look: Look) -> bytes | None:
    if not look.mark or look.size_bytes < 0:
        return None
    hasher = blake3(b"mlf1.far\0")
    for part in (url.encode("utf-8", "surrogatepass"), drivers.service_of(options).encode(), look.mark):
        hasher.update(len(part).to_bytes(8, "little") + part)
    hasher.update(look.size_bytes.to_bytes(16, "little"))
    return bytes(hasher.digest(length=16))


def filesystem(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    """The filesystem of this process for the URL, one for each server and its options, and the path in it."""
    place = (os.getpid(), url[: url.find("/", url.find("://") + 3)], repr(sorted(options.items())))
    found = _filesystems.get(place)
    if found is None or "::" in url:
        found, path = drivers.filesystem_to_read(url, options)
        if "::" not in url:
            _filesystems[place] = found
        return found, path
    return found, str(found._strip_protocol(url))


def _slabs(url: str, options: dict[str, Any], size_bytes: int) -> Iterator[bytes]:
    fs, path = filesystem(url, options)
    if size_bytes == 0:
        return
    if 0 < size_bytes <= _SLAB_BYTES:
        yield drivers.read(fs, path, 0, None) if url.startswith("s3") else bytes(fs.cat_file(path))
        return
    with fs.open(path, "rb", block_size=_SLAB_BYTES) as stream:
        while slab := stream.read(_SLAB_BYTES):
            yield bytes(slab)


def _name_in(url: str) -> str:
    """The last part of the path, whose ending tells readers what is in it."""
    plain = url.partition("?")[0].partition("#")[0] if url.startswith("http") else url
    return plain.rstrip("/").rpartition("/")[2]


@contextmanager
def _our_errors(url: str, options: dict[str, Any]) -> Iterator[None]:
    shown = drivers.scrubbed(url)
    try:
        yield
    except MlflowishError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file at {shown}. Check the URL.", path=shown) from error
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise missing_extra(_EXTRAS.get(scheme, scheme), needed_for=f"File({shown!r})", cause=error) from error
    except (ValueError, TypeError) as error:
        text = drivers.scrubbed(str(error), options)
        raise InvalidInputError(f"File({shown!r}) cannot be opened: {text}", path=shown) from None
    except Exception as error:  # noqa: BLE001  each driver has classes of its own
        text = drivers.scrubbed(f"{type(error).__name__}: {error}", options)
        if answer_in(error) in (Answer.ABSENT, Answer.NO_BUCKET):
            raise NotFoundError(f"There is no file at {shown} ({text}). Check the URL.", path=shown) from None
        if answer_in(error) is Answer.REFUSED:
            raise StorageError(f"Reading {shown} is not allowed ({text}). Check the credentials.", path=shown) from None
        raise StorageError(f"Reading {shown} failed: {text.rstrip('.')}. {advice(error)}", path=shown) from None
