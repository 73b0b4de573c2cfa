"""Journals against a dictionary of sets, in every order of events that Hypothesis can think of."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from journal_worlds import BucketStorage, key_of

from mlflowish.journals import Journals
from mlflowish.storage.base import Storage
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.memory import MemoryStorage

KEYS = st.integers(0, 11).map(key_of)
PAYLOADS = st.sampled_from([b"", b"a", b"b", b"ab", b"\xf5mfr" * 5, b"c" * 900])
HANDLES = st.integers(0, 2)


class AgainstADictionary(RuleBasedStateMachine):
    """Three handles with views of different age; the model is what was acknowledged, and to whom it must be visible."""

    sort = "local"

    @initialize()
    def open_store(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("MLFLOWISH_CACHE_DIR", str(self.folder / "cache"))
        self.storage = self.make_storage()
        self.handles = [self.open_handle() for _ in range(3)]
        self.model: dict[bytes, set[bytes]] = defaultdict(set)
        self.unshipped: list[dict[bytes, set[bytes]]] = [defaultdict(set) for _ in range(3)]

    def make_storage(self) -> Storage:
        if self.sort == "local":
            return LocalStorage(str(self.folder / "store"), fsync="never")
        memory = MemoryStorage(str(self.folder))
        return memory if self.sort == "memory" else BucketStorage(memory)

    def open_handle(self) -> Journals:
        return Journals(self.storage, "calls", roll_bytes=700, refresh_s=0.0, ship_every_s=600.0)

    def teardown(self) -> None:
        for handle in getattr(self, "handles", ()):
            handle.close()
        if hasattr(self, "folder"):
            self.patch.undo()
            shutil.rmtree(self.folder)

    @rule(handle=HANDLES, key=KEYS, payload=PAYLOADS)
    def append(self, handle: int, key: bytes, payload: bytes) -> None:
        self.handles[handle].append(key, payload)
        (self.unshipped[handle] if self.sort == "bucket" else self.model)[key].add(payload)

    @rule(handle=HANDLES)
    def flush(self, handle: int) -> None:
        self.handles[handle].flush()
        self.ship(handle)

    def ship(self, handle: int) -> None:
        for key, payloads in self.unshipped[handle].items():
            self.model[key] |= payloads
        self.unshipped[handle].clear()

    @rule(handle=HANDLES, key=KEYS)
    def get(self, handle: int, key: bytes) -> None:
        found = self.handles[handle].get(key)
        assert len(set(found)) == len(found)
        everywhere = self.model[key].union(*(part.get(key, set()) for part in self.unshipped))
        assert set(found) <= everywhere, "never a record that nobody appended"
        assert bool(found) or not self.visible_to(handle, key), "a present key is never answered with none"

    @rule(handle=HANDLES)
    def refresh(self, handle: int) -> None:
        self.handles[handle].refresh()
        for key in [key for key, payloads in self.model.items() if payloads]:
            assert set(self.handles[handle].get(key)) == self.visible_to(handle, key)

    def visible_to(self, handle: int, key: bytes) -> set[bytes]:
        return self.model[key] | self.unshipped[handle].get(key, set())

    @rule(handle=HANDLES)
    def compact(self, handle: int) -> None:
        self.handles[handle].compact()
        self.ship(handle)

    @rule(handle=HANDLES)
    def compact_with_a_fold_that_keeps_all(self, handle: int) -> None:
        self.handles[handle].compact(lambda key, payloads: list(reversed(payloads)))
        self.ship(handle)

    @rule(handle=HANDLES)
    def reopen(self, handle: int) -> None:
        self.handles[handle].close()
        self.ship(handle)
        self.handles[handle] = self.open_handle()

    @rule(handle=HANDLES)
    def close_and_go_on(self, handle: int) -> None:
        self.handles[handle].close()
        self.ship(handle)

    @rule(handle=HANDLES)
    def scan(self, handle: int) -> None:
        wanted = {(key, payload) for key in map(key_of, range(12)) for payload in self.visible_to(handle, key)}
        assert list(self.handles[handle].scan()) == sorted(wanted)

    @invariant()
    def files_stay_few(self) -> None:
        if hasattr(self, "storage"):
            assert len(list(self.storage.list(""))) < 60


class InMemory(AgainstADictionary):
    sort = "memory"


class InABucket(AgainstADictionary):
    sort = "bucket"


MACHINES = [AgainstADictionary, InMemory, InABucket]
PROFILE = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("machine", MACHINES)
def test_journals_behave_like_a_dictionary_of_sets(machine: type[AgainstADictionary]) -> None:
    run_state_machine_as_test(machine, settings=settings(PROFILE, max_examples=25, stateful_step_count=30))


@pytest.mark.nightly
@pytest.mark.parametrize("machine", MACHINES)
def test_journals_behave_like_a_dictionary_of_sets_for_long(machine: type[AgainstADictionary]) -> None:
    run_state_machine_as_test(machine, settings=settings(PROFILE, max_examples=600, stateful_step_count=80))
