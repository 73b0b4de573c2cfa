"""Which distribution an import name belongs to, whatever installers have left behind."""

from __future__ import annotations

import importlib.metadata

import pytest

from mlflowish.hashing.packages import _claiming, distribution_of


@pytest.mark.parametrize("left", ["0.9", "9.0"])
def test_what_a_broken_off_removal_leaves_is_no_distribution(tmp_path, monkeypatch, left):
    name = f"once_removed_{left[0]}"
    (tmp_path / f"{name}.py").write_text("")
    (tmp_path / f"{name}-{left}.dist-info").mkdir()
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{name}.py,,\n{info.name}/METADATA,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert distribution_of(name) == (name.replace("_", "-"), "1.0")


def test_a_folder_without_metadata_alone_is_none(tmp_path, monkeypatch):
    (tmp_path / "never_there.py").write_text("")
    (tmp_path / "never_there-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert distribution_of("never_there") is None


def test_the_claims_of_all_that_is_installed_are_those_that_python_reads():
    told, found = importlib.metadata.packages_distributions(), _claiming(())
    assert {top: found[top][0].metadata["Name"] for top in told} == {top: names[0] for top, names in told.items()}


def test_what_nothing_claims_is_looked_for_once_until_something_is_installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "alone_one.py").touch()
    (tmp_path / "alone_two.py").touch()
    _claiming.cache_clear()
    assert (distribution_of("alone_one"), distribution_of("alone_two")) == (None, None)
    assert (_claiming.cache_info().misses, _claiming.cache_info().hits) == (1, 1)
    (tmp_path / "other.dist-info").mkdir()
    (tmp_path / "other.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 3.0\n")
    (tmp_path / "other.dist-info" / "RECORD").write_text("alone_three.py,,\nalone_four/part.py,,\n../x.txt,,\n")
    assert distribution_of("alone_three") == distribution_of("alone_four") == ("other", "3.0")
