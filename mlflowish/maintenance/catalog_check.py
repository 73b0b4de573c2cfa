"""The log of the catalog: every record right, chained to the one before, none missing."""

from __future__ import annotations

import re

from mlflowish.catalog.record import Commit, decode_commit, record_path
from mlflowish.errors import IntegrityError, NotFoundError
from mlflowish.maintenance.checking import Check

_RECORD = re.compile(r"catalog/log/[0-9]{10}/([0-9]{20})\Z")


def check_catalog(check: Check) -> None:
    """Read the log from its first slot to its last: memory grows with its length by a number a record."""
    check.watch.begin("catalog")
    slots = sorted(int(match[1]) for info in check.storage.list("catalog/log") if (match := _RECORD.match(info.path)))
    before: Commit | None = None
    for place, slot in enumerate(slots):
        check.counts["commits"] += 1
        check.watch.advance()
        path = record_path(slot)
        if place and slot != slots[place - 1] + 1:
            check.found("catalog-damaged", path, f"the records from {slots[place - 1] + 1} to {slot - 1} are not there")
            before = None
        commit = _read(check, slot, path)
        if commit is not None and before is not None and (what := _break(before, commit)):
            check.found("catalog-damaged", path, what)
        before = commit


def _read(check: Check, slot: int, path: str) -> Commit | None:
    def body(named: str) -> bytes:
        try:
            return check.storage.get(named)
        except NotFoundError as error:
            raise IntegrityError(f"its body {named} is not there", path=named) from error

    try:
        return decode_commit(check.storage.get(path), slot, body)
    except NotFoundError:
        return None  # cleaned meanwhile
    except IntegrityError as error:
        check.found("catalog-damaged", path, error.message)
        return None


def _break(before: Commit, commit: Commit) -> str:
    """What breaks the chain between two neighbours."""
    if commit.previous != before.hash:
        return "it does not follow the record before it: another hash"
    if commit.time_s < before.time_s:
        return "its time lies before that of the record before it"
    if commit.epoch < before.epoch:
        return "its epoch lies before that of the record before it"
    return ""
