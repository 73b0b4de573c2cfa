"""Opening stores: where they are found, what is refused, and that nothing is created before the first write."""

from __future__ import annotations

import json
import os
import pickle
import threading

import pytest

import mlflowish as mf
from mlflowish.store.entries import Meta


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOWISH_STORE", raising=False)
    monkeypatch.setattr("mlflowish.store.active._used", None)
    return tmp_path


def test_the_default_is_a_folder_beside_the_project_file(nowhere, monkeypatch):
    (nowhere / "pyproject.toml").write_text("")
    (nowhere / "src").mkdir()
    monkeypatch.chdir(nowhere / "src")
    assert mf.active_store().url == str(nowhere / ".mlflowish")
    assert not (nowhere / ".mlflowish").exists()


def test_settings_win_in_their_order(nowhere, monkeypatch):
    (nowhere / "pyproject.toml").write_text('[tool.mlflowish]\nstore = "data/store"\n')
    assert mf.active_store().url == str(nowhere / "data" / "store")
    monkeypatch.setenv("MLFLOWISH_STORE", str(nowhere / "fromenv"))
    assert mf.active_store().url == str(nowhere / "fromenv")
    mf.use(nowhere / "used")
    assert mf.active_store().url == str(nowhere / "used")
    with mf.Store("memory://block") as block:
        assert mf.active_store() is block


def test_a_project_file_that_cannot_be_parsed_is_named(nowhere):
    (nowhere / "pyproject.toml").write_text("[tool.mlflowish\n")
    with pytest.raises(mf.InvalidInputError, match=r"pyproject\.toml"):
        mf.active_store()


@pytest.mark.parametrize("url", ["papyrus://x/y", "s4://bucket/x"])
def test_an_unknown_scheme_is_refused_with_those_that_are_known(url):
    with pytest.raises(mf.MlflowishError, match="Nearest known"):
        mf.Store(url)


@pytest.mark.parametrize("url", ["http://host/folder", "https://host/folder", "zip://a.zip", "github://a:b@main"])
def test_what_cannot_be_written_is_refused_as_a_store(url):
    with pytest.raises(mf.CapabilityError, match="cannot be a store"):
        mf.Store(url)


def test_a_bucket_without_a_name_is_refused():
    pytest.importorskip("s3fs")
    with pytest.raises(mf.InvalidInputError, match="names no bucket"):
        mf.Store("s3://")


def test_a_service_that_cannot_be_reached_is_a_warning_and_the_value_is_returned():
    with mf.Store("ftp://127.0.0.1:1/folder"), pytest.warns(mf.UncachedWarning, match="Could not open ftp"):
        assert mf.step(len)("abc") == 3


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    record = {"id": "0" * 32, "name": "mlflowish", "version": 99}
    (tmp_path / "FORMAT").write_text(json.dumps(record))

    @mf.step
    def f(x):
        return x

    with mf.Store(tmp_path), pytest.raises(mf.FormatVersionError, match="format 99"):
        f(1)
    assert os.listdir(tmp_path) == ["FORMAT"]


def test_a_folder_whose_format_record_is_damaged_is_refused(tmp_path):
    (tmp_path / "FORMAT").write_bytes(b"\xff\x00")
    with pytest.raises(mf.IntegrityError, match="FORMAT"):
        mf.Store(tmp_path).check_format()


def test_stores_travel_and_compare_by_location(tmp_path):
    store = mf.Store(tmp_path / "s", allow_pickle=False)
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.allow_pickle is False
    assert again != mf.Store(tmp_path / "t")


def test_blocks_of_two_threads_do_not_meet(tmp_path):
    store = mf.Store(tmp_path / "s")
    seen = []
    barrier = threading.Barrier(4)

    def work():
        for _ in range(50):
            with store:
                barrier.wait()
                seen.append(mf.active_store() is store)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 200


def test_secrets_of_a_store_are_not_shown():
    pytest.importorskip("s3fs", reason="part of the test extra; a plain installation has no s3")
    store = mf.Store("s3://bucket/lab", key="AKIAEXAMPLE", secret="very-secret")
    assert "very-secret" not in repr(store) + str(store.url) + repr(store.storage)


def test_a_meta_of_a_later_version_with_more_fields_is_read():
    import msgpack

    packed = msgpack.packb([*msgpack.unpackb(Meta("s", "f", reason="r").packed()), "from the future"])
    assert Meta.unpacked(packed).reason == "r"


def test_a_meta_of_an_earlier_version_without_the_run_is_read():
    import msgpack

    fields = msgpack.unpackb(
        Meta(
            "s", "f", run_id="r1", sources=(("x", "", "ab"),), output_kind="other", output_code=(("m", "C", b"id"),)
        ).packed()
    )
    assert fields[-5:] == ["r1", [["x", "", "ab"]], "other", [["m", "C", b"id"]], []]
    assert Meta.unpacked(msgpack.packb(fields[:-5])) == Meta("s", "f")


def test_a_readonly_store_hits_and_returns_misses_with_a_warning(tmp_path):
    @mf.step
    def f(x):
        return x + 1

    with mf.Store(tmp_path / "s"):
        f(1)
    store = mf.Store(tmp_path / "s")
    with _readonly(tmp_path / "s", store), store:
        assert f.call(1).hit
        with pytest.warns(mf.UncachedWarning, match="cannot be stored"):
            call = f.call(2)
        assert call.value == 3
        assert call.uncached_reason
    with mf.Store(tmp_path / "s"):
        assert f.call(1).hit


class _readonly:
    """A folder nobody can write to; root ignores permissions, so for root a store whose writes are refused."""

    def __init__(self, folder, store):
        self._folder = folder
        self._store = store

    def __enter__(self):
        if os.geteuid() == 0:

            def refuse(*_, **__):
                raise mf.ReadOnlyError("read-only file system")

            for name in ("put_if_absent", "put", "open_append", "stage"):
                setattr(self._store.storage, name, refuse)
            return
        for folder, _, _ in os.walk(self._folder):
            os.chmod(folder, 0o555)

    def __exit__(self, *_):
        for folder, _, _ in os.walk(self._folder):
            os.chmod(folder, 0o755)
