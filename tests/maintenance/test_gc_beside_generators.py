"""What a generator gave is read from the store when it has to be stored again: a collection must not take it then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from interleaving import SIZE, Process, World

import mlflowish as mf
from mlflowish.testing.faults import Call, Fault


class Act:
    """No fault: something is done before the first call that fits, once it is on."""

    def __init__(self, fits: Callable[[Call], bool], act: Callable[[], object], *, is_on: bool) -> None:
        self.fits, self.act, self.is_on = fits, act, is_on

    def __call__(self, call: Call) -> Fault | None:
        if self.is_on and self.fits(call):
            self.is_on = False
            self.act()
        return None


def collect(process: Process) -> None:
    mf.gc(dry_run=False, grace=0)


def test_the_parts_of_a_generator_stay_until_they_are_stored_again(tmp_path: Path) -> None:
    world = World("memory", tmp_path)
    chosen, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        chosen.set()
        assert goes_on.wait(60)

    # One collection has chosen, and not announced yet; another one comes when the parts are read again.
    first = Process(world, Act(lambda call: call.path.startswith("journals/doomed"), hold, is_on=False))
    second = Process(world)
    again = Act(
        lambda call: call.operation == "get" and call.path.startswith("objects/"),
        lambda: second.do(collect),
        is_on=False,
    )
    writer = Process(world, again)
    collecting = threading.Thread(target=lambda: first.do(collect))

    @mf.step
    def arrays(last: bool) -> Iterator[Any]:
        yield np.ones(SIZE)
        if last:
            goes_on.set()  # it announces, and sees then that the part is needed
            collecting.join(60)
            again.is_on = True
        yield np.zeros(SIZE)

    def fill(process: Process) -> None:
        list(arrays(False))
        arrays.forget(False)

    def call(process: Process) -> None:
        given = arrays(True)
        assert second.do(collect) == (None, "")
        assert [array.sum() for array in given] == [SIZE, 0]
        assert arrays.call(True).hit

    assert writer.do(fill) == (None, "")
    first.store.storage.plan.is_on = True
    collecting.start()
    assert chosen.wait(60)
    assert writer.do(call) == (None, "")
    assert not again.is_on  # a collection came
    for process in (first, second, writer):
        process.close()
    world.drop()
