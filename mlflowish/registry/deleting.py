"""Deleting a version, softly, and bringing it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlflowish.errors import StateError
from mlflowish.registry.change import Change, changed
from mlflowish.registry.listing import utc
from mlflowish.registry.names import description_text, version_number
from mlflowish.registry.registered import ModelVersion, version_of
from mlflowish.registry.rules import NONE


def delete(
    name: str, version: int, *, force: bool = False, comment: str = "", who: str | None = None, store: Any = None
) -> None:
    """Delete a version: it leaves its stage, its aliases and its requests, and can be brought back with `restore`.

    Its number is never given to another one. A version in an exclusive stage (`production`), or one that an alias
    names, is in use: StateError, unless `force=True`.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-delete"):
    ...     _ = mf.register_model("churn", len)
    ...     mf.registry.delete("churn", 1, comment="trained on the wrong month")
    ...     mf.register_model("churn", len).version
    2
    """
    number, why = version_number(version), description_text(comment)

    def apply(change: Change) -> None:
        record = change.shelf.version(number)
        if not force:
            _require_unused(change, number, record.stage)
        gone = {"time_s": change.tx.now_s, "who": change.who, "comment": why}
        change.take_out(number, record)
        change.put(number, replace(record, stage=NONE, deleted=gone))
        change.note(number, "deleted", record.stage, None, why)

    changed(name, apply, who=who, store=store)


def restore(name: str, version: int, *, comment: str = "", who: str | None = None, store: Any = None) -> ModelVersion:
    """Bring a deleted version back, into the stage `none`, without the aliases it had. StateError if it is not deleted,
    and if its files were purged.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-restore"):
    ...     _ = mf.register_model("churn", len, stage="staging")
    ...     mf.registry.delete("churn", 1)
    ...     mf.registry.restore("churn", 1)
    ModelVersion('churn', 1, none, ...)
    """
    number, why = version_number(version), description_text(comment)

    def apply(change: Change) -> ModelVersion:
        record = change.shelf.find_version(number)
        if record is None or record.deleted is None:
            change.shelf.version(number)
            raise StateError(f"{change.name} version {number} is not deleted", model=change.name, version=number)
        if record.is_purged:
            raise StateError(
                f"The files of {change.name} version {number} were purged on "
                f"{utc(record.deleted['purged_s']):%Y-%m-%d %H:%M} UTC, so it cannot be brought back. Register the "
                "model again: it gets the next number",
                model=change.name,
                version=number,
            )
        change.bring_in(number, replace(record, deleted=None))
        change.note(number, "restored", None, NONE, why)
        return version_of(change.store, change.shelf, number)

    return changed(name, apply, who=who, store=store)


def _require_unused(change: Change, number: int, stage: str) -> None:
    aliases = change.shelf.aliases_of(number)
    uses = [f"in {stage}"] if stage in change.rules.exclusive else []
    uses += [f"named by the alias {alias}" for alias in aliases]
    if uses:
        raise StateError(
            f"{change.name} version {number} is {' and '.join(uses)}: move it, or let the alias name another one, or "
            "delete it all the same with force=True",
            model=change.name,
            version=number,
            stage=stage,
            aliases=list(aliases),
        )
