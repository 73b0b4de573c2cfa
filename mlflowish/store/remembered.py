"""Contents of files that were read before, so that what looks unchanged is not read again: in this process, and in the
store.

What a file looks like (of a local one size, times and inode, of a remote one what its server says) is hashed to a key;
under it the journal `files` has the BLAKE3-256 of the content. Whoever computes a key answers for it: it must differ
whenever the content may differ. A record that is lost costs one reading.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgpack

from mlflowish.errors import MlflowishError
from mlflowish.store.active import active_store
from mlflowish.store.store import Store

KIND = "files"
CONTENT_BYTES = 32
_MOST = 200_000
_memory: dict[bytes, bytes] = {}
_looking_in: ContextVar[Store | None] = ContextVar("mlflowish_looking_in", default=None)
_log = logging.getLogger("mlflowish.store")

waiting: dict[bytes, bytes] = {}
"""What was found out and is in no store yet: asking for a digest creates none. Steps call `write_down`."""


@contextmanager
def looking_in(store: Store) -> Iterator[None]:
    """In the block contents are recalled from this store, and not from the active one."""
    token = _looking_in.set(store)
    try:
        yield
    finally:
        _looking_in.reset(token)


def recall(key: bytes) -> bytes | None:
    """The content (32 bytes) of the file that looked like this; None if nobody has read it."""
    found = _memory.get(key)
    if found is None and (found := _stored(key)) is not None:
        _keep(key, found)
    return found


def remember(key: bytes, content: bytes) -> None:
    """A file that looks like this has this content."""
    _keep(key, content)
    if len(waiting) < _MOST:
        waiting[key] = content


def write_down(store: Store) -> None:
    """Put what waits into the store. Results do not depend on it: a store that cannot be written is no error."""
    while waiting:
        try:
            key, content = waiting.popitem()
        except KeyError:  # another thread was quicker
            return
        record: Any = msgpack.packb([content])
        try:
            store.create()
            store.journals(KIND).append(key, record)
        except MlflowishError as error:
            _log.info("It was not recorded which content %d files have: %s", len(waiting) + 1, error)
            waiting.clear()


def unpacked(payload: bytes) -> bytes:
    """The content in a record of kind `files`; ValueError if nobody of ours can have written it."""
    content = msgpack.unpackb(payload)[0]
    if not isinstance(content, bytes) or len(content) != CONTENT_BYTES:
        raise ValueError(f"it holds no hash of {CONTENT_BYTES} bytes")
    return content


def _stored(key: bytes) -> bytes | None:
    try:
        store = _looking_in.get() or active_store()
        payloads = store.journals(KIND).get(key)
    except MlflowishError as error:
        _log.info("Looking up the content of a file failed, it is read: %s", error)
        return None
    contents = set()
    for payload in payloads:
        try:
            contents.add(unpacked(payload))
        except (ValueError, TypeError, LookupError) as error:
            _log.warning("Passed over a record of the content of a file: %s", error)
    # Two answers to one question: somebody was wrong, so nobody is believed.
    return contents.pop() if len(contents) == 1 else None


def _keep(key: bytes, content: bytes) -> None:
    if len(_memory) >= _MOST:
        _memory.clear()
    _memory[key] = content
