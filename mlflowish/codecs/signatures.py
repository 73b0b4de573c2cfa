"""Is a class of `__main__` still the one whose instance was stored? A signature of its body as compiled."""

from __future__ import annotations

import hashlib
import sys
import types
from typing import Any

_INCIDENTAL = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__", "__annotations__"}
    | {"__annotations_cache__", "__abstractmethods__", "_abc_impl", "__slotnames__"}
)
_CONSTANTS = (type(None), bool, int, float, complex, str, bytes)


def class_signature(kind: type) -> str:
    """Equal for two runs of the same class statement on the same minor version of Python.

    In practice different for any other body.
    """
    lines = [f"{sys.version_info[:2]}", kind.__qualname__, *(base.__qualname__ for base in kind.__bases__)]
    for name, member in sorted(vars(kind).items()):
        if name not in _INCIDENTAL:
            lines.append(f"{name}: {_member(member)}")
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _member(member: Any) -> str:
    if isinstance(member, types.FunctionType):
        return f"def {_code(member.__code__)} {_constant(member.__defaults__)} {_constant(member.__kwdefaults__)}"
    if isinstance(member, (staticmethod, classmethod)):
        return f"{type(member).__name__} {_member(member.__func__)}"
    if isinstance(member, property):
        return f"property {_member(member.fget)} {_member(member.fset)} {_member(member.fdel)}"
    return _constant(member)


def _code(code: types.CodeType) -> str:
    constants = [_code(const) if isinstance(const, types.CodeType) else _constant(const) for const in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {constants}"


def _constant(value: Any) -> str:
    if type(value) in _CONSTANTS:
        return f"{type(value).__name__} {value!r}"
    if type(value) in (tuple, list):
        return f"{type(value).__name__} [{', '.join(map(_constant, value))}]"
    if type(value) in (dict, frozenset, set):
        items = value.items() if type(value) is dict else value
        return f"{type(value).__name__} {sorted(map(_constant, items))}"
    return f"a {type(value).__qualname__}"
