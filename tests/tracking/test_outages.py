"""Stores that cannot be reached, are full, or cannot be made: the program goes on, and nothing is lost."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.errors import FormatVersionError, StorageError
from mlflowish.tracking import find_run, read_runs
from mlflowish.tracking.places import private_place
from mlflowish.tracking.spool import HEADER, MAGIC

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from proxy import Proxy


@pytest.fixture
def proxy(moto_url) -> Iterator[Proxy]:
    opened = Proxy(moto_url[1]["client_kwargs"]["endpoint_url"])
    yield opened
    opened.close()


@pytest.fixture
def behind(moto_url, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, object]]:
    """moto as seen through the proxy; asked once, not five times by botocore, and each time five times by s3fs."""
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    url, options = moto_url
    client = {**options["client_kwargs"], "endpoint_url": proxy.endpoint}
    once = {"retries": {"max_attempts": 0}, "connect_timeout": 60, "read_timeout": 60}
    return url, {**options, "client_kwargs": client, "config_kwargs": once}


def test_a_bucket_that_is_away_for_a_while_gets_everything(behind, proxy: Proxy, caplog) -> None:
    proxy.is_down = True
    url, options = behind
    store = mf.Store(url, **options)
    with caplog.at_level(logging.WARNING, "mlflowish"):
        with mf.start_run("offline", store=store) as run:
            for step in range(100):
                mf.log_metric("loss", 1 / (step + 1), step=step)
            mf.log_param("lr", 0.1)
            mf.log_text("kept", "notes/a.txt")
            assert run.metrics == {"loss": 0.01}
            assert run.artifacts.text("notes/a.txt") == "kept"
        with pytest.raises(StorageError):
            mf.sync(store)
    proxy.is_down = False
    mf.sync(store)
    store.close()
    elsewhere = mf.Store(url, **options)
    found = mf.get_run(run.run_id, store=elsewhere)
    assert (found.status, found.params) == ("FINISHED", {"lr": "0.1"})
    assert found.metric_history("loss").num_rows == 100
    assert found.artifacts.text("notes/a.txt") == "kept"
    assert list(private_place(store).list("spool")) == []
    elsewhere.close()


def test_a_run_in_a_bucket_is_there_for_others_when_the_program_has_ended(behind, run_program) -> None:
    url, options = behind
    code = """
    import json, sys, mlflowish as mf
    mf.use(sys.argv[1], **json.loads(sys.argv[2]))
    with mf.start_run("shipped") as run:
        mf.log_metrics({"a": 1, "b": 2}, step=3)
        mf.log_dict({"x": 1}, "d.json")
    """
    run_program(code, url, json.dumps(options))
    store = mf.Store(url, **options)
    run = mf.get_run(find_run(store, "shipped").run_id, store=store)
    assert (run.status, run.metrics, run.artifacts.paths()) == ("FINISHED", {"a": 1.0, "b": 2.0}, ["d.json"])
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of processes")
def test_a_full_disk_is_one_warning_and_nothing_is_lost(store: mf.Store, program, tmp_path: Path) -> None:
    code = """
    import resource, mlflowish as mf
    with mf.start_run("full"):
        mf.log_metric("x", 0.0, step=0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
        for step in range(1, 3000):
            mf.log_metric("x", step * 2.0, step=step)
            if step % 1000 == 0:
                mf.log_params({f"p{step}": step})
        mf.log_text("y" * 100_000, "big.txt")
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))  # somebody frees some space
    print("went on")
    """
    process = program(code)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "went on\n"), err
    assert err.count("What is logged cannot be written") <= 2
    mf.sync(store)
    run = mf.get_run(find_run(store, "full").run_id)
    assert run.metric_history("x")["value"].to_pylist() == [step * 2.0 for step in range(3000)]
    assert run.params == {"p1000": "1000", "p2000": "2000"}


def test_a_store_that_cannot_be_made_does_not_stop_a_run(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("in the way")
    store = mf.Store(tmp_path / "file" / "store")
    with caplog.at_level(logging.WARNING, "mlflowish"), mf.start_run("kept", store=store) as run:
        mf.log_metric("x", 1)
        mf.log_text("text", "a.txt")
    warnings = [record for record in caplog.records if "is kept in" in record.getMessage()]
    assert len(warnings) == 1
    (tmp_path / "file").unlink()
    assert mf.sync(store).files_in_use == 0
    found = mf.get_run(run.run_id, store=store)
    assert (found.metrics, found.status, found.artifacts.text("a.txt")) == ({"x": 1.0}, "FINISHED", "text")


def test_memory_is_bounded_when_no_disk_takes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("mlflowish.tracking.writer.MEMORY_BYTES", 100_000)
    monkeypatch.setattr("mlflowish.tracking.writer.MOVE_BYTES", 20_000)
    monkeypatch.setattr("mlflowish.tracking.writer.SEAL_BYTES", 20_000)
    store = mf.Store(tmp_path / "file" / "store")
    with caplog.at_level(logging.WARNING, "mlflowish"), mf.start_run(store=store) as run:
        for step in range(20_000):
            mf.log_metric("x", step, step=step)
        held = sum(info.size_bytes for info in run._writer.places[-1].list("spool"))
    assert held < 150_000
    assert any("are lost" in record.getMessage() for record in caplog.records)


def test_a_spool_of_a_newer_version_is_left_as_it_is(store: mf.Store, folder: Path, caplog) -> None:
    with mf.start_run("now"):
        mf.log_metric("x", 1)
    from blake3 import blake3

    from mlflowish.tracking.host import machine_id

    head = HEADER.pack(MAGIC, 2, 0, 0, b"w" * 16, 0, machine_id())
    file = folder / "spool" / f"{(b'w' * 16).hex()}-00000000.log"
    file.write_bytes(head + blake3(head).digest(8) + bytes(64))
    with caplog.at_level(logging.WARNING, "mlflowish"):
        mf.sync(store)
        assert [run.name for run in read_runs(store)] == ["now"]
    assert file.exists()
    assert any("it has spool format 2" in record.getMessage() for record in caplog.records)


def test_a_record_of_a_newer_version_is_refused(store: mf.Store) -> None:
    import msgpack

    with mf.start_run() as run:
        pass
    mf.sync(store)
    store.journals("runs").append(bytes.fromhex(run.run_id), msgpack.packb((2, b"w" * 16, 0, [], {})))
    with pytest.raises(FormatVersionError, match="Upgrade mlflowish"):
        mf.get_run(run.run_id).status
