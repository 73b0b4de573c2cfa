"""Remote files: identified by content, without a download where their server's word for it is known."""

from __future__ import annotations

import gzip
import http.server
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf
from mlflowish.store import contents, distant, remembered

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from proxy import Proxy

sys.path.pop(0)
Bucket = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def proxy(moto_url: Bucket) -> Iterator[Proxy]:
    """One for all tests here: each endpoint is a client of its own, which takes long to make."""
    proxy = Proxy(moto_url[1]["client_kwargs"]["endpoint_url"])
    yield proxy
    proxy.close()


@pytest.fixture
def bucket(moto_url: Bucket, proxy: Proxy, request: pytest.FixtureRequest) -> Bucket:
    """A folder of the test's own, seen through the proxy that counts."""
    url, options = moto_url
    client = {**options["client_kwargs"], "endpoint_url": proxy.endpoint}
    return f"{url}/{request.node.name.replace('[', '-').strip(']')}", {**options, "client_kwargs": client}


@pytest.fixture(autouse=True)
def _as_a_new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with mf.Store(tmp_path / "store"):
        yield


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As if another process asked."""

    def forget() -> None:
        remembered._memory.clear()
        remembered.waiting.clear()
        contents._memo.clear()

    forget()
    return forget


def put(bucket: Bucket, name: str, data: bytes) -> mf.File:
    url, options = bucket
    fs, path = distant.filesystem(f"{url}/{name}", options)
    fs.pipe_file(path, data)
    return mf.File(f"{url}/{name}", **options)


@mf.step
def size_of(file: mf.File) -> int:
    return len(Path(file).read_bytes())


def test_an_unchanged_file_is_asked_about_and_not_downloaded_again(bucket, proxy, forget):
    file = put(bucket, "a.bin", b"x" * 1000)
    proxy.requests.clear()
    assert size_of(file) == 1000
    assert proxy.requests.count("GET") == 1
    forget()
    proxy.requests.clear()
    assert size_of.call(mf.File(file.path, **bucket[1])).hit
    assert proxy.requests == ["HEAD"]


def test_a_changed_file_is_computed_again_and_the_old_content_is_a_hit_again(bucket, proxy, forget):
    file = put(bucket, "a.bin", b"x" * 1000)
    assert size_of(file) == 1000
    put(bucket, "a.bin", b"y" * 999)
    assert size_of(file) == 999
    put(bucket, "a.bin", b"x" * 1000)
    assert size_of.call(file).hit


def test_a_file_of_the_same_size_changed_at_once_is_seen(bucket, forget):
    file = put(bucket, "a.bin", b"x" * 10)
    before = file.digest
    put(bucket, "a.bin", b"y" * 10)
    assert file.digest != before == mf.File(_written("x" * 10)).digest


def test_equal_contents_uploaded_in_other_parts_are_read_once_more_and_hit(bucket, proxy, forget):
    url, options = bucket
    fs, path = distant.filesystem(f"{url}/large.bin", options)
    data = os.urandom(11 << 20)
    fs.pipe_file(path, data, chunksize=5 << 20)
    tag = fs.info(path)["ETag"]
    assert size_of(mf.File(f"{url}/large.bin", **options)) == len(data)
    fs.pipe_file(path, data, chunksize=6 << 20)
    assert fs.info(path)["ETag"] != tag
    assert size_of.call(mf.File(f"{url}/large.bin", **options)).hit


def test_a_renamed_file_is_a_hit(bucket, forget):
    assert size_of(put(bucket, "a.bin", b"same")) == 4
    assert size_of.call(put(bucket, "b.bin", b"same")).hit


def test_a_file_that_changes_while_the_step_runs_is_no_result_of_the_old_one(bucket):
    file = put(bucket, "a.bin", b"old")

    @mf.step
    def read(file: mf.File) -> bytes:
        put(bucket, "a.bin", b"newer")
        with distant.open_far(file.path, "rb", bucket[1]) as stream:  # past the copy
            return bytes(stream.read())

    with pytest.warns(mf.UncachedWarning, match="changes its argument 'file'"):
        assert read(file) == b"newer"
    put(bucket, "a.bin", b"old")
    assert not read.is_cached(file)


def test_a_step_reads_what_it_was_called_with_even_if_the_file_changes_meanwhile(bucket):
    file = put(bucket, "a.bin", b"old")
    assert file.digest == mf.File(_written("old")).digest
    put(bucket, "a.bin", b"newer")
    assert Path(file).read_bytes() == b"old" == file.read_bytes()
    assert b"".join(map(bytes, file.chunks())) == b"old"


def test_the_copy_has_the_name_of_the_file_and_is_verified(bucket, proxy, forget):
    file = put(bucket, "data set (1).csv.gz", gzip.compress(b"a\n1\n"))
    import pandas as pd

    assert pd.read_csv(file).a.tolist() == [1]
    assert os.path.basename(file.local()) == "data set (1).csv.gz"
    real = os.path.realpath(file.local())
    os.chmod(real, 0o600)
    Path(real).write_bytes(b"spoiled by somebody")
    assert gzip.decompress(Path(file).read_bytes()) == b"a\n1\n"


def test_without_a_copy_the_file_is_fetched_again_and_must_be_the_same(bucket, forget):
    file = put(bucket, "a.bin", b"one")
    assert file.digest
    os.unlink(os.path.realpath(file.local()))
    assert Path(file).read_bytes() == b"one"
    os.unlink(os.path.realpath(file.local()))
    put(bucket, "a.bin", b"two")
    with pytest.raises(mf.StorageError, match="has changed since"):
        file.local()
    assert Path(pickle.loads(pickle.dumps(file))).read_bytes() == b"two"


def test_a_file_larger_than_the_cache_is_read_without_a_copy(bucket, monkeypatch):
    monkeypatch.setenv("MLFLOWISH_CACHE_BYTES", "10")
    file = put(bucket, "a.bin", b"x" * 100)
    assert file.digest == mf.File(_written("x" * 100)).digest
    assert file.read_bytes() == b"x" * 100
    with pytest.raises(mf.StorageError, match="MLFLOWISH_CACHE_BYTES"):
        file.local()


def test_a_missing_remote_file_and_a_folder_are_clear_errors(bucket):
    url, options = bucket
    put(bucket, "folder/a.bin", b"x")
    with pytest.raises(mf.NotFoundError, match=r"no file at s3://.*nothing\.bin"):
        mf.File(f"{url}/nothing.bin", **options).digest
    with pytest.raises(mf.InvalidInputError, match="is a folder"):
        mf.File(f"{url}/folder", **options).digest


def test_secrets_of_a_url_are_not_shown():
    shown = repr(mf.File("https://me:hush@example.com/a.csv?X-Amz-Signature=abc"))
    assert "hush" not in shown
    assert "abc" not in shown


def test_asking_for_a_digest_creates_no_store(tmp_path, bucket):
    with mf.Store(tmp_path / "never"):
        assert put(bucket, "a.bin", b"x").digest
    assert not (tmp_path / "never").exists()


def test_the_store_of_the_step_is_the_one_that_remembers(tmp_path, bucket, proxy, forget):
    file = put(bucket, "a.bin", b"x")
    step = mf.step(store=tmp_path / "other")(size_of.fn)
    assert step(file) == 1
    forget()
    proxy.requests.clear()
    assert step.call(file).hit
    assert proxy.requests == ["HEAD"]
    assert not (tmp_path / "store").exists()


def test_records_that_contradict_each_other_are_not_believed(bucket, forget):
    file = put(bucket, "a.bin", b"x")
    assert size_of(file) == 1
    store = mf.active_store()
    [(key, payload)] = list(store.journals("files").scan())
    store.journals("files").append(key, payload[:-1] + b"?")
    store.journals("files").append(key, b"nonsense")
    forget()
    assert file.digest == mf.File(_written("x")).digest


def test_a_large_local_file_is_hashed_once_for_all_processes(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(1 << 20))
    os.utime(path, ns=(10**18 + 1, 10**18 + 1))
    code = (
        "import time, pathlib, mlflowish as mf\n"
        "from mlflowish.store import contents\n"
        "contents._DISTRUST_S = 0.0\n"
        "read = contents.content_of\n"
        "contents.content_of = lambda chunks: print('read') or read(chunks)\n"
        "def size(file): return pathlib.Path(file).stat().st_size\n"
        f"mf.use({str(tmp_path / 'store')!r})\n"
        f"print(mf.step(size).call(mf.File({str(path)!r})).hit)\n"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["read", "False"], ["True"]]


# -- what servers say --------------------------------------------------------------------------------

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("url", "info", "is_taken"),
    [
        ("s3://b/k", {"ETag": '"9e107d9d372bb6826bd81d3542a419d6"'}, True),
        ("s3://b/k", {"ETag": '"9e107d9d372bb6826bd81d3542a419d6-17"'}, True),
        ("s3://b/k", {"ETag": '"5f3e-62a1"', "LastModified": 4e9}, False),
        ("s3://b/k", {"ETag": '"5f3e-62a1"', "LastModified": 1e9}, True),
        ("s3://b/k", {"LastModified": 1e9}, False),
        ("gs://b/k", {"generation": "1700000000000000", "md5Hash": "x=="}, True),
        ("gs://b/k", {"etag": "CJ="}, False),
        ("az://b/k", {"etag": '"0x8DC"', "last_modified": 1e9}, True),
        ("https://h/k", {"ETag": '"abc"', "Last-Modified": MODIFIED}, True),
        ("https://h/k", {"ETag": 'W/"abc"', "Last-Modified": MODIFIED}, False),
        ("https://h/k", {"ETag": '"abc"'}, False),
        ("sftp://h/k", {"mtime": 1e9, "ETag": "abc"}, False),
        ("zip://a::s3://b/k", {"ETag": '"9e107d9d372bb6826bd81d3542a419d6"'}, False),
    ],
    ids=str,
)
def test_only_a_word_that_tells_contents_apart_is_taken(url, info, is_taken):
    assert bool(distant.mark_of(url, {"size": 1, **info})) is is_taken


def test_a_listing_and_a_single_answer_say_the_same(bucket):
    file = put(bucket, "a.bin", b"x")
    fs, path = distant.filesystem(file.path, bucket[1])
    [listed] = fs.find(path.rpartition("/")[0], detail=True).values()
    assert distant.look_of(file.path, listed) == distant.look_at(file.path, bucket[1])


def test_a_backend_without_such_a_word_is_read_each_time(tmp_path):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/words/a.txt", b"one")
    file = mf.File("memory://words/a.txt")
    before = file.digest
    fs.pipe_file("/words/a.txt", b"two")
    assert file.digest != before
    assert Path(file).read_bytes() == b"two"


def test_files_of_a_web_server_are_files(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "a.csv").write_text("a\n1\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Quiet", (_Quiet,), {"folder": str(site)}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        file = mf.File(f"http://127.0.0.1:{server.server_address[1]}/a.csv")
        assert size_of(file) == 4
        (site / "a.csv").write_text("a\n22\n")
        assert size_of(file) == 5
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    folder = ""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, directory=self.folder)

    def log_message(self, *args: Any) -> None:
        """Not in the output of the tests."""


def _written(text: str) -> Path:
    path = Path("written.txt")
    path.write_text(text)
    return path
