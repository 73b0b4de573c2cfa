"""Damage anywhere in a file: never a wrong record, and the others are kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from journal_worlds import key_of, payload_of

from mlflowish.errors import FormatVersionError
from mlflowish.journals import Journals
from mlflowish.journals.frames import frame, scan_frames, seal_of
from mlflowish.journals.segment import Segment
from mlflowish.storage.local import LocalStorage

RECORDS = {key_of(number): payload_of(number) for number in range(60)}


@pytest.fixture(params=["journal", "segment"])
def pristine(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store with one file in it; the path of that file."""
    root = tmp_path / "store"
    journals = Journals(LocalStorage(str(root), fsync="never"), "calls")
    for key, payload in RECORDS.items():
        journals.append(key, payload)
    if request.param == "segment":
        journals.compact()
    journals.close()
    (path,) = [path for path in root.rglob("*") if path.is_file()]
    return path


def survivors(root: Path) -> int:
    """How many records are found, by key and by scan alike; fails on a wrong one."""
    journals = Journals(LocalStorage(str(root), fsync="never"), "calls")
    found = {key: journals.get(key) for key in RECORDS}
    assert all(payloads in ((), (RECORDS[key],)) for key, payloads in found.items())
    assert found == {key: tuple(map(bytes, journals.views(key))) for key in RECORDS}
    scanned = dict(journals.scan())
    assert scanned == {key: payloads[0] for key, payloads in found.items() if payloads}
    return len(scanned)


def root_of(path: Path) -> Path:
    return path.parents[2]


def check_flips(path: Path, positions: range) -> None:
    intact = path.read_bytes()
    for position in positions:
        damaged = bytearray(intact)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        assert survivors(root_of(path)) >= len(RECORDS) - 1, f"byte {position}"


def test_a_flipped_bit_costs_at_most_its_record(pristine: Path) -> None:
    check_flips(pristine, range(3, pristine.stat().st_size, 29))


def test_a_flipped_bit_in_the_header_costs_nothing(pristine: Path) -> None:
    intact = pristine.read_bytes()
    for position in range(64):
        damaged = bytearray(intact)
        damaged[position] ^= 0x40
        pristine.write_bytes(damaged)
        assert survivors(root_of(pristine)) == len(RECORDS), f"byte {position}"


@pytest.mark.nightly
def test_a_flipped_bit_at_every_byte_costs_at_most_its_record(pristine: Path) -> None:
    check_flips(pristine, range(pristine.stat().st_size))


