"""Storages and records for the tests of journals."""

from __future__ import annotations

from collections.abc import Iterator

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

    def size(self, path: str) -> int:
        self._request("size")
        return self.inner.size(path)

    def open_append(self, path: str) -> Appender:
        raise AssertionError("a bucket cannot append")

    def is_claimed(self, path: str) -> bool:
        return True

    def _request(self, name: str) -> None:
        if self.is_cut_off:
            raise StorageError("the network is unreachable")
        self.requests[name] = self.requests.get(name, 0) + 1
