"""Models of runs: stored with the run, loaded by its id, registered when asked."""

from __future__ import annotations

import pytest

import mlflowish as mf
from mlflowish.errors import InvalidInputError, NotFoundError
from mlflowish.tracking import artifact_refs


def test_a_model_of_a_run_is_loaded_by_its_id(tmp_path) -> None:
    import numpy as np
    from sklearn.linear_model import LinearRegression

    store = mf.Store(tmp_path / "store")
    x = np.arange(4.0).reshape(-1, 1)
    with store, mf.start_run(console=False, hardware=False) as run:
        stored = mf.log_model(LinearRegression().fit(x, 2 * x[:, 0]), "line", input_example=x)
        assert [(model.name, model.flavor) for model in run.models] == [("line", "sklearn")]
        assert mf.load_model(f"runs:/{run.run_id}/line").predict([[5.0]])[0] == pytest.approx(10.0)
    assert set(stored.refs) <= set(artifact_refs(store))
    store.close()


def test_a_model_is_registered_with_its_run(tmp_path) -> None:
    store = mf.Store(tmp_path / "store")
    with store, mf.start_run(console=False, hardware=False) as run:
        mf.log_model(sum, "total", registered_model_name="total")
        version = mf.registry.get("total")
    assert (version.version, version.run_id) == (1, run.run_id)
    store.close()


def test_a_model_that_a_run_does_not_have_is_not_found(tmp_path) -> None:
    store = mf.Store(tmp_path / "store")
    with store, mf.start_run(console=False, hardware=False) as run:
        mf.log_model(sum, "total")
        with pytest.raises(NotFoundError, match="has no model 'totals'; it has total"):
            mf.load_model(f"runs:/{run.run_id}/totals")
        with pytest.raises(InvalidInputError, match="runs:/<run id>/<name>"):
            mf.load_model(f"runs:/{run.run_id}")
    store.close()


def test_a_run_lists_what_was_registered_inside_it(tmp_path):
    with mf.Store(tmp_path / "store"):
        with mf.start_run() as run:
            mf.log_model(sum, "total")
            mf.register_model("length", len)
            mf.register_model("length", max)
        mf.register_model("length", min)
        mf.registry.delete("length", 2)
        models = mf.get_run(run.run_id).models
        assert [model.name for model in models] == ["total", "models:/length/1"]
        assert mf.load_model(models[1].name)([1, 2]) == 2
