"""Which paths a storage takes: checked once here, so that no backend can be led out of its root."""

from __future__ import annotations

import re

from mlflowish.errors import InvalidInputError

RESERVED = "tmp"  # unfinished files of the local storage rest there
_PART = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]{1,255}"
_PATH = re.compile(rf"(?!{RESERVED}/){_PART}(?:/{_PART})*\Z")
_LONGEST = 1000  # S3 allows keys of 1024 bytes, and the store's own prefix stands before ours


def require_path(path: str) -> str:
    """The path itself; InvalidInputError unless it is relative, of `[A-Za-z0-9._-]` parts, none of them `.` or `..`."""
    if isinstance(path, str) and is_path(path):
        return path
    raise InvalidInputError(
        f"{path!r} cannot be a path in a storage: parts of letters, digits, '.', '_' and '-', divided by '/', none of "
        f"them '.' or '..', at most {_LONGEST} characters, not below '{RESERVED}/'",
        path=path,
    )


def require_prefix(prefix: str) -> str:
    """The folder to list, with its closing `/`; '' stays '' (everything)."""
    if prefix == "":
        return ""
    return require_path(prefix.removesuffix("/") if isinstance(prefix, str) else prefix) + "/"


def is_path(path: str) -> bool:
    """Could this have been written by a storage?"""
    return _PATH.match(path) is not None and len(path) <= _LONGEST
