"""What comes out of steps: in two fresh processes with different hash seeds, the second one in another folder."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest
from processes import lines_of, run

import mlflowish as mf

# One file for both processes: each function is a case, `CALLS` says how it is called and how its value is shown.
CASES = """
import dataclasses, os, random, sys, json, threading, warnings
import mlflowish as mf

def noted(what):
    with open(os.environ["RUNTIME_LOG"], "ab", buffering=0) as file:
        file.write((what + chr(10)).encode())

@mf.step
def none():
    noted("none")

@mf.step
def mixed(n):
    import numpy as np
    noted("mixed")
    return (n, np.arange(n, dtype="int16"), {"k": [1.5, {True, None}]}, "text", b"bytes", (1, (2,)))

@mf.step
def counting(n):
    noted("counting")
    for i in range(n):
        yield i * i

@mf.step
def bound(a, b=2, *, c=3):
    noted("bound")
    return a + b + c

@mf.step
def look_alike(x):
    noted("look_alike " + repr(x))
    return repr(x)

@mf.step
def one():
    noted("one")
    return 1

@mf.step
def text_one():
    noted("text_one")
    return "1"

@mf.step
def shaped(rows):
    import numpy as np
    noted("shaped")
    return np.arange(6).reshape(rows, -1)

@mf.step
def same(items):
    noted("same")
    return items

@mf.step
def upstream(x):
    noted("upstream")
    return [x % 2]

@mf.step
def downstream(items):
    noted("downstream")
    return sum(items)

@mf.step
def fib(n):
    noted("fib")
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@mf.step(lock=True)
def locked_fib(n):
    noted("locked_fib")
    return n if n < 2 else locked_fib(n - 1) + locked_fib(n - 2)

@mf.step(seed=True)
def drawn(x):
    noted("drawn")
    return random.random() + x

@mf.step
def parent(x):
    noted("parent")
    return one() + x

@mf.step
async def awaited(x):
    noted("awaited")
    return {"x": x}

@dataclasses.dataclass(frozen=True)
class Setting:
    name: str
    parts: frozenset

@mf.step
def configured(setting):
    noted("configured")
    return sorted(setting.parts)

class Model:
    def __init__(self, k):
        self.k = k

    @mf.step
    def apply(self, x):
        noted("apply")
        return self.k * x

def show(value):
    if hasattr(value, "dtype"):
        return [str(value.dtype), list(value.shape), value.tolist()]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(show, value)]
    if isinstance(value, dict):
        return {key: show(member) for key, member in value.items()}
    return repr(value)

def main():
    import asyncio
    nan = float("nan")
    twice = lambda call: [call(), call()]
    calls = {
        "none": lambda: twice(none.call),
        "mixed": lambda: twice(lambda: mixed.call(4)),
        "counting": lambda: twice(lambda: counting.call(5)),
        "bound": lambda: [
            bound.call(1), bound.call(1, 2), bound.call(a=1), bound.call(1, b=2, c=3), bound.call(b=2, a=1)
        ],
        "look_alike": lambda: [look_alike.call(x) for x in (nan, nan, 0.0, -0.0, 1, True, 1.0, "1", b"1", None)],
        "ones": lambda: [one.call(), text_one.call()],
        "shaped": lambda: [shaped.call(2), shaped.call(3)],
        "same": lambda: twice(lambda: same.call([1, [2]])),
        "cut_off": lambda: [
            upstream.call(1), downstream.call(upstream(1)), upstream.call(3), downstream.call(upstream(3))
        ],
        "fib": lambda: [fib.call(12)],
        "locked_fib": lambda: [locked_fib.call(6)],
        "drawn": lambda: twice(lambda: drawn.call(1)),
        "parent": lambda: [parent.call(1)],
        "awaited": lambda: [asyncio.run(awaited.call(1)), asyncio.run(awaited.call(1))],
        "configured": lambda: twice(lambda: configured.call(Setting("a", frozenset({"x", "y", "z"})))),
        "method": lambda: twice(lambda: Model(3).apply.call(4)),
    }
    mf.use(sys.argv[1])
    found = {}
    for name, call in calls.items():
        noted("case " + name)
        made = call()
        found[name] = {
            "hits": [c.hit for c in made],
            "values": [show(list(c.value) if name == "counting" else c.value) for c in made],
            "keys": [c.key for c in made],
            "outputs": [c.output for c in made],
        }
    print(json.dumps(found))

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """What two processes saw, and what each computed, by case."""
    base = tmp_path_factory.mktemp("outcomes")
    lives = []
    for life, seed in (("first", 1), ("second", 2)):
        folder = base / life / "project"
        folder.mkdir(parents=True)
        (folder / "outcomes.py").write_text(CASES)
        log = base / f"{life}.log"
        code = f"import sys; sys.path.insert(0, {str(folder)!r}); import outcomes; outcomes.main()"
        found = run(code, base / "store", seed=seed, cwd=folder, env={"RUNTIME_LOG": str(log), "HOME": str(folder)})
        lives.append((found, computations(log)))
    return lives


