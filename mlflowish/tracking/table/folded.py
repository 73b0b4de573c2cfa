"""Runs folded one by one, beside the table: those that it does not tell of, and those that somebody looks at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlflowish.journals import Segment
from mlflowish.tracking.folding import RunRecord, fold
from mlflowish.tracking.host import Process
from mlflowish.tracking.records import Batch, unpack_batch

# Of runs that were folded for somebody who looked at them: so many packed bytes are remembered, some 50 MB unpacked.
REMEMBERED_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Folded:
    """A run that the table does not tell of. `verdicts`: are the processes dead whose sessions nobody has ended?"""

    payloads: tuple[bytes, ...]
    flying: tuple[Batch, ...]
    record: RunRecord | None
    verdicts: tuple[tuple[Process, bool], ...]

    def holds(self) -> bool:
        """Are these processes what they were?"""
        return all(process.is_dead() == was for process, was in self.verdicts)


class Remembered:
    """Runs that were folded from these segments, and nothing else, for whoever asks again: segments never change, and
    nobody who can be found dead has a part in them. Bounded; thread-safe, as a run may be folded twice."""

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self.segments = segments
        self._records: dict[bytes, RunRecord | None] = {}
        self._size_bytes = 0

    def record(self, run_id: bytes) -> RunRecord | None:
        """The run, whole; None if its records tell of none."""
        known = self._records.get(run_id)
        if known is not None:
            return known
        payloads = payloads_of(self.segments, run_id)
        record = fold(run_id, [unpack_batch(payload) for payload in payloads])
        self._size_bytes += sum(map(len, payloads))
        if self._size_bytes > REMEMBERED_BYTES:
            self._records, self._size_bytes = {}, sum(map(len, payloads))
        self._records[run_id] = record
        return record


def fold_again(key: bytes, payloads: Iterable[bytes], flying: Sequence[Batch], before: Folded | None) -> Folded:
    """A run of which the table says nothing true; the same as `before` if nothing came of it since."""
    kept = tuple(dict.fromkeys(payloads))
    batches = tuple(flying)
    if before is not None and before.payloads == kept and before.flying == batches and before.holds():
        return before
    verdicts: dict[Process, bool] = {}

    def is_dead(process: Process) -> bool:
        return verdicts.setdefault(process, process.is_dead())

    record = fold(key, [*map(unpack_batch, kept), *batches], is_dead)
    return Folded(kept, batches, record, tuple(verdicts.items()))


def payloads_of(segments: Iterable[Segment], key: bytes) -> list[bytes]:
    """What these segments hold of a run, each once."""
    found = [payload for segment in segments if segment.low <= key <= segment.high for payload in segment.get(key)]
    return found if len(found) < 2 else list(dict.fromkeys(found))
