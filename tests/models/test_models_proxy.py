"""The transparent `Model`: the native model to everybody who does not ask for what it adds."""

from __future__ import annotations

import copy
import pickle

import pytest

import mlflowish as mf
from mlflowish.hashing import fingerprint


class Counter:
    """A model with special methods and state."""

    def __init__(self, count=0):
        self.count = count

    def predict(self, rows):
        return [self.count] * len(rows)

    def __len__(self):
        return 3

    def __getitem__(self, place):
        return place * 10

    def __eq__(self, other):
        return isinstance(other, Counter) and other.count == self.count

    def __add__(self, other):
        return Counter(self.count + other.count)

    __hash__ = None


@pytest.fixture
def model():
    return mf.Model(Counter(2))


def test_it_is_an_instance_of_both(model):
    assert isinstance(model, Counter)
    assert isinstance(model, mf.Model)
    assert model.__class__ is Counter


def test_special_methods_are_those_of_the_native_model(model):
    assert len(model) == 3
    assert model[2] == 20
    assert model == Counter(2)
    assert Counter(2) == model
    assert (model + model).count == 4
    assert not callable(model)
    with pytest.raises(TypeError):
        hash(model)


def test_attributes_are_those_of_the_native_model(model):
    model.count = 5
    assert model.native.count == 5
    del model.count
    assert not hasattr(model, "count")
    assert "predict" in dir(model)


def test_a_function_stays_one():
    model = mf.Model(len)
    assert callable(model)
    assert model([1, 2]) == model.predict([1, 2]) == 2
    assert hash(model) == hash(len)


def test_wrapping_twice_is_wrapping_once(model):
    assert mf.Model(model).native is model.native


def test_digests_are_those_of_the_native_model(model):
    assert mf.digest(model) == mf.digest(Counter(2))
    assert mf.digest([model, {"m": model}]) == mf.digest([Counter(2), {"m": Counter(2)}])


def test_copies_and_pickles_are_models(model):
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin) is type(model)
        assert twin.native is not model.native
        assert twin == model


def test_a_step_takes_one_for_its_native_model(tmp_path, model):
    calls = []

    @mf.step
    def ask(model, n):
        calls.append(n)
        return model.predict([0] * n)

    with mf.Store(tmp_path / "store"):
        assert ask(Counter(2), 1) == ask(model, 1) == [2]
    assert len(calls) == 1


def test_a_step_gives_one_back(tmp_path):
    @mf.step
    def train(n):
        return mf.Model(Counter(n), mf.infer_signature({"a": [1]}))

    with mf.Store(tmp_path / "store"):
        train(4)
        again = train(4)
    assert again.count == 4
    assert again.signature.inputs.names == ["a"]


def test_code_that_uses_one_depends_on_the_native_model():
    def with_model(model):
        def ask(rows):
            return model.predict(rows)

        return fingerprint(ask).digest

    assert with_model(mf.Model(Counter(2))) == with_model(Counter(2)) != with_model(Counter(3))
