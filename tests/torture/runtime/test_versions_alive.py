"""Two versions of a function alive at once, globals that change while threads call, classes that go, odd clocks."""

from __future__ import annotations

import sys
import threading
import time
import types

import pytest
import runtime_steps as steps
from processes import finish, run, start

import mlflowish as mf

PROJECT = """
import mlflowish as mf

FACTOR = {factor}

class Box:
    def __init__(self, x):
        self.x = x
    def value(self):
        return self.x * {inner}

def helper(x):
    return x * FACTOR

@mf.step(name="project.scaled")
def scaled(x):
    return helper(x)

@mf.step(name="project.boxed")
def boxed(x):
    return Box(x){method}
"""


def module(source, name="versioned"):
    """A module made of source that also stands in a file, as real ones do."""
    made = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), vars(made))
    return made


def test_two_versions_in_one_process_each_get_their_own_results(root):
    two, three = (module(PROJECT.format(factor=factor, inner=1, method=".value()")) for factor in (2, 3))
    with mf.Store(root):
        for x in range(10):
            assert (two.scaled(x), three.scaled(x)) == (2 * x, 3 * x)
        for x in range(10):
            calls = two.scaled.call(x), three.scaled.call(x)
            assert [(call.value, call.hit) for call in calls] == [(2 * x, True), (3 * x, True)]


def test_two_versions_in_two_processes_at_once_each_get_their_own_results(root, tmp_path):
    code = """
import json, sys
sys.path.insert(0, sys.argv[2])
import project, mlflowish as mf
mf.use(sys.argv[1])
values = []
for _ in range(30):
    values.append([project.scaled(x) for x in range(20)])
print(json.dumps([value == [x * project.FACTOR for x in range(20)] for value in values]))
"""
    running = []
    for factor in (2, 3, 2, 3):
        folder = tmp_path / f"version{factor}"
        folder.mkdir(exist_ok=True)
        (folder / "project.py").write_text(PROJECT.format(factor=factor, inner=1, method=".value()"))
        running.append(start(code, root, folder, seed=factor))
    assert [finish(process) for process in running] == [[True] * 30] * 4


def test_a_redefined_helper_global_or_method_is_seen_at_the_next_call(root):
    project = module(PROJECT.format(factor=2, inner=5, method=".value()"))
    with mf.Store(root):
        assert (project.scaled(3), project.boxed(3)) == (6, 15)
        project.FACTOR = 4
        assert project.scaled(3) == 12
        project.helper = lambda x: -x
        assert project.scaled(3) == -3
        project.Box.value = lambda self: self.x * 7
        assert project.boxed(3) == 21
        del project.Box.value
        with pytest.raises(AttributeError):
            project.boxed(3)


@pytest.mark.parametrize("seconds", [1.5, pytest.param(30.0, marks=pytest.mark.nightly)])
def test_sixteen_threads_never_see_a_stale_value_while_globals_change(root, seconds):
    """A call that ran wholly under one setting gives its value; one that met changes, that of any of them."""
    project = module("import mlflowish as mf\nSETTING = 0\n@mf.step\ndef f(x):\n    return x * 1_000 + SETTING\n")
    stop, wrong, interval = time.monotonic() + seconds, [], sys.getswitchinterval()

    def work(seed):
        number = seed
        while time.monotonic() < stop:
            number = (number * 31 + 7) % 50
            before = project.SETTING
            value = project.f(number)
            after = project.SETTING
            if value - number * 1_000 not in range(before, after + 1):
                wrong.append((before, value, after))

    sys.setswitchinterval(1e-5)
    try:
        with mf.Store(root) as store:
            mf.use(store)
            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
            for thread in threads:
                thread.start()
            while time.monotonic() < stop:
                project.SETTING += 1
                time.sleep(0.005)
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    with mf.Store(root):
        assert project.f(1) == 1_000 + project.SETTING


def test_sixteen_threads_on_one_key_all_get_the_right_value(root, log):
    found, together = [], threading.Barrier(16)

    def work(store):
        with store:
            together.wait()
            found.append(steps.shown(steps.tree(9)))

    store = mf.Store(root)
    threads = [threading.Thread(target=work, args=(store,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [steps.shown(steps.tree.fn(9))] * 16
    with store:
        assert steps.tree.call(9).hit


def test_a_value_whose_class_was_renamed_is_computed_again(root, tmp_path):
    code = """
import json, sys, warnings
sys.path.insert(0, sys.argv[2])
import project, mlflowish as mf
with mf.Store(sys.argv[1]), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    call = project.make.call(4)
print(json.dumps([type(call.value).__name__, call.value.x, call.hit, [str(w.message) for w in caught]]))
"""
    source = """
import mlflowish as mf
from shapes import make_shape
@mf.step(name="make", ignore="maker")
def make(x, maker=make_shape):
    return maker(x)
"""
    shapes = "class {name}:\n    def __init__(self, x):\n        self.x = x\ndef make_shape(x):\n    return {name}(x)\n"
    # Installed code counts by its version, which does not change here: so the key stays, and the class is gone.
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (tmp_path / "project.py").write_text(source)
    (installed / "shapes.py").write_text(shapes.format(name="Circle"))
    search = {"PYTHONPATH": f"{tmp_path}:{installed}"}
    assert run(code, root, tmp_path, env=search) == ["Circle", 4, False, []]
    assert run(code, root, tmp_path, env=search) == ["Circle", 4, True, []]
    (installed / "shapes.py").write_text(shapes.format(name="Disc"))
    kind, x, hit, told = run(code, root, tmp_path, env=search)
    assert (kind, x, hit) == ("Disc", 4, False)
    assert "Circle" in " ".join(told)
    assert run(code, root, tmp_path, env=search) == ["Disc", 4, True, []]


def test_a_clock_that_runs_backwards_changes_no_answer(root, monkeypatch):
    real = time.time
    with mf.Store(root) as store:
        for shift in (0, -86_400, 86_400 * 365, -86_400 * 3_650):
            monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
            assert steps.inline(1)["value"] == 101
            assert steps.inline(shift)["value"] == 100 + shift
        monkeypatch.setattr(time, "time", real)
        store.compact()
        assert all(steps.inline.call(x).hit for x in (0, 1, -86_400, 86_400 * 365, -86_400 * 3_650))
    store.close()


def test_a_result_of_the_future_still_expires_some_day(root, monkeypatch):
    """With `max_age`, the one thing that asks the clock: a result dated ahead of now is not kept for ever."""

    @mf.step(max_age=60)
    def clocked(x):
        return x

    real = time.time
    with mf.Store(root):
        monkeypatch.setattr(time, "time", lambda: real() + 86_400)
        clocked(1)
        monkeypatch.setattr(time, "time", real)
        assert not clocked.call(1).hit
