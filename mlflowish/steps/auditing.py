"""What really ran: project functions that the fingerprint did not see become observed dependencies of the entry."""

from __future__ import annotations

import warnings

from mlflowish.hashing.audit import ObservedRef, Watch, verify

_told: set[tuple[str, str, str]] = set()


def observed(watch: Watch, step: str) -> tuple[tuple[str, str, bytes], ...]:
    """(module, qualified name, unit digest) of every function that ran and was not foreseen; each is told of once."""
    found = watch.observed()
    for ref in found:
        if (place := (step, ref.module, ref.qualname)) not in _told:
            _told.add(place)
            warnings.warn(
                f"{step}: {ref.module}.{ref.qualname} ran, and the code of the step does not show that. Its present "
                f"code is checked before the result is used again; declare it: @step(depends=[{ref.qualname}])",
                stacklevel=2,
            )
    return tuple((ref.module, ref.qualname, ref.digest) for ref in found)


def still_valid(found: tuple[tuple[str, str, bytes], ...]) -> bool:
    """Are the observed dependencies of an entry what they were?"""
    return all(verify(ObservedRef(module, qualname, digest)) for module, qualname, digest in found)
