"""Where a model was made: interpreter, platform, and the packages that it needs as a lock that pip and uv install.

No path of the machine, no URL and no variable gets into it. A package that no index has (installed from a folder, a
file or a repository) is marked and stands as a comment in the lock.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlflowish.errors import IntegrityError
from mlflowish.hashing.packages import distribution_of, named

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]{1,100}\Z")
_EXTRA = re.compile(r"\bextra\s*==")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution; `local` if it did not come from an index (editable, from a folder or repository)."""

    name: str
    version: str
    local: bool = False

    def line(self) -> str:
        """Its line in a requirements file."""
        # Indexes do not have local versions such as 2.3+cpu; they have what those were built from.
        public, plus, _ = self.version.partition("+")
        if self.local:
            return f"# {self.name}=={self.version} was not installed from an index"
        return f"{self.name}=={public}" + (f"  # was {self.version}" if plus else "")


@dataclass(frozen=True, slots=True)
class Environment:
    """The interpreter, the platform, and the packages, sorted by name."""

    python: str = ""
    implementation: str = ""
    platform: str = ""
    packages: tuple[Package, ...] = ()

    def requirements(self) -> str:
        """A requirements file with exact versions, for `pip install -r` and `uv pip install -r`."""
        head = f"# Python {self.python} ({self.implementation}, {self.platform})"
        return "\n".join([head, *(package.line() for package in self.packages)]) + "\n"

    def __str__(self) -> str:
        return self.requirements().rstrip()

    def __repr__(self) -> str:
        return f"Environment(Python {self.python}, {self.platform}, {len(self.packages)} packages)"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        rows = [("Python", f"{self.python} ({self.implementation}, {self.platform})")]
        rows += [(package.name, package.version + (" (local)" if package.local else "")) for package in self.packages]
        return card("Environment", rows)

    def record(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "python": self.python,
            "implementation": self.implementation,
            "platform": self.platform,
            "packages": [
                {"name": package.name, "version": package.version, "local": package.local} for package in self.packages
            ],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Environment:
        """From what a manifest says. Names and versions that could be anything else in a lock are refused."""
        texts = [record.get(name, "") for name in ("python", "implementation", "platform")]
        listed = record.get("packages", [])
        if any(type(text) is not str or not text.isprintable() for text in texts) or type(listed) is not list:
            raise IntegrityError("A model's manifest describes its environment in a way that makes no sense")
        python, implementation, system = texts
        return cls(python, implementation, system, tuple(map(_package, listed)))


def _package(record: Any) -> Package:
    match record:
        case {"name": str() as name, "version": str() as version, **rest} if (
            _NAME.fullmatch(name) and _VERSION.match(version) and type(local := rest.get("local", False)) is bool
        ):
            return Package(name, version, local)
    raise IntegrityError(f"A model's manifest names a package that makes no sense: {str(record)[:200]}")


def current_environment(import_names: Iterable[str]) -> Environment:
    """This interpreter, with the packages that bring these top-level modules, and what those require in turn."""
    return Environment(
        python=platform.python_version(),
        implementation=sys.implementation.name,
        platform=f"{platform.system()}-{platform.machine()}",
        packages=_closure(_distributions(import_names)),
    )


def _distributions(import_names: Iterable[str]) -> Iterator[str]:
    for top in sorted(set(import_names)):
        found = distribution_of(top)
        if found is not None:
            yield found[0]


def _closure(names: Iterable[str]) -> tuple[Package, ...]:
    found: dict[str, Package] = {}
    waiting = list(names)
    while waiting:
        name = _normal(waiting.pop())
        if name in found or (known := _installed(name)) is None:
            continue
        found[name] = known[0]
        waiting.extend(known[1])
    return tuple(sorted(found.values(), key=lambda package: package.name))


@lru_cache(maxsize=2048)
def _installed(name: str) -> tuple[Package, tuple[str, ...]] | None:
    """An installed package and the names of those that it requires here; None if it is not installed."""
    import importlib.metadata

    for found in importlib.metadata.distributions(name=name) if name else ():
        if (known := named(found)) is not None:
            return Package(name, known[1], _is_local(found)), tuple(_required(found))
    # Required for another system or version of Python, or not there; what is not there was not needed.
    return None


def _required(found: Distribution) -> Iterator[str]:
    for requirement in found.requires or ():
        specification, _, marker = requirement.partition(";")
        match = _NAME.match(specification.strip())
        if match is not None and not _EXTRA.search(marker):
            yield match.group()


def _is_local(found: Distribution) -> bool:
    text = found.read_text("direct_url.json")
    if text is None:
        return False
    try:
        return "url" in json.loads(text)
    except ValueError:
        return True


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
