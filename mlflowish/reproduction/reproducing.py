"""`reproduce`: the recorded code on the recorded inputs, once more."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from mlflowish.errors import CapabilityError, InvalidInputError
from mlflowish.hashing import hexdigest
from mlflowish.reproduction.composed import composed
from mlflowish.reproduction.fresh import workplace
from mlflowish.reproduction.planning import Planned, keys_of, tasks_of
from mlflowish.reproduction.present import present_function
from mlflowish.reproduction.records import NOT_POSSIBLE, ReproducedCall, Reproduction
from mlflowish.reproduction.tasks import Task, Workshop
from mlflowish.steps.code import KeptCode
from mlflowish.store import Store, as_store


def reproduce(
    thing: Any,
    /,
    *,
    code: Literal["recorded", "present"] = "recorded",
    arguments: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    folder: str | os.PathLike[str] | None = None,
    store: Store | str | None = None,
    **more: Any,
) -> Reproduction:
    """Run the recorded code on the recorded inputs again, and compare the digests of the results.

    `thing`: a run (all of its calls, in order), a model version or its address (the calls behind it), a `Call`, its
    key, or a result of a step. A pipeline is the calls inside it: it comes out the same when all of them do. Inputs are
    taken from the entry (small values), from the calls that made them (run again first where their results were
    dropped), or from their files; an argument that cannot be had is named, and passed here by its name:
    `reproduce(call, df=df)`, or in `arguments`. Whatever is used has the recorded digest.

    `code="recorded"` writes the code that was kept with the results into a temporary folder and runs it in a fresh
    process, which stores nothing; `"present"` runs what is importable now, in this one. What differs otherwise
    (packages, Python, values that the code reads) is told. A call that does not come out the same runs twice, which
    tells chance from change.

    This executes code from the store, with your rights: CapabilityError if it was opened with `allow_pickle=False`.
    `timeout`: seconds for each group of calls with the same code; `folder`: where the code runs (default: a
    temporary one). NotFoundError if nothing is recorded; what cannot be run is part of the answer.

    >>> import mlflowish as mf
    >>> @mf.step
    ... def squares(n):
    ...     return [i * i for i in range(n)]
    >>> again = mf.reproduce(squares.call(4), code="present")
    >>> again.outcome, [call.step.rpartition(".")[2] for call in again]
    ('same', ['squares'])
    """
    opened = as_store(store)
    if code not in ("recorded", "present"):
        raise InvalidInputError(f"code is 'recorded' or 'present', found {code!r}", code=code)
    if not opened.allow_pickle:
        raise CapabilityError(
            f"Reproducing executes code from the store, and {opened.url} was opened with allow_pickle=False. If you "
            "trust everybody who writes to it, open it with allow_pickle=True."
        )
    planned = list(tasks_of(opened, keys_of(opened, thing)))
    given = {**(arguments or {}), **more}
    _check_given(given, planned)
    calls = [each for each in planned if each.members is None]
    if code == "present":
        found = _with_present_code(opened, calls, given)
    else:
        opened.flush()
        found = _with_recorded_code(opened, calls, given, timeout_s=timeout, folder=folder)
    answers = {answer.key: answer for answer in found}
    for each in planned:
        if each.members is not None:
            answers[each.task.key] = composed(each.task, each.members, answers)
    return Reproduction(tuple(answers[each.task.key] for each in planned if each.is_asked), code, opened.url)


def _check_given(given: Mapping[str, Any], planned: list[Planned]) -> None:
    """Whatever the caller passes is what a call was given then."""
    recorded: dict[str, set[str]] = {}
    for each in planned:
        for name, digest, _ in each.task.meta.arguments:
            recorded.setdefault(name, set()).add(digest)
    for name, value in given.items():
        if name in recorded and (found := hexdigest(value)) not in recorded[name]:
            raise InvalidInputError(
                f"{name}= is not what the call was given: its digest is {found}, recorded is "
                f"{' or '.join(sorted(recorded[name]))}",
                argument=name,
                found=found,
            )


def _with_present_code(store: Store, planned: list[Planned], given: Mapping[str, Any]) -> Iterator[ReproducedCall]:
    with tempfile.TemporaryDirectory(prefix="mlflowish-") as folder, Store(os.path.join(folder, "scratch")) as scratch:
        workshop = Workshop(store, scratch, folder)
        for task in [each.task for each in planned]:
            yield workshop.reproduced(task, lambda task=task: present_function(task), given)  # type: ignore[misc]  # mypy knows no types of bound names


def _with_recorded_code(
    store: Store,
    planned: list[Planned],
    given: Mapping[str, Any],
    *,
    timeout_s: float | None,
    folder: str | os.PathLike[str] | None,
) -> Iterator[ReproducedCall]:
    with workplace(folder) as place:
        for kept, tasks in _groups(planned):
            problem = _problem(kept)
            if kept is None or problem:
                yield from (task.answer(NOT_POSSIBLE, reason=problem) for task in tasks)
            else:
                yield from place.run(store, kept, tasks, given, timeout_s)


def _groups(planned: list[Planned]) -> Iterator[tuple[KeptCode | None, list[Task]]]:
    """Calls that follow each other and reach the same modules run in one process."""
    waiting: list[Task] = []
    last: KeptCode | None = None
    for task, kept in [(each.task, each.code) for each in planned]:
        if waiting and not _go_together(last, kept):
            yield last, waiting
            waiting = []
        waiting.append(task)
        last = kept
    if waiting:
        yield last, waiting


def _go_together(one: KeptCode | None, other: KeptCode | None) -> bool:
    if one is None or other is None or one.missing or other.missing:
        return False
    return dict(one.modules) == dict(other.modules)


def _problem(kept: KeptCode | None) -> str:
    if kept is None:
        return (
            "its code is not recorded (an earlier version stored it, or its source could not be read); code='present' "
            "runs what is importable now"
        )
    if not kept.missing:
        return ""
    told = "; ".join(f"{name}: {why}" if name else why for name, why in kept.missing.items())
    return f"its code is not recorded completely ({told}); code='present' runs what is importable now"
