"""What a folder, a pattern and a list give, in which order, and how a sequence of units behaves."""

from __future__ import annotations

import glob
import os
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlflowish as mf
from mlflowish.units import patterns

TREE = ("a.csv", "b.csv", "b.txt", "s1-x.csv", ".hidden.csv", "d/a.csv", "d/e/b.csv", "d/.h/c.csv", "[1].csv")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("data/*.csv", ["data/[1].csv", "data/a.csv", "data/b.csv", "data/s1-x.csv"]),
        ("data/?.csv", ["data/a.csv", "data/b.csv"]),
        ("data/[a]*", ["data/a.csv"]),
        ("data/[!a-r].csv", []),
        ("data/[[]1].csv", ["data/[1].csv"]),
        ("data/**/b.csv", ["data/b.csv", "data/d/e/b.csv"]),
        ("data/d/**", ["data/d/a.csv", "data/d/e/b.csv"]),
        ("data/*/*.csv", ["data/d/a.csv"]),
        ("data/.*.csv", ["data/.hidden.csv"]),
        ("data/d/.h/*", ["data/d/.h/c.csv"]),
        ("data/d/.*/*", ["data/d/.h/c.csv"]),
        ("data/d", ["data/d/a.csv", "data/d/e/b.csv"]),
        ("data/d/", ["data/d/a.csv", "data/d/e/b.csv"]),
        ("data/a.csv", ["data/a.csv"]),
        ("data/[1].csv", ["data/[1].csv"]),
        (["data/b.*", "data/a.csv", "data/a*"], ["data/a.csv", "data/b.csv", "data/b.txt"]),
        ([], []),
    ],
    ids=str,
)
def test_a_pattern_a_folder_and_a_list_give_their_files_sorted(write, where, expected):
    write(*(f"data/{name}" for name in TREE))
    assert mf.files(where).names == expected


def test_paths_are_as_the_pattern_has_them(write, tmp_path):
    write("a.csv", "x/a.csv")
    assert mf.files("*.csv").names == ["a.csv"]
    assert mf.files("./*.csv").names == ["./a.csv"]
    assert mf.files(Path("x")).names == ["x/a.csv"]
    assert mf.files(os.path.abspath("*.csv")).names == [os.path.abspath("a.csv")]
    assert mf.files(f"file://{os.path.abspath('a.csv')}").names == [os.path.abspath("a.csv")]


def test_named_parts_of_a_pattern_are_keys(write):
    write("data/s1/2024-01.csv", "data/s2/2024-02.csv", "data/s2/s2.csv")
    units = mf.files("data/{subject}/{year}-{month}.csv")
    assert [dict(unit.keys) for unit in units] == [
        {"subject": "s1", "year": "2024", "month": "01"},
        {"subject": "s2", "year": "2024", "month": "02"},
    ]
    assert mf.files("data/{subject}/{subject}.csv").names == ["data/s2/s2.csv"]
    with pytest.raises(mf.InvalidInputError, match=r"\{a b\}.*names nothing"):
        len(mf.files("{a b}.csv"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=st.text("ab*?.", min_size=1, max_size=6), deep=st.sampled_from(["", "**/", "*/"]))
def test_a_pattern_means_what_it_means_in_a_shell(write, pattern, deep):
    write("t/a", "t/b", "t/ab", "t/a.b", "t/.a", "t/bb/a", "t/bb/ab", "t/bb/.c/a", "t/bb/c/ab")
    text = f"t/{deep}{pattern}"
    if not patterns.has_magic(text) or re.search(r"\*\*\Z", text) or set(pattern) == {"."}:
        return
    expected = sorted(path for path in glob.glob(text, recursive=True) if os.path.isfile(path))
    assert mf.files(text).names == expected


def test_links_to_files_are_followed_and_those_to_folders_are_not(write):
    write("data/a.csv")
    os.symlink("a.csv", "data/b.csv")
    os.symlink(".", "data/again")
    os.symlink("gone", "data/c.csv")
    assert mf.files("data/**/*.csv").names == ["data/a.csv", "data/b.csv", "data/c.csv"]


def test_what_is_not_there_is_a_clear_error_and_no_match_is_none():
    with pytest.raises(mf.NotFoundError, match="no folder at dta"):
        len(mf.files("dta/*.csv"))
    with pytest.raises(mf.NotFoundError, match="no file or folder at dta"):
        len(mf.files("dta"))
    assert len(mf.files("*.csv")) == 0
    for wrong in ((), (3,), ("",), ([b"x"],)):
        with pytest.raises(mf.InvalidInputError):
            len(mf.files(*wrong))


def test_units_are_a_sequence(write):
    write("a.csv", "b.csv", "c.csv")
    units = mf.files("*.csv")
    assert "not listed yet" in repr(units)
    assert (len(units), units[-1].name, units["b.csv"].value.path) == (3, "c.csv", "b.csv")
    assert [unit.name for unit in units[:2]] == units[:2].names == ["a.csv", "b.csv"]
    assert units.filter("[bc]*").names == ["b.csv", "c.csv"]
    assert units.filter(lambda unit: unit.name < "b").names == ["a.csv"]
    assert pickle.loads(pickle.dumps(units)).names == units.names
    assert ("b.csv" in units, "d.csv" in units, units[1] in units) == (True, False, True)
    with pytest.raises(mf.NotFoundError, match=r"no unit 'd\.csv'"):
        units["d.csv"]
    with pytest.raises(IndexError):
        units[3]
    with pytest.raises(mf.InvalidInputError):
        units.filter(3)


def test_a_sequence_stays_as_it_was_listed_until_it_is_listed_anew(write):
    write("a.csv")
    units = mf.files("*.csv")
    assert len(units) == 1
    write("b.csv")
    assert units.names == ["a.csv"]
    assert units.refresh().names == ["a.csv", "b.csv"]


def test_a_step_can_have_all_units_as_one_argument(write):
    write("a.csv", "b.csv")

    @mf.step
    def count(units):
        return len(units)

    units = mf.files("*.csv")
    assert (count(units), count.call(units).hit) == (2, True)
    write("c.csv")
    assert count(units) == 3


def test_a_preview_says_what_there_is_and_what_would_run(write):
    write("s1.csv", "s2.csv", "s3.csv")

    @mf.step
    def size(file, more=0):
        return len(file.read_bytes()) + more

    units = mf.files("{subject}.csv")
    assert list(units.preview()) == [{"name": f"s{n}.csv", "subject": f"s{n}", "size_bytes": 6} for n in (1, 2, 3)]
    size(*units[1], more=1)
    Path("s3.csv").unlink()
    os.symlink("gone", "s3.csv")
    assert units.preview(size, more=1).column("state") == ["run", "hit", "missing"]
    assert "s2.csv" in units._repr_html_()
