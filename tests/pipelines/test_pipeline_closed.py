"""Which bodies need not be traced, because their code and arguments say all that they do."""

from __future__ import annotations

import importlib
import random
import sys
import textwrap
import time
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.pipelines.closed import Closed, are_plain, closed_body, node_places

RATES = [0.1, 0.2]


def closed_steps(pipeline, fingerprint):
    found = closed_body(pipeline, fingerprint)
    return found.steps if isinstance(found, Closed) else None


@mf.step
def one(x=0):
    return x


@mf.step
def two(x=0):
    return [x]


STEPS = [one, two]


def helper(x):
    return two(one(x))


def clock(x):
    return one(time.time())


@mf.pipeline
def nested(x):
    return helper(x)


@mf.pipeline
def nested_open(x):
    return clock(x)


def plain_loop(n: int):
    return {f"k{k}": one(rate) for k, rate in enumerate(RATES[:n])}, [two(k) for k in range(n)]


def calls_helper(n: int):
    return helper(n), nested(n), mf.when(one(n), lambda: two(n), None), one.map(two(n))


def branches(n: int, rate=0.5, first=one):
    found = [] if n is not None else [first(rate)]
    for name, value in {"a": n}.items():
        found.append(one(value) if name.startswith("a") and value > 1 else two(value))
    return sorted([1, 2]), found


def reads_clock(n: int):
    return one(time.time())


def reads_file(n: int):
    return one(mf.File("x"))


def lists_folder(path: str):
    return [one(str(file)) for file in Path(path).iterdir()]


def opens(path: str):
    return one(open(path).read())


def randoms(n: int):
    return one(random.random())


def imports(n: int):
    import os

    return one(os.getpid())


def through_a_list(n: int):
    return [step(n) for step in STEPS]


def makes_a_set(n: int):
    return [one(k) for k in {n, 2}]


def a_set_of_texts(n: int):
    return [one(k) for k in set("abc")]


def iterates_a_set(n: int):
    return [one(k) for k in {"a", "b"}]


def meets_keys(a, b):
    return [one(k) for k in a.keys() & b.keys()]


def subtracts_views_of_a_helper(a, b):
    return [one(k) for k in views(a) - views(b)]


def views(x):
    return x.items()


def looks_into_a_set(n: int):
    return [one(k - 1) if k in {1, 2} else one(k) for k in [n]]


def attribute(config):
    return one(config.rate)


def asks_for_type(x):
    return one(x) if isinstance(x, int) else two(x)


def nested_is_open(n: int):
    return nested_open(n)


def exits(n: int):
    mf.on_exit(print)
    return one(n)


def sets_global(n: int):
    global COUNT
    COUNT = n
    return one(n)


def through_a_default(n: int, now=time.perf_counter_ns):
    return one(now())


def calls_through_a_default(n: int):
    return through_a_default(n)


def through_a_keyword_default(n: int, *, now=time.perf_counter_ns):
    return one(now())


def compares_objects(a, b):
    return one(a) if a is b else two(b)


def decorates(n: int):
    return mf.step(helper)(n)


CLOSED = {plain_loop: {one, two}, calls_helper: {one, two}, branches: {one, two}, helper: {one, two}}
CLOSED[looks_into_a_set] = {one}
OPEN = [reads_clock, reads_file, lists_folder, opens, randoms, imports, through_a_list, makes_a_set, a_set_of_texts]
OPEN += [through_a_default, calls_through_a_default, through_a_keyword_default, compares_objects]
OPEN += [iterates_a_set, meets_keys, subtracts_views_of_a_helper]
OPEN += [attribute, asks_for_type, nested_is_open, exits, sets_global, decorates, clock]


@pytest.mark.parametrize("body", CLOSED, ids=lambda body: body.__name__)
def test_bodies_of_steps_and_plain_values_are_closed(body):
    pipeline = mf.pipeline(body)
    assert closed_steps(pipeline, pipeline.fingerprint) == CLOSED[body]


