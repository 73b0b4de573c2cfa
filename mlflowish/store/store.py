"""One opened location: its backend, its objects, its journals, and the entries of calls that live in them."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mlflowish.errors import InvalidInputError, MlflowishError, StorageError
from mlflowish.store import entries as records
from mlflowish.store import forgetting, uses
from mlflowish.store.entries import Entry, Event, Meta, Part
from mlflowish.store.layout import FORMAT_VERSION, create_layout, read_layout

if TYPE_CHECKING:
    from mlflowish.catalog import Catalog, Transaction
    from mlflowish.journals import Journals
    from mlflowish.storage import ObjectRef, ObjectStore, Storage
    from mlflowish.store.dooms import Dooms

T = TypeVar("T")
Verify = Literal["sealed", "always", "never"]

# The stores of the enclosing `with` blocks, innermost last: a tuple, so that threads and tasks each see their own.
block_stores: ContextVar[tuple[Store, ...]] = ContextVar("mlflowish_stores", default=())


class Store:
    """A store at a local path or fsspec URL; `with store:` makes it the active one in the block.

    `Store("s3://team/lab", key=..., secret=...)`: options beyond ours go to fsspec. Nothing is created before the
    first write.

    `allow_pickle=False` refuses to load results that only pickle could store: loading a pickle executes code, so
    use it for stores that others can write to and that you do not trust. `verify`: "sealed" (default) hashes an
    object when its file was touched since it was last checked, "always" on every load, "never" not at all.

    Thread-safe, process-safe and fork-safe. Picklable: it travels as URL and options. Raises InvalidInputError or
    CapabilityError for a URL that names no
    known backend, MissingExtraError when a driver is not installed, FormatVersionError (at first use) for a store
    of a newer format.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-store") as store:
    ...     mf.active_store() is store
    True
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | None = None,
        *,
        allow_pickle: bool = True,
        verify: Verify = "sealed",
        **storage_options: Any,
    ) -> None:
        from mlflowish import settings
        from mlflowish.storage import ObjectStore, open_storage

        if verify not in ("sealed", "always", "never"):
            raise InvalidInputError(f"verify is 'sealed', 'always' or 'never', found {verify!r}", found=verify)
        if url is not None and not isinstance(url, (str, os.PathLike)):
            raise InvalidInputError(f"A store is the path of a folder or a URL, found {url!r}", found=repr(url))
        location = settings.default_store_url() if url is None else os.fspath(url)
        # Where it travels to, the working directory is another.
        place = location if "://" in location else os.path.abspath(os.path.expanduser(location))
        self._arguments = (place, allow_pickle, verify, storage_options)
        self.allow_pickle = allow_pickle
        self.storage: Storage = open_storage(location, **storage_options)
        self.objects: ObjectStore = ObjectStore(self.storage, verify=verify, is_doomed=self._is_doomed)
        self._journals: dict[str, Journals] = {}
        self._dooms: Dooms | None = None
        self._catalog: Catalog | None = None
        self._lock = threading.RLock()
        _living.add(self)
        self._checked = False
        self._created = False
        self._records_uses = False

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        return self.storage.url

    def journals(self, kind: str) -> Journals:
        """The journals of one kind of record (`calls`, `fingerprints`, ...)."""
        found = self._journals.get(kind)
        return found if found is not None else self._open_journals(kind)

    def _open_journals(self, kind: str) -> Journals:
        from mlflowish.journals import Journals

        self.check_format()
        with self._lock:
            if kind not in self._journals:
                self._journals[kind] = Journals(self.storage, kind)
            return self._journals[kind]

    @property
    def dooms(self) -> Dooms:
        """Which objects are to be deleted."""
        found = self._dooms
        if found is None:
            from mlflowish.store.dooms import Dooms

            with self._lock:
                if self._dooms is None:
                    self._dooms = Dooms(self.storage)
                found = self._dooms
        return found

    def check_format(self) -> None:
        """FormatVersionError if a newer version wrote this store; costs one read, once."""
        if self._checked:
            return
        self._created = read_layout(self.storage) is not None
        self._checked = True

    def create(self) -> None:
        """Make the location a store, if it is none yet: done by the first write."""
        self.check_format()
        if self._created:
            return
        create_layout(self.storage)
        if self.storage.capabilities.local_paths:
            # Results do not belong into the user's version control.
            self.storage.put_if_absent(".gitignore", b"*\n")
        self._created = True

    # -- what needs agreement ------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """The transactional log of this store; opened at the first use, created by the first commit."""
        found = self._catalog
        if found is None:
            from mlflowish.catalog import Catalog

            self.check_format()
            with self._lock:
                if self._catalog is None:
                    self._catalog = Catalog(self.storage, self.create, self._is_doomed, self._refresh_dooms)
                found = self._catalog
        return found

    def transact(
        self,
        function: Callable[[Transaction], T],
        *,
        id: str | None = None,  # noqa: A002  what it is
        comment: str = "",
    ) -> T:
        """`function(tx)` in the enclosing `mf.transaction()` of this store, if there is one: nothing is committed
        before the outer block ends. Else in one of its own, called again after a conflict: `Catalog.transact`; other
        changes of this store that the function makes are part of it.
        """
        from mlflowish.store.transactions import entered, joined

        def run(tx: Transaction) -> T:
            with entered(self, tx):
                return function(tx)

        outer = joined(self, id)
        if outer is None:
            return self.catalog.transact(run, id=id, comment=comment)
        with outer:
            if outer.repeated is not None:
                return outer.repeated[0]  # type: ignore[no-any-return]  # what an earlier call of this function returned
            outer.result = result = function(outer.transaction)
            return result

    # -- entries -----------------------------------------------------------------------------------

    def entries(self, key: bytes) -> list[Entry]:
        """What is stored under the key of a call, newest first; [] if nothing is. One look-up."""
        payloads = self.journals("calls").get(key)
        return records.live_entries(key, payloads) if payloads else []

    def add_entry(self, entry: Entry, *, step: str) -> None:
        """Store an entry whose objects are stored already: acknowledged when this returns. `add_uses` comes before."""
        self.create()
        self.journals("calls").append(entry.key, records.pack_entry(entry, records.step_tag(step)))

    def add_uses(self, key: bytes, meta: Meta) -> None:
        """Record what the call with this key used, for whoever looks for what was made of that: `store/uses.py`."""
        self.create()
        journals = self.journals("calls")
        if not self._records_uses:
            uses.mark(journals)
            self._records_uses = True
        payload = b""
        for role, name in uses.uses_of(meta):
            payload = payload or uses.pack_use(key, records.step_tag(meta.step))
            journals.append(uses.use_key(role, name), payload)

    def add_part(self, part: Part, *, step: str) -> None:
        """Keep an object of an entry that is not complete yet from being collected, for a week at most."""
        self.create()
        self.journals("calls").append(part.key, records.pack_part(part, records.step_tag(step)))

    def are_doomed(self, objects: Sequence[ObjectRef]) -> bool:
        """Has a collection decided on one of these since it was stored? Ask after the record that names them was
        appended: store them again then, they get new names.
        """
        return any(ref.name in self.dooms for ref in objects)

    def _is_doomed(self, name: str) -> bool:
        return name in self.dooms

    def _refresh_dooms(self) -> None:
        self.dooms.refresh()

    def add_event(self, event: Event, *, step: str) -> None:
        """Record a call that left no result."""
        self.create()
        self.journals("calls").append(event.key, records.pack_event(event, records.step_tag(step)))

    def forget(self, key: bytes, entry_ids: Sequence[bytes], *, step: str) -> None:
        """Remove these entries of a key: they never hit again. Their objects stay until garbage collection."""
        self.forget_all({key: entry_ids}, step=step)

    def forget_all(self, entry_ids: Mapping[bytes, Sequence[bytes]], *, step: str) -> None:
        """The same for entries of several keys of one step. In a bucket others can see it when this returns."""
        if not any(entry_ids.values()):
            return
        tag, journals = records.step_tag(step), self.journals("calls")
        forgetting.note(self, tag)
        for key, ids in entry_ids.items():
            if ids:
                journals.append(key, records.pack_tombstone(ids, tag))
        if not self.storage.capabilities.append:
            with suppress(StorageError):  # out of reach: shipped when it can be
                journals.flush()
        forgetting.note(self, tag)  # whoever has looked since the first note may rely on what is gone now

    def removals(self, key: bytes) -> tuple[bytes, ...]:
        """The records that remove entries of a key, as far as they are known here: for `hear_of`, elsewhere."""
        known = self.journals("calls").views(key)
        return tuple(dict.fromkeys(bytes(payload) for payload in known if payload[:1] == records.TOMBSTONE))

    def hear_of(self, key: bytes, removals: Sequence[bytes]) -> None:
        """Another process knows these `removals` of a key: what they remove never hits here either, though they may
        still be on their way."""
        journals = self.journals("calls")
        for payload in removals:
            if payload not in journals.views(key):
                journals.append(key, payload)

    def calls(self, step: str | None = None) -> Iterator[Entry | Event]:
        """Every live entry and every event, of one step or of all, in no order. Reads everything there is."""
        tag = None if step is None else records.step_tag(step)
        known = self.journals("calls").scan()
        return iter(records.live_records(item for item in known if tag is None or item[1][1:9] == tag))

    # -- life --------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Merge journals into segments now. It happens by itself; this is for impatient people and tests."""
        found = (info.path.split("/") for folder in ("journals", "segments") for info in self.storage.list(folder))
        for kind in sorted({parts[1] for parts in found if len(parts) == 3}):
            self.journals(kind).compact(records.fold if kind == "calls" else None)

    def flush(self) -> None:
        """Remote stores: ship what is spooled on this machine now. Local stores have nothing to ship."""
        for journals in list(self._journals.values()):
            journals.flush()

    def close(self) -> None:
        """Ship what is spooled and release files; a closed store opens again by itself when it is used."""
        with self._lock:
            for journals in self._journals.values():
                journals.close()
            self._journals.clear()
            dooms, self._dooms = self._dooms, None
            if dooms is not None:
                dooms.close()
            self._catalog = None
            self._checked = False
            self._records_uses = False

    def __enter__(self) -> Store:
        block_stores.set((*block_stores.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        block_stores.set(block_stores.get()[:-1])
        self.flush()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, self._arguments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and other._arguments == self._arguments

    def __hash__(self) -> int:
        return hash(self._arguments[0])

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        rows = [("location", self.url), ("format", str(FORMAT_VERSION))]
        try:
            calls = sum(isinstance(record, Entry) for record in self.calls())
            rows.append(("stored results", str(calls)))
        except MlflowishError as error:
            rows.append(("state", str(error)))
        return card("Store", rows)


def _renew_locks() -> None:
    for store in list(_living):
        store._lock = threading.RLock()


_living: weakref.WeakSet[Store] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)  # another thread of the parent may have held one


def _reopen(location: str, allow_pickle: bool, verify: Verify, options: dict[str, Any]) -> Store:
    return Store(location, allow_pickle=allow_pickle, verify=verify, **options)
