"""Stores of many runs, made quickly: ours as segments of the journals, MLflow's as rows of its database. The same runs:
20 of 60 params, 10 of 30 metrics each, 50 experiments."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflowish as mf
from mlflowish.journals.compaction import merge
from mlflowish.tracking.records import RUNS, Batch, Event, Last, pack_batch

PARAMS, METRICS, EXPERIMENTS = 60, 30, 50
FILTER, ORDER = "metrics.m0 > 0.5 and params.p2 = 'value 3'", "metrics.m0 desc"
_T = 1_700_000_000_000_000


class Made(NamedTuple):
    """What is in one run."""

    name: str
    experiment: str
    began_us: int
    params: dict[str, str]
    metrics: dict[str, float]


def made(count: int, first: int = 0) -> Iterator[Made]:
    """Runs, the same ones each time."""
    chance = random.Random(first)
    names, metrics = [f"p{n}" for n in range(PARAMS)], [f"m{n}" for n in range(METRICS)]
    values = [f"value {n}" for n in range(10)]
    for number in range(first, first + count):
        at, of = number * 7 % PARAMS, number * 11 % METRICS
        yield Made(
            f"run {number}",
            f"experiment {number * EXPERIMENTS // max(count, 1) % EXPERIMENTS}",
            _T + number * 1_000_000,
            {names[(at + n) % PARAMS]: values[chance.randrange(10)] for n in range(20)},
            {metrics[(of + n) % METRICS]: chance.random() for n in range(10)},
        )


def items(runs: Iterator[Made]) -> Iterator[tuple[bytes, bytes]]:
    """Their records: one each, as a process leaves that lived for one run."""
    process = {"host": "bench", "machine": "m", "boot": "b", "namespace": "n", "pid": 1, "started": "1"}
    for run in runs:
        t, key = run.began_us, (run.began_us // 1000).to_bytes(6, "big") + run.began_us.to_bytes(10, "big")
        session = key[-8:]
        events = (
            Event("session", t, {"session": session, "process": process}),
            Event("start", t, {"name": run.name, "experiment": run.experiment, "user": "bench"}),
            Event("params", t + 1, {"values": run.params}),
            Event("end", t + 60_000_000, {"session": session, "status": "FINISHED", "reason": ""}),
        )
        lasts = {name: Last(10, t + 2, value) for name, value in run.metrics.items()}
        yield key, pack_batch(Batch(key, 0, events, lasts))


def fill(folder: Path, count: int, *, a_segment: int = 250_000) -> None:
    """A store of so many runs."""
    store = mf.Store(folder)
    store.create()
    runs = made(count)
    for number in range(0, count, a_segment):
        some = (next(runs) for _ in range(min(a_segment, count - number)))
        merge(store.storage, RUNS, [(key + payload for key, payload in items(some))], names=[f"bench {number}"])
    store.close()


def add(folder: Path, count: int, first: int) -> None:
    """So many more, as they lie in a journal."""
    store = mf.Store(folder)
    for key, payload in items(made(count, first)):
        store.journals(RUNS).append(key, payload)
    store.close()


def fill_aim(aim: Any, folder: Path, count: int) -> Any:
    """Aim's own repository, by its API: it has no quicker way. It finds nothing before its index was made."""
    folder.mkdir()
    repo = aim.Repo.from_path(str(folder), init=True)
    off = {"system_tracking_interval": None, "log_system_params": False, "capture_terminal_logs": False}
    for run in made(count):
        written = aim.Run(repo=repo, experiment=run.experiment, **off)
        written.name, written["params"] = run.name, run.params
        for name, value in run.metrics.items():
            written.track(value, name=name, step=10)
        written.close()
    command = Path(sys.executable).with_name("aim")
    subprocess.run([command, "storage", "--repo", folder, "reindex", "-y"], check=True, capture_output=True)
    return aim.Repo(str(folder))


def fill_mlflow(folder: Path, count: int) -> str:
    """MLflow's own database, its rows put in at once; its URI."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder.mkdir()
    uri = f"sqlite:///{folder}/db.sqlite"
    SqlAlchemyStore(uri, str(folder / "artifacts"))
    database = sqlite3.connect(folder / "db.sqlite")
    run_rows, param_rows, metric_rows, latest_rows, tag_rows = [], [], [], [], []
    for number, run in enumerate(made(count)):
        ident, ms = f"{number:032x}", run.began_us // 1000
        run_rows.append(
            (ident, run.name, "LOCAL", "", "", "bench", "FINISHED", ms, ms + 60_000, "", "active", "a", 0, None)
        )
        param_rows += [(name, text, ident) for name, text in run.params.items()]
        metric_rows += [(name, value, ms, ident, 10, 0) for name, value in run.metrics.items()]
        latest_rows += [(name, value, ms, 10, 0, ident) for name, value in run.metrics.items()]
        tag_rows.append(("mlflow.runName", run.name, ident))
    with database:
        insert = database.executemany
        insert(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, "
            "start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) "
            f"VALUES ({', '.join('?' * 14)})",
            run_rows,
        )
        insert("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", param_rows)
        insert(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)", metric_rows
        )
        insert(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)",
            latest_rows,
        )
        insert("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", tag_rows)
    database.close()
    return uri
