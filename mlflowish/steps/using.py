"""Which code of a step was used last, whether it computed or was read back: what `accept` means by "the previous one".

One record per change, kind `used`: a process looks once per fingerprint, and writes only if it is not the last one.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import msgpack
from blake3 import blake3

from mlflowish.errors import MlflowishError
from mlflowish.store import Store

_KIND = "used"
_log = logging.getLogger("mlflowish.steps")


def note(store: Store, step: str, fingerprint: bytes) -> None:
    """Record that calls of the step go by this code now, unless that is known."""
    try:
        used = history(store, step)
        if used and used[-1][1] == fingerprint:
            return
        store.create()
        record: Any = msgpack.packb([time.time(), fingerprint])
        store.journals(_KIND).append(_key(step), record)
    except MlflowishError as error:
        # Results do not depend on it, and a store that cannot be written says so where it matters.
        _log.info("%s: it was not recorded which code is in use: %s", step, error)


def history(store: Store, step: str) -> list[tuple[float, bytes]]:
    """(seconds since 1970, fingerprint digest) of each change of the code in use, oldest first."""
    found = []
    for payload in store.journals(_KIND).get(_key(step)):
        try:
            when, digest = msgpack.unpackb(payload)[:2]
            found.append((float(when), bytes(memoryview(digest))))
        except (ValueError, TypeError, OverflowError) as error:
            _log.warning("Passed over a record of the code that %s used: %s", step, error)
    return sorted(found)


def _key(step: str) -> bytes:
    return bytes(blake3(b"mlf1.used\0" + step.encode("utf-8", "surrogatepass")).digest(length=16))
