"""From the arguments of a call to one value per parameter, as the function itself would bind them, at native speed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


class Binding:
    """The parameters of a function, and `bind`, which gives their values in order, defaults applied.

    `bind` is a generated function with the same parameters, so the interpreter binds, and a wrong call raises the
    same TypeError as
    the function would. Keyword dictionaries (`**kwargs`) keep their order: a function can see it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters.values()
        self.names = tuple(parameter.name for parameter in parameters)
        self._has_kwargs = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        self.bind = self._generated()

    def current(self) -> bool:
        """Are the function's defaults still the objects that were here when this was made?"""
        function = self._function
        return (
            getattr(function, "__defaults__", None) is self._defaults[0]
            and getattr(function, "__kwdefaults__", None) is self._defaults[1]
        )

    def takes(self, name: str) -> bool:
        """Does a keyword of this name go to the function?"""
        return name in self.names or self._has_kwargs

    def _generated(self) -> Callable[..., tuple[Any, ...]]:
        function = self._function
        self._defaults = (getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None))
        namespace: dict[str, Any] = {}
        defaults = {f"_default_{i}": p.default for i, p in enumerate(self.signature.parameters.values())}
        namespace.update(defaults)
        declared = self._declaration()
        # Names come from an existing signature, so they are identifiers: there is nothing here to inject.
        exec(f"def bind({declared}): return ({''.join(name + ', ' for name in self.names)})", namespace)
        bind: Callable[..., tuple[Any, ...]] = namespace["bind"]
        bind.__qualname__ = getattr(function, "__qualname__", "step")
        return bind

    def _declaration(self) -> str:
        pieces = []
        seen_positional_only = seen_star = False
        for index, parameter in enumerate(self.signature.parameters.values()):
            if seen_positional_only and parameter.kind is not parameter.POSITIONAL_ONLY:
                pieces.append("/")
                seen_positional_only = False
            seen_positional_only = seen_positional_only or parameter.kind is parameter.POSITIONAL_ONLY
            if parameter.kind is parameter.VAR_POSITIONAL:
                pieces.append(f"*{parameter.name}")
                seen_star = True
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                pieces.append(f"**{parameter.name}")
                continue
            if parameter.kind is parameter.KEYWORD_ONLY and not seen_star:
                pieces.append("*")
                seen_star = True
            default = "" if parameter.default is parameter.empty else f"=_default_{index}"
            pieces.append(parameter.name + default)
        if seen_positional_only:
            pieces.append("/")
        return ", ".join(pieces)
