"""Journals of a store that cannot append: spooled, shipped in batches, never in the program's way."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from journal_worlds import BucketStorage, key_of, payload_of

from mlflowish.errors import StorageError
from mlflowish.journals import Journals
from mlflowish.storage.base import ObjectInfo, Storage
from mlflowish.storage.local import LocalStorage
from mlflowish.storage.memory import MemoryStorage
from mlflowish.storage.open import open_storage

Open = Callable[..., Journals]
HERE = Path(__file__).parent


def spooled(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.log")]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_own_records_are_visible_before_they_are_shipped(bucket: BucketStorage, open_journals: Open) -> None:
    journals = open_journals(bucket)
    journals.append(key_of(1), b"one")
    assert journals.get(key_of(1)) == (b"one",)
    assert list(bucket.list("")) == []


def test_a_batch_is_one_object(bucket: BucketStorage, open_journals: Open) -> None:
    journals = open_journals(bucket)
    for number in range(100):
        journals.append(key_of(number), payload_of(number))
    journals.flush()
    (info,) = bucket.list("journals/calls")
    nonce, content = info.path.removeprefix("journals/calls/").removesuffix(".log").split("-")
    assert (len(bytes.fromhex(nonce)), len(bytes.fromhex(content))) == (16, 8)


def test_records_are_shipped_behind_the_programs_back(bucket: BucketStorage, open_journals: Open) -> None:
    journals, reader = open_journals(bucket, ship_every_s=0.05), open_journals(bucket)
    journals.append(key_of(1), b"one")
    wait_for(lambda: reader.get(key_of(1)) == (b"one",))


def test_a_large_spool_is_shipped_before_its_time(
    bucket: BucketStorage, open_journals: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflowish.journals.spool.BATCH_BYTES", 10_000)
    journals = open_journals(bucket, ship_every_s=600.0)
    for number in range(200):
        journals.append(key_of(number), payload_of(number) * 3)
    wait_for(lambda: len(list(bucket.list("journals/calls"))) >= 2)


def test_the_spool_is_empty_after_closing(bucket: BucketStorage, open_journals: Open, tmp_path: Path) -> None:
    journals = open_journals(bucket, spool_dir=tmp_path / "spool")
    journals.append(key_of(1), b"one")
    assert len(spooled(tmp_path / "spool")) == 1
    journals.close()
    assert spooled(tmp_path / "spool") == []
    assert open_journals(bucket).get(key_of(1)) == (b"one",)


def test_a_store_that_cannot_be_reached_stops_nothing_and_is_told_once(
    bucket: BucketStorage, open_journals: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journals = open_journals(bucket, spool_dir=tmp_path / "spool", ship_every_s=0.01)
    journals.append(key_of(0), payload_of(0))
    journals.flush()
    bucket.is_cut_off = True
    with caplog.at_level(logging.WARNING, "mlflowish.journals"):
        for number in range(1, 50):
            journals.append(key_of(number), payload_of(number))
            time.sleep(0.002)
        wait_for(lambda: "unreachable" in caplog.text)
        with pytest.raises(StorageError, match="unreachable"):
            journals.flush()
        assert all(journals.get(key_of(number)) == (payload_of(number),) for number in range(50))
    bucket.is_cut_off = False
    journals.flush()
    told = [record.getMessage() for record in caplog.records if record.name.startswith("mlflowish.journals")]
    assert len(told) == 1
    assert "unreachable" in told[0]
    assert spooled(tmp_path / "spool") == []
    reader = open_journals(bucket)
    assert all(reader.get(key_of(number)) == (payload_of(number),) for number in range(50))


def test_a_lost_answer_duplicates_nothing(bucket: BucketStorage, open_journals: Open) -> None:
    journals = open_journals(bucket)
    journals.append(key_of(1), b"one")
    bucket.loses_answers = True
    with pytest.raises(StorageError, match="lost"):
        journals.flush()
    bucket.loses_answers = False
    journals.flush()
    assert len(list(bucket.list("journals/calls"))) == 1
    assert list(journals.scan()) == [(key_of(1), b"one")]


def test_what_a_killed_process_left_in_its_spool_is_shipped_by_the_next(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from journal_worlds import BucketStorage, key_of
from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage
journals = Journals(BucketStorage(LocalStorage({str(tmp_path / "far")!r})), "calls",
                    spool_dir=Path({str(tmp_path / "spool")!r}), ship_every_s=600.0)
journals.append(key_of(1), b"acknowledged")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    bucket = BucketStorage(LocalStorage(str(tmp_path / "far"), fsync="never"))
    assert list(bucket.list("")) == []
    reader = Journals(bucket, "calls", spool_dir=tmp_path / "spool", ship_every_s=0.01)
    assert reader.get(key_of(1)) == (b"acknowledged",)
    wait_for(lambda: len(list(bucket.list("journals/calls"))) == 1)
    reader.close()
    assert spooled(tmp_path / "spool") == []


def test_the_spool_of_a_living_process_is_left_to_it(
    bucket: BucketStorage, open_journals: Open, tmp_path: Path
) -> None:
    first = open_journals(bucket, spool_dir=tmp_path / "spool")
    first.append(key_of(1), b"one")
    second = open_journals(bucket, spool_dir=tmp_path / "spool")
    second.append(key_of(2), b"two")
    second.flush()
    assert open_journals(bucket).get(key_of(1)) == ()
    assert len(spooled(tmp_path / "spool")) == 1


def test_an_interpreter_that_ends_ships_its_spool(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from journal_worlds import BucketStorage, key_of
from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage
journals = Journals(BucketStorage(LocalStorage({str(tmp_path / "far")!r})), "calls",
                    spool_dir=Path({str(tmp_path / "spool")!r}), ship_every_s=600.0)
journals.append(key_of(1), b"one")
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert spooled(tmp_path / "spool") == []
    reader = Journals(BucketStorage(LocalStorage(str(tmp_path / "far"))), "calls")
    assert reader.get(key_of(1)) == (b"one",)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_ships_its_own_and_the_parent_its_own(tmp_path: Path) -> None:
    script = f"""
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking beside the thread that ships is what is tested
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from journal_worlds import BucketStorage, key_of
from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage
journals = Journals(BucketStorage(LocalStorage({str(tmp_path / "far")!r})), "calls",
                    spool_dir=Path({str(tmp_path / "spool")!r}), ship_every_s=600.0)
