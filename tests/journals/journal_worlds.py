"""Storages and records for the tests of journals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from mlflowish.errors import StorageError
from mlflowish.storage.base import Appender, Capabilities, ObjectInfo, Staging, Storage


def key_of(number: int) -> bytes:
    """A key that looks like a hash, and is the same in every process."""
    return ((number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)).to_bytes(16, "big")


def payload_of(number: int) -> bytes:
    return b"payload-%d-" % number * (1 + number % 7)


class Wrapper:
    """A storage that hands everything on: what the storages below change."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        return self.inner.get(path, start, end)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self.inner.put_if_absent(path, data)

    def put(self, path: str, data: bytes) -> None:
        self.inner.put(path, data)

    def stage(self) -> Staging:
        return self.inner.stage()

    def size(self, path: str) -> int:
        return self.inner.size(path)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self.inner.list(prefix)

    def delete(self, path: str) -> None:
        self.inner.delete(path)

    def local_path(self, path: str) -> str | None:
        return self.inner.local_path(path)

    def open_append(self, path: str) -> Appender:
        return self.inner.open_append(path)

    def is_claimed(self, path: str) -> bool:
        return self.inner.is_claimed(path)


class BucketStorage(Wrapper):
    """Like S3: no appending, no local files; counts its requests, and can be cut off or lose its answers."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.requests: dict[str, int] = {}
        self.is_cut_off = False
        self.loses_answers = False

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(append=False, local_paths=False)

    def local_path(self, path: str) -> str | None:
        return None

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        self._request("get")
        return self.inner.get(path, start, end)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self._request("put_if_absent")
        won = self.inner.put_if_absent(path, data)
        if self.loses_answers:
            raise StorageError("the answer was lost", path=path)
        return won

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._request("list")
        return self.inner.list(prefix)

    def open_append(self, path: str) -> Appender:
        raise AssertionError("a bucket cannot append")

    def is_claimed(self, path: str) -> bool:
        return True

    def _request(self, name: str) -> None:
        if self.is_cut_off:
            raise StorageError("the network is unreachable")
        self.requests[name] = self.requests.get(name, 0) + 1


class InstrumentedStorage(Wrapper):
    """Calls `before(name, path)` and `after(name, path)` around everything that changes or reads the store."""

    def __init__(self, inner: Storage, before: Callable[[str], None], after: Callable[[str], None]) -> None:
        super().__init__(inner)
        self.before, self.after = before, after

    def _around(self, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
        self.before(name)
        result = action(*arguments)
        self.after(name)
        return result

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        return self._around("get", self.inner.get, path, start, end)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self._around("put_if_absent", self.inner.put_if_absent, path, data)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(self._around("list", lambda: list(self.inner.list(prefix))))

    def delete(self, path: str) -> None:
        self._around("delete", self.inner.delete, path)

    def stage(self) -> Staging:
        return _Instrumented(self._around("stage", self.inner.stage), self)

    def open_append(self, path: str) -> Appender:
        return _Instrumented(self._around("open_append", self.inner.open_append, path), self)


class _Instrumented:
    def __init__(self, inner: Any, storage: InstrumentedStorage) -> None:
        self._inner, self._around = inner, storage._around

    def write(self, data: bytes) -> Any:
        return self._around("write", self._inner.write, data)

    def commit(self, path: str) -> bool:
        return self._around("commit", self._inner.commit, path)

    def discard(self) -> None:
        self._inner.discard()

    def sync(self) -> None:
        self._inner.sync()

    def close(self) -> None:
        self._around("close", self._inner.close)


class Killer:
    """`kill -9` of this process at the `at`-th storage call, before or after it is done."""

    def __init__(self, at: int, *, is_after: bool) -> None:
        self.calls, self._at, self._is_after = 0, at, is_after

    def before(self, name: str) -> None:
        self.calls += 1
        if self.calls == self._at and not self._is_after:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(self, name: str) -> None:
        if self.calls == self._at and self._is_after:
            os.kill(os.getpid(), signal.SIGKILL)
