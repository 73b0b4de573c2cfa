"""What a step does to its arguments is its own matter: no other call of the pipeline sees it, on any executor."""

import threading

import numpy as np
import pandas as pd
import pytest

import mlflowish as mf
from mlflowish.executors import executor_block
from mlflowish.executors.processes import ProcessExecutor
from mlflowish.pipelines import apart
from mlflowish.steps.provenance import producer_of

pytestmark = pytest.mark.filterwarnings("ignore:.*(changes its argument|not cached)")
LARGE = 1000  # numbers


class Settings:
    def __init__(self, rates):
        self.rates = rates


class Locked:
    """Cannot be copied, and has an identity all the same."""

    def __init__(self, value):
        self.value = value
        self.lock = threading.Lock()

    def __mlf_digest__(self):
        return self.value


@pytest.fixture(scope="module")
def processes():
    executor = ProcessExecutor(2)
    yield executor
    executor.shutdown()


@pytest.fixture(params=["serial", "threads", pytest.param("processes", marks=pytest.mark.nightly)])
def executor(request):
    return request.getfixturevalue("processes") if request.param == "processes" else request.param


@pytest.fixture(params=["serial", "threads", "processes"])
def any_executor(request):
    return request.getfixturevalue("processes") if request.param == "processes" else request.param


@pytest.fixture(autouse=True)
def large_begins_here(monkeypatch):
    monkeypatch.setattr(apart, "LARGE_BYTES", 8 * LARGE)


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@mf.step
def spoil(value, number):
    """Adds to what it is given, where it lies."""
    if isinstance(value, Settings):
        value.rates.append(number)
    elif isinstance(value, dict):
        value["inner"].append(number)
    elif isinstance(value, pd.DataFrame):
        value.loc[0, "a"] += number
    else:
        value += number
    return float(total_of(value))


@mf.step
def total(value, _after=None):
    return float(total_of(value))


def total_of(value):
    if isinstance(value, Settings):
        return sum(value.rates)
    if isinstance(value, dict):
        return sum(value["inner"])
    return value["a"].sum() if isinstance(value, pd.DataFrame) else np.sum(value)


@mf.step(cache=False)
def fresh_array(size):
    return np.zeros(size)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: np.zeros(3), [3.0, 6.0, 0.0]),
        (lambda: np.zeros(LARGE), [LARGE, 2.0 * LARGE, 0.0]),
        (lambda: np.zeros((2, 3), order="F")[:, 1:], [4.0, 8.0, 0.0]),
        (lambda: pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), [4.0, 5.0, 3.0]),
        (lambda: pd.DataFrame({"a": np.zeros(LARGE), "b": np.zeros(LARGE)}), [1.0, 2.0, 0.0]),
        (lambda: Settings([5]), [6.0, 7.0, 5.0]),
        (lambda: {"inner": [5]}, [6.0, 7.0, 5.0]),
    ],
    ids=["array", "large array", "strided array", "frame", "large frame", "object", "containers"],
)
def test_siblings_never_see_what_a_step_does_to_its_argument(executor, make, expected):
    @mf.pipeline
    def pipe(value):
        first = spoil(value, 1)
        second = spoil(value, 2)
        return [first, second, total(value, [first, second])]

    given = make()
    assert pipe.run(given, executor=executor).result == expected
    assert total_of(given) == expected[2]  # nor does the caller


def test_nor_what_it_does_to_a_result_that_is_not_stored(any_executor):
    @mf.pipeline
    def pipe():
        array = fresh_array(3)
        first = spoil(array, 1)
        return first, spoil(array, 2), total(array, first), array

    first, second, third, array = pipe.run(executor=any_executor).result
    assert (first, second, third, array.sum()) == (3.0, 6.0, 0.0, 0.0)


def test_nor_what_the_items_of_a_map_do_to_what_they_have_in_common(executor):
    @mf.step
    def numbers():
        return [1, 2, 3]

    @mf.step
    def gather(number, into, array):
        into.append(number)
        array += number
        return sum(into) + float(array[0])

    @mf.pipeline
    def pipe(array):
        return gather.map(numbers(), into=[10], array=array)

    assert pipe.run(np.zeros(1), executor=executor).result == [12.0, 14.0, 16.0]


def test_nor_the_calls_of_one_batch(processes):
    @mf.step
    def gather(number, into):
        into.append(number)
        return sum(into)

    @mf.pipeline
    def pipe(numbers):
        return gather.map(numbers, into=[10], batch=3)

    for executor in ("threads", processes):
        assert pipe.run([1, 2, 3], executor=executor).result == [11, 12, 13]
    with executor_block(processes):
        assert gather.map([4, 5, 6], into=[10], batch=3) == [14, 15, 16]


def test_one_object_given_twice_is_one_object_for_the_step(executor):
    @mf.step
    def same(a, b):
        a += 1
        return float(np.sum(a + b)), a is b

    @mf.pipeline
    def pipe(array):
        return same(array, array)

    assert pipe.run(np.zeros(2), executor=executor).result == (4.0, True)


def test_what_cannot_be_copied_and_is_changed_is_refused():
    @mf.step
    def change(locked):
        locked.value += 1
        return locked.value

    @mf.step
    def read(locked):
        return locked.value

    @mf.pipeline
    def changing(locked):
        return change(locked)

    @mf.pipeline
    def reading(locked):
        return read(locked)

    with pytest.raises(mf.StepError, match="Locked cannot be copied") as caught:
        changing(Locked(1))
    assert isinstance(caught.value.failures[0].error, mf.UncacheableError)
    assert reading(Locked(1)) == 1


def test_what_is_ignored_stays_the_object_that_it_is():
    class Log:
        def __init__(self):
            self.lines = []

    @mf.step(ignore=("log",))
    def tell(number, log):
        log.lines.append(number)
        return number

    @mf.pipeline
    def pipe(log):
        return tell(1, log), tell(2, log=log)

    log = Log()
    pipe.run(log, executor="threads")
    assert sorted(log.lines) == [1, 2]


def test_a_call_with_a_copy_is_stored_and_its_sources_are_known(store):
    @mf.step
    def make():
        return np.ones(3)

    @mf.pipeline
    def pipe(array, settings):
        return total(array), total(settings)

    array = make()
    assert pipe(array, Settings([1, 2])) == (3.0, 3.0)
    assert total.is_cached(array)
    assert total.is_cached(Settings([1, 2]))
    entry = store.entries(bytes.fromhex(total.call(array).key))[0]
    assert [source[-1] for source in entry.meta.sources] == [producer_of(array)]


def test_a_large_array_is_mapped_once_however_many_calls_read_it():
    array = np.arange(LARGE, dtype=float)
    keeper = apart.Apart()
    views = [keeper.mapped(array).view() for _ in range(3)]
    views[0][0] = 99
    assert views[0].flags.writeable
    assert (array[0], views[1][0], views[2][0]) == (0, 0, 0)
    assert keeper.mapped(array) is keeper.mapped(array)
