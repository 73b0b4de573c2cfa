"""The errors by which codecs refuse: damaged bytes, and bytes that this process cannot or may not load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflowish.errors import CapabilityError, IntegrityError, MlflowishError, UncacheableError, missing_extra

# Libraries whose import names are those of the extras that bring them.
_EXTRAS = frozenset({"numpy", "pandas", "polars", "torch", "sklearn", "skops", "xgboost", "lightgbm", "onnx"})


def damaged(codec: str, found: str) -> IntegrityError:
    """The error for bytes that `codec` cannot have written."""
    return IntegrityError(
        f"Loading a value stored by codec '{codec}' failed: {found}. The stored bytes are damaged; "
        "compute the value again, and run `mlflowish fsck` on the store.",
        codec=codec,
        found=found,
    )


def not_here(codec: str, found: str) -> CapabilityError:
    """The error for bytes that are sound, as far as one can see, but mean nothing in this process."""
    return CapabilityError(
        f"A value stored by codec '{codec}' cannot be loaded here: {found}. "
        "Compute it again, or load it where the code and the libraries that made it are installed.",
        codec=codec,
        found=found,
    )


def not_importable(codec: str, error: ImportError, found: str) -> CapabilityError:
    """The error for a module that is not here; MissingExtraError if an extra of ours brings it."""
    top = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and top in _EXTRAS:
        return missing_extra(top, needed_for=f"Loading a value stored by codec '{codec}'", cause=error)
    return not_here(codec, found)


def refused_by_policy(codec: str) -> CapabilityError:
    """The error for a pickle that the policy does not allow to load."""
    return CapabilityError(
        f"A value stored by codec '{codec}' was not loaded: loading it can execute stored code, and the policy is "
        "allow_pickle=False. If you trust everybody who writes to this store, open it with allow_pickle=True; "
        "else compute the value again.",
        codec=codec,
    )


def unstorable(path: str, reason: str) -> UncacheableError:
    """The error for a value with something in it, at `path`, that no codec can store."""
    return UncacheableError(
        f"{path} cannot be stored: {reason}. Return plain data, arrays or frames instead, or register "
        "a codec for the type with mlflowish.codecs.register.",
        path=path,
        reason=reason,
    )


@contextmanager
def sense_made(codec: str) -> Iterator[None]:
    """Turns whatever parsing of hostile bytes raises into the IntegrityError of `codec`; our own errors pass, and a
    library that is not here is no damage."""
    try:
        yield
    except Exception as error:
        raise as_damage(codec, error) from error


def as_damage(codec: str, error: Exception) -> MlflowishError:
    """The IntegrityError for what parsing hostile bytes raised, a CapabilityError for a library that is not here; an
    error of ours as it is."""
    if isinstance(error, MlflowishError):
        return error
    if isinstance(error, ImportError):
        return not_importable(codec, error, str(error)[:200])
    return damaged(codec, f"{type(error).__name__}: {str(error)[:200]}")
