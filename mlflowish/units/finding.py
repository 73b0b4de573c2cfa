"""The files of a folder, a pattern or a URL as units."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from mlflowish.errors import InvalidInputError, NotFoundError, StorageError
from mlflowish.store import File
from mlflowish.store.distant import Look, listed_below, look_at
from mlflowish.units import patterns
from mlflowish.units.sequence import Units
from mlflowish.units.unit import Listing, Unit

Where = str | os.PathLike[str]


def files(*where: Where | Sequence[Where], **storage_options: Any) -> Units:
    """Every file as a unit: of a folder and those below it, of a pattern, of any fsspec URL with its options; or a list
    of such.

    In patterns `*`, `?`, `[a-z]` and `**` (any number of folders) mean what they mean in a shell, and `{name}` keeps a
    part of the path: `files("data/{subject}/{session}.csv")` has `unit.keys["subject"]`, by which units can be joined
    and grouped. Hidden files are left out unless a pattern asks for them. Sorted by name. The value of a unit is a
    `File`: its content counts, not its name. NotFoundError if there is no such folder or file.

    >>> import mlflowish as mf
    >>> from pathlib import Path
    >>> Path("data").mkdir()
    >>> for name in ("s1-1", "s1-2", "s2-1"):
    ...     _ = Path(f"data/{name}.txt").write_text(name)
    >>> units = mf.files("data/{subject}-{session}.txt")
    >>> units.names, units[0].keys
    (['data/s1-1.txt', 'data/s1-2.txt', 'data/s2-1.txt'], {'subject': 's1', 'session': '1'})
    >>> @mf.step
    ... def shout(file):
    ...     return file.read_text().upper()
    >>> shout.map(units)["data/s2-1.txt"]
    'S2-1'
    """
    wanted = [_text(one) for item in where for one in _each(item)]
    if not wanted and not where:
        raise InvalidInputError('files() needs a folder, a pattern or a URL: files("data/*.csv")')
    return Units(partial(_list, tuple(wanted), storage_options), f"files({', '.join(map(repr, wanted[:3]))})")


def _each(item: Any) -> Sequence[Any]:
    return list(item) if isinstance(item, (list, tuple)) else [item]


def _text(where: Any) -> str:
    text = os.fspath(where) if isinstance(where, os.PathLike) else where
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInputError(f"files takes paths, patterns and URLs as non-empty strings, found {where!r}")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text if "://" in text else text.replace(os.sep, "/")


def _list(wanted: tuple[str, ...], options: dict[str, Any]) -> Listing:
    found: dict[str, Unit] = {}
    looks: dict[str, Look] = {}
    for text in wanted:
        if "://" in text:
            for url, keys, look in _far(text, options):
                looks[url] = look
                size = look.size_bytes if look.size_bytes >= 0 else None
                found.setdefault(url, Unit(url, (File(url, **options),), keys, size))
        else:
            for path, keys in _near(text):
                found.setdefault(path, Unit(path, (File(path),), keys))
    return Listing([found[name] for name in sorted(found)], looks)


# -- on this machine -----------------------------------------------------------------------------------


def _near(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    if os.path.lexists(text) and not os.path.isdir(text):
        yield text, {}
        return
    is_pattern = patterns.has_magic(text) and not os.path.isdir(text)
    pattern = patterns.parsed(text) if is_pattern else patterns.EVERYTHING
    root = pattern.root if is_pattern else text.rstrip("/") or "/"
    if not os.path.isdir(root or "."):
        raise NotFoundError(
            f"There is no {'folder' if is_pattern else 'file or folder'} at {root or '.'} "
            f"(working directory: {os.getcwd()}). Check the path.",
            path=root,
        )
    before = "" if not root else root if root.endswith("/") else f"{root}/"
    for relative in _walk(root or ".", "", pattern):
        keys = pattern.match(relative)
        if keys is not None:
            yield before + relative, keys


def _walk(folder: str, relative: str, pattern: patterns.Pattern) -> Iterator[str]:
    """The relative path of everything below that is no folder. Links to folders are not followed: they may lead in a
    circle."""
    below = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = f"{relative}{entry.name}"
                if not entry.is_dir():
                    yield path
                elif not entry.is_symlink() and pattern.may_hold(path):
                    below.append((entry.path, f"{path}/"))
    except OSError as error:
        raise StorageError(f"Looking through {folder} failed: {error}", path=folder) from error
    for path, inner in below:
        yield from _walk(path, inner, pattern)


# -- far away ------------------------------------------------------------------------------------------


def _far(text: str, options: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], Look]]:
    is_web = text.startswith("http")
    if not patterns.has_magic(text.partition("?")[0] if is_web else text):
        listed = None if is_web and not text.endswith("/") else listed_below(text, options, depth=None)
        if listed is None:
            yield text, {}, look_at(text, options)
            return
        pattern, root = patterns.EVERYTHING, text
    else:
        pattern = patterns.parsed(text)
        root = pattern.root
        listed = listed_below(root, options, depth=pattern.depth)
        if listed is None:
            raise NotFoundError(f"{root} is a file, and {text!r} looks for files below it", path=root)
    for relative, look in listed:
        keys = pattern.match(relative)
        if keys is not None:
            yield f"{root.rstrip('/')}/{relative}", keys, look
