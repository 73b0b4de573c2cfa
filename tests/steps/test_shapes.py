"""What can be a step, in every way that Python knows of having a function: each works, or says what to do."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import functools
import inspect
import math
import pickle
import subprocess
import sys
from typing import NamedTuple

import cloudpickle
import pytest

import mlflowish as mf
from mlflowish.steps import BoundStep


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


def hits(call, *args):
    """Computed by the first call and read back by the second, by whatever it is asked through."""
    return [call(*args).hit, call(*args).hit] == [False, True]


@dataclasses.dataclass
class Scale:
    by: int

    @mf.step
    def times(self, x):
        """Scaled."""
        return self.by * x

    @mf.step
    def both(self, x):
        return self.times.call(x).hit, self.shifted(x)

    def shifted(self, x):
        return x + 1


class Wider(Scale):
    @mf.step
    def both(self, x):
        return ("wider", super().both(x))

    def shifted(self, x):
        return x + 100


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    by: int

    @mf.step
    def times(self, x):
        return self.by * x


class Pair(NamedTuple):
    a: int
    b: int

    @mf.step
    def total(self):
        return self.a + self.b


class Model:
    @mf.step
    @classmethod
    def above(cls, x):
        return cls.__name__, x

    @classmethod
    @mf.step
    def below(cls, x=0):
        return cls.__name__, x

    @mf.step
    @staticmethod
    def static_below(x):
        return x

    @staticmethod
    @mf.step
    def static_above(x):
        return x


class Asynchronous:
    @mf.step
    async def one(self, x):
        return x

    @mf.step
    @classmethod
    async def made(cls, x):
        return x

    @mf.step
    async def many(self, n):
        for number in range(n):
            yield number


class Times:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return self.by * x

    def method(self, x):
        return self.by + x


def add(x, n=1):
    return x + n


added = mf.step(add)


@pytest.mark.parametrize("kind", [Scale, Frozen])
def test_methods_of_dataclasses_are_keyed_by_the_fields(kind):
    assert hits(kind(2).times.call, 3)
    assert kind(2).times.is_cached(3)
    assert not kind(3).times.is_cached(3)


def test_methods_of_named_tuples():
    assert hits(Pair(1, 2).total.call)
    assert Pair(1, 2).total() == 3
    assert not Pair(1, 3).total.is_cached()


def test_inherited_and_overridden_methods_are_those_of_the_instances_class():
    assert Scale(2).both(3) == (False, 4)
    assert Wider(2).both(3) == ("wider", (False, 103))
    assert Wider(2).both.call(3).hit
    assert Scale(2).times.is_cached(3)
    assert Wider(2).times(3) == 6


def test_class_methods_above_and_static_methods_either_way():
    assert hits(Model.above.call, 1)
    assert hits(Model.static_below.call, 2)
    assert Model().static_above.call(3).hit is False
    assert Model.static_above.call(3).hit is True
    assert Model.below(5) == ("Model", 5)


@pytest.mark.parametrize("ask", ["call", "is_cached", "explain", "submit", "forget", "map"])
def test_a_class_method_above_a_step_never_takes_an_argument_for_the_class(ask):
    argument = [5] if ask == "map" else 5
    if sys.version_info < (3, 13):  # there the class is passed on
        getattr(Model.below, ask)(argument)
        assert Model.below.history().column("arguments") in ([], ["cls=class test_shapes.Model, x=5"])
        return
    with pytest.raises(mf.InvalidInputError, match=r"@mf.step above @classmethod"):
        getattr(Model.below, ask)(argument)


def test_a_function_that_calls_its_argument_cls_is_no_class_method():
    @mf.step
    def label(cls):
        return cls.upper()

    assert label.call("cat").value == "CAT"


def test_properties_go_above_a_step():
    class Box:
        @property
        @mf.step
        def size(self):
            return 5

        @functools.cached_property
        @mf.step
        def weight(self):
            return 6

    assert [Box().size, Box().size, Box().weight] == [5, 5, 6]
    with pytest.raises(mf.InvalidInputError, match=r"Write @property above @mf\.step"):
        mf.step(property(lambda self: 5))
    with pytest.raises(mf.InvalidInputError, match=r"Write @cached_property above @mf\.step"):
        mf.step(functools.cached_property(lambda self: 5))


def test_partials_of_a_step_and_a_step_of_a_partial():
    assert functools.partial(added, n=2)(1) == 3
    ten = mf.step(functools.partial(add, n=10))
    assert hits(ten.call, 1)
    assert ten(1) == 11
    assert ten.name == added.name
    assert hits(mf.step(functools.partial(added, n=20)).call, 1)


def test_an_object_with_a_call_is_keyed_by_its_state_and_stays_no_method_on_a_class():
    double = mf.step(Times(2))
    assert hits(double.call, 3)
    assert not mf.step(Times(4)).is_cached(3)
    assert type("Holder", (), {"double": double})().double(3) == 6


def test_a_bound_method_of_an_ordinary_class_is_keyed_by_its_instance():
    assert hits(mf.step(Times(2).method).call, 3)
    assert not mf.step(Times(3).method).is_cached(3)


def test_lambdas_builtins_and_wrapped_functions():
    assert [mf.step(f)(1) for f in (lambda x: x + 1, lambda x: x + 2)] == [2, 3]
    assert hits(mf.step(math.sqrt).call, 4)
    assert mf.step(len)([1, 2]) == 2
    assert hits(mf.step(functools.lru_cache(add)).call, 1)
    assert functools.lru_cache(added)(1) == 2


@pytest.mark.parametrize("found", [dict.fromkeys, type("Odd", (), {"__call__": lambda *a: 1, "__signature__": 3})()])
def test_what_does_not_tell_its_parameters_is_wrapped_by_the_user(found):
    try:
        inspect.signature(found)
    except (ValueError, TypeError):
        with pytest.raises(mf.InvalidInputError, match=r"def mine\(x\)"):
            mf.step(found)
    else:
        mf.step(found)


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        (Times, "Decorate its methods"),
        (3, "Write a function"),
        (None, "Write a function"),
        ("train", r"@mf.step\(name='train'\)"),
        (added, "is a step already"),
        (Scale(1).times, "is a step already"),
    ],
)
def test_what_cannot_be_a_step_is_refused_with_advice(found, advice):
    with pytest.raises(mf.InvalidInputError, match=advice):
        mf.step(found)
    with pytest.raises(mf.InvalidInputError, match=advice):
        mf.step(version=1)(found)


def test_abstract_methods_stay_abstract():
    class Abstract(abc.ABC):
        @mf.step
        @abc.abstractmethod
        def work(self, x): ...

    class Concrete(Abstract):
        @mf.step
        def work(self, x):
            return x

    with pytest.raises(TypeError, match="abstract"):
        Abstract()
    assert Concrete().work(1) == 1


def test_asynchronous_methods_have_all_that_a_step_has():
    async def main():
        it = Asynchronous()
        assert [await it.one(1), (await it.one.call(1)).hit] == [1, True]
        assert [await Asynchronous.made(1), (await Asynchronous.made.call(1)).hit] == [1, True]
        assert await it.one.map([1, 2, 3]) == [1, 2, 3]
        assert [item async for item in it.many(3)] == [0, 1, 2]
        assert (await it.many.call(3)).hit
        assert [list(items) for items in await it.many.map([2, 3])] == [[0, 1], [0, 1, 2]]

    asyncio.run(main())
    assert Asynchronous().many.submit(2).result() == [0, 1]


def test_a_bound_step_is_like_a_bound_method():
    scale = Scale(2)
    assert scale.times == scale.times
    assert hash(scale.times) == hash(scale.times)
    assert scale.times != Scale(2).times
    assert (scale.times.__doc__, scale.times.__name__) == ("Scaled.", "times")
    assert list(inspect.signature(scale.times).parameters) == ["x"]
    assert pickle.loads(pickle.dumps(scale.times))(4) == 8


def test_steps_travel_by_name_also_those_above_class_methods():
    for step in (Scale.times, Model.above, Model.static_above):
        found = step.__wrapped__ if isinstance(step, BoundStep) else step
        assert pickle.loads(pickle.dumps(found)) is found
    assert pickle.loads(pickle.dumps(Model.above))(1) == ("Model", 1)


def test_a_scripts_step_is_pickled_by_name_as_its_functions_are_and_by_value_for_cloudpickle(tmp_path):
    script = """
import pickle, sys, cloudpickle
import mlflowish as mf
from mlflowish.steps import BoundStep
mf.use(sys.argv[1])
@mf.step
def f(x):
    return x + 1
assert pickle.loads(pickle.dumps(f)) is f
sys.stdout.buffer.write(cloudpickle.dumps(f))
"""
    path = tmp_path / "script.py"
    path.write_text(script)
    done = subprocess.run([sys.executable, str(path), str(tmp_path / "s")], capture_output=True, check=True)
    assert cloudpickle.loads(done.stdout)(1) == 2
