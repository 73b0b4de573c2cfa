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
    for item in sorted(key + value for key, value in RECORDS):
        writer.add(item)
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
