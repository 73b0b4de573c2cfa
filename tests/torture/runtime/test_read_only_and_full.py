"""Stores that cannot be written: a read-only one still hits, a full one loses nothing, both give the value."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import runtime_steps as steps
from processes import run

import mlflowish as mf

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534


@pytest.fixture
def tmp_path():
    """A folder that others can be let into. Into pytest's own they cannot: another session of it, when it begins, shuts
    the folder in which those of all sessions are."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@pytest.fixture
def filled(tmp_path, root, log):
    """A store with one call of every kind, all let go of; half of it compacted."""
    with mf.Store(root) as store:
        for kind in steps.KINDS[:3]:
            steps.computed(kind, 1, tmp_path)
        store.compact()
        for kind in steps.KINDS[3:]:
            steps.computed(kind, 1, tmp_path)
    store.close()
    return root


# Hits first, then misses twice (they stay misses), then hits again, with every warning and where it came from.
VISITOR = """
import json, os, sys, tempfile, warnings
import runtime_steps as steps, mlflowish as mf
if sys.argv[3] != "-":
    # Whoever the child becomes may not be able to read the interpreter's own files: load what is needed before.
    with tempfile.TemporaryDirectory() as place, mf.Store(place + "/store"):
        for kind in steps.KINDS * 2:
            steps.computed(kind, 3, place)
    os.setgid(int(sys.argv[3])), os.setuid(int(sys.argv[3]))
out = {"hits": [], "misses": [], "reasons": [], "warned": []}
with mf.Store(sys.argv[1]), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for kind in steps.KINDS:
        call = steps.computed(kind, 1, sys.argv[2])
        out["hits"].append([call.hit, steps.shown(call.value)])
    out["warned"].append(len(caught))
    for kind in steps.KINDS[:5]:
        for _ in range(2):
            call = steps.computed(kind, 2, sys.argv[2])
            out["misses"].append([call.hit, steps.shown(call.value)])
            out["reasons"].append(call.uncached_reason)
    out["warned"].append(sum(w.category is mf.UncachedWarning for w in caught))
    for kind in steps.KINDS:
        out["hits"].append([steps.computed(kind, 1, sys.argv[2]).hit, None])
print(json.dumps(out))
"""


def check_visit(found, folder):
    """Hits hit, misses give the right value with a warning and a reason, each time."""
    assert found["hits"][:6] == [[True, steps.expected(kind, 1, folder)] for kind in steps.KINDS]
    assert [hit for hit, _ in found["hits"][6:]] == [True] * 6
    expected = [[False, steps.expected(kind, 2, folder)] for kind in steps.KINDS[:5] for _ in range(2)]
    assert found["misses"] == expected
    assert all("cannot be stored" in reason for reason in found["reasons"])
    assert found["warned"][0] == 0
    assert found["warned"][1] >= 10


def open_to_all(path):
    """Let other users reach the folder, as the folders of a shared disk are."""
    while path != path.parent and path != Path("/tmp"):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)
        path = path.parent


def test_a_store_of_another_user_hits_and_misses_return_their_value(filled, tmp_path):
    before = fingerprint_of(filled)
    if IS_ROOT:
        open_to_all(tmp_path)
        found = run(VISITOR, filled, tmp_path, NOBODY, env={"RUNTIME_LOG": "", "HOME": "/nonexistent"})
    else:
        chmod_tree(filled, writable=False)
        try:
            found = run(VISITOR, filled, tmp_path, "-", env={"RUNTIME_LOG": ""})
        finally:
            chmod_tree(filled, writable=True)
    check_visit(found, tmp_path)
    assert fingerprint_of(filled) == before


@pytest.mark.skipif(not IS_ROOT or sys.platform != "linux", reason="mounting a file system needs root on Linux")
def test_a_store_on_a_read_only_mount_hits_and_misses_return_their_value(filled, tmp_path):
    place = tmp_path / "mounted"
    place.mkdir()
    mounted(["--bind", filled, place])
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", filled, place], check=True)
        found = run(VISITOR, place, tmp_path, "-", env={"RUNTIME_LOG": ""})
    finally:
        unmount(place)
    check_visit(found, tmp_path)


