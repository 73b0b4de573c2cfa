"""Random pipelines against plain Python: whatever is run, edited and forgotten, the result is as if all was run."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import mlflowish as mf

SALT_MIX, SALT_SPREAD, SALT_IS_ODD = 0, 0, 0
_numbers = itertools.count()


def flat(value):
    if isinstance(value, (list, tuple)):
        return [number for member in value for number in flat(member)]
    return [int(value)]


def plain_mix(*values):
    total = 17 + SALT_MIX
    for number in flat(values):
        total = (31 * total + number) % 997
    return total


def plain_spread(value):
    start = sum(flat([value])) + SALT_SPREAD
    return [start + place for place in range(start % 4)]


def plain_is_odd(value):
    return (sum(flat([value])) + SALT_IS_ODD) % 2 == 1


mix, spread, is_odd = mf.step(plain_mix), mf.step(plain_spread), mf.step(plain_is_odd)
STEPS = SimpleNamespace(mix=mix, spread=spread, is_odd=is_odd)
PLAIN = SimpleNamespace(
    mix=plain_mix, spread=plain_spread, is_odd=plain_is_odd, map=lambda items: [plain_mix(item) for item in items]
)

# -- programs: each line adds a value to those that later lines may use ----------------------------

operands = st.one_of(st.tuples(st.just("at"), st.integers(0, 20)), st.tuples(st.just("is"), st.integers(0, 5)))
arguments = st.lists(
    st.one_of(operands, st.tuples(st.just("list"), st.lists(operands, max_size=3))), min_size=1, max_size=3
)
calls = st.one_of(
    st.tuples(st.just("mix"), arguments),
    st.tuples(st.just("spread"), operands),
    st.tuples(st.just("map"), operands),
    st.tuples(st.just("statically"), arguments),
)


def blocks(inner):
    return st.lists(
        st.one_of(
            calls,
            st.tuples(st.just("when"), operands, inner, inner),
            st.tuples(st.just("inner"), arguments, inner),
        ),
        max_size=5,
    )


programs = st.recursive(st.lists(calls, max_size=4), blocks, max_leaves=6)


def value_of(operand, values):
    kind, what = operand
    if kind == "is" or not values:
        return what if kind == "is" else 1
    return [value_of(each, values) for each in what] if kind == "list" else values[what % len(values)]


def run_in_body(program, given):
    """The program in the body of a pipeline."""
    values = list(given)
    for kind, *rest in program:
        if kind == "mix":
            values.append(mix(*(value_of(each, values) for each in rest[0])))
        elif kind == "spread":
            values.append(spread(value_of(rest[0], values)))
        elif kind == "map":
            values.append(mix.map(spread(value_of(rest[0], values))))
        elif kind == "statically":
            values.append(mix.map([value_of(each, values) for each in rest[0]]))
        elif kind == "when":
            before = tuple(values)
            flag = is_odd(value_of(rest[0], values))
            values.append(
                mf.when(flag, lambda: run_in_body(rest[1], before), lambda: run_in_body(rest[2], before))  # noqa: B023  called at once
            )
        else:
            values.append(inner(rest[1], [value_of(each, values) for each in rest[0]]))
    return mix(*values) if values else 0


def run_plainly(program, given):
    """What it means."""
    values = list(given)
    for kind, *rest in program:
        if kind == "mix":
            values.append(plain_mix(*(value_of(each, values) for each in rest[0])))
        elif kind == "spread":
            values.append(plain_spread(value_of(rest[0], values)))
        elif kind == "map":
            values.append([plain_mix(item) for item in plain_spread(value_of(rest[0], values))])
        elif kind == "statically":
            values.append([plain_mix(value_of(each, values)) for each in rest[0]])
        elif kind == "when":
            chosen = rest[1] if plain_is_odd(value_of(rest[0], values)) else rest[2]
            values.append(run_plainly(chosen, tuple(values)))
        else:
            values.append(run_plainly(rest[1], [value_of(each, values) for each in rest[0]]))
    return plain_mix(*values) if values else 0


@mf.pipeline
def inner(program, given):
    return run_in_body(program, given)


@mf.pipeline
def outer(program, given):
    return run_in_body(program, given), len(program)


# -- what may happen between two runs --------------------------------------------------------------

actions = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(0, 2)),
        st.tuples(st.just("edit"), st.sampled_from(["SALT_MIX", "SALT_SPREAD", "SALT_IS_ODD"]), st.integers(0, 2)),
        st.tuples(st.just("forget"), st.sampled_from(["mix", "spread", "is_odd"])),
        st.tuples(st.just("forget one"), st.integers(0, 50)),
    ),
    min_size=2,
    max_size=8,
)


def check(program, history, kind):
    names = globals()
    salts = {name: 0 for name in names if name.startswith("SALT_")}
    names.update(salts)
    whole = 0
    with mf.Store(f"memory://model-{next(_numbers)}") as store, mf.executor(kind):
        for action in [("run", 1), *history, ("run", 1), ("run", 1)]:
            if action[0] == "run":
                expected = run_plainly(program, [action[1]]), len(program)
                run = outer.run(program, [action[1]])
                assert run.result == expected
                whole += run.is_whole_hit
            elif action[0] == "edit":
                names[action[1]] = action[2]
            elif action[0] == "forget":
                getattr(STEPS, action[1]).forget()
            else:
                entries = sorted(store.calls(), key=lambda call: call.key)
                if entries:
                    entry = entries[action[1] % len(entries)]
                    store.forget(entry.key, [entry.id], step=entry.meta.step)
    assert whole, "the last run changed nothing"
    names.update(salts)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(programs, actions)
@example([("when", ("at", 0), [("mix", [("at", 0)])], []), ("inner", [("at", 1)], [("map", ("at", 0))])], [("run", 2)])
def test_whatever_happens_the_result_is_that_of_running_everything(program, history):
    check(program, history, "serial")


@pytest.mark.nightly
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(programs, actions, st.sampled_from(["serial", "threads"]))
def test_whatever_happens_the_result_is_that_of_running_everything_at_length(program, history, kind):
    check(program, history, kind)
