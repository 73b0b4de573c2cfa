"""What can be read off objects that otherwise say nothing about a result: whether an event is set, the level of a
logger, what is in a queue; and what a class of the project adds to such an object.

A lock, a logger or a thread counts by its type and name. Where the code asks it something, the answer counts as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

from mlflowish.errors import UncacheableError
from mlflowish.hashing import digests, opaque
from mlflowish.hashing.constants import sized
from mlflowish.hashing.guards import MISSING
from mlflowish.hashing.leaves import module_of, project_class, state_of
from mlflowish.hashing.packages import realm_of_module
from mlflowish.hashing.plain import plain_digest

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk

Question = Callable[[Any], Any]


def record_own_share(walk: Walk, number: int, obj: Any, label: str) -> bytes:
    """The record of what a class of the project adds to an opaque object: its code, and attributes of its own."""
    out = bytearray(b"own" + walk.edge(type(obj), label))
    state = state_of(obj) or {}
    for name in sorted(state.keys() - _library_names(type(obj))):
        walk.guards.binding(state, name, state[name])
        out += sized(name) + walk.edge(state[name], f"{label}.{name}", name=name, lenient=True)
    return bytes(out)


def _library_names(cls: type) -> set[str]:
    """Names that the initialisers of the library's classes mention, which are those of their own attributes."""
    makers = [vars(base).get("__init__") for base in cls.__mro__ if not project_class(base)]
    return {name for maker in makers if isinstance(maker, FunctionType) for name in maker.__code__.co_names}


def read_edge(walk: Walk, obj: Any, name: str, label: str) -> bytes:
    """What plain data that the code reads off an opaque object adds."""
    look = _reader(obj, name)
    digest = look()
    if not digest:
        return b""
    walk.guards.probe(look, digest)
    walk.add_part(f"{label}.{name}", "value", digest, str)
    return b"V" + digest


def _reader(obj: Any, name: str) -> Callable[[], bytes]:
    state = state_of(obj) or {}
    computed = realm_of_module(module_of(type(obj))) == "stdlib"

    def look() -> bytes:
        if name in state:
            return plain_digest(state[name]) or b""
        return (plain_digest(getattr(obj, name, MISSING)) or b"") if computed else b""

    return look


def answers(walk: Walk) -> dict[str, bytes]:
    """Answers of the opaque objects reached to what is asked anywhere in the code, by object and question."""
    found: dict[str, bytes] = {}
    for position, (obj, label) in enumerate(walk.opaques.values()):
        for kind, names, ask in _QUESTIONS:
            asked = walk.attributes & names
            if asked and opaque.is_kind(type(obj), kind):
                digest = _answer(ask, obj)
                walk.guards.probe(partial(_answer, ask, obj), digest)
                walk.add_part(f"{label}.{min(asked)}", "value", digest, str)
                found[f"answer {position} {kind}"] = digest
    return found


def _answer(ask: Question, obj: Any) -> bytes:
    try:
        return digests.digest(ask(obj))
    except UncacheableError as error:
        return sized(error.code)


def _queued(queue: Any) -> Any:
    return queue.maxsize, list(queue.queue)


def _outcome(future: Any) -> Any:
    if not future.done() or future.cancelled():
        return future.done()
    error = future.exception()
    return ("failed", type(error).__qualname__, str(error)) if error is not None else ("done", future.result())


_QUEUE = frozenset({"get", "get_nowait", "qsize", "empty", "full", "queue"})
_FUTURE = frozenset({"result", "done", "exception"})
_LEVEL = frozenset({"isEnabledFor", "getEffectiveLevel"})
_QUESTIONS: tuple[tuple[str, frozenset[str], Question], ...] = (
    ("threading.Event", frozenset({"is_set"}), lambda event: event.is_set()),
    ("asyncio.locks.Event", frozenset({"is_set"}), lambda event: event.is_set()),
    ("multiprocessing.synchronize.Event", frozenset({"is_set"}), lambda event: event.is_set()),
    ("_thread.lock", frozenset({"locked"}), lambda lock: lock.locked()),
    ("asyncio.locks.Lock", frozenset({"locked"}), lambda lock: lock.locked()),
    ("threading.Thread", frozenset({"is_alive"}), lambda thread: thread.is_alive()),
    ("logging.Logger", _LEVEL, lambda logger: (logger.getEffectiveLevel(), logger.disabled)),
    ("logging.LoggerAdapter", _LEVEL, lambda adapter: adapter.getEffectiveLevel()),
    ("queue.Queue", _QUEUE, _queued),
    ("_queue.SimpleQueue", _QUEUE, lambda queue: queue.qsize()),
    ("asyncio.queues.Queue", _QUEUE, lambda queue: (queue.maxsize, list(queue._queue))),
    ("concurrent.futures._base.Future", _FUTURE, _outcome),
    ("_asyncio.Future", _FUTURE, _outcome),
)
