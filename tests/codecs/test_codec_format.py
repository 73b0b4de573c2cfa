"""The page that specifies the formats says what the code does."""

import pathlib
import re

from mlflowish.codecs import known
from mlflowish.codecs.constructors import GLOBALS
from mlflowish.codecs.registry import _BUILTIN_CODECS, codec_named

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "format-codecs.md").read_text(encoding="utf-8")


def rows(header):
    """The cells of the table that begins with these column names."""
    lines = PAGE.split(header, 1)[1].splitlines()[2:]
    table = lines[: next(place for place, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_each_codec_is_specified_and_says_whether_it_runs_code():
    specified = {name.strip("`"): answer == "yes" for name, _, answer in rows("| codec | for | runs stored code |")}
    assert specified == {name: codec_named(name).executes_code for name in _BUILTIN_CODECS}
    assert set(specified) <= set(known())
    assert all(f"**{name}**" in PAGE for name in specified)


def test_each_name_that_a_stream_may_hold_is_specified():
    specified = {
        (module.strip("`"), name)
        for module, names in rows("| module | names |")
        for name in re.findall("`(.+?)`", names)
    }
    assert specified == set(GLOBALS)
