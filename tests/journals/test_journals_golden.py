"""The stored forms of format 1, byte by byte: whoever changes them has to mean it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from mlflowish.journals import Journals
from mlflowish.journals.frames import JOURNAL_MAGIC, file_header, frame, seal_of
from mlflowish.journals.segment import SegmentWriter
from mlflowish.storage.local import LocalStorage

GOLDEN = Path(__file__).parent / "golden"
NONCE = bytes(range(0xA0, 0xB0))
RECORDS = [(blake3(b"key %d" % (number // 2)).digest(16), b"payload %d" % number) for number in range(100)]
JOURNAL = GOLDEN / f"{NONCE.hex()}.log"
SEGMENT = GOLDEN / "482dddbc758b31c6f1c7dd5dfa09bbe2.seg"
PINNED = {
    JOURNAL.name: "bbbb2f991d481d13b5864f0f64b900da",
    SEGMENT.name: "482dddbc758b31c6f1c7dd5dfa09bbe2",
}


def journal_bytes() -> bytes:
    seal = seal_of("calls", NONCE)
    return file_header(JOURNAL_MAGIC, "calls", NONCE) + b"".join(frame(seal, key + value) for key, value in RECORDS)


def segment_bytes() -> tuple[str, bytes]:
    pieces: list[bytes] = []
    writer = SegmentWriter(pieces.append, kind="calls", nonce=NONCE)
    writer.fill(iter(sorted(key + value for key, value in RECORDS)), max_records=1_000, max_bytes=1 << 20)
    return writer.finish(), b"".join(pieces)


def test_a_journal_is_written_as_ever() -> None:
    assert journal_bytes() == JOURNAL.read_bytes()


def test_a_segment_is_written_as_ever() -> None:
    name, data = segment_bytes()
    assert (name, data) == (SEGMENT.stem, SEGMENT.read_bytes())


@pytest.mark.parametrize("path", [JOURNAL, SEGMENT], ids=["journal", "segment"])
def test_the_golden_files_are_those_of_the_first_release(path: Path) -> None:
    assert blake3(path.read_bytes()).hexdigest(16) == PINNED[path.name]


@pytest.mark.parametrize(("path", "folder"), [(JOURNAL, "journals"), (SEGMENT, "segments")])
def test_files_of_the_first_release_are_read(
    path: Path, folder: str, tmp_path: Path, open_journals: Callable[..., Journals]
) -> None:
    target = tmp_path / folder / "calls" / path.name
    target.parent.mkdir(parents=True)
    shutil.copy(path, target)
    journals = open_journals(LocalStorage(str(tmp_path), fsync="never"))
    assert list(journals.scan()) == sorted(RECORDS)
    assert all(payload in journals.get(key) for key, payload in RECORDS)


def test_the_magic_of_a_frame_and_its_check_are_pinned() -> None:
    whole = frame(seal_of("calls", NONCE), bytes(16) + b"x")
    assert whole.hex() == "f56d6672010000000000000000000000000000000000000078148058b463bc01a8"


def b3(data: bytes, size: int) -> bytes:
    return blake3(data).digest(size)


def frames_as_specified(data: bytes, start: int, end: int, nonce: bytes) -> list[tuple[int, bytes, bytes]]:
    """(offset, key, payload), by the page of the format alone: none of the package's code is used."""
    seal = b3(b"mlflowish journal seal\0" + b"calls" + b"\0" + nonce, 16)
    found = []
    while start < end:
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        assert data[start : start + 4] == bytes.fromhex("f56d6672")
        assert data[start + 24 + length : start + 32 + length] == b3(seal + data[start : start + 24 + length], 8)
        found.append((start, data[start + 8 : start + 24], data[start + 24 : start + 24 + length]))
        start += 32 + length
    return found


def test_a_journal_is_what_the_page_of_the_format_says() -> None:
    data = JOURNAL.read_bytes()
    assert data[:16] == bytes.fromhex("89 6d 66 6a 6e 6c 0d 0a 01 00 00 00 00 00 00 00")
    assert (data[16:32], data[32:56], data[56:64]) == (NONCE, b"calls".ljust(24, b"\0"), b3(data[:56], 8))
    frames = frames_as_specified(data, 64, len(data), NONCE)
    assert [(key, payload) for _, key, payload in frames] == RECORDS


def test_a_segment_is_what_the_page_of_the_format_says() -> None:
    data = SEGMENT.read_bytes()

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], "little")

    assert SEGMENT.stem == b3(data, 16).hex()
    footer = len(data) - 128
    assert data[footer : footer + 8] == bytes.fromhex("89 6d 66 73 66 74 0d 0a")
    assert data[-8:] == b3(data[footer:-8], 8)
    bits, records, data_end = number(footer + 12, 4), number(footer + 56, 8), number(footer + 64, 8)
    fan_out = number(footer + 72, 8)
    frames = frames_as_specified(data, 64, data_end, NONCE)
    assert [(key, payload) for _, key, payload in frames] == sorted(RECORDS)
    assert (records, data[footer + 80 : footer + 96], data[footer + 96 : footer + 112]) == (
        len(RECORDS),
        frames[0][1],
        frames[-1][1],
    )
    seal = b3(b"mlflowish journal seal\0" + b"calls" + b"\0" + NONCE, 16)
    entries = []
    for bucket in range(1 << bits):
        first, last = number(fan_out + 4 * bucket, 4), number(fan_out + 4 * bucket + 4, 4)
        start = data_end + 24 * first + 8 * bucket
        stretch = data[start : start + 24 * (last - first)]
        assert data[start + len(stretch) : start + len(stretch) + 8] == b3(
            seal + bucket.to_bytes(4, "little") + stretch, 8
        )
        for at in range(0, len(stretch), 24):
            assert int.from_bytes(stretch[at : at + 4], "big") >> (32 - bits) == bucket
            entries.append((int.from_bytes(stretch[at + 16 : at + 24], "little"), stretch[at : at + 16]))
    assert entries == [(offset, key) for offset, key, _ in frames]
    assert fan_out + 4 * ((1 << bits) + 1) == footer
