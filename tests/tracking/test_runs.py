"""Runs as users log and read them."""

from __future__ import annotations

import math
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

import mlflowish as mf
from mlflowish.errors import InvalidInputError, NotFoundError, StateError
from mlflowish.tracking import read_runs


def test_a_run_gives_back_what_was_logged(store: mf.Store) -> None:
    with mf.start_run("first", experiment="churn", tags={"team": "x"}, description="a try") as run:
        mf.log_param("lr", 0.1)
        mf.log_params({"depth": 3, "name": "forest"})
        mf.log_metric("loss", 0.5, step=1)
        mf.log_metrics({"loss": 0.25, "accuracy": 0.9}, step=2)
    found = mf.get_run(run.run_id)
    assert (found.name, found.experiment, found.status) == ("first", "churn", "FINISHED")
    assert found.params == {"lr": "0.1", "depth": "3", "name": "forest"}
    assert found.metrics == {"loss": 0.25, "accuracy": 0.9}
    assert found.tags["team"] == "x"
    assert found.description == "a try"


def test_a_run_is_readable_while_it_is_open(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_metric("loss", 0.5)
        assert (run.metrics, run.status) == ({"loss": 0.5}, "RUNNING")
        mf.log_metric("loss", 0.4, step=1)
        assert run.metrics == {"loss": 0.4}
        assert mf.get_run(run.run_id).metrics == {"loss": 0.4}


def test_another_process_sees_what_was_logged_at_once(store: mf.Store, run_program) -> None:
    with mf.start_run() as run:
        mf.log_metric("loss", 0.5)
        code = "import sys, mlflowish as mf; run = mf.get_run(sys.argv[1]); print(run.status, run.metrics['loss'])"
        assert run_program(code, run.run_id) == "RUNNING 0.5\n"


def test_the_last_value_is_that_of_the_highest_step(store: mf.Store) -> None:
    with mf.start_run() as run:
        for step, value in ((2, 0.2), (1, 0.1), (0, 0.0)):
            mf.log_metric("loss", value, step=step)
    assert run.metrics["loss"] == 0.2
    assert run.metric_history("loss")["value"].to_pylist() == [0.0, 0.1, 0.2]


def test_history_has_step_value_and_time(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_metric("loss", 0.5, step=-3, timestamp=1_700_000_000_123)
    table = run.metric_history("loss")
    assert table.schema.names == ["step", "value", "time"]
    row = table.to_pylist()[0]
    assert (row["step"], row["value"], row["time"].isoformat()) == (-3, 0.5, "2023-11-14T22:13:20.123000+00:00")


def test_the_history_of_a_metric_that_was_never_logged_is_empty(store: mf.Store) -> None:
    with mf.start_run() as run:
        pass
    assert run.metric_history("loss").num_rows == 0


def test_values_that_are_no_finite_numbers_stay(store: mf.Store) -> None:
    with mf.start_run() as run:
        for step, value in enumerate((math.nan, math.inf, -math.inf)):
            mf.log_metric("x", value, step=step)
    found = run.metric_history("x")["value"].to_pylist()
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (True, 1.0), (np.float32(0.5), 0.5), (np.array([2]), 2.0), (np.int64(3), 3.0), (-0.0, 0.0)],
)
def test_whatever_holds_one_number_is_a_value(store: mf.Store, value: object, expected: float) -> None:
    with mf.start_run() as run:
        mf.log_metric("x", value)
    assert run.metrics["x"] == expected


@pytest.mark.parametrize("value", ["0.5", None, [1], 1j, np.array([1, 2]), object(), 10**400])
def test_what_is_no_number_is_refused(store: mf.Store, value: object) -> None:
    with mf.start_run() as run:
        with pytest.raises(InvalidInputError, match="The metric 'x' needs one number"):
            mf.log_metric("x", value)
        with pytest.raises(InvalidInputError, match="The metric 'x' needs one number"):
            mf.log_metrics({"good": 1, "x": value})
    assert run.metrics == {}


@pytest.mark.parametrize("name", ["", "a/../b", "/a", "a/", "..", "a\nb", "a" * 251, "a=b", 3, None, "a//b"])
def test_a_name_that_no_metric_can_have_is_refused(store: mf.Store, name: object) -> None:
    with mf.start_run():
        with pytest.raises(InvalidInputError, match="The name of a metric"):
            mf.log_metric(name, 1.0)
        with pytest.raises(InvalidInputError, match="The name of a param"):
            mf.log_params({name: 1.0})


@pytest.mark.parametrize("step", [1 << 63, "one", 0.5, math.nan])
def test_a_step_that_is_no_integer_is_refused(store: mf.Store, step: object) -> None:
    with mf.start_run(), pytest.raises(InvalidInputError, match="A step is an integer"):
        mf.log_metric("loss", 1.0, step=step)


