"""Runs that one record tells of in the plainest way, as nearly all that ended well do: their columns straight from its
fields, at a third of what folding costs. Whatever is less plain, or odd in any way, is left to folding.

It says exactly what `folding` says, or nothing; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from mlflowish.tracking.folding import FINISHED, NAME_TAG
from mlflowish.tracking.records import batch_fields

# Events that no column shows, whatever stands in them.
_PASSED_OVER = frozenset({"fact", "artifact", "model"})
_TEXT: frozenset[type] = frozenset({str})


class Plain(NamedTuple):
    """What the table shows of a run; `metrics` are those of hardware, too."""

    name: str
    experiment: str
    status: str
    user: str
    parent_id: str | None
    host: str
    start_s: float
    end_s: float
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


def plain_run(payload: bytes) -> Plain | None:
    """The run in the only record that there is of it; None if it has to be folded. Errors as those of
    `unpack_batch`."""
    writer, number, events, lasts = batch_fields(payload)
    if type(writer) is not bytes or type(number) is not int or type(events) is not tuple or type(lasts) is not dict:
        return None
    found: dict[str, dict[str, Any]] = {}
    times_us: dict[str, int] = {}
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    before_us = None
    for event in events:
        if type(event) is not tuple or len(event) < 3:
            return None
        kind, time_us, body = event[:3]
        if type(kind) is not str or type(time_us) is not int or type(body) is not dict:
            return None
        if before_us is not None and time_us < before_us:
            return None
        before_us = time_us
        if kind in _PASSED_OVER:
            if kind == "artifact" and type(body.get("path")) is not str:
                return None
            continue
        if kind == "params" or kind == "tags":
            values = body.get("values")
            if type(values) is not dict or not _are(_TEXT, values) or not _are(_TEXT, values.values()):
                return None  # a tag that was taken away is None
            if kind == "tags":
                tags = {**tags, **values}
            else:
                params = {**params, **values} if body.get("overwrite") else {**values, **params}
        elif kind in ("session", "start", "end") and kind not in found:
            found[kind], times_us[kind] = body, time_us
        else:
            return None
    metrics = _values(lasts)
    if len(found) < 3 or metrics is None:
        return None
    return _told(found, times_us, params, tags, metrics)


def _told(
    found: Mapping[str, dict[str, Any]],
    times_us: Mapping[str, int],
    params: Mapping[str, str],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
) -> Plain | None:
    session, start, end = found["session"], found["start"], found["end"]
    process, session_id = session.get("process"), session.get("session")
    if type(session_id) is not bytes or session_id != end.get("session") or type(process) is not dict:
        return None
    if "forked_from" in start:
        return None
    texts = (start.get("name", ""), start.get("experiment", ""), end.get("status", FINISHED), start.get("user", ""))
    parent, host = start.get("parent"), process.get("host", "")
    if (
        not _are(_TEXT, (*texts, host))
        or not (parent is None or type(parent) is str)
        or type(process.get("pid", 0)) is not int
    ):
        return None
    return Plain(
        tags.get(NAME_TAG) or texts[0],
        *texts[1:],
        parent,
        host,
        times_us["start"] / 1e6,
        times_us["end"] / 1e6,
        params,
        tags,
        metrics,
    )


def _values(lasts: dict[Any, Any]) -> dict[str, float] | None:
    """The values of last points; None if one of them is none."""
    if not _are(_TEXT, lasts):
        return None
    for last in lasts.values():
        if type(last) is not tuple or len(last) < 3:
            return None
        if type(last[0]) is not int or type(last[1]) is not int or type(last[2]) is not float:
            return None
    return {name: last[2] for name, last in lasts.items()}


def _are(kinds: frozenset[type], values: Collection[Any]) -> bool:
    return kinds.issuperset(map(type, values))
