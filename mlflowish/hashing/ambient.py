"""What surrounds a call and is no argument of it, but can be read: context variables, thread-local data, the
context of decimals, and what was registered with an abstract base class.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.leaves import type_name
from mlflowish.hashing.plain import plain_digest

if TYPE_CHECKING:
    from contextvars import ContextVar

    from mlflowish.hashing.walk import Walk


def record_context_variable(walk: Walk, number: int, variable: ContextVar[Any], label: str) -> bytes:
    """A context variable means what it holds now, in the context of the caller."""
    found = _held(variable)
    walk.guards.probe(lambda: _held(variable) is found, True)
    return b"contextvar" + (b"-" if found is MISSING else walk.edge(found, label, name=variable.name))


def _held(variable: ContextVar[Any]) -> Any:
    try:
        return variable.get()
    except LookupError:
        return MISSING


def record_thread_local(walk: Walk, number: int, local: Any, label: str) -> bytes:
    """Thread-local data: the plain values that this thread has there. Others are caches, such as connections."""
    found = _plain_attributes(local)
    walk.guards.probe(lambda: _plain_attributes(local), found)
    walk.note(f"{label} is thread-local: only the plain values in it count.")
    from blake3 import blake3

    digest = blake3(found).digest(16)
    walk.add_part(label, "value", digest, lambda: ", ".join(sorted(vars(local))) or "nothing")
    return b"local" + digest


def _plain_attributes(local: Any) -> bytes:

    out = bytearray()
    for name, value in sorted(vars(local).items()):
        found = plain_digest(value)
        if found is not None:
            out += sized(name) + found
    return bytes(out)


def registered_classes(walk: Walk, cls: type, label: str) -> bytes:
    """Edges to what `cls.register` made subclasses of an abstract base class."""

    found = _registry(cls)
    walk.guards.probe(lambda: _registry(cls) == found, True)
    return b"".join(b"r" + walk.edge(sub, label) for sub in sorted(found, key=type_name))


def _registry(cls: type) -> frozenset[type]:
    if "_abc_impl" not in cls.__dict__:
        return frozenset()
    from abc import _get_dump  # type: ignore[attr-defined]  # undocumented; `ABCMeta._dump_registry` prints what it has

    live = (reference() for reference in _get_dump(cls)[0])
    return frozenset(sub for sub in live if sub is not None)


def decimal_context(walk: Walk, module: str) -> bytes:
    """How decimals are computed now, if code that uses them would notice: nothing for the defaults."""
    if module not in {"decimal", "_decimal", "_pydecimal"}:
        return b""
    found = _decimal_setting()
    if not walk.done:
        walk.guards.probe(_decimal_setting, found)
    return found


def _decimal_setting() -> bytes:
    decimal = sys.modules.get("decimal")
    if decimal is None:
        return b""
    context, default = decimal.getcontext(), decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN)
    facts = [(c.prec, c.rounding, c.Emin, c.Emax, c.capitals, c.clamp, _traps(c)) for c in (context, default)]
    return b"" if facts[0] == facts[1] else repr(facts[0]).encode()


def _traps(context: Any) -> list[str]:
    return sorted(signal.__name__ for signal, is_on in context.traps.items() if is_on)
