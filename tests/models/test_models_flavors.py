"""Every flavor through the one conformance suite."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

import mlflowish as mf
from mlflowish.models import store_model
from mlflowish.testing.flavor_suite import FlavorSuite

FRAME = pd.DataFrame({"a": np.linspace(0, 1, 40), "b": np.arange(40), "c": np.arange(40) % 7})
TARGET = ((FRAME.a * 3 + FRAME.c) > 4).astype(int).to_numpy()


def weighted(frame):
    return (frame["a"] * 2 + frame["b"]).to_numpy()


class Threshold:
    """A model of the project, neither of a library nor plain data."""

    def __init__(self, limit):
        self.limit = limit

    def __eq__(self, other):
        return isinstance(other, Threshold) and self.limit == other.limit

    __hash__ = None

    def predict(self, frame):
        return frame.select((pl.col("a") > self.limit).alias("above"))


class Framed(FlavorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def example(cls):
        return FRAME


class TestFunction(Framed):
    flavor = "python"
    runs_code = True
    test_two_loads_share_nothing = None  # the function of a module is one
    test_copies_are_models_too = None
    test_damage_of_any_file_is_detected = None  # its pickle is not read while its module has it

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return weighted


class TestObject(FlavorSuite):
    flavor = "python"
    runs_code = True

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return Threshold(0.5)

    @pytest.fixture(scope="class")
    @classmethod
    def example(cls):
        return pl.from_pandas(FRAME)


class TestSklearn(Framed):
    flavor = "sklearn"

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TARGET)

    def test_the_proxy_is_the_model_to_everybody(self, stored):
        loaded = stored.load()
        assert len(loaded) == 2
        assert loaded[0] is loaded.native[0]


class TestSklearnTrees(Framed):
    flavor = "sklearn"
    runs_code = True  # skops takes a Tree's own arrays for code: wrong ones lead it outside its memory

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(3, random_state=0).fit(FRAME, TARGET)

    def test_the_proxy_is_the_model_to_everybody(self, stored):
        loaded = stored.load()
        assert len(loaded) == 3
        assert repr(loaded) == repr(loaded.native)


class TestXGBoostBooster(Framed):
    flavor = "xgboost"

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        import xgboost

        data = xgboost.DMatrix(FRAME, label=TARGET)
        return xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, num_boost_round=4)


class TestXGBoostClassifier(Framed):
    flavor = "xgboost"

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        from xgboost import XGBClassifier

        return XGBClassifier(n_estimators=4, n_jobs=1).fit(FRAME, TARGET, eval_set=[(FRAME, TARGET)], verbose=False)

    def test_what_was_measured_while_fitting_comes_back(self, stored, model):
        assert stored.load().evals_result() == model.evals_result()


class TestLightGBMBooster(Framed):
    flavor = "lightgbm"

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        import lightgbm

        options = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 2}
        return lightgbm.train(options, lightgbm.Dataset(FRAME, TARGET), num_boost_round=4)


class TestLightGBMClassifier(Framed):
    flavor = "lightgbm"

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        from lightgbm import LGBMClassifier

        names = np.array(["no", "yes"])[TARGET]
        return LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1, min_child_samples=2).fit(FRAME, names)

    def test_classes_and_probabilities_come_back(self, stored, model):
        loaded = stored.load()
        assert loaded.classes_.tolist() == ["no", "yes"]
        assert (loaded.predict_proba(FRAME) == model.predict_proba(FRAME)).all()


class TestOnnx(FlavorSuite):
    flavor = "onnx"

    @pytest.fixture(scope="class")
    @classmethod
    def example(cls):
        return FRAME.to_numpy("float32")

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, example):
        from sklearn.linear_model import LinearRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from skl2onnx import to_onnx

            return to_onnx(LinearRegression().fit(example, TARGET), example[:1])


class Torch(FlavorSuite):
    flavor = "pytorch"
    runs_code = True

    @pytest.fixture(scope="class")
    @classmethod
    def example(cls):
        torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
        return torch.linspace(0, 1, 12).reshape(4, 3)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, example):
        import torch

        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.ReLU(), torch.nn.Linear(4, 2))

    def test_the_proxy_is_the_model_to_everybody(self, stored, example):
        loaded = stored.load()
        assert repr(loaded) == repr(loaded.native)
        assert (loaded.eval()(example) == loaded.predict(example)).all()

    def same(self, found, expected):
        return bool((found == expected).all())


class TestPytorch(Torch):
    def test_the_weights_load_into_a_module_without_running_stored_code(self, stored, model, example, expected):
        import torch

        twin = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        loaded = stored.load(allow_pickle=False, into=twin)
        assert loaded.native is twin
        assert self.same(loaded.predict(example), expected)

    def test_weights_that_do_not_fit_are_refused(self, stored):
        import torch

        with pytest.raises(mf.InvalidInputError, match="do not fit into Linear"):
            stored.load(into=lambda: torch.nn.Linear(2, 2))

    def test_predicting_leaves_the_mode_of_each_module(self, stored, example):
        loaded = stored.load()
        loaded.train()
        loaded[1].eval()
        loaded.predict(example)
        assert [module.training for module in loaded] == [True, False, True, True]


def test_tensors_lie_in_memory_as_they_did(store):
    """Also those that are parts of others, or have their dimensions in another order: the last bits depend on it."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 3, 2), torch.nn.Flatten(), torch.nn.Linear(3, 3, bias=False))
    module.to(memory_format=torch.channels_last)
    both = torch.linspace(0, 1, 12)
    module[2].weight = torch.nn.Parameter(torch.linspace(0, 1, 9).reshape(3, 3).T)
    module.register_buffer("both", both)
    module.register_buffer("head", both[:6].view(3, 2).T)
    module.register_buffer("tail", both[6:])
    stored = store_model(store, module)
    assert set(stored.manifest.options["parts"]) == {"head", "tail"}
    loaded = stored.load().native
    strides = {name: tensor.stride() for name, tensor in module.state_dict().items()}
    assert {name: tensor.stride() for name, tensor in loaded.state_dict().items()} == strides
    example = torch.randn(5, 4, 2, 2)
    assert torch.equal(loaded(example), module(example))
    loaded.both.zero_()
    assert loaded.head.count_nonzero() + loaded.tail.count_nonzero() == 0
    twin = copy.deepcopy(module)
    twin.load_state_dict({name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()})
    assert torch.equal(stored.load(allow_pickle=False, into=twin)(example), module(example))


