"""Storing a model, opening it, loading it: what comes back, and what is refused."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlflowish as mf
from mlflowish.models import open_model, store_model

FRAME = pd.DataFrame({"a": np.arange(10.0), "b": np.arange(10)})
TARGET = np.arange(10) % 2


class Doubling(TransformerMixin, BaseEstimator):
    """A transformer of the project: its code is not skops' to trust."""

    def fit(self, x, y=None):
        self.fitted_ = True
        return self

    def transform(self, x):
        return x * 2


@pytest.fixture
def pipeline():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TARGET)


def half(n):
    return n / 2


def test_what_was_stored_comes_back_and_predicts_the_same(store, pipeline):
    stored = store_model(store, pipeline, input_example=FRAME)
    loaded = open_model(store, stored.manifest_ref).load()
    assert mf.digest(loaded) == mf.digest(pipeline) == stored.manifest.digest
    assert (loaded.predict(FRAME) == pipeline.predict(FRAME)).all()


def test_the_manifest_names_every_object(store, pipeline):
    stored = store_model(store, pipeline, input_example=FRAME)
    assert stored.manifest_ref in stored.refs
    assert {file.ref for file in stored.manifest.files} < set(stored.refs)
    assert all(store.objects.contains(ref) for ref in stored.refs)


def test_plain_data_are_a_model_that_runs_no_code(store):
    stored = store_model(store, {"weights": np.arange(3.0)})
    assert not stored.manifest.executes_code
    loaded = stored.load(allow_pickle=False)
    assert type(loaded) is dict
    assert loaded["weights"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("model", [half, lambda n: n + 1, LogisticRegression])
def test_functions_and_classes_come_back(store, model):
    assert store_model(store, model).load()(4) is not None


def test_a_function_is_the_one_of_its_module_while_that_is_the_same(store):
    assert store_model(store, half).load().native is half


def test_nothing_that_runs_code_is_loaded_against_the_policy(store, tmp_path):
    stored = store_model(store, half)
    with pytest.raises(mf.CapabilityError, match=r"'function.pkl'.*allow_pickle"):
        stored.load(allow_pickle=False)
    closed = mf.Store(tmp_path / "store", allow_pickle=False)
    with pytest.raises(mf.CapabilityError, match=r"'function.pkl'"):
        open_model(closed, stored.manifest_ref).load(allow_pickle=True)


def test_types_that_skops_does_not_know_are_named_and_must_be_trusted(store):
    model = make_pipeline(Doubling(), LogisticRegression()).fit(FRAME, TARGET)
    stored = store_model(store, model)
    assert stored.manifest.options["format"] == "skops"
    assert stored.manifest.executes_code
    with pytest.raises(mf.CapabilityError, match="Doubling") as caught:
        stored.load(allow_pickle=False)
    trusted = stored.load(allow_pickle=False, trusted=caught.value.types)
    assert (trusted.predict(FRAME) == model.predict(FRAME)).all()
    assert (stored.load().predict(FRAME) == model.predict(FRAME)).all()


def test_what_cannot_be_stored_names_the_member(store):
    model = LogisticRegression().fit(FRAME, TARGET)
    model.lock = threading.Lock()
    with pytest.raises(mf.InvalidInputError, match=r"model\.lock") as caught:
        store_model(store, model)
    assert caught.value.path == "model.lock"


def test_an_unknown_flavor_and_one_that_does_not_fit_are_refused(store, pipeline):
    with pytest.raises(mf.InvalidInputError, match=r"there are .*sklearn"):
        store_model(store, pipeline, flavor="scikit")
    with pytest.raises(mf.InvalidInputError, match="stored as 'python'"):
        store_model(store, half, flavor="sklearn")


def test_an_example_that_does_not_fit_the_signature_is_refused(store, pipeline):
    with pytest.raises(mf.InvalidInputError, match="column 'a' is missing"):
        store_model(store, pipeline, signature=mf.infer_signature(FRAME), input_example=FRAME[["b"]])


def test_an_example_that_the_model_does_not_take_is_told(store, pipeline):
    with pytest.warns(mf.ModelWarning, match="could not be asked"):
        stored = store_model(store, pipeline, input_example=pd.DataFrame({"x": ["text"]}))
    assert stored.signature.outputs is None


def test_the_input_example_comes_back(store, pipeline):
    stored = store_model(store, pipeline, input_example=FRAME)
    pd.testing.assert_frame_equal(open_model(store, stored.manifest_ref).input_example(allow_pickle=False), FRAME)


def test_metadata_that_json_cannot_hold_are_refused_before_anything_is_written(store, tmp_path):
    with pytest.raises(mf.InvalidInputError, match="must be JSON"):
        store_model(store, {}, metadata={"when": object()})
    assert not (tmp_path / "store").exists()


def test_a_damaged_object_is_detected(store, tmp_path, pipeline):
    stored = store_model(store, pipeline)
    path = tmp_path / "store" / stored.manifest.files[0].ref.path
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(mf.IntegrityError):
        open_model(store, stored.manifest_ref).load()


def test_a_model_travels_through_pickle_with_its_signature(store, pipeline):
    loaded = store_model(store, pipeline, input_example=FRAME).load()
    again = pickle.loads(pickle.dumps(loaded))
    assert again.signature == loaded.signature
    assert isinstance(again, type(pipeline))


def test_what_a_library_says_of_a_model_that_it_cannot_write_is_the_cause(store, pipeline, monkeypatch):
    def refuses(self, model, files):
        raise LookupError("not initialised")

    monkeypatch.setattr("mlflowish.models.flavors.sklearn.SklearnFlavor.save", refuses)
    with pytest.raises(mf.InvalidInputError, match="by flavor 'sklearn': LookupError: not initialised") as refused:
        store_model(store, pipeline)
    assert isinstance(refused.value.__cause__, LookupError)
