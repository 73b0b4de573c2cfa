"""Value digests: the public entry. `digest(value)` is the same for the same value in every process and session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.hashing.plain import CONTAINERS, SCALARS, plain_digest
from mlflowish.hashing.tree import BackReferenceError, CodeHook, Walk

__all__ = ["CodeHook", "digest", "digest_call", "hexdigest", "register_digester"]


def digest(value: Any, *, code: CodeHook | None = None, path: str = "value") -> bytes:
    """The identity of a value by its content: 16 bytes, equal in every process, session, Python version and system.

    Types count (`1`, `True`, `1.0` and `"1"` differ), so do the order of a dict, the dtype of an array and the names
    of an index; sharing, memory layout, chunking and the order of a set do not. An instance of a class carries the
    identity of that class, which `code` gives (by default the fingerprint of its code, so an edited method is another
    value).

    Raises `UncacheableError` for what has no content to go by (a lock, a generator, an open file), with the culprit's
    place in `.path`, which starts with `path`.
    """
    found = plain_digest(value)
    if found is not None:
        return found
    return walked(value, code if code is not None else _code_identity, path)


def hexdigest(value: Any) -> str:
    """`digest(value)` as 32 hexadecimal characters.

    >>> import mlflowish as mf
    >>> mf.digest([1, "a"]) == mf.digest([1, "a"]), mf.digest(1) == mf.digest(True)
    (True, False)
    """
    return digest(value).hex()


def digest_call(names: Sequence[str], values: Sequence[Any], *, code: CodeHook | None = None) -> list[bytes]:
    """One digest per argument of a call, in order; the name of an argument begins the path in an error."""
    hook = code if code is not None else _code_identity
    digests: list[bytes] = []
    for name, value in zip(names, values, strict=True):
        found = plain_digest(value)
        digests.append(found if found is not None else walked(value, hook, name))
    return digests


def register_digester(cls: type, digester: Callable[[Any], Any]) -> None:
    """Let `digester(obj)` say what identifies an object of exactly this class, by returning anything digestible.

    The digest carries the class as well. Subclasses are not included, because they may have more to them; a class of
    your own can have a `__mlf_digest__(self)` method instead, which its subclasses inherit. Registering again
    replaces.

    >>> import mlflowish as mf
    >>> class Point:
    ...     def __init__(self, x, note):
    ...         self.x, self.note = x, note
    >>> mf.register_digester(Point, lambda point: point.x)
    >>> mf.digest(Point(1, "here")) == mf.digest(Point(1, "there"))
    True
    """
    from mlflowish.hashing import kinds

    if not isinstance(cls, type):
        raise InvalidInputError(f"register_digester needs a class, got {cls!r}.", cls=cls)
    if cls in SCALARS or cls in CONTAINERS or cls in (type, object, set, frozenset):
        raise InvalidInputError(
            f"register_digester cannot change what identifies a {cls.__name__}: that is part of the format. "
            "Wrap the value in a class of your own.",
            cls=cls,
        )
    kinds.register(cls, digester)


def walked(value: Any, code: CodeHook, path: str) -> bytes:
    """The digest of a value that is not plain data; `code` gives the identities of code that is met in it."""
    try:
        return bytes(Walk(code, path).digest(value))
    except BackReferenceError:
        from mlflowish.hashing.cycles import digest_cyclic

        return bytes(digest_cyclic(value, code, path))


def _code_identity(obj: object, path: str) -> bytes:
    from mlflowish.hashing.fingerprint import code_identity

    return code_identity(obj, path)
