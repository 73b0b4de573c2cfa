"""Which distribution an import name belongs to, whatever installers have left behind."""

from __future__ import annotations

import pytest

from mlflowish.hashing.packages import distribution_of


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
