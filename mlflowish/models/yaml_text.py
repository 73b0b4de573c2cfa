"""Plain data as YAML. Texts stand in double quotes, which YAML reads as JSON does."""

from __future__ import annotations

import json
from typing import Any


def to_yaml(value: Any, indent: int = 0) -> str:
    """A dict or list of plain data in block style, ending with a newline."""
    space = " " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{space}{_key(name)}:{_after(member, indent)}" for name, member in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{space}-{_after(member, indent)}" for member in value)
    return f"{space}{json.dumps(value)}\n"


def _key(name: str) -> str:
    return name if name.isidentifier() and name not in ("null", "true", "false", "yes", "no") else json.dumps(name)


def _after(member: Any, indent: int) -> str:
    if isinstance(member, (dict, list)) and member:
        return "\n" + to_yaml(member, indent + 2)
    return f" {json.dumps(member)}\n"