def test_a_param_is_set_once(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_param("lr", 0.1)
        mf.log_param("lr", 0.1)
        with pytest.raises(InvalidInputError, match=r"The param 'lr' .* is '0.1' and cannot become '0.2'"):
            mf.log_params({"depth": 3, "lr": 0.2})
    assert run.params == {"lr": "0.1"}


def test_a_param_is_set_anew_when_asked(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_param("lr", 0.1)
        mf.log_param("lr", 0.2, overwrite=True)
    assert run.params == {"lr": "0.2"}


def test_a_param_of_a_run_that_is_opened_again_is_still_set_once(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_param("lr", 0.1)
    with mf.start_run(run_id=run.run_id), pytest.raises(InvalidInputError, match="a param is set once"):
        mf.log_param("lr", 0.3)


def test_tags_are_replaced_and_taken_away(store: mf.Store) -> None:
    with mf.start_run(tags={"a": 1, "b": 2}) as run:
        mf.set_tag("a", "new")
        mf.delete_tag("b")
    assert run.tags == {"a": "new"}


def test_logging_outside_a_run_starts_one(store: mf.Store) -> None:
    mf.log_metric("loss", 0.5)
    run = mf.active_run()
    assert run is not None
    mf.log_param("lr", 1)
    mf.end_run()
    assert (run.params, run.metrics, run.status) == ({"lr": "1"}, {"loss": 0.5}, "FINISHED")


def test_a_run_inside_another_has_it_as_parent(store: mf.Store) -> None:
    with mf.start_run("outer", experiment="e") as outer:
        with mf.start_run("inner") as inner:
            mf.log_metric("x", 1)
        mf.log_metric("y", 2)
    assert (inner.parent_id, inner.experiment) == (outer.run_id, "e")
    assert (inner.metrics, outer.metrics) == ({"x": 1.0}, {"y": 2.0})


def test_nesting_can_be_forbidden(store: mf.Store) -> None:
    with mf.start_run(), pytest.raises(StateError, match="nested=False"):
        mf.start_run(nested=False)


def test_a_block_that_raises_ends_failed_with_the_type_alone(store: mf.Store) -> None:
    with pytest.raises(ValueError), mf.start_run() as run:
        raise ValueError("the password is x")
    assert (run.status, run.record.reason) == ("FAILED", "ValueError")


def test_an_interrupted_block_ends_killed(store: mf.Store) -> None:
    with pytest.raises(KeyboardInterrupt), mf.start_run() as run:
        raise KeyboardInterrupt
    assert run.status == "KILLED"


def test_a_run_that_has_ended_takes_no_points(store: mf.Store) -> None:
    with mf.start_run() as run:
        pass
    with pytest.raises(StateError, match="has ended"):
        run.log_metric("loss", 1.0)


def test_a_run_is_opened_again_by_its_id(store: mf.Store) -> None:
    with mf.start_run("first") as run:
        mf.log_metric("loss", 1.0, step=0)
    with mf.start_run(run_id=run.run_id) as again:
        assert again.status == "RUNNING"
        mf.log_metric("loss", 0.5, step=1)
    assert again.run_id == run.run_id
    assert (again.name, again.status, again.metric_history("loss").num_rows) == ("first", "FINISHED", 2)


def test_an_unknown_run_is_not_found_and_the_nearest_is_named(store: mf.Store) -> None:
    with mf.start_run() as run:
        pass
    wrong = run.run_id[:-1] + ("0" if run.run_id[-1] != "0" else "1")
    with pytest.raises(NotFoundError, match=run.run_id):
        mf.get_run(wrong)
    with pytest.raises(NotFoundError, match=run.run_id):
        mf.start_run(run_id=wrong)
    with pytest.raises(InvalidInputError, match="32 hex digits"):
        mf.get_run("nonsense")


def test_the_environment_names_the_run_of_a_program(store: mf.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with mf.start_run() as run:
        pass
    monkeypatch.setenv("MLFLOWISH_RUN_ID", run.run_id)
    with mf.start_run() as again:
        assert again.run_id == run.run_id


def test_experiments_come_from_the_call_the_program_and_the_environment(
    store: mf.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mf.start_run() as run:
        assert run.experiment == "Default"
    monkeypatch.setenv("MLFLOWISH_EXPERIMENT", "env")
    with mf.start_run() as run:
        assert run.experiment == "env"
    mf.set_experiment("set")
    with mf.start_run() as run:
        assert run.experiment == "set"
    with mf.start_run(experiment="given") as run:
        assert run.experiment == "given"


def test_a_fork_continues_another_run_from_a_step(store: mf.Store) -> None:
    with mf.start_run() as origin:
        mf.log_param("lr", 0.1)
        for step in range(5):
            mf.log_metric("loss", float(step), step=step)
        mf.log_metric("other", 7.0, step=1)
    with mf.start_run(fork_of=origin, fork_step=2) as fork:
        mf.log_metric("loss", 30.0, step=3)
    assert fork.metric_history("loss")["value"].to_pylist() == [0.0, 1.0, 2.0, 30.0]
    assert (fork.metrics, fork.params) == ({"loss": 30.0, "other": 7.0}, {"lr": "0.1"})
    assert origin.metric_history("loss").num_rows == 5


def test_a_deleted_run_is_out_of_listings_until_it_is_restored(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_metric("x", 1)
    mf.delete_run(run.run_id)
    assert [found.run_id for found in read_runs(store)] == []
    assert [found.run_id for found in read_runs(store, deleted=True)] == [run.run_id]
    with pytest.raises(StateError, match="deleted"):
        mf.start_run(run_id=run.run_id)
    mf.restore_run(run.run_id)
    assert [found.metrics["x"].value for found in read_runs(store)] == [1.0]


def test_a_run_that_is_open_is_not_deleted(store: mf.Store) -> None:
    with mf.start_run() as run, pytest.raises(StateError, match="is open"):
        mf.delete_run(run.run_id)


def test_data_are_identified_by_their_content(store: mf.Store, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x\n1\n")
    with mf.start_run() as run:
        mf.log_input(np.arange(3), "training", name="numbers")
        mf.log_input(file)
    numbers, csv = run.datasets
    assert (numbers.name, numbers.context, numbers.digest) == ("numbers", "training", mf.digest(np.arange(3)))
    assert (csv.name, csv.source, csv.digest) == ("a.csv", str(file), mf.digest(mf.File(file)))


def test_steps_called_in_a_run_belong_to_it(store: mf.Store) -> None:
    @mf.step
    def double(n: int) -> int:
        return 2 * n

    with mf.start_run() as run:
        assert [double(1), double(1), double(2)] == [2, 2, 4]
    double(3)
    assert [(call["step"].rpartition(".")[2], call["hit"]) for call in run.calls] == [
        ("double", False),
        ("double", True),
        ("double", False),
    ]


def test_threads_without_a_run_of_their_own_log_into_the_open_one(store: mf.Store) -> None:
    def work(number: int) -> None:
        for step in range(200):
            mf.log_metric(f"m{number}", float(step), step=step)

    with mf.start_run() as run:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert run.metrics == {f"m{number}": 199.0 for number in range(4)}
    assert [run.metric_history(f"m{number}").num_rows for number in range(4)] == [200] * 4


def test_threads_with_runs_of_their_own_keep_them_apart(store: mf.Store) -> None:
    found = {}

    def work(number: int) -> None:
        with mf.start_run(f"run{number}", parent=outer) as run:
            for step in range(50):
                mf.log_metric("x", float(number), step=step)
            found[number] = run

    with mf.start_run() as outer:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {number: run.metrics["x"] for number, run in found.items()} == {n: float(n) for n in range(4)}
    assert outer.metrics == {}


def test_a_clock_that_is_set_back_does_not_turn_the_order_around(
    store: mf.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(2_000_000_000, 0, -1_000_000))
    with mf.start_run() as run:
        monkeypatch.setattr("mlflowish.tracking.intake.time.time_ns", lambda: next(clock) * 10**9)
        for value in (1.0, 2.0, 3.0):
            mf.log_metric("x", value)
        mf.set_tag("t", "first")
        mf.set_tag("t", "last")
    assert run.metric_history("x")["value"].to_pylist() == [1.0, 2.0, 3.0]
    assert run.tags["t"] == "last"


def test_a_run_travels_as_its_store_and_id(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_metric("x", 1)
        travelled = pickle.loads(pickle.dumps(run))
    assert (travelled, travelled.metrics) == (run, {"x": 1.0})


def test_secrets_are_not_kept(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_params({"api_key": "s3cr3t", "max_tokens": 100, "db": "postgres://me:s3cr3t@host/db"})
    assert run.params == {"api_key": "(hidden)", "max_tokens": "100", "db": "postgres://host/db"}


def test_runs_are_listed_in_the_order_of_their_starts(store: mf.Store) -> None:
    ids = []
    for number in range(5):
        with mf.start_run(str(number)) as run:
            ids.append(run.run_id)
    assert [found.name for found in read_runs(store)] == list("01234")
    assert [found.run_id for found in read_runs(store)] == ids
