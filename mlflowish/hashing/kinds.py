"""Which expander takes a value apart: found by its exact type first, then by the library that its class comes from."""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

from mlflowish.hashing import builtin, instances
from mlflowish.hashing.plain import plain_digest
from mlflowish.hashing.tree import Expand, Walk
from mlflowish.hashing.writer import Done, Node, head, silent

# Library -> the module of this package that knows its types. Each has `expander_for(cls) -> Expand | None`.
_LIBRARIES = {
    "numpy": "arrays",
    "pandas": "frames",
    "polars": "polars_frames",
    "pyarrow": "arrow",
    "scipy": "sparse",
    "torch": "tensors",
    "networkx": "networks",
    "pydantic": "models",
}
_CODE_TYPES = (
    type,
    types.FunctionType,
    types.ModuleType,
    types.CodeType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    functools._lru_cache_wrapper,
)

_registered: dict[type, Callable[[Any], Any]] = {}
# Remembered per class, weakly: the classes of a notebook come and go.
_builtin: dict[type, Expand] = dict(builtin.EXPANDERS)
_found: weakref.WeakKeyDictionary[type, Expand] = weakref.WeakKeyDictionary()


def register(cls: type, digester: Callable[[Any], Any]) -> None:
    """Put a user's digester in front of everything else for its class."""
    _registered[cls] = digester


def is_registered(cls: type) -> bool:
    """Does a user's digester say what identifies objects of this class?"""
    try:
        return cls in _registered
    except TypeError:  # a class that cannot be hashed cannot be registered
        return False


def expander(cls: type) -> Expand:
    """How to take a value of exactly this class apart."""
    try:
        if cls in _registered:
            return _registered_expand
        known = _builtin.get(cls) or _found.get(cls)
        if known is None:
            known = _found[cls] = _find(cls)
    except TypeError:  # a class that cannot be hashed
        return _find(cls)
    return known


def _find(cls: type) -> Expand:
    if hasattr(cls, "__mlf_stands_for__"):
        return _proxy_expand
    if hasattr(cls, "__mlf_digest__"):
        return _own_expand
    if issubclass(cls, _CODE_TYPES):
        return _code_expand
    found = builtin.expander_for(cls)
    if found is None:
        found = _library_expander(cls)
    return found if found is not None else instances.expander_for(cls)


def _library_expander(cls: type) -> Expand | None:
    for base in cls.__mro__:
        module = base.__module__
        library = module.partition(".")[0] if isinstance(module, str) else ""
        if library in _LIBRARIES:
            found: Expand | None = import_module(f"mlflowish.hashing.{_LIBRARIES[library]}").expander_for(cls)
            if found is not None:
                return found
    return None


def _registered_expand(value: Any, walk: Walk) -> Node | Done:
    return _tagged("registered", value, _registered[type(value)](value), walk)


def _proxy_expand(value: Any, walk: Walk) -> Node | Done:
    """A transparent proxy is what it stands for."""
    native = value.__mlf_stands_for__()
    return expander(type(native))(native, walk)


def _own_expand(value: Any, walk: Walk) -> Node | Done:
    return _tagged("own", value, value.__mlf_digest__(), walk)


def _tagged(tag: str, value: Any, content: Any, walk: Walk) -> Node | Done:
    if content is value:
        walk.refuse(value, "its digester returned the object itself")
    node = Node(head(tag, *walk.identity(type(value))), (content,), silent)
    found = plain_digest(content)  # as a rule: no need to come back for it
    return node if found is None else node.close([found])


def _code_expand(value: Any, walk: Walk) -> Done:
    from mlflowish.hashing.writer import leaf

    return leaf("code", bytes(walk.code(value, walk.path)))
