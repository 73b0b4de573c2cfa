"""What an entry keeps of the arguments themselves, so that the call can be made again: small plain values, and where
files lay. Never what sounds like a secret, and nothing that another call of a step can give.

A call of scalars alone costs nothing: the token that its key is made of holds their values already.
"""

from __future__ import annotations

import functools
import marshal
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from mlflowish.codecs.constructors import NotPlain
from mlflowish.codecs.streams import dump, dump_tree, load, load_tree
from mlflowish.errors import IntegrityError
from mlflowish.steps.provenance import SHARED, producer_of
from mlflowish.steps.writing import sounds_secret
from mlflowish.store import Dir, File, Meta
from mlflowish.store.masking import is_secret

_MOST_BYTES = 1024  # of one argument
_MOST_MEMBERS = 128
# With these come credentials, or may: `postgres://user:password@host`, `https://host/?signature=...`.
_URL = b"://"
_SECRET_IN_URL = re.compile(
    r"://[^\s/]*@|[?&][^=\s]*(?:sig|token|key|secret|password|credential)[^=\s]*=", re.IGNORECASE
)
_SCALARS = frozenset({int, float, complex, str, bytes, bool, type(None)})
_HOLDERS = (list, tuple, dict)
_SEQUENCES = (list, tuple, set, frozenset)
_PATHS: dict[type, bytes] = {File: b"F", Dir: b"D"}


class Holder:
    """A kept list, tuple or dict in which some members were results of calls."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream

    def filled(self, result_of: Callable[[str], Any]) -> Any:
        """The container, with `result_of(key)` in the place of each such member."""
        return load_tree(self._stream, result_of)


def recorded(names: Sequence[str], values: Sequence[Any], token: bytes, *, has_secrets: bool) -> tuple[bytes, ...]:
    """What to keep of the arguments: the token of them all, or a piece for each, empty for what is not kept.

    `has_secrets`: whether a name among them sounds like one of a secret.
    """
    if token[:1] == b"S" and len(token) <= _MOST_BYTES and not has_secrets and _URL not in token:
        return (token,)
    pieces = tuple(_piece(name, value) for name, value in zip(names, values, strict=True))
    return pieces if any(pieces) else ()


def sound_secret(names: Sequence[str]) -> bool:
    """Does one of these names say that its value is a secret?"""
    return any(map(_sounds_secret, names))


def kept(meta: Meta) -> dict[str, Any]:
    """The arguments that an entry keeps, by name: values, `File` and `Dir` of where they lay, and `Holder`. Files
    may have changed since; compare digests."""
    names = [name for name, _, _ in meta.arguments]
    pieces = meta.inputs
    try:
        if len(pieces) == 1 and pieces[0][:1] == b"S":
            values = marshal.loads(pieces[0][1:])
            return dict(zip(names, values, strict=True))
        return {name: _value(piece) for name, piece in zip(names, pieces, strict=bool(pieces)) if piece}
    except (ValueError, TypeError, EOFError) as error:
        raise IntegrityError(f"The kept arguments of a call of {meta.step} cannot be parsed: {error}") from error


def _piece(name: str, value: Any) -> bytes:
    if _sounds_secret(name):
        return b""
    tag = _PATHS.get(type(value))
    if tag is not None:
        # Options of remote files are credentials, as a rule.
        return tag + os.fsencode(os.path.abspath(value.path)) if "://" not in value.path else b""
    try:
        if _room(value, _MOST_MEMBERS) >= 0:
            stream, tag = dump(value), b"P"
        elif type(value) in _HOLDERS and len(value) <= _MOST_MEMBERS and producer_of(value) is None:
            stream, tag = dump_tree(value, _produced), b"T"
        else:
            return b""
    except NotPlain:
        return b""
    return tag + stream.joined() if stream.size_bytes <= _MOST_BYTES else b""


def _produced(member: Any) -> str | None:
    """What stands in a kept container for a member that a call returned: the key of the call."""
    if type(member) is dict and _has_secret_keys(member):
        raise NotPlain("a secret")
    if type(member) in SHARED:
        if type(member) in (str, bytes) and _room(member, 1) < 0:
            raise NotPlain("a text that is not kept")
        return None
    return producer_of(member)


def _value(piece: bytes) -> Any:
    tag, body = piece[:1], piece[1:]
    if tag == b"P":
        return load(body)
    if tag == b"T":
        return Holder(body)
    if tag in (b"F", b"D"):
        path = os.fsdecode(body)
        return File(path) if tag == b"F" else Dir(path)
    raise ValueError(f"a piece of the kind {tag!r}")


def _room(value: Any, room: int) -> int:
    """How many members more there may be after this value; negative if it must not be kept."""
    kind = type(value)
    if kind is str:
        is_open = len(value) <= _MOST_BYTES and not ("://" in value and _SECRET_IN_URL.search(value))
        return room - 1 if is_open else -1
    if kind is bytes:
        return room - 1 if len(value) <= _MOST_BYTES and _URL not in value else -1
    if kind is dict:
        if len(value) > room or _has_secret_keys(value):
            return -1
        for key, member in value.items():
            room = _room(member, _room(key, room)) if room >= 0 else room
        return room
    if kind in _SEQUENCES:
        if len(value) > room:
            return -1
        for member in value:
            room = _room(member, room) if room >= 0 else room
        return room - 1
    # Dates, decimals, paths and the like are of one piece.
    return room - 1 if kind in _SCALARS or kind.__module__ in _PLAIN_MODULES else -1


def _has_secret_keys(value: dict[Any, Any]) -> bool:
    return any(type(key) is str and _sounds_secret(key) for key in value)


_PLAIN_MODULES = frozenset({"datetime", "decimal", "fractions", "uuid", "pathlib", "builtins", "zoneinfo"})


@functools.lru_cache(maxsize=4096)
def _sounds_secret(name: str) -> bool:
    return is_secret(name) or sounds_secret(name)
