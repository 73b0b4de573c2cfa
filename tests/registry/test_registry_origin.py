"""Where a version comes from: the call, the run, the code and the data behind it."""

from __future__ import annotations

import numpy as np
import pytest

import mlflowish as mf

registry = mf.registry


@mf.step
def rows(n):
    return np.arange(n, dtype=float)


@mf.step
def fitted(values, power=1):
    return {"weights": values**power, "power": power}


@mf.step
def refitted(values):
    return {"weights": values, "power": 1}


def test_a_model_that_a_step_returned_knows_the_call(store):
    version = mf.register_model("churn", fitted(rows(5), power=2))
    assert [name.rpartition(".")[2] for name in version.calls.column("step")] == ["fitted", "rows"]
    assert version.calls.column("key")[0] == fitted.call(rows(5), power=2).key


def test_a_lineage_of_a_version_leads_from_its_data_to_it(store):
    version = mf.register_model("churn", fitted(np.arange(3.0)))
    behind = mf.lineage.of(version)
    assert set(behind.graph) == set(version.lineage().graph)
    [call] = behind.calls()
    assert call.key == fitted.call(np.arange(3.0)).key
    assert list(behind.data().column("argument")) == ["values"]
    assert behind.roots == ("models/versions/churn/000000001",)


def test_what_was_made_of_data_leads_down_to_the_version(store):
    mf.register_model("churn", fitted(rows(5)))
    below = mf.lineage.of(rows.call(5)).downstream()
    assert "models/versions/churn/000000001" in below.graph


def test_a_model_that_was_read_back_knows_the_call_that_computed_it(store):
    fitted(rows(5))
    version = mf.register_model("churn", fitted(rows(5)))
    assert version.calls.column("key")[0] == fitted.call(rows(5)).key


def test_an_equal_model_from_elsewhere_is_known_by_its_content(store):
    fitted(rows(5))
    version = mf.register_model("churn", {"weights": np.arange(5.0), "power": 1})
    assert version.record.source["by"] == "content"
    assert version.calls.column("key") == [fitted.call(rows(5)).key, rows.call(5).key]


def test_a_model_that_no_step_made_has_no_calls(store):
    version = mf.register_model("churn", {"weights": [1, 2]})
    assert len(version.calls) == 0
    assert list(version.lineage().graph) == ["models/versions/churn/000000001"]


def test_the_run_of_a_version_is_the_one_it_is_registered_in(store):
    with mf.start_run() as run:
        version = mf.register_model("churn", 1)
    assert version.run_id == registry.get("churn").run_id == run.run_id
    assert version.run.run_id == run.run_id
    assert mf.register_model("churn", 1).run_id is None
    assert registry.get("churn").run is None


def test_the_run_of_a_version_is_else_the_one_that_computed_it(store):
    with mf.start_run() as run:
        model = fitted(rows(4))
    assert mf.register_model("churn", model).run_id == run.run_id


def test_the_run_of_a_model_that_is_known_by_its_content_is_known(store):
    with mf.start_run() as run:
        fitted(rows(4))
    version = mf.register_model("churn", {"weights": np.arange(4.0), "power": 1})
    assert version.run_id == registry.get("churn").run_id == run.run_id


def test_a_call_that_is_known_stays_known_when_another_one_returns_the_same(store):
    fitted(rows(4))
    version = mf.register_model("churn", {"weights": np.arange(4.0), "power": 1})
    refitted(np.arange(4.0))
    assert version.calls.column("key")[0] == fitted.call(rows(4)).key


def test_content_that_two_calls_returned_tells_no_run(store):
    with mf.start_run():
        fitted(rows(4)), refitted(rows(4))
    version = mf.register_model("churn", {"weights": np.arange(4.0), "power": 1})
    assert (version.run_id, version.run, len(version.calls)) == (None, None, 0)


def test_a_run_that_becomes_known_later_is_found(store):
    version = mf.register_model("churn", {"weights": np.arange(4.0), "power": 1})
    assert (version.run_id, version.run) == (None, None)
    with mf.start_run() as run:
        fitted(rows(4))
    assert (version.run_id, version.run.run_id) == (None, run.run_id)


def test_what_a_run_logged_is_registered_by_its_address(store):
    with mf.start_run() as run:
        mf.log_model({"w": 1}, "model")
    with mf.start_run():
        version = mf.register_model("churn", f"runs:/{run.run_id}/model", alias="champion")
    assert (version.run_id, version.load()) == (run.run_id, {"w": 1})
    again = mf.register_model("copy", "models:/churn@champion")
    assert (again.run_id, again.refs) == (run.run_id, version.refs)
    with pytest.raises(mf.NotFoundError, match="has no model 'modle'; it has model"):
        mf.register_model("churn", f"runs:/{run.run_id}/modle")
    with pytest.raises(mf.NotFoundError, match="churn has no version 7"):
        mf.register_model("churn", "models:/churn/7")
    assert len(registry.versions("churn")) == 1


