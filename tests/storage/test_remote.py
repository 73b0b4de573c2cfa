"""What is special about buckets: lost answers, servers that ignore conditions, secrets, unmeasured filesystems."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import threading
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlflowish.errors import (
    CapabilityError,
    InvalidInputError,
    MissingExtraError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from mlflowish.storage import LocalStorage, MemoryStorage, ObjectCache, ObjectStore, Storage, open_storage

Place = tuple[str, dict[str, Any]]
sys.path.insert(0, str(Path(__file__).parent))
from proxy import Proxy  # noqa: E402  beside this file, in no package

sys.path.pop(0)


@pytest.fixture
def proxy(seaweed_url: Place) -> Iterator[Proxy]:
    proxy = Proxy(seaweed_url[1]["client_kwargs"]["endpoint_url"])
    yield proxy
    proxy.close()


@pytest.fixture
def behind(proxy: Proxy, seaweed_url: Place) -> Storage:
    """SeaweedFS as seen through the proxy (whose signatures do not cover the host)."""
    return _at(seaweed_url, proxy.endpoint)


@pytest.fixture
def direct(behind: Storage, seaweed_url: Place) -> Storage:
    """The same place, past the proxy."""
    return open_storage(behind.url, **seaweed_url[1])


def _at(place: Place, endpoint: str, **changed: Any) -> Storage:
    url, options = place
    client = {**options["client_kwargs"], "endpoint_url": endpoint}
    return open_storage(f"{url}/{uuid.uuid4().hex}", **{**options, "client_kwargs": client, **changed})


# -- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 3])
def test_a_winner_whose_answer_is_lost_has_won(behind: Storage, direct: Storage, proxy: Proxy, lost: int) -> None:
    behind.put_if_absent("first", b"so that the condition is known to be honoured")
    proxy.lose_answers = lost
    assert behind.put_if_absent("a", b"nonce 1") is True
    assert direct.get("a") == b"nonce 1"
    assert direct.put_if_absent("a", b"nonce 2") is False


def test_a_loser_whose_answer_is_lost_has_lost(behind: Storage, direct: Storage, proxy: Proxy) -> None:
    direct.put_if_absent("a", b"nonce 1")
    proxy.lose_answers = 1
    assert behind.put_if_absent("a", b"nonce 2") is False
    assert direct.get("a") == b"nonce 1"


@pytest.mark.parametrize("statuses", [[409], [409, 409], [503], [503, 409]])
def test_an_undecided_answer_is_asked_again(behind: Storage, proxy: Proxy, statuses: list[int]) -> None:
    proxy.answer_instead = list(statuses)
    assert behind.put_if_absent("a", b"nonce 1") is True
    assert behind.get("a") == b"nonce 1"


def test_a_large_upload_whose_answer_is_lost_is_there(behind: Storage, proxy: Proxy, tmp_path: Path) -> None:
    objects = ObjectStore(behind, cache=ObjectCache(tmp_path / "cache"))
    behind.put_if_absent("first", b"x")
    data = os.urandom(9 << 20)
    proxy.lose_answers = 1
    ref = objects.put(lambda: iter([data]), len(data))
    objects.check(ref)


def test_a_large_object_is_uploaded_in_parts_and_not_replaced(seaweed_url: Place, tmp_path: Path) -> None:
    storage = _at(seaweed_url, seaweed_url[1]["client_kwargs"]["endpoint_url"])
    for content, is_first in ((b"1", True), (b"2", False)):
        staging = storage.stage()
        for _ in range(40):
            staging.write(content * (1 << 20))
        assert staging.commit("big") is is_first
    assert storage.get("big", 0, 5) == b"11111"
    assert storage.size("big") == 40 << 20


def test_a_server_that_ignores_the_condition_is_found_out(moto_url: Place) -> None:
    """moto, because it does not mind that the signature covers a header that is gone."""
    proxy = Proxy(moto_url[1]["client_kwargs"]["endpoint_url"])
    proxy.drop_condition = True
    behind = _at(moto_url, proxy.endpoint)
    for _ in range(2):
        with pytest.raises(CapabilityError, match="condition"):
            behind.put_if_absent("a", b"x")
    proxy.close()
    assert not behind.capabilities.multi_writer
    assert not behind.capabilities.put_if_absent


def test_each_operation_costs_one_request(behind: Storage, proxy: Proxy) -> None:
    def size_of_nothing() -> None:
        with pytest.raises(NotFoundError):
            behind.size("none")

    behind.put_if_absent("a", b"content")
    behind.put_if_absent("b", b"content")
    for act, requests in (
        (lambda: behind.get("a"), ["GET"]),
        (lambda: behind.get("a", 1, 3), ["GET"]),
        (lambda: behind.size("a"), ["HEAD"]),
        (size_of_nothing, ["HEAD"]),
        (lambda: list(behind.list("")), ["GET"]),
        (lambda: list(behind.list("none/at/all")), ["GET"]),
        (lambda: behind.put_if_absent("c", b"content"), ["PUT"]),
        (lambda: behind.delete("c"), ["DELETE"]),
    ):
        proxy.requests.clear()
        act()
        assert proxy.requests == requests


def test_threads_that_create_at_the_same_time_try_the_condition_once(behind: Storage, proxy: Proxy) -> None:
    together = threading.Barrier(4)

    def create(name: str) -> bool:
        together.wait(60)
        return behind.put_if_absent(name, b"content")

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(create, "abcd"))
    assert proxy.requests == ["PUT"] * 5


# -- failures ----------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_named(moto_url: Place) -> None:
    storage = open_storage("s3://no-such-bucket-anywhere/x", **moto_url[1])
    with pytest.raises(StorageError, match="bucket"):
        storage.put_if_absent("a", b"x")
    with pytest.raises(StorageError, match="bucket"):
        storage.get("a")


def test_wrong_credentials_are_an_error_of_ours_and_stay_secret(seaweed_url: Place) -> None:
    endpoint = seaweed_url[1]["client_kwargs"]["endpoint_url"]
    storage = _at(seaweed_url, endpoint, key="nobody-knows-me", secret="very-secret-value")
    with pytest.raises(ReadOnlyError, match="credentials") as writing:
        storage.put_if_absent("a", b"x")
    with pytest.raises(StorageError) as reading:
        storage.get("a")
    for caught in (writing, reading):
        shown = "".join(traceback.format_exception(caught.value))
        assert "very-secret-value" not in shown
        assert "nobody-knows-me" not in str(caught.value)
    assert "very-secret-value" not in repr(storage) + storage.url


def test_a_server_that_cannot_be_reached_is_an_error_of_ours(seaweed_url: Place) -> None:
    quick = {"connect_timeout": 1, "retries": {"max_attempts": 0}}
    storage = _at(seaweed_url, "http://127.0.0.1:9", config_kwargs=quick)
    with pytest.raises(StorageError, match="reached"):
        storage.get("a")


@pytest.mark.parametrize(
    ("status", "advice", "unreachable"),
    [(500, "Try again later", True), (503, "Try again later", True), (400, "Check the URL and the options", False)],
)
def test_a_server_that_answers_with_an_error_is_not_called_unreachable(
    moto_url: Place, status: int, advice: str, unreachable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setattr("mlflowish.storage.remote._TRIES", 1)
    proxy = Proxy(moto_url[1]["client_kwargs"]["endpoint_url"])
    proxy.fails_with = status
    storage = _at(moto_url, proxy.endpoint, config_kwargs={"retries": {"max_attempts": 0}})
    for act in (lambda: storage.get("a"), lambda: storage.put_if_absent("a", b"x"), lambda: list(storage.list(""))):
        with pytest.raises(StorageError, match=advice) as caught:
            act()
        assert f"HTTP {status}" in str(caught.value)
        assert "Check that the server can be reached" not in str(caught.value)
        assert caught.value.unreachable is unreachable
    proxy.close()


def test_credentials_that_are_not_there_are_what_to_look_for(
    moto_url: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    url, options = moto_url
    storage = open_storage(f"{url}/x", client_kwargs=options["client_kwargs"])
    with pytest.raises(StorageError, match="Check the credentials") as caught:
        storage.get("a")
    assert not caught.value.unreachable


def test_secrets_in_a_url_are_not_shown() -> None:
    storage = open_storage("s3://user:hunter22@bucket/prefix?token=hunter22")
    assert "hunter22" not in storage.url + repr(storage)


def test_opening_connects_to_nothing_and_travels_by_pickle() -> None:
    storage = open_storage("s3://bucket/prefix", key="k", secret="s", endpoint_url="http://127.0.0.1:9")
    assert storage.url == "s3://bucket/prefix"
    assert pickle.loads(pickle.dumps(storage)).url == storage.url
    assert storage.local_path("a") is None


# -- what a URL opens --------------------------------------------------------------------------------


def test_each_form_of_a_folder_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for form in ("store", "./store", str(tmp_path / "store"), tmp_path / "store", f"file://{tmp_path}/store"):
        storage = open_storage(form)
        assert isinstance(storage, LocalStorage)
        assert storage.url == str(tmp_path / "store")
    assert open_storage(f"file://{tmp_path}/a%20b").url == f"{tmp_path}/a b"


def test_a_memory_url_names_one_place() -> None:
    name = uuid.uuid4().hex
    open_storage(f"memory://{name}").put("a", b"x")
    assert open_storage(f"memory://{name}").get("a") == b"x"
    assert isinstance(open_storage("memory://"), MemoryStorage)


@pytest.mark.parametrize(("url", "near"), [("s4://bucket/x", "s3"), ("memry://x", "memory"), ("fiel:///x", "file")])
def test_an_unknown_scheme_is_refused_with_the_nearest_known(url: str, near: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_storage(url)
    assert caught.value.known[0] == near
    assert near in str(caught.value)


@pytest.mark.parametrize("url", ["", "  ", 3, "file://elsewhere/x", "simplecache::s3://bucket/x", "://x", b"bytes"])
def test_what_is_no_location_is_refused(url: Any) -> None:
    with pytest.raises((InvalidInputError, TypeError)) as caught:
        open_storage(url)
    assert url == 3 or isinstance(caught.value, InvalidInputError)


def test_an_option_that_nobody_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="fsync"):
        open_storage(tmp_path, fsnyc="always")
    with pytest.raises(InvalidInputError, match="key"):
        open_storage("memory://x", key="k")


@pytest.mark.parametrize(("url", "extra", "module"), [
    ("s3://b/x", "s3", "s3fs"), ("gs://b/x", "gcs", "gcsfs"), ("az://b/x", "azure", "adlfs"),
])  # fmt: skip
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, url: str, extra: str, module: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(MissingExtraError, match=rf"mlflowish\[{extra}\]") as caught:
        open_storage(url)
    assert caught.value.extra == extra


# -- filesystems that nobody has measured ------------------------------------------------------------


@pytest.fixture
def register() -> Iterator[Any]:
    """Registers filesystems of the test with fsspec, on a dict of their own."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.registry import _registry

    names = []

    def add(**methods: Any) -> str:
        name = f"t{uuid.uuid4().hex[:8]}"
        kind = type("Unmeasured", (MemoryFileSystem,), {"protocol": name, "store": {}, "pseudo_dirs": [""], **methods})
        kind._strip_protocol = classmethod(lambda cls, path: MemoryFileSystem._strip_protocol(path.split("://")[-1]))
        fsspec.register_implementation(name, kind)
        names.append(name)
        return f"{name}://root"

    yield add
    for name in names:
        _registry.pop(name, None)


