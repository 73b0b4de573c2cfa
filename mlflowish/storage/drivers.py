"""The fsspec filesystems behind remote storages: which are known to create conditionally, and how each is opened.

S3 and Azure create by `If-None-Match: *`, Google by `ifGenerationMatch=0`, all three behind `mode="create"`. Whatever
else fsspec offers is tested before it is trusted (`selftest.py`).
"""

from __future__ import annotations

import calendar
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlflowish.errors import CapabilityError, InvalidInputError, StorageError, missing_extra, nearest

_MULTIPART_BYTES = 16 << 20
_MOST_PARTS = 9_000  # S3 takes 10,000
_GCS_UNIT_BYTES = 256 << 10  # resumable uploads come in multiples of it
_GCS_PROBE = "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"
# Some say so at the first write only. HTTP has requests that write, but none that lists, deletes or never replaces.
_ONLY_READ = ("http", "https", "github", "git", "data")
KNOWN_SCHEMES = ("file", "memory", "s3", "gs", "gcs", "az", "abfs", "abfss")


@dataclass(frozen=True, slots=True)
class Driver:
    """One family of filesystems. `name` is also the extra that installs it; `is_proven`: `mode="create"` is atomic."""

    name: str
    module: str
    is_proven: bool = True


_S3, _GCS, _AZURE = Driver("s3", "s3fs"), Driver("gcs", "gcsfs"), Driver("azure", "adlfs")
_DRIVERS = {"s3": _S3, "s3a": _S3, "gs": _GCS, "gcs": _GCS, "az": _AZURE, "abfs": _AZURE, "abfss": _AZURE}


def driver_of(url: str) -> Driver:
    """The family that serves the URL: InvalidInputError if none does, MissingExtraError if it is not installed."""
    scheme = url.partition("://")[0].lower()
    if "::" in url:
        raise InvalidInputError(
            f"{scrubbed(url)} chains filesystems, whose caches would hide other writers; give the plain URL",
            url=scrubbed(url),
        )
    driver = _DRIVERS.get(scheme)
    if driver is None:
        return _unproven(scheme, url)
    if not url.partition("://")[2].strip("/ "):
        raise InvalidInputError(f"{scrubbed(url)} names no bucket; write {scheme}://bucket/folder", url=scrubbed(url))
    if importlib.util.find_spec(driver.module) is None:
        raise missing_extra(driver.name, needed_for=f"A store at {scrubbed(url)}")
    return driver


def _unproven(scheme: str, url: str) -> Driver:
    from fsspec.registry import known_implementations, registry

    if scheme not in known_implementations and scheme not in registry:
        near = nearest(scheme, KNOWN_SCHEMES)
        raise InvalidInputError(
            f"Nothing opens {scrubbed(url)}: the scheme {scheme!r} is not known. Nearest known: {', '.join(near)}; "
            "a path without a scheme is a folder.",
            url=scrubbed(url),
            known=near,
        )
    _require_writable(scheme, url)
    return Driver(scheme, "fsspec", is_proven=False)


def _require_writable(scheme: str, url: str) -> None:
    """CapabilityError for what fsspec can only read, and for archives, which have one writer and are never changed."""
    from fsspec import get_filesystem_class
    from fsspec.archive import AbstractArchiveFileSystem
    from fsspec.asyn import AsyncFileSystem

    try:
        kind = get_filesystem_class(scheme)
    except ImportError:  # said when it is opened, with what to install
        return
    only_reads = scheme in _ONLY_READ or (
        issubclass(kind, AsyncFileSystem) and kind._pipe_file is AsyncFileSystem._pipe_file
    )
    if only_reads or issubclass(kind, AbstractArchiveFileSystem):
        raise CapabilityError(
            f"{scrubbed(url)} cannot be a store: results are written there, and {scheme}:// can "
            f"{'only be read' if only_reads else 'only be written as a whole'}. Use a folder or a bucket: a path, "
            "s3://, gs://, az://. To read data from there give the step mf.File(url).",
            url=scrubbed(url),
        )


def make_filesystem(driver: Driver, url: str, options: dict[str, Any]) -> tuple[Any, str]:
    """A private filesystem without listing caches (they hide other writers), and the root of the store in it."""
    _import_quietly(driver)
    from fsspec.core import url_to_fs

    try:
        fs, root = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as error:
        raise CapabilityError(f"A store at {scrubbed(url)} needs a package that is not installed: {error}") from error
    except (TypeError, ValueError) as error:
        message = f"{scrubbed(url)} cannot be opened with these options: {scrubbed(str(error), options)}"
        raise InvalidInputError(message, url=scrubbed(url)) from None
    except Exception as error:  # noqa: BLE001  some connect here, and each fails in words of its own
        what = scrubbed(f"{type(error).__name__}: {error}", options)
        raise StorageError(
            f"Could not open {scrubbed(url)}: {what}. Check the URL, and that it can be reached.", path=scrubbed(url)
        ) from None
    return fs, str(root).rstrip("/")


def filesystem_to_read(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    """A private filesystem for any URL that fsspec reads, without listing caches, and the path in it. What it raises
    is the driver's own."""
    scheme = url.partition("://")[0].lower()
    _import_quietly(_DRIVERS.get(scheme, Driver(scheme, "fsspec", is_proven=False)))
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False, **options)
    return fs, str(path)


