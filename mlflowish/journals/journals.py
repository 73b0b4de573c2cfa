"""The face of this room: one kind of records in one storage."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import weakref
from collections.abc import Iterator
from heapq import merge as merge_sorted
from pathlib import Path
from time import monotonic
from typing import Any

from blake3 import blake3

from mlflowish import settings
from mlflowish.errors import InvalidInputError, MlflowishError
from mlflowish.journals.access import access_to
from mlflowish.journals.compaction import MAX_LOOSE_BYTES, CompactionReport, Fold
from mlflowish.journals.compactor import Compactor
from mlflowish.journals.frames import KEY_BYTES, MAX_KIND_BYTES, MAX_PAYLOAD_BYTES
from mlflowish.journals.view import Holdings, View
from mlflowish.journals.writer import Fsync, JournalWriter, Writer
from mlflowish.storage.base import Storage

# Known answers are given for so long without a look at what other processes wrote: a look costs as much as a hit.
NEWS_S = 0.05
_MOST_EXPECTED = 100_000
# How often a process that ships records to a bucket looks for what others have shipped and nobody has merged.
TIDY_S = 30.0

_log = logging.getLogger("mlflowish.journals")
_KIND = re.compile(rf"[a-z][a-z0-9-]{{0,{MAX_KIND_BYTES - 1}}}\Z")


class Journals:
    """Records of one `kind` in one storage: append and look up by a 16-byte key; safe with many threads, processes
    and machines.

    Records are facts: they never change, the same one twice is one, and several payloads may stand under a key.
    `fsync="always"` makes each append survive power loss, at the price of a disk flush; "process" survives the death
    of the process. `refresh_s` is how old the view of a bucket may be before an answer "there is none"; a local store
    is always looked at. For buckets, records go through a spool below `spool_dir`, shipped every `ship_every_s`.
    """

    def __init__(
        self,
        storage: Storage,
        kind: str,
        *,
        spool_dir: Path | None = None,
        roll_bytes: int = 8 << 20,
        fsync: Fsync = "process",
        refresh_s: float = 1.0,
        ship_every_s: float = 2.0,
    ) -> None:
        if not _KIND.match(kind):
            wanted = f"up to {MAX_KIND_BYTES} of a-z, 0-9 and '-', a letter first"
            raise InvalidInputError(f"A kind of journal is {wanted}; found {kind!r}", found=kind)
        if fsync not in ("process", "always"):
            raise InvalidInputError(f"fsync is 'process' or 'always', found {fsync!r}", found=fsync)
        self.storage, self.kind = storage, kind
        self._options: dict[str, Any] = {
            "spool_dir": spool_dir,
            "roll_bytes": roll_bytes,
            "fsync": fsync,
            "refresh_s": refresh_s,
            "ship_every_s": ship_every_s,
        }
        self._lock = threading.RLock()
        self._compacting = threading.Lock()
        self._access = access_to(storage, _private_folder("journals", storage))
        self._view = View(storage, kind, access=self._access, refresh_s=refresh_s)
        self._answers = self._view.answers
        self._expected: set[bytes] = set()
        self._compactor = Compactor(storage, kind, access=self._access, on_removal=self._view.superseded)
        self._writer: Writer | None = None
        self._tidied_s = -math.inf
        self._look_s = 0.0 if storage.capabilities.append else math.inf
        _living.add(self)
        if not storage.capabilities.append and self._spool_folder().is_dir():
            self._open_writer()  # ships what dead processes left, though this one may only read

    def append(self, key: bytes, payload: bytes) -> None:
        """Add one record. When this returns, it survives `kill -9`, and other processes of a local store see it.

        StorageError (ReadOnlyError) if it could not be written: nothing that was acknowledged before is touched, and
        a later append works as soon as the storage does.
        """
        if len(key) != KEY_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
            raise _refused(key, payload)
        with self._lock:
            writer = self._writer
            if writer is None:
                writer = self._open_writer()
            writer.append(key, payload)

    def get(self, key: bytes) -> tuple[bytes, ...]:
        """All payloads known under `key`, each once; `()` if there are none, after a look for news.

        A payload that another process adds under a key that already has one is seen within `NEWS_S` in a local store,
        after the next `refresh` in a bucket.
        """
        found = self._answers.get(key)
        if found is not None and monotonic() < self._look_s:
            return found
        if len(key) != KEY_BYTES:
            raise _refused(key, b"")
        with self._lock:
            if not self._view.is_loaded:
                self._load()
            if found is not None and not self._look_for_news():
                return found
            if found is None and key in self._expected:
                self._expected.discard(key)
                self._view.refresh(force=True)
            return self._view.find(key)

    def expect(self, key: bytes) -> None:
        """Another machine says that it has stored something under this key: look again before saying that there is
        nothing, however fresh the view of a bucket is. Costs nothing before that."""
        if len(self._expected) >= _MOST_EXPECTED:
            self._expected.clear()
        self._expected.add(key)
        self._answers.pop(key, None)  # it may say that what was there is removed, which is not all any more

    def views(self, key: bytes) -> list[bytes | memoryview]:
        """All payloads known under `key` since the last look (`catch_up`), as they rest: those of segments are not
        copied, and verified once. For large payloads; one may come more than once.
        """
        if len(key) != KEY_BYTES:
            raise _refused(key, b"")
        with self._lock:
            if not self._view.is_loaded:
                self._load()
            return self._view.views(key)

    def _look_for_news(self) -> bool:
        """Before a known answer, now and then: is there anything new? What is known holds while nobody can tell."""
        self._look_s = monotonic() + NEWS_S
        try:
            return self._view.refresh()
        except MlflowishError as error:
            _log.info("Looking for news in %s failed: %s", self.storage.url, error)
            return False

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record once, in order of the keys, as of now. Bounded memory, whatever their number."""
        with self._lock:
            self._view.refresh(force=True)
            sources = self._view.sources()
        last: bytes | None = None
        for item in merge_sorted(*sources):
            if item != last:
                last = item
                yield item[:KEY_BYTES], item[KEY_BYTES:]

    def holdings(self, *, unless: tuple[Any, ...] | None = None) -> Holdings | None:
        """All segments, and the records that lie in journals, as of now, for whoever keeps an index of them; None if
        their `mark` is still the one of `unless`.
        """
        with self._lock:
            self._view.refresh(force=True)
            return None if unless is not None and self._view.mark() == unless else self._view.holdings()

    def record_count(self) -> int:
        """How many records are known, about: duplicates count, and what others added since the last look does not."""
        with self._lock:
            if not self._view.is_loaded:
                self._load()
            return self._view.record_count()

    def seal(self, *, at_least: int) -> bool:
        """Turn this process's own journal into a segment if it holds so many keys; did it?"""
        writer = self._writer
        if not isinstance(writer, JournalWriter) or writer.record_count < at_least:
            return False
        try:
            writer.seal()
        except MlflowishError as error:
            _log.info("Could not turn a journal of %s into a segment: %s", self.kind, error)
            return False
        self._tidy()
        return True

    def known(self) -> Iterator[tuple[bytes, bytes]]:
        """The records that this process knows already, in no order, some perhaps twice: nothing is read or asked for,
        and nobody is kept waiting. For guesses; whoever stops after a part of them has a fair sample."""
        with self._lock:
            sources = self._view.known()
        for source in sources:
            for item in source:
                yield item[:KEY_BYTES], item[KEY_BYTES:]

    def refresh(self) -> None:
        """Read what other processes and machines have added."""
        with self._lock:
            self._view.refresh(force=True)

    def catch_up(self) -> None:
        """As `refresh`, where a look shows that there may be something: one `stat` for each local folder, at most one
        listing in `refresh_s` of a bucket."""
        with self._lock:
            if self._view.is_loaded:
                self._view.refresh()
            else:
                self._load()

    def compact(self, fold: Fold | None = None) -> CompactionReport:
        """Merge all journals that no living process writes to, and all segments, into as few segments as can be.

        It also happens by itself, a little at a time. `fold(key, payloads)` returns the payloads to keep. It sees
        what is merged here, not what living writers still hold, and another compactor may be at work without it: keep
        tombstones, drop what they bury.
        """
        writer = self._writer
        if writer is not None:
            writer.seal()
            writer.flush()
        with self._compacting:
            report = self._compactor.compact(fold)
        self.refresh()
        return report

    def flush(self) -> None:
        """Buckets: ship what is in the spool now, StorageError if that fails. Local: make what was appended survive
        power loss."""
        writer = self._writer
        if writer is not None:
            writer.flush()

    def close(self) -> None:
        """Let go of the journal, so that others may compact it. The object stays usable: a later append begins
        another."""
        with self._lock:
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.storage, self.kind, self._options)

    def __repr__(self) -> str:
        return f"Journals({self.storage.url!r}, {self.kind!r})"

    def _load(self) -> None:
        """The first look. Dead processes may have left much to parse: merge it, so that the next one that opens this
        need not.
        """
        self._view.load()
        if self._view.loose_bytes >= MAX_LOOSE_BYTES and self.storage.capabilities.append:
            self._tidy()

    def _open_writer(self) -> Writer:
        options = self._options
        if self.storage.capabilities.append:
            self._tidy()
            self._writer = JournalWriter(
                self.storage,
                self.kind,
                self._view,
                self._lock,
                roll_bytes=options["roll_bytes"],
                fsync=options["fsync"],
                after_sealing=self._tidy,
            )
            return self._writer
        from mlflowish.journals.spool import SpoolWriter

        spool = SpoolWriter(
            self.storage,
            self.kind,
            self._view,
            self._lock,
            folder=self._spool_folder(),
            fsync=options["fsync"],
            ship_every_s=options["ship_every_s"],
            after_shipping=self._tidy_after_shipping,
        )
        self._writer = spool
        spool.take_over()
        return spool

    def _spool_folder(self) -> Path:
        base: Path | None = self._options["spool_dir"]
        return (base or _private_folder("spool", self.storage)) / self.kind

    def _tidy(self) -> bool:
        if not self._compacting.acquire(blocking=False):
            return False
        try:
            worked = self._compactor.tidy()
        finally:
            self._compacting.release()
        if worked:
            self.refresh()
        return worked

    def _tidy_after_shipping(self) -> None:
        """Looking for what to merge takes two requests: where something is known to be due, else now and then."""
        with self._lock:
            is_due, listed_s = self._view.is_crowded, max(self._view.listed_s, self._tidied_s)
        if not is_due and monotonic() - listed_s < TIDY_S:
            return
        self._tidied_s = monotonic()
        if not self._tidy() and is_due:  # others have merged it
            self.refresh()

    def _after_fork(self) -> None:
        self._lock, self._compacting = threading.RLock(), threading.Lock()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.after_fork()


