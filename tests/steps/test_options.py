"""The options of `@step`: each does what it says, and what contradicts is refused."""

from __future__ import annotations

import datetime
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from msgpack import packb
from processes_heard import Mortal

import mlflowish as mf
from mlflowish.steps.using import _key as using_key


@pytest.fixture
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": float("inf")}, "finite"),
        ({"lock": float("inf")}, "finite"),
        ({"depends": threading.Lock()}, r"depends\[0\] is a _thread.lock"),
        ({"depends": [len, object()]}, r"depends\[1\] is a builtins.object"),
        ({"max_age": -1}, "max_age"),
        ({"ignore": ("nope",)}, "nope"),
        ({"packages": "some"}, "packages"),
        ({"packages": {"numpy": "patch"}}, "packages"),
        ({"version": 1.5}, "version"),
        ({"name": "a/b"}, "name"),
        ({"cache": "yes"}, "cache"),
        ({"format": "papyrus"}, "papyrus"),
        ({"cache": False, "lock": True}, "contradict"),
        ({"cache": False, "max_age": 5}, "contradict"),
        ({"cache": False, "strict": True}, "contradict"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(mf.InvalidInputError, match=message):

        @mf.step(**options)
        def f(x):
            return x


@pytest.mark.parametrize("thing", [3, "name", int, [len], None.__class__])
def test_what_is_no_function_cannot_be_a_step(thing):
    with pytest.raises(mf.InvalidInputError, match="@step takes a function"):
        mf.step(thing)


def test_version_is_part_of_the_key(store):
    def f(x):
        return x

    assert not mf.step(version=1)(f).call(1).hit
    assert not mf.step(version="1")(f).call(1).hit
    assert mf.step(version=1)(f).call(1).hit


def test_ignored_arguments_do_not_count(store):
    @mf.step(ignore=("verbose",))
    def f(x, verbose=False):
        return x

    f(1)
    assert f.call(1, verbose=True).hit
    assert not f.call(2, verbose=True).hit


def test_environment_counts_and_its_values_are_not_stored(store, monkeypatch, tmp_path):
    @mf.step(env="LAB_SECRET")
    def f():
        return os.environ["LAB_SECRET"][:1]

    monkeypatch.setenv("LAB_SECRET", "aaaa-very-secret")
    assert f() == "a"
    monkeypatch.setenv("LAB_SECRET", "bbbb-very-secret")
    assert f() == "b"
    assert [difference.kind for difference in f.explain().differences] == []
    monkeypatch.setenv("LAB_SECRET", "cccc-very-secret")
    assert [difference.name for difference in f.explain().differences] == ["LAB_SECRET"]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"very-secret" not in stored


def test_without_cache_it_always_runs_and_is_recorded(store):
    ran = []

    @mf.step(cache=False)
    def f(x):
        ran.append(x)
        return x

    calls = [f.call(1), f.call(1)]
    assert (ran, [call.hit for call in calls]) == ([1, 1], [False, False])
    assert [row["status"] for row in f.history()] == ["uncached", "uncached"]


def test_a_result_older_than_max_age_is_computed_again(store):
    @mf.step(max_age=datetime.timedelta(seconds=0.05))
    def now():
        return time.time_ns()

    first = now()
    time.sleep(0.06)
    assert not now.is_cached()
    assert "max_age" in now.explain().reason
    assert now() > first


def test_retries_run_it_again(store, tmp_path):
    log = str(tmp_path / "tries")

    @mf.step(retries=2)
    def flaky(x):
        with open(log, "a+") as stream:
            stream.write("x")
            stream.seek(0)
            if len(stream.read()) < 3:
                raise ConnectionError("again")
        return x

    assert flaky(1) == 1
    assert (tmp_path / "tries").read_text() == "xxx"
    assert flaky.call(1).hit


def test_a_timeout_ends_the_call(store, tmp_path):
    end = str(tmp_path / "it was left to its end")

    @mf.step(timeout=0.1)
    def slow():
        for _ in range(10_000):
            time.sleep(0.01)
        open(end, "x").close()

    with pytest.raises(mf.StepTimeoutError, match=r"0\.1 s"):
        slow()
    assert not os.path.exists(end)
    assert [row["status"] for row in slow.history()] == ["failed"]


def test_seeded_steps_draw_the_same_and_leave_the_generators_alone(store):
    @mf.step(seed=True)
    def draw(n):
        import numpy as np

        return [random.random() for _ in range(n)] + np.random.rand(n).tolist()

    random.seed(5)
    state = random.getstate()
    first = draw(3)
    assert random.getstate() == state
    draw.forget(3)
    assert draw(3) == first
    assert draw(4)[:3] != first[:3]


def test_forget_drops_one_call_or_all(store):
    @mf.step
    def f(x):
        return x

    f.map([1, 2, 3])
    assert f.forget(1) == 1
    assert [f.is_cached(x) for x in (1, 2, 3)] == [False, True, True]
    assert f.forget() == 2
    assert not any(f.is_cached(x) for x in (1, 2, 3))
    assert not f.call(1).hit
    assert f.call(1).hit


def test_accept_keeps_results_over_an_edit(store):
    @mf.step(name="f")
    def old(x):
        return x + x

    @mf.step(name="f")
    def new(x):
        return 2 * x

    old(1)
    assert not new.is_cached(1)
    mf.accept(new, reason="same in other words")
    assert new.call(1).hit
    assert "accepted" in new.explain(1).reason
    with pytest.raises(mf.InvalidInputError, match="reason"):
        mf.accept(new, reason=" ")


@pytest.mark.parametrize("record", [b"\xc1", packb(5), packb([1 << 63, "r", "u", 0.0, "f"]), packb([b"d" * 16])])
def test_what_no_accept_can_have_written_is_passed_over(store, record: bytes):
    @mf.step(name="f")
    def double(x):
        return 2 * x

    for kind in ("accepted", "used"):
        key = using_key("f") if kind == "used" else double.fingerprint.digest
        store.journals(kind).append(key, record)
    assert (double(1), double.is_cached(1), mf.accepted(store)) == (2, True, [])


def test_accept_by_another_process_is_seen_by_one_that_has_just_looked(tmp_path):
    source = (
        "import sys, time, mlflowish as mf\nfrom mlflowish.journals import NEWS_S\n"
        "@mf.step(name='f')\ndef f(x): return {body}\n"
        "mf.use(sys.argv[1])\n"
    )
    (tmp_path / "old.py").write_text(source.format(body="x + x") + "f(1)\n")
    (tmp_path / "word.py").write_text(source.format(body="2 * x") + "mf.accept(f, reason='the same')\n")
    (tmp_path / "new.py").write_text(
        source.format(body="2 * x") + "import subprocess\n"
        "found = f.is_cached(1)\n"
        f"subprocess.run([sys.executable, {str(tmp_path / 'word.py')!r}, sys.argv[1]], check=True)\n"
        "time.sleep(NEWS_S)\nprint(found, f.is_cached(1))\n"
    )
    for name in ("old", "new"):
        command = [sys.executable, str(tmp_path / f"{name}.py"), str(tmp_path / "store")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "True"]


def _codes():
    @mf.step(name="f")
    def first(x):
        return x + x

    @mf.step(name="f")
    def second(x):
        return 3 * x - x

    @mf.step(name="f")
    def third(x):
        return 2 * x

    return first, second, third


def test_accept_means_the_code_that_was_used_last_also_by_a_hit(store):
    first, second, third = _codes()
    first(1)
    second(1)
    assert _codes()[0].call(1).hit  # back to the first code
    assert mf.accept(third, reason="same") == first.fingerprint.digest.hex()
    assert third.explain(1).nearest == first.call(1).key


def test_accept_after_the_present_code_ran_already_means_the_code_before_it(store):
    first, second, _ = _codes()
    first(1)
    second(2)
    assert mf.accept(second, reason="same") == first.fingerprint.digest.hex()
    assert second.call(1).hit


def test_accepting_the_same_again_leaves_one_record(store):
    first, second, _ = _codes()
    first(1)
    for _ in range(2):
        mf.accept(second, reason="same")
        second(1)
    assert [row["earlier"] for row in mf.accepted(store)] == [first.fingerprint.digest.hex()]


def test_accept_takes_the_previous_code_that_is_named(store):
    first, second, third = _codes()
    first(1), second(2)
    mf.accept(third, reason="same", previous=first.fingerprint.digest.hex())
    assert third.call(1).hit
    assert not third.is_cached(2)
    with pytest.raises(mf.NotFoundError, match="there are results by"):
        mf.accept(third, reason="same", previous="0" * 32)


def test_which_code_is_in_use_is_recorded_once_per_change_and_not_per_call_or_process(store):
    from mlflowish.steps import using

    for _ in range(3):
        first, second, _ = _codes()
        first(1), first(1), first(2)
    second(1), second(1)
    used = [digest for _, digest in using.history(store, "f")]
    assert used == [first.fingerprint.digest, second.fingerprint.digest]


def test_accept_needs_something_to_accept(store):
    @mf.step
    def f(x):
        return x

    with pytest.raises(mf.NotFoundError, match="no stored result"):
        mf.accept(f, reason="because")
    f(1)
    with pytest.raises(mf.StateError, match="nothing to accept"):
        mf.accept(f, reason="because")


_LOCKED = """
import sys, time
import mlflowish as mf
mf.use(sys.argv[1])

@mf.step(lock=True, ignore=("log",))
def slow(x, log):
    with open(log, "a") as f:
        f.write("ran\\n")
    time.sleep(0.5)
    return x

assert slow(1, sys.argv[2]) == 1
"""


def test_of_eight_processes_with_lock_one_computes(tmp_path):
    script = tmp_path / "locked.py"
    script.write_text(_LOCKED)
    log = tmp_path / "log"
    command = [sys.executable, str(script), str(tmp_path / "store"), str(log)]
    processes = [Mortal(command) for _ in range(8)]
    assert [process.wait(240) for process in processes] == [0] * 8
    assert log.read_text() == "ran\n"


def test_a_lease_of_a_dead_holder_expires(tmp_path):
    script = tmp_path / "locked.py"
    script.write_text(
        _LOCKED.replace("lock=True", "lock=1.0").replace("time.sleep(0.5)", "time.sleep(float(sys.argv[3]))")
    )
    log = tmp_path / "log"
    command = [sys.executable, str(script), str(tmp_path / "store"), str(log)]
    holder = Mortal([*command, "600"])
    while not (log.exists() and log.read_text()):  # there is a file before something is in it
        assert holder.poll() is None
        time.sleep(0.02)
    holder.kill()
    holder.wait()
    assert subprocess.run([*command, "0"], timeout=200, check=False).returncode == 0
    assert log.read_text() == "ran\nran\n"


def test_a_timeout_of_many_lives_is_no_timeout(store):
    assert mf.step(timeout=1e12)(len)("abc") == 3
