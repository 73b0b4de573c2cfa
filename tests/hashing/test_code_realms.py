"""Whose code a module is, the project's or a library's, also where it is not loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, sys
from mlflowish.hashing.packages import realm_of_module
names = ["numpy.linalg", "mlflowish.testing.executor_suite", "colorsys", "mine", "mine.inner", "space.inner", "nowhere"]
names.append("__main__")
before = set(sys.modules)
found = {name: realm_of_module(name) for name in names}
top = {name.partition(".")[0] for name in set(sys.modules) - before}
import numpy.linalg, mlflowish.testing.executor_suite, colorsys, mine.inner, space.inner
print(json.dumps([found, {name: realm_of_module(name) for name in names}, sorted(top.intersection(names))]))
"""


def test_a_module_that_is_not_loaded_is_where_it_would_be_if_it_were(tmp_path: Path) -> None:
    """A function that travels by value to a process that has not imported its module is of the same code there."""
    for name in ("mine", "space"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "inner.py").write_text("")
    (tmp_path / "mine" / "__init__.py").write_text("")
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, loaded, imported = json.loads(done.stdout)
    assert found == loaded
    assert found == {
        "numpy.linalg": "package",
        "mlflowish.testing.executor_suite": "stdlib",
        "colorsys": "stdlib",
        "mine": "project",
        "mine.inner": "project",
        "space.inner": "project",
        "nowhere": "project",
        "__main__": "project",
    }
    assert imported == []
