"""`Node`: what a step returns in the body of a pipeline, where nothing has run yet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from mlflowish.errors import InvalidInputError

if TYPE_CHECKING:
    from mlflowish.pipelines.trace import Trace

_ASKED_BY_TOOLS = ("_repr_", "_ipython_", "__")


class _NoAttributeError(InvalidInputError, AttributeError):
    """What asks for attributes to find out what something is (numpy does) goes on, and is refused further on."""


class Node:
    """Stands for a result that is not there yet. Give it to other steps, also inside lists, tuples and dicts.

    `node[key]` stands for a part of the result. Anything else that needs the value is refused, with the way to do it.
    """

    __slots__ = ("__weakref__", "_index", "_trace")

    def __init__(self, trace: Trace, index: int) -> None:
        self._trace = trace
        self._index = index

    def __getitem__(self, key: Any) -> Any:
        return self._trace.item(self, key)

    def __iter__(self) -> Any:
        parts = self._trace.parts_of(self)
        if parts is None:
            self._refuse(
                "gone through or unpacked",
                "For each item: step.map(node). For its parts: pair = step(...); a, b = pair[0], pair[1], or annotate "
                "what the step returns: -> tuple[A, B]",
            )
        return iter([self._trace.item(self, place) for place in range(parts)])

    def __len__(self) -> int:
        self._refuse("measured", "Let a step do it, or use step.map(node) for as many calls as there are items")

    def __bool__(self) -> bool:
        self._refuse_condition()

    def __contains__(self, item: object) -> bool:
        self._refuse_condition()

    def _refuse_condition(self) -> NoReturn:
        self._refuse(
            "used as a condition",
            "mf.when(condition, lambda: ..., lambda: ...) decides when it is known; let a step return the condition",
        )

    def _compared(self, other: object) -> bool:
        self._refuse_condition()

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compared

    def __hash__(self) -> int:
        # `LABELS.get(node)` would find nothing, whatever the value is.
        self._refuse("looked up in a dict or a set, or held by one", "Use a list, or let a step do it")

    def _computed(self, *others: object) -> Any:
        self._refuse("computed with", "Let a step do it: a function with @mf.step that takes the node as argument")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _computed
    __floordiv__ = __mod__ = __pow__ = __matmul__ = __rmatmul__ = __and__ = __or__ = __xor__ = __neg__ = _computed
    __abs__ = __int__ = __float__ = __index__ = __complex__ = __round__ = __array__ = __fspath__ = _computed
    __call__ = __setitem__ = __delitem__ = __enter__ = __await__ = _computed

    @property  # type: ignore[misc]  # that of `object` can be set
    def __class__(self) -> Any:
        # What `isinstance(node, list)` and `case list():` ask when the type itself does not say so. Tools may ask; in a
        # body it would be no list, whatever the value is.
        if self._trace.is_body(sys._getframe(1)):
            self._refuse(
                "asked for its type", "Let a step do it; mf.when(is_list(node), lambda: ..., lambda: ...) decides by it"
            )
        return Node

    def __getattr__(self, name: str) -> Any:
        if name.startswith(_ASKED_BY_TOOLS):
            raise AttributeError(name)
        self._refuse(
            f"asked for .{name}",
            "Let a step return it; parts of a dict or tuple are had by node[key]",
            _NoAttributeError,
        )

    def __mlf_digest__(self) -> Any:
        self._refuse("used as a value", "It belongs into the body of its pipeline")

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._refuse("pickled or copied", "It belongs into the body of its pipeline")

    def __str__(self) -> str:
        self._refuse("made a text", "Let a step do it")

    def __format__(self, spec: str) -> str:
        self._refuse("made a text", "Let a step do it")

    def _refuse(self, how: str, instead: str, kind: type[InvalidInputError] = InvalidInputError) -> NoReturn:
        spec = self._trace.specs[self._index]
        raise kind(
            f"{spec.label} ({spec.place}) has not run yet while the pipeline {self._trace.name} is put together, so it "
            f"cannot be {how}. {instead}.",
            step=spec.label,
            file=spec.file,
            line=spec.line,
        )

    def __repr__(self) -> str:
        self._trace.note_shown()
        spec = self._trace.specs[self._index]
        return f"<node {spec.label}, {spec.place}>"


def index_of(node: Node) -> int:
    """Its place in the trace."""
    return node._index


def trace_of(node: Node) -> Trace:
    """Where it belongs."""
    return node._trace
