"""Logging points: ours beside MLflow's stores, W&B offline and trackio, in one run. Nothing fails because of a time."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlflowish as mf

PEERS = ["mlflowish", "mlflow file", "mlflow sqlite", "wandb offline", "trackio"]
PACKAGES = {"mlflow file": "mlflow", "mlflow sqlite": "mlflow", "wandb offline": "wandb", "trackio": "trackio"}

# A process for each: what a peer imports, its settings and threads are its own, and so is its store. The end of the run
# is measured as well: trackio and W&B hold what was logged in memory until then, or hand it to another process.
PROGRAM = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
peer, way, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

def logger():
    if peer == "wandb offline":
        import wandb
        settings = wandb.Settings(console="off", x_disable_stats=True, silent=True)
        run = wandb.init(mode="offline", project="bench", dir=folder, settings=settings)
        return lambda row, step: run.log(row, step=step), run.finish
    if peer == "trackio":
        os.environ["TRACKIO_DIR"] = folder
        import trackio
        trackio.init(project="bench", embed=False, auto_log_gpu=False, auto_log_cpu=False)
        return lambda row, step: trackio.log(row, step=step), trackio.finish
    if peer == "mlflowish":
        import mlflowish as api
        api.use(folder)
    else:
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        import mlflow as api
        api.set_tracking_uri(folder if peer == "mlflow file" else f"sqlite:///{folder}/db.sqlite")
        api.set_experiment("bench")
    api.start_run()
    if way == "one point a call":
        return lambda row, step: api.log_metric("m0", row["m0"], step=step), api.end_run
    return lambda row, step: api.log_metrics(row, step=step), api.end_run

log, finish = logger()
names = [f"m{n}" for n in range(1 if way == "one point a call" else 10)]
log(dict.fromkeys(names, 1.0), 0)
began, cpu = time.perf_counter(), time.process_time()
for step in range(1, count // len(names) + 1):
    log(dict.fromkeys(names, step * 0.5), step)
finish()
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
print()
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
    if peer != "mlflowish" and not full:
        pytest.skip("peers take seconds to start: for measuring runs")
    if peer != "mlflowish" and importlib.util.find_spec(PACKAGES[peer]) is None:
        pytest.skip(f"{PACKAGES[peer]} is not installed: pip install 'mlflowish[peers]'")
    # What takes minutes is measured on fewer points and told for as many.
    counts = {"mlflowish": 100_000, "mlflow file": 5_000, "mlflow sqlite": 1_000, "wandb offline": 5_000}
    counts["trackio"] = 100_000 if way == "one point a call" else 10_000
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
