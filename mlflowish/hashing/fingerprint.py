"""The code fingerprint: the identity of a function by all the code and values that it can reach."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from blake3 import blake3

from mlflowish.errors import InvalidInputError
from mlflowish.hashing import bytecode
from mlflowish.hashing import packages as package_rules
from mlflowish.hashing.constants import sized
from mlflowish.hashing.leaves import module_of
from mlflowish.hashing.loading import file_of_place
from mlflowish.hashing.parts import Part, diff
from mlflowish.hashing.static import module_by_name, module_in_file, name_in_module
from mlflowish.hashing.walk import Walk

__all__ = ["Codes", "Fingerprint", "Part", "code_identity", "diff", "fingerprint"]

_REMEMBERED = 512


class Codes:
    """The code objects that a fingerprint covers, with those nested in them and those of files read statically."""

    __slots__ = ("_all", "_files", "_reached")

    def __init__(self, reached: tuple[CodeType, ...], files: frozenset[str]) -> None:
        self._reached = reached
        self._files = files
        self._all: frozenset[int] | None = None

    def has_file(self, path: str) -> bool:
        """Whether everything in a file is covered."""
        return path in self._files

    def __contains__(self, code: object) -> bool:
        if not isinstance(code, CodeType):
            return False
        if self._all is None:
            # By identity: equal code in two places is two things.
            self._all = frozenset(id(inner) for outer in self._reached for inner in bytecode.nested(outer))
        return id(code) in self._all or code.co_filename in self._files

    def __iter__(self) -> Iterator[CodeType]:
        return iter(self._reached)

    def __len__(self) -> int:
        return len(self._reached)


class Fingerprint:
    """The identity of a function's code, and what it is made of.

    `digest` (16 bytes) is equal in every process in which the same code meets the same values. `notes` are sentences on
    what could not be followed exactly; `uncacheable` is the reason why no result can be kept at all, or None.
    """

    __slots__ = ("_guards", "codes", "digest", "foreign_codes", "loads_by_name", "notes", "parts", "uncacheable")

    def __init__(self, walk: Walk, digest: bytes, parts: tuple[Part, ...]) -> None:
        self.digest = digest
        self.parts = parts
        self.notes = tuple(walk.notes)
        self.uncacheable = walk.uncacheable
        self.codes = Codes(tuple(walk.codes), frozenset(walk.files))
        self.foreign_codes = tuple(walk.foreign_codes)
        self.loads_by_name = walk.loads_by_name
        self._guards = walk.guards

    def holds(self) -> bool:
        """Whether everything reached is still what it was. About 10 microseconds for 40 names; thread-safe."""
        return self._guards.hold()

    def __repr__(self) -> str:
        return f"Fingerprint({self.digest.hex()}, {len(self.parts)} parts)"

    def __str__(self) -> str:
        lines = [f"  {part.kind:<8}  {part.digest.hex()[:12]}  {part.label}" for part in self.parts]
        return "\n".join([repr(self), *lines, *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{part.kind}</td><td>{escape(part.label)}</td><td><code>{part.digest.hex()[:12]}</code></td></tr>"
            for part in self.parts
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        head = "<tr><th>kind</th><th>what the code depends on</th><th>digest</th></tr>"
        return f"<div><code>Fingerprint {self.digest.hex()}</code><table>{head}{rows}</table><ul>{notes}</ul></div>"


def fingerprint(
    fn: Any,
    *,
    depends: Sequence[object] = (),
    packages: str | Mapping[str, str] = "reached",
) -> Fingerprint:
    """The fingerprint of `fn` as things are now.

    `depends` adds what cannot be seen from the code: functions, classes, modules or their names, values, things with
    a `__mlf_digest__`. `packages` says how versions of installed packages count: `"reached"`, `"ignore"` or
    `{"torch": "minor"}`. Raises `InvalidInputError` if `fn` cannot be called or `depends` names a module that does
    not exist.
    """
    package_rules.check_policy(packages)
    entry = _entry_of(fn)
    walk = Walk(own_package=_own_package(entry))
    body = _walk_entry(walk, entry)
    for position, item in enumerate(depends):
        body += b"+" + _declared(walk, item, f"depends[{position}]")
    walk.run()
    return _finish(walk, body, packages)


def code_identity(obj: object, path: str) -> bytes:
    """The identity of a function, class, module or partial that is met inside a value. Remembered while it holds."""
    with _identities_lock:
        known = _identities.get(id(obj))
    if known is not None and known[0] is obj and known[1].holds():
        return known[1].digest
    walk = Walk()
    body = b"identity" + walk.edge(obj, path, escapes=True)
    walk.entry_reused = True
    if isinstance(obj, FunctionType):
        walk.entry = obj
    walk.run()
    found = _finish(walk, body, "reached")
    with _identities_lock:
        _identities[id(obj)] = (obj, found)
        _identities.move_to_end(id(obj))
        while len(_identities) > _REMEMBERED:
            _identities.popitem(last=False)
    return found.digest


def is_identified(code: CodeType) -> bool:
    """Whether `code` is covered by an identity given lately: it came in through an argument, whose digest has it."""
    with _identities_lock:
        known = [found for _, found in _identities.values()]
    return any(code in found.codes for found in known)


_identities: OrderedDict[int, tuple[object, Fingerprint]] = OrderedDict()
_identities_lock = threading.Lock()


def static_identity(module: str, name: str) -> Fingerprint | None:
    """The identity of a name of a project module by its source, loaded or not; None if the source does not tell.

    Without a name it is that of the whole module; without a module, that of the source file with that path.
    """
    walk = Walk()
    walk.from_source = True
    if not module:
        body = module_in_file(walk, file_of_place(name))
    else:
        body = name_in_module(walk, module, name) if name else module_by_name(walk, module)
    if body is None:
        return None
    walk.run()
    return _finish(walk, b"static" + body, "reached")


def _walk_entry(walk: Walk, entry: Any) -> bytes:
    """Start a walk at its entry, which gets the number 0."""
    if isinstance(entry, FunctionType):
        walk.entry = entry
    return b"entry" + walk.edge(entry, getattr(entry, "__qualname__", "fn"))


def _entry_of(fn: Any) -> Any:
    """What is really called: a step's function."""
    if not callable(fn):
        raise InvalidInputError(
            f"A fingerprint is taken of something that can be called; {fn!r} is a {type(fn).__qualname__}. "
            "Pass the function itself.",
            value=type(fn).__qualname__,
        )
    while module_of(type(fn)).partition(".")[0] == "mlflowish" and hasattr(fn, "fn"):
        fn = fn.fn
    return fn


