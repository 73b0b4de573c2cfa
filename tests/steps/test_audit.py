"""What runs without the code showing it becomes an observed dependency (Python 3.12 and later)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import mlflowish as mf

PLUGIN = "def work(x):\n    return x + {n}\n\n\nPLUGINS = None\n"
MAIN = """
import sys, warnings
import mlflowish as mf
import plugin
warnings.simplefilter("ignore")
mf.use(sys.argv[1])

class Registry:
    def find(self, name):
        return sys.modules["plu" + "gin"].__dict__[name]

@mf.step
def run(x, name):
    import operator
    module = operator.getitem(sys.modules, "plu" + "gin")
    return operator.attrgetter(name)(module)(x)

call = run.call(1, "wo" + "rk")
print(call.value, call.hit)
"""


def _run(folder, seed):
    command = [sys.executable, "main.py", str(folder / "store")]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
def test_an_edit_of_a_function_that_only_runs_is_seen(tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "plugin.py").write_text(PLUGIN.format(n=1))
    assert _run(tmp_path, "1") == ["2", "False"]
    assert _run(tmp_path, "2") == ["2", "True"]
    (tmp_path / "plugin.py").write_text(PLUGIN.format(n=5))
    assert _run(tmp_path, "3") == ["6", "False"]


def test_a_function_that_came_in_as_an_argument_is_no_surprise(tmp_path):
    def helper(x):
        return x + 1

    @mf.step
    def apply(function, x):
        return function(x)

    with mf.Store(tmp_path / "s"):
        assert apply(helper, 1) == 2  # a warning would be an error here
        assert apply.call(helper, 1).hit


def test_a_step_that_calls_a_step_depends_on_what_that_one_declares(tmp_path):
    def make(version):
        @mf.step(version=version)
        def inner(x):
            return x

        @mf.step
        def outer(x):
            return inner(x)

        return outer

    with mf.Store(tmp_path / "s"):
        make(1)(5)
        assert make(1).call(5).hit
        assert not make(2).call(5).hit