@pytest.mark.parametrize("body", OPEN, ids=lambda body: body.__name__)
def test_bodies_that_may_see_anything_else_are_not(body):
    pipeline = mf.pipeline(body)
    assert closed_steps(pipeline, pipeline.fingerprint) is None


def test_a_closure_is_looked_into():
    def make(value):
        @mf.pipeline
        def inner(n: int):
            return one(value)

        return inner

    closed, opened = make(3), make(time)
    assert closed_steps(closed, closed.fingerprint) == {one}
    assert closed_steps(opened, opened.fingerprint) is None


def test_it_is_looked_at_again_when_the_code_changes(monkeypatch):
    pipeline = mf.pipeline(helper)
    assert closed_steps(pipeline, pipeline.fingerprint) == {one, two}
    monkeypatch.setitem(globals(), "two", clock)
    assert closed_steps(pipeline, pipeline.fingerprint) is None


def test_only_plain_arguments_have_nothing_else_to_them():
    assert are_plain((1, [2, {"a": None}], "x"), {"y": (1.5,)})
    assert not are_plain((Path("x"),), {})
    assert not are_plain(([1, [Path("x")]],), {})


def test_a_closed_pipeline_is_passed_without_being_traced(tmp_path):
    with mf.Store(tmp_path / "store"):
        pipeline = mf.pipeline(plain_loop)
        first = pipeline.run(2)
        assert not first.is_whole_hit
        real = pipeline.fn
        pipeline.fn = None  # who calls it fails
        try:
            again = pipeline.run(2)
        finally:
            pipeline.fn = real
        assert (again.is_whole_hit, again.result) == (True, first.result)
        one.forget(0.1)
        assert pipeline.run(2).counts == {"cached": 3, "done": 1}
        assert pipeline.run(2).is_whole_hit


def test_a_node_is_not_taken_for_the_value_that_it_becomes(tmp_path):
    @mf.pipeline
    def inner(x=None):
        return one("none given") if x is None else two(x)

    @mf.step
    def nothing():
        return None

    @mf.pipeline
    def outer():
        return inner(nothing()), inner(None)

    with mf.Store(tmp_path / "store"):
        for _ in range(2):
            assert inner(None) == "none given"
            assert outer() == ([None], "none given")
            one.forget("none given")
            assert outer() == ([None], "none given")


def test_the_places_of_nodes_are_part_of_it():
    seen = []

    @mf.pipeline
    def pipe():
        node = one(1)
        seen.append(node_places([node, {"a": [1, node]}, 3]))
        return node

    with mf.Store("memory://node-places"):
        pipe()
    assert seen == [["[0]=0", "[1]['a'][1]=0"]]


def test_one_node_given_twice_is_not_two(tmp_path):
    @mf.step
    def same(x):
        return x

    @mf.pipeline
    def others(base, candidates):
        return [two(each) for each in candidates if not any(each is other for other in [base])]

    @mf.pipeline
    def rest(base, candidates):
        return [one(candidates.index(base))]

    @mf.pipeline
    def once(pipeline):
        node = one(1)
        return others(node, [node, one(2)]), rest(node, [node])

    @mf.pipeline
    def twice():
        return others(one(1), [same(1), one(2)])

    @mf.pipeline
    def second():
        node = one(2)
        return rest(node, [one(1), node][1:])

    with mf.Store(tmp_path / "store"):
        assert once(None) == ([[2]], [0])
        assert twice() == [[1], [2]]
        assert second() == [0]


def test_the_places_where_a_node_stands_twice_are_told_apart():
    seen = []

    @mf.pipeline
    def pipe():
        a, b = one(1), one(2)
        seen.append(node_places([a, [a, b]]))
        seen.append(node_places([a, [b, b]]))
        return a

    with mf.Store("memory://nodes-twice"):
        pipe()
    assert seen[0] != seen[1]