def _reopen(storage: Storage, kind: str, options: dict[str, Any]) -> Journals:
    return Journals(storage, kind, **options)


def _refused(key: bytes, payload: bytes) -> InvalidInputError:
    return InvalidInputError(
        f"A record has a key of {KEY_BYTES} bytes and a payload of at most {MAX_PAYLOAD_BYTES}; "
        f"found a key of {len(key)} and a payload of {len(payload)}. Larger values belong in objects.",
        key_bytes=len(key),
        payload_bytes=len(payload),
    )


def _private_folder(purpose: str, storage: Storage) -> Path:
    """Where this user's machine keeps copies of, or records for, one store."""
    identity = str(getattr(storage, "identity", storage.url))
    return settings.cache_dir() / purpose / blake3(identity.encode("utf-8", "surrogatepass")).hexdigest(16)


class _Fork:
    """Forks see every `Journals` at rest: a lock that another thread holds at that moment would stay locked in the
    child for ever."""

    def __init__(self) -> None:
        self._held: list[Journals] = []

    def before(self) -> None:
        self._held = list(_living)
        for journals in self._held:
            journals._lock.acquire()

    def in_parent(self) -> None:
        held, self._held = self._held, []
        for journals in held:
            journals._lock.release()

    def in_child(self) -> None:
        held, self._held = self._held, []
        for journals in held:
            journals._after_fork()


_living: weakref.WeakSet[Journals] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    _fork = _Fork()
    os.register_at_fork(before=_fork.before, after_in_parent=_fork.in_parent, after_in_child=_fork.in_child)
