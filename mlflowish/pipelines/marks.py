"""How a state looks, the same everywhere: a word, a mark and a colour. The mark says it without colours."""

from __future__ import annotations

from dataclasses import dataclass

TO_RUN, UNKNOWN = "to run", "unknown"
"""States of a plan, besides those of a run."""


@dataclass(frozen=True, slots=True)
class Mark:
    """`sign` is one character wide; `plain` stands for it where only ASCII can be shown. `rgb`: "R,G,B" for pictures,
    `colour`: rich's name. `path`: the mark as an SVG path in a field of 12 by 12."""

    word: str
    sign: str
    plain: str
    rgb: str
    colour: str
    path: str


MARKS = {
    mark.word: mark
    for mark in (
        Mark("cached", "↺", "=", "46,160,67", "green", "M3,3.2 A4.4,4.4 0 1 1 1.7,7 M3.2,0.6 V3.6 H6.2"),
        Mark("done", "✓", "+", "46,160,67", "green", "M1.5,6.5 L4.5,9.5 L10.5,2.5"),
        Mark("to run", "○", "o", "56,139,253", "blue", "M6,1.5 A4.5,4.5 0 1 1 5.99,1.5 Z"),
        Mark("running", "▶", ">", "56,139,253", "blue", "M3,1.5 L10.5,6 L3,10.5 Z"),
        Mark("unknown", "?", "?", "219,154,4", "yellow", "M3.2,3.6 A2.8,2.6 0 1 1 6,6.4 V8 M6,10.2 V11"),
        Mark("waiting", "·", ".", "128,128,128", "bright_black", "M6,5 A1,1 0 1 1 5.99,5 Z"),
        Mark("failed", "✗", "x", "248,81,73", "red", "M2,2 L10,10 M10,2 L2,10"),
        Mark("skipped", "–", "-", "128,128,128", "bright_black", "M2,6 H10"),
    )
}
"""Every state of a node in a plan or a run, by its word."""

ORDER = ("failed", "running", "to run", "unknown", "waiting", "skipped", "done", "cached")
"""Which state a group of nodes is shown in: the first that one of them has."""


def mark_of(state: str) -> Mark:
    """The mark of a state; the one of `unknown` for a state that is not known here."""
    return MARKS.get(state, MARKS[UNKNOWN])


def counted(counts: dict[str, int]) -> str:
    """Numbers by state as a line: `8 cached, 3 done, 1 failed`."""
    known = ["cached", "done", "running", "to run", "unknown", "waiting", "failed", "skipped"]
    rest = [state for state in counts if state not in known]
    return ", ".join(f"{counts[state]:,} {state}" for state in (*known, *rest) if counts.get(state))
