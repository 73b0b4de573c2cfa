"""Processes in one: handles on one storage that know nothing of each other, what they do to steps, runs and the store,
and what can be told of it afterwards."""

from __future__ import annotations

import contextvars
import shutil
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from far_storage import FarStorage

import mlflowish as mf
from mlflowish.pipelines.passing import look_up_closed
from mlflowish.storage import LocalStorage, MemoryStorage, ObjectStore, Storage
from mlflowish.store.store import block_stores
from mlflowish.testing.faults import FaultyStorage, Plan
from mlflowish.tracking import read_runs, stack
from mlflowish.tracking.writer import known_writer, writer_of

SIZE = 10_000  # an array of 80 kB is an object of its own
TEXT = "text of nobody " * 5_000
Told = tuple[str | None, str]  # the error of an operation, if it had one, and what it said


def small(n: int) -> int:
    return n * n


def large(n: int) -> Any:
    return np.full(SIZE, float(n))


def pair(n: int) -> Any:
    return np.full(SIZE, float(n)), np.full(SIZE, float(-n))


def several(n: int) -> Iterator[Any]:
    for place in range(2):
        yield np.full(SIZE, n * 10.0 + place)


def written(folder: str, n: int) -> mf.File:
    path = Path(folder) / f"{n}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([n]) * 80_000)
    return mf.File(path)


def twice(x: Any) -> Any:
    return x * 2


def total(x: Any) -> float:
    return float(x.sum())


STEPS = (small, large, pair, several, twice, total)
CALLS = [(name, n) for name in ("small", "large", "pair", "several", "written") for n in (1, 2)]


class World:
    """What rests in one place, and on the machines that use it."""

    def __init__(self, kind: str, base: Path) -> None:
        self.kind, self.base = kind, base
        self.name = uuid.uuid4().hex
        self.folder, self.machines = base / self.name, base / f"machines-{self.name}"
        self.ids: dict[str, str] = {}  # of runs, by their names
        self._held = self.storage()

    def storage(self) -> Storage:
        """One that nobody shares, on the same bytes."""
        if self.kind == "local":
            return LocalStorage(self.folder, fsync="never")
        return (FarStorage if self.kind == "far" else MemoryStorage)(f"interleaving/{self.name}")

    def copy(self) -> World:
        other = World(self.kind, self.base)
        other.ids = self.ids
        if self.kind == "local":
            shutil.copytree(self.folder, other.folder)
        else:
            for info in self._held.list(""):
                other._held.put(info.path, self._held.get(info.path))
        if self.machines.exists():
            shutil.copytree(self.machines, other.machines)
        return other

    def drop(self) -> None:
        for info in list(self._held.list("")):
            self._held.delete(info.path)
        for folder in (self.folder, self.machines):
            shutil.rmtree(folder, ignore_errors=True)


