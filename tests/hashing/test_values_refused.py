"""What cannot be digested is refused, and the error names the culprit's place."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import itertools
import mmap
import queue
import re
import socket
import sqlite3
import threading
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

from mlflowish.errors import StepError, UncacheableError
from mlflowish.hashing import cycles, digest, digest_call, tree


@dataclass
class Holder:
    part: Any


class Endless:
    """Makes a new object whenever it is read."""

    def __getstate__(self) -> Any:
        return {"next": Endless()}


class Wide:
    def __getstate__(self) -> Any:
        return [Wide(), Wide()]


class Broken:
    def __getstate__(self) -> Any:
        raise ZeroDivisionError("no state today")


class Impostor:
    def __reduce__(self) -> str:
        return "Impostor"


class SelfDigest:
    def __mlf_digest__(self) -> Any:
        return self


class Reader:
    """An iterator of one's own."""

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        raise StopIteration


def numbers() -> Iterator[int]:
    yield 1


async def task() -> None:
    pass


async def stream() -> Any:
    yield 1


@contextlib.contextmanager
def coroutine() -> Iterator[Any]:
    made = task()
    yield made
    made.close()


REFUSED: dict[str, Any] = {
    "a lock": threading.Lock,
    "a reentrant lock": threading.RLock,
    "an event": threading.Event,
    "an asynchronous lock": asyncio.Lock,
    "an asynchronous queue": asyncio.Queue,
    "a queue": queue.Queue,
    "a condition": threading.Condition,
    "a context variable": lambda: contextvars.ContextVar("v"),
    "a cell": lambda: types.CellType(1),
    "a thread": threading.Thread,
    "thread-local data": threading.local,
    "a generator": numbers,
    "a generator expression": lambda: (i for i in range(3)),
    "an asynchronous generator": stream,
    "an iterator": lambda: iter([1]),
    "a map": lambda: map(len, []),
    "a zip": lambda: zip([1], [2], strict=True),
    "a filter": lambda: filter(None, []),
    "an enumeration": lambda: enumerate([]),
    "a count": itertools.count,
    "a reversed list": lambda: reversed([1]),
    "an iterator of one's own": Reader,
    "a bare object": object,
    "an event loop's future": lambda: concurrent.futures.Future(),
    "a match": lambda: re.match("a", "a"),
    "a weak reference": lambda: weakref.ref(Holder),
    "a weak proxy": lambda: weakref.proxy(Holder),
    "a weak set": weakref.WeakSet,
    "a weak dict": weakref.WeakValueDictionary,
    "a frame of the interpreter": lambda: next(iter([__import__("sys")._getframe()])),
    "an anonymous memory map": lambda: mmap.mmap(-1, 10),
    "a class that fails": Broken,
    "an impostor": Impostor,
    "a digester that returns itself": SelfDigest,
    "a lazy frame": lambda: pl.LazyFrame({"a": [1]}),
    "a data set": lambda: pyarrow.dataset.dataset(pa.table({"a": [1]})),
    "a reader of batches": lambda: pa.table({"a": [1]}).to_reader(),
    "a ufunc made at run time": lambda: np.frompyfunc(len, 1, 1),
    "an iterator over an array": lambda: np.nditer(np.arange(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_content_is_refused(name: str) -> None:
    value = REFUSED[name]()
    with pytest.raises(UncacheableError) as caught:
        digest(value)
    assert caught.value.path.startswith("value")


@pytest.mark.parametrize("name", REFUSED)
def test_the_path_leads_to_the_culprit(name: str) -> None:
    value = {"a": [1, 2, {"k"}, Holder(REFUSED[name]())], "b": 1}
    with pytest.raises(UncacheableError) as caught:
        digest(value, path="arg")
    assert caught.value.path.startswith('arg["a"][3].part')


def test_an_open_file_is_refused(tmp_path: Any) -> None:
    for mode in ("w", "wb", "r", "rb", "r+b"):
        with open(tmp_path / "x", mode) as file, pytest.raises(UncacheableError):
            digest([file])


def test_a_socket_is_refused() -> None:
    with socket.socket() as made, pytest.raises(UncacheableError):
        digest({"s": made})


def test_a_connection_is_refused() -> None:
    made = sqlite3.connect(":memory:")
    with pytest.raises(UncacheableError):
        digest(made)
    made.close()


def test_a_coroutine_is_refused() -> None:
    with coroutine() as made, pytest.raises(UncacheableError):
        digest(made)


def test_an_executor_and_a_loop_are_refused() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(UncacheableError):
        digest(pool)
    loop = asyncio.new_event_loop()
    with pytest.raises(UncacheableError):
        digest(loop)
    loop.close()


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"lock": LOCK}]}, 'value["a"][1]["lock"]'),
        ([[[LOCK]]], "value[0][0][0]"),
        ((1, {2: LOCK}), "value[1][2]"),
        (Holder(Holder(LOCK)), "value.part.part"),
        ({(1, 2): LOCK}, "value[<tuple>]"),
        ({"x": {1.5: [LOCK]}}, 'value["x"][1.5][0]'),
        (np.array([1, LOCK], object), "value[1]"),
        (pd.DataFrame({"a": [1, 2], "b": [1, LOCK]}), 'value["b"][1]'),
        (pd.Series([1, LOCK]), "value[1]"),
    ],
)
def test_the_path_reads_like_code(value: Any, path: str) -> None:
    with pytest.raises(UncacheableError) as caught:
        digest(value)
    assert caught.value.path == path


