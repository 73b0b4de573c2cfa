"""Who a call is: the values it binds, the code behind it, and its key, or the reason why it has none."""

from __future__ import annotations

import datetime
import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflowish.errors import MlflowishError, UncacheableError
from mlflowish.hashing import Fingerprint, digest
from mlflowish.hashing.fingerprint import fingerprint
from mlflowish.steps.binding import Binding
from mlflowish.steps.inputs import sound_secret
from mlflowish.steps.keys import arguments_token, call_key, extras_token, names_token
from mlflowish.steps.options import Options
from mlflowish.store import Dir, File, as_store
from mlflowish.store.remembered import looking_in

Tokenizer = Callable[[Sequence[str], Sequence[Any]], bytes]
_IMMUTABLE = frozenset(
    {
        int,
        float,
        complex,
        str,
        bytes,
        bool,
        type(None),
        datetime.datetime,
        datetime.date,
        datetime.time,
        datetime.timedelta,
    }
)


@dataclass(frozen=True, slots=True)
class Identity:
    """One call before it runs. `key` is None when it has no identity; `reason` then says why."""

    key: bytes | None
    values: tuple[Any, ...]
    fingerprint: Fingerprint | None = None
    token: bytes = b""
    reason: str | None = None

    @property
    def sources(self) -> tuple[tuple[str, str, str], ...]:
        """Where its arguments came from, if that is known already."""
        return ()

    @property
    def hex(self) -> str | None:
        """The key as 32 hex digits."""
        return None if self.key is None else self.key.hex()


class Identifier:
    """Turns the arguments of one step into identities; keeps the code fingerprint as long as its guards hold."""

    def __init__(self, function: Callable[..., Any], options: Options, *, step: str) -> None:
        self._function = function
        self._options = options
        self.step = step
        self._fingerprint: Fingerprint | None = None
        self.noted_in: Any = None  # the store that knows that this fingerprint is in use
        self.kept_in: Any = None  # the store that has the code of this fingerprint
        self.last_duration_s: float | None = None  # of the last computation in this process
        self._rebind()

    def _rebind(self) -> None:
        self.binding = Binding(self._function)
        names = self.binding.names
        self.kept = [i for i, name in enumerate(names) if name not in self._options.ignore]
        self.names = tuple(names[i] for i in self.kept)
        self._names_token = names_token(self.names)
        self._keeps_all = len(self.kept) == len(names)
        self.has_secrets = sound_secret(self.names)

    def identify(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], token_of: Tokenizer = arguments_token
    ) -> Identity:
        """The identity of a call; TypeError, as the function would raise it, if the arguments do not bind."""
        if not self.binding.current():
            self._rebind()
        values = self.binding.bind(*args, **kwargs)
        if not self._keeps_all:
            values = tuple(values[i] for i in self.kept)
        fingerprint = self._fingerprint
        try:
            if fingerprint is None or not fingerprint.holds():
                fingerprint = self.walk()
            if fingerprint.uncacheable is not None:
                raise UncacheableError(fingerprint.uncacheable, path=fingerprint.uncacheable)
            if self._options.store is None:
                token = token_of(self.names, values)
            else:
                with looking_in(as_store(self._options.store)):
                    token = token_of(self.names, values)
            key = call_key(fingerprint.digest, self._names_token, token, self.extras())
        except UncacheableError as error:
            return Identity(None, values, reason=self._refuse(error))
        return Identity(key, values, fingerprint, token)

    def values_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The values that a call binds and that count."""
        values = self.binding.bind(*args, **kwargs)
        return tuple(values[i] for i in self.kept)

    def key_under(self, fingerprint_digest: bytes, identity: Identity) -> bytes:
        """The key that the same call has under other code."""
        return call_key(fingerprint_digest, self._names_token, identity.token, self.extras())

    def walk(self) -> Fingerprint:
        """The fingerprint of the code as it is now."""
        found = fingerprint(self._function, depends=self._options.depends, packages=self._options.packages)
        if self._options.strict and found.notes:
            raise UncacheableError(
                f"{self.step} is strict, and its code is not fully known: {' '.join(found.notes)} "
                "Declare what it depends on (depends=...), pass it as an argument, or drop strict=True.",
                path=found.notes[0],
            )
        self._fingerprint, self.noted_in, self.kept_in = found, None, None
        return found

    def declared_files(self) -> tuple[bytes, ...]:
        """What the files and folders of `depends=` hold now."""
        return tuple(item.content_digest() for item in self._options.depends if isinstance(item, (File, Dir)))

    def current(self) -> Fingerprint:
        """The fingerprint, walked again if a guard fails."""
        held = self._fingerprint
        return held if held is not None and held.holds() else self.walk()

    def mutated(self, identity: Identity) -> str | None:
        """The reason not to store a call that changed one of its arguments: a later hit would not change it."""
        if identity.token[:1] != b"D":
            return None
        for i, (name, value) in enumerate(zip(self.names, identity.values, strict=True)):
            if type(value) in _IMMUTABLE:
                continue
            try:
                unchanged = digest(value, path=name) == identity.token[1 + 16 * i : 17 + 16 * i]
            except MlflowishError:
                unchanged = False
            if not unchanged:
                meanwhile = ", or somebody else did while it ran" if isinstance(value, (File, Dir)) else ""
                return (
                    f"the step changes its argument '{name}'{meanwhile}, which a hit could not do; work on a copy, "
                    f"or leave it out of the identity with ignore=('{name}',)"
                )
        return None

    def extras(self) -> bytes:
        """What was declared beside the arguments: version, seed, and the present values of the environment
        variables."""
        if self._options.version is None and not self._options.env and not self._options.seed:
            return b""
        return extras_token(self.extra_values())

    def extra_values(self) -> list[tuple[str, Any]]:
        """The declared extras by name. Values of the environment may be secrets: only their digests are stored."""
        options = self._options
        extras: list[tuple[str, Any]] = [] if options.version is None else [("version", options.version)]
        extras += [(f"env:{name}", os.environ.get(name)) for name in options.env]
        return [*extras, ("seed", True)] if options.seed else extras

    def _refuse(self, error: UncacheableError) -> str:
        if self._options.strict:
            raise UncacheableError(
                f"{self.step} is strict, and this call cannot be cached: {error}", **error.data
            ) from error
        return str(error)


def default_name(function: Callable[..., Any]) -> str:
    """The name of a step in records: module and qualified name.

    Of a script, the name that importing it would give; of a partial, that of its function.
    """
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or "__main__"
    if module == "__main__":
        main = sys.modules.get("__main__")
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name.removesuffix(".__main__") if spec is not None else Path(file).stem if file else module
    qualname = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{qualname}".replace("<locals>.", "").replace("/", "_")
