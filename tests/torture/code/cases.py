"""What a code-edit case is: a few files, an edit, a call, and whether the result may be reused after the edit."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

Expect = Literal["HIT", "MISS"]


@dataclass(frozen=True)
class Case:
    """`before` and `after` are the files of a small project; `call` is evaluated in the module `app`."""

    name: str
    expect: Expect
    before: dict[str, str]
    after: dict[str, str]
    call: str = "f(3)"
    # The call changes what it depends on (a counter, say), so a second one in the same process may miss.
    stateful: bool = False
    # The results are not compared: they cannot be, or the edit is one that a hit may not show.
    opaque_result: bool = False
    needs: str = ""
    # Only running it shows what it reaches: the entry is verified, and the fingerprint does not tell.
    observed: bool = False
    # All in the same folder: the code reads where it is.
    in_place: bool = False
    minimum: tuple[int, int] = (3, 11)


def files(text: str) -> dict[str, str]:
    """Files from one text: each begins with a line `## path`; without one, everything is `app.py`."""
    found: dict[str, list[str]] = {}
    current = "app.py"
    for line in textwrap.dedent(text).strip("\n").splitlines():
        if line.startswith("## "):
            current = line[3:].strip()
            found.setdefault(current, [])
        else:
            found.setdefault(current, []).append(line)
    return {path: "\n".join(lines) + "\n" for path, lines in found.items()}


def edited(before: dict[str, str], *edits: tuple[str, str]) -> dict[str, str]:
    """The files after each `old` was replaced by `new`, wherever it stands; `old` must be there."""
    after = dict(before)
    for old, new in edits:
        if not any(old in text for text in after.values()):
            raise ValueError(f"{old!r} is in none of {sorted(after)}")
        after = {path: text.replace(old, new) for path, text in after.items()}
    return after


class Cases:
    """A group of cases, filled by calls of `hit` and `miss`."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def hit(self, name: str, text: str, *edits: tuple[str, str] | str, **options: object) -> None:
        """After the edit the result is still right: it must be reused."""
        self._add(name, "HIT", text, edits, options)

    def miss(self, name: str, text: str, *edits: tuple[str, str] | str, **options: object) -> None:
        """After the edit the result may be wrong: it must not be reused."""
        self._add(name, "MISS", text, edits, options)

    def _add(
        self, name: str, expect: Expect, text: str, edits: tuple[tuple[str, str] | str, ...], options: dict[str, object]
    ) -> None:
        before = files(text)
        if len(edits) == 1 and isinstance(edits[0], str):
            after = files(edits[0])
        else:
            after = edited(before, *[edit for edit in edits if isinstance(edit, tuple)])
        self.all.append(Case(name, expect, before, after, **options))  # type: ignore[arg-type]  # keyword options of Case
