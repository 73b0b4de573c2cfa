"""The seam for whoever watches a pipeline run: progress displays, logs, tests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlflowish.pipelines.endings import Ending

WAITING, CACHED, RUNNING, DONE, FAILED, SKIPPED = "waiting", "cached", "running", "done", "failed", "skipped"
"""States of a node. `skipped`: what it needs failed, or it stands in a branch that was not chosen."""

_log = logging.getLogger("mlflowish.pipelines")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node as it is known before it runs. `index` names it in this run; `needs` are those it waits for. `pipeline`:
    the nested pipeline that it belongs to, "" for the outermost. Nodes that come into being at run time (the items of
    a `map`) have the index of that `map` as `inside`."""

    index: int
    label: str
    step: str
    file: str
    line: int
    needs: tuple[int, ...] = ()
    pipeline: str = ""
    inside: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A node is in another state. `duration_s`: how long its function ran, now or, when it is cached, when it was
    computed; None while that is not known. `error`: of a node that failed."""

    node: NodeInfo
    state: str
    duration_s: float | None = None
    error: BaseException | None = None


class Observer(Protocol):
    """Told of a run of a pipeline as it goes, in the thread that runs it. Be quick; what it raises is logged."""

    def begin(self, pipeline: str, nodes: Sequence[NodeInfo]) -> None:
        """It begins; these nodes are known. None are when the whole pipeline is passed in one look-up."""

    def change(self, change: Change) -> None:
        """A node, perhaps one not known before, is in another state."""

    def end(self, ending: Ending) -> None:
        """It is over."""


class Observers:
    """Several observers, none of which can disturb the run."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def begin(self, pipeline: str, nodes: Sequence[NodeInfo]) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.begin(pipeline, nodes))

    def change(self, change: Change) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.change(change))

    def end(self, ending: Ending) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.end(ending))

    def _tell(self, what: Callable[[Observer], Any]) -> None:
        for observer in self._observers:
            try:
                what(observer)
            except Exception:  # noqa: BLE001  whatever an observer does, the work is worth more
                _log.exception("An observer of a pipeline failed; the run goes on")
