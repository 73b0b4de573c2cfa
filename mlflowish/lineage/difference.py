"""Why two results differ: the calls behind them side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflowish.hashing.parts import diff
from mlflowish.lineage.calls import Known
from mlflowish.lineage.nodes import is_literal
from mlflowish.steps.explaining import Difference
from mlflowish.steps.parts import recall
from mlflowish.store import Store

if TYPE_CHECKING:
    from mlflowish.lineage.graph import Lineage


@dataclass(frozen=True, slots=True)
class LineageDifference:
    """What differs between two lineages, by step: (step, `Difference`), where the kind of a difference is parameter,
    data, call, or the kind of code: function, class, value, package. Empty when code and inputs are the same."""

    differences: tuple[tuple[str, Difference], ...]

    def __iter__(self) -> Iterator[tuple[str, Difference]]:
        return iter(self.differences)

    def __len__(self) -> int:
        return len(self.differences)

    def __str__(self) -> str:
        if not self.differences:
            return "same code, same parameters, same data"
        return "\n".join(f"{step}: {difference}" for step, difference in self.differences)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from mlflowish.store.display import table_html

        rows = [(step, found.kind, found.name, found.old, found.new) for step, found in self.differences]
        return table_html(("step", "kind", "name", "one", "other"), rows)


def difference(one: Lineage, other: Lineage) -> LineageDifference:
    """Calls of the same step are compared in the order in which they were made; results that differ because what went
    into them did are not told again."""
    return LineageDifference(tuple(_differences(one, other)))


def _differences(one: Lineage, other: Lineage) -> Iterator[tuple[str, Difference]]:
    left, right = _by_step(one), _by_step(other)
    for step in dict.fromkeys([*left, *right]):
        old, new = left.get(step, []), right.get(step, [])
        for a, b in zip(old, new, strict=False):
            if a.key != b.key:
                yield from ((step, found) for found in _between(one, other, a, b))
        for gone in old[len(new) :]:
            yield step, Difference("call", gone.key[:12], _told(gone), "")
        for added in new[len(old) :]:
            yield step, Difference("call", added.key[:12], "", _told(added))


def _by_step(lineage: Lineage) -> dict[str, list[Known]]:
    found: dict[str, list[Known]] = {}
    for call in lineage.calls():
        found.setdefault(call.meta.step, []).append(call)
    return found


def _between(one: Lineage, other: Lineage, a: Known, b: Known) -> Iterator[Difference]:
    if a.meta.fingerprint != b.meta.fingerprint:
        yield from _of_code(one.store, other.store, a, b)
    old = {name: (digest, text) for name, digest, text in a.meta.arguments}
    new = {name: (digest, text) for name, digest, text in b.meta.arguments}
    made = {name for known in (a, b) for name, path, _ in known.meta.sources if not path}
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name, ("", "")), new.get(name, ("", ""))
        if before[0] != after[0] and name not in made:
            kind = "parameter" if is_literal(before[1] or after[1]) else "data"
            yield Difference(kind, name, before[1] or before[0], after[1] or after[0])
    for (name, before_digest), (_, after_digest) in zip(a.meta.extras, b.meta.extras, strict=False):
        if before_digest != after_digest:
            yield Difference("extra", name, before_digest[:12], after_digest[:12])


def _of_code(one: Store, other: Store, a: Known, b: Known) -> Iterator[Difference]:
    old = recall(one, bytes.fromhex(a.meta.fingerprint))
    new = recall(other, bytes.fromhex(b.meta.fingerprint))
    if old is None or new is None:
        yield Difference("function", a.meta.step, a.meta.fingerprint[:12], b.meta.fingerprint[:12])
        return
    rows = [[(part.label, part.kind, part.digest, part.description) for part in parts] for parts in (old, new)]
    for change in diff(*rows):
        if change.change != "renamed":
            yield Difference(change.kind, change.label, change.old, change.new)


def _told(call: Known) -> str:
    arguments = ", ".join(f"{name}={text}" for name, _, text in call.meta.arguments)
    return f"{call.meta.step.rpartition('.')[2]}({arguments})"
