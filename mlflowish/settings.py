"""Where settings come from: the environment, then `[tool.mlflowish]` of the nearest pyproject.toml, then defaults.

Nothing is read at import; every function looks when it is called, so tests and notebooks can change the environment.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlflowish.errors import InvalidInputError

STORE_VARIABLE = "MLFLOWISH_STORE"
CACHE_VARIABLE = "MLFLOWISH_CACHE_DIR"
FOLDER = ".mlflowish"
_HOMES = ("HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH")  # what `Path.home` looks at


def project_root(start: Path | None = None) -> Path:
    """The folder of the nearest pyproject.toml, else of the nearest git root, else `start` (default: the working
    directory)."""
    here = (start or Path.cwd()).resolve()
    folders = (here, *here.parents)
    for marker in ("pyproject.toml", ".git"):
        for folder in folders:
            if (folder / marker).exists():
                return folder
    return here


def tool_table(start: Path | None = None) -> dict[str, Any]:
    """`[tool.mlflowish]` of the nearest pyproject.toml; empty without one. A file that cannot be parsed is an error."""
    import tomllib

    path = project_root(start) / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("mlflowish", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} cannot be parsed ({error}); mend it or set ${STORE_VARIABLE}", path=str(path)
        ) from error
    if not isinstance(table, dict):
        raise InvalidInputError(
            f"[tool.mlflowish] in {path} must be a table, found {type(table).__name__}", path=str(path)
        )
    return table


def default_store_url(start: Path | None = None) -> str:
    """The URL or folder of the store that is active when nobody called `use`."""
    if url := os.environ.get(STORE_VARIABLE):
        return url
    root = project_root(start)
    configured = tool_table(start).get("store")
    if configured is None:
        return str(root / FOLDER)
    if not isinstance(configured, str) or not configured:
        raise InvalidInputError(
            f"[tool.mlflowish] store must be a non-empty string, found {configured!r}", found=configured
        )
    return configured if "://" in configured else str((root / configured).resolve())


def cache_dir() -> Path:
    """The folder of local caches and spools of this user: $MLFLOWISH_CACHE_DIR, else $XDG_CACHE_HOME/mlflowish, else
    ~/.cache/mlflowish."""
    return _cache_dir(*map(os.environ.get, (CACHE_VARIABLE, "XDG_CACHE_HOME", *_HOMES)))


@lru_cache(maxsize=16)  # asked for before every answer about a run; a home is found in a few dozen microseconds
def _cache_dir(configured: str | None, base: str | None, *homes: str | None) -> Path:
    if configured:
        return Path(configured)
    return (Path(base) if base else Path.home() / ".cache") / "mlflowish"
