"""Which parts make up the table, which of their rows still count, and which segments of the journals they cover.

A manifest is an immutable small file with a number. Any that can be read is right, however old, because a reader checks
what it does not cover; the highest number is only the most useful. So nobody needs to agree on anything: two clients
that build at once write two manifests, and the next one goes on from either.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import msgpack
import numpy as np
import pyarrow as pa
from blake3 import blake3

from mlflowish.errors import IntegrityError, MlflowishError, NotFoundError
from mlflowish.journals.access import Access
from mlflowish.storage import ObjectInfo, Storage
from mlflowish.tracking.table.columns import Array
from mlflowish.tracking.table.part import Part, file_of, part_in

VERSION = 1
FOLDER = f"tables/runs-{VERSION}"
# A part that no manifest names may be one whose manifest is about to be written.
UNNAMED_KEPT_S = 3600.0
_MANIFEST = re.compile(rf"{FOLDER}/([0-9]{{16}})-([0-9a-f]{{32}})\.map\Z")
_PART = re.compile(rf"{FOLDER}/([0-9a-f]{{32}})\.arrow\Z")
_log = logging.getLogger("mlflowish.tracking")


@dataclass(frozen=True)
class Rows:
    """A part, and which of its rows count: those of the others are told anew by a later part."""

    part: Part
    is_live: Array
    batch: pa.RecordBatch | None = field(default=None, repr=False)  # of a part that is not stored yet

    @cached_property
    def count(self) -> int:
        return int(self.is_live.sum())

    def without(self, ids: Array) -> Rows:
        """The same without these runs, which stand in the order of their ids."""
        first, last = self.part.sorted_ids[[0, -1]]
        rows = self.part.locate(ids[np.searchsorted(ids, first) : np.searchsorted(ids, last, side="right")])
        rows = rows[rows >= 0]
        if not self.is_live[rows].any():
            return self
        is_live = self.is_live.copy()
        is_live[rows] = False
        return Rows(self.part, is_live, self.batch)


@dataclass(frozen=True)
class Table:
    """Parts that tell of each run once at most. Of segments that it `covers`, it tells of every run."""

    number: int = 0
    covers: frozenset[str] = frozenset()
    rows: tuple[Rows, ...] = ()


def manifests(storage: Storage) -> list[str]:
    """Paths of the manifests of this version, the most useful first."""
    return sorted((info.path for info in storage.list(FOLDER) if _MANIFEST.match(info.path)), reverse=True)


def latest_number(storage: Storage) -> int:
    """The highest number of a manifest; 0 without one."""
    return max((_number(path) for path in manifests(storage)), default=0)


def read_table(storage: Storage, access: Access, known: dict[str, Part]) -> Table | None:
    """The most useful table that can be read; None if there is none. `known`: parts that are open already."""
    paths = manifests(storage)
    for is_whole in (True, False):
        for path in paths:
            try:
                return read_manifest(access, path, known, is_whole=is_whole)
            except NotFoundError:
                continue  # replaced meanwhile
            except IntegrityError as error:
                _log.warning("%s", error)
    return None


def read_manifest(access: Access, path: str, known: dict[str, Part], *, is_whole: bool = True) -> Table:
    """The table of one manifest; IntegrityError if it or a part is damaged, NotFoundError if one is gone. If it need
    not be whole, it is what is left, and covers nothing.
    """
    match = _MANIFEST.match(path)
    data = bytes(access.map(path))
    if match is None or blake3(data).hexdigest(16) != match[2]:
        raise IntegrityError(f"{path} is not what its name says", path=path)
    try:
        version, covers, parts = msgpack.unpackb(data, use_list=False)[:3]
        if version != VERSION:
            raise ValueError(f"it has version {version}")
        named = [(f"{FOLDER}/{name.hex()}.arrow", dead) for name, dead, *_ in parts]
        covered = frozenset(f"segments/runs/{name.hex()}.seg" for name in covers)
        if is_whole:
            return Table(int(match[1]), covered, tuple(_opened(access, *part, known) for part in named))
        return Table(int(match[1]), frozenset(), tuple(_left(access, named, known)))
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise IntegrityError(f"{path} cannot be parsed: {error}", path=path) from error


def write_table(storage: Storage, access: Access, table: Table) -> Table:
    """Store what is not stored yet of the parts, then a manifest; the table as it is to be read from there."""
    rows = tuple(_stored(storage, access, each) for each in table.rows)
    parts = [
        (bytes.fromhex(name_of(each.part.name)), np.flatnonzero(~each.is_live).astype("<u4").tobytes()) for each in rows
    ]
    covers = sorted(bytes.fromhex(name_of(path)) for path in table.covers)
    data = bytes(msgpack.packb((VERSION, covers, parts)))
    storage.put_if_absent(f"{FOLDER}/{table.number:016d}-{blake3(data).hexdigest(16)}.map", data)
    return Table(table.number, table.covers, rows)


def replaced(storage: Storage) -> list[ObjectInfo]:
    """Manifests that newer ones replace, and parts that none names any more: they can go."""
    infos = list(storage.list(FOLDER))
    latest = max((_number(info.path) for info in infos), default=-1)
    kept = [info.path for info in infos if _number(info.path) >= max(latest - 1, 0)]
    try:
        named = {name for path in kept for name in _parts_of(storage.get(path))}
    except (MlflowishError, ValueError, TypeError) as error:
        _log.info("The table of runs in %s is left as it is: %s", storage.url, error)
        return []
    now_s = time.time()
    gone = [info for info in infos if _MANIFEST.match(info.path) and info.path not in kept]
    for info in infos:
        match = _PART.match(info.path)
        age_s = math.inf if math.isnan(info.modified_s) else now_s - info.modified_s
        if match is not None and match[1] not in named and age_s >= UNNAMED_KEPT_S:
            gone.append(info)
    return gone


def drop(storage: Storage) -> None:
    """Delete the table. Whoever takes records of runs away from the journals has to, after it did: the table would go
    on telling of them. It is made anew when it is needed."""
    for info in list(storage.list(FOLDER)):
        storage.delete(info.path)


def name_of(path: str) -> str:
    """The hash in the name of a part or a segment."""
    return path.rpartition("/")[2].partition(".")[0]


def _number(path: str) -> int:
    match = _MANIFEST.match(path)
    return int(match[1]) if match else -1


def _parts_of(data: bytes) -> list[str]:
    return [name.hex() for name, *_ in msgpack.unpackb(data, use_list=False)[2]]


def _opened(access: Access, path: str, dead: bytes, known: dict[str, Part]) -> Rows:
    part = known.get(path)
    if part is None:
        part = known[path] = part_in(access.map(path), path)
    is_live = np.ones(len(part), bool)
    is_live[np.frombuffer(dead, "<u4")] = False
    return Rows(part, is_live)


def _left(access: Access, named: list[tuple[str, bytes]], known: dict[str, Part]) -> Iterator[Rows]:
    for path, dead in named:
        try:
            yield _opened(access, path, dead, known)
        except (NotFoundError, IntegrityError) as error:
            _log.info("Of the table of runs, %s is made anew: %s", path, error)


def _stored(storage: Storage, access: Access, rows: Rows) -> Rows:
    if rows.batch is None:
        return rows
    data = file_of(rows.batch)
    path = f"{FOLDER}/{blake3(memoryview(data)).hexdigest(16)}.arrow"
    if not _put(storage, path, data):
        # Somebody has built the very same part, and it may have been damaged since.
        access.forget(path)
        try:
            part_in(access.map(path), path).verify()
        except (IntegrityError, NotFoundError):
            storage.delete(path)
            access.forget(path)
            _put(storage, path, data)
    return Rows(part_in(access.map(path), path), rows.is_live)


def _put(storage: Storage, path: str, data: pa.Buffer) -> bool:
    staging = storage.stage()
    try:
        staging.write(memoryview(data))
        return staging.commit(path)
    finally:
        staging.discard()
