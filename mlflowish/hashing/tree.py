"""The walk through one value: depth first, on a stack of its own, so that depth costs memory and not a crash.

A value that is taken apart becomes a node whose digest covers the digests of its children, so equal copies and shared
references digest alike, and what is shared is digested once. A value that contains itself cannot be digested that
way: the walk stops at the first back-reference and `cycles.py` takes the whole graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

from mlflowish.errors import MlflowishError, UncacheableError
from mlflowish.hashing.plain import plain_digest
from mlflowish.hashing.writer import Done, Label, Node

MAX_DEPTH = 50_000


class CodeHook(Protocol):
    """Gives the identity of a function, class or module that is met inside a value; `path` is where."""

    def __call__(self, obj: object, path: str, /) -> bytes: ...


class Expand(Protocol):
    """Takes a value of some kind apart: a `Node`, or its digest where nothing is below it."""

    def __call__(self, value: Any, walk: Walk) -> Node | Done: ...


class BackReferenceError(Exception):
    """Control flow of this package, never seen outside: the value contains itself."""


_PASSING = (MlflowishError, BackReferenceError, MemoryError)


class _Frame:
    """A node that is being digested: the digests of its children so far, and the children to come."""

    __slots__ = ("children", "digests", "label", "node", "value")

    def __init__(self, node: Node, value: Any) -> None:
        self.node = node
        self.value = value
        self.children: Iterator[Any] = iter(node.children)
        self.digests: list[bytes] = []
        self.label: Label = node.label


class Walk:
    """One digest in the making: the stack, what is already digested, and the identities of the classes met.

    Not thread-safe, and used once. It keeps every value that it remembers alive, because an `id` may be reused
    otherwise.
    """

    def __init__(self, code: CodeHook, path: str) -> None:
        self.code = code
        self.base_path = path
        self.frames: list[_Frame] = []
        self._open: set[int] = set()
        self._done: dict[int, tuple[Any, Done]] = {}
        self._classes: dict[int, tuple[type, tuple[str, bytes]]] = {}

    def digest(self, root: Any) -> bytes:
        """The digest of `root`; `BackReferenceError` where it contains itself."""
        found = self._enter(root)
        if found is not None:
            return found
        frames = self.frames
        while True:
            frame = frames[-1]
            if not self._advance(frame):
                continue
            frames.pop()
            done = frame.node.close(frame.digests)
            self._leave(frame.value, done)
            if not frames:
                return done
            frames[-1].digests.append(done)

    def _advance(self, frame: _Frame) -> bool:
        """Digest the children of a node until one needs a frame of its own (False) or there are none left (True)."""
        digests = frame.digests
        try:
            for child in frame.children:
                found = self._enter(child)
                if found is None:
                    return False
                digests.append(found)
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001  # foreign iterators, which may raise anything
            self.refuse(frame.value, f"reading its members failed ({type(error).__name__}: {error})", cause=error)
        return True

    def _enter(self, value: Any) -> bytes | None:
        """The digest of a value, or None after a frame for it was pushed."""
        found = plain_digest(value)
        if found is not None:
            return found
        kind = type(value)
        if kind is Done:
            return value  # type: ignore[no-any-return]  # just checked, by exact type
        if kind is Node:
            self._push(value, value)
            return None
        known = self._done.get(id(value))
        if known is not None:
            return known[1]
        if id(value) in self._open:
            raise BackReferenceError
        shape = self.expand(value)
        if type(shape) is Done:
            self._leave(value, shape)
            return shape
        self._push(shape, value)  # type: ignore[arg-type]  # it is a Done or a Node
        return None

    def _push(self, node: Node, value: Any) -> None:
        if len(self.frames) >= MAX_DEPTH:
            self.refuse_endless()
        self._open.add(id(value))
        self.frames.append(_Frame(node, value))

    def _leave(self, value: Any, done: Done) -> None:
        self._open.discard(id(value))
        if type(value) is not Node:
            self._done[id(value)] = (value, done)

    def expand(self, value: Any) -> Node | Done:
        """Take one value apart, whatever it is; `UncacheableError` where that has no meaning or fails."""
        from mlflowish.hashing.kinds import expander

        try:
            return expander(type(value))(value, self)
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001  # foreign properties and methods, which may raise anything
            self.refuse(value, f"reading it failed ({type(error).__name__}: {error})", cause=error)

    # What the expanders ask of the walk.

    @property
    def path(self) -> str:
        """Where the value that is being entered stands: `value["a"][3].lock`."""
        return self.base_path + "".join(frame.label(len(frame.digests)) for frame in self.frames)

    def identity(self, cls: type) -> tuple[str, bytes]:
        """What a class contributes to the digest of its instances: its name, and its code or version."""
        known = self._classes.get(id(cls))
        if known is None:
            from mlflowish.hashing.names import standard_name

            standard = standard_name(cls)
            if standard is None:
                known = (cls, (cls.__qualname__, bytes(self.code(cls, self.path))))
            else:
                known = (cls, (standard, b"standard"))
            self._classes[id(cls)] = known
        return known[1]

    def refuse(self, value: object, why: str, *, cause: BaseException | None = None) -> NoReturn:
        """Raise the error that names this value as the culprit."""
        path = self.path
        raise UncacheableError(
            f"Cannot digest {_shortened(path)} ({type(value).__module__}.{type(value).__qualname__}): {why}. "
            "Pass plain data instead, exclude the argument with ignore=, or give its type an identity with "
            "register_digester or a __mlf_digest__ method.",
            path=path,
        ) from cause

    def refuse_endless(self) -> NoReturn:
        """Raise the error for a value that goes on for ever, or nearly."""
        path = _shortened(self.base_path + "".join(frame.label(len(frame.digests)) for frame in self.frames[:50]))
        raise UncacheableError(
            f"Cannot digest {self.base_path}: it is nested more than {MAX_DEPTH:,} levels deep, starting with {path}. "
            "An object that makes new objects whenever it is read has no end: "
            "give its class a __mlf_digest__ method, or pass the data that it is made from.",
            path=path,
        )


def _shortened(path: str, limit: int = 300) -> str:
    return path if len(path) <= limit else f"{path[: limit // 2]}...{path[-limit // 2 :]}"
