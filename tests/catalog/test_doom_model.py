"""The protocol by which objects are given up, explored state by state, and every simpler one, which fails.

Two writers who each store the same bytes and commit a reference to them, one who drops a reference, a careless one who
stores bytes without looking at the catalog (a cached step does), and collections whose deletions are delayed or
abandoned to another. A state is the whole world; every step of anybody is one transition; breadth first, so that a
counter-example is a shortest one. What must hold: an object that a committed value names is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

PLAIN = "plain"
MOST_GENERATIONS = 2


@dataclass(frozen=True)
class Rules:
    """Which parts of the protocol are kept."""

    looks_at_the_dead: bool = True  # a commit is refused if it names what is dead by then
    looks_at_the_epoch: bool = True  # or if two collections have passed since the writer looked
    new_generations: bool = True  # bytes whose name is dead are stored under a name that never was
    plain_names_stay_dead: bool = True  # also when they have been seen to be gone
    looks_whether_it_is_there: bool = True  # a writer looks after it has begun, not before
    dooms_look_at_commits: bool = True  # a doom leaves out what commits since its snapshot refer to
    collections: int = 3  # how many there are in one world


class Writer(NamedTuple):
    """Steps: 0 store, 1 begin (epoch, dead), 2 look whether it is there, 3 commit, 4 done."""

    step: int = 0
    name: str = PLAIN
    epoch: int = 0
    drops: int = 0  # references that it may still drop


class Collector(NamedTuple):
    """Steps: 0 snapshot, 1 doom, 2 delete, then 0 again. What it is still to delete may be left over for ever."""

    step: int = 0
    seen_log: int = 0
    garbage: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    collections: int = 0


class World(NamedTuple):
    there: frozenset[str] = frozenset()
    live: frozenset[tuple[int, str]] = frozenset()  # (who, name)
    dead: frozenset[str] = frozenset()
    epoch: int = 0
    log: tuple[str, ...] = ()  # names referred to, in order
    writers: tuple[Writer, ...] = (Writer(drops=1), Writer())
    collector: Collector = Collector()
    pending: frozenset[str] = frozenset()  # deletions that some collector may still carry out
    generations: int = 0
    careless: int = 1  # how often bytes are stored without a look at the catalog

    def is_broken(self) -> bool:
        return any(name not in self.there for _, name in self.live)


def steps(world: World, rules: Rules) -> Iterator[tuple[str, World]]:
    for who, writer in enumerate(world.writers):
        for what, after, mine in writer_steps(world, who, writer, rules):
            writers = (*world.writers[:who], mine, *world.writers[who + 1 :])
            yield f"writer {who}: {what}", after._replace(writers=writers)
    if world.careless and PLAIN not in world.there:
        yield "a step stores the bytes", world._replace(there=world.there | {PLAIN}, careless=world.careless - 1)
    yield from collector_steps(world, rules)
    for name in world.pending:
        after = world._replace(there=world.there - {name}, pending=world.pending - {name})
        yield f"a deletion of {name} arrives", after
        # Somebody else deletes it as well, and the first one is still on its way.
        if name in world.there:
            yield f"another deletes {name}", world._replace(there=world.there - {name})


def writer_steps(world: World, who: int, writer: Writer, rules: Rules) -> Iterator[tuple[str, World, Writer]]:
    if writer.step == 0:
        # The name is chosen by what the writer knows of the dead, which may be old: nothing at all, here.
        for name in {PLAIN, writer.name}:
            if name == PLAIN or name in world.there:
                yield f"stores {name}", world._replace(there=world.there | {name}), writer._replace(step=1, name=name)
    elif writer.step == 1:
        if not (rules.looks_at_the_dead and writer.name in world.dead):
            yield "begins", world, writer._replace(step=2, epoch=world.epoch)
        elif rules.new_generations:
            if world.generations < MOST_GENERATIONS:
                name = f"generation {world.generations}"
                after = world._replace(there=world.there | {name}, generations=world.generations + 1)
                yield f"stores {name}", after, writer._replace(name=name)
        elif writer.name not in world.there:  # without generations: wait until it is gone, and store it again
            yield "stores it again", world._replace(there=world.there | {PLAIN}, dead=world.dead - {PLAIN}), writer
    elif writer.step == 2:
        if writer.name in world.there or not rules.looks_whether_it_is_there:
            yield "finds it there", world, writer._replace(step=3)
        else:
            yield "does not find it", world, writer._replace(step=0)
    elif writer.step == 3:
        is_dead = rules.looks_at_the_dead and writer.name in world.dead
        is_late = rules.looks_at_the_epoch and world.epoch > writer.epoch + 1
        if is_dead or is_late:
            yield "must begin again", world, writer._replace(step=1)
        else:
            live = world.live | {(who, writer.name)}
            yield "commits", world._replace(live=live, log=(*world.log, writer.name)), writer._replace(step=4)
    elif writer.drops and (who, writer.name) in world.live:
        live = world.live - {(who, writer.name)}
        yield "drops it", world._replace(live=live), writer._replace(step=0, drops=writer.drops - 1)


def collector_steps(world: World, rules: Rules) -> Iterator[tuple[str, World]]:
    mine = world.collector
    if mine.step == 0 and mine.collections < rules.collections:
        live = {name for _, name in world.live}
        garbage = frozenset(world.there - live - world.dead)
        gone = frozenset(world.dead - world.there)
        marked = mine._replace(step=1, seen_log=len(world.log), garbage=garbage, gone=gone)
        yield "collector: marks", world._replace(collector=marked)
    elif mine.step == 1:
        referred = set(world.log[mine.seen_log :]) if rules.dooms_look_at_commits else set()
        doomed = mine.garbage - referred
        leaving = {name for name in mine.gone if name != PLAIN or not rules.plain_names_stay_dead}
        after = world._replace(
            dead=(world.dead - leaving) | doomed,
            epoch=world.epoch + 1,
            pending=world.pending | doomed,
            collector=mine._replace(step=0, garbage=frozenset(), gone=frozenset(), collections=mine.collections + 1),
        )
        yield f"collector: dooms {sorted(doomed)}, lets {sorted(leaving)} go", after


def explore(rules: Rules, *, most: int = 3_000_000) -> tuple[int, list[str] | None]:
    """How many states there are, and the shortest way to one that is broken."""
    start = World()
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


PARTS = [name for name in Rules.__dataclass_fields__ if name != "collections"]


def test_no_committed_reference_ever_dangles() -> None:
    states, counter_example = explore(Rules(collections=1))
    assert counter_example is None
    assert states == 3_032


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_no_committed_reference_ever_dangles_in_any_world() -> None:
    assert explore(Rules(collections=2)) == (60_752, None)
    states, counter_example = explore(Rules())
    assert counter_example is None
    assert states == 466_876


@pytest.mark.parametrize("part", PARTS)
def test_without_any_part_of_the_protocol_a_reference_dangles(part: str) -> None:
    _, counter_example = explore(replace(Rules(), **{part: False}))
    assert counter_example is not None
    assert counter_example[-1].startswith(("a deletion of", "another deletes", "writer 0: commits"))
