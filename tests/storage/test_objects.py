"""Objects named by their hash: seals, damage, copies in the cache."""

from __future__ import annotations

import contextlib
import os
import pickle
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowish.errors import IntegrityError, InvalidInputError, NotFoundError, StorageError
from mlflowish.maintenance.aside import set_object_aside
from mlflowish.storage import LocalStorage, MemoryStorage, ObjectCache, ObjectRef, ObjectStore, Storage, seals, settling
from mlflowish.storage.base import Capabilities
from mlflowish.storage.settling import wait_until_settled
from mlflowish.testing.faults import Fault, FaultyStorage, Meanwhile, On


class FarStorage(FaultyStorage):
    """A local storage that says it is far, as a bucket does, and counts what it is asked."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(local_paths=False, append=False)

    def local_path(self, path: str) -> str | None:
        return None

    def asked(self, operation: str) -> int:
        return sum(call.operation == operation for call in self.calls)


@pytest.fixture
def near(tmp_path: Path) -> ObjectStore:
    return ObjectStore(LocalStorage(tmp_path / "store"))


@pytest.fixture
def far(tmp_path: Path) -> FarStorage:
    return FarStorage(LocalStorage(tmp_path / "far"))


def file_of(objects: ObjectStore, ref: ObjectRef) -> Path:
    local = objects.storage.local_path(ref.path)
    assert local is not None
    return Path(local)


def test_the_name_is_the_hash_of_the_bytes(near: ObjectStore) -> None:
    ref = near.put(b"content")
    assert ref == ObjectRef(blake3(b"content").hexdigest(), 7)
    assert file_of(near, ref).read_bytes() == b"content"
    assert ref.path == f"objects/{ref.name[:2]}/{ref.name}"


@pytest.mark.parametrize("name", ["", "x", "A" * 64, "0" * 63, "0" * 64 + ".", "0" * 64 + "/x", "../" + "0" * 61])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        ObjectRef(name, 1)


def test_a_name_with_a_generation_is_read(near: ObjectStore) -> None:
    ref = near.put(b"content")
    later = ObjectRef(ref.name + ".g2", 7)
    near.storage.put(later.path, b"content")
    assert bytes(near.reader(later).buffer()) == b"content"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=20), st.booleans())
def test_chunks_make_no_difference(chunks: list[bytes], with_hint: bool) -> None:
    objects = ObjectStore(MemoryStorage("chunks"))
    whole = b"".join(chunks)
    ref = objects.put(lambda: iter(chunks), len(whole) if with_hint else None)
    assert ref == objects.put(whole)
    assert bytes(objects.reader(ref).buffer()) == whole


def test_a_generator_may_use_its_slab_again(near: ObjectStore) -> None:
    """A second thread hashes large slabs: it must be done before the next is asked for."""
    slab = bytearray(1 << 20)

    def chunks() -> Iterator[bytearray]:
        for number in range(20):
            slab[:] = bytes([number]) * len(slab)
            yield slab

    ref = near.put(chunks, 20 << 20)
    near.check(ref)
    assert ref.size_bytes == 20 << 20


def test_what_is_there_is_not_written_again(near: ObjectStore) -> None:
    for data in (b"small", bytes(3 << 20)):
        ref = near.put(lambda data=data: iter([data]), len(data))
        before = file_of(near, ref).stat()
        assert near.put(lambda data=data: iter([data]), len(data)) == ref
        assert (file_of(near, ref).stat().st_ino, file_of(near, ref).stat().st_mtime_ns) == (
            before.st_ino,
            before.st_mtime_ns,
        )


def test_a_sealed_file_is_not_hashed(near: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = near.put(bytes(3 << 20))
    monkeypatch.setattr(settling, "hash_file", _never)
    assert near.reader(ref).size_bytes == len(near.reader(ref).buffer())


def test_always_means_each_time(near: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = near.put(bytes(3 << 20))
    strict = ObjectStore(near.storage, verify="always")
    strict.reader(ref).buffer()
    monkeypatch.setattr(settling, "hash_file", _never)
    with pytest.raises(AssertionError):
        strict.reader(ref).buffer()


def test_a_file_without_a_seal_is_hashed_once_and_sealed(near: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `cp -r` or a restored backup, which keep no nanoseconds."""
    ref = near.put(bytes(3 << 20))
    os.utime(file_of(near, ref), (1_000_000_000, 1_000_000_000))
    near.reader(ref).buffer()
    wait_until_settled()
    found = file_of(near, ref).stat()
    assert seals.is_sealed(found, ref.digest)
    assert int(found.st_mtime) == 1_000_000_000
    monkeypatch.setattr(settling, "hash_file", _never)
    near.reader(ref).buffer()


