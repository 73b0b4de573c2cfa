"""Which store is the active one: of the `with` block, else of `use`, else of the settings."""

from __future__ import annotations

import os
import threading
from typing import Any

from mlflowish import settings
from mlflowish.errors import InvalidInputError
from mlflowish.store.layout import require_store
from mlflowish.store.store import Store, block_stores

_lock = threading.Lock()
_used: Store | None = None
_defaults: dict[str, Store] = {}
_default_of: dict[tuple[str | None, str], Store] = {}


def use(store: str | os.PathLike[str] | Store, **storage_options: Any) -> Store:
    """Make a store the active one of this process, and return it: a `Store`, a local path or any fsspec URL with its
    options.

    >>> import mlflowish as mf
    >>> mf.use("memory://doc-use").url
    'memory://doc-use'
    """
    global _used
    if isinstance(store, Store):
        if storage_options:
            raise InvalidInputError("use(store, ...) takes storage options with a URL, not with an opened Store")
        opened = store
    else:
        opened = Store(store, **storage_options)
    with _lock:
        _used = opened
    return opened


def active_store() -> Store:
    """The store that steps use now: of the enclosing `with store:` block, else of `use`, else of the settings.

    Without `use`: $MLFLOWISH_STORE, else `[tool.mlflowish] store` of the nearest pyproject.toml, else the folder
    `.mlflowish` beside it
    (or at the git root, or in the working directory).

    >>> import mlflowish as mf
    >>> with mf.Store("memory://doc-active"):
    ...     mf.active_store().url
    'memory://doc-active'
    """
    blocks = block_stores.get()
    return blocks[-1] if blocks else _used or _default_store()


def _default_store() -> Store:
    # Settings are looked up again when what they depend on changes: the variable or the working directory.
    where = (os.environ.get(settings.STORE_VARIABLE), os.getcwd())
    found = _default_of.get(where)
    if found is None:
        url = settings.default_store_url()
        with _lock:
            found = _default_of[where] = _defaults.setdefault(url, Store(url))
    return found


def as_store(store: Store | str | os.PathLike[str] | None) -> Store:
    """The store that a `store=` argument means: None is the active one."""
    if store is None:
        return active_store()
    if isinstance(store, Store):
        return store
    url = os.fspath(store)
    with _lock:
        return _defaults.setdefault(url, Store(url))


def existing_store(store: Store | str | os.PathLike[str] | None) -> Store:
    """The same for whoever looks after what is there: a place that is named, as a path or URL, and has nothing of a
    store is a NotFoundError. The active store, and an opened one, may be new."""
    opened = as_store(store)
    if store is not None and not isinstance(store, Store):
        require_store(opened.storage)
    return opened
