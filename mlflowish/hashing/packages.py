"""Where the user's project ends: which code is walked into, and which counts by distribution and version.

The standard library and this package are leaves that contribute their names only; what is installed is a leaf with its
version; everything else is the project, wherever it lies.
"""

from __future__ import annotations

import os
import re
import site
import sys
import sysconfig
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from blake3 import blake3

from mlflowish.errors import InvalidInputError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

Realm = Literal["project", "package", "stdlib"]
Precision = Literal["exact", "minor", "major", "ignore"]

_OWN_ROOT = str(Path(__file__).resolve().parent.parent) + os.sep
_INSTALL_FOLDERS = ("site-packages", "dist-packages")
_DIST_INFO = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.dist-info$")
# Import names that differ from the name of their distribution; the full map costs 40 ms and is built for the others.
_KNOWN = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def realm_of_module(name: str | None) -> Realm:
    """Where the module called `name` belongs; it need not be loaded, and is not loaded by asking."""
    if not name or name == "__main__":
        return "project"
    module = sys.modules.get(name)
    return realm_of_loaded(module) if module is not None else _realm_of_unloaded(name.partition(".")[0])


def _realm_of_unloaded(top: str) -> Realm:
    """Where a module belongs that this process has not loaded: a function that travelled here by value is that of the
    same code as where its module is. By the package at the top, which can be found without running anything."""
    if top in sys.modules:
        return realm_of_loaded(sys.modules[top])
    if top in sys.stdlib_module_names:
        return "stdlib"
    file = _file_of_unloaded(top)
    return realm_of_file(file) if file is not None else "project"


@cache
def _file_of_unloaded(top: str) -> str | None:
    spec = PathFinder.find_spec(top)
    if spec is None:
        return None
    return spec.origin or next((os.path.join(folder, "") for folder in spec.submodule_search_locations or ()), None)


def realm_of_loaded(module: Any) -> Realm:
    """Where a module object belongs."""
    namespace = vars(module)
    file = namespace.get("__file__")
    if isinstance(file, str):
        return realm_of_file(file)
    name = namespace.get("__name__")
    if name in sys.builtin_module_names:
        return "stdlib"
    spec = namespace.get("__spec__")
    if getattr(spec, "origin", None) in {"built-in", "frozen"}:
        return "stdlib"
    for folder in list(namespace.get("__path__", ())):
        return realm_of_file(os.path.join(str(folder), ""))
    return "project"


@cache
def realm_of_file(path: str) -> Realm:
    """Where the code of a file belongs."""
    if path.startswith("<frozen "):
        return "stdlib"
    if path.startswith("<"):
        return "project"
    real = os.path.realpath(path)
    if real.startswith(_OWN_ROOT):
        return "stdlib"
    for candidate in (os.path.abspath(path), real):
        if any(f"{os.sep}{folder}{os.sep}" in candidate for folder in _INSTALL_FOLDERS):
            return "package"
        if candidate.startswith(_site_folders()):
            return "package"
    if real.startswith(_stdlib_folders()):
        return "stdlib"
    return "package" if _installed_beside(path) else "project"


@cache
def _stdlib_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)}
    return tuple(os.path.join(os.path.realpath(path), "") for path in paths if path)


@cache
def _site_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    return tuple(os.path.join(os.path.realpath(path), "") for path in paths if path)


def _installed_beside(path: str) -> bool:
    """Whether the file was put into its folder by an installer (`pip install --target`)."""
    here = os.path.dirname(os.path.abspath(path))
    top = os.path.splitext(os.path.basename(path))[0] if os.path.basename(path) else os.path.basename(here)
    for _ in range(8):
        if top in _claimed_in(here):
            return True
        parent, top = os.path.split(here)
        if parent == here or not os.path.exists(os.path.join(here, "__init__.py")):
            # A namespace package has no __init__.py, so one level more is looked at.
            return top in _claimed_in(parent)
        here = parent
    return False


@cache
def _claimed_in(folder: str) -> dict[str, tuple[str, str]]:
    """Import name -> (distribution, version) of what was installed straight into `folder`."""
    found: dict[str, tuple[str, str]] = {}
    try:
        entries = [entry for entry in os.listdir(folder) if entry.endswith(".dist-info")]
    except OSError:
        return found
    for entry in sorted(entries):
        match = _DIST_INFO.match(entry)
        if match is None or not os.path.exists(os.path.join(folder, entry, "METADATA")):
            continue  # the second is what a removal leaves that was broken off
        distribution = (match["name"].lower().replace("_", "-"), match["version"])
        for name in _import_names(os.path.join(folder, entry), match["name"]):
            found[name] = distribution
    return found