def test_into_how_many_parts_a_node_is_unpacked_is_not_in_the_code(tmp_path):
    def parts(n):
        return n, n + 1, n + 2

    step = mf.step(parts)

    @mf.pipeline
    def all_parts(n: int):
        return [one(part) for part in step(n)]

    @mf.pipeline
    def outer(n: int):
        return all_parts(n)

    with mf.Store(tmp_path / "store"):
        for hint, wanted in ((tuple[int, int], [1, 2]), (tuple[int, int, int], [1, 2, 3])):
            parts.__annotations__["return"] = hint
            assert (all_parts(1), outer(1)) == (wanted, wanted)
            assert (all_parts(1), outer(1)) == (wanted, wanted)


def test_an_argument_that_is_not_ignored_any_more_counts(tmp_path):
    def body(x, how):
        return x, how

    def with_step(step):
        @mf.pipeline
        def closed():
            return step(1, 5)

        @mf.pipeline
        def traced():
            import os

            return step(1, len(os.sep) + 4)

        @mf.step
        def around():
            return step(1, 5)

        return closed, traced, around

    with mf.Store(tmp_path / "store"):
        ignoring, counting = mf.step(ignore="how")(body), mf.step(body)
        assert ignoring(1, 2) == (1, 2)
        assert [each() for each in with_step(ignoring)] == [(1, 2)] * 3
        assert [each() for each in with_step(counting)] == [(1, 5)] * 3


def test_a_list_that_contains_itself_is_an_argument_as_any_other():
    loop = [1]
    loop.append(loop)
    assert not are_plain((loop,), {})

    @mf.pipeline
    def passes_by(x):
        return one(1)

    with mf.Store("memory://loop-argument"):
        assert passes_by(loop) == 1


@mf.step
def total(numbers):
    return sum(numbers)


