"""What the checks of one run share: the store, what was found so far, and whether to repair it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from mlflowish.errors import FormatVersionError, IntegrityError, MlflowishError, StorageError
from mlflowish.maintenance.findings import MOST_FINDINGS, Finding, FsckReport
from mlflowish.store import Store

DAY_S = 86_400.0


class Watch(Protocol):
    """Is told how far a long run is."""

    def begin(self, what: str, total: int | None = None) -> None:
        """A stage begins, of `total` pieces if that is known."""

    def advance(self, count: int = 1) -> None:
        """So many pieces more are done."""


class Unwatched:
    """Nobody looks."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Not told."""

    def advance(self, count: int = 1) -> None:
        """Not told."""


class Check:
    """One run of `fsck`."""

    def __init__(self, store: Store, *, repair: bool, quick: bool, watch: Watch | None) -> None:
        self.store, self.storage = store, store.storage
        self.is_quick, self.repairs = quick, repair
        self.watch: Watch = watch or Unwatched()
        self.counts: Counter[str] = Counter()
        self._findings: list[Finding] = []
        self._listed: Counter[str] = Counter()
        self._unlisted = 0
        self.now_s = time.time()

    def found(self, code: str, path: str, what: str, mend: Callable[[], object] | None = None) -> bool:
        """Note a finding; with `repair`, mend it. Was it mended?"""
        is_repaired, hindrance = False, ""
        if self.repairs and mend is not None:
            try:
                mend()
                is_repaired = True
            except FormatVersionError:
                raise
            except MlflowishError as error:
                hindrance = error.message
        self._listed[code] += 1
        if self._listed[code] <= MOST_FINDINGS:
            self._findings.append(Finding(code, path, what, is_repaired, hindrance))
        elif not is_repaired:
            self._unlisted += 1
        return is_repaired

    def part(self, name: str, look: Callable[[], object]) -> None:
        """Look at one part of the store; one that cannot be read is a finding, and the others are looked at."""
        try:
            look()
        except (StorageError, IntegrityError) as error:
            self.found("unreadable", name, error.message)

    def was_repaired(self, *prefixes: str) -> bool:
        """Was anything repaired whose path begins so?"""
        return any(found.is_repaired and found.path.startswith(prefixes) for found in self._findings)

    def is_old(self, modified_s: float) -> bool:
        """Was it left alone for a day? False when nobody knows."""
        return self.now_s - modified_s > DAY_S

    def report(self) -> FsckReport:
        return FsckReport(self.store.url, tuple(self._findings), dict(self.counts), self._unlisted)
