"""What a storage that appends must do, and who claims a file: part of `storage_suite.StorageSuite`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from mlflowish.errors import CapabilityError, StateError, StorageError
from mlflowish.storage.base import Storage
from mlflowish.testing.writers import PATIENCE_S, append_until_killed, fork, reopened, require, require_append


class AppendTests:
    """Tests of `open_append` and `is_claimed`."""

    processes: Callable[[], Any]

    def test_what_is_appended_is_seen_at_once(self, storage: Storage) -> None:
        require_append(storage)
        other = reopened(storage)
        appender = storage.open_append("logs/1.log")
        assert other.size("logs/1.log") == 0
        offsets = [appender.write(b"x" * size) for size in (3, 0, 5, 100_000)]
        assert offsets == [0, 3, 3, 8]
        assert other.get("logs/1.log") == b"x" * 100_008
        assert [info.size_bytes for info in other.list("logs")] == [100_008]
        appender.sync()
        appender.close()
        appender.close()
        with pytest.raises(StateError):
            appender.write(b"y")

    def test_an_appended_file_is_claimed_until_it_is_closed(self, storage: Storage) -> None:
        require_append(storage)
        appender = storage.open_append("a.log")
        assert storage.is_claimed("a.log")
        assert reopened(storage).is_claimed("a.log")
        appender.close()
        assert not storage.is_claimed("a.log")

    def test_a_file_is_appended_by_the_writer_that_made_it(self, storage: Storage) -> None:
        require_append(storage)
        storage.put("a.log", b"x")
        with pytest.raises(StorageError):
            storage.open_append("a.log")
        assert storage.get("a.log") == b"x"
        assert not storage.is_claimed("a.log")

    def test_a_claim_dies_with_its_process(self, storage: Storage) -> None:
        require_append(storage)
        require(storage.capabilities.shared, "many processes")
        context = self.processes()
        ready = context.Event()
        writer = context.Process(target=append_until_killed, args=(storage, "a.log", ready), daemon=True)
        writer.start()
        assert ready.wait(PATIENCE_S)
        assert storage.is_claimed("a.log")
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert not storage.is_claimed("a.log")
        assert storage.get("a.log") == b"acknowledged"

    def test_a_forked_child_neither_writes_nor_keeps_the_claim(self, storage: Storage) -> None:
        require_append(storage)
        require(hasattr(os, "fork"), "fork")
        appender = storage.open_append("a.log")
        appender.write(b"parent")
        finish, wait = os.pipe()
        listen, ready = os.pipe()

        def child() -> bool:
            os.write(ready, b"x")
            try:
                appender.write(b"child")
            except StateError:
                os.read(finish, 1)
                return True
            return False

        pid = fork(child)
        os.read(listen, 1)
        appender.close()
        claimed_by_child = storage.is_claimed("a.log")
        os.write(wait, b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for end in (finish, wait, listen, ready):
            os.close(end)
        assert not claimed_by_child
        assert storage.get("a.log") == b"parent"

    def test_without_append_it_says_so(self, storage: Storage) -> None:
        require(not storage.capabilities.append, "that it does not append")
        with pytest.raises(CapabilityError):
            storage.open_append("a.log")
