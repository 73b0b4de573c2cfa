"""The format of manifests: what the page says, what earlier versions wrote, and what is refused."""

from __future__ import annotations

import json
import pathlib
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import mlflowish as mf
from mlflowish.models import Manifest, Signature, open_model, store_model
from mlflowish.models.flavors import _BUILTIN
from mlflowish.models.manifest import FORMAT_VERSION, MOST_BYTES, MOST_FILES
from mlflowish.models.types import _PRIMITIVE
from mlflowish.storage import ObjectRef

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "format-models.md").read_text(encoding="utf-8")
GOLDEN, GOLDEN_2 = (pathlib.Path(__file__).parent / name for name in ("golden", "golden-2"))
FRAME = pd.DataFrame({"a": np.arange(8.0), "b": np.arange(8)})
TARGET = np.array([0, 0, 0, 1, 0, 1, 1, 1])


def rows(header):
    """The cells of the table that begins with these column names."""
    lines = PAGE.split(header, 1)[1].splitlines()[2:]
    table = lines[: next((place for place, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@pytest.fixture
def record(store):
    stored = store_model(store, {"a": 1}, signature=mf.infer_signature(FRAME), input_example=FRAME)
    return json.loads(stored.manifest.packed())


def packed(record):
    return json.dumps(record).encode()


def test_each_field_is_specified_with_its_type(record):
    specified = {name.strip("`"): kind for name, kind, _ in rows("| field | type | what |")}
    words = {str: "text", int: "integer", float: "number", dict: "object", list: "array", bool: "boolean"}
    assert {name: words[type(value)] for name, value in record.items()} == {
        name: kind.removesuffix(" or null") for name, kind in specified.items()
    }


def test_each_flavor_is_specified():
    assert {name.strip("`") for name, _, _ in rows("| flavor | files | runs stored code |")} == set(_BUILTIN)


def test_each_primitive_type_is_specified():
    cells = [cell for cell, _ in rows("\n| type | what |") if "{" not in cell]
    assert set(re.findall("`(.+?)`", " ".join(cells))) == set(_PRIMITIVE)


def test_the_limits_are_specified():
    assert f"{MOST_BYTES:,} bytes" in PAGE
    assert f"{MOST_FILES:,} files" in PAGE


def test_a_manifest_survives_the_way_there_and_back(store):
    stored = store_model(store, {"a": 1}, signature=mf.infer_signature(FRAME), input_example=FRAME, metadata={"x": [1]})
    again = Manifest.unpacked(stored.manifest.packed())
    assert again == open_model(store, stored.manifest_ref).manifest
    assert again.packed() == stored.manifest.packed()


def test_unknown_fields_are_passed_over(record):
    record["later"] = {"anything": 1}
    record["files"][0]["later"] = 1
    record["environment"]["later"] = 1
    assert Manifest.unpacked(packed(record)).flavor == "python"


def test_a_newer_version_is_refused(record):
    record["version"] = FORMAT_VERSION + 1
    with pytest.raises(mf.FormatVersionError, match="Upgrade"):
        Manifest.unpacked(packed(record))


def changed(**fields):
    return lambda record: record.update(fields)


def file(**fields):
    return lambda record: record["files"][0].update(fields)


HOSTILE = {
    "another format": changed(format="zip"),
    "version as text": changed(version="1"),
    "version as boolean": changed(version=True),
    "no flavor": changed(flavor=None),
    "flavor as text": changed(flavor="sklearn"),
    "options as list": changed(flavor={"name": "python", "version": 1, "options": []}),
    "time as text": changed(created_s="now"),
    "files as object": changed(files={}),
    "file as text": changed(files=["x"]),
    "too many files": changed(files=[{}] * (MOST_FILES + 1)),
    "path upwards": file(path="../x"),
    "path upwards inside": file(path="a/../../x"),
    "absolute path": file(path="/etc/passwd"),
    "windows path": file(path="C:\\x"),
    "empty path": file(path=""),
    "zero byte in path": file(path="a\0b"),
    "object is a path": file(object="../../etc/passwd"),
    "object too short": file(object="ab"),
    "negative size": file(size_bytes=-1),
    "size as float": file(size_bytes=1.5),
    "mark as text": file(executes_code="no"),
    "the same path twice": lambda record: record["files"].append(record["files"][0]),
    "paths that differ in case": lambda record: record["files"].append({**record["files"][0], "path": "EXAMPLE/head"}),
    "libraries as list": changed(libraries=[]),
    "version of a library as number": changed(libraries={"a": 1}),
    "package with a line break": changed(environment={"packages": [{"name": "a\n--index-url", "version": "1"}]}),
    "package that is an option": changed(environment={"packages": [{"name": "-e", "version": "1"}]}),
    "version that is a URL": changed(environment={"packages": [{"name": "a", "version": "1 @ http://x"}]}),
    "python with a line break": changed(environment={"python": "3\nx"}),
    "code as list": changed(code=[]),
    "metadata as text": changed(metadata="x"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_manifest_is_refused(record, change):
    change(record)
    with pytest.raises(mf.IntegrityError):
        Manifest.unpacked(packed(record))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b"x" * (MOST_BYTES + 1)])
def test_what_is_no_manifest_is_refused(data):
    with pytest.raises(mf.IntegrityError):
        Manifest.unpacked(data)


def test_an_object_that_is_too_large_for_a_manifest_is_not_read(store):
    with pytest.raises(mf.InvalidInputError, match="no model's manifest"):
        open_model(store, ObjectRef("0" * 64, MOST_BYTES + 1))


@pytest.mark.parametrize(
    "signature",
    [
        {"inputs": None},
        {"inputs": [{"name": "a"}]},
        {"inputs": [{"name": "a", "type": "complex", "nullable": True}]},
        {"inputs": [{"name": "a", "type": {"tensor": ["int8", [-1]]}, "nullable": True}]},
        {"inputs": [{"name": "a", "type": {"decimal": [128, 1000, 0]}, "nullable": True}]},
        {"inputs": [{"name": "a", "type": {"struct": [["x"]]}, "nullable": True}]},
        {"inputs": [{"name": "a", "type": "int8", "nullable": 1}]},
        {"inputs": [{"name": "a", "type": "int8", "nullable": True}] * 2},
        {"inputs": [], "container": "hdf"},
    ],
)
def test_a_hostile_signature_is_refused(signature):
    with pytest.raises(mf.IntegrityError):
        Signature.from_record(signature)


def test_a_type_without_end_is_refused():
    kind = "int8"
    for _ in range(200):
        kind = {"list": [kind, None]}
    with pytest.raises(mf.IntegrityError):
        Signature.from_record({"inputs": [{"name": "a", "type": kind, "nullable": True}]})


@pytest.mark.parametrize("name", list(_BUILTIN))
def test_options_that_make_no_sense_are_refused(store, name):
    if name == "onnx":
        pytest.skip("it has no options")
    manifest = Manifest(flavor=name, flavor_version=1, model_type="x", created_s=0.0, options={"format": "?"})
    ref = store.objects.put(manifest.packed())
    with pytest.raises(mf.IntegrityError, match="options that make no sense"):
        open_model(store, ref).load()


def test_an_unknown_flavor_names_those_that_are_known(store):
    ref = store.objects.put(Manifest(flavor="spark", flavor_version=1, model_type="x", created_s=0.0).packed())
    with pytest.raises(mf.CapabilityError, match=r"'spark'.*python.*register_flavor"):
        open_model(store, ref).load()


def test_a_newer_layout_of_a_flavor_is_refused(store):
    ref = store.objects.put(Manifest(flavor="python", flavor_version=9, model_type="x", created_s=0.0).packed())
    with pytest.raises(mf.CapabilityError, match="layout 9"):
        open_model(store, ref).load()


# -- what earlier versions wrote -----------------------------------------------------------------------


def golden_models():
    """Models for the machine that writes the golden store; the data go with them."""
    import lightgbm
    import torch
    import xgboost
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression, LogisticRegression

    floats = FRAME.to_numpy("float32")
    torch.manual_seed(0)
    options = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1}
    return {
        "python": ({"weights": np.arange(3.0), "names": ["a", "b"]}, None),
        "sklearn": (LogisticRegression().fit(FRAME, TARGET), FRAME),
        "xgboost": (xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(FRAME, TARGET), FRAME),
        "lightgbm": (lightgbm.train(options, lightgbm.Dataset(FRAME, TARGET), num_boost_round=2), FRAME),
        "onnx": (to_onnx(LinearRegression().fit(floats, TARGET), floats[:1]), floats),
        "pytorch": (torch.nn.Linear(2, 1), floats),
    }


def answer(name, stored):
    if name == "python":
        return stored.load(allow_pickle=False)["weights"].tolist()
    into = None
    if name == "pytorch":
        torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
        into = torch.nn.Linear(2, 1)
    loaded = stored.load(allow_pickle=False, into=into)
    return np.asarray(loaded.predict(stored.input_example(allow_pickle=False)), dtype=float).reshape(-1).tolist()


@pytest.mark.parametrize("name", ["python", "sklearn", "xgboost", "lightgbm", "onnx", "pytorch"])
@pytest.mark.filterwarnings("ignore::mlflowish.errors.ModelWarning")
def test_what_was_stored_is_still_read(tmp_path, name):
    written = json.loads((GOLDEN / "models.json").read_text())[name]
    shutil.copytree(GOLDEN / "store", tmp_path / "golden")
    stored = open_model(mf.Store(tmp_path / "golden"), ObjectRef(*written["manifest"]))
    assert answer(name, stored) == pytest.approx(written["answer"], rel=1e-5)
    assert str(stored.signature) == written["signature"]


def module_in_other_orders():
    """A module whose tensors lie in memory in orders of their own, two of them in one piece."""
    import torch

    module, both = torch.nn.Linear(2, 3), torch.linspace(0, 1, 12)
    module.weight = torch.nn.Parameter(torch.linspace(0, 1, 6).reshape(2, 3).T)
    module.bias = torch.nn.Parameter(torch.zeros(3))
    module.register_buffer("both", both)
    module.register_buffer("tail", both[6:])
    return module


def golden_additions():
    """What came later, in the manifests of the same version."""
    import xgboost

    colours = pd.DataFrame({"c": pd.Categorical(list("rgbrgbrg"), categories=["b", "g", "r"]), "a": np.arange(8.0)})
    options = {"n_estimators": 2, "n_jobs": 1, "enable_categorical": True, "tree_method": "hist"}
    rows = np.array([(1.0, 2), (3.0, 4)], dtype=[("a", "f8"), ("b", "i4")])
    return {
        "categories": (xgboost.XGBClassifier(**options).fit(colours, TARGET), colours),
        "structured": ({"weights": [1.0, 2.0]}, rows),
        "orders": (module_in_other_orders(), np.ones((2, 2), dtype="float32")),
    }


@pytest.fixture(params=["categories", "structured", "orders"])
def addition(request, tmp_path):
    written = json.loads((GOLDEN_2 / "models.json").read_text())[request.param]
    shutil.copytree(GOLDEN_2 / "store", tmp_path / "golden")
    stored = open_model(mf.Store(tmp_path / "golden"), ObjectRef(*written["manifest"]))
    assert str(stored.signature) == written["signature"]
    return request.param, stored, written


def test_what_came_later_is_still_read(addition):
    name, stored, written = addition
    example = stored.input_example(allow_pickle=False)
    if name == "structured":
        assert stored.signature.container == "structured"
        assert example.dtype.names == ("a", "b")
    elif name == "categories":
        assert stored.manifest.packed().count(b'"categories":{"ordered":false') == 1
        loaded = stored.load(allow_pickle=False)
        assert loaded.predict(example).tolist() == written["answer"]
        assert loaded.predict({"c": list(example["c"]), "a": list(example["a"])}).tolist() == written["answer"]
    else:
        assert set(stored.manifest.options) >= {"orders", "parts"}
        torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
        module = module_in_other_orders()
        with torch.no_grad():
            module.weight.zero_()
        loaded = stored.load(allow_pickle=False, into=module)
        assert loaded.predict(example).tolist() == written["answer"]


def write_golden(folder, models):
    """`python test_models_format.py` writes the golden stores that are not there."""
    store, written = mf.Store(folder / "store"), {}
    for name, (model, example) in models.items():
        stored = store_model(store, model, input_example=example, signature=mf.infer_signature(example))
        ref = [stored.manifest_ref.name, stored.manifest_ref.size_bytes]
        if name == "orders":
            found = stored.load(allow_pickle=False, into=module_in_other_orders()).predict(example).tolist()
        else:
            found = None if name == "structured" else stored.load(allow_pickle=False).predict(example).tolist()
        written[name] = {"manifest": ref, "answer": found, "signature": str(stored.signature)}
    (folder / "models.json").write_text(json.dumps(written, indent=1) + "\n")
    (folder / "store" / ".gitignore").unlink()


if __name__ == "__main__" and not GOLDEN_2.exists():
    write_golden(GOLDEN_2, golden_additions())
