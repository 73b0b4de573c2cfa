"""A page of the runs that a filter finds, sorted: ours of a million runs, beside MLflow's SQLite store with 20,000.

Processes of their own, so that memory and cold starts are those of a program. Nothing fails because of a time.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import many_runs
import pytest

import mlflowish as mf

PROGRAM = """
import json, resource, statistics, sys, time
began = time.perf_counter()
import mlflowish as mf
folder, times = sys.argv[1], int(sys.argv[2])
FILTER, ORDER = "metrics.m0 > 0.5 and params.p2 = 'value 3'", "metrics.m0 desc"
def search(wanted=FILTER):
    start = time.perf_counter()
    found = mf.search_runs(wanted, order_by=ORDER, limit=50, store=store)
    found_s = time.perf_counter() - start
    read = [(run.run_id, run.name, run.params, run.metrics) for run in found]
    return time.perf_counter() - start, found_s, read
store = mf.Store(folder)
first, _, read = search()
whole, whole_cpu = time.perf_counter() - began, time.process_time()
ids, values = [each[0] for each in read], [each[3]["m0"] for each in read]
assert 0 < len(ids) <= 50 and values == sorted(values, reverse=True), values
others = [search(f"metrics.m0 > 0.5 and params.p{n} = 'value {n % 10}'")[0] for n in range(7, 7 + times)]
cpu = time.process_time()
both = [search()[:2] for _ in range(times)]
cpu = (time.process_time() - cpu) / max(times, 1)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
again, found = (statistics.median(times) for times in zip(*(both or [(first, first)])))
told = {"whole": whole, "first": first, "again": again, "found": found, "cpu": cpu, "peak": peak, "ids": ids}
told["whole_cpu"] = whole_cpu
told["other"] = statistics.median(others) if others else first
print(json.dumps(told))
"""


def measured(folder: Path, times: int = 0) -> dict[str, Any]:
    environment = {**os.environ, "MLFLOWISH_STORE": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # imports are a part of it: of compiled modules
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(times)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def reported(figures: Any, count: int, folder: Path) -> dict[str, Any]:
    """Build, search cold and warm, and after new runs; what the first search found."""
    name = f"filter, sort, first 50 of {count:,} runs"
    built = measured(folder)
    figures.add(f"{name}, first search ever: builds the table", "mlflowish", built["first"])
    figures.add(f"{name}, first search ever: CPU", "mlflowish", built["whole_cpu"])
    figures.add(f"{name}, first search ever: peak memory", "mlflowish", built["peak"] / 1e6, "MB")
    table = sum(file.stat().st_size for file in folder.glob("tables/*/*"))
    figures.add(f"{name}: size of the table", "mlflowish", table / 1e6, "MB")
    searched(figures, name, folder, built["ids"])
    many_runs.add(folder, 1_000, count)
    figures.add(f"{name}, after 1,000 new ones, new process", "mlflowish", measured(folder)["whole"])
    return built


def searched(figures: Any, name: str, folder: Path, ids: list[str]) -> None:
    """In a new process: cold and warm."""
    found = measured(folder, 20)
    assert found["ids"] == ids
    figures.add(f"{name}, new process, imports included", "mlflowish", found["whole"])
    figures.add(f"{name}, new process: CPU, Python's start included", "mlflowish", found["whole_cpu"])
    figures.add(f"{name}, first search in a process", "mlflowish", found["first"])
    figures.add(f"{name}, warm", "mlflowish", found["again"])
    figures.add(f"{name}, warm, before anybody looks at them", "mlflowish", found["found"])
    figures.add(f"{name}, warm: CPU", "mlflowish", found["cpu"])
    figures.add(f"{name}, warm, but of other columns and runs each time", "mlflowish", found["other"])
    figures.add(f"{name}: peak memory", "mlflowish", found["peak"] / 1e6, "MB")


def test_search_a_few_thousand_runs(figures, tmp_path: Path) -> None:
    many_runs.fill(tmp_path / "s", 2_000, a_segment=1_500)
    reported(figures, 2_000, tmp_path / "s")


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_search_a_million_runs(figures, tmp_path: Path) -> None:
    folder, count = tmp_path / "s", 1_000_000
    many_runs.fill(folder, count)
    reported(figures, count, folder)
    name = f"filter, sort, first 50 of {count:,} runs"
    for _ in range(3):
        searched(figures, name, folder, measured(folder)["ids"])
    store = mf.Store(folder)
    store.compact()
    store.close()
    merged = measured(folder)
    assert merged["ids"][:20] == measured(folder)["ids"][:20]
    figures.add(f"{name}, after compaction, new process", "mlflowish", merged["whole"])
    figures.add(f"{name}, the one after that", "mlflowish", measured(folder)["whole"])


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")  # of what MLflow builds on
def test_search_20000_runs_beside_peers(figures, tmp_path: Path) -> None:
    race(figures, tmp_path, 20_000, rounds=15)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")  # of what Aim builds on
def test_search_400_runs_beside_aim(figures, tmp_path: Path) -> None:
    """So few, because Aim takes a good part of a second to make each."""
    aim = pytest.importorskip("aim", reason="Aim is not installed: pip install aim")
    count = 400
    many_runs.fill(tmp_path / "s", count)
    repo = many_runs.fill_aim(aim, tmp_path / "a", count)
    store = mf.Store(tmp_path / "s")

    def ours() -> list[Any]:
        found = mf.search_runs(many_runs.FILTER, order_by=many_runs.ORDER, limit=50, store=store)
        return [(run.name, run.params, run.metrics) for run in found]

    def theirs() -> list[Any]:
        wanted = "metric.name == 'm0' and metric.last > 0.5 and run.params.p2 == 'value 3'"
        runs = repo.query_metrics(wanted, report_mode=0).iter_runs()
        found = [(metric.values.last()[1], metric.run) for metrics in runs for metric in metrics]
        found.sort(key=lambda item: -item[0])
        return [
            (run.name, run["params"], {metric.name: metric.values.last()[1] for metric in run.metrics()})
            for _, run in found[:50]
        ]

    assert len(ours()) > 0
    assert ours() == theirs()
    figures.race(f"filter, sort, first 50 of {count:,} runs, warm", {"mlflowish": ours, "Aim": theirs}, rounds=15)
    store.close()


def race(figures: Any, folder: Path, count: int, rounds: int) -> None:
    """The same search of the same runs, in turn. Of the runs that were found everything is read, as MLflow does."""
    from mlflow import MlflowClient

    many_runs.fill(folder / "s", count)
    store = mf.Store(folder / "s")
    client = MlflowClient(many_runs.fill_mlflow(folder / "m", count))

    def ours(wanted: str = many_runs.FILTER) -> list[Any]:
        found = mf.search_runs(wanted, order_by=many_runs.ORDER, limit=50, store=store)
        return [(run.name, run.params, run.metrics) for run in found]

    def mlflow(wanted: str = many_runs.FILTER) -> list[Any]:
        found = client.search_runs(["0"], filter_string=wanted, order_by=["metrics.m0 DESC"], max_results=50)
        return [(run.info.run_name, run.data.params, run.data.metrics) for run in found]

    assert ours() == mlflow()
    name = f"filter, sort, first 50 of {count:,} runs, warm"
    figures.race(name, {"mlflowish": ours, "MLflow SQLite": mlflow}, rounds)
    our_turns, their_turns = others(), others()
    figures.race(
        f"{name}, but of other columns and runs each time",
        {
            "mlflowish": lambda: ours(next(our_turns)),
            "MLflow SQLite": lambda: mlflow(next(their_turns)),
        },
        rounds,
    )
    store.close()


def others() -> Iterator[str]:
    """Filters of other params and values each time."""
    for number in itertools.count(3):
        yield f"metrics.m0 > 0.5 and params.p{number % many_runs.PARAMS} = 'value {number // 7 % 10}'"
