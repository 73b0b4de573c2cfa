"""Stores that others can write to, with `allow_pickle=False`: nothing is executed, nothing is written elsewhere."""

from __future__ import annotations

import os
import pickle
import time
import warnings

import msgpack
import pytest
import runtime_steps as steps

import mlflowish as mf
from mlflowish.codecs import encode
from mlflowish.codecs.streams import dump, dump_tree
from mlflowish.storage import ObjectRef
from mlflowish.store import Entry, Meta


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def marker(tmp_path):
    """What must never come to be."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


@pytest.fixture
def store(root):
    with mf.Store(root, allow_pickle=False) as opened:
        yield opened
    opened.close()


def plant(store, codec, head, objects=(), *, executes_code=False, created_s=None, **fields):
    """An entry for `steps.inline(1)` that somebody made by hand."""
    identity = steps.inline.identifier.identify((1,), {})
    meta = Meta(step=steps.inline.name, fingerprint=identity.fingerprint.digest.hex())
    created_s = time.time() if created_s is None else created_s
    entry = Entry(
        identity.key, os.urandom(16), created_s, codec, head, tuple(objects), executes_code, (), meta.packed()
    )
    store.add_entry(entry, step=steps.inline.name)


def is_computed_again():
    """The planted entry is of no use, and of no harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mf.UncachedWarning)
        call = steps.inline.call(1)
    return (call.value, call.hit) == (steps.inline.fn(1), False)


def bombs(path):
    """(codec, head) of every place in which a pickle could hide."""
    bomb = pickle.dumps(Bomb(path))
    plain_shell = dump((None, (), bomb)).joined()
    return {
        "pickle": ("pickle", plain_shell),
        "pickle as plain": ("plain", bomb),
        "pickle as tree": ("tree", bomb),
        "pickle as array": ("numpy", bomb),
        "pickle as text": ("bytes", bomb),
        "pickle as items": ("items", bomb),
        "pickle as a file": ("file", bomb),
        "pickle for another codec": ("cloudpickle", bomb),
        "protocol 0": ("plain", f"cos\nmkdir\n(V{path}\ntR.".encode()),
        "by a harmless constructor": (
            "plain",
            f"cbuiltins\neval\n(V__import__('os').mkdir({str(path)!r})\ntR.".encode(),
        ),
        "by attributes": ("plain", b"cos.path\nos.mkdir\n(V" + str(path).encode() + b"\ntR."),
    }


@pytest.mark.parametrize("place", sorted(bombs("")))
@pytest.mark.parametrize("claims", [True, False], ids=["says so", "says it executes nothing"])
def test_no_stored_code_is_executed(store, marker, place, claims):
    codec, head = bombs(marker)[place]
    plant(store, codec, head, executes_code=claims)
    assert is_computed_again()


@pytest.mark.parametrize("place", sorted(bombs("")))
def test_no_stored_code_is_executed_from_objects(store, marker, place):
    codec, data = bombs(marker)[place]
    store.create()
    ref = store.objects.put(lambda: iter([data]), len(data))
    plant(store, codec, b"", [ref])
    assert is_computed_again()


def test_a_pickle_inside_a_tree_is_not_executed(store, marker):
    bomb = dump((None, (), pickle.dumps(Bomb(marker)))).joined()
    forged = dump_tree([b"leaf"], lambda member: (0, "pickle", bomb, 0, 0) if member == b"leaf" else None).joined()
    plant(store, "tree", forged)
    assert is_computed_again()


def test_a_pickle_that_the_store_holds_is_refused_with_a_reason_and_computed(root, marker):
    with mf.Store(root) as trusted:
        steps.pickled(1)
    trusted.close()
    with mf.Store(root, allow_pickle=False) as store, pytest.warns(mf.UncachedWarning, match="allow_pickle"):
        call = steps.pickled.call(1)
    store.close()
    assert (call.hit, steps.shown(call.value)) == (False, steps.shown(steps.pickled.fn(1)))


NAMES = (
    *("../../outside", "..", ".", "", "/etc/passwd", "a" * 64 + "/../../x", "\0", "C:\\x", "objects/../../x"),
    *("g" * 64, "A" * 64, "0" * 63, "0" * 65, "0" * 5_000, "é" * 64),
)


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("codec", ["numpy", "plain", "bytes", "file"])
def test_objects_of_forged_names_are_not_followed(store, root, name, codec):
    outside = root.parent / "outside"
    outside.write_bytes(b"secret")
    head = msgpack.packb(["planted.bin", b"d" * 16]) if codec == "file" else encode(b"x" * 70_000).head
    try:
        plant(store, codec, head, [ObjectRef(name, 6)])
    except mf.MlflowishError:
        return  # refused at the door
    assert is_computed_again()
    assert outside.read_bytes() == b"secret"


@pytest.mark.parametrize("size", [-1, 0, 2**62, 2**64 - 1])
def test_objects_of_forged_sizes_are_not_believed(store, size):
    encoded = encode(b"x" * 70_000)
    store.create()
    real = store.objects.put(encoded.parts[0].chunks, encoded.parts[0].size_bytes)
    try:
        plant(store, encoded.codec, encoded.head, [ObjectRef(real.name, size)])
    except mf.InvalidInputError:
        return  # refused at the door
    assert is_computed_again()


def file_head(path):
    return msgpack.packb([str(path), b"d" * 16], unicode_errors="surrogateescape")


def dir_head(path, *names):
    return msgpack.packb([str(path), [(name, b"d" * 16) for name in names]], unicode_errors="surrogateescape")


