"""What makes two things the same: digests of values and fingerprints of code. Pure: no clock, no randomness, no store.

`digest(value)` and `hexdigest(value)` identify a value by its content; `fingerprint(function)` identifies a function
by the code that it can reach. Names are imported when they are first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflowish.hashing.digests import CodeHook, digest, digest_call, hexdigest, register_digester
    from mlflowish.hashing.fingerprint import Fingerprint, fingerprint

_HOMES = {
    "CodeHook": "digests",
    "Fingerprint": "fingerprint",
    "digest": "digests",
    "digest_call": "digests",
    "hexdigest": "digests",
    "register_digester": "digests",
}

__all__ = ["CodeHook", "Fingerprint", "digest", "digest_call", "fingerprint", "hexdigest", "register_digester"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps `fingerprint` the function: importing the submodule of that name would put the module in its place."""

    @property
    def fingerprint(self) -> Any:
        return import_module(f"{self.__name__}.fingerprint").fingerprint

    @fingerprint.setter
    def fingerprint(self, module: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
