"""Where a model was made: a lock of what it needs, and what happens where that is not there."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pandas as pd
import polars as pl
import pytest
from packaging.requirements import Requirement

import mlflowish as mf
from mlflowish.models import Manifest, StoredModel, store_model
from mlflowish.models.environment import Environment, Package, current_environment

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0]})


def frame_to_polars(frame):
    return pl.from_pandas(frame).to_pandas()


@pytest.fixture
def stored(store):
    from sklearn.linear_model import LinearRegression

    return store_model(store, LinearRegression().fit(FRAME, FRAME.a), input_example=FRAME)


def test_what_a_broken_off_removal_leaves_is_not_locked(tmp_path, monkeypatch):
    for version in ("0.9", "1.0"):
        (tmp_path / f"once_locked-{version}.dist-info").mkdir()
    (tmp_path / "once_locked.py").write_text("")
    info = tmp_path / "once_locked-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: once-locked\nVersion: 1.0\n")
    (info / "RECORD").write_text("once_locked.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = current_environment({"once_locked"}).packages
    assert [(package.name, package.version) for package in packages] == [("once-locked", "1.0")]


def test_the_lock_pins_what_the_model_needs_and_no_more(stored):
    lines = [line for line in stored.manifest.environment.requirements().splitlines() if not line.startswith("#")]
    pinned = {Requirement(line.partition("  #")[0]).name: line for line in lines}
    assert {"scikit-learn", "numpy", "scipy", "joblib", "pandas"} <= set(pinned)
    assert "skops" in pinned, "it is stored by it"
    assert not {"torch", "pytest", "mlflow", "moto"} & set(pinned)
    assert all("==" in line and "/" not in line and "@" not in line for line in lines)


def test_the_lock_has_what_asks_a_model(store):
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    stored = store_model(store, helper.make_model(graph))
    assert {"onnx", "onnxruntime"} <= {package.name for package in stored.manifest.environment.packages}


def test_libraries_deep_inside_a_model_are_found(store):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from xgboost import XGBRegressor

    model = make_pipeline(FunctionTransformer(frame_to_polars), XGBRegressor(n_estimators=1, n_jobs=1))
    stored = store_model(store, model.fit(FRAME, FRAME.a))
    assert {"sklearn", "xgboost"} <= set(stored.manifest.libraries)
    names = {package.name for package in stored.manifest.environment.packages}
    assert "polars" in names
    assert any(name.startswith("xgboost") for name in names)
    assert __name__ in stored.manifest.code


def test_pip_takes_the_lock(stored, tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text(stored.manifest.environment.requirements())
    # What is installed already satisfies it, so nothing is looked up anywhere.
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet", "-r", lock]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_was_not_installed_from_an_index_is_a_comment():
    found = {package.name: package for package in current_environment({"mlflowish"}).packages}
    assert "mlflowish" not in found or found["mlflowish"].local
    environment = Environment(
        "3.11.0", "cpython", "Linux", (Package("mine", "1.0", True), Package("torch", "2.3.0+cpu"))
    )
    assert environment.requirements().splitlines()[1:] == [
        "# mine==1.0 was not installed from an index",
        "torch==2.3.0  # was 2.3.0+cpu",
    ]


def test_no_path_of_this_machine_gets_into_a_manifest(stored, tmp_path):
    packed = stored.manifest.packed().decode()
    assert str(tmp_path) not in packed
    assert sys.prefix not in packed
    assert "file:" not in packed


def test_another_major_version_is_told_and_a_minor_one_is_not(stored):
    def made_with(version):
        manifest = dataclasses.replace(stored.manifest, libraries={"sklearn": version})
        return StoredModel(stored.store, stored.manifest_ref, Manifest.unpacked(manifest.packed()))

    with pytest.warns(mf.ModelWarning, match=r"made with sklearn 0\.24"):
        made_with("0.24.2").load()
    made_with("1.0.0").load()


@pytest.mark.parametrize(
    ("library", "extra"), [("lightgbm", "lightgbm"), ("skops", "skops"), ("xgboost", "xgboost"), ("sklearn", "sklearn")]
)
def test_a_library_that_is_missing_names_its_extra(store, stored, tmp_path, library, extra):
    if library == "lightgbm":
        from lightgbm import LGBMRegressor

        model = LGBMRegressor(n_estimators=1, n_jobs=1, verbose=-1, min_child_samples=1).fit(FRAME, FRAME.a)
        stored = store_model(store, model)
    elif library != "skops":
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from xgboost import XGBRegressor

        model = XGBRegressor(n_estimators=1, n_jobs=1).fit(FRAME, FRAME.a)
        # Of what a pipeline holds, not the pipeline's own library is missing.
        stored = store_model(store, make_pipeline(StandardScaler(), model) if library == "xgboost" else model)
    ref = stored.manifest_ref
    code = f"""
import sys
sys.modules[{library!r}] = None
import mlflowish as mf
from mlflowish.models import open_model
from mlflowish.storage import ObjectRef
try:
    open_model(mf.Store({str(tmp_path / "store")!r}), ObjectRef({ref.name!r}, {ref.size_bytes})).load()
except mf.MissingExtraError as error:
    print(error.extra)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == extra, done.stderr


def test_opening_a_model_imports_none_of_its_libraries(stored, tmp_path):
    ref = stored.manifest_ref
    code = f"""
import sys
import mlflowish as mf
from mlflowish.models import open_model
from mlflowish.storage import ObjectRef
open_model(mf.Store({str(tmp_path / "store")!r}), ObjectRef({ref.name!r}, {ref.size_bytes}))
heavy = ("sklearn", "skops", "pandas", "numpy", "pyarrow", "torch", "cloudpickle")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_environment_shows_itself(stored):
    environment = stored.manifest.environment
    assert str(environment) + "\n" == environment.requirements()
    assert "scikit-learn" in environment._repr_html_()
    hostile = Environment("<b>", "x", "y", (Package("n", "1", local=True),))._repr_html_()
    assert "&lt;b&gt;" in hostile
    assert "1 (local)" in hostile