def test_an_unmeasured_filesystem_that_creates_exclusively_passes(register: Any) -> None:
    lock = threading.Lock()

    def pipe_file(self: Any, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        with lock:
            if mode == "create" and self.exists(path):
                raise FileExistsError(path)
            with self.open(path, "wb") as file:
                file.write(value)

    storage = open_storage(register(pipe_file=pipe_file))
    assert not storage.capabilities.multi_writer
    assert storage.put_if_absent("a/b", b"first") is True
    assert storage.put_if_absent("a/b", b"second") is False
    assert storage.capabilities.multi_writer
    assert storage.get("a/b") == b"first"
    assert [info.path for info in storage.list("")] == ["a/b"]


def test_one_that_looks_first_and_writes_then_is_demoted_to_one_writer(register: Any) -> None:
    """fsspec's own default: it does not always lose the race, so it is known by its class."""
    storage = open_storage(register())
    with pytest.warns(RuntimeWarning, match="ONE writer"):
        assert storage.put_if_absent("a/b", b"first") is True
    assert storage.put_if_absent("a/b", b"second") is False
    assert not storage.capabilities.multi_writer
    assert storage.get("a/b") == b"first"
    staging = storage.stage()
    staging.write(bytes(9 << 20))
    assert staging.commit("big") is True
    assert storage.size("big") == 9 << 20
    assert {info.path for info in storage.list("")} == {"a/b", "big"}


def test_one_that_ignores_the_mode_is_demoted(register: Any) -> None:
    def pipe_file(self: Any, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        with self.open(path, "wb") as file:
            file.write(value)

    storage = open_storage(register(pipe_file=pipe_file))
    with pytest.warns(RuntimeWarning, match="self-test"):
        storage.put_if_absent("a", b"x")
    assert not storage.capabilities.put_if_absent
