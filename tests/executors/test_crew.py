"""The threads of an executor: no more than asked for, used again, and no reason for a program not to end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from mlflowish.executors.crew import Crew


def test_no_more_threads_than_asked_for_and_idle_ones_are_used_again():
    crew, seen, done = Crew(3), set(), threading.Semaphore(0)

    def work():
        seen.add(threading.current_thread().name)
        time.sleep(0.005)
        done.release()

    for _ in range(20):
        crew.submit(work)
    for _ in range(20):
        assert done.acquire(timeout=60)
    assert 1 <= len(seen) <= 3
    crew.end(wait=True)


def test_a_thread_that_is_idle_is_used_again():
    crew, done, names = Crew(5), threading.Semaphore(0), set()
    for _ in range(10):
        crew.submit(lambda: (names.add(threading.current_thread().name), done.release()))
        assert done.acquire(timeout=60)
        while not crew._idle._value:  # it says that it is done a moment before it is free
            time.sleep(0.001)
    assert len(names) == 1
    crew.end(wait=True)


def test_work_that_was_submitted_is_done_when_the_crew_has_ended():
    crew, done = Crew(2), []
    for number in range(30):
        crew.submit(lambda number=number: done.append(number))
    crew.end(wait=True)
    assert sorted(done) == list(range(30))


def test_a_thread_survives_what_its_work_raises(caplog):
    crew, done = Crew(1), threading.Event()
    crew.submit(lambda: 1 / 0)
    crew.submit(done.set)
    assert done.wait(60)
    assert "goes on with the next call" in caplog.text
    crew.end(wait=True)


@pytest.mark.parametrize("abandoned", [False, True])
def test_a_program_ends_after_what_it_submitted_unless_that_was_abandoned(tmp_path, abandoned):
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "from mlflowish.executors import ThreadExecutor\n"
        "executor = ThreadExecutor(2)\n"
        f"future = executor.submit(lambda: (time.sleep({600 if abandoned else 0.3}), Path('done').touch()))\n"
        "time.sleep(0.1)\n"
        f"{'executor.abandon(future)' if abandoned else ''}\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "done").exists() is not abandoned
