"""What maps over files cost: listing beside glob and fsspec; three new files beside peers that cache by content."""

from __future__ import annotations

import glob
import itertools
import os
import pathlib
import time

import pytest
import workloads

import mlflowish as mf


@pytest.fixture
def folder(tmp_path, full):
    """A folder of files that were not changed just now."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(10_000 if full else 100):
        path = folder / f"f{number:05}.txt"
        path.write_text(f"content of {number}\n" * 20)
        os.utime(path, (1e9, 1e9))
    time.sleep(2.1 if full else 0)  # the time of an inode cannot be set: contents are remembered after two seconds
    return folder


def test_list(folder, figures, full):
    import fsspec

    pattern = f"{folder}/*.txt"
    runners = {
        "mlflowish": lambda: mf.files(pattern).names,
        "glob": lambda: sorted(glob.glob(pattern)),
        "fsspec": lambda: sorted(fsspec.filesystem("file").glob(pattern)),
    }
    assert runners["mlflowish"]() == runners["glob"]() == runners["fsspec"]()
    figures.race(f"list {len(os.listdir(folder)):,} files", runners, rounds=9 if full else 1)


def test_three_new_files_among_many(folder, tmp_path, figures, full):
    """The peers get the content as their argument: they know a file by its path only, which would miss a change."""
    numbers = itertools.count()
    step = mf.step(store=mf.Store(tmp_path / "store"))(length)
    caches = {peer: workloads.cached_by(peer, tmp_path / peer, workloads.size_of) for peer in ("joblib", "diskcache")}

    def add_three():
        for _ in range(3):
            (folder / f"new{next(numbers):05}.txt").write_text(f"new {next(numbers)}")

    def ours():
        add_three()
        return step.map(mf.files(folder))

    def theirs(peer):
        add_three()
        return [caches[peer](path.read_bytes()) for path in sorted(folder.iterdir())]

    runners = {"mlflowish": ours, **{peer: lambda peer=peer: theirs(peer) for peer in caches}}
    assert len({len(runner()) for runner in runners.values()}) == len(runners)
    count = 10_000 if full else 100
    figures.race(f"map over {count:,} files, three of them new", runners, rounds=5 if full else 1)


def length(file):
    return len(pathlib.Path(file).read_bytes())