def check_truncations(path: Path, sizes: range) -> None:
    intact = path.read_bytes()
    for size in sizes:
        path.write_bytes(intact[:size])
        kept = survivors(root_of(path))
        frames_end = 64 + sum(32 + len(payload) for payload in RECORDS.values())
        assert kept >= min(len(RECORDS), len(RECORDS) * (size - 64) // (frames_end - 64) - 8), f"cut at {size}"


def test_a_truncated_file_keeps_what_is_whole(pristine: Path) -> None:
    check_truncations(pristine, range(0, pristine.stat().st_size, 97))


@pytest.mark.nightly
def test_a_file_truncated_anywhere_keeps_what_is_whole(pristine: Path) -> None:
    check_truncations(pristine, range(pristine.stat().st_size))


def test_zeroes_in_the_middle_cost_only_what_they_cover(pristine: Path) -> None:
    data = bytearray(pristine.read_bytes())
    data[500:900] = bytes(400)
    pristine.write_bytes(data)
    assert survivors(root_of(pristine)) >= len(RECORDS) - 12


def test_compaction_of_a_damaged_file_keeps_the_rest(pristine: Path) -> None:
    data = bytearray(pristine.read_bytes())
    data[700] ^= 1
    pristine.write_bytes(data)
    root = root_of(pristine)
    before = survivors(root)
    journals = Journals(LocalStorage(str(root), fsync="never"), "calls")
    journals.append(bytes(16), b"one more")
    journals.compact()
    journals.close()
    assert survivors_with(root, bytes(16)) == before + 1


def survivors_with(root: Path, extra: bytes) -> int:
    journals = Journals(LocalStorage(str(root), fsync="never"), "calls")
    assert journals.get(extra) == (b"one more",)
    return len(list(journals.scan()))


def test_a_segment_whose_index_is_gone_is_searched_frame_by_frame(tmp_path: Path) -> None:
    journals = Journals(LocalStorage(str(tmp_path), fsync="never"), "calls")
    for key, payload in RECORDS.items():
        journals.append(key, payload)
    journals.compact()
    (path,) = (tmp_path / "segments/calls").iterdir()
    frames_end = 64 + sum(32 + len(payload) for payload in RECORDS.values())
    data = bytearray(path.read_bytes())
    data[frames_end:] = b"\xff" * (len(data) - frames_end)
    path.write_bytes(data)
    assert survivors(tmp_path) == len(RECORDS)


def test_a_damaged_bucket_hides_nothing(tmp_path: Path) -> None:
    journals = Journals(LocalStorage(str(tmp_path), fsync="never"), "calls")
    for number in range(3_000):
        journals.append(key_of(number), payload_of(number))
    journals.compact()
    (path,) = (tmp_path / "segments/calls").iterdir()
    data = bytearray(path.read_bytes())
    segment = Segment(bytes(data), path=path.name, kind="calls")
    middle_of_the_index = segment._data_end + 3_000 * 12
    data[middle_of_the_index : middle_of_the_index + 24] = bytes(24)
    damaged = Segment(bytes(data), path=path.name, kind="calls")
    assert all(damaged.get(key_of(number)) == [payload_of(number)] for number in range(3_000))


def test_frames_inside_a_payload_are_no_records(tmp_path: Path) -> None:
    """A journal stored as somebody's result must not come alive when the frame around it is damaged."""
    nonce, other = bytes(16), b"\x01" * 16
    foreign = frame(seal_of("calls", other), key_of(1) + b"of another journal")
    seal = seal_of("calls", nonce)
    data = bytearray(frame(seal, key_of(2) + b"before " + foreign + b" after") + frame(seal, key_of(3) + b"intact"))
    data[8] ^= 1
    assert [item for _, item in scan_frames(bytes(data), seal).items] == [key_of(3) + b"intact"]


def test_a_file_under_a_wrong_kind_gives_no_records(tmp_path: Path) -> None:
    journals = Journals(LocalStorage(str(tmp_path), fsync="never"), "calls")
    journals.append(key_of(1), b"a call")
    journals.close()
    (path,) = (tmp_path / "journals/calls").iterdir()
    shutil.copytree(tmp_path / "journals/calls", tmp_path / "journals/prints")
    assert Journals(LocalStorage(str(tmp_path), fsync="never"), "prints").get(key_of(1)) == ()
    assert path.exists()


def test_a_damaged_version_number_is_no_newer_format(pristine: Path) -> None:
    data = bytearray(pristine.read_bytes())
    data[8] = 99
    pristine.write_bytes(data)
    try:
        assert survivors(root_of(pristine)) == len(RECORDS)
    except FormatVersionError:  # pragma: no cover
        pytest.fail("the header's check tells damage from a newer version")


def test_a_torn_tail_is_followed_by_whole_records(tmp_path: Path, open_journals: Callable[..., Journals]) -> None:
    """A frame that is just being written is waited for, not skipped."""
    root = LocalStorage(str(tmp_path), fsync="never")
    nonce = bytes(range(16))
    path = f"journals/calls/{nonce.hex()}.log"
    appender = root.open_append(path)
    from mlflowish.journals.frames import JOURNAL_MAGIC, file_header

    appender.write(file_header(JOURNAL_MAGIC, "calls", nonce))
    whole = frame(seal_of("calls", nonce), key_of(1) + b"x" * 1000)
    reader = open_journals(root)
    appender.write(whole[:300])
    assert reader.get(key_of(1)) == ()
    appender.write(whole[300:])
    assert reader.get(key_of(1)) == (b"x" * 1000,)
    appender.close()


def test_a_torn_tail_that_is_taken_back_and_written_anew_is_read(tmp_path: Path) -> None:
    """The file is as long as it was when it ended in torn bytes, and is read again all the same."""
    journals = Journals(LocalStorage(str(tmp_path)), "calls")
    journals.append(key_of(1), b"first")
    (path,) = (tmp_path / "journals/calls").iterdir()
    intact = path.read_bytes()
    nonce = bytes.fromhex(path.stem)
    second = frame(seal_of("calls", nonce), key_of(2) + b"second")
    reader = Journals(LocalStorage(str(tmp_path)), "calls")
    path.write_bytes(intact + frame(seal_of("calls", nonce), key_of(3) + b"x" * 99)[: len(second)])
    assert reader.get(key_of(2)) == ()
    path.write_bytes(intact + second)
    assert reader.get(key_of(2)) == (b"second",)
    journals.close()
