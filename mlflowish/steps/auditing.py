"""What really ran: project functions that the fingerprint did not see become observed dependencies of the entry."""

from __future__ import annotations

import logging

from mlflowish.hashing.audit import ObservedRef, Watch, verify

_log = logging.getLogger("mlflowish.steps")
_told: set[tuple[str, str, str]] = set()


def observed(watch: Watch, step: str) -> tuple[tuple[str, str, bytes], ...]:
    """(module, qualified name, unit digest) of every function that ran and was not foreseen, and, without a name, of
    every module that was loaded so. Each is told of once.
    """
    found = watch.observed()
    for ref in found:
        if (place := (step, ref.module, ref.qualname)) not in _told:
            _told.add(place)
            # A log and not a warning: threads that others start meanwhile can be taken for the step's.
            _log.warning(_sentence(step, ref))
    return tuple((ref.module, ref.qualname, ref.digest) for ref in found)


def _sentence(step: str, ref: ObservedRef) -> str:
    what = ".".join(filter(None, (ref.module, ref.qualname)))
    declared = ref.qualname if ref.module and ref.qualname else f"'{ref.module}'" if ref.module else "..."
    return (
        f"{step}: {what} ran, and the code of the step does not show that. Its present code is checked before the "
        f"result is used again; declare it: @step(depends=[{declared}])"
    )


def still_valid(found: tuple[tuple[str, str, bytes], ...]) -> bool:
    """Are the observed dependencies of an entry what they were?"""
    return all(verify(ObservedRef(module, qualname, digest)) for module, qualname, digest in found)
