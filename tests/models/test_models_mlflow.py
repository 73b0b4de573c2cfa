"""MLflow's model folders: real MLflow loads ours and says the same, we load those that it wrote."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd
import pytest

import mlflowish as mf
from mlflowish.models import export_mlflow, import_mlflow, open_model, store_model

FRAME = pd.DataFrame({"a": np.linspace(0, 1, 40), "b": np.linspace(1, 3, 40)})
# Else MLflow loads each model once more, in another process, to see what it imports.
UNINFERRED = {"pip_requirements": ["scikit-learn"]}
TARGET = (FRAME.a > 0.4).astype(int).to_numpy()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    """MLflow, which says nothing to the world and writes into a folder of its own."""
    os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"})
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import mlflow.sklearn

        yield mlflow


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        # Those of MLflow and of what it calls are not ours to mend.
        warnings.simplefilter("ignore")
        yield


def weighted(frame):
    return (frame["a"] * 2 + frame["b"]).to_numpy()


def sklearn_model():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(FRAME, TARGET)


def forest():
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(3, random_state=0).fit(FRAME, TARGET)


def xgboost_classifier():
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=3, n_jobs=1).fit(FRAME, TARGET)


def xgboost_booster():
    import xgboost

    return xgboost.train({"nthread": 1}, xgboost.DMatrix(FRAME, label=TARGET), num_boost_round=3)


def lightgbm_booster():
    return lightgbm_classifier().booster_


def lightgbm_classifier():
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1, min_child_samples=2).fit(FRAME, TARGET)


def function():
    return weighted


MODELS = [sklearn_model, forest, xgboost_classifier, xgboost_booster, lightgbm_booster, lightgbm_classifier, function]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_mlflow_loads_what_we_export_and_says_the_same(mlflow, store, tmp_path, make):
    stored = store_model(store, make(), input_example=FRAME)
    folder = export_mlflow(stored, tmp_path / "exported")
    theirs = mlflow.pyfunc.load_model(str(folder))
    assert np.array_equal(np.asarray(theirs.predict(FRAME)), np.asarray(stored.load().predict(FRAME)))
    assert theirs.metadata.signature.inputs.input_names() == ["a", "b"]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_we_load_what_we_exported(store, tmp_path, make):
    stored = store_model(store, make(), input_example=FRAME)
    imported = import_mlflow(export_mlflow(stored, tmp_path / "exported"))
    assert np.array_equal(imported.model.predict(FRAME), stored.load().predict(FRAME))
    assert imported.signature.inputs.names == ["a", "b"]
    again = store_model(store, imported.model)
    assert open_model(store, again.manifest_ref).signature.inputs.names == ["a", "b"]


def test_an_onnx_model_goes_there_and_back(mlflow, store, tmp_path):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    data = FRAME.to_numpy("float32")
    stored = store_model(store, to_onnx(LinearRegression().fit(data, TARGET), data[:1]), input_example=data)
    folder = export_mlflow(stored, tmp_path / "exported")
    theirs = mlflow.pyfunc.load_model(str(folder)).predict(data)
    ours = import_mlflow(folder).model.predict(data)
    assert np.array_equal(next(iter(theirs.values())), ours)


def test_a_pytorch_model_goes_there_and_back(mlflow, store, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    data = FRAME.to_numpy("float32")
    stored = store_model(store, torch.nn.Linear(2, 1), input_example=data)
    folder = export_mlflow(stored, tmp_path / "exported")
    theirs = mlflow.pyfunc.load_model(str(folder)).predict(data)
    ours = import_mlflow(folder).model.predict(data)
    assert np.array_equal(theirs, ours.numpy())
    assert np.array_equal(ours.numpy(), stored.load().predict(data).numpy())


def saved_sklearn(mlflow, path, signature):
    mlflow.sklearn.save_model(sklearn_model(), path, signature=signature, **UNINFERRED)


def saved_sklearn_by_pickle(mlflow, path, signature):
    mlflow.sklearn.save_model(
        sklearn_model(), path, signature=signature, serialization_format="cloudpickle", **UNINFERRED
    )


def saved_xgboost(mlflow, path, signature):
    import mlflow.xgboost

    mlflow.xgboost.save_model(xgboost_classifier(), path, signature=signature, **UNINFERRED)


def saved_lightgbm(mlflow, path, signature):
    import mlflow.lightgbm

    mlflow.lightgbm.save_model(lightgbm_booster(), path, signature=signature, **UNINFERRED)


@pytest.mark.parametrize(
    "save", [saved_sklearn, saved_sklearn_by_pickle, saved_xgboost, saved_lightgbm], ids=lambda save: save.__name__
)
def test_we_load_what_mlflow_wrote(mlflow, store, tmp_path, save):
    path = str(tmp_path / "theirs")
    save(mlflow, path, mlflow.models.infer_signature(FRAME, TARGET))
    imported = import_mlflow(path)
    theirs = mlflow.pyfunc.load_model(path)
    assert np.array_equal(imported.model.predict(FRAME), theirs.predict(FRAME))
    assert str(imported.signature.inputs.field("a").type) == "double"
    with pytest.raises(mf.InvalidInputError, match="column 'a' is missing"):
        imported.model.predict(FRAME[["b"]])


def test_we_load_a_pytorch_model_that_mlflow_wrote(mlflow, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    import mlflow.pytorch

    model, data = torch.nn.Linear(2, 1), FRAME.to_numpy("float32")
    path = str(tmp_path / "theirs")
    mlflow.pytorch.save_model(model, path, serialization_format="pickle", **UNINFERRED)
    assert np.array_equal(
        import_mlflow(path).model.predict(data).numpy(), model(torch.as_tensor(data)).detach().numpy()
    )
    with pytest.raises(mf.CapabilityError, match=r"model\.pth"):
        import_mlflow(path, allow_pickle=False)


def test_a_model_that_mlflow_asks_by_another_method_says_so(mlflow, tmp_path):
    path, model = str(tmp_path / "theirs"), sklearn_model()
    mlflow.sklearn.save_model(model, path, pyfunc_predict_fn="predict_proba", **UNINFERRED)
    with pytest.warns(mf.ModelWarning, match="'predict_proba'"):
        imported = import_mlflow(path)
    theirs = mlflow.pyfunc.load_model(path).predict(FRAME)
    assert np.array_equal(imported.model.predict_proba(FRAME), theirs)
    assert imported.model.predict(FRAME).shape == (len(FRAME),)


def test_pickles_in_a_folder_obey_the_policy(mlflow, tmp_path):
    path = str(tmp_path / "theirs")
    saved_sklearn_by_pickle(mlflow, path, None)
    with pytest.raises(mf.CapabilityError, match=r"model\.pkl was not loaded"):
        import_mlflow(path, allow_pickle=False)


def test_types_that_a_folder_vouches_for_itself_are_not_believed(store, tmp_path):
    folder = export_mlflow(store_model(store, forest()), tmp_path / "exported")
    with pytest.raises(mf.CapabilityError, match=r"_tree\.Tree") as caught:
        import_mlflow(folder, allow_pickle=False)
    import_mlflow(folder, allow_pickle=False, trusted=tuple(caught.value.types))


@pytest.mark.parametrize("hostile", ["../outside.pkl", "/etc/passwd"])
def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path, hostile):
    (tmp_path / "outside.pkl").write_bytes(b"")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(f"flavors:\n  sklearn:\n    pickled_model: {hostile}\n")
    with pytest.raises(mf.IntegrityError, match="outside"):
        import_mlflow(folder)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[1", mf.IntegrityError),
        ("7", mf.IntegrityError),
        ("flavors: [a]", mf.IntegrityError),
        ("flavors:\n  spark: {}\n", mf.CapabilityError),
        ("flavors:\n  xgboost:\n    model_class: os.system\n    data: MLmodel\n", mf.IntegrityError),
        ("flavors:\n  sklearn:\n    pickled_model: gone\n", mf.NotFoundError),
        ("flavors:\n  sklearn: {}\n", mf.IntegrityError),
    ],
)
def test_an_mlmodel_that_makes_no_sense_is_refused(tmp_path, text, error):
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(error):
        import_mlflow(tmp_path)


def test_a_folder_that_is_none_or_in_use_is_refused(store, tmp_path):
    with pytest.raises(mf.NotFoundError, match="no MLmodel"):
        import_mlflow(tmp_path)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("")
    with pytest.raises(mf.AlreadyExistsError):
        export_mlflow(store_model(store, {}), tmp_path / "used")


def test_what_is_written_is_yaml(store, tmp_path):
    import yaml

    stored = store_model(store, sklearn_model(), metadata={"note": "a: b\n# c", "deep": [1, {"x": None}], "none": []})
    folder = export_mlflow(stored, tmp_path / "exported")
    assert yaml.safe_load((folder / "MLmodel").read_text())["metadata"] == dict(stored.manifest.metadata)
    assert yaml.safe_load((folder / "python_env.yaml").read_text())["dependencies"] == ["-r requirements.txt"]
    pip = yaml.safe_load((folder / "conda.yaml").read_text())["dependencies"][-1]["pip"]
    assert any(line.startswith("scikit-learn==") for line in pip)


def test_a_registered_version_is_exported_like_a_stored_model(tmp_path):
    with mf.Store("memory://exported-version"):
        version = mf.register_model("weighted", sklearn_model(), input_example=FRAME)
        folder = export_mlflow(version, tmp_path / "model")
    expected = sklearn_model().predict(FRAME[:3]).tolist()
    assert import_mlflow(folder).model.predict(FRAME[:3]).tolist() == expected


@pytest.mark.parametrize("columns", [True, False], ids=["columns", "array"])
def test_a_pytorch_model_is_given_the_columns_that_mlflow_gives_it_as_one_tensor(mlflow, store, tmp_path, columns):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    import mlflow.pytorch

    frame = FRAME.astype("float32")
    data = frame if columns else frame.to_numpy()
    model = torch.nn.Linear(2, 1)
    signature = mlflow.models.infer_signature(data, np.zeros((1, 1), "float32"))
    kept = {"signature": signature, "serialization_format": "pickle", "pip_requirements": ["torch"]}
    mlflow.pytorch.save_model(model, tmp_path / "theirs", **kept)
    wanted = np.asarray(mlflow.pyfunc.load_model(str(tmp_path / "theirs")).predict(data))
    assert (import_mlflow(tmp_path / "theirs").model.predict(data).numpy() == wanted).all()
    export_mlflow(store_model(store, model, input_example=data), tmp_path / "ours")
    assert (import_mlflow(tmp_path / "ours").model.predict(data).numpy() == wanted).all()


def test_a_pytorch_model_of_several_tensors_goes_there_and_back(store, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    data = {"x": torch.ones(3), "y": torch.zeros(3)}
    scripted = torch.nn.Module()
    scripted.forward = lambda x, y: x - y
    export_mlflow(store_model(store, scripted, input_example=data), tmp_path / "folder")
    assert import_mlflow(tmp_path / "folder").model.predict(data).tolist() == [1.0, 1.0, 1.0]


@pytest.fixture
def exported(store, tmp_path):
    """A folder of ours, and a function that says something else in its MLmodel."""
    import yaml

    folder = export_mlflow(store_model(store, weighted, input_example=FRAME), tmp_path / "folder")
    record = yaml.safe_load((folder / "MLmodel").read_text())

    def say(**changed):
        (folder / "MLmodel").write_text(yaml.safe_dump(record | changed))
        return folder

    return say


def test_what_lies_outside_of_a_folder_is_not_read(exported, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    folder = exported()
    (folder / "requirements.txt").unlink()
    (folder / "requirements.txt").symlink_to(tmp_path / "secret.txt")
    assert import_mlflow(folder).requirements == ""
    (folder / "requirements.txt").unlink()
    (folder / "requirements.txt").write_bytes(b"numpy\xff")
    assert import_mlflow(folder).requirements == "numpy\ufffd"


@pytest.mark.parametrize("path", ["\0", "x" * 5000, "../secret.txt"])
def test_an_example_that_cannot_be_is_none(exported, path):
    folder = exported(saved_input_example_info={"artifact_path": path, "type": "dataframe"})
    assert import_mlflow(folder).input_example is None


@pytest.mark.parametrize(
    "inputs",
    ["[" * 100_000, '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 99999999999999999999]}}]'],
    ids=["deep", "large"],
)
def test_a_signature_that_makes_no_sense_is_refused(exported, inputs):
    with pytest.raises(mf.IntegrityError, match="signature in an MLmodel makes no sense"):
        import_mlflow(exported(signature={"inputs": inputs}))


def test_what_is_of_another_type_is_left_out(exported):
    function = {"loader_module": "x", "python_version": [3]}
    folder = exported(metadata=[1], flavors={"python_function": function, "mlflowish": {"data": "mlflowish"}})
    imported = import_mlflow(folder)
    assert (imported.python, imported.metadata) == (None, {})
    assert "ImportedModel" in imported._repr_html_()


def test_an_export_that_fails_leaves_nothing(store, tmp_path):
    from sklearn.ensemble import RandomForestClassifier
    from xgboost import XGBClassifier

    forest = store_model(store, RandomForestClassifier(2).fit(FRAME, TARGET))
    unfitted = store_model(store, XGBClassifier())
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "empty"):
        with pytest.raises(mf.CapabilityError, match="allow_pickle=False"):
            export_mlflow(open_model(mf.Store(store.url, allow_pickle=False), forest.manifest_ref), folder)
        with pytest.raises(mf.CapabilityError, match="could not be written as a model of MLflow"):
            export_mlflow(unfitted, folder)
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["empty"]
    assert not any((tmp_path / "empty").iterdir())
