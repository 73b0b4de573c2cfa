"""What the registry costs, beside a local MLflow in the same run. Nothing here asserts a time: see README.md."""

from __future__ import annotations

import contextlib
import logging
import warnings

import numpy as np
import pytest

import mlflowish as mf
from mlflowish.models import store_model

# MLflow takes seconds to set up its database: it runs where something is measured.
PEERS = ["mlflowish", pytest.param("mlflow sqlite", marks=pytest.mark.nightly)]
BOTH = pytest.mark.parametrize("peer", PEERS)


class Ours:
    """A registry in a local store."""

    def __init__(self, folder, model):
        self.store, self.model = self.open(folder), model
        self.stored = store_model(self.store, model)
        for _ in range(3):
            self.register()
        mf.registry.transition("churn", 2, "production", store=self.store)
        mf.registry.set_alias("churn", "champion", 2, store=self.store)

    def open(self, folder):
        return mf.Store(folder / "store")

    def register(self):
        return mf.register_model("churn", self.stored, store=self.store).version

    def store_and_register(self):
        return mf.register_model("churn", self.model, store=self.store).version

    def resolve_stage(self):
        return mf.registry.get("churn", stage="production", store=self.store).version

    def resolve_alias(self):
        return mf.registry.get("churn", alias="champion", store=self.store).version

    def load_by_stage(self):
        return mf.load_model("churn", stage="production", store=self.store)

    def load_by_alias(self):
        return mf.load_model("models:/churn@champion", store=self.store)

    def promote(self, version):
        mf.registry.transition("churn", version, "production", store=self.store)

    def close(self):
        self.store.close()


class Theirs:
    """MLflow's own registry on this machine, in an SQLite file."""

    def __init__(self, folder, model):
        mlflow = pytest.importorskip("mlflow")
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self._old = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        self.mlflow, self.client = mlflow, mlflow.MlflowClient(self.uri, self.uri)
        mlflow.create_experiment("bench", artifact_location=(folder / "artifacts").as_uri())
        mlflow.set_experiment("bench")
        with mlflow.start_run():
            self.source = mlflow.sklearn.log_model(model, name="model", pip_requirements=[]).model_uri
        self.model = model
        for _ in range(3):
            self.register()
        self.client.transition_model_version_stage("churn", "2", "Production")
        self.client.set_registered_model_alias("churn", "champion", "2")

    def register(self):
        return self.mlflow.register_model(self.source, "churn").version

    def store_and_register(self):
        with self.mlflow.start_run():
            logged = self.mlflow.sklearn.log_model(
                self.model, name="model", pip_requirements=[], registered_model_name="churn"
            )
        return logged.registered_model_version

    def resolve_stage(self):
        return int(self.client.get_latest_versions("churn", ["Production"])[0].version)

    def resolve_alias(self):
        return int(self.client.get_model_version_by_alias("churn", "champion").version)

    def load_by_stage(self):
        return self.mlflow.sklearn.load_model("models:/churn/Production")

    def load_by_alias(self):
        return self.mlflow.sklearn.load_model("models:/churn@champion")

    def promote(self, version):
        self.client.transition_model_version_stage("churn", str(version), "Production", archive_existing_versions=True)

    def close(self):
        self.mlflow.set_tracking_uri(self._old[0])
        self.mlflow.set_registry_uri(self._old[1])


@pytest.fixture
def model():
    """A small fitted classifier."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    return linear_model.LogisticRegression().fit(x, x[:, 0] > 0)


@pytest.fixture
def registry_of(tmp_path, model):
    """Opens the registry of a peer, with three versions of one model, the second in production."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())

        def open_registry(peer):
            if peer != "mlflowish":
                warnings.simplefilter("ignore")  # MLflow's own
                opened = Theirs(tmp_path, model)
            else:
                opened = Ours(tmp_path, model)
            stack.callback(opened.close)
            return opened

        yield open_registry


@BOTH
@pytest.mark.benchmark(group="registry: resolve a stage")
def test_resolving_a_stage(benchmark, registry_of, peer):
    assert benchmark(registry_of(peer).resolve_stage) == 2


@BOTH
@pytest.mark.benchmark(group="registry: resolve an alias")
def test_resolving_an_alias(benchmark, registry_of, peer):
    assert benchmark(registry_of(peer).resolve_alias) == 2


@BOTH
@pytest.mark.benchmark(group="registry: load by stage, scikit-learn")
def test_loading_a_model_by_stage(benchmark, registry_of, peer, model):
    found = benchmark(registry_of(peer).load_by_stage)
    assert np.array_equal(found.coef_, model.coef_)


@BOTH
@pytest.mark.benchmark(group="registry: load by alias, scikit-learn")
def test_loading_a_model_by_alias(benchmark, registry_of, peer, model):
    found = benchmark(registry_of(peer).load_by_alias)
    assert np.array_equal(found.coef_, model.coef_)


@BOTH
@pytest.mark.benchmark(group="registry: register a stored model")
def test_registering(benchmark, registry_of, peer):
    assert int(benchmark.pedantic(registry_of(peer).register, rounds=60)) >= 4


@pytest.mark.nightly
def test_registering_ten_times_in_turn(figures, registry_of):
    """Loops of both one after the other: processors of shared machines change their speed from second to second."""
    peers = {peer: registry_of(peer) for peer in ("mlflowish", "mlflow sqlite")}
    runners = {who: lambda peer=peer: [peer.register() for _ in range(10)] for who, peer in peers.items()}
    figures.race("registry: register a stored model ten times, in turn", runners, rounds=25)
    assert all(int(peer.register()) > 260 for peer in peers.values())


@BOTH
@pytest.mark.benchmark(group="registry: store and register, scikit-learn")
def test_storing_and_registering(benchmark, registry_of, peer):
    assert int(benchmark.pedantic(registry_of(peer).store_and_register, rounds=20)) >= 4


@BOTH
@pytest.mark.benchmark(group="registry: promote")
def test_promoting(benchmark, registry_of, peer):
    opened, turn = registry_of(peer), iter(range(10**9))
    benchmark.pedantic(lambda: opened.promote(1 + next(turn) % 3), rounds=60)