def computations(log):
    """What was computed in each case, in order."""
    done, case = {}, None
    for line in lines_of(log):
        if line.startswith("case "):
            case = done.setdefault(line.removeprefix("case "), [])
        else:
            case.append(line)
    return done


CASE_NAMES = (
    *("none", "mixed", "counting", "bound", "look_alike", "ones", "shaped", "same", "cut_off", "fib", "locked_fib"),
    *("drawn", "parent", "awaited", "configured", "method"),
)


@pytest.mark.parametrize("case", CASE_NAMES)
def test_a_new_process_with_another_seed_and_folder_hits_everything(lives, case):
    (first, _), (second, computed) = lives
    assert computed[case] == []
    assert all(second[case]["hits"])
    for field in ("values", "keys", "outputs"):
        assert second[case][field] == first[case][field]


@pytest.mark.parametrize(
    ("case", "times"),
    [
        ("none", ["none"]),
        ("mixed", ["mixed"]),
        ("counting", ["counting"]),
        ("bound", ["bound"]),
        ("ones", ["one", "text_one"]),
        ("same", ["same"]),
        ("fib", ["fib"] * 13),
        ("locked_fib", ["locked_fib"] * 7),
        ("drawn", ["drawn"]),
        ("awaited", ["awaited"]),
        ("configured", ["configured"]),
        ("method", ["apply"]),
    ],
)
def test_what_means_the_same_is_computed_once(lives, case, times):
    assert lives[0][1][case] == times


def test_look_alikes_are_told_apart_and_equal_ones_are_not(lives):
    seen = lives[0][1]["look_alike"]
    assert seen == [f"look_alike {text}" for text in ("nan", "0.0", "-0.0", "1", "True", "1.0", "'1'", "b'1'", "None")]


def test_values_keep_their_types(lives):
    [value, again] = lives[1][0]["mixed"]["values"]
    assert value == again
    assert value[0] == "tuple"
    assert value[2] == ["int16", [4], [0, 1, 2, 3]]
    assert value[3]["k"][:2] == ["list", "1.5"]
    assert value[3]["k"][2] in ("{True, None}", "{None, True}")


def test_equal_bytes_of_another_shape_are_another_value(lives):
    assert [value[1] for value in lives[0][0]["shaped"]["values"]] == [[2, 3], [3, 2]]


def test_two_steps_that_return_look_alikes_each_get_their_own(lives):
    assert lives[1][0]["ones"]["values"] == ["1", "'1'"]


def test_an_upstream_result_that_did_not_change_keeps_what_is_downstream(lives):
    """Early cutoff: another upstream call with an equal result."""
    assert lives[0][1]["cut_off"] == ["upstream", "downstream", "upstream"]
    assert lives[0][0]["cut_off"]["hits"] == [False, False, False, True]


def test_a_seeded_step_draws_the_same_numbers_in_every_process(tmp_path, log):
    code = (
        "import json, sys, runtime_steps as s, mlflowish as mf\n"
        "with mf.Store(sys.argv[1]): print(json.dumps(s.drawn(3)))"
    )
    assert run(code, tmp_path / "one", seed=1) == run(code, tmp_path / "two", seed=2)
    assert len(lines_of(log)) == 2


def test_a_step_that_fails_runs_again_and_is_on_record(root, log):
    with mf.Store(root):
        fail = [True]

        @mf.step(ignore="switch")
        def moody(x, switch):
            if switch():
                raise ValueError(f"not {x}")
            return x

        for _ in range(2):
            with pytest.raises(ValueError, match="not 4"):
                moody(4, fail.copy)
        assert [row["status"] for row in moody.history()] == ["failed", "failed"]
        assert moody(4, list) == 4
        assert moody.call(4, list).hit


def test_a_map_computes_only_what_is_new(root, log):
    import runtime_steps as steps

    with mf.Store(root):
        first = steps.inline.map(range(50))
        before = len(lines_of(log))
        again = steps.inline.map([*range(50), 1000, 1001, 1002])
    assert before == 50
    assert len(lines_of(log)) == 53
    assert again[:50] == first
    assert [value["value"] for value in again[50:]] == [1100, 1101, 1102]


def test_a_map_that_fails_keeps_what_was_finished(root, log):
    broken = [True]

    @mf.step(ignore="is_broken")
    def checked(x, is_broken):
        if x == 30 and is_broken:
            raise RuntimeError("bad item")
        return x * 2

    with mf.Store(root):
        with pytest.raises(mf.StepError) as failure:
            checked.map(range(60), is_broken=broken)
        assert list(failure.value.failures) == [30]
        calls = [checked.call(x, None) for x in range(60) if x != 30]
        assert all(call.hit for call in calls)
        assert checked.map(range(60), is_broken=None) == [x * 2 for x in range(60)]


