"""Explanations name what differs, with old and new, and hide what is secret."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import mlflowish as mf

LIB = """
RATE = {rate}
API_TOKEN = "{token}"

class Scaler:
    def apply(self, x):
        return x * {factor}

def helper(x):
    return x + {offset} + len(API_TOKEN) * 0
"""
MAIN = """
import sys
import mlflowish as mf
import lib
mf.use("store")

@mf.step
def train(x, lr=0.1):
    return lib.Scaler().apply(lib.helper(x)) * lib.RATE

if sys.argv[1] == "run":
    train(1)
explanation = train.explain(1)
print(explanation.hit)
for difference in explanation.differences:
    print(difference.kind, difference.name)
print("----")
print(explanation)
"""
DEFAULTS = {"rate": 2, "token": "tok-aaaa", "factor": 3, "offset": 1}


def _explained(folder, mode, **changed):
    (folder / "lib.py").write_text(LIB.format(**{**DEFAULTS, **changed}))
    (folder / "main.py").write_text(MAIN)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "main.py", mode]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    head, _, text = done.stdout.partition("----\n")
    return head.split("\n")[:-1], text


@pytest.mark.parametrize(
    ("changed", "expected", "shown"),
    [
        ({"rate": 7}, "value lib.RATE", "2 -> 7"),
        ({"offset": 9}, "function lib.helper", "+    return x + 9"),
        ({"factor": 8}, "function lib.Scaler.apply", "x * 8"),
        ({"token": "tok-bbbb"}, "value lib.API_TOKEN", "API_TOKEN"),
    ],
)
def test_the_changed_dependency_is_named_with_old_and_new(tmp_path, changed, expected, shown):
    assert _explained(tmp_path, "run")[0] == ["True"]
    lines, text = _explained(tmp_path, "look", **changed)
    assert lines[0] == "False"
    assert expected in lines
    assert shown in text
    assert "tok-" not in text


def test_secrets_of_the_code_are_not_stored(tmp_path):
    _explained(tmp_path, "run")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"tok-aaaa" not in stored


@pytest.fixture
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


def test_the_changed_argument_is_named(store):
    @mf.step
    def train(x, lr=0.1, api_key=""):
        return x

    train([1, 2], api_key="very-secret")
    explanation = train.explain([1, 2], lr=0.5, api_key="very-secret")
    assert [(d.kind, d.name, d.old, d.new) for d in explanation.differences] == [("argument", "lr", "0.1", "0.5")]
    assert "very-secret" not in str(train.explain([1, 2], api_key="other-secret"))


def test_the_same_arguments_under_other_code_are_the_nearest(store):
    def make(n):
        @mf.step(name="f")
        def f(x):
            return x + n

        return f

    make(1).map([1, 2])
    make(2)(1)
    kinds = {difference.kind for difference in make(2).explain(2).differences}
    assert kinds == {"value"}


def test_a_first_call_a_hit_and_an_uncacheable_call_say_so(store):
    @mf.step
    def f(x):
        return x

    assert "nothing of this step is stored" in f.explain(1).reason
    f(1)
    assert f.explain(1).hit
    assert "x[0]" in f.explain([open]).reason or "x[0]" in f.explain([(i for i in ())]).reason