@pytest.mark.parametrize(
    "path", ["{outside}", "../outside.txt", "sub/../../outside.txt", "file://{outside}", "link/outside.txt"]
)
def test_files_outside_the_working_directory_are_not_written(store, tmp_path, monkeypatch, path):
    here = tmp_path / "work"
    here.mkdir()
    (here / "link").symlink_to(tmp_path)
    monkeypatch.chdir(here)
    store.create()
    ref = store.objects.put(lambda: iter([b"planted"]), 7)
    plant(store, "file", file_head(path.format(outside=tmp_path / "outside.txt")), [ref])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mf.UncachedWarning)
        steps.inline(1)
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("{outside}", ["a.txt"]),
        ("..", ["outside/a.txt"]),
        (".", ["../outside/a.txt"]),
        (".", ["{outside}/a.txt"]),
        ("file://{outside}", ["a.txt"]),
        ("{outside}://x", ["a.txt"]),
        ("link", ["outside/a.txt"]),
        (".", ["link/outside/a.txt"]),
        (".", ["x\0y"]),
        (".", [""]),
    ],
)
def test_folders_outside_the_working_directory_are_not_written(store, tmp_path, monkeypatch, path, names):
    here = tmp_path / "work"
    here.mkdir()
    (here / "link").symlink_to(tmp_path)
    monkeypatch.chdir(here)
    before = everything_but(tmp_path, root=store)
    store.create()
    ref = store.objects.put(lambda: iter([b"planted"]), 7)
    outside = tmp_path / "outside"
    plant(
        store,
        "dir",
        dir_head(path.format(outside=outside), *(n.format(outside=outside) for n in names)),
        [ref] * len(names),
    )
    assert is_computed_again()
    assert everything_but(tmp_path, root=store) == before


def everything_but(folder, root):
    """Every path below a folder that is not of the store or of the working directory."""
    skipped = (str(folder / "store"), str(folder / "work"), str(folder / "computed.log"))
    return sorted(str(path) for path in folder.rglob("*") if not str(path).startswith(skipped))


SHAPES = {
    "file without an object": ("file", file_head("planted.bin"), 0),
    "file with a number for a path": ("file", msgpack.packb([7, b"d"]), 1),
    "file with a zero byte in its path": ("file", file_head("a\0b"), 1),
    "file that is no array": ("file", msgpack.packb({"a": 1}), 1),
    "folder with fewer objects than files": ("dir", dir_head("planted", "a", "b"), 1),
    "folder whose files are numbers": ("dir", msgpack.packb(["planted", [1, 2]]), 2),
    "folder whose files are a number": ("dir", msgpack.packb(["planted", 5]), 0),
    "folder whose names are numbers": ("dir", msgpack.packb(["planted", [(1, b"d")]]), 1),
    "array without data": ("numpy", b"", 0),
    "array of objects": (
        "numpy",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128),
        0,
    ),
    "array larger than the world": (
        "numpy",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }".ljust(127)
        + b"\n",
        0,
    ),
    "codec without a name": ("", b"x", 0),
    "codec of another type": (7, b"x", 0),
    "head of another type": ("plain", "text", 0),
    "plain without an end": ("plain", b"\x80\x05]", 0),
    "plain without a beginning": ("plain", b".", 0),
    "plain of endless depth": ("plain", b"\x80\x05" + b"(" * 200_000, 0),
    "plain with a huge promise": ("plain", b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7f", 0),
    "items of nothing": ("items", b"", 0),
}


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_entries_that_make_no_sense_are_computed_again(store, tmp_path, monkeypatch, shape):
    monkeypatch.chdir(tmp_path)
    codec, head, count = SHAPES[shape]
    store.create()
    ref = store.objects.put(lambda: iter([b"planted"]), 7)
    plant(store, codec, head, [ref] * count)
    assert is_computed_again()


RECORDS = {
    "not msgpack": b"\xc1\xc1\xc1",
    "an empty array": msgpack.packb([]),
    "a map": msgpack.packb({"a": 1}),
    "numbers": msgpack.packb([1, 2, 3, 4, 5, 6, 7, 8]),
    "texts": msgpack.packb(["a"] * 8),
    "objects that are numbers": msgpack.packb([b"i" * 16, 1.0, "plain", b"\x80\x05", [1, 2], False, [], b""]),
    "observed that is a number": msgpack.packb([b"i" * 16, 1.0, "plain", b"\x80\x05", [], False, 7, b""]),
    "observed that is nonsense": msgpack.packb(
        [b"i" * 16, 1.0, "plain", b"\x80\x05", [], False, [[1], ["os", 2, 3]], b""]
    ),
    "a date that is a text": msgpack.packb([b"i" * 16, "x", "plain", b"\x80\x05", [], False, [], b""]),
    "an id that is a list": msgpack.packb([[1], 1.0, "plain", b"\x80\x05", [], False, [], b""]),
    "nothing": b"",
}


@pytest.mark.parametrize("record", sorted(RECORDS))
@pytest.mark.parametrize("kind", [1, 2, 3, 200])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a good one"])
def test_records_that_make_no_sense_are_passed_over(store, record, kind, beside):
    identity = steps.inline.identifier.identify((1,), {})
    if beside:
        steps.inline(1)
    journals = store.journals("calls")
    store.create()
    journals.append(identity.key, bytes([kind]) + b"t" * 8 + RECORDS[record])
    journals.append(identity.key, b"")
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mf.UncachedWarning)
            assert steps.inline(1) == steps.inline.fn(1)
