"""What a run ran on: Python, system, packages, limits. No environment variables: they hold secrets."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_NAME, _VERSION = (re.compile(rf"^{name}:(.*)$", re.IGNORECASE | re.MULTILINE) for name in ("name", "version"))
_BLANK_LINE = re.compile(r"\r?\n\r?\n")


def describe_environment() -> dict[str, Any]:
    """Facts about the environment, those of all installed packages among them."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 0,
        "packages": packages(),
    }
    limits = {"memory_limit_bytes": memory_limit_bytes(), "cpu_limit": cpu_limit()}
    return facts | {name: limit for name, limit in limits.items() if limit}


def packages() -> dict[str, str]:
    """Version by name of every installed distribution."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name, version = _name_and_version(distribution)
        if name:
            found.setdefault(name, version)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """As `distribution.metadata` and `.version` say, which parse all of a file, READMEs included, each time that they
    are asked: half a second for 300 packages, taken from a program that logs meanwhile."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = _BLANK_LINE.split(text, maxsplit=1)[0]
    name, version = (match[1].strip() if (match := header.search(head)) else "" for header in (_NAME, _VERSION))
    return name, version


def memory_limit_bytes() -> int | None:
    """What the container may use, None if it is not limited (Linux control groups, both versions)."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(path)
        if text.isdigit() and int(text) < 1 << 60:  # version 1 says "none" with a huge number
            return int(text)
    return None


def cpu_limit() -> float | None:
    """How many processors' worth of time the container may use, None if it is not limited."""
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if not quota:
        quota, period = (_read(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
