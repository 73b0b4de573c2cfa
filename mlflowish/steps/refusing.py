"""Calls that cannot go to another process, or are not made there: what cannot be pickled, and other code."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from mlflowish.errors import CapabilityError, InvalidInputError

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step


def why_not(value: Any) -> str | None:
    """Why a value cannot be pickled, None if it can."""
    import cloudpickle

    try:
        cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001  whatever the user's objects raise
        from mlflowish.codecs.culprit import culprit

        path, reason = culprit(value, error)
        return f"{path}: {reason}"
    return None


def cannot_travel(step: Step[..., Any], what: str, reason: str) -> InvalidInputError:
    """The error for a call with something in it that cannot be pickled."""
    code = getattr(step.fn, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return InvalidInputError(
        f"{step.name}{where} cannot run in another process: {what} cannot be pickled: {reason}. Open files, locks and "
        "connections inside the step, or run it on threads: mf.executor('threads').",
        step=step.name,
        reason=reason,
    )


def means_other_code(step: str, key: str, here: str | None, difference: str) -> CapabilityError:
    """The error for a call that has another key on a worker, because its code or packages are others there."""
    return CapabilityError(
        f"{step} has the key {key[:12]} in the driver and {(here or 'none')[:12]} on the worker: {difference}. Its "
        "result would be that of other code. Give the workers the same code, packages and settings, or accept it with "
        "mf.executor(..., on_mismatch='warn').",
        step=step,
        wanted=key,
        found=here,
        difference=difference,
        is_other_code=True,
    )
