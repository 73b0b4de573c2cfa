"""Instances: dataclasses, attrs, pydantic, slots, reduction protocols, cycles, digesters of one's own."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import pathlib
import random
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import attrs
import pydantic
from groups import Groups

groups = Groups()


@dataclasses.dataclass
class A:
    x: Any = 1
    y: Any = 2


@dataclasses.dataclass
class B:
    x: Any = 1
    y: Any = 2


@dataclasses.dataclass(slots=True)
class Slotted:
    x: Any = 1
    y: Any = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any = 1
    y: Any = 2


@dataclasses.dataclass
class Child(A):
    z: Any = 3


class Named(NamedTuple):
    x: int = 1
    y: int = 2


@attrs.define
class Attr:
    x: Any = 1
    y: Any = 2


@attrs.frozen(cache_hash=True)
class Hashed:
    x: Any = "text"


@attrs.define(slots=False, frozen=True, cache_hash=True)
class HashedDict:
    x: Any = "text"


class Model(pydantic.BaseModel):
    x: Any = 1
    y: Any = 2


class OtherModel(pydantic.BaseModel):
    x: Any = 1
    y: Any = 2


class Open(pydantic.BaseModel, extra="allow"):
    x: Any = 1
    _secret: int = pydantic.PrivateAttr(default=0)


class Listed(pydantic.RootModel[list[int]]):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    x: int = 1


class Free:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


class BothKinds:
    __slots__ = ("__dict__", "x")

    def __init__(self, x: Any, **parts: Any) -> None:
        self.x = x
        self.__dict__.update(parts)


class Unset:
    __slots__ = ("x", "y")


class Custom:
    """Gives a state of its own, whose order is its meaning."""

    def __init__(self, state: Any) -> None:
        self.held = state

    def __getstate__(self) -> Any:
        return self.held

    def __setstate__(self, state: Any) -> None:
        self.held = state


class Hiding:
    """Leaves out a part that is not its content."""

    def __init__(self, x: Any, cache: Any) -> None:
        self.x = x
        self.cache = cache

    def __getstate__(self) -> Any:
        return {"x": self.x}


class Reducing:
    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> Any:
        return (type(self), self.args)


class Singleton:
    def __reduce__(self) -> str:
        return "SINGLETON"


SINGLETON = Singleton()


class Wrapped(dict):  # type: ignore[type-arg]
    def __init__(self, *args: Any, unit: str = "m") -> None:
        super().__init__(*args)
        self.unit = unit


class Labels(set):  # type: ignore[type-arg]
    pass


class Cached:
    def __init__(self, x: int) -> None:
        self.x = x

    @cached_property
    def double(self) -> int:
        return 2 * self.x


class OwnDigest:
    def __init__(self, identity: Any, noise: Any = None) -> None:
        self.identity = identity
        self.noise = noise

    def __mlf_digest__(self) -> Any:
        return self.identity


class OtherDigest(OwnDigest):
    pass


class Clock(dt.datetime):
    pass


class Money(Decimal):
    pass


class Tally(collections.Counter):  # type: ignore[type-arg]
    pass


class Grouped(collections.defaultdict):  # type: ignore[type-arg]
    pass


class Dice(random.Random):
    pass


class Place(type(pathlib.Path())):  # type: ignore[misc]
    pass


class Shape(collections.deque):  # type: ignore[type-arg]
    pass


class Wrong(Exception):
    pass


class Share(Fraction):
    pass


class Planet(enum.Enum):
    EARTH = (1, 2)
    MARS = (3, 4)

    def __init__(self, mass: int, radius: int) -> None:
        self.mass = mass


class Family:
    def __init__(self, name: str, parent: Family | None = None) -> None:
        self.name = name
        self.parent = parent
        self.children: set[Family] = set()
        if parent is not None:
            parent.children.add(self)


def family(*names: str) -> Family:
    top = Family("top")
    for name in names:
        Family(name, top)
    return top


def knot(order: str) -> Free:
    nodes = {name: Free(name=name) for name in order}
    for node in nodes.values():
        node.near = [nodes[name] for name in sorted(nodes)]
    return nodes["a"]


def in_order(names: str) -> Free:
    made = Free()
    for name in names:
        setattr(made, name, [name, object])
    return made


def slots(**parts: Any) -> Unset:
    made = Unset()
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def looked_at(value: Any, *names: str) -> Any:
    for name in names:
        getattr(value, name)
    hash(value) if isinstance(value, Hashed | HashedDict) else None
    return value


def selfish() -> Free:
    made = Free(x=1)
    made.me = made
    made.method = made.__init__
    return made


groups.distinct(
    "the same fields in different classes",
    *(A, B, Slotted, Frozen, Child, Named, Attr, Model, OtherModel),
    lambda: Free(x=1, y=2),
    lambda: BothKinds(1, y=2),
    lambda: slots(x=1, y=2),
    lambda: {"x": 1, "y": 2},
    lambda: (1, 2),
    lambda: A,
    lambda: Custom({"x": 1, "y": 2}),
    lambda: Reducing(1, 2),
)
groups.distinct(
    "values of fields",
    lambda: A(1),
    lambda: A(True),
    lambda: A(1.0),
    lambda: A("1"),
    lambda: A([1]),
    lambda: A((1,)),
    lambda: A(A()),
    lambda: A(B()),
    lambda: A(None),
)
groups.distinct(
    "fields exchanged",
    lambda: A(1, 2),
    lambda: A(2, 1),
    lambda: A([1], [2]),
    lambda: A([2], [1]),
    lambda: Frozen(1, 2),
    lambda: Frozen(2, 1),
    lambda: Attr(2, 1),
)
groups.alike("attributes in any order", lambda: in_order("abc"), lambda: in_order("cab"), lambda: in_order("bca"))
groups.alike("attributes of a dataclass set again", lambda: A(1, 2), lambda: _again(A(1, 2)))
groups.distinct(
    "attributes by name",
    lambda: Free(a=1, b=2),
    lambda: Free(a=2, b=1),
    lambda: Free(a=1),
    lambda: Free(a=1, b=None),
    lambda: Free(),
    lambda: Free(ab=(1, 2)),
    lambda: Free(a={"b": 2}),
)
groups.distinct("added attributes", A, lambda: _with(A(), z=3), lambda: Child(), lambda: _with(A(), _x=1))
groups.distinct(
    "slots and unset slots",
    lambda: slots(),
    lambda: slots(x=1),
    lambda: slots(y=1),
    lambda: slots(x=None),
    lambda: BothKinds(1),
    lambda: BothKinds(1, z=2),
    lambda: BothKinds(2),
)
groups.distinct(
    "states of their own",
    lambda: Custom({"a": 1, "b": 2}),
    lambda: Custom({"b": 2, "a": 1}),
    lambda: Custom([1]),
    lambda: Custom((1,)),
    lambda: Custom("a"),
    lambda: Custom(({"a": 1}, {"b": 2})),
    lambda: Custom(({"a": 1, "b": 2}, {})),
    lambda: Custom(({}, {"a": 1, "b": 2})),
    lambda: Custom((None, {"a": 1, "b": 2})),
)
groups.alike("what a state leaves out", lambda: Hiding(1, 2), lambda: Hiding(1, iter([])))
groups.distinct(
    "reductions",
    lambda: Reducing(),
    lambda: Reducing(1),
    lambda: Reducing(1, 2),
    lambda: Reducing((1, 2)),
    lambda: Reducing([1]),
    lambda: SINGLETON,
)
groups.distinct(
    "subclasses of containers",
    lambda: Wrapped({"a": 1}),
    lambda: Wrapped({"a": 1}, unit="s"),
    lambda: Wrapped({"a": 2}),
    lambda: {"a": 1},
    lambda: Labels("ab"),
    lambda: {"a", "b"},
    lambda: _with(Labels("ab"), unit=1),
    lambda: _with(Labels("ab"), unit=2),
)
groups.alike("set subclasses in any order", lambda: Labels(["x", "y", "z"]), lambda: Labels(["z", "y", "x"]))
groups.distinct(
    "pydantic models",
    Model,
    lambda: Model(x=2),
    lambda: Model(y=1),
    lambda: Model(x="1"),
    lambda: Open(),
    lambda: Open(z=1),
    lambda: Open(z=2),
    lambda: _with(Open(), _secret=1),
    lambda: Listed([1]),
    lambda: Listed([2]),
    lambda: Checked(1),
    lambda: Checked(2),
)
groups.alike(
    "pydantic fields set or defaulted",
    lambda: Model(),
    lambda: Model(x=1),
    lambda: Model(y=2, x=1),
    lambda: Model.model_construct(x=1, y=2),
)
groups.alike("attrs with a remembered hash", lambda: Hashed(), lambda: looked_at(Hashed()))
groups.alike("attrs dict classes with a remembered hash", lambda: HashedDict(), lambda: looked_at(HashedDict()))
groups.distinct(
    "digests of one's own",
    lambda: OwnDigest(1),
    lambda: OwnDigest(2),
    lambda: OwnDigest("1"),
    lambda: OwnDigest(b"1"),
    lambda: OtherDigest(1),
    lambda: 1,
    lambda: OwnDigest([1]),
)
groups.alike("noise beside a digest of one's own", lambda: OwnDigest(1, 2), lambda: OwnDigest(1, iter([])))
groups.distinct("members with attributes", lambda: Planet.EARTH, lambda: Planet.MARS, lambda: (1, 2))
groups.alike("families in any order", lambda: family("a", "b", "c"), lambda: family("c", "a", "b"))
groups.distinct(
    "families",
    lambda: family("a", "b"),
    lambda: family("a"),
    lambda: family("a", "c"),
    lambda: family("a", "b", "b"),
    lambda: next(iter(family("a", "a").children)),
    lambda: family(),
)
groups.alike("knots in any order", lambda: knot("abcdef"), lambda: knot("fedcba"))
groups.distinct("knots", lambda: knot("abc"), lambda: knot("abcd"), lambda: knot("abd"), selfish)
groups.alike("shared and equal instances", lambda: (lambda a: [a, a])(A([1])), lambda: [A([1]), A([1])])
groups.distinct(
    "nested instances",
    lambda: A(A(1, 2), 3),
    lambda: A(1, A(2, 3)),
    lambda: A(A(1, 2)),
    lambda: [A(1), A(2)],
    lambda: [A(2), A(1)],
)
groups.distinct(
    "bound methods",
    lambda: A(1).__init__,
    lambda: A(2).__init__,
    lambda: A(1).__eq__,
    lambda: B(1).__init__,
    lambda: A.__init__,
)
groups.distinct(
    "attributes that a standard base forgets",
    *[
        lambda make=make, unit=unit: make() if unit is None else _with(make(), unit=unit)
        for make in (
            lambda: Clock(2020, 1, 1),
            lambda: Money("1.50"),
            lambda: Tally("aab"),
            lambda: Grouped(list),
            lambda: Dice(1),
            lambda: Place("a"),
            lambda: Shape([1]),
            lambda: Wrong("a"),
            lambda: Share(1, 2),
        )
        for unit in (None, 1, 2)
    ],
)
groups.distinct(
    "odd attributes",
    lambda: _odd({1: 1}),
    lambda: _odd({"1": 1}),
    lambda: _odd({1: 1, "1": 2}),
    lambda: _odd({1: 2, "1": 1}),
)


def _odd(attributes: dict[Any, Any]) -> Free:
    made = Free()
    made.__dict__.update(attributes)
    return made


def _again(value: A) -> A:
    x = value.x
    del value.x
    value.x = x
    return value


def _with(value: Any, **parts: Any) -> Any:
    for name, part in parts.items():
        setattr(value, name, part)
    return value
