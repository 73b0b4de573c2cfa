"""Accepted edits: the user's word that new code means the same as old code, kept as a record and listed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from time import monotonic
from typing import Any

import msgpack

from mlflowish.errors import InvalidInputError, NotFoundError, StateError
from mlflowish.journals import NEWS_S
from mlflowish.steps import using
from mlflowish.steps.identity import Identifier, Identity
from mlflowish.store import Entry, Store

_KIND = "accepted"
_log = logging.getLogger("mlflowish.steps")
_LONGEST_CHAIN = 1_000
_MOST_KNOWN = 1_000

# Until when nobody has accepted some code, by store and fingerprint, without another look (a tenth of a cold
# call). What is missed computes.
_none_until_s: dict[tuple[str, bytes], float] = {}


def entries(store: Store, identifier: Identifier, identity: Identity) -> list[Entry]:
    """What is stored for the same call under earlier code that was accepted as equal in meaning, nearest first; [] if
    nothing was."""
    if identity.fingerprint is None:
        return []
    place = (store.url, identity.fingerprint.digest)
    if monotonic() < _none_until_s.get(place, 0.0):
        return []
    is_accepted = False
    for earlier in _earlier(store, identity.fingerprint.digest):
        is_accepted = True
        if found := store.entries(identifier.key_under(earlier, identity)):
            return found
    if not is_accepted:
        if len(_none_until_s) >= _MOST_KNOWN:
            _none_until_s.clear()
        _none_until_s[place] = monotonic() + NEWS_S
    return []


def _earlier(store: Store, digest: bytes) -> Iterator[bytes]:
    seen = {digest}
    waiting = [digest]
    while waiting and len(seen) < _LONGEST_CHAIN:
        for earlier in _accepted_for(store, waiting.pop(0)):
            if earlier not in seen:
                seen.add(earlier)
                waiting.append(earlier)
                yield earlier


def accept(step: Any, *, reason: str, previous: str | None = None, store: Any = None) -> str:
    """Declare that the step's present code means the same as the previous one: its results keep hitting.

    The previous code is what calls of the step went by last, computed or read back, before they went by the present
    code. If you mean another, say which by its fingerprint digest: `previous="..."`.

    The word is kept in the store with `reason`, user and time, and holds for everybody who uses it. Returns the
    digest of the earlier fingerprint. NotFoundError if the step has no stored result, StateError if all of them are
    of the present code.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-accept"):
    ...     @mf.step
    ...     def double(x):
    ...         return x + x
    ...     before = double(4)
    ...     @mf.step
    ...     def double(x):
    ...         return 2 * x
    ...     _ = mf.accept(double, reason="the same in other words")
    ...     double.call(4).hit
    True
    """
    from mlflowish.steps.bound import BoundStep
    from mlflowish.steps.wrapper import Step
    from mlflowish.store import as_store

    step = getattr(step, "__func__", step)  # of a class method
    if isinstance(step, BoundStep):
        step = step.__wrapped__
    if not isinstance(step, Step):
        raise InvalidInputError(
            f"accept takes a step, found {type(step).__name__}; decorate the function with @step", found=repr(step)
        )
    if not isinstance(reason, str) or not reason.strip():
        raise InvalidInputError(
            "accept(step, reason=...) wants a reason: whoever finds the record will ask for it", found=reason
        )
    opened = step.store if store is None else as_store(store)
    stored = [call for call in opened.calls(step.name) if isinstance(call, Entry)]
    if not stored:
        raise NotFoundError(
            f"There is no stored result of {step.name} in {opened.url} whose code could be meant; run it first",
            step=step.name,
        )
    present = step.fingerprint.digest
    known = _last_used(opened, step.name, stored)
    if previous is not None and previous not in known:
        raise NotFoundError(
            f"No stored result of {step.name} was computed by code of fingerprint {previous!r}; "
            f"there are results by {', '.join(known[:5])}",
            step=step.name,
        )
    others = [digest for digest in known if digest != present.hex()] if previous is None else [previous]
    if not others or others[0] == present.hex():
        raise StateError(
            f"The code of {step.name} is that of its stored results: there is nothing to accept", step=step.name
        )
    earlier = bytes.fromhex(others[0])
    if earlier in _accepted_for(opened, present):
        return earlier.hex()
    record: Any = msgpack.packb([earlier, reason, _user(), time.time(), step.name])
    opened.create()
    opened.journals(_KIND).append(present, record)
    _none_until_s.clear()
    return earlier.hex()


def _last_used(store: Store, step: str, stored: list[Entry]) -> list[str]:
    """Fingerprint digests of stored results, the one that calls went by last first."""
    last: dict[str, float] = {}
    for entry in stored:
        digest = entry.meta.fingerprint
        last[digest] = max(last.get(digest, 0.0), entry.created_s)
    for when, used in using.history(store, step):
        if used.hex() in last:
            last[used.hex()] = max(last[used.hex()], when)
    return sorted(last, key=lambda digest: last[digest], reverse=True)


def _accepted_for(store: Store, digest: bytes) -> list[bytes]:
    found = (_unpacked(payload) for payload in store.journals(_KIND).get(digest))
    return [record[0] for record in found if record is not None]


def _unpacked(payload: bytes) -> tuple[bytes, str, str, float, str] | None:
    """Earlier digest, reason, user, time, step; None, and a warning, for what nobody of ours can have written."""
    try:
        earlier, reason, who, when, name = msgpack.unpackb(payload, unicode_errors="surrogatepass")[:5]
        return bytes(memoryview(earlier)), str(reason), str(who), float(when), str(name)
    except (ValueError, TypeError, OverflowError) as error:
        _log.warning("Passed over a record of an accepted edit: %s", error)
        return None


def accepted(store: Store) -> list[dict[str, Any]]:
    """Every accepted edit in a store.

    Step, earlier and present fingerprint, reason, who, when (seconds since 1970).

    >>> import mlflowish as mf
    >>> mf.accepted(mf.active_store())
    []
    """
    rows = []
    for key, payload in store.journals(_KIND).scan():
        record = _unpacked(payload)
        if record is None:
            continue
        earlier, reason, who, when, name = record
        rows.append(
            {"step": name, "earlier": earlier.hex(), "present": key.hex(), "reason": reason, "who": who, "time": when}
        )
    return sorted(rows, key=lambda row: row["time"])


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