def service_of(options: dict[str, Any]) -> str:
    """Which service is asked, where the same bucket name may mean another bucket. No secrets."""
    client = options.get("client_kwargs")
    given = [options.get(name) for name in ("endpoint_url", "account_name", "account_host", "host", "port")]
    given.append(client.get("endpoint_url") if isinstance(client, dict) else None)
    given += [os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST")]
    return "\0".join("" if part is None else str(part) for part in given)


def create(driver: Driver, fs: Any, full: str, data: bytes) -> None:
    """Create the object in one conditional request; what it raises says that this was not, or perhaps not, done."""
    if driver is _GCS:
        fs.pipe_file(full, data, mode="create", chunksize=len(data) + 1)
    else:
        fs.pipe_file(full, data, mode="create")


def create_from_file(driver: Driver, fs: Any, full: str, local: str) -> None:
    """The same for a file of any size, in several requests if it is large; at most four slabs are in memory."""
    part_bytes = max(_MULTIPART_BYTES, -(-os.path.getsize(local) // _MOST_PARTS))
    if driver is _S3:
        fs.put_file(local, full, mode="create", chunksize=part_bytes, max_concurrency=4)
    elif driver is _GCS:
        part_bytes += -part_bytes % _GCS_UNIT_BYTES
        fs.put_file(local, full, mode="create", chunksize=part_bytes)
    elif driver is _AZURE:
        fs.put_file(local, full, mode="create", max_concurrency=4)
    else:
        fs.put_file(local, full, mode="create")


def read(fs: Any, full: str, start: int, end: int | None) -> bytes:
    """The range in one request: without `start` s3fs would ask for the size first. By name: s3fs has another order."""
    return bytes(fs.cat_file(full, start=start, end=end))


def size_of(driver: Driver, fs: Any, full: str) -> int | None:
    """The size of a file in one request; None for a folder."""
    if driver is _S3:  # its `info` looks for a folder where there is no object
        bucket, key, _ = fs.split_path(full)
        return int(fs.call_s3("head_object", fs.kwargs, Bucket=bucket, Key=key)["ContentLength"])
    info = fs.info(full)
    return int(info["size"]) if info.get("type") == "file" else None


def listed(driver: Driver, fs: Any, folder: str) -> dict[str, Any]:
    """What lies in a folder and below, by its full name."""
    fs.invalidate_cache()
    parent, _, name = folder.rpartition("/")
    if driver is _S3 and parent:
        # As a prefix: where there is nothing in it, s3fs would look for an object of the folder's name, and after that
        # once more for something below it.
        found = fs.find(parent, prefix=f"{name}/", detail=True)
    else:
        found = fs.find(folder, detail=True)
    # adlfs answers a list, not a dict, when the folder is none.
    return found if isinstance(found, dict) else {}


def _import_quietly(driver: Driver) -> None:
    """gcsfs would probe buckets over gRPC for being zonal, which no store may be; it decides when it is imported."""
    if driver is not _GCS or "gcsfs" in sys.modules or _GCS_PROBE in os.environ:
        return
    os.environ[_GCS_PROBE] = "false"
    try:
        import gcsfs  # noqa: F401  for its effect
    finally:
        del os.environ[_GCS_PROBE]


def modified_s(info: Mapping[str, Any]) -> float:
    """Seconds since 1970, from whatever the driver calls it; nan if it does not say."""
    from email.utils import parsedate_to_datetime

    for name in ("LastModified", "last_modified", "updated", "mtime", "modified", "created", "Last-Modified"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp() if value.tzinfo else float(calendar.timegm(value.timetuple()))
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            try:
                found = parsedate_to_datetime(value) if "," in value else datetime.fromisoformat(_zoned(value))
            except ValueError:
                continue
            return found.timestamp()
    return float("nan")


def _zoned(text: str) -> str:
    return text.replace("Z", "+00:00")


# -- secrets -----------------------------------------------------------------------------------------

_USERINFO = re.compile(r"(://[^/@:\s]*):[^/@\s]*@")
_IN_TEXT = re.compile(r"(?i)\b(sig|signature|accountkey|sharedaccesskey|password|secret|token)=[^&;\s\"']+")
_PUBLIC = ("url", "region", "project", "account_name", "anon", "location", "endpoint", "version")


def scrubbed(text: str, options: dict[str, Any] | None = None) -> str:
    """The text without passwords, signatures, or the values of storage options that may be secret."""
    text = _USERINFO.sub(r"\1@", text)
    text = _IN_TEXT.sub(r"\1=(hidden)", text)
    for secret in _secrets_in(options or {}):
        text = text.replace(secret, "(hidden)")
    return text


def _secrets_in(options: dict[Any, Any]) -> list[str]:
    found: list[str] = []
    for name, value in options.items():
        if isinstance(value, dict):
            found += _secrets_in(value)
        elif isinstance(value, str) and len(value) >= 4 and not any(word in str(name).lower() for word in _PUBLIC):
            found.append(value)
    return sorted(found, key=len, reverse=True)
