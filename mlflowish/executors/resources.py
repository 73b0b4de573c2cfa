"""What a call needs while it runs, and what there is of it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflowish.errors import CapabilityError, InvalidInputError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Resources:
    """What one call takes while it runs: `memory` in bytes; `limits` are names, one unit of each (twice: two units).

    >>> from mlflowish.executors import Resources
    >>> Resources(cpus=2, memory="4 GB", limits=("database",)).memory
    4000000000
    """

    cpus: float = 1
    memory: Any = None
    gpus: int = 0
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.memory is not None:
            object.__setattr__(self, "memory", size_bytes(self.memory))
        for name in ("cpus", "gpus"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InvalidInputError(f"{name} is a number of {name}, found {value!r}", found=value)
        given: Any = self.limits
        limits = (given,) if isinstance(given, str) else tuple(given)
        if not all(isinstance(name, str) and name for name in limits):
            raise InvalidInputError(f"limits are names, such as ('database',), found {limits!r}", found=limits)
        object.__setattr__(self, "limits", limits)

    @property
    def amounts(self) -> dict[str, float]:
        """Everything as name -> amount; what is not wanted is left out."""
        wanted: dict[str, float] = {"cpus": self.cpus, "memory": self.memory or 0, "gpus": self.gpus}
        wanted.update({f"limit {name}": count for name, count in Counter(self.limits).items()})
        return {name: amount for name, amount in wanted.items() if amount}


ONE_CPU = Resources()


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an executor may give out at a time. None: not known, so not bounded. A limit that is not named has 1."""

    cpus: float | None = None
    memory: int | None = None
    gpus: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """How much there is of one of the `amounts`."""
        if name.startswith("limit "):
            return self.limits.get(name.removeprefix("limit "), 1)
        found: float | None = getattr(self, name)
        return float("inf") if found is None else found

    def fitted(self, wanted: Resources) -> dict[str, float]:
        """The amounts that the call takes. One that wants more cpus than there are takes all of them; CapabilityError
        when it wants more of anything else than there will ever be."""
        amounts = wanted.amounts
        if "cpus" in amounts:
            amounts["cpus"] = min(amounts["cpus"], self.of("cpus"))
        for name, amount in amounts.items():
            if amount > self.of(name):
                raise CapabilityError(
                    f"A call wants {_shown(name, amount)}, and this executor has {_shown(name, self.of(name))}. "
                    f"Ask for less, or give the executor more: mf.executor(..., {_how(name, amount)}).",
                    wanted=wanted,
                    resource=name,
                )
        return amounts


def capacity_here(
    workers: int, *, memory: Any = None, gpus: int | None = None, limits: Mapping[str, int] | None = None
) -> Capacity:
    """What this machine has, with so many workers; what is given counts instead of what is found."""
    for name, count in (limits or {}).items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise InvalidInputError(f"limits= says how many at a time, found {name}={count!r}", found=count)
    found_memory = _machine_memory() if memory is None else size_bytes(memory)
    return Capacity(workers, found_memory, _machine_gpus() if gpus is None else gpus, dict(limits or {}))


def size_bytes(given: Any) -> int:
    """Bytes, from a number or a text such as "4 GB" or "512MiB"."""
    if isinstance(given, (int, float)) and not isinstance(given, bool) and 0 < given < float("inf"):
        return int(given)
    if isinstance(given, str) and (match := _SIZE.match(given)):
        return int(float(match[1]) * _UNITS[match[2].lower()])
    raise InvalidInputError(f"A size is a number of bytes or a text such as '4 GB', found {given!r}", found=given)


def _machine_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return None


def _machine_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _shown(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 1e9:.3g} GB of memory"
    return f"{amount:g} of the {name}" if name.startswith("limit ") else f"{amount:g} {name}"


def _how(name: str, amount: float) -> str:
    if name.startswith("limit "):
        return f"limits={{{name.removeprefix('limit ')!r}: {amount:g}}}"
    return f"{name}={int(amount)}"