journals.append(key_of(1), b"before")
child = os.fork()
if not child:
    assert journals.get(key_of(1)) == (b"before",)
    journals.append(key_of(2), b"child")
    journals.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
journals.append(key_of(3), b"parent")
journals.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    reader = Journals(BucketStorage(LocalStorage(str(tmp_path / "far"))), "calls")
    assert sorted(payload for _, payload in reader.scan()) == [b"before", b"child", b"parent"]
    assert spooled(tmp_path / "spool") == []


def test_asking_for_absent_keys_lists_seldom(bucket: BucketStorage, open_journals: Open) -> None:
    journals = open_journals(bucket, refresh_s=600.0)
    journals.append(key_of(1), b"one")
    journals.flush()
    journals.get(key_of(0))
    bucket.requests.clear()
    for number in range(2, 1_000):
        assert journals.get(key_of(number)) == ()
    assert bucket.requests == {}


def test_what_lies_in_a_bucket_is_listed_once_for_all_kinds(bucket: BucketStorage, open_journals: Open) -> None:
    for kind in ("calls", "code", "used"):
        assert open_journals(bucket, kind, refresh_s=600.0).get(key_of(1)) == ()
    assert bucket.requests == {"list": 2}


def test_a_kind_that_is_opened_later_knows_what_this_process_has_shipped(
    bucket: BucketStorage, open_journals: Open
) -> None:
    assert open_journals(bucket, "code", refresh_s=600.0).get(key_of(1)) == ()
    journals = open_journals(bucket)
    journals.append(key_of(1), b"one")
    journals.flush()
    assert open_journals(bucket, refresh_s=600.0).get(key_of(1)) == (b"one",)


