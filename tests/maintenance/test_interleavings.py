"""A whole operation before each storage call of another one: nothing is told that neither order of the two tells."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interleaving import TEXT, Process, Told, World, facts_of, fill, large, log_run, require_sound, twice

import mlflowish as mf
from mlflowish.testing.faults import Call, Fault, Plan
from mlflowish.tracking import read_run

Operation = Callable[[Process], Any]
Ordered = tuple[str | None, set[str | None], dict[str, Any]]


def miss(process: Process) -> None:
    for name in ("small", "large", "pair"):
        process.call(name, 1)


def miss_parts(process: Process) -> None:
    process.call("several", 1)


def miss_file(process: Process) -> None:
    process.call("written", 1)


def hit(process: Process) -> None:
    for name in ("large", "several", "written"):
        process.call(name, 2)


def forget(process: Process) -> None:
    process.steps["large"].forget(2)


def forget_the_last(process: Process) -> None:
    process.steps["total"].forget(twice(large(2)))


def pipeline(process: Process) -> None:
    process.run_chain(1)


def pipeline_again(process: Process) -> None:
    process.run_chain(2)


def track(process: Process) -> None:
    log_run("new", TEXT)
    mf.sync()


def track_calls(process: Process) -> None:
    with mf.start_run("calls", experiment="e"):
        process.call("large", 1)
        process.call("pair", 2)


def resume(process: Process) -> None:
    with mf.start_run(run_id=process.world.ids["old"]):
        mf.log_params({"more": 2})
        mf.log_text(TEXT, "b.txt")


def resume_for_long(process: Process) -> None:
    mf.start_run(run_id=process.world.ids["old"])
    mf.log_metric("loss", 9.0, step=9)


def delete(process: Process) -> None:
    mf.delete_run(process.world.ids["old"])


def restore(process: Process) -> None:
    mf.restore_run(process.world.ids["gone"])


def retain(process: Process) -> None:
    mf.retain(dry_run=False, older_than=0, grace=0)


def purge(process: Process) -> None:
    mf.retain(dry_run=False, purge_after=0, grace=grace_s(process))


def drop(process: Process) -> None:
    mf.retain(dry_run=False, console_after=0, hardware_after=0, grace=grace_s(process))


def grace_s(process: Process) -> float:
    """In a bucket records are on their way for a while."""
    return 3600.0 if process.world.kind == "far" else 0.0


def search(process: Process) -> None:
    for run in mf.search_runs("metrics.loss >= 0", limit=None):
        assert [run.artifacts.read(path) for path in run.artifacts.paths()]


def trace(process: Process) -> None:
    call = process.steps["total"].call(process.steps["twice"](process.call("large", 2).value))
    behind = mf.lineage.of(call).upstream().graph
    assert len(behind) == 3
    mf.lineage.of(process.call("large", 2)).downstream()


def compact(process: Process) -> None:
    process.store.compact()


def collect(process: Process) -> None:
    mf.gc(dry_run=False, grace=0)


def evict(process: Process) -> None:
    mf.gc(dry_run=False, grace=0, keep_last=0)


def repair(process: Process) -> None:
    mf.fsck(repair=True)


OPERATIONS = [
    *(miss, miss_parts, miss_file, hit, forget, forget_the_last, pipeline, pipeline_again, track, track_calls, resume),
    *(resume_for_long, delete, restore, retain, purge, drop, search, trace, compact, collect, evict, repair),
]
KINDS = ["memory", "far", "local"]
CONTENDED = (restore, "StateError")  # it was purged at that very moment: one of the two is told
LOOKING = (search, trace)  # which change nothing for others


class Between:
    """No fault: something else before the calls of these numbers."""

    def __init__(self, act: Callable[[], Told], *numbers: int) -> None:
        self.act, self.numbers, self.count = act, numbers, 0
        self.is_on = False
        self.told: list[Told] = []
        self.met: list[Call] = []

    def __call__(self, call: Call) -> Fault | None:
        if self.is_on:
            self.count += 1
            if self.count in self.numbers:
                self.is_on = False  # what it does with this very storage is its own
                self.told.append(self.act())
                self.met.append(call)
                self.is_on = True
        return None


class Explorer:
    """The interleavings of two operations in copies of one place."""

    def __init__(self, kind: str, base: Path) -> None:
        self.kind, self.template = kind, World(kind, base)
        process = Process(self.template)
        assert process.do(fill) == (None, "")
        process.close()
        self._known: dict[tuple[Operation, Operation, int], list[Ordered]] = {}

    def calls_of(self, operation: Operation) -> int:
        """How many storage calls it makes."""
        world, _, plan = self.play(operation, operation)
        world.drop()
        return plan.count

    def explore(self, first: Operation, second: Operation, *numbers: int, **how: Any) -> None:
        """`second` before the calls of `first` with these numbers: `play`."""
        world, told, plan = self.play(first, second, *numbers, **how)
        orders = self._told_in_orders(first, second, len(plan.told))
        where = [first.__name__, second.__name__, *map(str, plan.met)]
        assert told[0] in [order[0] for order in orders] or (first, told[0]) == CONTENDED, (where, told)
        for each in plan.told:
            assert any(each[0] in order[1] for order in orders) or (second, each[0]) == CONTENDED, (where, each)
        facts, allowed = facts_of(world), [order[2] for order in orders]
        wrong = {
            name: (facts.get(name), [each.get(name) for each in allowed])
            for name in set[str]().union(facts, *allowed)
            if facts.get(name) not in [each.get(name) for each in allowed]
            and not (name == "passed" and not facts[name])  # to go node by node is always right
        }
        assert not wrong, (where, wrong)
        require_sound(world)
        world.drop()

    def play(
        self, first: Operation, second: Operation, *numbers: int, is_old: bool = False, machine: str = "here"
    ) -> tuple[World, Told, Between]:
        """`second` is done by a new process, or by one that was there before and knows the place as it was."""
        world = self.template.copy()
        older = self._old(world, machine) if is_old else None

        def act() -> Told:
            process = older or Process(world, machine=machine)
            told = process.do(second)
            if process is not older:
                process.close()
            return told

        plan = Between(act, *numbers)
        process = Process(world, plan)
        plan.is_on = True
        told = process.do(first)
        plan.is_on = False
        for each in filter(None, (process, older)):
            each.close()
        return world, told, plan

    def _told_in_orders(self, first: Operation, second: Operation, times: int) -> list[Ordered]:
        """What each of them told, and the facts, where the second is done so often, before the first and after it."""
        if (first, second, times) not in self._known:
            found = []
            for before in range(times + 1):
                world, told = self.template.copy(), set[str | None]()
                for operation in [second] * before + [first] + [second] * (times - before):
                    process = Process(world)
                    error, _ = process.do(operation)
                    process.close()
                    if operation is first:
                        own = error
                    if operation is second:
                        told.add(error)
                found.append((own, told, facts_of(world)))
                world.drop()
            self._known[first, second, times] = found
        return self._known[first, second, times]

    @staticmethod
    def _old(world: World, machine: str) -> Process:
        process = Process(world, machine=machine)

        def look(process: Process) -> None:
            hit(process)
            search(process)
            process.store.catalog.snapshot()
            process.store.dooms.since()

        assert process.do(look) == (None, "")
        return process


@pytest.fixture(autouse=True)
def nothing_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """What threads do in their time happens when it is asked for, and no answer is given without a look for news."""
    for name in ("CONSOLE", "HARDWARE", "SOURCE", "ENVIRONMENT"):
        monkeypatch.setenv(f"MLFLOWISH_{name}", "0")
    monkeypatch.setattr("mlflowish.tracking.mover.Mover.ensure_thread", lambda self: None)
    monkeypatch.setattr("mlflowish.journals.spool.SpoolWriter._ensure_thread", lambda self: None)
    for module in ("journals.journals", "steps.accepting"):
        monkeypatch.setattr(f"mlflowish.{module}.NEWS_S", 0.0)


@pytest.fixture
def explorer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Explorer]:
    found = Explorer(request.param, tmp_path)
    yield found
    found.template.drop()


def sampled(explorer: Explorer, count: int, seed: int) -> Iterator[tuple[Operation, Operation, int, dict[str, Any]]]:
    """Operations, calls of the first one, and who does the second."""
    chance = random.Random(seed)
    for _ in range(count):
        first, second = chance.choice(OPERATIONS), chance.choice([each for each in OPERATIONS if each not in LOOKING])
        number = chance.randint(1, explorer.calls_of(first))
        yield first, second, number, {"is_old": chance.random() < 0.5, "machine": chance.choice(["here", "there"])}


@pytest.mark.parametrize("explorer", KINDS, indirect=True)
def test_what_is_told_of_two_operations_one_of_their_orders_tells(explorer: Explorer) -> None:
    for first, second, number, how in sampled(explorer, 4, 1):
        explorer.explore(first, second, number, **how)


@pytest.mark.parametrize("explorer", ["memory"], indirect=True)
@pytest.mark.parametrize(("first", "second"), [(retain, resume_for_long), (resume_for_long, retain)])
def test_a_run_is_not_deleted_by_a_policy_while_it_is_resumed(
    explorer: Explorer, first: Operation, second: Operation
) -> None:
    for number in range(1, explorer.calls_of(first), 4):
        world, _, plan = explorer.play(first, second, number)
        process = Process(world)
        assert process.do(require_not_both) == (None, ""), plan.met
        process.close()
        world.drop()


def require_not_both(process: Process) -> None:
    record = read_run(process.store, process.world.ids["old"])
    assert not (record.is_deleted and record.status == "RUNNING")


@pytest.mark.parametrize("explorer", ["memory"], indirect=True)
@pytest.mark.parametrize("first", [forget, forget_the_last])
def test_a_pipeline_is_not_passed_with_what_was_being_forgotten_when_it_ran(
    explorer: Explorer, first: Operation
) -> None:
    for number in range(8, explorer.calls_of(first) + 1):
        world, _, plan = explorer.play(first, pipeline_again, number)
        assert not facts_of(world)["passed"], plan.met
        world.drop()


class Refusing:
    """No room for objects, until there is another plan."""

    then: Plan | None = None

    def __call__(self, call: Call) -> Fault | None:
        if self.then is not None:
            return self.then(call)
        return Fault.FULL if call.operation.startswith("stage") else None


def test_an_artifact_that_waited_for_room_is_not_collected_on_its_way(tmp_path: Path) -> None:
    number, count = 1, 1
    while number <= count:
        world, refusing = World("memory", tmp_path), Refusing()
        process, collector = Process(world, refusing), Process(world)
        assert collector.do(give_up_the_text) == (None, "")
        assert process.do(log_a_text) == (None, "")
        refusing.then = plan = Between(lambda collector=collector: collector.do(collect), number)
        plan.is_on = True
        assert process.do(lambda process: mf.sync()) == (None, "")
        plan.is_on = False
        assert collector.do(require_the_text) == (None, ""), plan.met
        for each in (process, collector):
            each.close()
        world.drop()
        number, count = number + 2, plan.count


def give_up_the_text(process: Process) -> None:
    process.call("small", 1)  # which makes it a store
    process.store.objects.put(TEXT.encode())
    assert mf.gc(dry_run=False, grace=0).objects.count == 1


def log_a_text(process: Process) -> None:
    with mf.start_run("waiting"):
        mf.log_text(TEXT, "a.txt")


def require_the_text(process: Process) -> None:
    (run,) = mf.search_runs()
    assert run.artifacts.text("a.txt") == TEXT


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("explorer", KINDS, indirect=True)
@pytest.mark.parametrize("first", OPERATIONS, ids=lambda operation: operation.__name__)
def test_at_each_call_of_an_operation_whatever_else_is_done(explorer: Explorer, first: Operation) -> None:
    count = explorer.calls_of(first)
    for place, second in enumerate(each for each in OPERATIONS if each not in LOOKING):
        apart = 2 if explorer.kind == "memory" else 8  # all of them take half a night
        for number in range(1 + place % apart, count + 1, apart):
            explorer.explore(
                first, second, number, is_old=number % 2 == 0, machine="there" if number % 4 < 2 else "here"
            )


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("explorer", ["memory", "local"], indirect=True)
def test_twice_in_an_operation_whatever_else_is_done(explorer: Explorer) -> None:
    for first, second, number, how in sampled(explorer, 500, 2):
        explorer.explore(first, second, number, number + 1 + number % 13, **how)
