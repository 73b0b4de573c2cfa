"""Processes that are killed, forked, and many at once: what was acknowledged is there, and the status is right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes_heard import rest_of

import mlflowish as mf
from mlflowish.tracking import find_run, read_runs
from mlflowish.tracking.host import Process, this_process
from mlflowish.tracking.mover import move_left_behind

LOGGER = """
import os, sys, mlflowish as mf
run = mf.start_run("victim")
os.write(1, (run.run_id + "\\n").encode())
step = 0
while True:
    mf.log_metric("x", step * 0.5, step=step)
    if step % 50 == 0:
        mf.log_param(f"p{step}", step)
    os.write(1, f"{step}\\n".encode())
    step += 1
"""


def logged(process: subprocess.Popen[str], count: int) -> int:
    """Waits until so much is logged; the last of it."""
    assert process.stdout is not None
    for _ in range(1 + count):  # the id comes first
        line = process.stdout.readline()
        assert line, process.communicate()[1]
    return int(line)


def spooled(folder: Path) -> list[Path]:
    return sorted((folder / "spool").glob("*.log"))


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[] if n < 3 else pytest.mark.nightly) for n in range(30)])
def test_what_was_acknowledged_survives_kill_9_at_any_instant(store: mf.Store, program, seed: int) -> None:
    process = program(LOGGER)
    first = logged(process, 1)
    time.sleep(random.Random(seed).random() * 0.3)
    process.send_signal(signal.SIGKILL)
    last = int([str(first), *rest_of(process)[0].split()][-1])
    run = mf.get_run(find_run(store, "victim").run_id)
    table = run.metric_history("x")
    assert table["step"].to_pylist()[: last + 1] == list(range(last + 1))
    assert all(row["value"] == row["step"] * 0.5 for row in table.to_pylist())
    assert set(run.params) >= {f"p{step}" for step in range(0, last + 1, 50)}
    assert run.status == "KILLED"


def test_a_killed_run_is_the_same_after_its_spool_was_moved(store: mf.Store, program, folder: Path) -> None:
    process = program(LOGGER)
    logged(process, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = mf.get_run(find_run(store, "victim").run_id)
    history = before.metric_history("x")
    assert move_left_behind(store) == 1
    assert spooled(folder) == []
    after = mf.get_run(before.run_id)
    assert after.metric_history("x") == history
    assert (after.params, after.status, after.metrics) == (before.params, "KILLED", before.metrics)


def test_the_death_of_a_process_is_written_down_for_other_machines(
    store: mf.Store, program, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = program(LOGGER)
    assert process.stdout.readline(), process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run_id = find_run(store, "victim").run_id
    monkeypatch.setattr("mlflowish.tracking.host.Process.is_dead", lambda self: False)
    assert mf.get_run(run_id).status == "RUNNING"
    monkeypatch.undo()
    mf.sync(store)
    monkeypatch.setattr("mlflowish.tracking.host.Process.is_dead", lambda self: False)
    assert mf.get_run(run_id, store=store).status == "KILLED"


def test_a_spool_that_was_moved_but_not_removed_changes_nothing(
    store: mf.Store, program, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = program(LOGGER)
    logged(process, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run = mf.get_run(find_run(store, "victim").run_id)
    history = run.metric_history("x")
    (file,) = spooled(folder)
    data = file.read_bytes()
    move_left_behind(store)
    file.write_bytes(data)  # the machine died between the two
    assert run.metric_history("x") == history
    assert move_left_behind(store) == 1
    assert (run.metric_history("x"), run.refresh().status) == (history, "KILLED")


def test_eight_processes_log_into_one_run(store: mf.Store, program, folder: Path) -> None:
    code = """
    import sys, mlflowish as mf
    with mf.start_run(run_id=sys.argv[1]):
        for step in range(300):
            mf.log_metric(f"worker{sys.argv[2]}", step, step=step)
            mf.log_metric("shared", int(sys.argv[2]), step=step)
        mf.log_param(f"p{sys.argv[2]}", 1)
        mf.log_text("x", f"{sys.argv[2]}.txt")
    """
    with mf.start_run() as run:
        workers = [program(code, run.run_id, str(number)) for number in range(8)]
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
        assert errors == [""] * 8
        assert run.status == "RUNNING"
    assert run.status == "FINISHED"
    assert {name: value for name, value in run.metrics.items() if name != "shared"} == {
        f"worker{number}": 299.0 for number in range(8)
    }
    assert run.metric_history("shared").num_rows == 8 * 300
    assert (len(run.params), len(run.artifacts)) == (8, 8)


def test_a_worker_that_is_killed_does_not_end_the_run(store: mf.Store, program) -> None:
    code = """
    import os, signal, sys, mlflowish as mf
    with mf.start_run(run_id=sys.argv[1]):
        mf.log_metric("x", 1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with mf.start_run() as run:
        process = program(code, run.run_id)
        complaints = process.communicate(timeout=200)[1]
        assert process.returncode == -signal.SIGKILL, complaints
        assert run.status == "RUNNING"
    assert (run.status, run.metrics) == ("FINISHED", {"x": 1.0})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_logs_into_the_run_and_does_not_end_it(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_metric("x", 0, step=0)
        pid = os.fork()
        if pid == 0:
            try:
                with run:
                    mf.log_metric("x", 1, step=1)
                    mf.log_param("from", "child")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        mf.log_metric("x", 2, step=2)
        assert run.status == "RUNNING"
        assert run.metric_history("x")["value"].to_pylist() == [0.0, 1.0, 2.0]
    assert (run.status, run.params) == ("FINISHED", {"from": "child"})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_log(store: mf.Store, run_program, method: str) -> None:
    code = """
    import multiprocessing, sys, mlflowish as mf

    def work(task):
        run_id, number = task
        if sys.argv[1] == "spawn":
            with mf.start_run(run_id=run_id):
                mf.log_metric("x", number, step=number)
        else:
            mf.log_metric("x", number, step=number)
        return number

    if __name__ == "__main__":
        with mf.start_run("parent") as run:
            with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
                pool.map(work, [(run.run_id, n) for n in range(6)])
                pool.close()
                pool.join()
            mf.log_metric("y", 1)
        print(run.status)
    """
    assert run_program(code, method).splitlines()[-1] == "FINISHED"
    run = mf.get_run(find_run(store, "parent").run_id)
    assert run.metric_history("x")["step"].to_pylist() == list(range(6))
    assert run.status == "FINISHED"


def test_a_signal_handler_may_log_in_the_middle_of_logging(store: mf.Store, run_program) -> None:
    code = """
    import signal, mlflowish as mf
    count = 0
    def handler(*_):
        global count
        mf.log_metric("handled", count, step=count)
        mf.log_metric(f"h{count % 50}", count)
        mf.log_param(f"p{count}", count)
        print("handled", flush=True)
        count += 1
        signal.setitimer(signal.ITIMER_REAL, 0.001)
    with mf.start_run("signals", console=True):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        for step in range(5000):
            mf.log_metrics({"a": step, f"b{step % 100}": step}, step=step)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    print("total", count)
    """
    total = int(run_program(code).split()[-1])
    run = mf.get_run(find_run(store, "signals").run_id)
    assert total > 0
    assert run.metric_history("handled")["step"].to_pylist() == list(range(total))
    assert run.metric_history("a")["value"].to_pylist() == [float(step) for step in range(5000)]
    assert [run.metric_history(f"b{n}")["step"].to_pylist() for n in range(100)] == [
        list(range(n, 5000, 100)) for n in range(100)
    ]
    assert len(run.params) == total


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_that_ends_ends_the_run_that_it_started(
    store: mf.Store, run_program, folder: Path, method: str
) -> None:
    code = """
    import multiprocessing, sys, mlflowish as mf

    def work():
        mf.log_metric("x", 1)
        mf.set_tag("mlflow.runName", "of a worker")

    if __name__ == "__main__":
        process = multiprocessing.get_context(sys.argv[1]).Process(target=work)
        process.start()
        process.join()
    """
    run_program(code, method)
    assert find_run(store, "of a worker").status == "FINISHED"
    assert spooled(folder) == []


def test_a_program_that_ends_ends_its_runs(store: mf.Store, run_program, folder: Path) -> None:
    run_program("import mlflowish as mf; mf.start_run('plain'); mf.log_metric('x', 1)")
    assert find_run(store, "plain").status == "FINISHED"
    assert spooled(folder) == []


def test_a_program_that_raises_outside_a_block_ends_its_run_failed(store: mf.Store, program) -> None:
    process = program("import mlflowish as mf; mf.start_run('bad'); mf.log_metric('x', 1); 1 / 0")
    process.communicate(timeout=200)
    assert (process.returncode, find_run(store, "bad").status, find_run(store, "bad").reason) == (
        1,
        "FAILED",
        "ZeroDivisionError",
    )


def test_a_terminated_process_is_seen_as_killed(store: mf.Store, program) -> None:
    process = program(LOGGER)
    assert process.stdout.readline(), process.communicate()[1]
    assert find_run(store, "victim").status == "RUNNING"
    process.terminate()
    process.communicate()
    assert find_run(store, "victim").status == "KILLED"


@pytest.mark.parametrize(
    "other",
    [
        {"boot": "another", "host": "elsewhere"},
        {"machine": "another"},
        {"host": "elsewhere"},
        {"boot": ""},
        {"namespace": "pid:[1]"},
        {"boot": "another", "namespace": "pid:[1]"},
    ],
)
def test_a_process_elsewhere_is_never_called_dead(other: dict[str, str]) -> None:
    dead_here = {**this_process().packed(), "pid": 2**22 + 1, "started": "1"}
    assert Process.unpacked(dead_here).is_dead()
    assert not Process.unpacked({**dead_here, **other}).is_dead()


def test_a_process_that_got_the_number_of_a_dead_one_is_another(store: mf.Store) -> None:
    assert not this_process().is_dead()
    assert Process.unpacked({**this_process().packed(), "started": "1"}).is_dead()


def test_a_run_that_was_killed_can_be_opened_again_and_finish(store: mf.Store, program) -> None:
    process = program(LOGGER)
    assert process.stdout.readline(), process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run_id = find_run(store, "victim").run_id
    with mf.start_run(run_id=run_id) as run:
        mf.log_metric("y", 1)
    assert (run.status, [found.status for found in read_runs(store)]) == ("FINISHED", ["FINISHED"])


def test_points_of_a_spool_file_with_damaged_bytes_are_kept_around_them(store: mf.Store, program, folder: Path) -> None:
    code = """
    import os, signal, mlflowish as mf
    with mf.start_run("hurt"):
        for step in range(1000):
            mf.log_metric("x", step, step=step)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    process = program(code)
    complaints = process.communicate(timeout=200)[1]
    assert process.returncode == -signal.SIGKILL, complaints
    (file,) = spooled(folder)
    data = bytearray(file.read_bytes())
    data[-32 * 500 + 5] ^= 0xFF
    file.write_bytes(data + b"torn")
    steps = mf.get_run(find_run(store, "hurt").run_id).metric_history("x")["step"].to_pylist()
    assert steps == [step for step in range(1000) if step != 500]
