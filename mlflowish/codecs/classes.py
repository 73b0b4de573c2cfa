"""Which classes of a script or notebook a pickle is put together with: today's, or those that were stored with it.

Cloudpickle takes a class that this process still has for the one in the pickle, and writes the stored methods into it:
what is alive changes. And a class may be the same while what its methods use (a global, a helper) is not. So whoever
must get what was stored says so here: a live class is then left as it is, and noted, or not taken at all.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

_CLOUDPICKLE = ("cloudpickle.cloudpickle", "cloudpickle")
_MAKERS = ("_make_skeleton_class", "_make_skeleton_enum")


@dataclass(slots=True)
class Classes:
    """`only_stored`: no class of this process is taken; `has_live`: one was. `made`: by cloudpickle's id, the stored
    ones that were put together; `whole`: by `id`, those that need nothing more."""

    only_stored: bool
    has_live: bool = False
    made: dict[str, type] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)


_chosen: ContextVar[Classes | None] = ContextVar("mlflowish_classes", default=None)


@contextmanager
def classes(*, only_stored: bool) -> Iterator[Classes]:
    """Within the block, pickles are put together with these classes. No class that is alive is written to."""
    chosen = Classes(only_stored)
    token = _chosen.set(chosen)
    try:
        yield chosen
    finally:
        _chosen.reset(token)


def may_be_live() -> bool:
    """May a class of this process stand for the stored one?"""
    chosen = _chosen.get()
    return chosen is None or not chosen.only_stored


def note_live() -> None:
    """A class of this process was taken for the stored one."""
    if (chosen := _chosen.get()) is not None:
        chosen.has_live = True


class ClassUnpickler(pickle.Unpickler):
    """Puts classes that cloudpickle stored by value together as the block around it says."""

    def find_class(self, module: str, name: str, /) -> Any:
        found = super().find_class(module, name)
        if module not in _CLOUDPICKLE or (chosen := _chosen.get()) is None:
            return found
        if name in _MAKERS:
            return partial(_class, chosen, found)
        return partial(_filled, chosen, found) if name == "_class_setstate" else found


def _class(chosen: Classes, maker: Callable[..., type], *arguments: Any) -> type:
    """What stands for a class whose body follows: cloudpickle's makers take its id as their last argument but one."""
    from cloudpickle import cloudpickle

    tracked = arguments[-2]
    live = None if chosen.only_stored else cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracked)
    if live is not None:
        chosen.has_live = True
        chosen.whole.add(id(live))
        return live  # type: ignore[no-any-return]  # cloudpickle says no types
    if tracked not in chosen.made:
        chosen.made[tracked] = maker(*arguments[:-2], None, arguments[-1])
    return chosen.made[tracked]


def _filled(chosen: Classes, setter: Callable[..., type], kind: type, state: Any) -> type:
    if id(kind) in chosen.whole:
        return kind
    chosen.whole.add(id(kind))
    return setter(kind, state)
