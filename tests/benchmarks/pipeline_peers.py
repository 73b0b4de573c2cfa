"""The same small pipelines for each peer: a fan of tiny steps, a chain of them, and steps that only wait.

`prepared(peer, folder)` gives functions of a number of steps, which run the pipeline again each time they are called.
What a peer keeps between runs it keeps in the folder. Peers are the extra `peers`; who is not installed is skipped.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import pytest

import mlflowish as mf

PEERS = ["mlflowish", "redun", "hamilton", "dagster", "prefect"]
WORKERS = 8


@dataclass
class Pipelines:
    """One peer's. `cached`: does it read back what it computed before?"""

    fan: Any
    chain: Any
    naps: Any
    cached: bool = True


def prepared(peer, folder):
    """The pipelines of a peer; skips when it is not installed."""
    return globals()[f"_{peer}"](folder)


def inc(x):
    return x + 1


def nap(n):
    time.sleep(0.1)
    return n


# -- ours ------------------------------------------------------------------------------------------

_inc, _nap = mf.step(inc), mf.step(nap)


@mf.pipeline
def _fan(n: int):
    return [_inc(k) for k in range(n)]


@mf.pipeline
def _chain(n: int):
    x = 0
    for _ in range(n):
        x = _inc(x)
    return x


@mf.pipeline
def _naps(n: int):
    return [_nap(k) for k in range(n)]


def _mlflowish(folder):
    mf.use(folder / "store")

    def run(pipeline):
        def again(n):
            with mf.executor("threads", workers=WORKERS):
                return pipeline(n)

        return again

    return Pipelines(run(_fan), run(_chain), run(_naps))


def visit_nodes():
    """Let the next run look at every node, as after a `forget`."""
    mf.active_store().forget(b"0" * 16, [b"none"], step=_inc.name)


# -- peers -----------------------------------------------------------------------------------------


def _redun(folder):
    redun = pytest.importorskip("redun", reason="redun is not installed: pip install 'mlflowish[peers]'")
    from redun.config import Config

    config = Config(
        {
            "backend": {"db_uri": f"sqlite:///{folder}/redun.db"},
            "executors.default": {"type": "local", "max_workers": str(WORKERS)},
        }
    )
    scheduler = redun.Scheduler(config=config)
    scheduler.load()

    @redun.task(namespace="bench")
    def redun_inc(x):
        return x + 1

    @redun.task(namespace="bench")
    def redun_nap(n):
        time.sleep(0.1)
        return n

    def chain(n):
        x = 0
        for _ in range(n):
            x = redun_inc(x)
        try:
            return scheduler.run(x)
        except RecursionError:
            pytest.skip(f"redun goes through a chain of {n} by recursion, which Python does not allow")

    return Pipelines(
        lambda n: scheduler.run([redun_inc(k) for k in range(n)]),
        chain,
        lambda n: scheduler.run([redun_nap(k) for k in range(n)]),
    )


def _hamilton(folder):
    pytest.importorskip("hamilton", reason="hamilton is not installed: pip install 'mlflowish[peers]'")
    os.environ["HAMILTON_TELEMETRY_ENABLED"] = "false"
    from hamilton import ad_hoc_utils, driver

    def driven(lines, names, adapters=()):
        scope = {"time": time}
        exec("\n".join(lines), scope)
        module = ad_hoc_utils.create_temporary_module(
            *(scope[name] for name in names), module_name=f"bench_{names[0]}_{len(names)}"
        )
        built = driver.Builder().with_modules(module)
        built = built.with_adapters(*adapters) if adapters else built.with_cache(path=str(folder / "hamilton"))
        return built.build()

    def fan(n):
        made = _made(
            ("fan", n),
            lambda: driven(
                [f"def fan_{k}() -> int:\n    return {k} + 1" for k in range(n)], [f"fan_{k}" for k in range(n)]
            ),
        )
        return made.execute([f"fan_{k}" for k in range(n)])

    def chain(n):
        lines = [
            "def chain_0() -> int:\n    return 1",
            *(f"def chain_{k}(chain_{k - 1}: int) -> int:\n    return chain_{k - 1} + 1" for k in range(1, n)),
        ]
        made = _made(("chain", n), lambda: driven(lines, [f"chain_{k}" for k in range(n)]))
        return made.execute([f"chain_{n - 1}"])

    def naps(n):
        from concurrent.futures import ThreadPoolExecutor

        from hamilton.plugins.h_threadpool import FutureAdapter

        lines = [f"def nap_{k}() -> int:\n    time.sleep(0.1)\n    return {k}" for k in range(n)]
        adapter = FutureAdapter(max_workers=WORKERS)
        assert ThreadPoolExecutor
        return driven(lines, [f"nap_{k}" for k in range(n)], [adapter]).execute([f"nap_{k}" for k in range(n)])

    return Pipelines(fan, chain, naps)


_kept: dict[Any, Any] = {}


def _made(key, make):
    if key not in _kept:
        _kept[key] = make()
    return _kept[key]


def _dagster(folder):
    dagster = pytest.importorskip("dagster", reason="dagster is not installed: pip install 'mlflowish[peers]'")

    @dagster.op
    def begin():
        return 0

    @dagster.op
    def dagster_inc(x):
        return x + 1

    def fan(n):
        def make():
            @dagster.job(name=f"fan_{n}")
            def job():
                start = begin()
                for k in range(n):
                    dagster_inc.alias(f"inc_{k}")(start)

            return job

        return _made(("dagster fan", n), make).execute_in_process()

    def chain(n):
        def make():
            @dagster.job(name=f"chain_{n}")
            def job():
                x = begin()
                for k in range(n):
                    x = dagster_inc.alias(f"inc_{k}")(x)

            return job

        return _made(("dagster chain", n), make).execute_in_process()

    # In one process Dagster runs one op after the other; its other executors start a process for each.
    return Pipelines(fan, chain, None, cached=False)


def _prefect(folder):
    os.environ.update(PREFECT_HOME=str(folder / "prefect"), PREFECT_LOGGING_LEVEL="ERROR", DO_NOT_TRACK="1")
    os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
    prefect = pytest.importorskip("prefect", reason="prefect is not installed: pip install 'mlflowish[peers]'")
    from prefect.cache_policies import INPUTS, TASK_SOURCE
    from prefect.task_runners import ThreadPoolTaskRunner

    @prefect.task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
    def prefect_inc(x):
        return x + 1

    @prefect.task
    def prefect_nap(n):
        time.sleep(0.1)
        return n

    @prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def fan(n: int):
        return [future.result() for future in [prefect_inc.submit(k) for k in range(n)]]

    @prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def chain(n: int):
        x = 0
        for _ in range(n):
            x = prefect_inc(x)
        return x

    @prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def naps(n: int):
        return [future.result() for future in [prefect_nap.submit(k) for k in range(n)]]

    return Pipelines(fan, chain, naps)
