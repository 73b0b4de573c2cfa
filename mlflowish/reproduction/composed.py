"""Pipelines among what is run again: made of calls, they come out as their calls do.

A pipeline's entry says which results it gave, by reference to the calls inside it; its body is not recorded. When every
call inside gives the recorded result, so does the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlflowish.codecs import decode
from mlflowish.errors import MlflowishError
from mlflowish.reproduction.records import DIFFERENT, NOT_POSSIBLE, SAME, ReproducedCall
from mlflowish.reproduction.tasks import Task
from mlflowish.store import Entry, Event

_LISTED = 5


def is_pipeline(record: Entry | Event | None) -> bool:
    """Was the whole of a pipeline written as this entry?"""
    if not isinstance(record, Entry) or record.codec != "plain" or record.objects:
        return False
    try:
        body: Any = decode(record.codec, record.head, (), allow_pickle=False)
    except MlflowishError:
        return False
    return type(body) is dict and type(body.get("pipeline")) is int and "reason" in body


def composed(task: Task, members: Sequence[str], answers: Mapping[str, ReproducedCall]) -> ReproducedCall:
    """What came of a pipeline, from what came of the calls inside it."""
    inside = [answers[key] for key in members if key in answers]
    if not inside:
        return task.answer(
            NOT_POSSIBLE,
            reason="no calls of steps inside it are recorded, and of a pipeline these are what can be run again",
        )
    took = sum(call.duration_s for call in inside)
    failed = [call for call in inside if call.outcome == NOT_POSSIBLE]
    differing = [call for call in inside if call.outcome == DIFFERENT]
    if differing:
        return task.answer(DIFFERENT, reason=_told(differing, inside, "different"), duration_s=took)
    if failed:
        return task.answer(
            NOT_POSSIBLE,
            reason=f"{_told(failed, inside, 'not possible')}. The others are the same; mf.reproduce(key) runs one by "
            "itself, with arguments that are not recorded: mf.reproduce(key, name=value)",
            duration_s=took,
        )
    # Its result is put together from theirs, which have the recorded digests.
    return task.answer(SAME, found=task.meta.output, duration_s=took)


def _told(some: Sequence[ReproducedCall], inside: Sequence[ReproducedCall], outcome: str) -> str:
    names = ", ".join(f"{call.step} {call.key[:12]}" for call in some[:_LISTED])
    more = f" and {len(some) - _LISTED} more" if len(some) > _LISTED else ""
    verb = "is" if len(some) == 1 else "are"
    return f"{len(some)} of the {len(inside)} calls inside it {verb} {outcome}: {names}{more}"
