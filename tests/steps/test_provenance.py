"""Which call returned an object: by identity, keeping nothing alive, never for another object of the same id."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import mlflowish as mf
from mlflowish.steps import producer_of


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


class Fitted:
    def __init__(self, weight):
        self.weight = weight


@mf.step
def array(n):
    return np.arange(n)


@mf.step
def fit(weight):
    return Fitted(weight)


@mf.step
def fit_and_report(weight):
    return Fitted(weight), {"loss": weight / 2}


@mf.step
def listed(n):
    return list(range(n))


@pytest.mark.parametrize(("step", "argument"), [(array, 5), (fit, 2), (listed, 3)])
def test_a_computed_and_a_read_object_know_their_call_and_a_copy_does_not(step, argument):
    computed, read = step.call(argument), step.call(argument)
    assert (computed.hit, read.hit) == (False, True)
    assert producer_of(computed.value) == producer_of(read.value) == computed.key
    assert producer_of(step.fn(argument)) is None


def test_members_of_a_returned_tuple_know_the_call_too():
    for _ in range(2):
        model, _ = fit_and_report(3)
        assert producer_of(model) == fit_and_report.call(3).key


def test_a_member_that_another_call_returned_keeps_its_producer():
    @mf.step
    def paired(model, n):
        return model, n

    model = fit(4)
    assert paired(model, 1)[0] is model
    assert producer_of(model) == fit.call(4).key


def test_an_uncached_call_with_a_key_is_a_producer():
    @mf.step(cache=False)
    def always(weight):
        return Fitted(weight)

    call = always.call(1)
    assert producer_of(call.value) == call.key is not None


@pytest.mark.parametrize("value", [1, 1.5, "text", b"bytes", None, True, (), ..., int, print])
def test_values_that_are_shared_have_no_producer(value):
    @mf.step
    def same(x):
        return x

    same(value), same(value)
    assert producer_of(value) is None


def test_results_are_not_kept_alive():
    dead = [weakref.ref(fit(5)), weakref.ref(array(6)), weakref.ref(fit_and_report(5)[0])]
    gc.collect()
    assert [reference() for reference in dead] == [None, None, None]


def test_no_object_inherits_the_producer_of_one_whose_id_it_has():
    places = set()
    for number in range(200):
        places.update((id(fit(number)), id(listed(number % 5))))
    fresh = [Fitted(number) for number in range(2000)] + [[number] for number in range(2000)]
    assert any(id(value) in places for value in fresh)
    assert [producer_of(value) for value in fresh] == [None] * len(fresh)


def test_only_a_few_plain_results_are_held():
    first = listed(2)
    for _ in range(200):
        listed(3)
    assert producer_of(first) is None
