"""How `gc` gives objects up, explored state by state, and every simpler way, which fails.

A collection announces names in a journal (`mlflowish/store/dooms.py`), raises the epoch of the catalog, looks once
more whether anything refers to them, and deletes the others, at any time, in any order, or leaves that to another one.
Beside it are a writer who commits a reference to the catalog and may drop it again, and a cached step that appends an
entry, both of the same bytes. A state is the whole world; every step of anybody is one transition; breadth first, so
that a counter-example is a shortest one. What must hold: an object that an acknowledged reference names is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

NAMES = ("plain", "plain.1", "plain.2")


@dataclass(frozen=True)
class Rules:
    """Which parts of the protocol are kept."""

    puts_look_at_announcements: bool = True  # bytes whose name is announced get the next one: without it nobody ends
    refers_look_at_announcements: bool = True  # a transaction refers to no announced name
    the_epoch_is_read_first: bool = True  # before that look, not after it
    the_epoch_is_checked: bool = True  # a commit fails if the epoch is not the one that was read
    looks_whether_it_is_there: bool = True  # a transaction looks, after the announcements
    entries_look_again: bool = True  # a step asks after its entry was appended, and stores again
    announces_first: bool = True  # before the epoch is raised
    raises_the_epoch: bool = True
    looks_twice: bool = True  # a collection looks again after that
    announcements_stay: bool = True  # until the object is gone, and whoever may still delete or name it has ended
    collections: int = 1
    collectors: int = 1


class Writer(NamedTuple):
    """Steps: 0 put, 1 read the epoch, 2 look at the announcements, 3 look whether it is there, 4 commit, 5 done."""

    step: int = 0
    name: str = ""
    epoch: int = 0
    drops: int = 1


class Step(NamedTuple):
    """Steps: 0 choose a name, 1 write unless it is there, 2 append the entry, 3 ask again, 4 acknowledged."""

    step: int = 0
    name: str = ""


class Collector(NamedTuple):
    """Steps: 0 mark, 1 announce, 2 raise the epoch, 3 second look, then 0 again with deletions on their way."""

    step: int = 0
    garbage: frozenset[str] = frozenset()
    done: int = 0


class World(NamedTuple):
    there: frozenset[str] = frozenset({"plain"})
    committed: frozenset[str] = frozenset()  # named by the catalog
    appended: frozenset[str] = frozenset()  # named by entries
    announced: frozenset[str] = frozenset()
    epoch: int = 0
    writer: Writer = Writer()
    step: Step = Step()
    collectors: tuple[Collector, ...] = (Collector(),)
    pending: frozenset[str] = frozenset()  # deletions that somebody may still carry out

    def is_broken(self) -> bool:
        acknowledged = self.committed | ({self.step.name} if self.step.step == 4 else set())
        return not acknowledged <= self.there


def steps(world: World, rules: Rules) -> Iterator[tuple[str, World]]:
    yield from writer_steps(world, world.writer, rules)
    yield from step_steps(world, world.step, rules)
    for number, one in enumerate(world.collectors):
        for what, after, mine in collector_steps(world, one, rules):
            others = (*world.collectors[:number], mine, *world.collectors[number + 1 :])
            yield f"collector {number} {what}", after._replace(collectors=others)
    for name in world.pending:
        after = world._replace(there=world.there - {name}, pending=world.pending - {name})
        yield f"a deletion of {name} arrives", after
        if name in world.there:
            yield f"another deletes {name}", world._replace(there=world.there - {name})
    # They are kept for a week: for longer than a deletion is on its way, or a step between writing and asking again.
    held = world.pending.union({world.step.name}, *(one.garbage for one in world.collectors))
    for name in world.announced - world.there - (held if rules.announcements_stay else set()):
        yield f"{name} is forgotten", world._replace(announced=world.announced - {name})


def free_name(world: World, rules: Rules) -> str | None:
    if not rules.puts_look_at_announcements:
        return NAMES[0]
    return next((name for name in NAMES if name not in world.announced), None)


def writer_steps(world: World, mine: Writer, rules: Rules) -> Iterator[tuple[str, World]]:
    def now(what: str, **changes: object) -> tuple[str, World]:
        return f"writer {what}", world._replace(writer=mine._replace(**changes))

    first, second = (1, 2) if rules.the_epoch_is_read_first else (2, 1)
    if mine.step == 0:
        name = free_name(world, rules)
        if name is not None:
            yield (
                f"writer puts {name}",
                world._replace(there=world.there | {name}, writer=mine._replace(step=first, name=name)),
            )
    elif mine.step == 1:
        yield now("reads the epoch", epoch=world.epoch, step=2 if first == 1 else 3)
    elif mine.step == 2:
        if rules.refers_look_at_announcements and mine.name in world.announced:
            yield now("finds it announced", step=0)
        else:
            yield now("finds it not announced", step=3 if second == 2 else 1)
    elif mine.step == 3:
        is_there = mine.name in world.there or not rules.looks_whether_it_is_there
        yield now("finds it there", step=4) if is_there else now("does not find it", step=0)
    elif mine.step == 4:
        if rules.the_epoch_is_checked and mine.epoch != world.epoch:
            yield now("must begin again", step=first)
        else:
            done = mine._replace(step=5)
            yield "writer commits", world._replace(committed=world.committed | {mine.name}, writer=done)
    elif mine.drops:
        again = Writer(drops=mine.drops - 1)
        yield "writer drops it", world._replace(committed=world.committed - {mine.name}, writer=again)


def step_steps(world: World, mine: Step, rules: Rules) -> Iterator[tuple[str, World]]:
    if mine.step == 0:
        name = free_name(world, rules)
        if name is not None:
            yield f"step chooses {name}", world._replace(step=Step(1, name))
    elif mine.step == 1:
        yield "step writes it", world._replace(there=world.there | {mine.name}, step=mine._replace(step=2))
    elif mine.step == 2:
        yield "step appends", world._replace(appended=world.appended | {mine.name}, step=mine._replace(step=3))
    elif mine.step == 3:
        if rules.entries_look_again and mine.name in world.announced:
            yield "step finds it announced", world._replace(appended=world.appended - {mine.name}, step=Step())
        else:
            yield "step returns", world._replace(step=mine._replace(step=4))


def collector_steps(world: World, mine: Collector, rules: Rules) -> Iterator[tuple[str, World, Collector]]:
    named = world.committed | world.appended
    if mine.step == 0:
        if mine.done < rules.collections and world.there - named:
            yield "marks", world, mine._replace(step=1 if rules.announces_first else 2, garbage=world.there - named)
    elif mine.step == 1:
        after = world._replace(announced=world.announced | mine.garbage)
        yield f"announces {sorted(mine.garbage)}", after, mine._replace(step=2 if rules.announces_first else 3)
    elif mine.step == 2:
        after = world._replace(epoch=world.epoch + 1) if rules.raises_the_epoch else world
        yield "raises the epoch", after, mine._replace(step=3 if rules.announces_first else 1)
    else:
        garbage = mine.garbage - named if rules.looks_twice else mine.garbage
        after = world._replace(pending=world.pending | garbage)
        yield f"is to delete {sorted(garbage)}", after, Collector(done=mine.done + 1)


def explore(rules: Rules, *, most: int = 3_000_000) -> tuple[int, list[str] | None]:
    """How many states there are, and the shortest way to one that is broken."""
    start = World(collectors=(Collector(),) * rules.collectors)
    came: dict[World, tuple[World, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        world = waiting.popleft()
        if world.is_broken():
            return len(came), path_to(world, came)
        for what, after in steps(world, rules):
            if after not in came:
                came[after] = (world, what)
                waiting.append(after)
        assert len(came) < most
    return len(came), None


def path_to(world: World, came: dict[World, tuple[World, str] | None]) -> list[str]:
    path = []
    while (before := came[world]) is not None:
        world, what = before
        path.append(what)
    return path[::-1]


PARTS = [
    name
    for name in Rules.__dataclass_fields__
    if name not in ("collections", "collectors", "puts_look_at_announcements")
]


def test_no_acknowledged_reference_ever_dangles() -> None:
    assert explore(Rules()) == (2_360, None)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [{"collections": 2}, {"collectors": 2}])
def test_no_acknowledged_reference_ever_dangles_in_larger_worlds(size: dict[str, int]) -> None:
    states, counter_example = explore(replace(Rules(), **size))
    assert counter_example is None
    assert states > 10_000


@pytest.mark.parametrize("part", PARTS)
def test_without_any_part_of_the_protocol_a_reference_dangles(part: str) -> None:
    _, counter_example = explore(replace(Rules(), **{part: False}))
    assert counter_example is not None
    assert counter_example[-1].startswith(("a deletion of", "another deletes", "writer commits", "step returns"))


@pytest.mark.parametrize("looks", [True, False])
def test_a_writer_whose_bytes_are_announced_gets_through_by_a_new_name(looks: bool) -> None:
    """While the announced file is still there, and whoever announced it has died."""
    start = World(announced=frozenset({"plain"}), collectors=())
    rules = Rules(puts_look_at_announcements=looks)
    seen, waiting = {start}, [start]
    while waiting:
        for _, after in steps(waiting.pop(), rules):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    assert any(world.writer.step == 5 for world in seen) == looks