def test_a_place_where_no_store_can_be_made_returns_values_with_a_warning(tmp_path, log):
    (tmp_path / "file").write_text("not a folder")
    with mf.Store(tmp_path / "file" / "store"):
        for _ in range(2):
            with pytest.warns(mf.UncachedWarning, match="cannot be stored"):
                assert steps.inline(1)["value"] == 101
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(not IS_ROOT or sys.platform != "linux", reason="mounting a file system needs root on Linux")
@pytest.mark.parametrize("kind", ["inline", "array", "items", "tree"])
def test_a_full_disk_costs_the_entry_and_nothing_else(tmp_path, log, kind):
    place = tmp_path / "small"
    place.mkdir()
    mounted(["-t", "tmpfs", "-o", "size=2m", "tmpfs", place])
    try:
        fill_and_check(place, tmp_path, kind)
    finally:
        unmount(place)


def fill_and_check(place, tmp_path, kind):
    with mf.Store(place / "store") as store:
        early = [steps.computed(other, 1, tmp_path) for other in ("inline", "array", "pickled")]
        ballast = place / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(b"b" * 4096):
                    pass
            except OSError:
                pass
        x, late = first_without_room(kind, tmp_path)
        assert steps.shown(late.value) == steps.expected(kind, x, tmp_path)
        assert not late.hit
        assert "space" in late.uncached_reason
        for other, call in zip(("inline", "array", "pickled"), early, strict=True):
            again = steps.computed(other, 1, tmp_path)
            assert again.hit
            assert steps.shown(again.value) == steps.shown(call.value)
        ballast.unlink()
        calls = [steps.computed(kind, x, tmp_path) for _ in range(2)]
        assert [call.hit for call in calls] == [False, True]
    store.close()
    with mf.Store(place / "store") as reopened:
        assert steps.computed(kind, x, tmp_path).hit
        assert all(steps.computed(other, 1, tmp_path).hit for other in ("inline", "array", "pickled"))
        reopened.compact()
        assert all(steps.computed(other, 1, tmp_path).hit for other in ("inline", "array", "pickled"))
    reopened.close()


def first_without_room(kind, folder):
    """The first call whose result could not be stored: a small one may still fit into the last page of a journal."""
    for x in range(50, 150):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call = steps.computed(kind, x, folder)
        if call.uncached_reason:
            assert any(warning.category is mf.UncachedWarning for warning in caught)
            return x, call
    raise AssertionError("a hundred results were stored on a full disk")


def test_files_that_may_not_grow_cost_the_entry_and_nothing_else(root, tmp_path):
    """A limit on file sizes strikes in the middle of a write, as a full disk does, and needs no rights."""
    code = """
import json, resource, signal, sys, warnings
import numpy, runtime_steps as steps, mlflowish as mf
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
warnings.simplefilter("ignore", mf.UncachedWarning)
out = {}
with mf.Store(sys.argv[1]) as store:
    early = [steps.inline.call(x) for x in range(20)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1, 10, 1_000, 5_000, 40_000, 79_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        wrong = []
        for x in range(1000 + limit, 1000 + limit + 30):
            if steps.inline.call(x).value != steps.inline.fn(x):
                wrong.append(x)
        if steps.shown(steps.array.call(limit).value) != steps.shown(steps.array.fn(limit)):
            wrong.append("array")
        wrong += [x for x in range(20) if not steps.inline.call(x).hit]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        out[limit] = wrong
    out["later"] = [steps.inline.call(5_000_000).hit, steps.inline.call(5_000_000).hit]
print(json.dumps(out))
"""
    found = run(code, root, env={"RUNTIME_LOG": ""})
    assert found.pop("later") == [False, True]
    assert all(wrong == [] for wrong in found.values()), found
    with mf.Store(root) as store:
        assert all(steps.inline.call(x).hit for x in [*range(20), 5_000_000])
        store.compact()
        assert all(steps.inline.call(x).hit for x in [*range(20), 5_000_000])
    store.close()


def mounted(arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")


def unmount(place):
    subprocess.run(["umount", "-l", str(place)], check=True)


def chmod_tree(folder, *, writable):
    for path in [folder, *folder.rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if writable else mode & ~0o222)


def fingerprint_of(folder):
    """Names and contents of everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
