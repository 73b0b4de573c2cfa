"""What a newcomer gets wrong is told in words of ours, with what to write instead."""

from __future__ import annotations

import asyncio

import pytest

import mlflowish as mf


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


@mf.step
def add(a, b=0):
    return a + b


@mf.step
async def add_later(a, b=0):
    return a + b


@pytest.mark.parametrize("option", ["ignore", "env"])
def test_names_that_are_no_names_are_refused(option):
    with pytest.raises(mf.InvalidInputError, match=rf"step\({option}=...\) takes a name or a list of names, found 3"):
        mf.step(**{option: 3})


@pytest.mark.parametrize("make", [mf.Store, mf.use, lambda found: mf.step(store=found)])
def test_a_store_that_is_none_is_refused_at_once(make):
    with pytest.raises(mf.InvalidInputError, match="URL, found 3"):
        make(3)


@pytest.mark.parametrize(
    ("iterables", "common", "said"),
    [
        ((), {"a": [1, 2]}, "at least one iterable"),
        ((3,), {}, "found int"),
        (([1, 2], [1]), {}, "not equally long"),
    ],
)
def test_a_map_over_what_cannot_be_mapped_over_says_how_to_write_it(iterables, common, said):
    with pytest.raises(mf.InvalidInputError, match=said):
        add.map(*iterables, **common)
    with pytest.raises(mf.InvalidInputError, match=said):
        asyncio.run(_awaited(iterables, common))


async def _awaited(iterables, common):
    return await add_later.map(*iterables, **common)


def test_a_column_that_is_not_there_is_answered_with_those_that_are():
    add(1)
    with pytest.raises(mf.InvalidInputError, match=r"there are .*duration_s"):
        add.history().column("duration")


def test_explain_tells_the_version_and_keeps_silent_about_the_environment(monkeypatch):
    def made(version):
        @mf.step(name="f", version=version, env="MLFLOWISH_TEST_SETTING")
        def f(x):
            return x

        return f

    monkeypatch.setenv("MLFLOWISH_TEST_SETTING", "very secret")
    made(1)(1)
    assert "- version changed: another -> 2" in str(made(2).explain(1))
    monkeypatch.setenv("MLFLOWISH_TEST_SETTING", "other secret")
    told = str(made(1).explain(1))
    assert "- env MLFLOWISH_TEST_SETTING changed: another -> set" in told
    assert "secret" not in told


@pytest.mark.parametrize("kind", [mf.File, mf.Dir])
def test_a_file_that_is_no_path_is_refused(kind):
    with pytest.raises(mf.InvalidInputError, match="found None"):
        kind(None)
