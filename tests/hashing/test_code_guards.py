"""A fingerprint stands as long as everything that it was taken from is what it was, and not a moment longer."""

from __future__ import annotations

import functools
import gc
import importlib
import linecache
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflowish.hashing.fingerprint import Fingerprint, code_identity, fingerprint

Load = Callable[..., types.ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Writes modules into a folder of their own and imports the last one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**sources: str) -> types.ModuleType:
        for name, text in sources.items():
            (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(list(sources)[-1])

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", "") and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def changes(old: Fingerprint, function: Any) -> bool:
    """Whether the guards fail, and a new walk gives another digest."""
    new = fingerprint(function)
    assert old.holds() == (old.digest == new.digest)
    return old.digest != new.digest


BASE = """
import builtins
K = 1
CFG = {"a": [1]}
def low(x): return x + 1
def h(x, *, k=1): return low(x) + k + CFG["a"][0]
class A:
    n = 1
    def m(self): return self.n
class B(A): pass
OBJ = B()
TABLE = {"h": h}
def f(x): return h(x) + K + OBJ.m() + TABLE["h"](x) + len([x])
"""


@pytest.mark.parametrize(
    "change",
    [
        "m.K = 2",
        "m.CFG['a'].append(2)",
        "m.CFG['b'] = 1",
        "m.low = lambda x: x + 2",
        "m.low.__code__ = (lambda x: x + 2).__code__",
        "m.h.__kwdefaults__['k'] = 2",
        "m.h.__kwdefaults__ = {'k': 3}",
        "m.A.n = 2",
        "m.A.m = lambda self: 5",
        "m.B.m = lambda self: 5",
        "m.B.__bases__ = (type('C', (), {'m': lambda self: 7}),)",
        "m.OBJ.n = 9",
        "m.OBJ.m = lambda: 9",
        "m.TABLE['h'] = m.low",
        "m.TABLE.clear()",
        "del m.K",
        "m.len = lambda v: 3",
        "m.OBJ = m.A()",
    ],
)
def test_a_change_at_run_time_is_seen(load: Load, change: str) -> None:
    m = load(base=BASE)
    old = fingerprint(m.f)
    assert old.holds()
    exec(change, {"m": m})
    assert changes(old, m.f)


@pytest.mark.parametrize(
    "change",
    [
        "m.UNUSED = 1",
        "m.unused = lambda: 1",
        "m.K = 2; m.K = 1",
        "m.f.note = 'x'",
        "m.low.__doc__ = 'text'",
        "m.low.__name__ = 'other'",
    ],
)
def test_a_change_that_cannot_matter_keeps_the_digest(load: Load, change: str) -> None:
    m = load(base=BASE)
    old = fingerprint(m.f)
    exec(change, {"m": m})
    assert fingerprint(m.f).digest == old.digest


def test_what_was_changed_back_gives_the_old_digest_again(load: Load) -> None:
    m = load(base=BASE)
    old = fingerprint(m.f)
    kept = m.low
    m.low = lambda x: 0
    assert not old.holds()
    m.low = kept
    assert old.holds()
    assert fingerprint(m.f).digest == old.digest


def test_a_reloaded_module_is_seen(load: Load, tmp_path: Path) -> None:
    m = load(lib="def h(x): return x + 1\n", app="import lib\ndef f(x): return lib.h(x)\n")
    old = fingerprint(m.f)
    (tmp_path / "lib.py").write_text("# a longer text than before\ndef h(x): return x + 2\n")
    assert old.holds(), "an edit of the file changes nothing that runs"
    importlib.reload(m.lib)
    assert changes(old, m.f)


def test_an_edit_after_import_does_not_count_until_it_runs(load: Load, tmp_path: Path) -> None:
    m = load(app="def h(x):\n    return x + 1\n\ndef f(x):\n    return h(x)\n")
    (tmp_path / "app.py").write_text("def h(x):\n    return x + 2\n\ndef f(x):\n    return h(x)\n")
    edited = fingerprint(m.f)
    (tmp_path / "app.py").write_text("def h(x):\n    return x + 1\n\ndef f(x):\n    return h(x)\n")
    assert m.f(1) == 2
    fresh = types.ModuleType("fresh")
    exec(compile("def h(x):\n    return x + 2\n\ndef f(x):\n    return h(x)\n", "<nowhere>", "exec"), fresh.__dict__)
    assert edited.digest != fingerprint(fresh.f).digest


def test_lines_that_moved_after_import_keep_the_digest(load: Load, tmp_path: Path) -> None:
    text = "def h(x):\n    return x + 1\n\ndef f(x):\n    return h(x)\n"
    m = load(app=text)
    (tmp_path / "app.py").write_text("# a new first line\n\n" + text)
    late = fingerprint(m.f).digest
    other = load(app2=text)
    assert late == fingerprint(other.f).digest


def test_a_name_defined_later_is_seen(load: Load) -> None:
    m = load(app="def f(x):\n    return late(x)\n")
    old = fingerprint(m.f)
    m.late = lambda x: x
    assert changes(old, m.f)


def test_a_closure_variable_filled_later_is_seen() -> None:
    def make() -> tuple[Any, Any]:
        def f(x: int) -> Any:
            return value

        first = fingerprint(f)
        value = 3
        return f, first

    f, first = make()
    assert changes(first, f)


def test_two_closures_of_one_factory_differ_and_stay_apart() -> None:
    def make(k: int) -> Any:
        def inner(x: int) -> int:
            return x * k

        return inner

    two, three, again = make(2), make(3), make(2)
    assert fingerprint(two).digest != fingerprint(three).digest
    assert fingerprint(two).digest == fingerprint(again).digest


def test_a_new_object_at_an_old_address_is_not_taken_for_the_old_one(load: Load) -> None:
    m = load(app="class C:\n    pass\nK = C()\nK.v = 0\ndef f(x):\n    return K.v\n")
    old = fingerprint(m.f)
    for value in range(1, 10):
        m.K = None
        gc.collect()
        m.K = m.C()
        m.K.v = value
        assert not old.holds()


def test_a_singledispatch_registration_at_run_time_is_seen() -> None:
    @functools.singledispatch
    def h(x: Any) -> int:
        return 0

    def f(x: int) -> int:
        return h(x)

    old = fingerprint(f)
    h.register(int, lambda x: 1)
    assert changes(old, f)


def test_calls_of_a_singledispatch_function_do_not_disturb() -> None:
    @functools.singledispatch
    def h(x: Any) -> int:
        return 0

    def f(x: int) -> int:
        return h(x)

    old = fingerprint(f)
    f(1)
    assert old.holds()


def test_a_subclass_made_later_is_seen_where_subclasses_are_asked_for(load: Load) -> None:
    m = load(app="class B:\n    pass\ndef f(x):\n    return len(B.__subclasses__())\n")
    old = fingerprint(m.f)
    made = type("C", (m.B,), {"__module__": "app"})
    assert changes(old, m.f)
    del made


def test_an_array_changed_in_place_is_seen(load: Load) -> None:
    m = load(app="import numpy as np\nW = np.arange(4)\ndef f(x):\n    return int(W.sum()) + x\n")
    old = fingerprint(m.f)
    m.W[0] = 9
    assert changes(old, m.f)


def test_a_module_imported_in_the_body_counts_the_same_before_and_after_loading(load: Load) -> None:
    m = load(
        lib="import math\nK = 3\nD = {'a': 1}\nC = math.floor(2.5)\ndef h(x):\n    return x + K + C + D['a']\n",
        app="def f(x):\n    from lib import h\n    import lib as other\n    return h(x) + other.K\n",
    )
    sys.modules.pop("lib", None)
    before = fingerprint(m.f)
    assert m.f(1) == 10
    assert "lib" in sys.modules
    assert fingerprint(m.f).digest == before.digest


@pytest.mark.parametrize("change", ["K = 4", "D['a'] = 5", "h = lambda x: 0", "A.m = lambda self: 5"])
def test_a_module_imported_in_the_body_and_patched_is_seen(load: Load, change: str) -> None:
    m = load(
        lib="K = 3\nD = {'a': 1}\nclass A:\n    def m(self):\n        return 1\n"
        "def h(x):\n    return x + K + D['a'] + A().m()\n",
        app="def f(x):\n    from lib import h\n    return h(x)\n",
    )
    m.f(1)
    old = fingerprint(m.f)
    exec(change, sys.modules["lib"].__dict__)
    assert changes(old, m.f)


def test_a_file_edited_before_it_is_loaded_is_seen(load: Load, tmp_path: Path) -> None:
    m = load(app="def f(x):\n    import soon\n    return soon.h(x)\n")
    (tmp_path / "soon.py").write_text("def h(x): return x + 1\n")
    old = fingerprint(m.f)
    (tmp_path / "soon.py").write_text("def h(x): return x + 1000\n")
    assert changes(old, m.f)


def test_a_walk_imports_nothing_of_the_project(load: Load, tmp_path: Path) -> None:
    (tmp_path / "bomb.py").write_text("raise SystemExit('imported')\n")
    m = load(app="def f(x):\n    if x:\n        import bomb\n    return 1\n")
    fingerprint(m.f)
    assert "bomb" not in sys.modules


def _cell(namespace: dict[str, Any], number: int, text: str) -> None:
    """Runs a cell as a notebook does: compiled from text that only `linecache` knows."""
    name = f"<ipython-input-{number}-{abs(hash(text)):x}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), namespace)


def test_cells_of_a_notebook_run_again_and_redefined() -> None:
    notebook: dict[str, Any] = {"__name__": "__main__"}
    _cell(notebook, 1, "K = 1\ndef h(x):\n    return x + K\n")
    _cell(notebook, 2, "def f(x):\n    return h(x)\n")
    first = fingerprint(notebook["f"])
    _cell(notebook, 3, "K = 1\n\n# the same cell again, with a comment\ndef h(x):\n    return x + K\n")
    assert not first.holds()
    again = fingerprint(notebook["f"])
    assert again.digest == first.digest
    assert all("bytecode" not in part.describe() for part in again.parts)
    _cell(notebook, 4, "K = 2\n")
    assert changes(again, notebook["f"])
    _cell(notebook, 5, "K = 1\ndef f(x):\n    return h(x) * 2\n")
    assert fingerprint(notebook["f"]).digest != first.digest


def test_the_identity_of_a_class_follows_its_changes(load: Load) -> None:
    m = load(app="class A:\n    def m(self):\n        return 1\n")
    old = code_identity(m.A, "a")
    assert code_identity(m.A, "a") == old
    m.A.m = lambda self: 2
    assert code_identity(m.A, "a") != old


def test_the_identity_of_a_function_includes_its_defaults() -> None:
    def make(k: int) -> Any:
        def h(x: int, n: int = k) -> int:
            return x + n

        return h

    assert code_identity(make(1), "h") == code_identity(make(1), "h")
    assert code_identity(make(1), "h") != code_identity(make(2), "h")


def test_guards_are_cheap_to_pickle_away_from_and_safe_in_threads(load: Load) -> None:
    import concurrent.futures

    m = load(base=BASE)
    found = fingerprint(m.f)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: found.holds(), range(200)))
