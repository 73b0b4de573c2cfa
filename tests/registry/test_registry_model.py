"""The registry against a dictionary, in every order of acts that Hypothesis can think of, through two handles."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import mlflowish as mf

registry = mf.registry
NAMES = st.sampled_from(["a", "a b"])
NUMBERS = st.integers(1, 4)
STAGES = st.sampled_from(["none", "Staging", "PRODUCTION", "archived"])
ALIASES = st.sampled_from(["champion", "challenger"])
HANDLES = st.integers(0, 1)


class AgainstADictionary(RuleBasedStateMachine):
    """`versions[name][number]` is the stage, None for a deleted one; `aliases[name][alias]` a number."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.stores = [mf.Store(self.folder / "s", fsync="never"), mf.Store(self.folder / "s", fsync="never")]
        self.versions, self.aliases, self.events = {}, {}, {}

    def teardown(self):
        if hasattr(self, "folder"):
            for store in self.stores:
                store.close()
            shutil.rmtree(self.folder)

    def is_there(self, name, number):
        return self.versions.get(name, {}).get(number) is not None

    def enter(self, name, number, stage):
        """The model's own idea of a move; how many events it makes."""
        there = self.versions[name]
        if there[number] == stage:
            return 0
        displaced = [n for n, where in there.items() if where == stage == "production"]
        there.update(dict.fromkeys(displaced, "archived"))
        there[number] = stage
        return 1 + len(displaced)

    @rule(handle=HANDLES, name=NAMES, stage=STAGES, alias=st.none() | ALIASES)
    def register(self, handle, name, stage, alias):
        version = mf.register_model(name, 1, stage=stage, alias=alias, store=self.stores[handle])
        there = self.versions.setdefault(name, {})
        number = len(there) + 1
        assert version.version == number
        there[number] = "none"
        self.events[name] = self.events.get(name, 0) + 1 + self.enter(name, number, stage.lower())
        self.aliases.setdefault(name, {})
        if alias is not None:
            self.aliases[name][alias] = number
            self.events[name] += 1

    @rule(handle=HANDLES, name=NAMES, number=NUMBERS, stage=STAGES, archives=st.booleans())
    def move(self, handle, name, number, stage, archives):
        options = {"archive_existing": archives, "store": self.stores[handle]}
        target = stage.lower()
        if not self.is_there(name, number):
            with pytest.raises(mf.NotFoundError):
                registry.transition(name, number, stage, **options)
            return
        taken = any(n != number and where == target == "production" for n, where in self.versions[name].items())
        if taken and not archives and self.versions[name][number] != target:
            with pytest.raises(mf.StateError):
                registry.transition(name, number, stage, **options)
            return
        assert registry.transition(name, number, stage, **options).stage == target
        self.events[name] += self.enter(name, number, target)

    @rule(handle=HANDLES, name=NAMES, number=NUMBERS, alias=ALIASES)
    def point(self, handle, name, number, alias):
        if not self.is_there(name, number):
            with pytest.raises(mf.NotFoundError):
                registry.set_alias(name, alias, number, store=self.stores[handle])
            return
        registry.set_alias(name, alias, number, store=self.stores[handle])
        if self.aliases[name].get(alias) != number:
            self.events[name] += 1
        self.aliases[name][alias] = number

    @rule(handle=HANDLES, name=NAMES, number=NUMBERS, force=st.booleans())
    def delete(self, handle, name, number, force):
        options = {"force": force, "store": self.stores[handle]}
        if not self.is_there(name, number):
            with pytest.raises(mf.NotFoundError):
                registry.delete(name, number, **options)
            return
        is_used = self.versions[name][number] == "production" or number in self.aliases[name].values()
        if is_used and not force:
            with pytest.raises(mf.StateError):
                registry.delete(name, number, **options)
            return
        registry.delete(name, number, **options)
        self.versions[name][number] = None
        self.aliases[name] = {alias: n for alias, n in self.aliases[name].items() if n != number}
        self.events[name] += 1

    @rule(handle=HANDLES, name=NAMES, number=NUMBERS)
    def restore(self, handle, name, number):
        if number not in self.versions.get(name, {}) or self.versions[name][number] is not None:
            with pytest.raises((mf.NotFoundError, mf.StateError)):
                registry.restore(name, number, store=self.stores[handle])
            return
        registry.restore(name, number, store=self.stores[handle])
        self.versions[name][number] = "none"
        self.events[name] += 1

    @rule(handle=HANDLES)
    def reopen(self, handle):
        self.stores[handle].close()
        self.stores[handle] = mf.Store(self.folder / "s", fsync="never")

    @invariant()
    def both_handles_say_what_the_dictionary_says(self):
        for store in getattr(self, "stores", ()):
            assert [model.name for model in registry.models(store=store)] == sorted(self.versions)
            for name, there in self.versions.items():
                found = registry.versions(name, deleted=True, store=store)
                assert {v.version: None if v.deleted else v.stage for v in found} == there
                assert dict(registry.model(name, store=store).aliases) == self.aliases[name]
                told = registry.history(name, store=store)
                assert [event.sequence for event in told] == list(range(1, self.events[name] + 1))
                for stage in ("staging", "production"):
                    inside = [number for number, where in there.items() if where == stage]
                    assert [v.version for v in registry.versions(name, stage=stage, store=store)] == inside


@pytest.mark.parametrize("examples", [8, pytest.param(300, marks=pytest.mark.nightly)])
def test_the_registry_is_a_dictionary_with_a_history(examples):
    run_state_machine_as_test(
        AgainstADictionary,
        settings=settings(
            max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck),
            derandomize=examples < 100, database=None,
        ),
    )  # fmt: skip
