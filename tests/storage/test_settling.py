"""When the bytes of objects are on the disk, and who believes a file before that."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from mlflowish.catalog import Catalog
from mlflowish.errors import IntegrityError, NotFoundError, StorageError
from mlflowish.storage import LocalStorage, ObjectCache, ObjectRef, ObjectStore, settling
from mlflowish.storage.root import Fsync
from mlflowish.storage.seals import is_marked, is_sealed
from mlflowish.storage.settling import wait_until_settled

DATA = bytes(range(256)) * 8000  # more than is hashed before it is written


def objects_in(folder: Path, fsync: Fsync = "objects") -> ObjectStore:
    return ObjectStore(LocalStorage(folder, fsync=fsync))


def file_of(objects: ObjectStore, ref: ObjectRef) -> Path:
    return Path(objects.storage.local_path(ref.path) or "")


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, which knows nothing of what this one has written."""
    start = f"import os, signal\nfrom mlflowish.storage import *\nobjects = ObjectStore(LocalStorage({str(folder)!r}))"
    command = [sys.executable, "-c", start + "\n" + textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def name_of(data: bytes) -> str:
    return blake3(data).hexdigest()


def make_folders(folder: Path) -> None:
    """So that nothing but the object itself is left to be flushed."""
    (folder / "tmp").mkdir()
    (folder / "objects" / name_of(DATA)[:2]).mkdir(parents=True)


def chunks(data: bytes = DATA):
    return lambda: iter([data])


@pytest.fixture
def count_flushes(monkeypatch: pytest.MonkeyPatch, only_here: Callable[..., Any]) -> Callable[[], list[int]]:
    """Real flushes that this thread waits for, noted from the call on: the list grows by one with each."""

    def count() -> list[int]:
        flushes, flush = [], os.fsync
        monkeypatch.setattr(os, "fsync", only_here(lambda fd: (flushes.append(fd), flush(fd))[1], flush))
        return flushes

    return count


def refuse_to_flush(fd: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("data", [DATA, b"small"])
def test_a_deferred_object_is_sealed_once_it_is_flushed(tmp_path: Path, data: bytes) -> None:
    objects = objects_in(tmp_path)
    ref = objects.put_deferred(chunks(data), len(data))
    assert bytes(objects.reader(ref).buffer()) == data
    wait_until_settled()
    assert is_sealed(file_of(objects, ref).stat(), ref.digest)


def test_a_deferred_object_that_is_not_flushed_gets_no_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse_to_flush)
    objects = objects_in(tmp_path)
    make_folders(tmp_path)
    ref = objects.put_deferred(chunks(), len(DATA))
    wait_until_settled()
    assert is_marked(file_of(objects, ref).stat(), ref.digest)
    assert bytes(objects.reader(ref).buffer()) == DATA


def test_put_makes_a_deferred_object_durable_before_it_returns(tmp_path: Path) -> None:
    objects = objects_in(tmp_path)
    ref = objects.put_deferred(chunks(), len(DATA))
    assert objects.put(chunks(), len(DATA)) == ref
    assert is_sealed(file_of(objects, ref).stat(), ref.digest)


def test_put_fails_where_the_disk_does_not_take_what_was_deferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = objects_in(tmp_path, fsync="never")
    ref = objects.put_deferred(chunks(), len(DATA))
    monkeypatch.setattr(os, "fsync", refuse_to_flush)
    with pytest.raises(StorageError, match="flush"):
        objects_in(tmp_path).put(chunks(), len(DATA))
    assert not is_sealed(file_of(objects, ref).stat(), ref.digest)


def test_settle_flushes_an_object_or_says_that_it_is_not_there(tmp_path: Path) -> None:
    objects = objects_in(tmp_path)
    ref = objects_in(tmp_path, fsync="never").put(chunks(), len(DATA))
    assert not is_sealed(file_of(objects, ref).stat(), ref.digest)
    objects.settle(ref)
    assert is_sealed(file_of(objects, ref).stat(), ref.digest)
    objects.settle(ref)
    with pytest.raises(NotFoundError):
        objects.settle(ObjectRef("0" * 64, 5))


def test_an_object_whose_name_this_process_has_flushed_is_not_flushed_again(
    tmp_path: Path, count_flushes: Callable[[], list[int]]
) -> None:
    objects = objects_in(tmp_path)
    make_folders(tmp_path)
    flushes = count_flushes()
    ref = objects.put(chunks(), len(DATA))
    assert len(flushes) == 2  # the file and its name
    objects.settle(ref)
    objects.put(chunks(), len(DATA))
    assert len(flushes) == 2


@pytest.mark.parametrize("change", ["written anew", "another name of it", "linked back"])
def test_a_name_that_changed_since_is_flushed_again(
    tmp_path: Path, count_flushes: Callable[[], list[int]], change: str
) -> None:
    objects = objects_in(tmp_path)
    ref = objects.put(chunks(), len(DATA))
    full = file_of(objects, ref)
    if change == "written anew":
        full.unlink()
        done = run(tmp_path, "objects.put(lambda: iter([bytes(range(256)) * 8000]), 2048000)")
        assert done.returncode == 0, done.stderr
    elif change == "another name of it":
        other = objects_in(tmp_path / "copy")
        file_of(other, ref).parent.mkdir(parents=True)
        os.link(full, file_of(other, ref))
        objects = other
    else:
        full.rename(tmp_path / "elsewhere")
        os.link(tmp_path / "elsewhere", full)
    flushes = count_flushes()
    objects.settle(ref)
    assert len(flushes) == 1  # the name: the seal says that the content is on the disk


def test_another_process_flushes_the_name_of_what_it_did_not_write(tmp_path: Path) -> None:
    ref = objects_in(tmp_path).put(chunks(), len(DATA))
    done = run(
        tmp_path,
        f"""
        flushes, flush = [], os.fsync
        os.fsync = lambda fd: (flushes.append(fd), flush(fd))
        ref = ObjectRef({ref.name!r}, {ref.size_bytes})
        objects.settle(ref), objects.settle(ref)
        print(len(flushes))
        """,
    )
    assert done.stdout.strip() == "1", done.stderr


def test_an_object_whose_flush_fails_is_not_believed_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = objects_in(tmp_path)
    make_folders(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse_to_flush)
        with pytest.raises(StorageError, match="flush"):
            objects.put(chunks(), len(DATA))
    ref = ObjectRef(name_of(DATA), len(DATA))
    assert is_marked(file_of(objects, ref).stat(), ref.digest)  # whoever reads it hashes it
    assert objects.put(chunks(), len(DATA)) == ref
    assert is_sealed(file_of(objects, ref).stat(), ref.digest)


@pytest.mark.parametrize("fsync", ["objects", "always"])
def test_what_is_put_is_sealed_at_once(tmp_path: Path, fsync: Fsync) -> None:
    objects = objects_in(tmp_path, fsync)
    ref = objects.put(chunks(), len(DATA))
    assert is_sealed(file_of(objects, ref).stat(), ref.digest)


def test_a_store_that_always_flushes_defers_nothing(tmp_path: Path) -> None:
    objects = objects_in(tmp_path, "always")
    ref = objects.put_deferred(chunks(), len(DATA))
    assert is_sealed(file_of(objects, ref).stat(), ref.digest)


def test_a_store_that_never_flushes_seals_nothing(tmp_path: Path) -> None:
    objects = objects_in(tmp_path, "never")
    ref = objects.put(chunks(), len(DATA))
    assert bytes(objects.reader(ref).buffer()) == DATA
    wait_until_settled()
    assert is_marked(file_of(objects, ref).stat(), ref.digest)


@pytest.mark.parametrize("fsync", ["objects", "never"])
def test_bytes_that_a_power_cut_took_are_noticed_though_size_and_time_are_right(tmp_path: Path, fsync: Fsync) -> None:
    objects = objects_in(tmp_path, fsync)
    make_folders(tmp_path)
    # The process dies before it has flushed; then the filesystem shows zeros.
    done = run(
        tmp_path,
        f"""
        objects = ObjectStore(LocalStorage({str(tmp_path)!r}, fsync={fsync!r}))
        data = bytes(range(256)) * 8000
        def die(fd): os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = die
        objects.put_deferred(lambda: iter([data]), len(data))
        {"signal.pause()" if fsync == "objects" else "die(0)"}
        """,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    ref = ObjectRef(name_of(DATA), len(DATA))
    found = file_of(objects, ref).stat()
    assert is_marked(found, ref.digest)
    file_of(objects, ref).write_bytes(bytes(len(DATA)))
    os.utime(file_of(objects, ref), ns=(found.st_atime_ns, found.st_mtime_ns))
    read = run(tmp_path, f"objects.reader(ObjectRef({ref.name!r}, {ref.size_bytes})).buffer()")
    assert "IntegrityError" in read.stderr


def test_a_process_that_ends_has_flushed(tmp_path: Path) -> None:
    done = run(tmp_path, "print(objects.put_deferred(lambda: iter([b'x' * 2_000_000]), 2_000_000).name)")
    ref = ObjectRef(done.stdout.strip(), 2_000_000)
    assert is_sealed(file_of(objects_in(tmp_path), ref).stat(), ref.digest)


def test_a_write_to_a_trusted_file_is_noticed(tmp_path: Path) -> None:
    objects = objects_in(tmp_path, "never")
    ref = objects.put(chunks(), len(DATA))
    with open(file_of(objects, ref), "r+b") as file:
        file.write(b"\xff")
    with pytest.raises(IntegrityError):
        objects.reader(ref).buffer()


def test_copies_in_the_cache_are_sealed_after_they_were_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ObjectCache(tmp_path)
    digest = name_of(DATA)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse_to_flush)
        cache.try_to_keep(chunks(), digest, len(DATA))
        wait_until_settled()
    assert is_marked(os.stat(cache.path(digest)), digest)
    cache.forget(digest)
    cache.try_to_keep(chunks(), digest, len(DATA))
    wait_until_settled()
    assert is_sealed(os.stat(cache.path(digest)), digest)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_trusts_nothing_that_its_parent_wrote(tmp_path: Path) -> None:
    program = """
    from mlflowish.storage.settling import _settling
    store = ObjectStore(LocalStorage(objects.storage.url, fsync="never"))
    store.put(b"content")
    assert _settling._trusted
    child = os.fork()
    if child == 0:
        os._exit(len(_settling._trusted))
    assert os.waitpid(child, 0)[1] == 0
    """
    done = run(tmp_path, program)
    assert done.returncode == 0, done.stderr


def test_what_the_catalog_names_is_flushed_before_it_is_named(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    ref = objects_in(tmp_path, fsync="never").put(chunks(), len(DATA))  # as of a process that died before its flush
    Catalog(storage).transact(lambda tx: tx.put("models/a", {"refs": [[ref.name, ref.size_bytes]]}))
    assert is_sealed(file_of(ObjectStore(storage), ref).stat(), ref.digest)


def test_what_is_known_of_the_disk_stays_bounded_whatever_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(settling, "_MOST_TRUSTED", 50)
    known, found = settling._Settling(), os.stat(__file__)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(known.note_named, f"file {number}", found) for number in range(5000)]
            assert [job.result() for job in jobs] == [None] * 5000
    finally:
        sys.setswitchinterval(interval)
    assert len(known._named) == 50
    assert all(known.is_named(full, found) for full in list(known._named))
