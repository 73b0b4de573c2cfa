"""The steps of the golden stores: never to be edited, or their results are no longer found."""

from __future__ import annotations

from collections.abc import Iterator

import mlflowish as mf

SCALE = 3


def scaled(n: int) -> int:
    return n * SCALE


@mf.step(name="golden.small")
def small(n: int, label: str = "a") -> dict[str, object]:
    return {"n": scaled(n), "label": label, "parts": (1.5, None, b"\x00\xff", {2, 3})}


@mf.step(name="golden.large")
def large(n: int) -> bytes:
    return bytes(range(256)) * n


@mf.step(name="golden.nested")
def nested(n: int) -> tuple[bytes, int]:
    return large(n), len(str(small(n)))


@mf.step(name="golden.chunks")
def chunks(n: int) -> Iterator[bytes]:
    for i in range(n):
        yield bytes([i]) * 70_000


@mf.step(name="golden.fails")
def fails(n: int) -> None:
    raise ValueError(n)
