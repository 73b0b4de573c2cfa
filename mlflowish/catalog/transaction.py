"""A transaction: reads of one snapshot, remembered so that they can be checked, and writes that wait for the commit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from blake3 import blake3

from mlflowish.catalog.plain import (
    MOST_VALUE_CHARACTERS,
    RESERVED,
    CommitTime,
    decode,
    encoder_at,
    require_key,
    require_scan_prefix,
    restored,
    sized_copy,
)
from mlflowish.catalog.record import Change, Encoded
from mlflowish.catalog.view import DEAD, EPOCH, Snapshot, View
from mlflowish.errors import ConflictError, InvalidInputError, NotFoundError, StateError
from mlflowish.storage.base import Storage
from mlflowish.storage.objects import ObjectRef, is_settled, settle_object

_DELETED = object()
ID = f"{RESERVED}id/"  # + digest of an id that a caller gave


class Transaction:
    """Reads and writes that happen together or not at all. Of one thread; made by `Catalog.transact` and `transaction`.

    Reads see the snapshot at which it began and its own writes. Everything read is checked at the commit, where it
    must still be as it was seen: so transactions are serialisable, in the order of their slots.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        storage: Storage,
        *,
        given_id: str | None = None,
        comment: str = "",
        is_doomed: Callable[[str], bool] | None = None,
        refresh_dooms: Callable[[], object] | None = None,
    ) -> None:
        self._snapshot, self._storage = snapshot, storage
        self._is_doomed = is_doomed or (lambda name: False)
        self._refresh_dooms = refresh_dooms or (lambda: None)
        self._given_id = require_id(given_id)
        self.id: str = given_id or f"{snapshot.slot}.{os.urandom(16).hex()}"
        self.comment = comment
        self.committed_s: float | None = None  # the recorded time, once it is in the log
        self._reads: dict[str, int] = {}
        self._scans: dict[str, tuple[tuple[str, int], ...]] = {}
        self._writes: dict[str, Any] = {}
        self._refs: dict[str, ObjectRef] = {}
        self._dooms: frozenset[str] = frozenset()
        self._sought: set[str] = set()
        self._hooks: list[Callable[[], object]] = []
        self._now: CommitTime | None = None
        self._is_open = True

    @property
    def slot(self) -> int:
        """The slot of the state that it reads."""
        return self._snapshot.slot

    @property
    def is_cleaned_away(self) -> bool:
        """Has a cleaning since removed what its state rests on, so that some of that cannot be read any more?"""
        return self._snapshot.view.base.later is not None

    @property
    def epoch(self) -> int:
        """The epoch of collection in which its references were looked at."""
        return self._snapshot.gc_epoch

    @property
    def now_s(self) -> float:
        """The time of the commit, in seconds since 1970: never less than that of any earlier slot.

        Put into a value as it is, it is replaced by the recorded time of the commit, should that turn out later.
        """
        if self._now is None:
            self._now = CommitTime(max(time.time(), self._snapshot.time_s))
        return self._now

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, a fresh copy; `default` if it has none."""
        self._require_open()
        if require_key(key) in self._writes:
            value = self._writes[key]
            return default if value is _DELETED else restored(value, self.now_s)
        text = self.read(key)
        return default if text is None else decode(text)

    def read(self, key: str) -> str | None:
        """The JSON of what the snapshot has under any key, remembered as read."""
        found = self._snapshot.view.lookup(key, self.slot)
        self._reads[key] = -1 if found is None else found[0]
        return None if found is None else found[1]

    def __contains__(self, key: str) -> bool:
        return self.get(key, _DELETED) is not _DELETED

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(key, value) of every key that begins with the prefix, in key order.

        That there are these and no others is checked at the commit.
        """
        self._require_open()
        require_scan_prefix(prefix)
        rows = [row for row in self._snapshot.view.scan(prefix, self.slot) if not row[0].startswith(RESERVED)]
        self._scans[prefix] = tuple((key, slot) for key, slot, _ in rows)
        found: dict[str, Any] = {key: text for key, _, text in rows}
        mine = {key: value for key, value in self._writes.items() if key.startswith(prefix) and key[0] != RESERVED}
        found.update(mine)
        return (
            (key, decode(found[key]) if key not in mine else restored(mine[key], self.now_s))
            for key in sorted(found)
            if found[key] is not _DELETED
        )

    def put(self, key: str, value: Any) -> None:
        """Set the value of a key: plain data. InvalidInputError names the place of what is not.

        A `refs` at the top of a dict, of the form [[name, size], ...], names objects: they are referred to (`refer`).
        """
        self._require_open()
        copy, most = sized_copy(value, f"The value of {require_key(key)!r}")
        if most > MOST_VALUE_CHARACTERS and (size := len(encoder_at(self.now_s)(copy))) > MOST_VALUE_CHARACTERS:
            raise InvalidInputError(
                f"The value of {key!r} is {size} characters of JSON, at most {MOST_VALUE_CHARACTERS} are kept. "
                "Store it as an object, and its name here.",
                key=key,
            )
        refs = _refs_in(copy, key)
        if refs:
            kept = {ref.name for ref in _refs_in(self._seen(key), key)}
            self.refer(*(ref for ref in refs if ref.name not in kept))
            self._refs.update((ref.name, ref) for ref in refs)
        self._writes[key] = copy

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens if it has no value."""
        self._require_open()
        self._writes[require_key(key)] = _DELETED

    def refer(self, *refs: ObjectRef) -> None:
        """Say that what is put names these objects: they must be there, and not be doomed until the commit. They are
        flushed to the disk if they have not been: results of steps may be on their way.

        NotFoundError for one that is not there; ConflictError with `doomed` for one that a collection gave up: store it
        again, and it gets a name of its own.
        """
        self._require_open()
        if refs:
            self.read(EPOCH)
        for ref in refs:
            # The order matters: the epoch, then the dead, then what is there. A later doom changes what was read.
            self._require_not_doomed(ref)
            try:
                self._require_there(ref)
            except NotFoundError:
                self._refresh_dooms()  # where looking costs a request, what `is_doomed` knows may be old
                self._require_not_doomed(ref)  # since that look: given up and deleted
                raise
            self._refs[ref.name] = ref

    def on_commit(self, function: Callable[[], object]) -> None:
        """Call the function after the commit is durable; never if it fails. What it raises is logged."""
        self._require_open()
        self._hooks.append(function)

    # -- for the catalog ---------------------------------------------------------------------------

    def put_own(self, key: str, value: Any) -> None:
        """Set one of the catalog's own keys."""
        self._writes[key] = value

    def delete_own(self, *keys: str) -> None:
        """Remove some of the catalog's own keys."""
        self._writes.update(dict.fromkeys(keys, _DELETED))

    def seek(self, given_id: str) -> None:
        """An id was looked for in the log, and what is done rests on its not being there."""
        self._sought.add(given_id)

    def doom(self, names: frozenset[str]) -> None:
        """No commit after this one may refer to these objects, and none between may have done so."""
        self._dooms |= names

    @property
    def earliest_s(self) -> float:
        """The time that was handed out for its commit, 0 if nobody asked."""
        return 0.0 if self._now is None else float(self._now)

    @property
    def dooms(self) -> frozenset[str]:
        """The objects that it gives up."""
        return self._dooms

    @property
    def sought(self) -> set[str]:
        """The ids of commits that must not be in the log."""
        return self._sought

    @property
    def refs(self) -> dict[str, ObjectRef]:
        """The objects that it refers to, by name."""
        return self._refs

    @property
    def writes(self) -> dict[str, Any]:
        """What it puts and deletes."""
        return self._writes

    @property
    def reads(self) -> dict[str, int]:
        """The keys that it read, and the slot in which each was last written."""
        return self._reads

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What it scanned."""
        return tuple(self._scans)

    @property
    def is_empty(self) -> bool:
        """Does it change nothing?"""
        return not self._writes and not self._refs

    @property
    def given_id(self) -> str | None:
        """The idempotency id that the caller gave."""
        return self._given_id

    def conflicts(self, view: View, head: int) -> list[str]:
        """The keys and prefixes whose state at a slot of the view is not the one that was read."""
        if head == self.slot:
            return []
        changed = [key for key, seen in self._reads.items() if _slot_of(view, key, head) != seen]
        for prefix, seen_rows in self._scans.items():
            rows = (row[:2] for row in view.scan(prefix, head) if not row[0].startswith(RESERVED))
            if tuple(rows) != seen_rows:
                changed.append(prefix)
        return changed

    def change(self, time_s: float) -> Change:
        """As it will stand in the record, and as it is read from there."""
        writes = sorted(self._writes.items(), key=_first)
        encode = encoder_at(time_s)
        return Change(
            id=self.id,
            puts=Encoded({key: encode(value) for key, value in writes if value is not _DELETED}),
            deletes=tuple(key for key, value in writes if value is _DELETED),
            comment=self.comment,
            reads={key: slot for key, slot in sorted(self._reads.items()) if key[0] != RESERVED},
            prefixes=tuple(sorted(self._scans)),
            refs=tuple(ref for _, ref in sorted(self._refs.items(), key=_first)),
            base=self.slot,
        )

    def saved(self) -> Any:
        """What `restore` needs to undo the writes made from now on; reads stay."""
        return dict(self._writes), dict(self._refs), list(self._hooks)

    def restore(self, saved: Any) -> None:
        """Undo the writes made since `saved`."""
        self._writes, self._refs, self._hooks = saved

    def close(self) -> list[Callable[[], object]]:
        """End it; gives the functions to call after the commit."""
        self._is_open = False
        hooks, self._hooks = self._hooks, []
        return hooks

    @property
    def is_open(self) -> bool:
        """Can it still be used?"""
        return self._is_open

    def _require_not_doomed(self, ref: ObjectRef) -> None:
        if self.read(DEAD + ref.name) is not None or self._is_doomed(ref.name):
            raise ConflictError(
                f"The object {ref.name} was given up by a garbage collection: store it again and refer to the name "
                "that it gets then",
                keys=[],
                doomed=[ref.name],
            )

    def _require_there(self, ref: ObjectRef) -> None:
        if is_settled(self._storage, ref):
            return
        if not _is_there(self._storage, ref):
            raise NotFoundError(
                f"The object {ref.name} ({ref.size_bytes} bytes) that this transaction refers to is not in "
                f"{self._storage.url}. Store it first.",
                name=ref.name,
            )
        settle_object(self._storage, ref)

    def _seen(self, key: str) -> Any:
        """What the key holds as far as this transaction has looked already: no look-up of its own, which could
        conflict."""
        if key in self._writes:
            value = self._writes[key]
            return None if value is _DELETED else value
        if key not in self._reads and not any(key.startswith(prefix) for prefix in self._scans):
            return None
        found = self._snapshot.view.lookup(key, self.slot)
        return None if found is None else decode(found[1])

    def _require_open(self) -> None:
        if not self._is_open:
            raise StateError("This transaction has ended; begin another with catalog.transaction() or transact()")


def id_key(given: str) -> str:
    """The key under which an id that a caller gave is remembered."""
    return ID + blake3(given.encode("utf-8", "surrogatepass")).hexdigest(length=16)


def require_id(given: str | None) -> str | None:
    """The id itself; InvalidInputError unless it is None, or text of 1 to 200 characters."""
    if given is not None and (not isinstance(given, str) or not 0 < len(given) <= 200):
        message = f"The id of a transaction is text of 1 to 200 characters, found {given!r:.300}"
        raise InvalidInputError(message, id=given)
    return given


def _refs_in(value: Any, key: str) -> list[ObjectRef]:
    listed = value.get("refs") if type(value) is dict else None
    if listed is None:
        return []
    try:
        return [ObjectRef(name, size) for name, size in listed]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"The 'refs' of {key!r} are not of the form [[name, size], ...], each the name of an object: {error}",
            key=key,
        ) from error


def _is_there(storage: Storage, ref: ObjectRef) -> bool:
    try:
        return storage.size(ref.path) == ref.size_bytes
    except NotFoundError:
        return False


def _first(item: tuple[str, Any]) -> str:
    return item[0]


def _slot_of(view: View, key: str, head: int) -> int:
    found = view.lookup(key, head)
    return -1 if found is None else found[0]
