"""Damage to any file of a store: the right value, read or computed again, or a clear error; never a wrong value."""

from __future__ import annotations

import contextlib
import random
import shutil
import warnings
from pathlib import Path

import pytest
import runtime_steps as steps

import mlflowish as mf

SAMPLES = 6
REFUSALS = (mf.IntegrityError, mf.FormatVersionError)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store with every kind of result, half of it in segments and half in journals, and what each call gives."""
    folder = tmp_path_factory.mktemp("damage")
    with mf.Store(folder / "store") as store:
        for kind in steps.KINDS:
            steps.computed(kind, 1, folder)
        store.compact()
        for kind in steps.KINDS:
            steps.computed(kind, 2, folder)
    store.close()
    return folder, {(kind, x): steps.expected(kind, x, folder) for kind in steps.KINDS for x in (1, 2)}


def files_of(root):
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != ".gitignore")


def every_call_is_right(world, root, *, may_refuse=False):
    """Each call, and each again: the value as if there were no cache, with no more than warnings."""
    folder, expected = world
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mf.UncachedWarning)
        with mf.Store(root) as store:
            for _ in range(2):
                for (kind, x), value in expected.items():
                    with contextlib.suppress(*REFUSALS if may_refuse else ()):
                        assert steps.shown(steps.computed(kind, x, folder).value) == value, f"{kind}({x})"
        store.close()


def damaged_copy(world, tmp_path, name, damage):
    """The store, copied, with one file damaged in a way of choice."""
    root = tmp_path / "copy"
    if root.exists():
        shutil.rmtree(root)
    shutil.copytree(world[0] / "store", root)
    target = root / name
    damage(target)
    return root


def flip(place, mask):
    """Turn bits of one byte."""

    def damage(path):
        data = bytearray(path.read_bytes())
        data[place] ^= mask
        path.chmod(0o644)
        path.write_bytes(data)

    return damage


def pytest_generate_tests(metafunc):
    if "room" in metafunc.fixturenames:
        metafunc.parametrize("room", ["FORMAT", "journals", "segments", "objects"])


def in_room(root, room):
    return [path for path in files_of(root) if path.relative_to(root).parts[0] == room]


def test_every_room_of_a_store_is_damaged_below(world):
    root = world[0] / "store"
    rooms = {path.relative_to(root).parts[0] for path in files_of(root)}
    assert rooms == {"FORMAT", "journals", "segments", "objects"}
    kinds = {path.relative_to(root).parts[1] for path in files_of(root) if path.parent != root}
    assert {"calls", "fingerprints"} <= kinds


def test_a_flipped_byte_never_changes_a_value(world, tmp_path, room):
    root = world[0] / "store"
    generator = random.Random(room)
    for path in in_room(root, room):
        size = path.stat().st_size
        places = {0, size - 1, *(generator.randrange(size) for _ in range(SAMPLES))}
        for place in sorted(places):
            damaged = damaged_copy(world, tmp_path, path.relative_to(root), flip(place, 1 << generator.randrange(8)))
            every_call_is_right(world, damaged, may_refuse=room == "FORMAT")


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_every_flipped_byte_of_a_store_is_harmless(world, tmp_path, room):
    root = world[0] / "store"
    for path in in_room(root, room):
        size = path.stat().st_size
        for place in range(0, size, max(1, size // 2_000)):
            for mask in (0x01, 0xFF) if room == "FORMAT" else (1 << place % 8,):
                damaged = damaged_copy(world, tmp_path, path.relative_to(root), flip(place, mask))
                every_call_is_right(world, damaged, may_refuse=room == "FORMAT")


@pytest.mark.parametrize("how", ["emptied", "cut in half", "cut by a byte", "longer", "zeroed", "gone", "swapped"])
def test_a_mangled_file_never_changes_a_value(world, tmp_path, room, how):
    root = world[0] / "store"
    paths = in_room(root, room)
    others = {path: paths[number - 1] for number, path in enumerate(paths)}
    for path in paths:

        def damage(target, path=path):
            data = path.read_bytes()
            target.chmod(0o644)
            if how == "gone":
                target.unlink()
                return
            target.write_bytes(
                {
                    "emptied": b"",
                    "cut in half": data[: len(data) // 2],
                    "cut by a byte": data[:-1],
                    "longer": data + b"\0" * 64,
                    "zeroed": bytes(len(data)),
                    "swapped": others[path].read_bytes(),
                }[how]
            )

        damaged = damaged_copy(world, tmp_path, path.relative_to(root), damage)
        every_call_is_right(world, damaged, may_refuse=room == "FORMAT")


def test_a_damaged_object_is_computed_again_and_then_hits(world, tmp_path):
    folder, expected = world
    root = damaged_copy(world, tmp_path, "FORMAT", lambda _: None)
    for path in in_room(root, "objects"):
        flip(path.stat().st_size // 2, 0x10)(path)
    with mf.Store(root) as store:
        with pytest.warns(mf.UncachedWarning, match="cannot be read and is computed again"):
            first = steps.computed("array", 1, folder)
        second = steps.computed("array", 1, folder)
    store.close()
    assert (first.hit, second.hit) == (False, True)
    assert steps.shown(second.value) == expected["array", 1]


def test_damage_while_the_process_lives_is_noticed(world, tmp_path):
    folder, expected = world
    root = damaged_copy(world, tmp_path, "FORMAT", lambda _: None)
    with mf.Store(root) as store:
        assert steps.computed("array", 1, folder).hit
        for path in in_room(root, "objects"):
            flip(Path(path).stat().st_size - 3, 0x40)(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mf.UncachedWarning)
            again = steps.computed("array", 1, folder)
        assert steps.shown(again.value) == expected["array", 1]
    store.close()
