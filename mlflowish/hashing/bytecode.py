"""The unit of a function whose source cannot be trusted or found: its normalised code object.

Exact about behaviour and blind to line numbers, file names and docstring positions; tied to one minor version of
Python, which is why the canonical syntax (`units.py`) comes first.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import CodeType

from blake3 import blake3

from mlflowish.hashing.constants import constant_bytes
from mlflowish.hashing.scopes import ImportOrigin, Reference
from mlflowish.hashing.units import Unit

_CHAIN_LOADS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_SKIPPED = frozenset({"CACHE", "NOP", "EXTENDED_ARG", "PRECALL", "PUSH_NULL", "RESUME"})
_ROOT_LOADS = frozenset(
    {
        "LOAD_GLOBAL",
        "LOAD_NAME",
        "LOAD_DEREF",
        "LOAD_CLASSDEREF",
        "LOAD_FROM_DICT_OR_GLOBALS",
        "LOAD_FROM_DICT_OR_DEREF",
    }
)
_SEES_GLOBALS = frozenset({"eval", "exec", "globals", "compile"})


def normalised(code: CodeType) -> bytes:
    """Canonical bytes of a code object and those nested in it: equal exactly when they run alike."""
    out = bytearray(b"code(")
    numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_stacksize)
    out += b"%d,%d,%d,%d,%d;" % numbers
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
        out += constant_bytes(names)
    for part in (code.co_code, code.co_exceptiontable):
        out += constant_bytes(part)
    for constant in code.co_consts:
        out += _constant(constant)
    out += b")"
    return bytes(out)


def bytecode_unit(code: CodeType) -> Unit:
    """The unit of `code` without looking at any source."""
    tag = f"mlf-bytecode-1 {sys.version_info[0]}.{sys.version_info[1]} ".encode()
    references: dict[tuple[str, tuple[str, ...], ImportOrigin | None, bool], Reference] = {}
    attributes: set[str] = set()
    dynamic: set[str] = set()
    for inner in nested(code):
        attributes.update(inner.co_names)
        for reference in _references(inner, code):
            key = (reference.root, reference.attrs, reference.origin, reference.stored)
            references.setdefault(key, reference)
            if reference.root in _SEES_GLOBALS and reference.origin is None:
                dynamic.add(reference.root)
        for reference in _imports_by_text(inner):
            references.setdefault((reference.root, (), reference.origin, False), reference)
    dynamic |= attributes & {"import_module", "__import__"}
    return Unit(
        digest=blake3(tag + normalised(code)).digest(16),
        references=tuple(references.values()),
        attributes=frozenset(attributes),
        dynamic=frozenset(dynamic),
        mode="bytecode",
        text=f"<no source: bytecode of {code.co_qualname}>",
    )


def nested(code: CodeType) -> Iterator[CodeType]:
    """`code` and every code object inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def _constant(value: object) -> bytes:
    if isinstance(value, CodeType):
        return normalised(value)
    if isinstance(value, tuple):
        return b"t%d:" % len(value) + b"".join(map(_constant, value))
    return constant_bytes(value)


def _references(code: CodeType, unit: CodeType) -> Iterator[Reference]:
    """Names from outside that `code` loads, each with the attributes read from it, and imports."""
    pending: Reference | None = None
    constants: list[object] = []
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _SKIPPED:
            continue
        if pending is not None and name in _CHAIN_LOADS:
            pending.attrs = (*pending.attrs, str(instruction.argval))
            continue
        if pending is not None:
            yield pending
            pending = None
        if name in _ROOT_LOADS:
            root = str(instruction.argval)
            if "DEREF" not in name or root in unit.co_freevars:
                pending = Reference(root, (), escapes=True)
        elif name == "IMPORT_NAME":
            level = constants[-2] if len(constants) > 1 and isinstance(constants[-2], int) else 0
            yield from _imports(str(instruction.argval), level, constants[-1] if constants else None)
        if name in {"LOAD_CONST", "LOAD_SMALL_INT", "RETURN_CONST"}:
            constants.append(instruction.argval)
    if pending is not None:
        yield pending


def _imports_by_text(code: CodeType) -> Iterator[Reference]:
    """Texts that may name a module, where the code imports by text."""
    if {"import_module", "__import__"} & set(code.co_names):
        for text in code.co_consts:
            if isinstance(text, str) and text.strip(".").replace(".", "_").isidentifier():
                dots = len(text) - len(text.lstrip("."))
                yield Reference(text, (), ImportOrigin(dots, text[dots:], None), escapes=True)


def _imports(module: str, level: int, names: object) -> Iterator[Reference]:
    if isinstance(names, tuple) and names:
        for name in names:
            yield Reference(str(name), (), ImportOrigin(level, module, str(name)), escapes=True)
    else:
        yield Reference(module, (), ImportOrigin(level, module, None), escapes=True)
