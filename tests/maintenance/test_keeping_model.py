"""A state machine: results stored, forgotten, evicted, collected, compacted and checked, against a model of what must
be readable."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import mlflowish as mf

SIZE = 33_000
_names = itertools.count()


@mf.step
def ones(call: int, content: int) -> Any:
    return np.full(SIZE, float(content))


@mf.step
def both(call: int, content: int) -> Any:
    return np.full(SIZE, float(content)), np.full(SIZE + 1, float(content))


@mf.step
def each(call: int, content: int) -> Any:
    yield from (np.full(SIZE, float(content)), np.full(SIZE, 9.0))


STEPS = {"ones": ones, "both": both, "each": each}
CALLS = st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 3), st.integers(0, 1))
Made = tuple[str, int, int]


class Keeping(RuleBasedStateMachine):
    """Two handles of one store, with views of their own; `live`: what must be read back."""

    where = "local"

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mlflowish-keeping-"))
        url: Any = self.folder / "s" if self.where == "local" else f"memory://keeping-{next(_names)}"
        options = {"fsync": "never"} if self.where == "local" else {}
        self.handles = [mf.Store(url, **options), mf.Store(url, **options)]
        self.live: set[Made] = set()

    @rule(made=CALLS, handle=st.integers(0, 1))
    def call(self, made: Made, handle: int) -> None:
        name, number, content = made
        self.refresh()
        with self.handles[handle], warnings.catch_warnings():
            warnings.simplefilter("error")
            call = STEPS[name].call(number, content)
            assert call.hit == (made in self.live)
            check_value(name, call.value, content)
        self.live.add(made)

    @rule(made=CALLS, handle=st.integers(0, 1))
    def forget(self, made: Made, handle: int) -> None:
        self.refresh()
        with self.handles[handle]:
            assert STEPS[made[0]].forget(*made[1:]) == (made in self.live)
        self.live.discard(made)
        self.refresh()

    def refresh(self) -> None:
        """What one handle adds under a key that the other knows, that one sees when it looks for news: after 50 ms."""
        for store in self.handles:
            store.journals("calls").refresh()

    @rule(handle=st.integers(0, 1))
    def collect(self, handle: int) -> None:
        mf.gc(self.handles[handle], dry_run=False, grace=0)
        assert mf.du(self.handles[handle]).unreached_count == 0

    @rule(handle=st.integers(0, 1), keep_last=st.integers(0, 2))
    def evict(self, handle: int, keep_last: int) -> None:
        report = mf.gc(self.handles[handle], dry_run=False, grace=0, keep_last=keep_last)
        left = 0
        self.refresh()
        with self.handles[handle]:
            still = {made for made in self.live if STEPS[made[0]].is_cached(*made[1:])}
        left = len(self.live) - report.evicted.count
        assert len(still) == left
        for name in STEPS:
            before, after = (sum(made[0] == name for made in which) for which in (self.live, still))
            assert after == min(before, keep_last)
        self.live = still

    @rule(handle=st.integers(0, 1))
    def compact(self, handle: int) -> None:
        self.handles[handle].compact()

    @rule(handle=st.integers(0, 1))
    def close(self, handle: int) -> None:
        self.handles[handle].close()

    @rule(handle=st.integers(0, 1))
    def repair(self, handle: int) -> None:
        self.check(handle, repair=True)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), handle=st.integers(0, 1))
    def lose_an_object(self, data: Any, handle: int) -> None:
        """Somebody deletes a file: what named it is computed again, after a repair without a word."""
        paths = sorted(info.path for info in self.handles[0].storage.list("objects"))
        if not paths:
            return
        self.handles[0].storage.delete(data.draw(st.sampled_from(paths)))
        mf.fsck(self.handles[handle], repair=True)
        self.refresh()
        with self.handles[handle]:
            self.live = {made for made in self.live if STEPS[made[0]].is_cached(*made[1:])}

    @invariant()
    def is_sound(self) -> None:
        if hasattr(self, "handles"):
            self.check(0)

    def check(self, handle: int, **options: bool) -> None:
        """No findings, or no store where nothing was stored yet."""
        store = self.handles[handle]
        if any(True for _ in store.storage.list("")):
            report = mf.fsck(store, **options)
            assert report.findings == (), report.to_table()
        else:
            with pytest.raises(mf.NotFoundError, match="nothing was ever stored"):
                mf.fsck(store, **options)

    def teardown(self) -> None:
        if hasattr(self, "handles"):
            self.refresh()
            with self.handles[1], warnings.catch_warnings():
                warnings.simplefilter("error")
                for name, number, content in sorted(self.live):
                    call = STEPS[name].call(number, content)
                    assert call.hit
                    check_value(name, call.value, content)
            for store in self.handles:
                store.close()
            shutil.rmtree(self.folder)


def check_value(name: str, value: Any, content: int) -> None:
    arrays = [value] if name == "ones" else list(value)
    expected = {"ones": [content], "both": [content, content], "each": [content, 9]}[name]
    assert [float(array[0]) for array in arrays] == expected


class KeepingInMemory(Keeping):
    where = "memory"


def run(machine: type[Keeping], examples: int, steps: int) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=checks,
            database=None,
            phases=[Phase.generate],  # a step takes a file system's time: shrinking would take an hour
        ),
    )


@pytest.mark.parametrize("machine", [Keeping, KeepingInMemory])
def test_what_must_be_readable_is_whatever_is_done_to_a_store(machine: type[Keeping]):
    run(machine, examples=6, steps=12)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", [Keeping, KeepingInMemory])
def test_what_must_be_readable_is_for_long(machine: type[Keeping]):
    run(machine, examples=200, steps=40)
