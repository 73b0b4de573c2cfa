"""Patterns of paths: `*`, `?`, `[a-z]`, `**` as in a shell, and `{name}` for a part that is kept under that name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlflowish.errors import InvalidInputError

_MAGIC = re.compile(r"[*?\[{]")
_TOKEN = re.compile(r"\*+|\?|\[(?P<set>!?\]?[^\]]*)\]|\{(?P<name>[^{}/]*)\}|(?P<text>[^*?\[{]+|[\[{])")
_ANYWHERE = "**"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern taken apart: the folder below which everything lies that it can match, without magic, and what the
    relative path of a match looks like. `segments` are the expressions of its parts, None for `**`."""

    root: str
    regex: re.Pattern[str]
    segments: tuple[re.Pattern[str] | None, ...]

    @property
    def depth(self) -> int | None:
        """How many parts a match has; None if any number."""
        return None if None in self.segments else len(self.segments)

    def may_hold(self, folder: str) -> bool:
        """Can a match lie below this relative folder?"""
        parts = folder.split("/")
        for place, (part, segment) in enumerate(zip(parts, self.segments, strict=False)):
            if segment is None:
                return not any(part.startswith(".") for part in parts[place:])
            if not segment.fullmatch(part):
                return False
        return len(parts) < len(self.segments)

    def match(self, relative: str) -> dict[str, str] | None:
        """The named parts of a relative path; None if it does not match."""
        found = self.regex.fullmatch(relative)
        return None if found is None else found.groupdict()


def has_magic(text: str) -> bool:
    """Is it a pattern, and not the path of one file or folder?"""
    return _MAGIC.search(text) is not None


def parsed(text: str) -> Pattern:
    """The pattern that a text with `/` between its parts means; InvalidInputError if it means nothing."""
    scheme, mark, rest = text.rpartition("://") if "://" in text else ("", "", text)
    parts = rest.split("/")
    fixed = next(place for place, part in enumerate(parts) if has_magic(part))
    names: set[str] = set()
    segments: list[re.Pattern[str] | None] = []
    whole = ""
    for place, part in enumerate(parts[fixed:], start=fixed):
        is_last = place == len(parts) - 1
        if part == _ANYWHERE:
            segments.append(None)
            whole += r"(?:[^/.][^/]*/)*" + (r"[^/.][^/]*" if is_last else "")
            continue
        expression = "".join(_expressions(part, text, names))
        segments.append(re.compile(re.sub(r"\(\?P=\w+\)", "[^/]+", expression), re.DOTALL))
        whole += expression + ("" if is_last else "/")
    root = "/".join(parts[:fixed]) or ("/" if fixed else "")
    return Pattern(f"{scheme}{mark}{root}", re.compile(whole, re.DOTALL), tuple(segments))


def _expressions(part: str, text: str, names: set[str]) -> Iterator[str]:
    """The regular expression of one part of a path, in pieces; `names` collects what it names."""
    if has_magic(part[:1]):
        yield r"(?!\.)"  # as in a shell, what begins with a dot is hidden unless it is asked for
    for token in _TOKEN.finditer(part):
        if token["text"] is not None:
            yield re.escape(token["text"])
        elif token["set"] is not None:
            inside = token["set"].replace("\\", r"\\").replace("[", r"\[")
            yield f"[{'^/' + inside[1:] if inside.startswith('!') else inside}]"
        elif token["name"] is not None:
            yield _named(token["name"], text, names)
        else:
            yield r"[^/]" if token[0] == "?" else r"[^/]*"


def _named(name: str, text: str, names: set[str]) -> str:
    if not name.isidentifier():
        raise InvalidInputError(
            f"{{{name}}} in the pattern {text!r} names nothing: write {{subject}} for a part of the path that is to be "
            "kept, [{] for a brace in a name",
            found=name,
        )
    if name in names:
        return f"(?P={name})"
    names.add(name)
    return f"(?P<{name}>[^/]+?)"


EVERYTHING = parsed("**/*")
"""All files below a folder, hidden ones left out."""
