"""Which display a run has, and what it looks up in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.pipelines.displays.choosing import progress_watcher
from mlflowish.store.durations import past_durations


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mf.Store]:
    for name in ("MLFLOWISH_PROGRESS", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with mf.Store(tmp_path / "store") as store:
        yield store


@mf.step
def slept(pause: float, version: int) -> float:
    time.sleep(pause)
    return pause


@mf.step
def never() -> None: ...


def test_how_long_steps_took_is_read_from_what_this_process_knows(store: mf.Store) -> None:
    for version in range(3):
        slept(0.02, version)
    name = slept.name
    found = past_durations(store, [name, never.name], within_s=600.0)
    assert list(found) == [name]
    assert len(found[name]) == 3
    assert all(0.02 <= each < 60 for each in found[name])
    store.compact()
    with mf.Store(store.url) as fresh:
        fresh.entries(bytes(16))  # a look-up: now it knows what is there
        assert sorted(past_durations(fresh, [name], within_s=600.0)[name]) == sorted(found[name])


def test_looking_back_ends_in_time(store: mf.Store) -> None:
    slept(0.0, 1)
    assert past_durations(store, [slept.name], within_s=0.0) == {}


@pytest.mark.parametrize("wanted", [False, "off", "OFF"])
def test_off_is_off(store: mf.Store, wanted: bool | str) -> None:
    assert progress_watcher(store, wanted) is None


def test_an_argument_that_cannot_be_meant_is_refused(store: mf.Store) -> None:
    with pytest.raises(mf.InvalidInputError, match="progress is one of terminal"):
        progress_watcher(store, "terminl")


def test_a_slip_in_the_settings_stops_nothing(
    store: mf.Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOWISH_PROGRESS", "terminl")
    assert progress_watcher(store) is not None
    assert "MLFLOWISH_PROGRESS is one of terminal" in caplog.text


@pytest.mark.parametrize(("line", "is_off"), [("false", True), ('"off"', True), ("true", False), ('"lines"', False)])
def test_the_project_may_say_so(store: mf.Store, tmp_path: Path, line: str, is_off: bool) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.mlflowish]\nprogress = {line}\n")
    assert (progress_watcher(store) is None) is is_off


def test_inside_a_step_there_is_none(store: mf.Store) -> None:
    @mf.step(cache=False)
    def asks() -> bool:
        return progress_watcher(store, True) is None

    assert asks() is True
