"""What the digest of a value rests on: enough to know later, without the value, whether it would be the same now.

A value of plain data, an array or a frame has its digest for ever. An instance carries the identity of its class's
code, so its digest changes when that code does: which code went in is noted here, and compared when the digest is used
in place of the value.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mlflowish.errors import MlflowishError, UncacheableError
from mlflowish.hashing.digests import walked
from mlflowish.hashing.fingerprint import code_identity
from mlflowish.hashing.plain import plain_digest

SCALAR, PLAIN, OTHER, UNKNOWN = "scalar", "plain", "other", ""
"""How a value stands in the digest of what it is a member of: kinds of `Identified`, as entries record them."""

_SCALARS = frozenset({int, float, str, bytes, bool, type(None)})
_NOWHERE = ("", "")
CodeRef = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class Identified:
    """A value's digest, None if it has none, and what that rests on.

    `kind`: SCALAR for what keys take as it is, PLAIN for what containers take in as bytes and not as a digest, OTHER.
    `code`: (module, qualified name, identity) of classes and functions in the value.
    """

    digest: bytes | None
    kind: str
    code: tuple[CodeRef, ...] = ()


def identified(value: Any, *, path: str) -> Identified:
    """The digest of a value, with what it rests on."""
    found = plain_digest(value)
    if found is not None:
        return Identified(found, SCALAR if type(value) in _SCALARS else PLAIN)
    met: dict[tuple[str, str], bytes] = {}

    def code(thing: object, place: str, /) -> bytes:
        identity = code_identity(thing, place)
        met[_place_of(thing)] = identity
        return identity

    try:
        digest = walked(value, code, path)
    except UncacheableError:
        return Identified(None, OTHER)
    # A list of numpy numbers is digested like an array: its members do not count one by one.
    kind = PLAIN if _is_numpy_scalar(value) else OTHER
    return Identified(digest, kind, tuple((*place, identity) for place, identity in sorted(met.items())))


def still_identified(code: Iterable[CodeRef]) -> bool:
    """Is all that code here, and what it was? A digest that rests on it is then that of the value now."""
    for module, qualname, identity in code:
        thing = _thing_at(module, qualname)
        try:
            if thing is None or _has_digester(thing) or code_identity(thing, qualname) != identity:
                return False
        except MlflowishError:
            return False
    return True


def _place_of(thing: object) -> tuple[str, str]:
    """Where code can be found again; nowhere for what has no name, or whose digests somebody else makes."""
    if isinstance(thing, ModuleType):
        return thing.__name__, ""
    module, qualname = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or _thing_at(module, qualname) is not thing:
        return _NOWHERE
    return (module, qualname) if not _has_digester(thing) else _NOWHERE


def _thing_at(module: str, qualname: str) -> object | None:
    found: Any = sys.modules.get(module)
    for name in qualname.split(".") if qualname else ():
        found = getattr(found, name, None)
    thing: object | None = found
    return thing


def _has_digester(thing: object) -> bool:
    from mlflowish.hashing import kinds

    return isinstance(thing, type) and kinds.is_registered(thing)


def _is_numpy_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)
