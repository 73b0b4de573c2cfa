"""Moving a version from stage to stage, and the people who must agree when a model asks for it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

from mlflowish.errors import AlreadyExistsError, NotFoundError, StateError
from mlflowish.registry.change import Change, changed
from mlflowish.registry.listing import Listing, cell, utc
from mlflowish.registry.lookup import reading
from mlflowish.registry.names import description_text, model_name, stage_name, version_number
from mlflowish.registry.records import RequestRecord
from mlflowish.registry.registered import ModelVersion, version_of
from mlflowish.registry.shelf import Shelf, names_in, request_key

# `refused` of errors: why a move, or a word about one, is not taken. `what` says it without the next step, for whoever
# names steps of another kind.
NEEDS_APPROVAL, NEEDS_NONE, ASKED_ALREADY, SAME_PERSON = "needs approval", "needs none", "asked already", "same person"


@dataclass(frozen=True, slots=True)
class Request:
    """An open request to move a version into a stage; `approved_by` are those who approved so far, of `needed`."""

    name: str
    version: int
    stage: str
    who: str
    time: datetime.datetime
    comment: str
    approved_by: tuple[str, ...]
    needed: int

    def document(self) -> dict[str, Any]:
        """For programs: plain values, the time as ISO 8601 text."""
        return {
            "model": self.name,
            "version": self.version,
            "stage": self.stage,
            "who": self.who,
            "time": self.time.isoformat(timespec="milliseconds"),
            "comment": self.comment,
            "approved_by": list(self.approved_by),
            "needed": self.needed,
        }

    def __repr__(self) -> str:
        return f"Request({self.name!r}, {self.version}, into {self.stage}, by {self.who}, {self._progress})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import badge, card

        rows = [("asked", f"{cell(self.time)} by {self.who}")]
        rows += [("comment", self.comment)] if self.comment else []
        rows += [("approved by", ", ".join(self.approved_by))] if self.approved_by else []
        body = badge(self._progress, "good" if len(self.approved_by) >= self.needed else "warn")
        return card(f"{self.name} version {self.version} into {self.stage}", rows, body_html=body)

    @property
    def _progress(self) -> str:
        return f"{len(self.approved_by)} of {self.needed} approval{'' if self.needed == 1 else 's'}"


class Requests(Listing[Request]):
    """Open requests, a sequence of `Request`."""

    columns = ("name", "version", "stage", "who", "time", "comment", "approved_by", "needed")


def transition(
    name: str,
    version: int,
    stage: str,
    *,
    archive_existing: bool = True,
    comment: str = "",
    who: str | None = None,
    store: Any = None,
) -> ModelVersion:
    """Move a version into a stage: atomic, and recorded with who, when and why.

    If the stage is exclusive (`production` is, unless the model says otherwise), the version that holds it goes to
    `archived` in the same transaction; with `archive_existing=False` a stage that is taken is a StateError. A version
    that is in the stage already stays there, and nothing is recorded.

    NotFoundError for a model, version or stage that is not there; StateError for a move that the model's rules forbid,
    or that needs approval (see `request`).

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-transition"):
    ...     _ = mf.register_model("churn", len, stage="production")
    ...     _ = mf.register_model("churn", max)
    ...     mf.registry.transition("churn", 2, "Production", comment="better on June")
    ...     mf.registry.get("churn", version=1).stage
    ModelVersion('churn', 2, production, ...)
    'archived'
    """
    number, target, why = version_number(version), stage_name(stage), description_text(comment)

    def apply(change: Change) -> ModelVersion:
        require_no_approval(change, number, target)
        change.move(number, target, archive_existing=archive_existing, comment=why)
        return version_of(change.store, change.shelf, number)

    return changed(name, apply, who=who, store=store)


def require_no_approval(change: Change, number: int, stage: str) -> None:
    """StateError if moving into the stage is for others to approve."""
    needed = change.rules.approvals.get(stage, 0)
    if needed and change.shelf.version(number).stage != stage:
        people = "another person" if needed == 1 else f"{needed} other people"
        what = f"Moving {change.name} version {number} into {stage} needs the approval of {people}"
        raise StateError(
            f"{what}. Ask for it with mf.registry.request({change.name!r}, {number}, {stage!r}, comment=...)",
            refused=NEEDS_APPROVAL,
            what=what,
            model=change.name,
            version=number,
            stage=stage,
            needed=needed,
        )


def request(
    name: str,
    version: int,
    stage: str,
    *,
    archive_existing: bool = True,
    comment: str = "",
    who: str | None = None,
    store: Any = None,
) -> Request:
    """Ask others to approve a move into a stage that wants approvals; the last one that is needed makes the move.

    StateError if the stage needs none or the move is forbidden; AlreadyExistsError if it is requested already.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-request"):
    ...     _ = mf.register_model("churn", len)
    ...     _ = mf.registry.configure("churn", approvals=["production"])
    ...     _ = mf.registry.request("churn", 1, "production", comment="ready", who="ann")
    ...     mf.registry.approve("churn", 1, "production", who="bob").stage
    'production'
    """
    number, target, why = version_number(version), stage_name(stage), description_text(comment)

    def apply(change: Change) -> Request:
        record, rules = change.shelf.version(number), change.rules
        if not rules.approvals.get(rules.require_stage(target, change.name)):
            what = f"Moving {change.name} into {target} needs no approval"
            raise StateError(
                f"{what}: use mf.registry.transition", refused=NEEDS_NONE, what=what, model=change.name, stage=target
            )
        if record.stage == target:
            raise StateError(f"{change.name} version {number} is in {target} already")
        rules.require_move(change.name, number, record.stage, target)
        if (known := change.shelf.find_request(number, target)) is not None:
            what = f"{known.who} has asked already to move {change.name} version {number} into {target}"
            raise AlreadyExistsError(
                f"{what}: approve, reject or withdraw that request",
                refused=ASKED_ALREADY,
                what=what,
                model=change.name,
                version=number,
                stage=target,
            )
        asked = RequestRecord(number, target, change.tx.now_s, change.who, why, archive_existing)
        change.tx.put(request_key(change.name, number, target), asked.value())
        change.note(number, "requested", record.stage, record.stage, _about(target, why))
        return _shown(change.shelf, asked)

    return changed(name, apply, who=who, store=store)


def approve(
    name: str, version: int, stage: str | None = None, *, comment: str = "", who: str | None = None, store: Any = None
) -> ModelVersion:
    """Approve a requested move, as somebody else than who asked; moves the version if enough people have.

    `stage` may be left out when one request is open for the version. NotFoundError if none is; StateError for the
    person who asked, for a second approval by the same one, and when the move is not possible any more.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-approve"):
    ...     _ = mf.register_model("churn", len)
    ...     _ = mf.registry.configure("churn", approvals={"production": 2})
    ...     _ = mf.registry.request("churn", 1, "production", who="ann")
    ...     print(mf.registry.approve("churn", 1, who="bob").stage)
    ...     print(mf.registry.approve("churn", 1, who="eve").stage)
    none
    production
    """
    number, target, why = version_number(version), _given(stage), description_text(comment)

    def apply(change: Change) -> ModelVersion:
        asked = _open_request(change.shelf, number, target)
        approved = {person for person, _, _ in asked.approvals}
        if change.who == asked.who or change.who in approved:
            did = "asked for" if change.who == asked.who else "approved"
            what = f"{change.who} {did} this move of {change.name} version {number} into {asked.stage}"
            raise StateError(
                f"{what}: another person must approve it (who=...)",
                refused=SAME_PERSON,
                what=what,
                model=change.name,
                version=number,
                who=change.who,
            )
        where = change.shelf.version(number).stage
        change.note(number, "approved", where, where, _about(asked.stage, why))
        if len(approved) + 1 >= change.rules.approvals.get(asked.stage, 0):
            change.move(number, asked.stage, archive_existing=asked.archive_existing, comment=asked.comment)
        else:
            so_far = [*asked.approvals, [change.who, change.tx.now_s, why]]
            change.tx.put(request_key(change.name, number, asked.stage), replace(asked, approvals=so_far).value())
        return version_of(change.store, change.shelf, number)

    return changed(name, apply, who=who, store=store)


def reject(
    name: str, version: int, stage: str | None = None, *, comment: str = "", who: str | None = None, store: Any = None
) -> ModelVersion:
    """Reject a requested move, as somebody else than who asked: the request is closed, the version stays.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-reject"):
    ...     _ = mf.register_model("churn", len)
    ...     _ = mf.registry.configure("churn", approvals=["production"])
    ...     _ = mf.registry.request("churn", 1, "production", who="ann")
    ...     mf.registry.reject("churn", 1, comment="worse on July", who="bob").stage
    'none'
    """
    return _close(name, version, stage, "rejected", comment, who, store)


def withdraw(
    name: str, version: int, stage: str | None = None, *, comment: str = "", who: str | None = None, store: Any = None
) -> ModelVersion:
    """Take back a request, as the person who made it.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-withdraw"):
    ...     _ = mf.register_model("churn", len)
    ...     _ = mf.registry.configure("churn", approvals=["production"])
    ...     _ = mf.registry.request("churn", 1, "production", who="ann")
    ...     _ = mf.registry.withdraw("churn", 1, who="ann")
    ...     len(mf.registry.requests("churn"))
    0
    """
    return _close(name, version, stage, "withdrawn", comment, who, store)


def requests(name: str | None = None, *, store: Any = None) -> Requests:
    """Open requests for moves of a model, or of all models.

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-requests"):
    ...     _ = mf.register_model("churn", len)
    ...     _ = mf.registry.configure("churn", approvals=["production"])
    ...     _ = mf.registry.request("churn", 1, "production", who="ann")
    ...     [(each.version, each.stage, each.who, each.needed) for each in mf.registry.requests()]
    [(1, 'production', 'ann', 1)]
    """
    reader = reading(store)
    names = names_in(reader) if name is None else [model_name(name)]
    shelves = [Shelf(reader, each) for each in names]
    if name is not None:
        shelves[0].head()
    return Requests(_shown(shelf, asked) for shelf in shelves for asked in shelf.requests())


def _close(
    name: str, version: int, stage: str | None, action: str, comment: str, who: str | None, store: Any
) -> ModelVersion:
    number, target, why = version_number(version), _given(stage), description_text(comment)

    def apply(change: Change) -> ModelVersion:
        asked = _open_request(change.shelf, number, target)
        if (change.who == asked.who) != (action == "withdrawn"):
            other = "withdraw your own request" if change.who == asked.who else f"{asked.who} can; you can reject it"
            raise StateError(
                f"{change.who} cannot have the request of {asked.who} {action}: {other}",
                model=change.name,
                who=change.who,
            )
        change.tx.delete(request_key(change.name, number, asked.stage))
        where = change.shelf.version(number).stage
        change.note(number, action, where, where, _about(asked.stage, why))
        return version_of(change.store, change.shelf, number)

    return changed(name, apply, who=who, store=store)


def _open_request(shelf: Shelf, number: int, stage: str | None) -> RequestRecord:
    """The request that is meant; NotFoundError says which are open."""
    there = list(shelf.requests())
    found = [each for each in there if each.version == number and stage in (None, each.stage)]
    if len(found) == 1:
        return found[0]
    shelf.version(number)
    known = ", ".join(f"version {each.version} into {each.stage}" for each in there) or "none"
    what = f"a move of {shelf.name} version {number}" + (f" into {stage}" if stage else "")
    if found:
        raise StateError(f"Several requests are open for {what}; say which stage is meant: {known}", model=shelf.name)
    raise NotFoundError(f"No request is open for {what}; open are: {known}", model=shelf.name, version=number)


def _shown(shelf: Shelf, asked: RequestRecord) -> Request:
    people = tuple(person for person, _, _ in asked.approvals)
    needed = shelf.rules().approvals.get(asked.stage, 0)
    return Request(shelf.name, asked.version, asked.stage, asked.who, utc(asked.time_s), asked.comment, people, needed)


def _given(stage: str | None) -> str | None:
    return None if stage is None else stage_name(stage)


def _about(stage: str, comment: str) -> str:
    return f"into {stage}" + (f": {comment}" if comment else "")