def test_weights_that_share_one_piece_of_memory_load_into_a_module(store):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    module, flat = torch.nn.LSTM(2, 3), torch.randn(200)
    begin = 0
    for parameter in module.parameters():  # as cuDNN has them
        parameter.data = flat[begin : begin + parameter.numel()].view(parameter.shape)
        begin += parameter.numel()
    loaded = store_model(store, module).load(allow_pickle=False, into=lambda: torch.nn.LSTM(2, 3))
    assert all(map(torch.equal, loaded.parameters(), module.parameters()))


@pytest.mark.parametrize(
    "options",
    [
        {"orders": {"weight": [0, 0]}},
        {"orders": {"weight": 5}},
        {"orders": {"other": [0]}},
        {"parts": {"bias": ["weight", [3], [1], 999]}},
        {"parts": {"bias": ["weight", [3], [-1], 2]}},
        {"parts": {"bias": ["weight", [1 << 40], [0], 0]}},
        {"parts": {"bias": ["nothing", [3], [1], 0]}},
        {"parts": {"bias": 1}},
        {"parts": 1},
    ],
)
def test_senseless_memory_of_tensors(options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    from mlflowish.models.memory import laid_out

    with pytest.raises(mf.IntegrityError, match="makes no sense"):
        laid_out({"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, options)


def test_what_cannot_take_weights(store):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    with pytest.raises(mf.InvalidInputError, match="found a int"):
        store_model(store, torch.nn.Linear(1, 1)).load(into=5)
    half = torch.nn.Linear(1, 1).bfloat16()
    with pytest.raises(mf.InvalidInputError, match="stored without signature and input example takes any"):
        store_model(store, half, input_example=torch.ones(1, 1).bfloat16())
    assert store_model(store, half).load().predict(torch.ones(1, 1).bfloat16()).dtype is torch.bfloat16


class TestTorchScript(Torch):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, example):
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.trace(torch.nn.Linear(3, 2), example)

    test_copies_are_models_too = None  # TorchScript cannot be pickled
    test_the_model_that_comes_back_is_of_the_same_type = None  # what was traced comes back as what was scripted


def test_the_weights_among_the_inputs_of_an_old_onnx_model_are_no_columns(store):
    from onnx import TensorProto, helper

    x, y, w = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in "xyw")
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 2], [1.0, 2.0])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x, w], [y], initializer=[weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    loaded = store_model(store, model).load()
    assert str(loaded.signature) == "inputs:  float32[*, 2]"
    assert loaded.predict(np.ones((1, 2), "float32")).tolist() == [[2.0, 3.0]]


def test_what_has_no_schema_is_told_apart_from_what_cannot_be_asked(store):
    with pytest.warns(mf.errors.ModelWarning, match="gives for its input example, a int, has no schema"):
        store_model(store, len, input_example=[1, 2])
    with pytest.warns(mf.errors.ModelWarning, match=r"could not be asked about its input example \(TypeError"):
        store_model(store, abs, input_example=[1, 2])
