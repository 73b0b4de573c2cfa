"""What every user of journals relies on, on every sort of storage."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable

import pytest
from journal_worlds import key_of, payload_of

from mlflowish.errors import InvalidInputError
from mlflowish.journals import Journals
from mlflowish.storage.base import Storage

Open = Callable[..., Journals]


def test_what_was_appended_is_found(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    journals.append(key_of(1), b"one")
    assert journals.get(key_of(1)) == (b"one",)


def test_a_key_that_nobody_appended_has_no_payloads(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    journals.append(key_of(1), b"one")
    assert journals.get(key_of(2)) == ()


def test_an_empty_store_has_no_payloads_and_no_files(storage: Storage, open_journals: Open) -> None:
    assert open_journals(storage).get(key_of(1)) == ()
    assert list(storage.list("")) == []


def test_several_payloads_stand_under_one_key_each_once(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    for payload in (b"b", b"a", b"b"):
        journals.append(key_of(1), payload)
    assert sorted(journals.get(key_of(1))) == [b"a", b"b"]


def test_a_payload_added_after_an_answer_is_in_the_next_answer(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    journals.append(key_of(1), b"a")
    assert journals.get(key_of(1)) == (b"a",)
    journals.append(key_of(1), b"b")
    assert sorted(journals.get(key_of(1))) == [b"a", b"b"]


@pytest.mark.parametrize("payload", [b"", b"\x00", b"x" * 300_000])
def test_payloads_of_any_size_come_back(storage: Storage, open_journals: Open, payload: bytes) -> None:
    journals = open_journals(storage)
    journals.append(key_of(1), payload)
    journals.compact()
    assert open_journals(storage).get(key_of(1)) == (payload,)


def test_another_handle_sees_what_was_flushed(storage: Storage, open_journals: Open) -> None:
    writer, reader = open_journals(storage), open_journals(storage)
    assert reader.get(key_of(1)) == ()
    writer.append(key_of(1), b"one")
    writer.flush()
    assert reader.get(key_of(1)) == (b"one",)


def test_refresh_brings_a_second_payload_of_a_known_key(storage: Storage, open_journals: Open) -> None:
    writer, reader = open_journals(storage), open_journals(storage)
    writer.append(key_of(1), b"a")
    writer.flush()
    assert reader.get(key_of(1)) == (b"a",)
    writer.append(key_of(1), b"b")
    writer.flush()
    reader.refresh()
    assert sorted(reader.get(key_of(1))) == [b"a", b"b"]


def test_records_outlive_the_handle_that_wrote_them(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    for number in range(50):
        journals.append(key_of(number), payload_of(number))
    journals.close()
    reopened = open_journals(storage)
    assert [reopened.get(key_of(number)) for number in range(50)] == [(payload_of(number),) for number in range(50)]


def test_appending_goes_on_after_close(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    journals.append(key_of(1), b"a")
    journals.close()
    journals.append(key_of(2), b"b")
    assert (journals.get(key_of(1)), journals.get(key_of(2))) == ((b"a",), (b"b",))


def test_scan_gives_every_record_once_in_order_of_keys(storage: Storage, open_journals: Open) -> None:
    journals, other = open_journals(storage), open_journals(storage)
    wanted = {(key_of(number), payload_of(number)) for number in range(40)}
    for number in range(30):
        journals.append(key_of(number), payload_of(number))
    journals.compact()
    for number in range(20, 40):
        other.append(key_of(number), payload_of(number))
    other.flush()
    assert list(journals.scan()) == sorted(wanted)


def test_kinds_do_not_see_each_other(storage: Storage, open_journals: Open) -> None:
    calls, prints = open_journals(storage, "calls"), open_journals(storage, "fingerprints")
    calls.append(key_of(1), b"call")
    prints.append(key_of(1), b"print")
    calls.flush()
    prints.flush()
    assert open_journals(storage, "calls").get(key_of(1)) == (b"call",)


def test_compaction_keeps_every_record_in_one_file(storage: Storage, open_journals: Open) -> None:
    for start in range(0, 60, 10):
        journals = open_journals(storage)
        for number in range(start, start + 20):
            journals.append(key_of(number), payload_of(number))
        journals.close()
    report = open_journals(storage).compact()
    assert (report.journals_merged, report.records_written, report.is_complete) == (6, 70, True)
    assert len(list(storage.list(""))) == 1
    reader = open_journals(storage)
    assert all(reader.get(key_of(number)) == (payload_of(number),) for number in range(70))


def test_compacting_twice_changes_nothing(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    journals.append(key_of(1), b"a")
    journals.compact()
    before = sorted(info.path for info in storage.list(""))
    assert journals.compact().segments_written == 0
    assert sorted(info.path for info in storage.list("")) == before


def test_a_fold_decides_what_stays_under_a_key(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    for number in range(10):
        journals.append(key_of(number), b"entry")
    journals.append(key_of(3), b"tombstone")
    journals.compact(lambda key, payloads: [b"tombstone"] if b"tombstone" in payloads else payloads)
    assert journals.get(key_of(3)) == (b"tombstone",)
    assert journals.get(key_of(4)) == (b"entry",)


def test_a_fold_may_leave_nothing(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    journals.append(key_of(1), b"a")
    journals.compact(lambda key, payloads: [])
    assert journals.get(key_of(1)) == ()
    assert list(storage.list("")) == []


def test_a_reader_with_an_old_view_finds_what_was_compacted_away_under_it(
    storage: Storage, open_journals: Open
) -> None:
    reader, writer = open_journals(storage), open_journals(storage)
    for number in range(30):
        writer.append(key_of(number), payload_of(number))
    writer.flush()
    assert reader.get(key_of(0)) == (payload_of(0),)
    writer.compact()
    writer.append(key_of(30), payload_of(30))
    writer.compact()
    assert [reader.get(key_of(number)) for number in range(31)] == [(payload_of(number),) for number in range(31)]


@pytest.mark.parametrize("key", [b"", b"short", bytes(17)])
def test_a_key_that_is_not_16_bytes_is_refused(storage: Storage, open_journals: Open, key: bytes) -> None:
    journals = open_journals(storage)
    with pytest.raises(InvalidInputError, match="16 bytes"):
        journals.append(key, b"")
    with pytest.raises(InvalidInputError, match="16 bytes"):
        journals.get(key)


@pytest.mark.parametrize("kind", ["", "Calls", "../x", "a" * 25])
def test_a_kind_that_is_no_name_is_refused(storage: Storage, kind: str) -> None:
    with pytest.raises(InvalidInputError, match="kind"):
        Journals(storage, kind)


def test_keys_that_share_their_first_bytes_are_told_apart(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage)
    keys = [b"same-start--" + number.to_bytes(4, "big") for number in range(500)]
    for key in keys:
        journals.append(key, b"of " + key)
    journals.compact()
    reader = open_journals(storage)
    assert all(reader.get(key) == (b"of " + key,) for key in keys)
    assert reader.get(b"same-start--" + (500).to_bytes(4, "big")) == ()


def test_many_threads_share_one_handle(storage: Storage, open_journals: Open) -> None:
    journals = open_journals(storage, roll_bytes=4_000)

    def work(part: int) -> None:
        for number in range(part, 400, 4):
            journals.append(key_of(number), payload_of(number))
            assert journals.get(key_of(number)) == (payload_of(number),)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(journals.scan()) == sorted((key_of(number), payload_of(number)) for number in range(400))


def test_a_pickled_handle_opens_the_same_records(local: Storage, open_journals: Open) -> None:
    journals = open_journals(local, roll_bytes=12345)
    journals.append(key_of(1), b"one")
    copy = pickle.loads(pickle.dumps(journals))
    assert copy.get(key_of(1)) == (b"one",)
    copy.append(key_of(2), b"two")
    assert journals.get(key_of(2)) == (b"two",)
    copy.close()
