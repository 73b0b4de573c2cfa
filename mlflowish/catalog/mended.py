"""States that stand in for a checkpoint which cannot be read any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mlflowish.catalog.checkpoints import Checkpoint
from mlflowish.catalog.view import Base, Row, View, Written
from mlflowish.errors import IntegrityError


class Mending(Protocol):
    """Who knows what to read instead."""

    def instead_of(self, checkpoint: Checkpoint, error: IntegrityError) -> Base: ...


class MendedBase(Checkpoint):
    """A checkpoint that is replaced if reading it fails: by the log, or by a later one if it was cleaned away."""

    def __init__(self, checkpoint: Base, history: Mending) -> None:
        assert isinstance(checkpoint, Checkpoint)
        super().__init__(checkpoint.files, checkpoint.slot, checkpoint.hash, checkpoint.time_s, checkpoint.runs)
        self._history = history
        self.instead: Base | None = None

    @property
    def later(self) -> Base | None:
        base = self.instead
        return None if base is None else base.later or (base if base.slot > self.slot else None)

    def lookup(self, key: str) -> Written | None:
        if self.instead is None:
            try:
                return super().lookup(key)
            except IntegrityError as error:
                self.instead = self._history.instead_of(self, error)
        return self.instead.lookup(key)

    def scan(self, prefix: str) -> Iterator[Row]:
        last = None
        if self.instead is None:
            try:
                for row in super().scan(prefix):
                    yield row
                    last = row[0]
                return
            except IntegrityError as error:
                self.instead = self._history.instead_of(self, error)
        for row in self.instead.scan(prefix):
            if last is None or row[0] > last:
                yield row


class StateOf:
    """The state of a view at a slot, as a base."""

    def __init__(self, view: View, slot: int) -> None:
        self._view, self.slot = view, slot
        self.hash, self.time_s = view.hash, view.time_s

    @property
    def later(self) -> Base | None:
        found = self._view.base.later
        return found if found is not None and found.slot > self.slot else None

    def lookup(self, key: str) -> Written | None:
        return self._view.lookup(key, self.slot)

    def scan(self, prefix: str) -> Iterator[Row]:
        return self._view.scan(prefix, self.slot)