def _own_package(entry: Any) -> str | None:
    """The top-level package of the entry: the project even where it is installed."""
    names = getattr(entry, "__globals__", None)
    module = names.get("__name__") if isinstance(names, dict) else getattr(entry, "__module__", None)
    if not isinstance(module, str) or package_rules.realm_of_module(module) == "stdlib":
        return None
    return module.partition(".")[0]


def _declared(walk: Walk, item: object, label: str) -> bytes:

    if isinstance(item, str):
        found = module_by_name(walk, item)
        if found is None:
            raise InvalidInputError(
                f"{label}={item!r} names no module that can be found. "
                "Give a module's full name, or pass the object itself.",
                depends=item,
            )
        return found
    if isinstance(item, MethodType) and not isinstance(item.__self__, (type, ModuleType)):
        item = item.__func__
    return walk.edge(item, label, name=label, escapes=True)


def _finish(walk: Walk, body: bytes, policy: str | Mapping[str, str]) -> Fingerprint:
    hasher = blake3(b"mlf-code-1")
    for piece in (body, walk.record_bytes(), _versions(walk, policy)):
        hasher.update(b"%d:" % len(piece))
        hasher.update(piece)
    walk.done = True
    unique = {(part.kind, part.label, part.digest): part for part in walk.parts}
    return Fingerprint(walk, hasher.digest(16), tuple(unique.values()))


def _versions(walk: Walk, policy: str | Mapping[str, str]) -> bytes:
    """The packages reached, with the part of their versions that counts."""
    found: dict[str, str] = {}
    for top in walk.packages:
        name, version = package_rules.version_of(top)
        counted = package_rules.apply_policy(name, version, policy)
        if counted is not None:
            found[name] = counted
    out = bytearray()
    for name, version in sorted(found.items()):
        out += sized(name) + sized(version)
        digest = blake3(sized(name) + sized(version)).digest(16)
        walk.add_part(name, "package", digest, partial(str, version))
    return bytes(out)
