"""Constants of code as bytes that keep their types."""

from __future__ import annotations

import struct


def constant_bytes(value: object) -> bytes:
    """A constant of code with its type: `1`, `True`, `1.0` and `"1"` all differ."""
    if value is None or value is True or value is False or value is Ellipsis:
        return f"!{value}".encode()
    if isinstance(value, int):
        return b"i%d;" % value if -(10**18) < value < 10**18 else b"x%x;" % value
    if isinstance(value, float):
        return b"r" + struct.pack(">d", value)
    if isinstance(value, complex):
        return b"c" + struct.pack(">dd", value.real, value.imag)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"u%d:" % len(raw) + raw
    if isinstance(value, bytes):
        return b"b%d:" % len(value) + value
    if isinstance(value, tuple):
        return b"t%d:" % len(value) + b"".join(map(constant_bytes, value))
    if isinstance(value, frozenset):
        return b"z%d:" % len(value) + b"".join(sorted(map(constant_bytes, value)))
    raise TypeError(f"a constant of type {type(value).__qualname__} in code")


def sized(text: str) -> bytes:
    """A text with its length in front."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"%d:" % len(raw) + raw