def test_equal_results_are_one_object(root):
    import numpy as np

    @mf.step
    def flat(n, name):
        return np.zeros(n)

    with mf.Store(root):
        flat(20_000, "a")
        flat(20_000, "b")
    assert len([path for path in (root / "objects").rglob("*") if path.is_file()]) == 1


def test_a_deleted_file_result_is_put_back(root, tmp_path):
    import runtime_steps as steps

    with mf.Store(root):
        path = Path(steps.written(7, str(tmp_path)).path)
        content = path.read_bytes()
        path.unlink()
        call = steps.written.call(7, str(tmp_path))
    assert call.hit
    assert path.read_bytes() == content


def test_a_file_result_that_was_edited_is_put_back(root, tmp_path):
    import runtime_steps as steps

    with mf.Store(root):
        path = Path(steps.written(7, str(tmp_path)).path)
        content = path.read_bytes()
        path.write_bytes(b"edited" + content[6:])
        assert steps.written.call(7, str(tmp_path)).hit
    assert path.read_bytes() == content


def test_an_expired_result_is_computed_again_and_the_old_one_stays_on_record(root):
    @mf.step(max_age=0)
    def clocked(x):
        return x

    with mf.Store(root):
        assert [clocked.call(1).hit for _ in range(3)] == [False, False, False]
        assert len(clocked.history()) == 3


def test_forgetting_a_call_computes_it_again(root, log):
    import runtime_steps as steps

    with mf.Store(root):
        steps.inline(1)
        assert steps.inline.forget(1) == 1
        assert not steps.inline.call(1).hit
        assert steps.inline.call(1).hit
    assert len(lines_of(log)) == 2


def test_a_result_that_cannot_be_stored_is_returned_with_the_reason(root, log):
    import runtime_steps as steps

    with mf.Store(root):
        with pytest.warns(mf.UncachedWarning, match="not cached"):
            call = steps.locked.call(1)
        assert hasattr(call.value, "acquire")
        assert call.uncached_reason
        assert steps.locked.history()[0]["status"] == "uncached"


def test_a_nested_call_knows_its_parent_and_the_parent_its_children(root):
    @mf.step
    def inner(x):
        return x + 1

    @mf.step
    def outer(x):
        return inner(x) + inner(x + 1)

    with mf.Store(root):
        call = outer.call(1)
        assert {row["parent"] for row in inner.history()} == {call.key}
        [record] = mf.active_store().calls(outer.name)
    assert len(record.meta.children) == 2


def test_mutating_what_a_hit_gave_does_not_reach_the_store(root):
    import runtime_steps as steps

    with mf.Store(root):
        pristine = steps.shown(steps.array(1))
        for _ in range(2):
            mine = steps.array(1)
            mine[:] = -1
        assert steps.shown(steps.array(1)) == pristine
        steps.tree(1)["n"].append("x")
        steps.tree(1)["first"][:] = 0
        assert steps.shown(steps.tree(1)) == steps.shown(steps.tree.fn(1))


def test_explain_names_what_changed(root):
    scale = 2

    def make(factor):
        def helper(x):
            return x * factor

        @mf.step(name="explained")
        def explained(x, y=1):
            return helper(x) + y

        return explained

    with mf.Store(root):
        make(scale)(1)
        assert "factor" in str(make(3).explain(1))
        assert "y" in str(make(scale).explain(1, y=5))


def test_warnings_point_at_the_users_line(root):
    import runtime_steps as steps

    with mf.Store(root), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps.locked(2)
    assert [os.path.basename(warning.filename) for warning in caught] == ["test_outcomes.py"]
    assert json.dumps(str(caught[0].message))


def test_storing_an_instance_does_not_change_the_identity_of_its_class(root):
    """Pickling leaves `__slotnames__` on a class; that is no edit of it."""
    import runtime_steps as steps

    with mf.Store(root):
        assert [steps.pickled.call(1).hit for _ in range(3)] == [False, True, True]


def test_a_library_name_that_is_loaded_on_demand_is_the_same_before_and_after(root, tmp_path, log):
    """`mf.File` is not there until somebody asks for it; so are many names of large libraries."""
    code = """
import json, sys, runtime_steps as steps, mlflowish as mf
with mf.Store(sys.argv[1]):
    print(json.dumps([steps.written.call(x, sys.argv[2]).hit for x in (1, 2, 1, 2)]))
"""
    assert run(code, root, tmp_path) == [False, False, True, True]
    assert run(code, root, tmp_path) == [True, True, True, True]