def _never(*args: object) -> str:
    raise AssertionError("hashed")


@pytest.mark.parametrize("size", [10, 5_000_000])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_a_bit_flipped_in_place_is_detected_put_aside_and_healed(near: ObjectStore, size: int, where: float) -> None:
    data = os.urandom(size)
    ref = near.put(data)
    path = file_of(near, ref)
    with open(path, "r+b") as file:
        position = int(where * (size - 1))
        file.seek(position)
        file.write(bytes([data[position] ^ 4]))
    with pytest.raises(IntegrityError) as caught:
        near.reader(ref).buffer()
    assert caught.value.expected == ref.digest
    (aside,) = near.storage.list("quarantine")
    assert aside.size_bytes == size
    with pytest.raises(NotFoundError):
        near.reader(ref).buffer()
    assert near.put(data) == ref
    assert bytes(near.reader(ref).buffer()) == data


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_put_heals_what_nobody_has_read_yet(near: ObjectStore, size: int) -> None:
    data = os.urandom(size)
    ref = near.put(lambda: iter([data]), size)
    file_of(near, ref).write_bytes(bytes(size))
    assert near.put(lambda: iter([data]), size) == ref
    near.check(ref)
    assert len([*near.storage.list("quarantine")]) == 1


def test_a_damaged_object_in_a_read_only_store_is_an_error_and_stays(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    ref = ObjectStore(storage).put(b"x" * 100)
    path = file_of(ObjectStore(storage), ref)
    path.write_bytes(b"y" * 100)
    assert seals.put_file_aside(str(path), os.open(path, os.O_RDONLY), "/proc/none/x") is None
    assert path.read_bytes() == b"y" * 100


def test_a_good_file_that_took_the_place_of_a_damaged_one_stays(tmp_path: Path) -> None:
    damaged, good = tmp_path / "a", tmp_path / "b"
    damaged.write_bytes(b"damaged")
    fd = os.open(damaged, os.O_RDONLY)
    good.write_bytes(b"good")
    os.replace(good, damaged)
    seals.put_file_aside(str(damaged), fd, str(tmp_path / "quarantine" / "x"))
    os.close(fd)
    assert damaged.read_bytes() == b"good"


def test_a_value_in_use_outlives_its_object(near: ObjectStore) -> None:
    data = os.urandom(1 << 20)
    ref = near.put(data)
    buffer = near.reader(ref).buffer()
    near.storage.delete(ref.path)
    assert bytes(buffer) == data


def test_many_large_values_at_once_do_not_run_out_of_open_files(near: ObjectStore) -> None:
    import resource

    ref = near.put(bytes(300_000))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], _open_files() + 64), limits[1]))
    try:
        buffers = [near.reader(ref).buffer() for _ in range(400)]
        assert {len(buffer) for buffer in buffers} == {300_000}
        del buffers
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _open_files() -> int:
    """How many files this process has open, those of earlier tests included."""
    return len(os.listdir("/dev/fd"))


def test_it_travels_by_pickle(near: ObjectStore) -> None:
    ref = near.put(b"content")
    other: ObjectStore = pickle.loads(pickle.dumps(near))
    assert bytes(other.reader(ref).buffer()) == b"content"


# -- far away ----------------------------------------------------------------------------------------