def test_the_path_leads_through_a_cycle() -> None:
    value: dict[str, Any] = {"name": "x"}
    value["self"] = [value, threading.Lock()]
    with pytest.raises(UncacheableError) as caught:
        digest(value)
    assert caught.value.path == 'value["self"][1]'


def test_the_message_says_what_and_what_to_do() -> None:
    with pytest.raises(UncacheableError, match=r"value\.part.*_thread\.lock.*ignore=.*register_digester"):
        digest(Holder(threading.Lock()))


def test_the_cause_is_chained() -> None:
    with pytest.raises(UncacheableError) as caught:
        digest([Broken()])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lower limit, which is reached sooner."""
    monkeypatch.setattr(tree, "MAX_DEPTH", 2_000)
    monkeypatch.setattr(cycles, "MAX_DEPTH", 2_000)


@pytest.mark.parametrize("endless", [Endless, Wide])
def test_a_graph_without_end_is_an_error_and_not_a_crash(endless: type, shallow: None) -> None:
    with pytest.raises(UncacheableError, match="levels deep"):
        digest(endless())


def test_a_graph_without_end_beside_a_cycle_is_an_error(shallow: None) -> None:
    value: list[Any] = [Wide()]
    value.append(value)
    with pytest.raises(UncacheableError, match="levels deep"):
        digest(value)


def test_lists_deeper_than_the_limit_are_an_error() -> None:
    value: Any = []
    for _ in range(50_100):
        value = [value]
    with pytest.raises(UncacheableError, match="levels deep"):
        digest(value)
    while value:  # unwound by hand: the interpreter's own way down is deep as well
        value = value[0]
    gc.collect()


def test_the_path_of_an_argument_begins_with_its_name() -> None:
    with pytest.raises(UncacheableError) as caught:
        digest_call(("x", "conn"), (1, [threading.Lock()]))
    assert caught.value.path == "conn[0]"
    assert isinstance(caught.value, StepError)


def test_a_dict_that_changes_while_it_is_read_is_an_error() -> None:
    class Meddling:
        def __getstate__(self) -> Any:
            shared[object] = 1
            return None

    shared: dict[Any, Any] = {"a": Meddling(), "b": Holder(object)}
    with pytest.raises(UncacheableError, match="reading its members failed"):
        digest(shared)
