"""Calls by reference: the key of the call with the loaded values, nothing loaded on a hit, lineage whole."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlflowish as mf
from mlflowish.hashing.identified import identified
from mlflowish.steps.reference import ABSENT, Outcome, Reference, identify_by_reference, references_in
from mlflowish.store import Entry

GOLDEN = Path(__file__).parent.parent / "golden" / "store-1"


@pytest.fixture
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@dataclasses.dataclass
class Point:
    x: float
    tags: list


@mf.step
def echo(value):
    return value


@mf.step
def take(value, other=0, *more, **named):
    return "taken"


def refer(value) -> Reference:
    outcome = echo.call_by_reference((value,), {})
    assert outcome.reference is not None, outcome.reason
    return outcome.reference


# -- the law ---------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.complex_numbers(),
)
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=6,
)
SPECIAL = [
    np.arange(3),
    np.arange(20_000.0),  # an object of its own
    np.float64(0.5),
    np.int8(3),
    np.datetime64("2020-01-01"),
    [np.float64(0.5), np.float64(1.5)],
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    decimal.Decimal("1.5"),
    datetime.datetime(2020, 1, 1),
    Point(1.0, ["a"]),
    [Point(2.0, []), 1],
    {1, 2, 3},
    "long " * 20_000,  # longer than what a key takes in plainly
    b"x" * 70_000,
    10**160_000,  # a number that is stored as an object
    list(range(70_000)),
    (np.arange(4), {"loss": 0.5}),
    [[[[[[[[[[1]]]]]]]]]],  # deeper than what is plain
    "\u20ac" * 50_000,
]


@dataclasses.dataclass
class Special:
    """A value by its number: not every one can be shown."""

    number: int


special = st.integers(0, len(SPECIAL) - 1).map(Special)
leaves = st.tuples(st.booleans(), st.one_of(nested, special))
shapes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple).map(lambda members: ("tuple", members)),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=5,
)


def both(shape):
    """The argument with references in it, and as it is when they are loaded."""
    if isinstance(shape, list):
        pairs = [both(member) for member in shape]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if isinstance(shape, dict):
        pairs = {name: both(member) for name, member in shape.items()}
        return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}
    if shape[0] == "tuple":
        pairs = [both(member) for member in shape[1]]
        return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    is_reference, value = shape
    if isinstance(value, Special):
        value = SPECIAL[value.number]
    if not is_reference:
        return value, value
    reference = refer(value)
    return reference, reference.load(mf.active_store())


def check_law(arguments, named):
    with mf.Store("memory://reference-law"):
        pairs = [both(shape) for shape in arguments]
        keyword_pairs = {name: both(shape) for name, shape in named.items()}
        referring = tuple(pair[0] for pair in pairs), {name: pair[0] for name, pair in keyword_pairs.items()}
        loaded = tuple(pair[1] for pair in pairs), {name: pair[1] for name, pair in keyword_pairs.items()}
        expected = take.identify(*loaded)
        assert identify_by_reference(take, *referring).key == expected.key is not None


positional = st.lists(shapes, min_size=1, max_size=4)
by_name = st.dictionaries(st.sampled_from(["a", "b"]), shapes, max_size=2)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(positional, by_name)
def test_the_key_of_a_call_with_references_is_that_of_the_call_with_the_loaded_values(arguments, named):
    check_law(arguments, named)


@pytest.mark.nightly
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(positional, by_name)
def test_the_key_of_a_call_with_references_is_that_of_the_call_with_the_loaded_values_at_length(arguments, named):
    check_law(arguments, named)


def test_what_is_computed_by_reference_is_a_hit_of_the_ordinary_call_and_the_other_way_round(store):
    array = echo(np.arange(5))
    first = take.call_by_reference((refer(np.arange(5)), [refer(2.5), "x"]), {})
    assert (first.hit, first.value) == (False, ABSENT)
    assert take.call(array, [2.5, "x"]).hit
    take(array, {"k": array})
    assert take.call_by_reference((refer(np.arange(5)), {"k": refer(np.arange(5))}), {}).hit


def test_an_edit_of_a_class_in_the_value_changes_the_key_as_it_does_for_the_loaded_value(store, monkeypatch):
    reference = refer(Point(1.0, []))
    before = identify_by_reference(take, (reference,), {}).key
    monkeypatch.setattr(Point, "doubled", lambda self: 2 * self.x, raising=False)
    after = identify_by_reference(take, (reference,), {}).key
    assert after == take.identify((reference.load(store),), {}).key
    assert after != before


def test_a_digester_that_is_registered_later_counts(store):
    class Local:
        def __init__(self, x):
            self.x = x

    globals()["Local"], Local.__qualname__ = Local, "Local"
    try:
        reference = refer(Local(1))
        mf.register_digester(Local, lambda local: local.x)
        assert identify_by_reference(take, (reference,), {}).key == take.identify((reference.load(store),), {}).key
    finally:
        del globals()["Local"]


def test_values_of_classes_without_a_name_are_loaded_to_identify_them(store):
    kind, code = identified(Point(1.0, []), path="x").kind, identified(Point(1.0, []), path="x").code
    assert (kind, [entry[:2] for entry in code]) == ("other", [(__name__, "Point")])
    assert identified(3, path="x").kind == "scalar"
    assert identified([3], path="x").kind == identified(np.float64(1), path="x").kind == "plain"
    assert identified(np.arange(3), path="x").code == ()


# -- hits ------------------------------------------------------------------------------------------


def lose_objects(store):
    for path in Path(store.url, "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.unlink()


@mf.step
def total(array):
    return float(array.sum())


def test_a_chain_of_hits_loads_nothing(store):
    make = echo.call_by_reference((np.arange(100_000.0),), {})
    assert not total.call_by_reference((make.reference,), {}).hit
    lose_objects(store)
    again = echo.call_by_reference((np.arange(100_000.0),), {})
    assert again.hit
    outcome = total.call_by_reference((again.reference,), {})
    assert (outcome.hit, outcome.load(store)) == (True, float(np.arange(100_000.0).sum()))
    with pytest.raises(mf.ResultGoneError, match="Run that step again") as caught:
        again.load(store)
    assert caught.value.key == again.key


@pytest.mark.parametrize("value", [3, np.arange(100_000.0)], ids=["inline", "object"])
def test_a_reference_loads_a_new_value_each_time_which_knows_its_producer(store, value):
    outcome = echo.call_by_reference((value,), {})
    loaded = outcome.reference.load(store)
    assert np.array_equal(loaded, value)
    if isinstance(value, np.ndarray):
        assert loaded is not outcome.reference.load(store)
        assert mf.steps.producer_of(loaded) == outcome.key


def test_a_result_that_was_computed_anew_is_not_taken_for_the_one_that_was_referred_to(store):
    @mf.step
    def noise(n):
        return np.random.default_rng().random(100_000)

    reference = noise.call_by_reference((1,), {}).reference
    noise.forget(1)
    noise(1)
    with pytest.raises(mf.ResultGoneError):
        reference.load(store)


def test_max_age_and_cache_are_respected(store):
    aged = mf.step(max_age=0.0)(lambda x: x)
    always = mf.step(cache=False)(lambda x: x)
    for _ in range(2):
        assert not aged.call_by_reference((1,), {}).hit
        outcome = always.call_by_reference((refer(7),), {})
        assert (outcome.hit, outcome.reference, outcome.value) == (False, None, 7)
        assert "cache=False" in outcome.reason


def test_what_cannot_be_keyed_or_stored_is_passed_on_as_a_value(store):
    lock = __import__("threading").Lock()
    with pytest.warns(mf.UncachedWarning):
        outcome = echo.call_by_reference((lock,), {})
    assert (outcome.reference, outcome.value, outcome.key) == (None, lock, None)
    assert outcome.load(store) is lock


def test_a_step_that_changes_what_was_referred_to_is_not_stored_and_hurts_nobody_else(store):
    @mf.step
    def spoil(array):
        array[0] = 99
        return array

    reference = refer(np.arange(100_000))
    with pytest.warns(mf.UncachedWarning, match="changes its argument"):
        outcome = spoil.call_by_reference((reference,), {})
    assert outcome.value[0] == 99
    assert reference.load(store)[0] == 0


def test_a_file_that_is_missing_is_put_back_by_a_hit(store, tmp_path):
    @mf.step
    def write(text):
        path = tmp_path / "out.txt"
        path.write_text(text)
        return {"report": mf.File(path)}

    write.call_by_reference(("hello",), {})
    (tmp_path / "out.txt").unlink()
    assert write.call_by_reference(("hello",), {}).hit
    assert (tmp_path / "out.txt").read_text() == "hello"


# -- kinds of steps --------------------------------------------------------------------------------


class Scaler:
    def __init__(self, by):
        self.by = by

    @mf.step
    def scale(self, array):
        return array * self.by

    @mf.step
    @classmethod
    def make(cls, array):
        return array + 1


@mf.step
async def fetch(array):
    await asyncio.sleep(0)
    return array + 1


@mf.step
def count(array):
    yield from (int(item) for item in array)


@mf.step
async def acount(array):
    for item in array:
        yield int(item)


@pytest.mark.parametrize(
    "step", [Scaler(2).scale, Scaler.make, fetch, count, acount], ids=["method", "class", "async", "items", "aitems"]
)
def test_every_kind_of_step_can_be_called_by_reference(store, step):
    reference = refer(np.arange(4))
    first, second = (step.call_by_reference((reference,), {}) for _ in range(2))
    assert (first.hit, second.hit, first.key) == (False, True, second.key)
    assert first.reference.digest == second.reference.digest
    assert len(list(second.load(store))) == 4
    assert take.call_by_reference((second.reference,), {}).reference is not None
    assert take.call(second.load(store)).hit


def test_an_async_step_is_waited_for_inside_a_running_loop(store):
    async def main():
        return fetch.call_by_reference((np.arange(3),), {})

    assert asyncio.run(main()).load(store).tolist() == [1, 2, 3]


# -- lineage and travelling ------------------------------------------------------------------------


def sources(store, outcome):
    (entry,) = store.entries(bytes.fromhex(outcome.key))
    return set(entry.meta.sources)


def test_sources_are_known_also_of_numbers_and_inside_containers(store):
    array, number = echo.call_by_reference((np.arange(3),), {}), echo.call_by_reference((0.5,), {})
    outcome = take.call_by_reference(
        (array.reference, number.reference), {"both": {"a": array.reference, "n": [number.reference]}}
    )
    assert sources(store, outcome) == {
        ("value", "", array.key),
        ("other", "", number.key),
        ("named", "['both']['a']", array.key),
        ("named", "['both']['n'][0]", number.key),
    }


def test_sources_of_ordinary_calls_stay_as_they_were(store):
    array = echo(np.arange(3))
    call = take.call(array, 1)
    outcome = Outcome(None, None, False, call.key, call.step, 0.0)
    assert sources(store, outcome) == {("value", "", echo.call(np.arange(3)).key)}


def test_a_reference_travels_to_another_process(store):
    outcome = echo.call_by_reference((np.arange(100_000),), {})
    code = (
        "import pickle, sys, mlflowish as mf\n"
        "outcome, url = pickle.loads(bytes.fromhex(sys.stdin.read()))\n"
        "from mlflowish.steps.reference import ABSENT\n"
        "assert outcome.value is ABSENT\n"
        "print(outcome.reference.load(mf.Store(url)).sum())\n"
    )
    sent = pickle.dumps((outcome, store.url)).hex()
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, text=True, check=True)
    assert int(done.stdout) == sum(range(100_000))


def test_references_are_found_in_containers_and_nowhere_else():
    reference = Reference(b"k" * 16, b"i" * 16, None, "other")
    value = {"a": [1, (reference, 2)], "b": reference, "c": {reference}}
    assert [place for place, _ in references_in(value)] == ["['a'][1][0]", "['b']"]


# -- entries of earlier versions -------------------------------------------------------------------


def test_entries_that_do_not_tell_their_kind_are_loaded_to_identify_them(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "old")
    for path in (tmp_path / "old").rglob("*"):
        os.chmod(path, 0o700)
    with mf.Store(tmp_path / "old") as old:
        entries = [call for call in old.calls() if isinstance(call, Entry)]
        assert entries
        for entry in entries:
            reference = Reference.to(entry)
            assert (reference.kind, reference.holds_files) == ("", True)
            try:
                loaded = reference.load(old)
            except mf.ResultGoneError:
                continue
            assert (
                identify_by_reference(take, (reference, [reference]), {}).key
                == take.identify((loaded, [loaded]), {}).key
            )
