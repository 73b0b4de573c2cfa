"""What goes to another process and comes back: functions by cloudpickle, answers with what was printed and raised.

Unpickling executes code: what is unpickled here was pickled by the driver or by a worker that it started or was given.
"""

from __future__ import annotations

import io
import pickle
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mlflowish.errors import InvalidInputError, StepError, WorkerWarning
from mlflowish.executors.futures import Future
from mlflowish.executors.printed import print_here


@dataclass(frozen=True, slots=True)
class Known:
    """What a function that was to travel says when it need not: this is its result."""

    value: Any


@dataclass(frozen=True, slots=True)
class Warned:
    """What a function gives back on a worker that has something to tell besides."""

    value: Any
    texts: tuple[str, ...]


class Traveller(Protocol):
    """A function that knows that it travels; any other one may travel too.

    `ready` is called in the driver once all that it waits for is done, and gives a `Known` result or what has to
    travel. `arrived` makes the result of what came back, `opened` what `Future.result()` gives of the result. `refuse`
    makes the error for what cannot be pickled.
    """

    def ready(self) -> Any: ...

    def arrived(self, back: Any) -> Any: ...

    def opened(self, result: Any) -> Any: ...

    def refuse(self, error: Exception) -> Exception: ...


Printed = tuple[tuple[str, str], ...]


def departure(future: Future, function: Any) -> Any | None:
    """What of the function has to travel; None when the future needs nothing more: it was cancelled, what it waited
    for has failed, or its result is known."""
    if future.cancelled():
        return None
    try:
        ready = getattr(function, "ready", None)
        travels = function if ready is None else ready()
    except BaseException as error:  # noqa: BLE001  it belongs to whoever asks for the result
        if future.claim():
            future.end_with(error=error)
        return None
    if isinstance(travels, Known):
        if future.claim():
            future.end_with(travels.value)
        return None
    return travels


def packed(travels: Any, function: Any) -> bytes:
    """What travels as bytes. InvalidInputError naming what in it cannot."""
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(travels, protocol=pickle.HIGHEST_PROTOCOL))
    except Exception as error:
        refuse = getattr(function, "refuse", None)  # who made it knows better what it is made of
        if refuse is not None:
            raise refuse(error) from error
        raise InvalidInputError(
            f"{name_of(function)} cannot travel to another process: {type(error).__name__}: {error}. "
            "Use mf.executor('threads'), or leave out what only lives here (locks, open files, connections).",
            function=name_of(function),
        ) from error


class RemoteTraceback(Exception):
    """The traceback of an exception where it was raised: the `__cause__` of what is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says about one call: `value`, or what was raised as pickle and as text."""

    value: bytes | None
    error: bytes | None = None
    summary: str = ""
    trace: str = ""
    printed: Printed = ()
    warned: tuple[str, ...] = ()
    is_other_code: bool = False  # refused, because the worker has other code than the driver

    def opened(self, function: Any) -> Any:
        """The result of the function; raises what was raised, with the traceback there as its cause."""
        if self.value is None:
            raise self._raised()
        value = pickle.loads(self.value)
        arrived = getattr(function, "arrived", None)
        return value if arrived is None else arrived(value)

    def _raised(self) -> BaseException:
        remote = RemoteTraceback(self.trace)
        error: BaseException | None = None
        if self.error is not None:
            try:
                error = pickle.loads(self.error)
            except Exception:  # noqa: BLE001  its class is the user's, who may have written anything
                error = None
        if not isinstance(error, BaseException):
            error = StepError(f"Raised on a worker, and cannot be sent as it is: {self.summary}", summary=self.summary)
        error.__cause__ = remote
        return error


def receive(answer: Answer, future: Future, function: Any) -> None:
    """What a worker answered becomes the result of the future."""
    try:
        print_here(answer.printed)
        warn_of(answer)
        value = answer.opened(function)
    except BaseException as error:  # noqa: BLE001  it belongs to whoever asks for the result
        future.end_with(error=error)
    else:
        future.end_with(value)


def warn_of(answer: Answer) -> None:
    """Tell of what differs on the worker."""
    for difference in answer.warned:
        warnings.warn(difference, WorkerWarning, stacklevel=2)


def answer_of(function: Callable[[], Any]) -> Answer:
    """Call it, whatever happens: what an answer needs to say of it."""
    try:
        value = function()
    except BaseException as error:  # noqa: BLE001  an exit, too, is for whoever asked for the result
        return failed(error)
    warned: tuple[str, ...] = ()
    if isinstance(value, Warned):
        value, warned = value.value, value.texts
    try:
        return Answer(_dumped(value), warned=warned)
    except Exception as error:  # noqa: BLE001  what pickling runs is the user's code
        return failed(
            InvalidInputError(
                f"The result of {name_of(function)}, {type(value).__qualname__}, cannot travel back from the worker: "
                f"{type(error).__name__}: {error}"
            )
        )


def failed(error: BaseException) -> Answer:
    """The answer of a call that raised."""
    text = "".join(traceback.format_exception(error))
    summary = "".join(traceback.format_exception_only(error)).strip()
    try:
        dumped: bytes | None = _dumped(error)
        if type(pickle.loads(dumped or b"")).__qualname__ != type(error).__qualname__:
            dumped = None
    except Exception:  # noqa: BLE001  as above
        dumped = None
    return Answer(None, dumped, summary, text, is_other_code=bool(getattr(error, "is_other_code", False)))


def _dumped(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001  what is of the script goes by value
        return _dumped_by_value(value)


def _dumped_by_value(value: Any) -> bytes:
    import cloudpickle

    from mlflowish.codecs.pickling import reduced_main_class

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no annotations
        """The driver has the classes of its script: it gets its own back, and not copies."""

        def reducer_override(self, member: Any) -> Any:
            reduced = reduced_main_class(member) if isinstance(member, type) else None
            return super().reducer_override(member) if reduced is None else reduced

    sink = io.BytesIO()
    Pickler(sink, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return sink.getvalue()


def name_of(function: Any) -> str:
    """What to call a function in a message."""
    return str(getattr(function, "__qualname__", None) or repr(function)[:80])
