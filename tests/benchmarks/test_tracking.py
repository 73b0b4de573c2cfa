"""Logging points: ours beside MLflow's file and SQLite stores, in one run. Nothing fails here because of a time."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlflowish as mf

PEERS = ["mlflowish", "mlflow file", "mlflow sqlite"]

# A process for each: MLflow's import, settings and threads are its own, and so is its store.
PROGRAM = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
peer, way, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if peer == "mlflowish":
    import mlflowish as api
    api.use(folder)
else:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow as api
    api.set_tracking_uri(folder if peer == "mlflow file" else f"sqlite:///{folder}/db.sqlite")
    api.set_experiment("bench")
names = [f"m{n}" for n in range(10)]
with api.start_run() as run:
    api.log_metric("warm", 1.0)
    began, cpu = time.perf_counter(), time.process_time()
    if way == "one point a call":
        for step in range(count):
            api.log_metric("loss", step * 0.5, step=step)
    else:
        row = dict.fromkeys(names, 0.5)
        for step in range(count // 10):
            api.log_metrics(row, step=step)
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
print(wall, cpu)
"""


def measured(peer: str, way: str, count: int, folder: Path) -> tuple[float, float]:
    """Seconds of wall and of CPU for `count` points, the end of the run included."""
    folder.mkdir()
    env = {**os.environ, "MLFLOWISH_SOURCE": "0", "MLFLOWISH_ENVIRONMENT": "0", "MLFLOWISH_HARDWARE": "0"}
    command = [sys.executable, "-c", PROGRAM, peer, way, str(count), str(folder)]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("way", ["one point a call", "ten points a call"])
def test_log_100000_points(figures, full: bool, tmp_path: Path, peer: str, way: str) -> None:
    if peer != "mlflowish" and (not full or importlib.util.find_spec("mlflow") is None):
        pytest.skip("MLflow takes six seconds to start: for measuring runs")
    # What takes minutes is measured on fewer points and told for as many.
    counts = {"mlflowish": 100_000, "mlflow file": 5_000, "mlflow sqlite": 1_000}
    count = (counts[peer] * (10 if way.startswith("ten") and peer != "mlflowish" else 1)) if full else 1_000
    wall, cpu = measured(peer, way, count, tmp_path / "store")
    figures.add(f"log 100,000 points, {way}", peer, wall * 100_000 / count)
    figures.add(f"log 100,000 points, {way}: CPU", peer, cpu * 100_000 / count)


def test_start_and_end_a_run(figures, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOURCE", "ENVIRONMENT", "HARDWARE", "CONSOLE"):
        monkeypatch.setenv(f"MLFLOWISH_{name}", "0")
    count = 1_000 if full else 20
    store = mf.Store(tmp_path / "store")
    with mf.start_run(store=store):
        pass
    began = time.perf_counter()
    for _ in range(count):
        with mf.start_run(store=store):
            mf.log_params({"a": 1, "b": 2})
            mf.log_metric("x", 1.0)
    figures.add("a run with two params and a metric", "mlflowish", (time.perf_counter() - began) / count)
    store.close()


def test_read_10000_points_of_one_series(figures, full: bool, tmp_path: Path) -> None:
    count = 10_000 if full else 500
    store = mf.Store(tmp_path / "store")
    with mf.start_run(store=store, console=False, hardware=False) as run:
        for step in range(count):
            mf.log_metrics({f"m{n}": step * 0.5 for n in range(10)}, step=step)
    mf.sync(store)
    for _ in range(5 if full else 1):
        began = time.perf_counter()
        assert run.metric_history("m3").num_rows == count
        figures.add("read 10,000 points of one of 10 series", "mlflowish", time.perf_counter() - began)
    store.close()
