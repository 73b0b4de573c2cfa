"""The standard library: time, numbers, paths, containers, callables, exceptions."""

from __future__ import annotations

import collections
import datetime as dt
import functools
import io
import ipaddress
import math
import operator
import pathlib
import random
import re
import string
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from groups import Groups

groups = Groups()

MOMENT = (2024, 10, 27, 2, 30)
BERLIN = ZoneInfo("Europe/Berlin")


class Clock(dt.datetime):
    pass


class Fixed(dt.tzinfo):
    def __init__(self, hours: int = 1, name: str = "X") -> None:
        self.hours = hours
        self.label = name

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=self.hours)

    def tzname(self, when: dt.datetime | None) -> str:
        return self.label

    def dst(self, when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)


class Problem(Exception):
    pass


def used(seed: int, times: int) -> random.Random:
    generator = random.Random(seed)
    for _ in range(times):
        generator.random()
    return generator


def noted(error: BaseException, note: str) -> BaseException:
    error.add_note(note)
    return error


groups.distinct(
    "moments",
    lambda: dt.datetime(*MOMENT),
    lambda: dt.datetime(*MOMENT, fold=1),
    lambda: dt.datetime(*MOMENT, 1),
    lambda: dt.datetime(*MOMENT, 0, 1),
    lambda: dt.datetime(*MOMENT, tzinfo=BERLIN),
    lambda: dt.datetime(*MOMENT, tzinfo=BERLIN, fold=1),
    lambda: dt.datetime(*MOMENT, tzinfo=dt.UTC),
    lambda: dt.datetime(*MOMENT, tzinfo=ZoneInfo("UTC")),
    lambda: dt.datetime(*MOMENT, tzinfo=ZoneInfo("Europe/Vienna")),
    lambda: dt.datetime(*MOMENT, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    lambda: dt.datetime(*MOMENT, tzinfo=dt.timezone(dt.timedelta(hours=1), "CET")),
    lambda: dt.datetime(*MOMENT, tzinfo=Fixed(1)),
    lambda: dt.datetime(*MOMENT, tzinfo=Fixed(2)),
    lambda: Clock(*MOMENT),
    lambda: Clock(*MOMENT, fold=1),
    lambda: dt.date(*MOMENT[:3]),
    lambda: dt.datetime(*MOMENT[:3]),
    lambda: dt.datetime(*MOMENT).isoformat(),
    lambda: dt.datetime(*MOMENT).timetuple(),
)
groups.distinct(
    "times",
    lambda: dt.time(2, 30),
    lambda: dt.time(2, 30, fold=1),
    lambda: dt.time(2, 30, tzinfo=dt.UTC),
    lambda: dt.time(2, 30, 0, 1),
    lambda: dt.timedelta(hours=2.5),
)
groups.alike(
    "equal moments",
    lambda: dt.datetime(*MOMENT, tzinfo=BERLIN),
    lambda: dt.datetime.fromisoformat("2024-10-27T02:30").replace(tzinfo=ZoneInfo.no_cache("Europe/Berlin")),
)
groups.alike(
    "equal durations",
    lambda: dt.timedelta(hours=36),
    lambda: dt.timedelta(days=1, hours=12),
    lambda: dt.timedelta(seconds=129_600),
)
groups.distinct(
    "durations",
    lambda: dt.timedelta(1),
    lambda: dt.timedelta(-1),
    lambda: dt.timedelta(0, 1),
    lambda: dt.timedelta(0, 0, 1),
    lambda: 1,
)
groups.alike("the zero offset", lambda: dt.UTC, lambda: dt.timezone(dt.timedelta(0)))
groups.distinct(
    "zones",
    lambda: dt.UTC,
    lambda: ZoneInfo("UTC"),
    lambda: BERLIN,
    lambda: ZoneInfo("Europe/Vienna"),
    lambda: dt.timezone(dt.timedelta(hours=1)),
    lambda: "Europe/Berlin",
)
groups.distinct(
    "decimals",
    lambda: Decimal("1"),
    lambda: Decimal("1.0"),
    lambda: Decimal("-1"),
    lambda: Decimal("0"),
    lambda: Decimal("-0"),
    lambda: Decimal("NaN"),
    lambda: Decimal("sNaN"),
    lambda: Decimal("Infinity"),
    lambda: Decimal("-Infinity"),
    lambda: Decimal("1E+1"),
    lambda: Decimal("10"),
    lambda: 1,
    lambda: "1",
)
groups.distinct(
    "fractions",
    lambda: Fraction(1, 2),
    lambda: Fraction(-1, 2),
    lambda: Fraction(2, 1),
    lambda: 0.5,
    lambda: (1, 2),
    lambda: Decimal("0.5"),
)
groups.alike("reduced fractions", lambda: Fraction(1, 2), lambda: Fraction(2, 4), lambda: Fraction("0.5"))
groups.distinct(
    "identifiers",
    lambda: uuid.UUID(int=1),
    lambda: uuid.UUID(int=2),
    lambda: str(uuid.UUID(int=1)),
    lambda: uuid.UUID(int=1).bytes,
    lambda: 1,
)
groups.distinct(
    "paths",
    lambda: pathlib.Path("a/b"),
    lambda: pathlib.PurePosixPath("a/b"),
    lambda: pathlib.PureWindowsPath("a/b"),
    lambda: "a/b",
    lambda: pathlib.Path("/a/b"),
    lambda: pathlib.Path("a\\b"),
    lambda: pathlib.Path("a"),
    lambda: pathlib.Path("A/b"),
)
groups.alike(
    "spellings of a path",
    lambda: pathlib.Path("a/b"),
    lambda: pathlib.Path("a//b/"),
    lambda: pathlib.Path("a", "b"),
    lambda: pathlib.Path("./a/b"),
)
groups.distinct(
    "patterns",
    lambda: re.compile("a"),
    lambda: re.compile("a", re.I),
    lambda: re.compile(b"a"),
    lambda: re.compile("b"),
    lambda: "a",
    lambda: re.compile("a", re.A),
)
groups.distinct("flags of patterns", lambda: re.I, lambda: re.M, lambda: re.I | re.M, lambda: 2)
groups.distinct(
    "mappings",
    lambda: {"a": 1},
    lambda: collections.OrderedDict(a=1),
    lambda: collections.defaultdict(int, a=1),
    lambda: collections.defaultdict(None, a=1),
    lambda: collections.Counter(a=1),
    lambda: collections.ChainMap({"a": 1}),
    lambda: collections.UserDict(a=1),
    lambda: collections.defaultdict(float, a=1),
)
groups.distinct("ordered dicts", lambda: collections.OrderedDict(a=1, b=2), lambda: collections.OrderedDict(b=2, a=1))
groups.distinct(
    "chain maps",
    lambda: collections.ChainMap({"a": 1}, {"b": 2}),
    lambda: collections.ChainMap({"b": 2}, {"a": 1}),
    lambda: collections.ChainMap({"a": 1, "b": 2}),
)
groups.distinct(
    "deques",
    lambda: collections.deque([1, 2]),
    lambda: collections.deque([2, 1]),
    lambda: collections.deque([1, 2], 2),
    lambda: collections.deque([1, 2], 3),
    lambda: [1, 2],
    lambda: collections.deque(),
    lambda: collections.deque(maxlen=2),
)
groups.alike(
    "deques filled differently",
    lambda: collections.deque([1, 2, 3], 2),
    lambda: collections.deque([2, 3], 2),
    lambda: collections.deque(iter([2, 3]), maxlen=2),
)
groups.distinct(
    "user lists and strings",
    lambda: collections.UserList([1]),
    lambda: [1],
    lambda: collections.UserString("a"),
    lambda: "a",
    lambda: collections.UserList([2]),
)
groups.distinct(
    "generators of random numbers",
    lambda: random.Random(1),
    lambda: random.Random(2),
    lambda: used(1, 1),
    lambda: used(1, 2),
)
groups.alike("generators in one state", lambda: used(1, 3), lambda: used(1, 3))
groups.distinct(
    "partials",
    lambda: functools.partial(int, base=2),
    lambda: functools.partial(int, base=3),
    lambda: functools.partial(int, "1", base=2),
    lambda: functools.partial(float),
    lambda: int,
    lambda: functools.partial(int, 2),
)
groups.distinct(
    "operators",
    lambda: operator.itemgetter(1),
    lambda: operator.itemgetter(2),
    lambda: operator.itemgetter(1, 2),
    lambda: operator.attrgetter("a"),
    lambda: operator.attrgetter("a.b"),
    lambda: operator.methodcaller("a"),
    lambda: operator.methodcaller("a", 1),
    lambda: operator.methodcaller("a", k=1),
    lambda: operator.add,
    lambda: operator.sub,
)
groups.distinct(
    "functions and classes",
    lambda: len,
    lambda: max,
    lambda: int,
    lambda: str,
    lambda: list,
    lambda: math.sqrt,
    lambda: "len",
    lambda: math,
    lambda: operator,
)
groups.distinct(
    "bound methods of builtins",
    lambda: "a".join,
    lambda: "b".join,
    lambda: "a".split,
    lambda: [].append,
    lambda: {}.get,
    lambda: (1).__add__,
    lambda: (2).__add__,
)
groups.distinct(
    "exceptions",
    lambda: ValueError("a"),
    lambda: ValueError("b"),
    lambda: TypeError("a"),
    lambda: ValueError(),
    lambda: ValueError("a", 1),
    lambda: Problem("a"),
    lambda: noted(ValueError("a"), "n"),
    lambda: OSError(2, "a"),
    lambda: OSError(2, "a", "f"),
    lambda: KeyError("a"),
    lambda: ExceptionGroup("a", [ValueError("a")]),
    lambda: StopIteration(1),
)
groups.distinct(
    "addresses",
    lambda: ipaddress.ip_address("10.0.0.1"),
    lambda: ipaddress.ip_address("10.0.0.2"),
    lambda: ipaddress.ip_network("10.0.0.1/32"),
    lambda: ipaddress.ip_interface("10.0.0.1/32"),
    lambda: ipaddress.ip_address("::1"),
    lambda: "10.0.0.1",
    lambda: ipaddress.ip_network("10.0.0.0/31"),
)
groups.alike(
    "networks with and without filled caches",
    lambda: ipaddress.ip_network("10.0.0.0/24"),
    lambda: _asked(ipaddress.ip_network("10.0.0.0/24")),
)
groups.distinct("templates", lambda: string.Template("$a"), lambda: string.Template("$b"), lambda: "$a")
groups.distinct(
    "buffers",
    lambda: io.BytesIO(b"ab"),
    lambda: _moved(io.BytesIO(b"ab"), 1),
    lambda: io.BytesIO(b"a"),
    lambda: io.StringIO("ab"),
    lambda: _moved(io.StringIO("ab"), 1),
    lambda: b"ab",
)
groups.distinct(
    "type hints",
    lambda: list[int],
    lambda: list[str],
    lambda: int | str,
    lambda: int | None,
    lambda: dict[str, int],
    lambda: list,
    lambda: Any,
)
groups.distinct(
    "properties", lambda: property(len), lambda: property(max), lambda: staticmethod(len), lambda: classmethod(len)
)


def _asked(network: Any) -> Any:
    _ = network.broadcast_address, network.hostmask, hash(network), list(network.hosts())[:1]
    return network


def _moved(buffer: Any, position: int) -> Any:
    buffer.seek(position)
    return buffer
