"""What a step was declared with, checked once."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflowish.errors import InvalidInputError
from mlflowish.executors.resources import ONE_CPU, Resources
from mlflowish.store import Store

LEASE_S = 10.0
_GRANULARITIES = ("exact", "major", "minor", "ignore")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `@step`, validated; times in seconds."""

    name: str | None = None
    version: str | int | None = None
    ignore: tuple[str, ...] = ()
    depends: tuple[Any, ...] = ()
    env: tuple[str, ...] = ()
    packages: str | Mapping[str, str] = "reached"
    cache: bool = True
    max_age: float | None = None
    retries: int = 0
    timeout: float | None = None
    strict: bool = False
    seed: bool = False
    lock: float | None = None
    format: str | None = None
    store: Any = None
    resources: Resources = ONE_CPU


def checked(
    *,
    name: str | None,
    version: str | int | None,
    ignore: str | Sequence[str],
    depends: Any,
    env: str | Sequence[str],
    packages: str | Mapping[str, str],
    cache: bool,
    max_age: float | datetime.timedelta | None,
    retries: int,
    timeout: float | datetime.timedelta | None,
    strict: bool,
    seed: bool,
    lock: bool | float,
    format: str | None,  # noqa: A002  the promised name of the option
    store: Any,
    cpus: float | None = None,
    memory: int | str | None = None,
    gpus: int = 0,
    limits: str | Sequence[str] = (),
) -> Options:
    """The options as one record.

    InvalidInputError names the one that cannot be meant, or the two that contradict.
    """
    if name is not None and (not isinstance(name, str) or not name or not name.isprintable() or "/" in name):
        raise InvalidInputError(f"step(name=...) takes a printable name without '/', found {name!r}", option="name")
    if version is not None and not isinstance(version, (str, int)):
        raise InvalidInputError(f"step(version=...) takes a string or a number, found {version!r}", option="version")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise InvalidInputError(
            f"step(retries=...) is a number of retries from 0 up, found {retries!r}", option="retries"
        )
    if format is not None:
        _check_format(format)
    if store is not None and not isinstance(store, (str, os.PathLike, Store)):
        raise InvalidInputError(f"step(store=...) takes a Store, a path or a URL, found {store!r}", option="store")
    lease_s = (LEASE_S if lock else None) if isinstance(lock, bool) else _seconds(lock, "lock")
    age_s = None if max_age is None else _seconds(max_age, "max_age", zero=True)
    options = Options(
        name,
        version,
        _names(ignore, "ignore"),
        _depends(depends),
        _names(env, "env"),
        _packages(packages),
        _flag(cache, "cache"),
        age_s,
        retries,
        None if timeout is None else _seconds(timeout, "timeout"),
        _flag(strict, "strict"),
        _flag(seed, "seed"),
        lease_s,
        format,
        store,
        ONE_CPU if (cpus, memory, gpus, limits) == (None, None, 0, ()) else _resources(cpus, memory, gpus, limits),
    )
    _check_contradictions(options)
    return options


def _check_contradictions(options: Options) -> None:
    if options.cache:
        return
    given = {
        "max_age": options.max_age is not None,
        "lock": options.lock is not None,
        "strict": options.strict,
        "format": options.format is not None,
        "ignore": bool(options.ignore),
    }
    for option, present in given.items():
        if present:
            raise InvalidInputError(
                f"step(cache=False, {option}=...) contradict: {option} says how results are cached. "
                "Leave one of them out.",
                option=option,
            )


def _resources(cpus: float | None, memory: int | str | None, gpus: int, limits: str | Sequence[str]) -> Resources:
    try:
        return Resources(1 if cpus is None else cpus, memory, gpus, limits)  # type: ignore[arg-type]  # checked there
    except InvalidInputError as error:
        raise InvalidInputError(f"step(cpus=, memory=, gpus=, limits=): {error}", **error.data) from error


def _seconds(value: Any, option: str, *, zero: bool = False) -> float:
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value > 0 or (zero and value == 0)):
        raise InvalidInputError(
            f"step({option}=...) takes a positive number of seconds or a timedelta, found {value!r}", option=option
        )
    # A result may be young for ever; nothing waits that long.
    if option != "max_age" and not math.isfinite(value):
        raise InvalidInputError(
            f"step({option}=...) takes a finite number of seconds, found {value!r}. Leave it out for no limit.",
            option=option,
        )
    return float(value)


def _names(value: Any, option: str) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise InvalidInputError(f"step({option}=...) takes a name or a list of names, found {value!r}", option=option)
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"step({option}=...) takes names, found {name!r}", option=option)
    return names


def _depends(value: Any) -> tuple[Any, ...]:
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if items:
        from mlflowish.hashing import opaque

        for place, item in enumerate(items):
            if opaque.is_sentinel(item) or opaque.is_harmless(type(item)):
                raise InvalidInputError(
                    f"step(depends=...): depends[{place}] is a {type(item).__module__}.{type(item).__qualname__}, "
                    "which has no content to compare, so a change of it could never be seen. Give what it stands for "
                    "instead: a function, a module, mf.File(...), or plain data such as an address or a version.",
                    option="depends",
                )
    return items


def _flag(value: Any, option: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInputError(f"step({option}=...) is True or False, found {value!r}", option=option)
    return value


def _packages(packages: Any) -> str | Mapping[str, str]:
    if isinstance(packages, Mapping):
        for package, how in packages.items():
            if not isinstance(package, str) or how not in _GRANULARITIES:
                raise InvalidInputError(
                    f"step(packages={{name: how}}): how is one of {', '.join(_GRANULARITIES)}, "
                    f"found {package!r}: {how!r}",
                    option="packages",
                )
        return dict(packages)
    if packages not in ("reached", "ignore"):
        raise InvalidInputError(
            f"step(packages=...) is 'reached', 'ignore' or a mapping of package to one of {', '.join(_GRANULARITIES)}, "
            f"found {packages!r}",
            option="packages",
        )
    return str(packages)


def _check_format(name: str) -> None:
    from mlflowish.codecs import known
    from mlflowish.errors import nearest

    names = known()
    if name not in names:
        raise InvalidInputError(
            f"step(format={name!r}): there is no such format; there are "
            f"{', '.join(nearest(str(name), names, limit=20))}",
            option="format",
        )
