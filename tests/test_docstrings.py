"""Every public name has a docstring with an example, and every example does what it says."""

from __future__ import annotations

import doctest
import inspect

import pytest

import mlflowish as mf
from mlflowish.tracking import FLUENT

FUNCTIONS = [
    "Dir",
    "File",
    "Model",
    "Signature",
    "Store",
    "accept",
    "accepted",
    "active_store",
    "cross",
    "digest",
    "du",
    "executor",
    "files",
    "fsck",
    "gc",
    "group",
    "infer_signature",
    "join",
    "load_model",
    "on_exit",
    "partitions",
    "per_worker",
    "pipeline",
    "register_digester",
    "register_model",
    "retain",
    "reproduce",
    "step",
    "transaction",
    "union",
    "use",
    "when",
]
TRACKING = [*FLUENT, "compare_runs", "export_runs", "search_runs", "sync"]
METHODS = ["call", "explain", "fingerprint", "forget", "history", "is_cached", "map", "submit"]
REGISTRY = [name for name in mf.registry.__all__ if name.islower() and name not in FUNCTIONS]
DOCUMENTED = (
    {name: getattr(mf, name) for name in [*FUNCTIONS, *TRACKING]}
    | {f"Step.{name}": inspect.getattr_static(mf.Step, name) for name in METHODS}
    | {f"Pipeline.{name}": inspect.getattr_static(mf.Pipeline, name) for name in ("graph", "plan", "run")}
    | {f"registry.{name}": getattr(mf.registry, name) for name in REGISTRY}
)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlflowish.store.active._used", None)
    monkeypatch.setenv("MLFLOWISH_STORE", f"memory://docstrings-{tmp_path.name}")


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_of_a_public_name_runs(name, elsewhere):
    thing = DOCUMENTED[name]
    documented = thing.fget if isinstance(thing, property) else thing
    tests = [test for test in doctest.DocTestFinder(recurse=False).find(documented, name, globs={}) if test.examples]
    assert tests, f"{name} has no example in its docstring"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        assert runner.run(test).failed == 0


@pytest.mark.parametrize("name", mf.__all__)
def test_every_public_name_says_what_it_is(name):
    assert name == "__version__" or (getattr(mf, name).__doc__ or "").strip()
