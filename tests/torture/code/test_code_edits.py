"""Every edit of code that matters is seen, and no other: see `cases_*.py` for the cases."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import runner
from cases import Case

sys.path.pop(0)

_GROUPS = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))


def _load(group: str) -> list[Case]:
    spec = importlib.util.spec_from_file_location(group, Path(__file__).with_name(f"{group}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return [case for case in module.cases.all if sys.version_info >= case.minimum]


_ALL = {group: _load(group) for group in _GROUPS}
_EVERY = [(group, case) for group in _GROUPS for case in _ALL[group]]
_PARAMETERS = [pytest.param(group, case, id=f"{group[6:]}: {case.name}") for group, case in _EVERY]
_FORESEEN = [parameter for parameter in _PARAMETERS if not parameter.values[1].observed]  # type: ignore[attr-defined]


# The cases that need a library are a group of their own, whose processes import it once for all of them.
_TOGETHER = {group: [case for case in _ALL[group] if not case.needs] for group in _GROUPS}
_TOGETHER["libraries"] = [case for _, case in _EVERY if case.needs]


@pytest.fixture(scope="session")
def outcomes(once_a_run: Any) -> Any:
    """The outcome of a case, which is run with those of its group when the first of them asks."""
    known: dict[tuple[str, str], dict[str, runner.Outcome]] = {}

    def of(group: str, case: Case, mode: str) -> runner.Outcome:
        name = "libraries" if case.needs else group
        if (name, mode) not in known:
            known[name, mode] = once_a_run(f"{name}-{mode}", lambda folder: runner.run(_TOGETHER[name], folder, mode))
        return known[name, mode][case.name]

    return of


@pytest.mark.parametrize(("group", "case"), _FORESEEN)
def test_an_edit_costs_a_result_exactly_when_it_may_change_it(outcomes: Any, group: str, case: Case) -> None:
    found = outcomes(group, case, "fingerprint")
    for side in ("first", "again", "edited"):
        assert "error" not in found[side], found[side]["error"]
    assert found["first"]["digest"] == found["again"]["digest"], f"{found['first']}\n{found['again']}"
    assert found["first"]["held"], "guards fail although nothing changed"
    if not case.stateful:
        assert found["first"]["after"] == found["first"]["digest"], "the call itself changed the fingerprint"
    same = found["first"]["digest"] == found["edited"]["digest"]
    if not case.opaque_result and found["first"]["result"] != found["edited"]["result"]:
        assert case.expect == "MISS", f"the case is wrong: results differ: {found}"
    assert ("HIT" if same else "MISS") == case.expect, f"{found['first']}\n{found['edited']}"


def test_there_are_enough_cases_and_their_names_are_distinct() -> None:
    names = [(group, case.name) for group, cases in _TOGETHER.items() for case in cases]
    assert len(names) >= 150
    assert len(set(names)) == len(names)


_SAMPLED = [*_EVERY[::13], *(pair for pair in _EVERY if pair[1].observed and pair not in _EVERY[::13])]


@pytest.fixture(scope="session")
def sampled(once_a_run: Any) -> Any:
    return once_a_run("edits-sample", lambda folder: runner.run([case for _, case in _SAMPLED], folder, "step"))


def _hits_exactly_when_it_may(found: runner.Outcome, case: Case) -> None:
    for side in ("first", "again", "edited"):
        assert "error" not in found[side], found[side]["error"]
    assert not found["first"]["hit"]
    assert found["first"]["uncacheable"] is None, found["first"]
    if found["first"].get("raised"):
        assert not found["edited"]["hit"]
        return
    assert found["again"]["hit"], "the same code in another process must read the result back"
    assert found["again"]["result"] == found["first"]["result"] or case.opaque_result
    assert ("HIT" if found["edited"]["hit"] else "MISS") == case.expect


@pytest.mark.nightly
@pytest.mark.parametrize(("group", "case"), _PARAMETERS)
def test_a_step_hits_exactly_when_it_may(outcomes: Any, group: str, case: Case) -> None:
    _hits_exactly_when_it_may(outcomes(group, case, "step"), case)


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{group[6:]}: {case.name}") for group, case in _SAMPLED])
def test_a_sample_of_steps_hits_exactly_when_it_may(sampled: Any, case: Case) -> None:
    _hits_exactly_when_it_may(sampled[case.name], case)
