"""What every storage must do, as tests: inherit, say how to make yours, run pytest.

    import pytest
    from mlflowish.testing.storage_suite import StorageSuite

    class TestMyStorage(StorageSuite):
        @pytest.fixture
        def storage(self, tmp_path):
            return MyStorage(tmp_path)

Each test gets an empty storage. What a storage does not promise (`Capabilities`) is not asked of it. A shared storage
is also raced, killed and reopened in processes of their own: it must be picklable.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflowish.errors import InvalidInputError, NotFoundError, StateError
from mlflowish.storage.base import Storage
from mlflowish.testing.append_tests import AppendTests
from mlflowish.testing.object_tests import ObjectTests
from mlflowish.testing.writers import (
    PATIENCE_S,
    RACERS,
    content_of,
    fork,
    nonce_of,
    race_rounds,
    race_threads,
    reopened,
    require,
    write,
    write_until_killed,
)

_PAYLOADS = {"empty": b"", "1 byte": b"x", "8 MiB": bytes(range(256)) * (32 << 10)}
_HOSTILE = [
    "", ".", "..", "/", "/etc/passwd", "../x", "a/../../x", "a/..", "a/./b", "a//b", "a/", "/a", "a\\b", "a\0b", "a b",
    "a\n", "ä", "~/x", "a/~", "C:/x", "file:///x", "%2e%2e/x", "a?b", "a#b", "*", "tmp/x", "a" * 256, "a/" * 600 + "a",
]  # fmt: skip


class StorageSuite(AppendTests, ObjectTests):
    """Inherit, and override `storage`."""

    rounds = 6  # of each race
    preload: tuple[str, ...] = ()  # modules that your storage imports late, so that each child does not

    def processes(self) -> Any:
        """How children are made: forked by a process that has imported everything and has no threads."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, *self.preload])
        return context

    @pytest.fixture
    def storage(self) -> Storage:
        """An empty storage of your kind."""
        raise NotImplementedError("override the fixture `storage`")

    # -- whole objects -----------------------------------------------------------------------------

    @pytest.mark.parametrize("payload", _PAYLOADS.values(), ids=_PAYLOADS.keys())
    @pytest.mark.parametrize("verb", ["put", "put_if_absent", "stage"])
    def test_what_was_written_is_read_back_at_once(self, storage: Storage, verb: str, payload: bytes) -> None:
        assert write(storage, verb, "a/b.bin", payload) in (None, True)
        assert storage.get("a/b.bin") == payload
        assert storage.size("a/b.bin") == len(payload)
        assert reopened(storage).get("a/b.bin") == payload

    @pytest.mark.parametrize("verb", ["put_if_absent", "stage"])
    def test_the_first_writer_wins(self, storage: Storage, verb: str) -> None:
        assert write(storage, verb, "a", b"first") is True
        assert write(storage, verb, "a", b"second") is False
        assert write(storage, verb, "a", b"") is False
        assert storage.get("a") == b"first"

    def test_an_empty_object_is_an_object(self, storage: Storage) -> None:
        assert storage.put_if_absent("empty", b"") is True
        assert storage.put_if_absent("empty", b"full") is False
        assert storage.get("empty") == b""
        assert storage.get("empty", 0, 10) == b""

    def test_put_replaces_what_was_there(self, storage: Storage) -> None:
        storage.put("a", b"a longer first content")
        storage.put("a", b"second")
        assert storage.get("a") == b"second"
        assert reopened(storage).get("a") == b"second"

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_can_be_written(self, storage: Storage, kind: Callable[[bytes], Any]) -> None:
        storage.put("a", kind(b"content"))
        storage.put_if_absent("b", kind(b"content"))
        write(storage, "stage", "c", kind(b"content"))
        assert storage.get("a") == storage.get("b") == storage.get("c") == b"content"

    def test_another_writer_is_seen_at_once(self, storage: Storage) -> None:
        """Caches of listings, sizes and absences are the classic trap."""
        other = reopened(storage)
        assert [*storage.list("a")] == []
        with pytest.raises(NotFoundError):
            storage.get("a/1")
        other.put("a/1", b"one")
        assert storage.get("a/1") == b"one"
        assert storage.size("a/1") == 3
        other.put("a/1", b"longer")
        assert storage.get("a/1") == b"longer"
        assert storage.size("a/1") == 6
        other.delete("a/1")
        with pytest.raises(NotFoundError):
            storage.get("a/1")

    # -- ranges ------------------------------------------------------------------------------------

    def test_ranges_are_those_of_a_slice(self, storage: Storage) -> None:
        data = os.urandom(1000)
        storage.put("a", data)
        for start, end in [(0, 1), (0, 1000), (1, None), (999, None), (10, 20), (990, 5000), (0, None), (500, 500)]:
            assert storage.get("a", start, end) == data[start:end], (start, end)

    @pytest.mark.parametrize(("start", "end"), [(1000, None), (1000, 2000), (5000, 6000), (20, 10)])
    def test_a_range_beyond_the_end_is_empty(self, storage: Storage, start: int, end: int | None) -> None:
        storage.put("a", bytes(1000))
        assert storage.get("a", start, end) == b""

    # -- absence, deletion, listing ----------------------------------------------------------------

    def test_what_is_absent_is_not_found(self, storage: Storage) -> None:
        storage.put("a/b", b"x")
        for path in ("nothing", "a", "a/b/c", "a/c"):
            for ask in (
                storage.get,
                storage.size,
                lambda path: storage.get(path, 2, 1),
                lambda path: storage.get(path, 5),
            ):
                with pytest.raises(NotFoundError):
                    ask(path)
            assert not storage.is_claimed(path)

    def test_deletion_is_final_and_repeatable(self, storage: Storage) -> None:
        storage.put("a/b", b"x")
        storage.delete("a/b")
        storage.delete("a/b")
        storage.delete("never/was")
        assert [*storage.list("")] == []
        assert storage.put_if_absent("a/b", b"again") is True
        assert storage.get("a/b") == b"again"

    def test_a_listing_is_recursive_and_by_folder(self, storage: Storage) -> None:
        for path in ("a/1", "a/b/2", "ab/3", "a.txt", ".hidden", "c/d/e/f"):
            storage.put(path, path.encode())
        sizes = {info.path: info.size_bytes for info in storage.list("")}
        assert sizes == {path: len(path) for path in ("a/1", "a/b/2", "ab/3", "a.txt", ".hidden", "c/d/e/f")}
        assert {info.path for info in storage.list("a")} == {"a/1", "a/b/2"}
        assert {info.path for info in storage.list("a/")} == {"a/1", "a/b/2"}
        assert {info.path for info in storage.list("c/d")} == {"c/d/e/f"}
        assert [*storage.list("none")] == [*storage.list("a/1")] == []

    def test_a_listing_knows_when_objects_were_written(self, storage: Storage) -> None:
        storage.put("a", b"x")
        (info,) = storage.list("")
        assert abs(info.modified_s - time.time()) < 3600 or info.modified_s != info.modified_s

    # -- paths -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("path", _HOSTILE, ids=lambda path: ascii(path)[:20])
    def test_a_hostile_path_is_refused_everywhere(self, storage: Storage, path: str) -> None:
        staging = storage.stage()
        staging.write(b"x")
        calls: list[Callable[[], Any]] = [
            lambda: storage.get(path),
            lambda: storage.size(path),
            lambda: storage.put(path, b"x"),
            lambda: storage.put_if_absent(path, b"x"),
            lambda: staging.commit(path),
            lambda: storage.delete(path),
            lambda: storage.local_path(path),
            lambda: storage.is_claimed(path),
            lambda: storage.open_append(path),
        ]
        for call in calls:
            with pytest.raises(InvalidInputError):
                call()
        staging.discard()
        assert [*storage.list("")] == []

    # -- staging -----------------------------------------------------------------------------------

    def test_what_is_staged_is_invisible_until_it_is_committed(self, storage: Storage) -> None:
        pieces = [os.urandom(1 << 20) for _ in range(20)]
        staging = storage.stage()
        for piece in pieces:
            staging.write(piece)
            assert [*storage.list("")] == []
        assert staging.commit("big") is True
        assert storage.get("big") == b"".join(pieces)
        assert storage.size("big") == 20 << 20

    def test_what_is_discarded_was_never_there(self, storage: Storage) -> None:
        staging = storage.stage()
        staging.write(b"x")
        staging.discard()
        staging.discard()
        assert [*storage.list("")] == []
        with pytest.raises(StateError):
            staging.write(b"y")

    def test_a_staging_ends_with_its_commit(self, storage: Storage) -> None:
        staging = storage.stage()
        staging.write(b"x")
        staging.commit("a")
        staging.discard()
        with pytest.raises(StateError):
            staging.commit("b")
        assert storage.get("a") == b"x"

    # -- many at once ------------------------------------------------------------------------------

    def test_one_of_many_threads_wins(self, storage: Storage) -> None:
        require(storage.capabilities.multi_writer, "many writers")
        payloads = [*_PAYLOADS.values()]
        for number in range(self.rounds):
            claims = race_threads(storage, f"race/{number}", payloads[number % len(payloads)])
            assert len(claims) == 1
            assert storage.get(f"race/{number}") == claims[0]

    def test_one_of_many_processes_wins(self, storage: Storage) -> None:
        require(storage.capabilities.shared and storage.capabilities.multi_writer, "many processes")
        self.race_processes(storage, rounds=self.rounds)

    @pytest.mark.nightly
    def test_one_of_many_processes_wins_every_time(self, storage: Storage) -> None:
        require(storage.capabilities.shared and storage.capabilities.multi_writer, "many processes")
        self.race_processes(storage, rounds=200)

    def race_processes(self, storage: Storage, *, rounds: int) -> None:
        payloads = [*_PAYLOADS.values()]
        context = self.processes()
        barrier, results = context.Barrier(RACERS), context.Queue()
        racers = [
            context.Process(target=race_rounds, args=(storage, racer, rounds, payloads, barrier, results), daemon=True)
            for racer in range(RACERS)
        ]
        for racer in racers:
            racer.start()
        winners: dict[int, list[int]] = {number: [] for number in range(rounds)}
        for _ in range(rounds * RACERS):
            told = results.get(timeout=2 * PATIENCE_S)  # however long all take, none is silent for so long
            assert isinstance(told, tuple), told
            number, racer_number, won = told
            if won:
                winners[number].append(racer_number)
        for racer in racers:
            racer.join()
        for number, first in winners.items():
            assert len(first) == 1, f"round {number}: {first} were told that they won"
            assert storage.get(f"race/{number}") == nonce_of(first[0], number) + payloads[number % len(payloads)]

    def test_a_reader_never_sees_a_part(self, storage: Storage) -> None:
        whole = {bytes([number]) * (2 << 20) for number in range(4)}
        seen: set[bytes] = set()
        done = threading.Event()

        def read() -> None:
            other = reopened(storage)
            while not done.is_set():
                for path in ("put", "new", "staged"):
                    try:
                        seen.add(other.get(path))
                    except NotFoundError:
                        continue

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for content in whole:
                storage.put("put", content)
                for verb, path in (("put_if_absent", "new"), ("stage", "staged")):
                    storage.delete(path)
                    write(storage, verb, path, content)
        finally:
            done.set()
            reader.join()
        assert seen <= whole

    def test_a_killed_writer_leaves_no_half_object(self, storage: Storage) -> None:
        require(storage.capabilities.shared, "many processes")
        context = self.processes()
        chance = random.Random(7)
        for life in range(3):
            started = context.Event()
            writer = context.Process(target=write_until_killed, args=(storage, life, started), daemon=True)
            writer.start()
            assert started.wait(PATIENCE_S)
            time.sleep(chance.uniform(0.0, 0.3))
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
        for info in storage.list(""):
            assert storage.get(info.path) == content_of(info.path), info.path

    def test_a_forked_child_can_use_it(self, storage: Storage) -> None:
        require(hasattr(os, "fork"), "fork")
        storage.put("parent", b"from the parent")
        child = fork(lambda: (storage.get("parent") == b"from the parent") and storage.put_if_absent("child", b"mine"))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        if storage.capabilities.shared:
            assert storage.get("child") == b"mine"

    # -- what it says of itself --------------------------------------------------------------------

    def test_it_travels_by_pickle(self, storage: Storage) -> None:
        other = reopened(storage)
        assert (other.url, type(other)) == (storage.url, type(storage))
        assert isinstance(other, Storage)

    def test_a_local_path_is_the_file(self, storage: Storage) -> None:
        storage.put("a/b", b"content")
        local = storage.local_path("a/b")
        assert (local is not None) == storage.capabilities.local_paths
        if local is not None:
            assert Path(local).read_bytes() == b"content"
