"""Settings that well-known libraries keep where no reader of a program's code sees them: `np.seterr`,
`pd.set_option`, `locale.setlocale` and the like.

Each counts where the code reaches the library, and only as far as it is not what the library starts with, so that a
library that nobody touched adds nothing, loaded or not.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mlflowish.errors import UncacheableError
from mlflowish.hashing import describe, digests
from mlflowish.hashing.leaves import type_name

if TYPE_CHECKING:
    from mlflowish.hashing.walk import Walk


def settings_facts(walk: Walk) -> dict[str, bytes]:
    """The settings of the libraries that the walk reached, as far as they are not what they were at the start."""
    found: dict[str, bytes] = {}
    for top in sorted({module.partition(".")[0] for module, _ in walk.leaves} & _KEEPERS.keys()):
        if top not in sys.modules:
            continue
        keeper = _KEEPERS[top]
        state = keeper.live()
        walk.guards.probe(keeper.live, copy.deepcopy(state) if keeper.in_place else state)
        for name, value in sorted(keeper.changed(state).items()):
            label = f"{top}.<settings>.{name}"
            digest = _digest(value)
            walk.add_part(label, "value", digest, partial(describe.value_text, label, value))
            found[label] = digest
    return found


def _digest(value: Any) -> bytes:
    try:
        return digests.digest(value)
    except UncacheableError:
        # A setting may hold anything; that it is set can be told all the same.
        return digests.digest(type_name(type(value)))


def _unlike(defaults: Mapping[str, Any]) -> Callable[[Any], dict[str, Any]]:
    return lambda live: {name: live[name] for name in defaults if name in live and live[name] != defaults[name]}


def _numpy_contexts() -> Any:
    """What numpy 2 keeps the settings in, replaced at each change; asking for the settings takes 4 microseconds."""
    errors, printing = _numpy_variables()
    if errors is None or printing is None:
        return _numpy()
    return errors.get(None), printing.get(None)


@cache
def _numpy_variables() -> tuple[Any, Any]:
    errors = getattr(sys.modules.get("numpy._core.umath"), "_extobj_contextvar", None)
    printing = getattr(sys.modules.get("numpy._core.printoptions"), "format_options", None)
    return errors, printing


def _numpy_changed(state: Any) -> dict[str, Any]:
    return _unlike(_NUMPY)(_numpy())


def _numpy() -> dict[str, Any]:
    numpy = sys.modules["numpy"]
    return {**numpy.geterr(), **numpy.get_printoptions()}


_NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn",
          "edgeitems": 3, "threshold": 1000, "floatmode": "maxprec", "precision": 8, "suppress": False, "linewidth": 75,
          "nanstr": "nan", "infstr": "inf", "sign": "-", "formatter": None, "legacy": False}  # fmt: skip


def _pandas() -> Any:
    return getattr(sys.modules.get("pandas._config.config"), "_global_config", {})


def _pandas_changed(live: Any) -> dict[str, Any]:
    found = {}
    for key, option in getattr(sys.modules.get("pandas._config.config"), "_registered_options", {}).items():
        value = live
        for part in key.split("."):
            value = value[part]
        if value != option.defval:
            found[key] = value
    return found


def _sklearn() -> Any:
    return sys.modules["sklearn"].get_config()


def _sklearn_changed(live: Any) -> dict[str, Any]:
    # Each thread has a copy of this, which is what `set_config` writes to.
    return _unlike(getattr(sys.modules.get("sklearn._config"), "_global_config", {}))(live)


def _torch() -> dict[str, Any]:
    torch = sys.modules["torch"]
    deterministic = torch.are_deterministic_algorithms_enabled()
    return {"dtype": str(torch.get_default_dtype()), "deterministic": deterministic, "grad": torch.is_grad_enabled()}


def _locale() -> dict[str, Any]:
    locale = sys.modules["locale"]
    # Not the encoding of texts, which comes from the environment at the start.
    parts = {"numeric": locale.LC_NUMERIC, "time": locale.LC_TIME, "collate": locale.LC_COLLATE}
    return {name: locale.setlocale(part) for name, part in parts.items()}


def _sys() -> dict[str, Any]:
    return {"int_max_str_digits": sys.get_int_max_str_digits()}


class _Keeper(NamedTuple):
    """How the settings of a library are looked at: quickly, for comparison; then by name, those that were changed."""

    live: Callable[[], Any]
    changed: Callable[[Any], dict[str, Any]]
    in_place: bool = False


_KEEPERS = {
    "locale": _Keeper(_locale, _unlike({"numeric": "C", "time": "C", "collate": "C"})),
    "numpy": _Keeper(_numpy_contexts, _numpy_changed),
    "pandas": _Keeper(_pandas, _pandas_changed, in_place=True),
    "sklearn": _Keeper(_sklearn, _sklearn_changed),
    "sys": _Keeper(_sys, _unlike({"int_max_str_digits": sys.int_info.default_max_str_digits})),
    "torch": _Keeper(_torch, _unlike({"dtype": "torch.float32", "deterministic": False, "grad": True})),
}
