"""What comes of running calls again: a line for each, and whether all came out as they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from mlflowish.errors import NotDeterministicError, StateError
from mlflowish.steps.explaining import Difference
from mlflowish.store import Table

Outcome = Literal["same", "different", "not possible"]
SAME: Outcome = "same"
DIFFERENT: Outcome = "different"
NOT_POSSIBLE: Outcome = "not possible"
_RANK: tuple[Outcome, ...] = (SAME, DIFFERENT, NOT_POSSIBLE)
_COLUMNS = ("step", "key", "outcome", "recorded", "found", "why", "duration_s")


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two results are from each other: the greatest `absolute` and `relative` difference of two numbers that
    stand in the same place, None where they cannot be compared; `place` is where the greatest stands, `text` says what
    else differs (a shape, a type, a length)."""

    absolute: float | None = None
    relative: float | None = None
    place: str = ""
    text: str = ""

    def __str__(self) -> str:
        if self.absolute is None:
            return self.text
        relative = f" ({self.relative:.3g} relative)" if self.relative is not None else ""
        return f"at most {self.absolute:.3g}{relative} apart{f', at {self.place}' if self.place else ''}"


@dataclass(frozen=True, slots=True)
class ReproducedCall:
    """One call that was run again. `outcome`: same, different, or not possible. `recorded` and `found`: the value
    digests of the stored result and the new one. `differences`: what the code runs with that was different then: its
    own code and values, packages, Python. `is_deterministic`: did two runs now agree; None if it ran once. `reason`:
    why it was not possible, or which calls of a pipeline came out different. Durations in seconds, of now and then."""

    step: str
    key: str
    outcome: Outcome
    recorded: str | None = None
    found: str | None = None
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    is_deterministic: bool | None = None
    distance: Distance | None = None
    duration_s: float = 0.0
    recorded_duration_s: float = 0.0

    @property
    def why(self) -> str:
        """In a sentence, why it did not come out the same; '' if it did."""
        if self.outcome == SAME:
            return ""
        if self.reason:
            return self.reason
        far = f"{self.distance}; " if self.distance is not None and str(self.distance) else ""
        if self.is_deterministic is False:
            return (
                f"{far}two runs now gave two results: it is not deterministic (random numbers without a seed, the "
                "time, the order of threads, something that it reads)"
            )
        if self.differences:
            return f"{far}what it runs with differs: {', '.join(f'{d.kind} {d.name}' for d in self.differences)}"
        return (
            f"{far}it ran with the recorded code, packages and inputs, and gave the same twice: it depends on "
            "something that is not recorded (files that it reads, the machine, the environment, the order of a set)"
        )

    def __str__(self) -> str:
        head = f"{self.step} {self.key[:12]}: {self.outcome}"
        lines = [f"{head}: {self.why}" if self.why else head]
        lines += [f"    {difference}".replace("\n", "\n    ") for difference in self.differences]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The calls that were run again, in order; true if all came out the same. `code`: recorded or present.

    `check()` raises if not.
    """

    calls: tuple[ReproducedCall, ...]
    code: str = "recorded"
    store: str = field(default="", compare=False)

    @property
    def outcome(self) -> Outcome:
        """The worst that happened: same if all are, else different, else not possible."""
        if not self.calls:
            return NOT_POSSIBLE
        found = {call.outcome for call in self.calls}
        return DIFFERENT if DIFFERENT in found else max(found, key=_RANK.index)

    def check(self) -> Reproduction:
        """Itself if all came out the same. NotDeterministicError (`.reproduction`) if one did not; StateError if one
        could not be run."""
        if self.outcome == SAME:
            return self
        told = "\n".join(str(call) for call in self.calls if call.outcome != SAME) or "there was no call to run"
        if self.outcome == DIFFERENT:
            raise NotDeterministicError(f"Running it again gave other results: {told}", reproduction=self)
        raise StateError(f"Not everything could be run again: {told}", reproduction=self)

    def to_table(self) -> Table:
        """A row for each call."""
        return Table(_COLUMNS, [tuple(getattr(call, name) for name in _COLUMNS) for call in self.calls])

    def document(self) -> dict[str, Any]:
        """For programs: plain data."""
        return {
            "store": self.store,
            "code": self.code,
            "outcome": self.outcome,
            "calls": [_document(call) for call in self.calls],
        }

    def __bool__(self) -> bool:
        return self.outcome == SAME

    def __len__(self) -> int:
        return len(self.calls)

    def __iter__(self) -> Iterator[ReproducedCall]:
        return iter(self.calls)

    def __str__(self) -> str:
        return "\n".join(map(str, self.calls)) or "no calls"

    def __repr__(self) -> str:
        counts = {outcome: sum(call.outcome == outcome for call in self.calls) for outcome in _RANK}
        return f"Reproduction({', '.join(f'{count} {outcome}' for outcome, count in counts.items() if count)})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import badge, card, table_html

        kind = {SAME: "good", DIFFERENT: "bad", NOT_POSSIBLE: "warn"}[self.outcome]
        rows = [
            (call.step, call.key[:12], call.outcome, f"{call.duration_s:.3g} s", "\n".join([call.why, *_lines(call)]))
            for call in self.calls
        ]
        table = table_html(("step", "key", "outcome", "took", "why"), rows)
        return card(f"Reproduction with the {self.code} code", [], body_html=badge(self.outcome, kind) + table)


def _lines(call: ReproducedCall) -> list[str]:
    return [str(difference) for difference in call.differences]


def _document(call: ReproducedCall) -> dict[str, Any]:
    distance = call.distance
    return {
        "step": call.step,
        "key": call.key,
        "outcome": call.outcome,
        "recorded": call.recorded,
        "found": call.found,
        "why": call.why,
        "is_deterministic": call.is_deterministic,
        "max_absolute": distance.absolute if distance is not None else None,
        "max_relative": distance.relative if distance is not None else None,
        "differences": [{"kind": d.kind, "name": d.name, "old": d.old, "new": d.new} for d in call.differences],
        "duration_s": call.duration_s,
        "recorded_duration_s": call.recorded_duration_s,
    }
