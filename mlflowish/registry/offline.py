"""What this machine last saw of a remote registry: versions by how they were asked for, in files beside the cache.

Only for reading: a transaction never works from what was last known.
"""

from __future__ import annotations

import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, cast

from blake3 import blake3

from mlflowish import settings
from mlflowish.errors import FormatVersionError, IntegrityError, StorageError
from mlflowish.registry.listing import utc
from mlflowish.registry.lookup import reading
from mlflowish.registry.names import Selector
from mlflowish.registry.records import VersionRecord
from mlflowish.registry.registered import ModelVersion, version_from, version_of
from mlflowish.registry.shelf import Shelf
from mlflowish.store.transactions import joined

if TYPE_CHECKING:
    from mlflowish.store import Store

REFRESH_S = 60.0  # a file that says the same is not written again before that
LIMIT_S = 10.0  # an answer that takes longer is none, if there is a last known one
PATIENCE_S = 15.0  # so long a store that could not be reached is not asked again

T = TypeVar("T")
_unreachable: dict[str, tuple[float, StorageError]] = {}


def resolved(store: Store, name: str, selector: Selector) -> ModelVersion:
    """The version that a selector names now; of a store that cannot be reached, the one it named when last seen."""
    if store.objects.cache is None or joined(store) is not None:
        return _looked_up(store, name, selector)
    path, place = _path(store, name, selector), _place(store)
    until_s, error = _unreachable.get(place, (0.0, None))
    if error is not None and time.monotonic() < until_s and path.exists():
        return _last_known(store, path, name, selector, error)
    try:
        version = (
            _in_time(lambda: _looked_up(store, name, selector), store)
            if path.exists()
            else _looked_up(store, name, selector)
        )
    except StorageError as error:
        if not error.unreachable:
            raise
        _unreachable[place] = time.monotonic() + PATIENCE_S, error
        return _last_known(store, path, name, selector, error)
    _unreachable.pop(place, None)
    _remember(path, version)
    return version


def _looked_up(store: Store, name: str, selector: Selector) -> ModelVersion:
    shelf = Shelf(reading(store), name)
    return version_of(store, shelf, shelf.resolve(selector))


def _in_time(act: Callable[[], T], store: Store) -> T:
    """What `act` gives; StorageError when that takes longer than the limit. Drivers wait for minutes."""
    done: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((act(), None))
        except BaseException as error:  # noqa: BLE001  handed to the caller
            done.put((None, error))

    threading.Thread(target=run, name="mlflowish-look-up", daemon=True).start()
    try:
        result, error = done.get(timeout=LIMIT_S)
    except Empty:
        message = f"{store.url} gave no answer within {LIMIT_S:g} seconds"
        raise StorageError(message, url=store.url, unreachable=True) from None
    if error is not None:
        raise error
    return cast(T, result)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was written last about one question, so that the same is not written with every answer."""

    record: str
    at_s: float


_seen: dict[Path, _Seen] = {}


def _remember(path: Path, version: ModelVersion) -> None:
    """Keep what was found; that it cannot be kept is no reason not to answer."""
    told, now = f"{version.version} {version.record.manifest[0]} {version.aliases} {version.stage}", time.time()
    before = _seen.get(path)
    if before is not None and before.record == told and 0 <= now - before.at_s < REFRESH_S:
        return
    document = {"v": 1, "seen_s": now, "version": version.version, "aliases": list(version.aliases)}
    document["record"] = version.record.value()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        return
    _seen[path] = _Seen(told, now)


def _last_known(store: Store, path: Path, name: str, selector: Selector, error: StorageError) -> ModelVersion:
    """What was kept, with a warning; the error itself if nothing was."""
    try:
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record = VersionRecord.from_value(document["record"])
        version = version_from(store, name, document["version"], record, tuple(document["aliases"]))
        seen = utc(document["seen_s"])
    except (OSError, ValueError, KeyError, TypeError, IntegrityError, FormatVersionError):
        raise error from None
    what = "was the newest" if str(selector) == "latest" else f"is what the {selector} named"
    warnings.warn(
        f"{store.url} cannot be reached: {name} version {version.version} {what} on "
        f"{seen:%Y-%m-%d %H:%M:%S} UTC, when it was last seen from here ({error.message})",
        RuntimeWarning,
        stacklevel=4,
    )
    return version


def _path(store: Store, name: str, selector: Selector) -> Path:
    asked = f"{name}\0{selector.kind}\0{selector.value}"
    return settings.cache_dir() / "registry" / _hash(_place(store)) / f"{_hash(asked)}.json"


def _place(store: Store) -> str:
    return str(getattr(store.storage, "identity", store.url))


def _hash(text: str) -> str:
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(length=16)
