"""The one tree of exceptions that leaves this package: the lowest floor, importing nothing of ours.

    MlflowishError                     .code  (stable, for programs)
    +-- NotFoundError (KeyError)       nothing under that name; says which are near
    |   +-- ResultGoneError            a stored result that was referred to is not there any more; .key of its call
    +-- AlreadyExistsError             a name that may exist once exists
    +-- ConflictError                  another writer was first
    |   +-- MergeConflictError         .paths that both sides changed
    +-- IntegrityError                 bytes that are not what their name or checksum says
    +-- FormatVersionError             written by a newer version than this one reads
    +-- StorageError                   the backend failed: unreachable, full, refused
    |   +-- ReadOnlyError              the store cannot be written
    +-- CapabilityError                the backend, or this installation, cannot do that safely
    |   +-- MissingExtraError          an optional dependency is not installed; .extra names it
    +-- InvalidInputError (ValueError) an argument that cannot be meant
    +-- NotDeterministicError          the same call gave two different results
    +-- StateError                     right call, wrong moment
    +-- StepError                      a step could not do its work
        +-- StepTimeoutError (TimeoutError)
        +-- UncacheableError           strict step whose call cannot be cached; .path is the culprit
        +-- WorkerDiedError            the process that ran it died, again and again; .exit_codes if they are known

    UncachedWarning (UserWarning)      not an error: a value was returned and could not be stored
    ModelWarning (UserWarning)         not an error: a model was stored or loaded, but not quite as it should be
    WorkerWarning (UserWarning)        not an error: a worker differs from the driver, and was accepted all the same

Every message says what was tried, on what, what was found, and the next step; the same data is on the
exception as attributes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class MlflowishError(Exception):
    """The root: `except mlflowish.MlflowishError` catches everything this package raises of its own."""

    code = "mlflowish"

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        for name, value in data.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        # KeyError's own __str__ would show the repr of the message.
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.data)


def _rebuild(cls: type[MlflowishError], message: str, data: dict[str, Any]) -> MlflowishError:
    return cls(message, **data)


class NotFoundError(MlflowishError, KeyError):
    """Nothing is stored under the name asked for."""

    code = "not-found"


class ResultGoneError(NotFoundError):
    """A stored result that was passed on by reference cannot be loaded any more; `key` is that of its call."""

    code = "result-gone"
    key = ""


class AlreadyExistsError(MlflowishError):
    """A name that may be used once is in use."""

    code = "already-exists"


class ConflictError(MlflowishError):
    """Another writer changed what this one relied on."""

    code = "conflict"


class MergeConflictError(ConflictError):
    """Both sides of a merge changed the same `paths`."""

    code = "merge-conflict"


class IntegrityError(MlflowishError):
    """Stored bytes are not what their name or checksum says."""

    code = "integrity"


class FormatVersionError(MlflowishError):
    """The store was written in a newer format than this version reads."""

    code = "format-version"


class StorageError(MlflowishError):
    """The backend failed: unreachable, full, or refused. `unreachable` is True when no answer could be had: nobody
    answered, or the server only said that it fails (HTTP 5xx)."""

    code = "storage"
    unreachable = False


class ReadOnlyError(StorageError):
    """The store can be read and not written."""

    code = "read-only"


class CapabilityError(MlflowishError):
    """The backend, or this installation, cannot do what was asked safely."""

    code = "capability"


class MissingExtraError(CapabilityError):
    """An optional dependency is not installed; `.extra` names the extra that brings it."""

    code = "missing-extra"


class InvalidInputError(MlflowishError, ValueError):
    """An argument that cannot be meant."""

    code = "invalid-input"


class NotDeterministicError(MlflowishError):
    """The same code on the same inputs gave two different results."""

    code = "not-deterministic"


class StateError(MlflowishError):
    """A call that is right in itself, at a moment when it cannot be served."""

    code = "state"


class StepError(MlflowishError):
    """A step could not do its work."""

    code = "step"


class StepTimeoutError(StepError, TimeoutError):
    """A step ran longer than its `timeout=` allows."""

    code = "step-timeout"


class UncacheableError(StepError):
    """A call of a `strict=True` step that cannot be cached; `.path` names the culprit."""

    code = "uncacheable"


class WorkerDiedError(StepError):
    """The process that ran a call died, also when it was tried again."""

    code = "worker-died"


class UncachedWarning(UserWarning):
    """A call returned its value, but the store has no result of it; the text says why and what to do."""


class ModelWarning(UserWarning):
    """A model was stored or loaded, but not quite as it should be; the text says what differs and what to do."""


class WorkerWarning(UserWarning):
    """A worker differs from the driver in what results rest on, and `on_mismatch="warn"` accepts it."""


def missing_extra(extra: str, *, needed_for: str, cause: BaseException | None = None) -> MissingExtraError:
    """The error for an optional dependency that is not there, with the command that installs it."""
    error = MissingExtraError(
        f"{needed_for} needs the extra '{extra}', which is not installed. Run: pip install 'mlflowish[{extra}]'",
        extra=extra,
    )
    error.__cause__ = cause
    return error


def nearest(name: str, known: Iterable[str], *, limit: int = 5) -> list[str]:
    """Up to `limit` known names, most similar first, for messages of `NotFoundError`."""
    import difflib

    pool = sorted(set(known))
    close = difflib.get_close_matches(name, pool, n=limit, cutoff=0.3)
    return close + [other for other in pool if other not in close][: limit - len(close)]
