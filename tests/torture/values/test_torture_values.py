"""The torture suite of values: every group in two fresh processes with different hash seeds, and in other Pythons."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from evaluate import all_groups

HERE = Path(__file__).parent
GROUPS = dict(all_groups())
Digests = dict[str, list[list[str | None]]]

# Here pickling loses something: numpy the attributes of a view, pyarrow whether the keys of a map type are sorted, and
# standard classes what a subclass added.
LOSSY = {
    "numpy_values: subclasses of arrays",
    "arrow_values: types",
    "object_values: attributes that a standard base forgets",
}


def evaluated(python: str, hash_seed: str, *options: str) -> Digests:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [python, "-W", "ignore", str(HERE / "evaluate.py"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    digests: Digests = json.loads(done.stdout)
    return digests


@pytest.fixture(scope="session")
def first(once_a_run: Callable[..., Digests]) -> Digests:
    return once_a_run("values-1", lambda _: evaluated(sys.executable, "1"))


@pytest.fixture(scope="session")
def second(once_a_run: Callable[..., Digests]) -> Digests:
    return once_a_run("values-2", lambda _: evaluated(sys.executable, "2"))


def own(digests: list[list[str | None]]) -> list[str | None]:
    return [digest[0] for digest in digests]


@pytest.mark.parametrize("name", GROUPS)
def test_values_that_are_alike_share_a_digest_and_distinct_ones_do_not(
    name: str, first: Digests, second: Digests
) -> None:
    here, there = own(first[name]), own(second[name])
    assert all(digest is not None and len(digest) == 32 for digest in here)
    if GROUPS[name].alike:
        assert set(here) == set(there) == {here[0]}
    else:
        assert len({*here, *there}) == len(here)


@pytest.mark.parametrize("name", GROUPS)
def test_a_fresh_process_gives_the_same_digests(name: str, first: Digests, second: Digests) -> None:
    assert first[name] == second[name]


@pytest.mark.parametrize("name", [name for name in GROUPS if name not in LOSSY])
def test_a_pickled_or_copied_value_keeps_its_digest(name: str, first: Digests) -> None:
    for digest, pickled, copied in first[name]:
        assert pickled in (digest, None)
        assert copied in (digest, None)


def test_the_suite_is_as_large_as_it_claims() -> None:
    assert sum(group.pairs for group in GROUPS.values()) >= 6000


def test_other_pythons_agree() -> None:
    others = [python for python in map(shutil.which, ("python3.11", "python3.12", "python3.13")) if python]
    able = [python for python in others if can_run(python)]
    if not able:
        pytest.skip("no other Python on PATH has the project and its test extras installed")
    here = evaluated(sys.executable, "1", "named")
    for python in able:
        assert evaluated(python, "3", "named") == here


def can_run(python: str) -> bool:
    needed = "mlflowish, attrs, networkx, numpy, pandas, polars, pyarrow, pydantic, scipy, sklearn"
    check = f"import sys, {needed}; print(sys.version_info[:2])"
    done = subprocess.run([python, "-c", check], capture_output=True, text=True, timeout=120)
    return done.returncode == 0 and done.stdout.strip() != str(sys.version_info[:2])
