"""A map over units: what runs, what is read back, what the results are called, and what goes wrong."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from pathlib import Path

import pytest
from processes_heard import end_fork

import mlflowish as mf

RAN: list[str] = []


@pytest.fixture(autouse=True)
def ran():
    RAN.clear()
    return RAN


def shout(file: mf.File, end: str = "") -> str:
    RAN.append(file.name)
    return file.read_text().upper() + end


@pytest.fixture(params=[1, 7], ids=["each", "batches"])
def mapped(request):
    """`map` of a step, each call by itself or in batches."""
    options = {} if request.param == 1 else {"batch": request.param}
    return lambda step, *inputs, **common: step.map(*inputs, **common, **options)


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.nightly)])
def test_of_many_files_only_the_new_ones_are_computed(write, mapped, ran, count):
    write(*(f"data/{n:05}.txt" for n in range(count)))
    step = mf.step(shout)
    assert len(mapped(step, mf.files("data/*.txt"))) == len(ran) == count
    ran.clear()
    write("data/new-1.txt", "data/new-2.txt", "data/00007-b.txt")
    results = mapped(step, mf.files("data/*.txt"))
    assert sorted(ran) == ["00007-b.txt", "new-1.txt", "new-2.txt"]
    assert results.names == sorted(results.names)
    assert all(value == name.upper() for name, value in results.items())


def test_a_changed_file_is_computed_again_and_a_renamed_one_is_not(write, mapped, ran):
    write("a.txt", "b.txt", "c.txt")
    step, units = mf.step(shout), mf.files("*.txt")
    mapped(step, units)
    ran.clear()
    Path("b.txt").write_text("other")
    os.rename("c.txt", "d.txt")
    results = mapped(step, units)
    assert results.to_dict() == {"a.txt": "A.TXT", "b.txt": "OTHER", "d.txt": "C.TXT"}
    assert ran == ["b.txt"]


def test_what_has_vanished_is_in_no_result_and_what_returns_is_a_hit(write, mapped, ran):
    write("a.txt", "b.txt")
    step, units = mf.step(shout), mf.files("*.txt")
    mapped(step, units)
    Path("a.txt").unlink()
    assert mapped(step, units).to_dict() == {"b.txt": "B.TXT"}
    write("a.txt")
    assert mapped(step, units).names == ["a.txt", "b.txt"]
    assert len(ran) == 2


def test_equal_files_are_computed_once(write, mapped, ran):
    write("a.txt", "b.txt", "c.txt", text="same")
    assert list(mapped(mf.step(shout), mf.files("*.txt"))) == ["SAME"] * 3
    assert len(ran) == 1


def test_results_are_a_list_and_found_by_name(write):
    write("a.txt", "b.txt")
    results = mf.step(shout).map(mf.files("*.txt"))
    assert results == ["A.TXT", "B.TXT"]
    assert (results[0], results[-1], results["b.txt"], results[:1]) == ("A.TXT", "B.TXT", "B.TXT", ["A.TXT"])
    assert [unit.value.path for unit in results.units] == ["a.txt", "b.txt"]
    assert pickle.loads(pickle.dumps(results)).names == results.names
    with pytest.raises(mf.NotFoundError, match=r"no result of a unit 'c\.txt'"):
        results["c.txt"]


def test_results_are_an_argument_in_which_names_count_and_are_stored_as_a_result(write):
    write("a.txt", "b.txt")
    step = mf.step(shout)

    @mf.step
    def together(results):
        return dict(results.items())

    @mf.step
    def everything(units):
        return step.map(units)

    units = mf.files("*.txt")
    assert together(step.map(units)) == {"a.txt": "A.TXT", "b.txt": "B.TXT"}
    assert together.is_cached(step.map(units))
    os.rename("b.txt", "c.txt")
    assert together(step.map(units)) == {"a.txt": "A.TXT", "c.txt": "B.TXT"}
    assert everything(units).names == everything(units).names == ["a.txt", "c.txt"]
    assert everything.is_cached(units)


def test_units_go_in_step_with_other_iterables_and_with_lists_of_units(write):
    write("a.txt", "b.txt")
    step, units = mf.step(shout), mf.files("*.txt")
    assert step.map(units, ["!", "?"]).to_dict() == {"a.txt": "A.TXT!", "b.txt": "B.TXT?"}
    assert step.map([units[1]], ["!"]) == ["B.TXT!"]
    assert step(*units["a.txt"], end="!") == "A.TXT!"
    with pytest.raises(mf.InvalidInputError, match="not equally long"):
        step.map(units, ["!"])


def test_methods_and_coroutines_are_mapped_over_units_too(write):
    write("a.txt", "b.txt")

    class Reader:
        @mf.step
        def read(self, file):
            return file.read_text()

    @mf.step
    async def later(file):
        return file.read_text()

    units = mf.files("*.txt")
    assert Reader().read.map(units)["b.txt"] == "b.txt"
    assert asyncio.run(later.map(units))["a.txt"] == "a.txt"


def test_a_step_with_a_parameter_named_batch_gets_it(write):
    write("a.txt")

    @mf.step
    def parts(file, batch):
        return batch

    assert parts.map(mf.files("*.txt"), batch=3) == [3]
    with pytest.raises(mf.InvalidInputError, match="1 or more, found 0"):
        mf.step(shout).map(mf.files("*.txt"), batch=0)


def test_what_is_known_of_files_is_written_into_a_store_that_is_whole(write, store, tmp_path):
    Path("large.bin").write_bytes(os.urandom(1 << 19))
    os.utime("large.bin", ns=(10**18 + 1, 10**18 + 1))
    time.sleep(2.1)

    @mf.step(cache=False)
    def size(file):
        return len(file.read_bytes())

    assert size.map(mf.files("*.bin")) == [1 << 19]
    assert len(list(store.journals("files").scan())) == 1
    assert not mf.fsck(store).findings


# -- failures ------------------------------------------------------------------------------------------


def test_what_succeeded_is_kept_and_failures_are_found_by_place_and_name(write, mapped, ran):
    write(*(f"{n:02}.txt" for n in range(20)))
    Path("13.txt").write_text("bad")

    @mf.step
    def strict(file):
        RAN.append(file.name)
        if file.read_text() == "bad":
            raise ValueError("not readable")
        return file.name

    with pytest.raises(mf.StepError, match=r"1 of 20 items failed, the first at index 13 \(13\.txt\)") as caught:
        mapped(strict, mf.files("*.txt"))
    assert list(caught.value.failures) == [13]
    assert isinstance(caught.value.units["13.txt"], ValueError)
    assert caught.value.results[19] == "19.txt"
    ran.clear()
    Path("13.txt").write_text("good")
    assert mapped(strict, mf.files("*.txt"))["13.txt"] == "13.txt"
    assert ran == ["13.txt"]


def test_a_file_that_vanishes_between_listing_and_reading_fails_alone(write, mapped):
    write("a.txt", "c.txt")
    os.symlink("gone", "b.txt")
    with pytest.raises(mf.StepError, match=r"1 of 3 items failed, the first at index 1 \(b\.txt\): NotFoundError") as e:
        mapped(mf.step(shout), mf.files("*.txt"))
    assert e.value.results == ["A.TXT", None, "C.TXT"]


# -- outputs -------------------------------------------------------------------------------------------


@mf.step
def written(file: mf.File, into: str) -> mf.File:
    Path(into).parent.mkdir(exist_ok=True)
    target = Path(into.format(file.name))
    target.write_text(file.read_text().upper())
    return mf.File(target)


def test_two_units_that_write_one_output_are_named_and_what_they_stored_is_forgotten(write, mapped):
    write("a.txt", "b.txt", "c.txt")
    units = mf.files("*.txt")
    with (
        mf.executor("threads", workers=1),
        pytest.raises(
            mf.StepError, match=r"index 0 \(a\.txt\) and of index 1 \(b\.txt\) are both out/same\.txt"
        ) as caught,
    ):
        mapped(written, units, into="out/same.txt")
    assert len(caught.value.clashes) == 2
    assert not any(written.is_cached(*unit, into="out/same.txt") for unit in units)
    results = mapped(written, units, into="out/{}")
    assert [Path(file).read_text() for file in results] == ["A.TXT", "B.TXT", "C.TXT"]
    Path("out/a.txt").unlink()
    assert Path(mapped(written, units, into="out/{}")["a.txt"]).read_text() == "A.TXT"


def test_equal_outputs_of_units_that_ran_are_not_believed_either(write):
    write("a.txt", "b.txt")

    @mf.step
    def constant(file):
        Path("out.txt").write_text(str(len(file.read_text())))
        return {"file": [mf.File("out.txt")]}

    with pytest.raises(mf.StepError, match=r"are both out\.txt"):
        constant.map(mf.files("?.txt"))


def test_an_output_that_was_put_back_while_another_unit_wrote_it_is_not_believed(write):
    """The hit comes second: its file is put back while the first unit, which runs, is between writing and storing."""
    write("a.txt", "b.txt")
    out = Path("out.txt")

    def holds(text):
        deadline = time.monotonic() + 60
        while not (out.exists() and out.read_text() == text):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return 0

    @mf.step(depends=(holds,))
    def slow(file, n):
        out.write_text(file.read_text())
        if file.name == "a.txt":
            holds("b.txt")
        return mf.File("out.txt")

    slow(mf.File("b.txt"), 0)
    out.unlink()
    with mf.executor("threads", workers=2), pytest.raises(mf.StepError, match=r"are both out\.txt"):
        slow.map(mf.files(["a.txt", "b.txt"]), (n if n == 0 else holds("a.txt") for n in range(2)))
    assert (slow.is_cached(mf.File("a.txt"), 0), slow.is_cached(mf.File("b.txt"), 0)) == (False, True)


def test_equal_files_of_coroutines_and_steps_may_have_one_output(write):
    write("a.txt", "b.txt", text="same")

    @mf.step
    async def later(file):
        Path("later.txt").write_text(file.read_text())
        return mf.File("later.txt")

    @mf.step
    def now(file):
        Path("now.txt").write_text(file.read_text())
        return mf.File("now.txt")

    assert [file.read_text() for file in asyncio.run(later.map(mf.files("?.txt")))] == ["same", "same"]
    assert [file.read_text() for file in now.map(mf.files("?.txt"))] == ["same", "same"]


def test_results_that_were_read_back_clash_if_they_differ(write):
    write("a.txt", "b.txt")
    for unit in mf.files("*.txt"):
        written(*unit, into="out.txt")
        Path("out.txt").unlink()
    Path("out.txt").unlink(missing_ok=True)
    units = mf.files(["a.txt", "b.txt"])
    with pytest.raises(mf.StepError, match=r"are both out\.txt"):
        written.map(units, into="out.txt")
    assert all(written.is_cached(*unit, into="out.txt") for unit in units)


def test_two_units_that_return_one_folder_clash(write):
    write("a.txt", "b.txt")

    @mf.step
    def unpack(file):
        Path("out").mkdir(exist_ok=True)
        (Path("out") / file.name).write_text("x")
        return mf.Dir("out")

    with mf.executor("serial"), pytest.raises(mf.StepError, match="are both out,"):
        unpack.map(mf.files("*.txt"))


def test_a_file_that_was_given_is_no_output(write):
    write("a.txt", "b.txt", "model.bin")

    @mf.step
    def same(file, model):
        return model, len(file.read_text())

    results = same.map(mf.cross(mf.files("*.txt"), mf.files("model.bin")))
    assert results["b.txt + model.bin"][1] == 5


# -- what is set up once per worker ----------------------------------------------------------------------


def test_what_is_per_worker_is_built_once_whatever_the_number_of_threads_and_items(write, mapped):
    write(*(f"{n}.txt" for n in range(40)))
    built = []

    @mf.per_worker
    def table(version):
        time.sleep(0.05)
        built.append((version, threading.get_ident()))
        return {"version": version}

    @mf.step
    def look_up(file, version):
        return table(version)["version"]

    with mf.executor("threads", workers=8):
        assert set(mapped(look_up, mf.files("*.txt"), version=3)) == {3}
        assert set(mapped(look_up, mf.files("*.txt"), version=4)) == {4}
    assert [version for version, _ in built] == [3, 4]
    table.clear()
    look_up.forget()
    mapped(look_up, mf.files("0.txt"), version=3)
    assert len(built) == 3


def test_the_code_of_what_is_per_worker_counts_and_its_value_does_not():
    def make(factor, value):
        namespace = {"mf": mf, "value": value}
        source = f"@mf.per_worker\ndef model(): return {factor}\n@mf.step\ndef predict(x): return model() * x\n"
        Path("predicting.py").write_text("import mlflowish as mf\n" + source)
        exec(compile(Path("predicting.py").read_text(), os.path.abspath("predicting.py"), "exec"), namespace)
        return namespace["predict"]

    first = make(2, None)
    before = first.fingerprint.digest
    assert first(3) == 6
    assert first.fingerprint.digest == before
    assert make(3, None).fingerprint.digest != before


def test_a_failed_set_up_is_tried_again_and_kinds_of_arguments_are_told_apart():
    tries = []

    @mf.per_worker
    def fragile(x):
        tries.append(x)
        if len(tries) == 1:
            raise OSError("not yet")
        return type(x)

    with pytest.raises(OSError, match="not yet"):
        fragile(1)
    assert (fragile(1), fragile(1), fragile(1.0), fragile(True)) == (int, int, float, bool)


def test_what_arrives_by_value_is_built_once_however_often_it_arrives():
    import cloudpickle

    sent = [cloudpickle.dumps(mf.per_worker(lambda name: [name])) for _ in range(2)]
    first, again, newer = (pickle.loads(one) for one in (sent[0], sent[0], sent[1]))
    assert first("a") is again("a")
    assert newer("a") is not first("a")


@mf.per_worker
def per_process() -> int:
    return os.getpid()


def test_it_travels_without_what_it_holds_and_a_forked_child_builds_its_own():
    assert per_process() == os.getpid()
    assert pickle.loads(pickle.dumps(per_process)) is per_process
    child = os.fork()
    if child == 0:
        end_fork(lambda: per_process() == os.getpid())
    assert os.waitpid(child, 0) == (child, 0)