def _import_names(info: str, name: str) -> set[str]:
    for listing in ("top_level.txt", "RECORD"):
        try:
            with open(os.path.join(info, listing), encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        if listing == "top_level.txt":
            return {line.strip() for line in lines if line.strip()}
        tops = {line.partition(",")[0].partition("/")[0] for line in lines}
        return {top.removesuffix(".py") for top in tops if not top.endswith((".dist-info", "__pycache__", ".."))}
    return {name.replace("-", "_")}


@cache
def distribution_of(top: str) -> tuple[str, str] | None:
    """The distribution and version that brings the top-level import name `top`, or None when nothing claims it."""
    # 15 ms to import, and needed only where an installed package is reached.
    import importlib.metadata

    candidates = [_KNOWN.get(top, top), top]
    folder = _folder_of(top)
    for candidate in candidates:
        try:
            found = importlib.metadata.distribution(candidate.replace("_", "-"))
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
        here = str(found.locate_file(""))
        known = named(found)
        if known is not None and (folder is None or os.path.realpath(here) == os.path.realpath(folder)):
            return known
    if folder is not None and top in _claimed_in(folder):
        return _claimed_in(folder)[top]
    claiming = _claiming(tuple((folder, _changed_ns(folder)) for folder in sys.path)).get(top, ())
    return next((known for found in claiming if (known := named(found)) is not None), None)


@lru_cache(maxsize=1)
def _claiming(path: tuple[tuple[str, int], ...]) -> dict[str, list[Distribution]]:
    """Import name -> the distributions on this path that claim it: what `importlib.metadata.packages_distributions`
    says, in a tenth of the time, since no path is made of each file."""
    import importlib.metadata

    found: dict[str, list[Distribution]] = {}
    for distribution in importlib.metadata.distributions():
        for name in _tops_of(distribution):
            found.setdefault(name, []).append(distribution)
    return found


def _tops_of(found: Distribution) -> set[str]:
    if declared := (found.read_text("top_level.txt") or "").split():
        return set(declared)
    record = found.read_text("RECORD")
    files = [str(file) for file in found.files or ()] if record is None else record.splitlines()
    return {name for name in map(_top_of, files) if "." not in name}


def _top_of(line: str) -> str:
    """The import name that a file belongs to, by its line in a RECORD."""
    head, is_below, _ = line.partition("/")
    if is_below:
        return head
    from inspect import getmodulename  # not at every start

    file = head.partition(",")[0]
    return getmodulename(file) or file


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


def named(found: Distribution) -> tuple[str, str] | None:
    """Name and version; None for the empty folder that a removal which was broken off leaves."""
    try:
        about: Any = found.metadata
        name, version = about.get("Name"), about.get("Version")
    except (FileNotFoundError, AttributeError):  # of the backport of importlib.metadata; of None, in new versions
        return None
    return (str(name).lower().replace("_", "-"), str(version)) if name and version else None


def _folder_of(top: str) -> str | None:
    """The folder that the import name lies in, without importing it."""
    module = sys.modules.get(top)
    file = getattr(module, "__file__", None) if module is not None else None
    if isinstance(file, str):
        folder = os.path.dirname(os.path.abspath(file))
        return os.path.dirname(folder) if hasattr(module, "__path__") else folder
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(top)
    origin = spec.origin if spec is not None else None
    if origin is None:
        return None
    folder = os.path.dirname(origin)
    return os.path.dirname(folder) if spec is not None and spec.submodule_search_locations else folder


def version_of(top: str) -> tuple[str, str]:
    """(distribution, version) for a top-level import name; a digest of the file stands in for what has no version."""
    found = distribution_of(top)
    if found is not None:
        return found
    module = sys.modules.get(top)
    version = getattr(module, "__version__", None)
    if isinstance(version, str):
        return top, version
    file = getattr(module, "__file__", None)
    return top, file_digest(file).hex() if isinstance(file, str) else "unversioned"


def file_digest(path: str) -> bytes:
    """Digest of the content of a code file: for compiled modules, and for what has neither source nor version."""
    try:
        with open(path, "rb") as file:
            return blake3(file.read()).digest(16)
    except OSError:
        return b""


def apply_policy(name: str, version: str, policy: str | Mapping[str, str]) -> str | None:
    """The part of a version that counts under `packages=`; None when the package does not count."""
    precision: str = "exact"
    if isinstance(policy, Mapping):
        normal = {key.lower().replace("_", "-"): value for key, value in policy.items()}
        precision = normal.get(name, normal.get("*", "exact"))
    elif policy == "ignore":
        precision = "ignore"
    numbers = version.split(".")
    if precision == "ignore":
        return None
    if precision == "major":
        return numbers[0]
    return ".".join(numbers[:2]) if precision == "minor" else version


def check_policy(policy: str | Mapping[str, str]) -> None:
    """Refuse a `packages=` that cannot be meant."""
    known = {"exact", "minor", "major", "ignore"}
    if isinstance(policy, Mapping):
        wrong = {key: value for key, value in policy.items() if value not in known}
        if wrong:
            raise InvalidInputError(
                f"packages={dict(policy)!r}: {wrong!r} is not among {sorted(known)}. "
                "Use one of these for each package.",
                packages=dict(policy),
            )
    elif policy not in {"reached", "ignore"}:
        raise InvalidInputError(
            f"packages={policy!r} is neither 'reached', 'ignore' nor a mapping such as {{'torch': 'minor'}}.",
            packages=policy,
        )