def test_a_listing_from_before_a_compaction_hides_nothing(bucket: BucketStorage, open_journals: Open) -> None:
    elsewhere = open_journals(BucketStorage(bucket.inner))
    for number in range(3):
        elsewhere.append(key_of(number), payload_of(number))
        elsewhere.flush()
    assert open_journals(bucket, "code", refresh_s=600.0).get(key_of(0)) == ()
    elsewhere.compact()
    reader = open_journals(bucket, refresh_s=600.0)
    assert all(reader.get(key_of(number)) == (payload_of(number),) for number in range(3))


def test_a_look_that_was_ordered_lists_anew(bucket: BucketStorage, open_journals: Open) -> None:
    elsewhere, reader = open_journals(BucketStorage(bucket.inner)), open_journals(bucket, refresh_s=600.0)
    assert reader.get(key_of(1)) == ()
    elsewhere.append(key_of(1), b"one")
    elsewhere.flush()
    assert reader.get(key_of(1)) == ()
    other = open_journals(bucket, refresh_s=600.0)
    other.refresh()
    assert other.get(key_of(1)) == (b"one",)


def test_a_kind_is_listed_alone_where_others_have_very_many_files(
    bucket: BucketStorage, open_journals: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflowish.journals.listings._ONE_ANSWER", 5)
    for number in range(5):
        bucket.put(f"segments/metrics/{number}", b"")
    listed: list[str] = []

    class Told(BucketStorage):
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            listed.append(prefix)
            return super().list(prefix)

    told = Told(bucket.inner)
    for kind in ("calls", "code", "used"):
        open_journals(told, kind).get(key_of(1))
    assert listed[:2] == ["journals", "segments"]
    assert {"journals/used", "segments/used"} <= set(listed[2:])
    assert not {"journals", "segments"} & set(listed[2:])


def test_a_writer_without_work_asks_for_nothing(bucket: BucketStorage, open_journals: Open) -> None:
    journals = open_journals(bucket, ship_every_s=0.01)
    journals.append(key_of(1), b"one")
    wait_for(lambda: bucket.requests.get("list", 0) >= 2)  # what others have left is looked for once
    bucket.requests.clear()
    time.sleep(0.3)  # 30 times its pause
    assert bucket.requests == {}
    for number in range(2, 6):
        journals.append(key_of(number), b"more")
        journals.flush()
    time.sleep(0.3)  # as above: that nothing comes cannot be waited for
    assert bucket.requests == {"put_if_absent": 4}


def test_a_file_is_fetched_without_a_question_for_its_size(
    bucket: BucketStorage, open_journals: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journals = open_journals(bucket)
    journals.append(key_of(1), b"one" * 100)
    journals.flush()
    (info,) = bucket.list("journals/calls")
    for slab_bytes in (1 << 20, info.size_bytes, info.size_bytes // 2 + 1, 100):
        monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / f"cache {slab_bytes}"))
        monkeypatch.setattr("mlflowish.journals.access._SLAB_BYTES", slab_bytes)
        bucket.requests.clear()
        assert open_journals(bucket).get(key_of(1)) == (b"one" * 100,)
        assert bucket.requests == {"list": 2, "get": info.size_bytes // slab_bytes + 1}


def test_a_second_reader_on_this_machine_fetches_nothing_again(bucket: BucketStorage, open_journals: Open) -> None:
    journals = open_journals(bucket)
    for number in range(100):
        journals.append(key_of(number), payload_of(number))
    journals.flush()
    assert open_journals(bucket).get(key_of(5)) == (payload_of(5),)
    bucket.requests.clear()
    assert open_journals(bucket).get(key_of(6)) == (payload_of(6),)
    assert "get" not in bucket.requests


def test_many_batches_become_few_objects(bucket: BucketStorage, open_journals: Open) -> None:
    journals = open_journals(bucket, ship_every_s=0.001)
    for number in range(60):
        journals.append(key_of(number), payload_of(number))
        journals.flush()
    wait_for(lambda: len(list(bucket.list("journals/calls"))) <= 17)
    reader = open_journals(bucket)
    assert all(reader.get(key_of(number)) == (payload_of(number),) for number in range(60))


def test_copies_of_what_was_compacted_away_do_not_stay_in_the_cache(
    bucket: BucketStorage, open_journals: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache"))
    journals, reader = open_journals(bucket), open_journals(bucket)
    for number in range(5):
        journals.append(key_of(number), payload_of(number))
        journals.flush()
    assert reader.get(key_of(0))
    assert len(spooled(tmp_path / "cache")) == 5
    journals.compact()
    reader.refresh()
    assert spooled(tmp_path / "cache") == []


def test_a_copy_damaged_on_the_way_is_not_kept(
    bucket: BucketStorage, open_journals: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journals = open_journals(bucket)
    for number in range(50):
        journals.append(key_of(number), payload_of(number))
    journals.compact()
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache of another machine"))

    class Noisy(BucketStorage):
        def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
            data = bytearray(super().get(path, start, end))
            data[len(data) // 3] ^= 1
            return bytes(data)

    noisy = open_journals(Noisy(bucket.inner))
    found = [noisy.get(key_of(number)) for number in range(50)]
    assert sum(payloads == (payload_of(number),) for number, payloads in enumerate(found)) == 49
    clean = open_journals(bucket)
    assert all(clean.get(key_of(number)) == (payload_of(number),) for number in range(50))


def test_a_full_local_disk_is_an_error_of_the_append(
    bucket: BucketStorage, open_journals: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = open_journals(bucket)
    journals.append(key_of(1), b"one")

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(StorageError, match="space"):
            journals.append(key_of(2), b"two")
    journals.append(key_of(3), b"three")
    journals.flush()
    assert [payload for _, payload in open_journals(bucket).scan()] == [
        payload for _, payload in sorted([(key_of(1), b"one"), (key_of(3), b"three")])
    ]


def test_two_stores_of_one_machine_have_spools_of_their_own(tmp_path: Path, open_journals: Open) -> None:
    one: Storage = BucketStorage(MemoryStorage(f"{tmp_path}/one"))
    two: Storage = BucketStorage(MemoryStorage(f"{tmp_path}/two"))
    first, second = open_journals(one), open_journals(two)
    first.append(key_of(1), b"one")
    second.append(key_of(2), b"two")
    first.close()
    second.close()
    assert [payload for _, payload in open_journals(one).scan()] == [b"one"]
    assert [payload for _, payload in open_journals(two).scan()] == [b"two"]


def test_a_real_s3_endpoint_holds_journals(moto_url: tuple[str, dict[str, Any]], open_journals: Open) -> None:
    url, options = f"{moto_url[0]}/held", moto_url[1]
    first, second = open_storage(url, **options), open_storage(url, **options)
    journals, reader = open_journals(first), open_journals(second)
    for number in range(40):
        journals.append(key_of(number), payload_of(number))
        if number % 10 == 9:
            journals.flush()
    assert all(reader.get(key_of(number)) == (payload_of(number),) for number in range(40))
    assert reader.compact().journals_merged == 4
    assert len(list(first.list("journals/calls"))) == 0
    assert dict(open_journals(first).scan()) == {key_of(number): payload_of(number) for number in range(40)}


def test_an_interpreter_that_ends_ships_to_a_real_s3_endpoint(moto_url: tuple[str, dict[str, Any]]) -> None:
    """Clients of object stores need threads, which an interpreter that ends does not lend for long."""
    url, options = f"{moto_url[0]}/exit", moto_url[1]
    script = (
        "from mlflowish.journals import Journals\n"
        "from mlflowish.storage import open_storage\n"
        f"journals = Journals(open_storage({url!r}, **{options!r}), 'calls', ship_every_s=600.0)\n"
        f"journals.append({key_of(1)!r}, b'the last words')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert Journals(open_storage(url, **options), "calls").get(key_of(1)) == (b"the last words",)