@pytest.fixture
def store(tmp_path: Path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


SEEN: list[int] = []


@mf.pipeline
def appends(x, y):
    x.append(2)
    return total(y)


@mf.pipeline
def appends_inside(both):
    both[0].append(2)
    return total(both[1])


@mf.pipeline
def gives_one_list_twice(n: int):
    numbers = [n]
    return appends(numbers, numbers)


@mf.pipeline
def gives_two_lists(n: int):
    return appends([n], [n])


@mf.pipeline
def counts_its_calls(x: int):
    SEEN.append(x)
    return total(list(SEEN))


@mf.pipeline
def counts_in_a_default(x: int, seen: list[int] = []):  # noqa: B006  the mistake is what is tested
    seen.append(x)
    return total(list(seen))


def test_one_list_given_twice_is_not_two_lists_where_the_body_changes_it(store: mf.Store) -> None:
    for _ in range(2):
        numbers = [1]
        assert appends(numbers, numbers) == 3
        assert appends([1], [1]) == 1
        assert appends_inside([numbers := [1], numbers]) == 3
        assert appends_inside([[1], [1]]) == 1
        assert gives_one_list_twice(1) == 3
        assert gives_two_lists(1) == 1


def test_a_body_that_changes_what_it_was_given_does_so_each_time(store: mf.Store) -> None:
    for _ in range(2):
        numbers = [1]
        assert appends(numbers, [5]) == 5
        assert numbers == [1, 2]


@pytest.mark.parametrize("pipeline", [counts_its_calls, counts_in_a_default], ids=["global", "default"])
def test_a_body_that_changes_what_its_code_refers_to_is_run_each_time(store: mf.Store, pipeline) -> None:
    held = SEEN if pipeline is counts_its_calls else pipeline.fn.__defaults__[0]
    for _ in range(2):  # as two processes, which begin with the same
        held.clear()
        assert [pipeline(1) for _ in range(3)] == [1, 2, 3]


@mf.pipeline
def appends_for_a_while(x, y):
    x.append(2)
    found = total(y)
    x.pop()
    return found


def test_one_list_given_twice_is_not_two_lists_where_the_body_takes_its_change_back(store: mf.Store) -> None:
    for _ in range(2):
        numbers = [1]
        assert appends_for_a_while(numbers, numbers) == 3
        assert appends_for_a_while([1], [1]) == 1


@mf.pipeline
def knows(x, xs):
    return one(x in xs), one(xs == [x]), one(xs.count(x))


@pytest.mark.parametrize("make", [float, complex, lambda text: [float(text)]], ids=["float", "complex", "inside"])
def test_one_nan_given_twice_is_not_two(store: mf.Store, make) -> None:
    for _ in range(2):
        nan = make("nan")
        assert knows(nan, [nan]) == (True, True, 1)
        assert knows(make("nan"), [make("nan")]) == (False, False, 0)
    assert not are_plain((), {"x": {"a": [1, (make("nan"),)]}})


def test_which_numbers_are_equal_and_not_the_same(store: mf.Store) -> None:
    @mf.pipeline
    def texts(x):
        return one(f"{x}"), one([x])

    values = [0.0, -0.0, 0, False, True, 1, 1.0, "1", "", None, (), [], {}, {"a": 1, "b": 2}, {"b": 2, "a": 1}]
    for _ in range(2):
        assert [repr(texts(value)) for value in values] == [repr((str(value), [value])) for value in values]


def test_order_of_keywords_counts(store: mf.Store) -> None:
    @mf.pipeline
    def names(**kwargs):
        return [one(name) for name in kwargs]

    for _ in range(2):
        assert (names(a=1, b=2), names(b=2, a=1)) == (["a", "b"], ["b", "a"])


MODULE = """
import mlflowish as mf


@mf.step
def one(x):
    return x


@mf.step
def many(x) -> tuple[int, int]:
    return x, x


{space}


@mf.pipeline
def shows():
    return one(str([many(1)]))


@mf.pipeline
def inner(x{hint}):
    return one(x)


@mf.pipeline
def outer(n):
    return inner(n), inner(n + 1)
"""


def module_of(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **holes: str):
    (folder / f"{name}.py").write_text(MODULE.format(**{"space": "", "hint": ""} | holes))
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


def test_the_line_of_a_node_in_a_text_is_not_in_the_code(store: mf.Store, tmp_path: Path, monkeypatch) -> None:
    lines = []
    for count in (0, 7):
        module = module_of(tmp_path, monkeypatch, f"moved_{count}", space="\n" * count)
        found = {module.shows(), module.shows()}
        assert len(found) == 1
        lines += found
    assert lines[0] != lines[1]


def test_hints_of_a_nested_pipeline_are_asked_each_time(store: mf.Store, tmp_path: Path, monkeypatch) -> None:
    loose = module_of(tmp_path, monkeypatch, "loose")
    assert (loose.outer(1), loose.outer.run(1).is_whole_hit) == ((1, 2), True)
    strict = module_of(tmp_path, monkeypatch, "strict", hint=": str")
    with pytest.raises(mf.InvalidInputError, match="is str"):
        strict.outer(1)


def test_what_a_function_of_a_library_reads_is_not_in_its_version(store: mf.Store, monkeypatch) -> None:
    def calls_library(words):
        return one(textwrap.dedent(words))

    assert "textwrap is module" in closed_reason(calls_library)
    dedent = textwrap.dedent

    def calls_function_of_library(words):
        return one(dedent(words))

    assert "belongs to a library" in closed_reason(calls_function_of_library)


def closed_reason(body) -> str:
    pipeline = mf.pipeline(body)
    found = closed_body(pipeline, pipeline.fingerprint)
    assert isinstance(found, str)
    return found


def test_how_long_texts_of_numbers_may_be_is_part_of_it(store: mf.Store) -> None:
    pipeline = mf.pipeline(helper)
    found = closed_body(pipeline, pipeline.fingerprint)
    assert isinstance(found, Closed)
    before = sys.get_int_max_str_digits()
    then = found.setting()
    try:
        sys.set_int_max_str_digits(1000)
        assert found.setting() != then
    finally:
        sys.set_int_max_str_digits(before)
    assert found.setting() == then


def test_a_body_without_source_is_traced(store: mf.Store) -> None:
    space = {"one": one}
    exec("def body(x):\n    return one(x)", space)  # as from a tool, which keeps no source
    pipeline = mf.pipeline(space["body"])
    assert "no source" in closed_reason(space["body"])
    assert (pipeline(1), pipeline.run(1).is_whole_hit) == (1, True)
