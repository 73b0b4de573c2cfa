"""Closed pipelines against the truth: bodies and arguments at random, in processes with other seeds of hashes.

Two calls of one closed key do the same work, whatever they were given and wherever they run, or one of them would get
the result of the other. A call that gives back what a pipeline did gives what it would do on a store of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pipeline_bodies
import pytest

from mlflowish.pipelines import allowed, closed, passing

LONG = [pytest.param(seed, 120, marks=pytest.mark.nightly) for seed in range(10, 22)]


def written(folder: Path, seed: int, bodies: int, *, lines_above: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    text = pipeline_bodies.module_text(seed, bodies)
    (folder / f"bodies_{seed}.py").write_text("\n" * lines_above + text)
    return folder


def started(what: str, folder: Path, seed: int, bodies: int, *, hashes: int):
    """Another process that says what the bodies in a folder do."""
    command = [sys.executable, pipeline_bodies.__file__, what, str(folder), str(seed), str(bodies)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hashes)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told_by(process):
    out, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors
    return json.loads(out)


def wrong(found):
    """The calls that would get the result of a call that did something else."""
    calls = defaultdict(list)
    for call, key, records, what in found:
        if key is not None:
            calls[key].append((call, records, what))
    return [
        sorted(set(same))
        for same in calls.values()
        if any(records for _, records, _ in same) and len({what for *_, what in same}) > 1
    ]


@pytest.mark.parametrize(("seed", "bodies"), [(1, 14), *LONG])
def test_calls_of_one_closed_key_do_the_same_work(tmp_path, seed, bodies):
    folders = [written(tmp_path / "a", seed, bodies), written(tmp_path / "b", seed, bodies, lines_above=3)]
    processes = [started("facts", folder, seed, bodies, hashes=n) for n, folder in enumerate(folders, 1)]
    found = [told_by(process) for process in processes]
    assert wrong(found[0] + found[1]) == []
    recorded = [{key for _, key, records, _ in facts if records} for facts in found]
    assert len(recorded[0] & recorded[1]) > 10  # both processes would pass them, and there are enough of them
    assert any(key is None for _, key, *_ in found[0])


@pytest.mark.parametrize(("seed", "bodies"), [(2, 2), *LONG[:4]])
def test_what_was_recorded_elsewhere_is_what_a_run_gives(tmp_path, seed, bodies):
    bodies = min(bodies, 40)
    folder = written(tmp_path / "a", seed, bodies)
    for hashes in (1, 2):
        for call, from_store, without in told_by(started("results", folder, seed, bodies, hashes=hashes)):
            assert from_store == without, call


def no_rules(monkeypatch):
    monkeypatch.setattr(passing, "closed_body", lambda *_: closed.Closed(frozenset(), ""))


def any_change(monkeypatch):
    monkeypatch.setattr(allowed.Reading, "_is_owned", lambda *_: True)


def any_number(monkeypatch):
    monkeypatch.setattr(passing, "are_plain", lambda *_: True)


def any_is(monkeypatch):
    monkeypatch.setattr(allowed, "_is_singleton", lambda *_: True)


def any_text(monkeypatch):
    monkeypatch.setattr(closed, "HARMFUL", ())


@pytest.mark.parametrize(
    ("mistake", "seed", "bodies"),
    [
        (no_rules, 5, 14),
        *(
            pytest.param(mistake, 5, 150, marks=pytest.mark.nightly)
            for mistake in (any_change, any_number, any_is, any_text)
        ),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.filterwarnings("ignore")
def test_a_mistake_in_the_rules_would_be_found(tmp_path, monkeypatch, mistake, seed, bodies):
    folder = written(tmp_path, seed, bodies)
    (folder / f"bodies_{seed}.py").rename(folder / f"bodies_{mistake.__name__}.py")
    mistake(monkeypatch)
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module(f"bodies_{mistake.__name__}")
    places = [*random.Random(seed).sample(range(28), 4), *range(28, 34)]
    found = [fact for _ in range(2) for fact in pipeline_bodies.facts(module, bodies, lambda _: places)]
    assert wrong(found)
