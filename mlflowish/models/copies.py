"""Small models that this process has built more than once, as pickles of its own making: a copy of one costs a fortieth
of building it, and is as much an object of its own.

Nothing about a store is believed longer for it: whoever asks has read the file, with all checks, and asks by its bytes.
Nothing stored is unpickled, either. What is kept was built from those bytes under a policy, is given only where the
policy would let it be built again, and only if a copy has the same digest.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

LARGEST_BYTES = 1 << 20  # of a file, and of a pickle: for larger ones building is not what a load waits for alone
MOST_BYTES = 32 << 20
_MOST_MODELS = 1024
_log = logging.getLogger("mlflowish.models")


@dataclass(frozen=True, slots=True)
class _Known:
    """What became of a model: built once (nothing yet), refused (tried, nothing), or kept, with what it is made of."""

    pickled: bytes = b""
    types: frozenset[str] = frozenset()
    is_tried: bool = False


class Copies:
    """The models that one process keeps, those forgotten first that were asked for longest ago. Thread-safe; a forked
    child begins anew."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self.forget()

    def forget(self) -> None:
        """Begin anew, with a lock that nobody holds."""
        self._lock = threading.RLock()  # a signal handler may load a model in the middle of loading one
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self.size_bytes = 0

    def built(
        self,
        data: bytes,
        build: Callable[[], Any],
        *,
        types: Callable[[], frozenset[str] | None],
        permits: Callable[[frozenset[str]], bool],
    ) -> Any:
        """What `build()` makes of the bytes of a file, or a copy of what it made of the same bytes before.

        `types()` names what a policy has to permit before that is built; None says that it is not to be kept.
        `permits` says whether the policy of this call does: if not, `build` is called, and refuses.
        """
        if len(data) > LARGEST_BYTES:
            return build()
        key: bytes = blake3(data).digest()
        known = self._find(key)
        if known is not None and known.pickled and permits(known.types):
            return pickle.loads(known.pickled)
        model = build()
        if known is None:
            self._keep(key, _Known())  # most models are loaded once: what a copy costs is spent the second time
        elif not known.is_tried:
            self._keep(key, _kept(model, types))
        return model

    def _find(self, key: bytes) -> _Known | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def _keep(self, key: bytes, known: _Known) -> None:
        with self._lock:
            self._drop(key)
            self._known[key] = known
            self.size_bytes += len(known.pickled)
            while self.size_bytes > self._most_bytes or len(self._known) > _MOST_MODELS:
                self._drop(next(iter(self._known)))

    def _drop(self, key: bytes) -> None:
        gone = self._known.pop(key, None)
        self.size_bytes -= 0 if gone is None else len(gone.pickled)


def _kept(model: Any, types: Callable[[], frozenset[str] | None]) -> _Known:
    """The model as it is kept; nothing, if a copy would not be what it is."""
    from mlflowish.hashing import digest

    try:
        needed, pickled = types(), pickle.dumps(model, protocol=5)
        if needed is not None and len(pickled) <= LARGEST_BYTES and digest(pickle.loads(pickled)) == digest(model):
            return _Known(pickled, needed, is_tried=True)
    except Exception as error:  # noqa: BLE001  what a class in the model cannot do: it is built each time
        _log.info("A %s is built at each load, as it cannot be copied: %r", type(model).__qualname__, error)
    return _Known(is_tried=True)


copies = Copies()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=copies.forget)
