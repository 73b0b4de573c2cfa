"""Units that a step makes, batches, plans and what goes wrong, in pipelines."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mlflowish as mf
from mlflowish.codecs import encode
from mlflowish.codecs.streams import dump
from mlflowish.executors import executor_block
from mlflowish.executors.processes import ProcessExecutor
from mlflowish.hashing import hexdigest
from mlflowish.pipelines import Observer
from mlflowish.units.storing import UnitsCodec

LOCK = threading.Lock()
HEAD = (
    "8005953d000000000000008c05706c61696e94432f80059524000000000000005d94288c056461793d31944b078c0178948694"
    "7d948c03646179944b01734b107494612e9486942e"
)


@mf.step(ignore=("log",))
def read(file: mf.File, log: str) -> str:
    with LOCK, open(log, "a") as lines:
        lines.write(f"{file.name}\n")
    text = file.read_text()
    if text == "bad":
        raise ValueError("bad")
    return text.upper()


@mf.step
def joined(texts: list[str]) -> str:
    return " ".join(texts)


@mf.step
def table(days: int) -> pd.DataFrame:
    return pd.DataFrame({"day": [n // 2 for n in range(2 * days)], "n": list(range(2 * days))})


@mf.step
def by_day(sales: pd.DataFrame) -> mf.Units:
    return mf.partitions(sales, by="day")


@mf.step(ignore=("log",))
def total(part: pd.DataFrame, log: str) -> int:
    with LOCK, open(log, "a") as lines:
        lines.write(f"{len(part)}\n")
    return int(part["n"].sum())


def ran(log: str) -> list[str]:
    """What ran since the last time."""
    lines = Path(log).read_text().splitlines() if Path(log).exists() else []
    Path(log).write_text("")
    return sorted(lines)


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "log")


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessExecutor]:
    """For all tests here: processes take long to start."""
    executor = ProcessExecutor(2)
    yield executor
    executor.shutdown()


@pytest.fixture
def on(processes: ProcessExecutor) -> Any:
    """The block in which an executor of that kind is active."""

    @contextmanager
    def block(kind: str) -> Iterator[Any]:
        if kind == "processes":
            with executor_block(processes):
                yield processes
        else:
            with mf.executor(kind, workers=2) as executor:
                yield executor

    return block


# -- units that a step makes -----------------------------------------------------------------------------


@mf.pipeline
def daily(days: int, log: str):
    return total.map(by_day(table(days)), log=log)


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_the_parts_of_a_result_are_units_and_only_those_that_are_new_run(log, kind, on):
    with on(kind):
        assert daily(3, log) == [1, 5, 9]
        assert daily.run(3, log).is_whole_hit
        assert ran(log) == ["2"] * 3
        assert daily(4, log) == [1, 5, 9, 13]
    assert ran(log) == ["2"]
    assert total.map(mf.partitions(table(4), by="day"), log=log).names == ["day=0", "day=1", "day=2", "day=3"]
    assert ran(log) == []


def test_units_of_what_is_in_memory_are_a_result_like_any_other(store):
    units = by_day(table(2))
    call = by_day.call(table(2))
    assert (call.hit, call.output) == (True, hexdigest(units))
    assert (call.value.names, [unit.keys for unit in call.value]) == (["day=0", "day=1"], [{"day": 0}, {"day": 1}])
    assert call.value.is_fixed
    assert call.value["day=1"].value.equals(units["day=1"].value)
    with mf.Store(store.url, allow_pickle=False):  # stored as frames, which run no code
        assert by_day.call(table(2)).hit


def test_the_stored_form_of_units_is_what_it_was():
    units = mf.partitions(pd.DataFrame({"day": [1], "n": [2]}), by="day")
    inner = encode([(unit.name, (7, "x"), dict(unit.keys), 16) for unit in units])
    head = bytes.fromhex(HEAD)
    assert dump((inner.codec, inner.head)).joined() == head
    (unit,) = UnitsCodec().decode(head, (), allow_pickle=False)
    assert (unit.name, unit.values, unit.keys, unit.size_bytes) == ("day=1", (7, "x"), {"day": 1}, 16)
    for damaged in (dump((1, 2)).joined(), dump(("plain", dump([1]).joined())).joined(), b"x"):
        with pytest.raises(mf.IntegrityError):
            UnitsCodec().decode(damaged, (), allow_pickle=False)


def test_each_part_knows_the_step_that_made_it(log):
    daily(2, log)
    call = total.call(by_day(table(2))[1].value, log=log)
    assert call.hit
    assert f"call:{by_day.call(table(2)).key}" in mf.lineage.of(call).upstream().graph.nodes


@mf.step(cache=False)
def listing(folder: str) -> mf.Units:
    return mf.files(f"{folder}/*.txt")


@mf.step
def careless(folder: str) -> mf.Units:
    return mf.files(f"{folder}/*.txt")


@mf.step
def names(units: mf.Units) -> list[str]:
    return [unit.value.read_text() for unit in units]


@mf.pipeline
def listed(folder: str, log: str):
    found = listing(folder)
    return read.map(found, log=log, batch=2), names(found)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_step_that_lists_a_folder_lists_it_each_time(write, log, kind, on):
    write("d/a.txt", "d/b.txt")
    with on(kind):
        assert listed("d", log) == (["D/A.TXT", "D/B.TXT"], ["d/a.txt", "d/b.txt"])
        assert ran(log) == ["a.txt", "b.txt"]
        write("d/c.txt")
        Path("d/a.txt").unlink()
        Path("d/b.txt").rename("d/e.txt")
        assert listed("d", log) == (["D/C.TXT", "D/B.TXT"], ["d/c.txt", "d/b.txt"])
        assert ran(log) == ["c.txt"]
        assert not listed.run("d", log).is_whole_hit


def test_a_listing_is_never_stored_and_it_is_said_what_to_do(write, log):
    write("d/a.txt")

    @mf.pipeline
    def whole():
        return read.map(careless("d"), log=log)

    for _ in range(2):
        with pytest.warns(mf.UncachedWarning, match=r"List in the body of the pipeline.*cache=False") as told:
            assert whole() == ["D/A.TXT"]
        assert len(told) == 1
    assert not careless.is_cached("d")
    strict = mf.step(strict=True)(lambda: [mf.files("d")])
    with pytest.raises(mf.UncacheableError, match="listed anew each time"):
        strict()


def test_secrets_of_units_that_a_step_returns_are_not_stored(store):
    @mf.step(cache=False)
    def far():
        return mf.files("s3://bucket/*.txt", key="AKIA-name", secret="very-secret-word")

    @mf.step
    def near():
        return mf.files("s3://bucket/*.txt", key="AKIA-name", secret="very-secret-word")

    far()
    with pytest.warns(mf.UncachedWarning) as told:
        near()
    store.flush()
    assert "very-secret-word" not in str(told[0].message)
    folder = Path(store.url.removeprefix("file://"))
    assert not [path for path in folder.rglob("*") if path.is_file() and b"very-secret-word" in path.read_bytes()]


def test_units_of_a_step_are_combined_by_a_step_and_not_in_the_body(write, log):
    write("m.txt")

    @mf.step(cache=False)
    def with_model(parts) -> mf.Units:
        return mf.cross(parts, mf.files("m.txt"))

    @mf.step
    def scored(part, model):
        return len(part), model.read_text()

    @mf.pipeline
    def good():
        return scored.map(with_model(by_day(table(2))))

    @mf.pipeline
    def bad():
        return scored.map(mf.cross(by_day(table(2)), mf.files("m.txt")))

    assert good() == [(2, "m.txt"), (2, "m.txt")]
    with pytest.raises(mf.InvalidInputError, match=r"by_day.*has not run yet.*Let a step take it, combine it"):
        bad()
    with_model.fn.__annotations__.clear()
    with pytest.raises(mf.InvalidInputError, match=r"missing.*'model'.*annotate the step.*-> mf\.Units"):
        good()


# -- batches ---------------------------------------------------------------------------------------------


class Together:
    """Which parcels an executor got."""

    on_mismatch: Any = "raise"

    def __init__(self, inner: Any) -> None:
        self._inner, self.count = inner, 0

    @property
    def in_process(self) -> bool:
        return bool(self._inner.in_process)

    @property
    def workers(self) -> int:
        return int(self._inner.workers)

    def submit(self, function: Any, **options: Any) -> Any:
        self.count += 1
        return self._inner.submit(function, **options)

    def shutdown(self, *, cancel: bool = False) -> None:
        self._inner.shutdown(cancel=cancel)


@mf.pipeline
def in_batches(pattern: str, log: str, batch: int):
    return joined(read.map(mf.files(pattern), log=log, batch=batch))


@mf.pipeline
def of_a_node(folder: str, log: str, batch: int):
    return joined(read.map(listing(folder), log=log, batch=batch))


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_a_batch_is_one_submission_with_the_digests_of_single_calls(write, log, kind, tmp_path, on):
    write(*(f"d/{n:02}.txt" for n in range(10)))
    found = []
    for place, batch in enumerate((1, 4, 100)[: 3 if kind != "processes" else 2]):
        with mf.Store(tmp_path / f"store-{place}") as store, on(kind) as inner:
            counting = Together(inner)
            with mf.executor(counting):
                result = in_batches("d/*.txt", log, batch)
            assert len(ran(log)) == 10
            assert counting.count == {1: 10, 4: 3, 100: 1}[batch] + 1
            found.append((result, {(call.key.hex(), call.meta.output) for call in store.calls() if _is_step(call)}))
            if batch > 1:
                write("d/new.txt")
                assert of_a_node("d", log, batch).endswith("D/NEW.TXT")
                assert ran(log) == ["new.txt"]
                Path("d/new.txt").unlink()
    assert all(each == found[0] for each in found)


def _is_step(call: Any) -> bool:
    return "in_batches" not in str(call.meta.step)  # the pipeline has the size of the batches as its argument


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_of_a_batch_what_fails_is_named_and_the_others_are_kept(write, log, kind, on):
    write(*(f"{n}.txt" for n in range(6)))
    Path("3.txt").write_text("bad")
    with on(kind):
        with pytest.raises(mf.StepError, match=r"read\[3\.txt\].*ValueError: bad") as caught:
            in_batches("?.txt", log, 6)
        assert len(caught.value.failures) == 1
        assert len(ran(log)) == 6
        write("3.txt")
        assert in_batches("?.txt", log, 6) == "0.TXT 1.TXT 2.TXT 3.TXT 4.TXT 5.TXT"
    assert ran(log) == ["3.txt"]


@mf.step
def deadly(file: mf.File) -> str:
    if file.read_text() == "bad":
        os._exit(3)
    return file.name


@mf.pipeline
def mortal():
    return deadly.map(mf.files("?.txt"), batch=3)


@mf.pipeline
def untravelled(lock: Any):
    return held.map([1, 2, lock], batch=3)


@mf.step
def held(value: Any) -> str:
    return type(value).__name__


@pytest.mark.nightly  # seven processes start
@pytest.mark.filterwarnings("ignore::mlflowish.WorkerWarning")
def test_of_a_batch_that_ends_its_worker_only_the_one_that_did_fails(write):
    write("0.txt", "1.txt", "2.txt")
    Path("1.txt").write_text("bad")
    with mf.executor("processes", workers=1), pytest.raises(mf.StepError) as caught:
        mortal()
    assert [(failure.label, type(failure.error)) for failure in caught.value.failures] == [
        ("deadly[1.txt]", mf.WorkerDiedError)
    ]
    assert deadly.is_cached(mf.File("0.txt"))
    assert deadly.is_cached(mf.File("2.txt"))
    deadly.forget()
    with mf.executor("processes", workers=1), pytest.raises(mf.StepError, match="1 of 3 items failed") as caught:
        deadly.map(mf.files("?.txt"), batch=3)
    assert [type(error) for error in caught.value.units.values()] == [mf.WorkerDiedError]
    assert caught.value.results == ["0.txt", None, "2.txt"]


def test_of_a_batch_what_cannot_travel_stays_and_the_others_go(on):
    with (
        warnings.catch_warnings(),
        on("processes"),
        pytest.raises(mf.StepError, match="argument 'value'") as caught,
    ):
        warnings.simplefilter("ignore", mf.UncachedWarning)
        untravelled(threading.Lock())
    assert len(caught.value.failures) == 1
    assert held.is_cached(2)
    held.forget()
    with on("processes"), pytest.raises(mf.StepError, match="1 of 3 items failed, the first at index 1") as caught:
        held.map([1, threading.Lock(), 2], batch=3)
    assert caught.value.results == ["int", None, "int"]


def test_what_fails_in_a_batch_stops_the_rest_if_it_is_to(write, log):
    write(*(f"{n}.txt" for n in range(6)))
    Path("0.txt").write_text("bad")
    with pytest.raises(mf.StepError, match="bad"):
        in_batches.run("?.txt", log, 2, executor="serial", on_failure="stop")
    assert ran(log) == ["0.txt", "1.txt"]


def test_calls_of_a_batch_are_told_of_one_by_one(write, log):
    write("a.txt", "b.txt", "c.txt")

    class Log(Observer):
        def __init__(self) -> None:
            self.changes: list[tuple[str, str]] = []

        def begin(self, pipeline: str, nodes: Any) -> None:
            """Nothing."""

        def change(self, change: Any) -> None:
            self.changes.append((change.node.label, change.state))

        def end(self, ending: Any) -> None:
            """Nothing."""

    seen = Log()
    in_batches.run("?.txt", log, 2, observers=[seen])
    for name in "abc":
        label = f"read[{name}.txt]"
        assert [state for found, state in seen.changes if found == label] == ["running", "done"]


# -- plans -----------------------------------------------------------------------------------------------


@mf.step
def length(text: str) -> int:
    return len(text)


@mf.pipeline
def lengths(pattern: str, log: str):
    return length.map(read.map(mf.files(pattern), log=log))


def test_a_plan_says_how_many_units_are_new_and_which(write, log):
    write(*(f"d/{n}.txt" for n in range(8)))
    lengths("d/*.txt", log)
    write("d/x.txt", "d/y.txt")
    plan = lengths.plan("d/*.txt", log)
    assert plan.counts() == {"hit": 16, "run": 2, "unknown": 2}
    assert [node.unit for node in plan if node.state == "run"] == ["d/x.txt", "d/y.txt"]
    text = str(plan)
    assert "read ×10" in text
    assert "8 hit, 2 run (d/x.txt, d/y.txt)" in text
    assert "8 hit, 2 unknown" in text
    assert len(text.splitlines()) == 3


def test_a_plan_knows_the_items_of_what_plain_calls_have_stored(log):
    @mf.pipeline
    def twice(days: int):
        return length.map(read_all.map(texts(days)))

    @mf.step
    def texts(n: int) -> list[str]:
        return ["a" * k for k in range(n)]

    @mf.step
    def read_all(text: str) -> str:
        return 2 * text

    assert [node.state for node in twice.plan(3)] == ["run", "unknown", "unknown"]
    for text in texts(3)[:2]:
        read_all(text)
    length("aa")
    first, second, third = twice.plan(3)
    assert (first.state, second.items, third.items) == ("hit", {"hit": 2, "run": 1}, {"hit": 1, "run": 1, "unknown": 1})
    assert (second.state, third.state) == ("run", "run")


# -- what goes wrong -------------------------------------------------------------------------------------


@mf.step
def same_output(file: mf.File) -> mf.File:
    Path("out.txt").write_text(file.read_text())
    return mf.File("out.txt")


@mf.pipeline
def clashing(batch: int):
    return same_output.map(mf.files("?.txt"), batch=batch)


@pytest.mark.parametrize(("kind", "batch"), [("serial", 1), ("threads", 2), ("processes", 2)])
def test_two_units_that_write_one_output_are_named(write, kind, batch, on):
    write("a.txt", "b.txt")
    with (
        on(kind),
        pytest.raises(mf.StepError, match=r"same_output\[[ab]\.txt\].*same_output\[[ab]\.txt\].*out\.txt"),
    ):
        clashing(batch)
    assert not any(same_output.is_cached(*unit) for unit in mf.files("?.txt"))


def test_a_file_that_vanishes_after_it_was_listed_fails_alone(write, log):
    write("a.txt", "b.txt", "c.txt")

    @mf.pipeline
    def vanishing():
        results = read.map(mf.files("?.txt"), log=log)
        Path("b.txt").unlink(missing_ok=True)
        return results

    with pytest.raises(mf.StepError, match=r"read\[b\.txt\].*There is no file at b\.txt"):
        vanishing()
    assert ran(log) == ["a.txt", "c.txt"]
    assert vanishing() == ["A.TXT", "C.TXT"]
    assert ran(log) == []


def test_empty_folders_and_duplicates_are_what_they_are(write, log):
    Path("empty").mkdir()
    write("d/a.txt", "d/b.txt", text="same")
    assert in_batches("empty/*.txt", log, 3) == ""
    assert of_a_node("empty", log, 3) == ""
    assert in_batches("d/*.txt", log, 3) == "SAME SAME"
    assert len(ran(log)) == 1
    with pytest.raises(mf.NotFoundError, match="There is no folder at nothing"):
        in_batches("nothing/*.txt", log, 1)


@mf.step(ignore=("changes",))
def grown(file: mf.File, changes: bool) -> str:
    before = file.read_text()
    if changes and file.name == "a.txt":
        Path("a.txt").write_text(before + "+")
    return before


@mf.pipeline
def growing(changes: bool, batch: int):
    return grown.map(mf.files("?.txt"), changes=changes, batch=batch)


@pytest.mark.parametrize(("kind", "batch"), [("threads", 1), ("threads", 2)])
def test_a_file_that_changes_while_it_is_worked_on_gives_a_result_that_is_not_kept(write, kind, batch, on):
    write("a.txt", "b.txt")
    with on(kind):
        with pytest.warns(mf.UncachedWarning, match="changes its argument 'file', or somebody else did"):
            assert growing(True, batch) == ["a.txt", "b.txt"]
        assert growing(False, batch) == ["a.txt+", "b.txt"]
        assert growing(False, batch) == ["a.txt+", "b.txt"]
