"""The walk over live objects: from one function to everything that its result can depend on.

Breadth first, on a queue, so that neither long chains of helpers nor cycles matter. Each object reached gets a number
by order of first visit and leaves one record; an edge to it is its number. The digest of the walk covers the records
in that order: names of functions and modules appear only where the program can see them.
"""

from __future__ import annotations

import os
import types
from collections import deque
from collections.abc import Callable
from typing import Any

from blake3 import blake3

from mlflowish.errors import UncacheableError
from mlflowish.hashing import describe, digests, opaque
from mlflowish.hashing.ambient import decimal_context
from mlflowish.hashing.classes import record_class
from mlflowish.hashing.constants import sized
from mlflowish.hashing.functions import record_foreign, record_function
from mlflowish.hashing.guards import Guards
from mlflowish.hashing.leaves import (
    code_label,
    is_generic,
    kept_name,
    leaf_name,
    module_of,
    project_class,
    project_function,
    public_name,
    type_name,
)
from mlflowish.hashing.modules import module_edge
from mlflowish.hashing.objects import recorder_of
from mlflowish.hashing.opaque import is_immutable, is_plain
from mlflowish.hashing.packages import Realm, realm_of_module
from mlflowish.hashing.parts import Kind, Part
from mlflowish.hashing.questions import record_own_share
from mlflowish.hashing.reflection import reflected

Recorder = Callable[["Walk", int, Any, str], bytes]

_BIG_BYTES = 64 * 2**20
_BUILTIN_CALLABLES = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