class Process:
    """A handle with steps, a spool and runs of its own. `machine` has its own caches and spools."""

    def __init__(self, world: World, plan: Plan | None = None, machine: str = "here") -> None:
        self.world, self.machine = world, machine
        self.runs: list[Any] = []
        self.store = mf.Store(f"memory://interleaving/{uuid.uuid4().hex}")  # no two of them are equal
        self.store.storage = FaultyStorage(world.storage(), plan)
        self.store.objects = ObjectStore(self.store.storage, is_doomed=self.store._is_doomed)
        self.steps = {function.__name__: mf.step(function) for function in STEPS}
        self.steps["written"] = mf.step(ignore=["folder"])(written)
        first, second, third = (self.steps[name] for name in ("large", "twice", "total"))

        @mf.pipeline(executor="serial")
        def chain(n: int) -> Any:
            return third(second(first(n)))

        self.chain = chain

    def do(self, operation: Callable[[Process], Any]) -> Told:
        """Do it as this process; what was raised is told."""
        with self._entered(), warnings.catch_warnings():
            warnings.filterwarnings("error", category=mf.UncachedWarning)
            warnings.filterwarnings("ignore", "(?s).*cannot be read and is computed again")
            return contextvars.Context().run(self._done, operation)

    def _done(self, operation: Callable[[Process], Any]) -> Told:
        block_stores.set((self.store,))
        try:
            operation(self)
        except mf.MlflowishError as error:
            return type(error).__name__, str(error)
        finally:
            if self.world.kind == "far":
                if (writer := known_writer(self.store)) is not None:
                    writer.mover.move()
                self.store.flush()
        return None, ""

    @contextmanager
    def _entered(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(stack, "_process", self.runs)
            patched.setenv("MLFLOWISH_CACHE_DIR", str(self.world.machines / self.machine))
            yield

    def call(self, name: str, n: int) -> mf.Call:
        """A call of a step, whose value is right in any case."""
        arguments = (str(self.world.machines / self.machine / "files"), n) if name == "written" else (n,)
        call = self.steps[name].call(*arguments)
        require_value(name, n, call.value)
        return call

    def run_chain(self, n: int) -> None:
        assert self.chain(n) == 2.0 * n * SIZE

    def close(self) -> None:
        with self._entered():
            if (writer := known_writer(self.store)) is not None:
                writer.open_runs.clear()
            self.store.close()


def require_value(name: str, n: int, value: Any) -> None:
    if name == "written":
        assert Path(value.path).read_bytes() == bytes([n]) * 80_000
    elif name in ("pair", "several"):
        expected = list(pair(n) if name == "pair" else several(n))
        assert [array.tolist() for array in value] == [array.tolist() for array in expected]
    else:
        np.testing.assert_array_equal(value, {"small": small, "large": large}[name](n))


def log_run(name: str, text: str) -> str:
    with mf.start_run(name, experiment="e", tags={"team": "x"}) as run:
        mf.log_params({"lr": 0.1})
        for step in range(3):
            mf.log_metrics({"loss": step, "other": -step}, step=step)
        mf.log_text(text, "a.txt")
        mf.log_model(max, "model")
    return run.run_id


def fill(process: Process) -> None:
    """Results of 2; bytes of what 1 gives, which nobody reaches; a run, a deleted one; in segments and in journals."""
    for name, n in CALLS:
        process.call(name, n)
    process.run_chain(1)
    process.run_chain(2)
    process.store.compact()
    for name in ("small", "large", "pair", "several", "twice", "total"):
        argument = {"twice": large(1), "total": twice(large(1))}.get(name, 1)
        process.steps[name].forget(argument)
    process.steps["written"].forget("", 1)
    process.store.objects.put(TEXT.encode())
    ids = process.world.ids
    ids["old"], ids["gone"] = (log_run(name, f"text of {name} " * 5_000) for name in ("old", "gone"))
    for key in map(bytes.fromhex, ids.values()):
        writer_of(process.store).line(key, 10, "stdout", "hello\n")
        writer_of(process.store).points(key, [("system/cpu", step, 100 + step, 0.5) for step in range(3)])
    mf.sync()
    mf.delete_run(ids["gone"])
    log_run("late", TEXT[1:])
    mf.sync()


def facts_of(world: World) -> dict[str, Any]:
    """What a new process on another machine finds there: which calls are stored, and what is known of runs."""
    copy, facts = world.copy(), dict[str, Any]()
    process = Process(copy, machine="elsewhere")
    assert process.do(lambda process: _look(process, facts)) == (None, "")
    process.close()
    copy.drop()
    return facts


def _look(process: Process, facts: dict[str, Any]) -> None:
    for name, n in CALLS:
        step = process.steps[name]
        identity = step.identify((str(process.world.machines / "files"), n) if name == "written" else (n,), {})
        found = step.find(process.store, identity)
        facts[f"{name}({n})"] = found is not None
        if found is not None:
            require_value(name, n, found[1])
    inside = [
        facts["large(2)"],
        process.steps["twice"].is_cached(large(2)),
        process.steps["total"].is_cached(2 * large(2)),
    ]
    facts["passed"] = (
        look_up_closed(process.store, process.chain, process.chain.identify((2,), {}), (2,), {}) is not None
    )
    assert all(inside) or not facts["passed"]  # what was forgotten is not given by who relied on it
    records = list(read_runs(process.store, deleted=True))
    chains = sorted(record.params["n"] for record in records if record.name == "chain" and not record.is_deleted)
    facts["runs of pipelines"] = chains
    for record in records:
        if record.name != "chain":
            facts[record.name] = _told_of(record.run_id)
    found = sorted(run.run_id for run in mf.search_runs(limit=None))
    assert found == sorted(record.run_id for record in records if not record.is_deleted)


def _told_of(run_id: str) -> tuple[Any, ...]:
    run = mf.get_run(run_id)
    histories = {name: run.metric_history(name)["value"].to_pylist() for name in sorted(run.metrics)}
    artifacts = [(path, zlib.crc32(run.artifacts.read(path))) for path in run.artifacts.paths()]
    models = [mf.load_model(f"runs:/{run_id}/{model.name}")([1, 2]) for model in run.record.models]
    shown = run.status, run.record.is_deleted, dict(run.params), dict(run.tags), run.console, dict(run.hardware)
    return (*shown, histories, artifacts, models)


def require_sound(world: World) -> None:
    """Nothing is wrong, a collection leaves what is reached, and each call can be made again and is read back then."""
    copy = world.copy()
    process = Process(copy, machine="elsewhere")

    def look(process: Process) -> None:
        assert {finding.code for finding in mf.fsck().findings} <= {"journal-torn", "quarantine"}
        for _ in range(2):  # in a bucket the first one marks
            mf.gc(dry_run=False, grace=0)
        assert mf.du().unreached_count == 0
        assert {finding.code for finding in mf.fsck().findings} <= {"quarantine"}
        for name, n in CALLS:
            process.call(name, n)
            assert process.call(name, n).hit
        process.run_chain(2)
        process.run_chain(2)

    assert process.do(look) == (None, "")
    process.close()
    copy.drop()