def test_a_logged_model_knows_the_call_that_computed_it(store):
    with mf.start_run():
        model = fitted(rows(4))
        refitted(rows(4))  # of the same content
        mf.log_model(model, registered_model_name="churn")
    assert registry.get("churn").calls.column("key")[0] == fitted.call(rows(4)).key


def test_a_version_knows_signature_example_and_environment(store):
    import pandas as pd
    from sklearn import linear_model

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.0]})
    model = linear_model.LinearRegression().fit(frame, [1.0, 2.0, 3.0])
    version = mf.register_model("price", model, input_example=frame, stage="production")
    assert version.signature.inputs.names == ["a", "b"]
    assert version.input_example.equals(frame)
    assert version.flavor == "sklearn"
    assert "scikit-learn" in version.environment.requirements()
    loaded = mf.load_model("price", stage="production")
    assert loaded.predict(frame) == pytest.approx(model.predict(frame))
    with pytest.raises(mf.InvalidInputError, match="'b'"):
        loaded.predict(frame[["a"]])


def test_a_model_that_only_pickle_can_hold_is_refused_where_pickles_are(store):
    version = mf.register_model("pickled", Pickled(3))
    assert version.executes_code
    assert mf.load_model("pickled").value == 3
    with pytest.raises(mf.CapabilityError):
        mf.load_model("pickled", allow_pickle=False)


class Pickled:
    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize("given", ["version", "stored"])
def test_a_version_of_another_store_is_copied_as_it_is_and_not_loaded(store, tmp_path, given):
    with mf.Store(tmp_path / "lab"):
        original = mf.register_model("churn", Pickled(3), input_example={"a": [1]}, signature=None)
    other = mf.Store(tmp_path / "live", allow_pickle=False)
    version = mf.register_model("churn", original if given == "version" else original.stored, store=other)
    assert (version.digest, version.executes_code) == (original.digest, True)
    assert version.signature == original.signature
    assert version.environment == original.environment
    assert [file.path for file in version.stored.manifest.files] == [f.path for f in original.stored.manifest.files]
    assert (version.run_id, version.record.source) == (None, None)
    assert mf.fsck(other).is_sound
    with pytest.raises(mf.CapabilityError):
        version.load()
    assert mf.load_model("churn", store=str(tmp_path / "live")).value == 3


def test_what_came_from_mlflow_is_registered_with_its_signature(store, tmp_path):
    from sklearn import linear_model

    from mlflowish.models import export_mlflow, import_mlflow

    model = linear_model.LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    first = mf.register_model("price", model, input_example=np.array([[1.0]]))
    version = mf.register_model("price", import_mlflow(export_mlflow(first, tmp_path / "out")))
    assert (version.flavor, version.signature.inputs) == ("sklearn", first.signature.inputs)
    assert mf.load_model("price").predict([[3.0]]) == pytest.approx([3.0])


def test_name_and_model_in_the_wrong_order_are_said_to_be(store):
    for wrong in (np.arange(3), "runs:/abc/model", "models:/churn/1"):
        with pytest.raises(mf.InvalidInputError, match="takes the name first"):
            mf.register_model(wrong, "churn")


def test_none_is_no_model(store):
    with pytest.raises(mf.InvalidInputError, match="forget to return it"):
        mf.register_model("churn", None)
    assert len(registry.models()) == 0


def test_a_call_is_refused_where_its_value_is_meant(store):
    with pytest.raises(mf.InvalidInputError, match=r"register what it returned, its \.value"):
        mf.register_model("churn", fitted.call(rows(5)))
    assert len(registry.models()) == 0


def test_the_way_down_from_a_version_names_the_call_it_is_made_of(store):
    version = mf.register_model("churn", fitted(rows(5)))
    below = version.lineage().downstream()
    assert {facts["kind"] for _, facts in below.graph.nodes(data=True)} == {"model", "call"}


def test_the_way_down_from_a_run_reaches_the_versions_made_in_it(store):
    with mf.start_run() as run:
        version = mf.register_model("churn", fitted(rows(5)))
    below = mf.lineage.of(run).downstream()
    assert {"models/versions/churn/000000001", f"call:{version.calls.column('key')[0]}"} <= set(below.graph)
    assert all(facts["kind"] for _, facts in below.graph.nodes(data=True))


def test_types_that_the_caller_vouches_for_are_loaded_without_pickles(store):
    from sklearn.tree import DecisionTreeRegressor

    version = mf.register_model("tree", DecisionTreeRegressor().fit([[1.0], [2.0]], [1.0, 2.0]))
    with pytest.raises(mf.CapabilityError, match="trusted=") as refused:
        mf.load_model("tree", allow_pickle=False)
    trusted = refused.value.data["types"]
    assert mf.load_model("tree", allow_pickle=False, trusted=trusted).predict([[2.0]]).tolist() == [2.0]
    assert version.load(allow_pickle=False, trusted=trusted).predict([[1.0]]).tolist() == [1.0]


def test_a_registered_module_gives_its_weights_to_another(store):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    module = torch.nn.Linear(2, 1)
    mf.register_model("net", module)
    loaded = mf.load_model("net", allow_pickle=False, into=lambda: torch.nn.Linear(2, 1))
    assert torch.equal(loaded.weight, module.weight)
