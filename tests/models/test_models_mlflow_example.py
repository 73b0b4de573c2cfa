"""The input example in an exported folder is the one that MLflow reads."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlflowish as mf
from mlflowish.models import export_mlflow, import_mlflow, store_model
from mlflowish.models.mlflow_example import read_example, write_example

FRAME = pd.DataFrame({"a": [1.5, None], "b": ["x", "y"]})


@pytest.fixture(scope="module", autouse=True)
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MLflow, which says nothing to the world and writes into a folder of its own."""
    os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"})
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        yield mlflow


def same(rows: Any) -> Any:
    return rows


def exported(tmp_path: Any, example: Any, **options: Any) -> Any:
    store = mf.Store(tmp_path / "store", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = store_model(store, same, input_example=example)
    return export_mlflow(stored, tmp_path / "out")


@pytest.mark.parametrize(
    "example",
    [FRAME, np.arange(6.0).reshape(2, 3), {"x": np.arange(3), "y": np.ones(3)}],
    ids=["frame", "array", "arrays by name"],
)
def test_mlflow_reads_the_example(mlflow: Any, tmp_path: Any, example: Any) -> None:
    folder = exported(tmp_path, example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = mlflow.models.Model.load(folder).load_input_example(str(folder))
    if isinstance(example, pd.DataFrame):
        pd.testing.assert_frame_equal(pd.DataFrame(found).reset_index(drop=True), example, check_dtype=False)
    elif isinstance(example, dict):
        assert {name: list(value) for name, value in found.items()} == {name: list(v) for name, v in example.items()}
    else:
        np.testing.assert_array_equal(found, example)


def test_a_model_without_an_example_has_none_there(mlflow: Any, tmp_path: Any) -> None:
    folder = exported(tmp_path, None)
    assert mlflow.models.Model.load(folder).saved_input_example_info is None
    assert not list(folder.glob("*example*"))


@pytest.mark.parametrize(
    "example", [object(), {"x": {1, 2}}, [float], iter([])], ids=["object", "set", "type", "iterator"]
)
def test_what_mlflow_has_no_form_for_is_left_out(tmp_path: Any, example: Any) -> None:
    assert write_example(example, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_an_arrow_table_goes_as_a_frame(mlflow: Any, tmp_path: Any) -> None:
    import pyarrow as pa

    folder = exported(tmp_path, pa.table({"a": [1, 2], "b": ["x", None]}))
    found = mlflow.models.Model.load(folder).load_input_example(str(folder))
    assert found["a"].tolist() == [1, 2]
    assert found["b"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "example",
    [
        FRAME,
        pd.DataFrame({"n": np.arange(2, dtype="int32"), "t": pd.to_datetime(["2024-01-01", "2024-06-01"])}),
        np.arange(6, dtype="float32").reshape(2, 3),
        {"x": np.arange(3), "y": np.ones(3)},
        [{"a": 1}, {"a": 2}],
    ],
    ids=["frame", "types", "array", "arrays by name", "rows"],
)
def test_we_read_the_example_that_mlflow_wrote(mlflow: Any, tmp_path: Any, example: Any) -> None:
    from sklearn.dummy import DummyRegressor

    model = DummyRegressor().fit([[1], [2]], [1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = mlflow.models.infer_signature(example)
        options = {"signature": signature, "input_example": example, "pip_requirements": ["scikit-learn"]}
        mlflow.sklearn.save_model(model, tmp_path / "theirs", **options)
    found = import_mlflow(tmp_path / "theirs").input_example
    if isinstance(example, pd.DataFrame):
        pd.testing.assert_frame_equal(found, example, check_dtype=False)
        assert [kind.kind for kind in found.dtypes] == [kind.kind for kind in example.dtypes]
    elif isinstance(example, list):
        assert found == example
    elif isinstance(example, dict):
        assert {name: list(value) for name, value in found.items()} == {name: list(v) for name, v in example.items()}
    else:
        np.testing.assert_array_equal(found, example, strict=True)


@pytest.mark.parametrize("info", [{"artifact_path": "../x.json", "type": "ndarray"}, {"artifact_path": 5}, [], "x", {}])
def test_an_example_that_cannot_be_read_is_none(tmp_path: Any, info: Any) -> None:
    (tmp_path / "x.json").write_text("[1]")
    (tmp_path / "in").mkdir()
    assert read_example(tmp_path / "in", info) is None
    (tmp_path / "in" / "x.json").write_text("[1")
    assert read_example(tmp_path / "in", {"artifact_path": "x.json", "type": "ndarray"}) is None


def test_a_model_that_takes_categories_can_be_asked_by_mlflow(mlflow: Any, tmp_path: Any) -> None:
    """MLflow would call the column a string, and refuse one that has categories."""
    frame = pd.DataFrame({"c": pd.Categorical(["a", "b", "a"])})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert mlflow.pyfunc.load_model(str(exported(tmp_path, frame))).predict(frame).equals(frame)


def test_tensors_go_as_the_arrays_that_mlflow_gives(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    assert read_example(tmp_path, write_example(torch.ones(2, 2), tmp_path)).tolist() == [[1, 1], [1, 1]]
    assert read_example(tmp_path, write_example({"x": torch.ones(2)}, tmp_path))["x"].tolist() == [1, 1]
    assert write_example(torch.ones(2).bfloat16(), tmp_path) is None