class Walk:
    """One walk in the making, and afterwards the memory that its guards consult."""

    def __init__(self, own_package: str | None = None) -> None:
        self.guards = Guards()
        self.parts: list[Part] = []
        self.notes: dict[str, None] = {}
        self.uncacheable: str | None = None
        self.packages: dict[str, None] = {}
        # Names of attributes read anywhere: reflection (`__doc__`, `getsource`) is looked for among them.
        self.attributes: set[str] = set()
        # Whether code is loaded under names that are made while it runs.
        self.loads_by_name = False
        # Whether modules count as their source has them, loaded or not, whatever came into them since.
        self.from_source = False
        self.stores = False
        # Global names read, each with the number of its namespace: they count once something is stored globally.
        self.bound: list[tuple[int, str]] = []
        self.spaces: dict[int, int] = {}
        self.codes: list[types.CodeType] = []
        self.foreign_codes: list[types.CodeType] = []  # of libraries, met as objects without a name
        self.files: set[str] = set()
        # Containers that the code only adds to.
        self.fed: list[Any] = []
        # Objects that count by type and name, with their labels.
        self.opaques: dict[int, tuple[Any, str]] = {}
        # What was reached in libraries: (module, name), and whether by an import in a body.
        self.leaves: dict[tuple[str, str], bool] = {}
        self.own_package = own_package
        self.done = False
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []
        self._tokens: dict[int, int] = {}
        self._alive: list[Any] = []
        self.entry: types.FunctionType | None = None
        self.entry_reused = False
        self.reflected = b""
        self._queue: deque[tuple[int, Any, str, Recorder]] = deque()
        self._records: dict[int, bytes] = {}

    # What is visited

    def edge(self, obj: Any, label: str, *, name: str = "", escapes: bool = False, lenient: bool = False) -> bytes:
        """What a reference to `obj` contributes; the object itself is visited later, once.

        `name` is what the program calls it, `escapes` whether the program may look at its `__name__`, and `lenient`
        whether it is all right if it cannot be digested (it is not known to be used).
        """
        if is_plain(obj):
            return self._plain(obj, label)
        if hasattr(type(obj), "__mlf_stands_for__"):
            return self.edge(obj.__mlf_stands_for__(), label, name=name, escapes=escapes, lenient=lenient)
        if isinstance(obj, types.FunctionType):
            return self._function(obj, label, escapes=escapes)
        if isinstance(obj, type) and not is_generic(obj):
            return self._class(obj, label)
        if isinstance(obj, types.ModuleType):
            return self._module(obj, label)

        recorder = recorder_of(obj)
        if recorder is not None:
            return self.visit(obj, label, recorder)
        if isinstance(obj, _BUILTIN_CALLABLES):
            return self._builtin(obj, label, name=name)
        return self.value(obj, label, name=name, escapes=escapes, lenient=lenient)

    def visit(self, obj: Any, label: str, recorder: Recorder) -> bytes:
        """An edge to an object with a record of its own."""
        number = self._numbers.get(id(obj))
        if number is None:
            if self.done:
                return b"?"
            number = self._numbers[id(obj)] = len(self._numbers)
            # Kept alive: an id is only good as long as its object.
            self._kept.append(obj)
            self._queue.append((number, obj, label, recorder))
        elif number == 0:
            self.entry_reused = True
        return b"R%d;" % number

    def identity(self, obj: Any) -> bytes:
        """Which object it is, for one without a record: the number says only which references mean the same."""
        number = self._tokens.get(id(obj))
        if number is None:
            if self.done:
                return b"?"
            number = self._tokens[id(obj)] = len(self._tokens)
            self._alive.append(obj)
        return b"#%d;" % number

    def _function(self, function: types.FunctionType, label: str, *, escapes: bool) -> bytes:

        name = b""
        if escapes:
            raw = function.__name__.encode("utf-8", "surrogatepass")
            name = b"n%d:" % len(raw) + raw
        if project_function(function, self.own_package):
            return self.visit(function, code_label(function, label), record_function) + name
        found = leaf_name(function)
        if found is not None:
            return self.leaf(found)
        return self.visit(function, label, record_foreign) + name

    def _class(self, cls: type, label: str) -> bytes:

        found = None if project_class(cls, self.own_package) else leaf_name(cls)
        if found is not None:
            return self.leaf(found)
        return self.visit(cls, type_name(cls), record_class)

    def _module(self, module: types.ModuleType, label: str) -> bytes:

        return module_edge(self, module, label)

    def _builtin(self, obj: Any, label: str, *, name: str) -> bytes:
        owner = getattr(obj, "__self__", None)
        if owner is not None and not isinstance(owner, (types.ModuleType, type)):
            # A method of a builtin object, such as `table.get`: the object counts.
            return b"B" + sized(obj.__name__) + self.edge(owner, f"{label}.__self__", name=name)
        found = leaf_name(obj)
        return self.leaf(found if found is not None else (module_of(type(obj)), getattr(obj, "__qualname__", name)))

    def leaf(self, found: tuple[str, str], *, realm: Realm | None = None) -> bytes:
        """An edge to something of the standard library or of an installed package: its public name."""
        module, name = found
        top = module.partition(".")[0]
        self.attributes.add(name.rpartition(".")[2])
        self.leaves.setdefault(found, realm is not None)
        if not self.done and (realm or realm_of_module(module)) == "package":
            self.packages.setdefault(top)
        return b"X" + sized(module) + sized(name) + decimal_context(self, module)

    # Values

    def _plain(self, obj: Any, label: str) -> bytes:
        found = digests.digest(obj)
        self.add_part(label, "value", found, lambda: describe.value_text(label, obj))
        return b"V" + found

    def value(self, obj: Any, label: str, *, name: str = "", escapes: bool = False, lenient: bool = False) -> bytes:
        """What a value contributes: its digest, and which one it is if it can change in place."""
        if opaque.is_sentinel(obj):
            return b"O" + sized("object") + sized(name)
        if opaque.is_harmless(type(obj)):
            return self.opaque(obj, label, name=name)
        if obj is os.environ:
            return self.leaf(("os", "environ"))

        target = obj

        def redigest(current: Any) -> bytes:
            return digests.digest(current, code=hook, path=label)

        def hook(obj: object, path: str) -> bytes:
            if obj is target:
                # It is taken for code by the value digest, and is no kind of code that is walked into.
                return self._named(obj, label, name=name)
            return self.edge(obj, path, name=name, escapes=escapes, lenient=lenient)

        try:
            found = redigest(obj)
        except UncacheableError as error:
            return self._undigestible(obj, label, error, name=name, lenient=lenient)
        if is_immutable(obj):
            self.add_part(label, "value", found, lambda: describe.value_text(label, obj))
            return b"V" + found
        if not self.done and id(obj) not in self._tokens:
            self.guards.value(obj, found, redigest)
            self._weigh(obj, label)
        self.add_part(label, "value", found, lambda: describe.value_text(label, obj))
        return b"V" + found + self.identity(obj)

    def opaque(self, obj: Any, label: str, *, name: str) -> bytes:
        """What an object without meaning for the result contributes: its type, and the name that it goes by."""
        kind = type_name(type(obj))
        self.note(f"{label} is a {kind}: it counts by its name only, not by its content.")
        found = b"O" + sized(kind) + sized(name)
        self.add_part(label, "opaque", blake3(found).digest(16), lambda: kind)
        if not self.done:
            self.opaques.setdefault(id(obj), (obj, label))
        if project_class(type(obj), self.own_package):
            found += self.visit(obj, label, record_own_share)
        return found

    def _named(self, obj: Any, label: str, *, name: str) -> bytes:
        found = kept_name(obj)
        if found is not None:
            return self.leaf(found)
        raise UncacheableError(
            f"Cannot tell what {label} ({type_name(type(obj))}) does: it is code without a name that leads to it. "
            "Define it with def in your project, or pass depends=[...] and version=.",
            path=label,
        )

    def _undigestible(self, obj: Any, label: str, error: UncacheableError, *, name: str, lenient: bool) -> bytes:
        public = public_name(obj)
        if public is not None:
            return self.leaf(public)
        if lenient:
            return self.opaque(obj, label, name=name)
        if not self.done and self.uncacheable is None:
            self.uncacheable = str(error)
        return b"U" + sized(type_name(type(obj)))

    def _weigh(self, obj: Any, label: str) -> None:
        size = getattr(obj, "nbytes", None)
        if isinstance(size, int) and size > _BIG_BYTES:
            self.note(f"{label} is a global of {size / 2**20:,.0f} MB, digested at every call: pass it as an argument.")

    # What is noted along the way

    def add_part(self, label: str, kind: Kind, digest: bytes, text: Callable[[], str]) -> None:
        if not self.done:
            self.parts.append(Part(label, kind, digest, text))

    def note(self, sentence: str) -> None:
        if not self.done:
            self.notes.setdefault(sentence)

    # The end

    def run(self) -> None:
        """Visit what is queued until nothing new is reached."""

        seen: frozenset[str] = frozenset()
        while True:
            while self._queue:
                number, obj, label, recorder = self._queue.popleft()
                self._records[number] = recorder(self, number, obj, label)
            # What reflection reads can lead to objects, which can lead to more reflection.
            extra = reflected(self)
            if not self._queue and extra == seen:
                break
            seen = extra

    def visited(self) -> list[Any]:
        """Every object reached, in order."""
        return list(self._kept)

    def record_bytes(self) -> bytes:
        """The records in order of visit."""
        out = bytearray()
        for number, record in sorted(self._records.items()):
            out += b"%d=%d:" % (number, len(record)) + record
        if self.stores:
            for space, name in self.bound:
                out += b"N%d" % space + sized(name)
        for container in self.fed:
            # Its content counts after all where something else reads it; that the two are one matters then.
            token = self._tokens.get(id(container))
            out += b"E-" if token is None else b"E%d;" % token
        return bytes(out + self.reflected)
