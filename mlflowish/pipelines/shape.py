"""The digest of what a body did: which steps it called with what, and how their results go into each other.

A body may read what its code and arguments do not show (the files of a folder, the time). Together with code and
arguments this says all about the work to be done, before any of it is.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any

from blake3 import blake3

from mlflowish.hashing.writer import Done
from mlflowish.pipelines.nodes import Node, index_of
from mlflowish.pipelines.specs import CALL, ENTER, MAP, Group
from mlflowish.pipelines.trace import Trace
from mlflowish.steps.keys import arguments_token

_CONTAINERS = frozenset({list, tuple, dict})
_QUICK = frozenset({Node, int, str, bool, type(None)})


def shape_of(trace: Trace, group: Group) -> bytes | None:
    """16 bytes for the specs of a group; UncacheableError for an argument without an identity, None when it uses nodes
    of the pipeline around it that are no arguments of it."""
    inputs: dict[int, int] = {}
    if group.gate >= 0:
        enter = trace.specs[group.gate]
        _replaced((enter.args, enter.kwargs), lambda number: inputs.setdefault(number, len(inputs)))
    unknown: list[int] = []

    def named(number: int) -> Done:
        if group.first <= number < group.last:
            return Done(b"mlf1 inner" + (number - group.first).to_bytes(6, "little"))
        if number not in inputs:
            unknown.append(number)
            return Done(b"\0" * 16)
        return Done(b"mlf1 input" + inputs[number].to_bytes(6, "little"))

    hasher = blake3(b"mlf1.shape")
    codes: dict[int, bytes] = {}
    own = trace.groups.index(group)
    for spec in trace.specs[group.first : group.last]:
        code = b""
        if spec.kind in (CALL, MAP, ENTER):
            if id(spec.step) not in codes:
                codes[id(spec.step)] = spec.step.identifier.current().digest + spec.step.identifier.extras()
            code = codes[id(spec.step)]
        token = _quick_token(spec.args, named) if not spec.kwargs else None
        if token is None:
            token = arguments_token(("args", "kwargs"), [_replaced(spec.args, named), _replaced(spec.kwargs, named)])
        for piece in (spec.kind.encode(), (spec.group - own).to_bytes(4, "little", signed=True), code, token):
            hasher.update(len(piece).to_bytes(4, "little") + piece)
    hasher.update(arguments_token(("result", "_"), [_replaced(group.result, named), []]))
    return None if unknown else bytes(hasher.digest(length=16))


def _quick_token(args: tuple[Any, ...], named: Callable[[int], bytes]) -> bytes | None:
    """The same for nothing but nodes, texts and whole numbers, which is most of what there is, at the speed of C."""
    if not _QUICK.issuperset(map(type, args)):
        return None
    kinds = "".join(["n" if type(value) is Node else "v" for value in args])
    values = [bytes(named(index_of(value))) if type(value) is Node else value for value in args]
    return b"Q" + marshal.dumps((kinds, *values), 2)


def _replaced(value: Any, replace: Callable[[int], Any]) -> Any:
    kind = type(value)
    if kind is Node:
        return replace(index_of(value))
    if kind is dict:
        return {name: _replaced(member, replace) for name, member in value.items()}
    return kind(_replaced(member, replace) for member in value) if kind in _CONTAINERS else value