def test_the_second_read_asks_nobody(far: FarStorage, tmp_path: Path) -> None:
    data = os.urandom(400_000)
    ref = ObjectStore(far, cache=ObjectCache(tmp_path / "writer")).put(data)
    reader = ObjectStore(far, cache=ObjectCache(tmp_path / "reader"))
    assert bytes(reader.reader(ref).buffer()) == data
    asked = len(far.calls)
    assert bytes(reader.reader(ref).buffer()) == data
    assert len(far.calls) == asked


def test_what_was_written_is_in_the_cache(far: FarStorage, tmp_path: Path) -> None:
    objects = ObjectStore(far, cache=ObjectCache(tmp_path / "cache"))
    for data in (b"small", os.urandom(3 << 20)):
        ref = objects.put(lambda data=data: iter([data]), len(data))
        assert bytes(objects.reader(ref).buffer()) == data
    assert far.asked("get") == 0


def test_the_cache_is_shared_by_stores_and_works_offline(far: FarStorage, tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache")
    ref = ObjectStore(far, cache=cache).put(b"content")
    far.plan = On("get", Fault.FAIL_BEFORE)
    assert bytes(ObjectStore(far, cache=cache).reader(ref).buffer()) == b"content"
    with pytest.raises(StorageError):
        ObjectStore(far, cache=ObjectCache(tmp_path / "empty")).reader(ref).buffer()


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_damaged_copy_is_fetched_again(far: FarStorage, tmp_path: Path, size: int) -> None:
    objects = ObjectStore(far, cache=ObjectCache(tmp_path / "cache"))
    data = os.urandom(size)
    ref = objects.put(data)
    assert objects.cache is not None
    Path(objects.cache.path(ref.digest)).write_bytes(bytes(size))
    assert bytes(objects.reader(ref).buffer()) == data
    assert Path(objects.cache.path(ref.digest)).read_bytes() == data


def test_what_arrives_damaged_is_put_aside_and_never_cached(far: FarStorage, tmp_path: Path) -> None:
    ref = ObjectStore(far, cache=ObjectCache(tmp_path / "writer")).put(b"x" * 1000)
    far.put(ref.path, b"y" * 1000)
    reader = ObjectStore(far, cache=ObjectCache(tmp_path / "reader"))
    with pytest.raises(IntegrityError):
        reader.reader(ref).buffer()
    assert reader.cache is not None
    assert reader.cache.size_bytes() == 0
    assert [info.size_bytes for info in far.list("quarantine")] == [1000]


def test_the_cache_forgets_what_was_read_longest_ago(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", limit_bytes=10_000)
    objects = ObjectStore(FarStorage(LocalStorage(tmp_path / "far")), cache=cache)
    refs = [objects.put(bytes([number]) * 3000) for number in range(3)]
    wait_until_settled()
    for age_s, ref in zip((300, 900, 600), refs, strict=True):
        found = os.stat(cache.path(ref.digest))
        os.utime(cache.path(ref.digest), ns=(found.st_atime_ns - age_s * 10**9, found.st_mtime_ns))
    objects.put(b"z" * 3000)
    assert [os.path.exists(cache.path(ref.digest)) for ref in refs] == [True, False, True]
    assert cache.size_bytes() <= 10_000
    assert bytes(objects.reader(refs[1]).buffer()) == bytes([1]) * 3000


def test_what_is_larger_than_the_cache_is_read_all_the_same(far: FarStorage, tmp_path: Path) -> None:
    objects = ObjectStore(far, cache=ObjectCache(tmp_path / "cache", limit_bytes=1000))
    data = os.urandom(300_000)
    ref = objects.put(data)
    assert bytes(objects.reader(ref).buffer()) == data
    assert objects.reader(ref).path() is None
    assert objects.cache is not None
    assert objects.cache.size_bytes() == 0


def test_without_a_cache_that_can_be_written_objects_are_read_all_the_same(far: FarStorage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    objects = ObjectStore(far, cache=ObjectCache(tmp_path / "file"))
    data = os.urandom(300_000)
    ref = objects.put(data)
    assert bytes(objects.reader(ref).buffer()) == data


def test_the_limit_of_the_cache_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOWISH_CACHE_BYTES", "123")
    assert ObjectCache().limit_bytes == 123
    monkeypatch.setenv("MLFLOWISH_CACHE_BYTES", "plenty")
    with pytest.raises(InvalidInputError, match="MLFLOWISH_CACHE_BYTES"):
        ObjectCache()


# -- faults at every call ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.TORN, Fault.FULL])
@pytest.mark.parametrize("size", [100, 3 << 20])
def test_after_a_failure_at_any_call_a_second_put_succeeds(tmp_path: Path, fault: Fault, size: int) -> None:
    from mlflowish.testing.faults import At

    data = os.urandom(size)
    counting = FaultyStorage(LocalStorage(tmp_path / "count", fsync="never"))
    ObjectStore(counting).put(lambda: iter([data]), size)
    assert len(counting.calls) >= 3
    for call in counting.calls:
        inner: Storage = LocalStorage(tmp_path / f"at-{call.number}", fsync="never")
        try:
            ObjectStore(FaultyStorage(inner, At(call.number, fault))).put(lambda: iter([data]), size)
        except StorageError:
            pass
        for info in inner.list(""):
            assert inner.get(info.path) == data, f"{call}: half an object is visible"
        ref = ObjectStore(inner).put(data)
        assert bytes(ObjectStore(inner).reader(ref).buffer()) == data


def damaged_object() -> tuple[MemoryStorage, ObjectRef]:
    storage = MemoryStorage(f"damaged-{uuid.uuid4().hex}")
    ref = ObjectStore(storage).put(b"x" * 1000)
    storage.put(ref.path, b"y" * 1000)
    return storage, ref


def read_damage(storage: Storage, ref: ObjectRef) -> None:
    with contextlib.suppress(IntegrityError, NotFoundError):
        ObjectStore(storage).reader(ref).buffer()


def repair_damage(storage: Storage, ref: ObjectRef) -> None:
    with contextlib.suppress(NotFoundError):
        set_object_aside(storage, ref)


@pytest.mark.parametrize("put_aside", [read_damage, repair_damage])
def test_what_a_writer_puts_right_while_the_damage_is_copied_aside_stays(
    put_aside: Callable[[Storage, ObjectRef], None],
) -> None:
    """Until the last look at it, one request before the removal."""
    storage, ref = damaged_object()
    counted = FaultyStorage(storage)
    put_aside(counted, ref)
    last = counted.calls[-1]
    assert last.operation == "delete"
    for call in counted.calls[:-1]:
        inner, ref = damaged_object()
        meanwhile = Meanwhile({call.number}, lambda inner=inner: ObjectStore(inner).put(b"x" * 1000))  # type: ignore[misc]  # a lambda with a default
        put_aside(FaultyStorage(inner, meanwhile), ref)
        assert inner.get(ref.path) == b"x" * 1000, call


@pytest.mark.parametrize("said", [0, 999, 1001, 10**9])
@pytest.mark.parametrize("kind", ["near", "far", "memory"])
def test_a_reference_of_another_size_does_not_take_the_object_from_others(tmp_path: Path, kind: str, said: int) -> None:
    storage: Storage = LocalStorage(tmp_path / "store") if kind != "memory" else MemoryStorage()
    if kind == "far":
        storage = FarStorage(storage)
    ref = ObjectStore(storage).put(b"x" * 1000)
    objects = ObjectStore(storage, cache=ObjectCache(tmp_path / "cache"))
    with pytest.raises(IntegrityError, match=f"says that it is {said} bytes long, and it is 1000"):
        objects.reader(ObjectRef(ref.name, said)).buffer()
    assert list(storage.list("quarantine")) == []
    assert bytes(objects.reader(ref).buffer()) == b"x" * 1000
