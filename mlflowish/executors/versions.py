"""Is this process fit to do what another one sends? What pickles and keys rest on is compared; packages that a step
reaches are part of its key, which is compared by steps themselves."""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass

from mlflowish.errors import CapabilityError

_COMPARED = ("python", "mlflowish", "cloudpickle")
_NONCE = os.urandom(8).hex()


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sends: `process` tells whether it is this very interpreter."""

    python: str
    mlflowish: str
    cloudpickle: str
    process: tuple[int, str]

    @property
    def versions(self) -> tuple[str, str, str]:
        """What is compared, as `_COMPARED` names it."""
        return self.python, self.mlflowish, self.cloudpickle

    @property
    def is_here(self) -> bool:
        """Is it this process?"""
        return self.process == (os.getpid(), _NONCE)


def here() -> Origin:
    """This process."""
    return Origin(*_versions(), (os.getpid(), _NONCE))


def refusal(sender: Origin) -> str | None:
    """What differs between the sender and this process, as a sentence; None if nothing does."""
    differing = [
        f"{name} {mine} where the driver has {theirs}"
        for name, mine, theirs in zip(_COMPARED, _versions(), sender.versions, strict=True)
        if mine != theirs
    ]
    if not differing:
        return None
    return f"The worker {os.uname().nodename if hasattr(os, 'uname') else ''} (process {os.getpid()}) has " + ", ".join(
        differing
    )


def refused(what: str) -> CapabilityError:
    """The error for a worker that differs."""
    return CapabilityError(
        f"{what}: a call could mean something else there. Install the same versions on the workers, or accept it with "
        "mf.executor(..., on_mismatch='warn').",
        difference=what,
    )


@functools.cache
def _versions() -> tuple[str, str, str]:
    from importlib.metadata import version

    implementation = "" if sys.implementation.name == "cpython" else f" {sys.implementation.name}"
    python = f"{sys.version_info.major}.{sys.version_info.minor}{implementation}"
    # Of cloudpickle, what it writes is stable within a major version.
    return python, version("mlflowish"), version("cloudpickle").partition(".")[0]
