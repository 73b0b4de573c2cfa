"""Looking after a place where nothing was ever stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf


@pytest.mark.parametrize("act", [mf.fsck, mf.du, mf.gc, mf.retain], ids=lambda act: act.__name__)
def test_a_path_or_url_that_has_no_store_is_not_found(act: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("not of a store")
    for place in (tmp_path / "typo", str(tmp_path / "notes"), "memory://nothing-was-stored-here"):
        with pytest.raises(mf.NotFoundError, match="There is no store at"):
            act(place)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize("act", [mf.du, mf.gc, mf.retain], ids=lambda act: act.__name__)
def test_the_active_store_may_be_new(act: Callable[..., Any], tmp_path: Path) -> None:
    with mf.Store(tmp_path / "new"):
        act()
    assert not (tmp_path / "new").exists()


def test_nothing_is_not_sound(tmp_path: Path) -> None:
    with mf.Store(tmp_path / "new"), pytest.raises(mf.NotFoundError, match="nothing was ever stored there"):
        mf.fsck()


@pytest.mark.parametrize("left", ["objects/00/x", "journals/calls/x.log", "catalog/HINT", "spool/x.log"])
def test_remains_of_a_store_are_looked_at(left: str, tmp_path: Path) -> None:
    (tmp_path / left).parent.mkdir(parents=True)
    (tmp_path / left).write_bytes(b"x")
    assert not mf.fsck(tmp_path).is_sound
