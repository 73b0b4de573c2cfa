"""Every code block of the README and of docs/ is run: what the pages say is what happens.

A page is run in a folder of its own, from top to bottom. ```python blocks are one program; a line
`expression  # -> text` checks that the expression's repr is that text. A block with `title="name.py"` is written to
that file. Lines `$ python ...` and `$ mlflowish ...` of ```console blocks are run in the order of the page, and must
end with exit code 0.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What somebody sees first runs on each version of Python.
FIRST = {ROOT / "README.md", ROOT / "docs" / "quickstart.md"}
RUN = [pytest.param(page, marks=[] if page in FIRST else pytest.mark.any_python) for page in PAGES]
CHECKED = re.compile(r"^(?P<indent> *)(?P<expression>[^#\n]+?)  +# -> (?P<text>.+)$")
CHECK = "def _check(found, text): assert repr(found) == text, f'the page says {text}, found {found!r}'"


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, `title`, lines, and the line of the page at which they begin."""

    language: str
    title: str | None
    lines: tuple[str, ...]
    start: int


def blocks(text: str) -> Iterator[Block]:
    opened: tuple[str, str | None, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if opened is None and (fence := re.match(r"```(\w*)(.*)$", line)):
            title = re.search(r'title="([^"]+)"', fence[2])
            opened, lines = (fence[1], title[1] if title else None, number + 1), []
        elif opened is not None and line.startswith("```"):
            yield Block(opened[0], opened[1], tuple(lines), opened[2])
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"the block opened in line {opened and opened[2]} is never closed"


def program(parts: list[Block]) -> str:
    """The blocks as one program whose line numbers are the page's; a page begins with its title, so line 1 is free."""
    lines = [CHECK]
    for block in parts:
        lines += [""] * (block.start - 1 - len(lines))
        lines += [CHECKED.sub(_checked, line) for line in block.lines]
    return "\n".join(lines)


def _checked(match: re.Match[str]) -> str:
    return f"{match['indent']}_check({match['expression']}, {match['text']!r})"


def run(command: list[str] | str, folder: Path, page: Path) -> None:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "error",
    }
    env["MLFLOWISH_STORE"] = str(folder / "store")
    done = subprocess.run(command, cwd=folder, env=env, shell=isinstance(command, str), capture_output=True, text=True)
    assert done.returncode == 0, f"{page.relative_to(ROOT)}: {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    found = list(blocks(page.read_text(encoding="utf-8")))
    script = [block for block in found if block.language == "python" and block.title is None]
    if script:
        (tmp_path / "page.py").write_text(program(script), encoding="utf-8")
        run([sys.executable, "page.py"], tmp_path, page)
    for block in found:
        if block.title is not None:
            (tmp_path / block.title).write_text("\n".join(block.lines) + "\n", encoding="utf-8")
        elif block.language == "console":
            for line in block.lines:
                if line.startswith(("$ python ", "$ mlflowish ")):
                    run(line[2:], tmp_path, page)


def test_a_page_that_says_something_wrong_is_found() -> None:
    [block] = blocks("text\n\n```python\n1 + 1  # -> 3\n```\n")
    with pytest.raises(AssertionError, match="the page says 3, found 2"):
        exec(compile(program([block]), "page", "exec"), {})


def test_lines_of_the_program_are_lines_of_the_page() -> None:
    found = list(blocks("# Title\n```python\na = 1\n```\ntext\n```python\nb = 2\n```"))
    assert program(found).splitlines()[1:] == ["", "a = 1", "", "", "", "b = 2"]


LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    waiting, reached = [ROOT / "README.md"], set()
    while waiting:
        page = waiting.pop().resolve()
        if page in reached:
            continue
        reached.add(page)
        targets = [page.parent / target for target in LINK.findall(page.read_text(encoding="utf-8"))]
        for target in targets:
            waiting += target.glob("*.md") if target.is_dir() else [target] if target.suffix == ".md" else []
    assert [page for page in PAGES if page.resolve() not in reached] == []
