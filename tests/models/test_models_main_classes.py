"""Classes of a script or notebook: a model stays what it was when what they use changes. Loading changes none."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAD = """
import json, sys
import numpy as np
import mlflowish as mf

mf.use(sys.argv[1])
FACTOR = 2


def helped(rows):
    return [n * 2 for n in rows]


class Scaled:
    def predict(self, rows):
        return [n * FACTOR for n in rows]


class Fitted(Scaled):
    limit = 1


class Helped:
    def predict(self, rows):
        return helped(rows)


def through(rows):
    return Fitted().predict(rows)
"""


@pytest.fixture
def run(tmp_path):
    """Run code after what the script defines, in a process of its own; gives what it says as JSON at its end."""

    def run(code, head=HEAD):
        script = tmp_path / "script.py"
        script.write_text(head + code, encoding="utf-8")
        command = [sys.executable, str(script), str(tmp_path / "store")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


KEEP = """
for name, model in {"one": Scaled(), "two": {"a": Fitted(), "b": Scaled()}, "helped": Helped(), "f": through}.items():
    mf.register_model(name, model)
"""
ASK = """
two = mf.load_model("two")
said = [mf.load_model(name).predict([1]) for name in ("one", "helped", "f")]
said += [two[name].predict([1]) for name in "ab"] + [isinstance(two["a"], type(two["b"]))]
"""


CHANGE = """
FACTOR = 50

def helped(rows):
    return []
"""


def test_what_its_classes_use_may_change_and_the_model_does_not(run):
    same, changed, alive = run(
        f"""
{KEEP}
same = [isinstance(mf.load_model("one"), Scaled), isinstance(mf.load_model("two")["a"], Fitted)]
{CHANGE}
{ASK}
alive = [Scaled().predict([1]), Fitted().predict([1]), through([1]), Scaled.predict.__globals__ is globals()]
print(json.dumps([same, said, alive]))
"""
    )
    assert same == [True, True]
    assert changed == [[2], [2], [2], [2], [2], True]
    assert alive == [[50], [50], [50], True]


def test_a_script_that_was_edited_loads_what_it_stored(run):
    run(KEEP + "print(0)")
    said = run(ASK + 'print(json.dumps([*said, isinstance(mf.load_model("one"), Scaled)]))')
    assert said == [[2], [2], [2], [2], [2], True, True]
    edited = HEAD.replace("FACTOR = 2", "FACTOR = 50").replace("n * 2", "n * 7")
    assert run(ASK + "print(json.dumps(said))", head=edited) == [[2], [2], [2], [2], [2], True]


def test_classes_that_cannot_be_stored_are_used_as_they_are_with_a_warning(run):
    said = run(
        """
import threading, warnings

class Locked:
    def predict(self, rows):
        with LOCK:
            return [n * FACTOR for n in rows]

LOCK = threading.Lock()
mf.register_model("locked", Locked())
FACTOR = 50
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    said = mf.load_model("locked").predict([1])
print(json.dumps([said, [warning.category.__name__ for warning in seen]]))
"""
    )
    assert said == [[50], ["ModelWarning"]]


def test_a_module_of_pytorch_neither_changes_nor_changes_its_class(run):
    pytest.importorskip("torch", reason="PyTorch is not installed; it is too large for the test extra")
    said = run(
        """
import torch

class Net(torch.nn.Module):
    def forward(self, rows):
        return rows * FACTOR

def asked(model):
    return model(torch.ones(1)).tolist()

mf.register_model("net", Net())
same = isinstance(mf.load_model("net"), Net)
FACTOR = 50
mf.register_model("net", Net())
old, new = mf.load_model("net", version=1), mf.load_model("net", version=2)
print(json.dumps([same, asked(old), asked(new), asked(Net()), isinstance(new, Net)]))
"""
    )
    assert said == [True, [2], [50], [50], True]
