"""The project's code goes with the model: kept, used where it cannot be imported, never run against the policy."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import mlflowish as mf
from mlflowish.models import open_model, store_model

HELPERS = "from lib.scale import FACTOR\n\n\ndef scaled(n):\n    return n * FACTOR\n"
MODEL = """
    import json
    from lib.helpers import scaled

    class Scaler:
        def predict(self, n):
            return scaled(n)

    def plain(n):
        return scaled(n) + 1
"""


@pytest.fixture
def project(tmp_path):
    """A small project that can be imported."""
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "__init__.py").write_text("")
    (folder / "lib" / "scale.py").write_text("FACTOR = 3\n")
    (folder / "lib" / "unrelated.py").write_text("SECRET = 1\n")
    (folder / "lib" / "helpers.py").write_text(HELPERS)
    (folder / "lib" / "model.py").write_text(textwrap.dedent(MODEL))
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs code in a new process; `ref` is the manifest that an earlier one wrote."""

    def run(code, *, cwd):
        head = """
            import pathlib, sys, warnings
            import mlflowish as mf
            from mlflowish.models import store_model, open_model
            from mlflowish.storage import ObjectRef
            store = mf.Store(sys.argv[1])
            def keep(model, **options):
                ref = store_model(store, model, **options).manifest_ref
                pathlib.Path(sys.argv[2]).write_text(f"{ref.name} {ref.size_bytes}")
            def kept():
                name, size = pathlib.Path(sys.argv[2]).read_text().split()
                return open_model(store, ObjectRef(name, int(size)))
        """
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(head) + textwrap.dedent(code))
        command = [
            sys.executable,
            "-W",
            "error",
            "-c",
            "import sys; sys.path[0] = ''; exec(open(sys.argv.pop(1)).read())",
        ]
        done = subprocess.run(
            [*command, script, tmp_path / "store", tmp_path / "ref"], cwd=cwd, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("model", ["lib.model.Scaler()", "lib.model.plain"])
def test_a_model_loads_where_its_project_is_not(project, tmp_path, run, model):
    expected = run(f"import lib.model; keep({model}); print(kept().load().predict(5))", cwd=project)
    assert run("print(kept().load().predict(5))", cwd=tmp_path) == expected


def test_the_snapshot_holds_what_is_imported_and_nothing_else(project, run):
    listed = run(
        "import lib.model, lib.unrelated; keep(lib.model.Scaler()); print(sorted(kept().manifest.code))", cwd=project
    )
    assert listed == "['lib', 'lib.helpers', 'lib.model', 'lib.scale']"


def test_stored_code_is_not_run_against_the_policy(project, tmp_path, run):
    run("import lib.model; keep(lib.model.Scaler())", cwd=project)
    code = """
        try:
            kept().load(allow_pickle=False)
        except mf.CapabilityError as error:
            print("refused", [name for name in sys.modules if name.startswith("lib")])
    """
    assert run(code, cwd=tmp_path) == "refused []"


def test_code_that_was_changed_since_is_told(project, run):
    run("import lib.model; keep(lib.model.Scaler())", cwd=project)
    (project / "lib" / "scale.py").write_text("FACTOR = 4\n")
    code = """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print(kept().load().predict(5), [str(w.message).split(" is not")[0] for w in caught])
    """
    assert run(code, cwd=project) == "20 ['The module lib.scale']"


def test_a_function_stays_what_it_was_when_its_module_changes(project, run):
    run("import lib.model; keep(lib.model.plain)", cwd=project)
    (project / "lib" / "model.py").write_text("def plain(n): return 0\n")
    code = "warnings.simplefilter('ignore'); print(kept().load().predict(5))"
    assert run(code, cwd=project) == "16"


def test_two_models_with_other_code_under_one_name_do_not_mix(project, tmp_path, run):
    run("import lib.model; keep(lib.model.Scaler())", cwd=project)
    first = (tmp_path / "ref").read_text()
    (project / "lib" / "scale.py").write_text("FACTOR = 4\n")
    run("import lib.model; keep(lib.model.Scaler())", cwd=project)
    code = f"""
        print(kept().load().predict(5))
        pathlib.Path(sys.argv[2]).write_text({first!r})
        try:
            print(kept().load().predict(5))
        except mf.CapabilityError as error:
            print("refused", error.module)
    """
    assert run(code, cwd=tmp_path).split("\n") == ["20", "refused lib.scale"]


def test_code_can_be_left_out(store):
    assert store_model(store, {"a": 1}, code=False).manifest.code == {}


def test_modules_that_are_asked_for_are_kept_too(store, project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    import lib.unrelated

    stored = store_model(store, {"a": 1}, code=[lib.unrelated])
    assert set(stored.manifest.code) == {"lib", "lib.unrelated"}
    assert bytes(stored.files().read(stored.manifest.code["lib.unrelated"])) == b"SECRET = 1\n"
    assert open_model(store, stored.manifest_ref).load() == {"a": 1}


def test_what_is_no_module_is_refused(store):
    with pytest.raises(mf.InvalidInputError, match="code= takes modules"):
        store_model(store, {}, code=["no.such.module"])


WRAPPED = """
    import functools
    import mlflowish as mf
    from lib.helpers import scaled

    @mf.step
    def step(n):
        return scaled(n)

    @functools.lru_cache
    def cached(n):
        return scaled(n)
"""


@pytest.mark.parametrize("name", ["step", "cached"])
def test_a_wrapped_function_brings_its_code(run, project, tmp_path, name):
    (project / "lib" / "model.py").write_text(textwrap.dedent(WRAPPED))
    run(f"import lib.model; keep(lib.model.{name})", cwd=project)
    assert run("mf.use(store); print(kept().load()(5), 'lib.model' in sys.modules)", cwd=tmp_path) == "15 True"
    (project / "lib" / "scale.py").write_text("FACTOR = 4\n")
    changed = """
        mf.use(store)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print(kept().load()(5), *(str(warning.message)[:20] for warning in caught))
    """
    assert run(changed, cwd=project) == "20 The module lib.scale"


def test_what_a_script_defines_of_a_scikit_learn_model_goes_with_it(run, tmp_path):
    made = """
        import numpy as np
        from sklearn.base import BaseEstimator
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        def doubled(rows):
            return np.asarray(rows) * 2

        class Summed(BaseEstimator):
            def fit(self, rows, target=None):
                self.fitted_ = True
                return self

            def predict(self, rows):
                return rows.sum(axis=1)

        keep(make_pipeline(FunctionTransformer(doubled), Summed()).fit([[1.0, 2.0]]))
    """
    run(made, cwd=tmp_path)
    asked = """
        def doubled(rows):
            return "another one"

        print(kept().load().predict([[1.0, 2.0]]).tolist())
    """
    assert run(asked, cwd=tmp_path) == "[6.0]"
