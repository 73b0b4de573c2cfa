"""One way to damage a healthy store for each code of a finding: what a disk, a user or a dead process can do."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from msgpack import packb

from mlflowish.journals import Journals
from mlflowish.journals.frames import FILE_HEAD_BYTES, FRAME_HEAD, KEY_BYTES
from mlflowish.journals.segment import FOOTER, FOOTER_BYTES, Segment, SegmentWriter
from mlflowish.storage import LocalStorage
from mlflowish.store import entries


@dataclass(frozen=True)
class Damage:
    """`lost`: how many of the stored results cannot be read back afterwards. `is_mended`: can a repair do something?"""

    name: str
    code: str
    do: Callable[[Path], None]
    lost: int = 0
    is_mended: bool = True
    also: tuple[str, ...] = ()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    rewrite(path, bytes(data))


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def age(path: Path) -> None:
    then = time.time() - 3 * 86_400
    os.utime(path, (then, then))


def an_object(root: Path) -> Path:
    """One that a single entry names."""
    return max(root.glob("objects/*/*"), key=lambda path: path.stat().st_size)


def the_segment(root: Path) -> Path:
    [found] = root.glob("segments/calls/*.seg")
    return found


def the_journal(root: Path) -> Path:
    [found] = root.glob("journals/calls/*.log")
    return found


def frames(path: Path) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Place, size, key and kind of each record of calls in a file."""
    data, place = path.read_bytes(), FILE_HEAD_BYTES
    while data[place : place + 4] == data[FILE_HEAD_BYTES : FILE_HEAD_BYTES + 4]:
        record, size = data[place + FRAME_HEAD.size :], 32 + FRAME_HEAD.unpack_from(data, place)[1]
        yield place, size, record[:KEY_BYTES], record[KEY_BYTES : KEY_BYTES + 1]
        place += size


def frame_of_a_result(path: Path) -> int:
    """Where the record of a result begins, behind the first record: a small one, without objects, that nobody has
    forgotten."""
    calls = [*path.parents[2].glob("segments/calls/*.seg"), *path.parents[2].glob("journals/calls/*.log")]
    forgotten = {key for file in calls for *_, key, kind in frames(file) if kind == entries.TOMBSTONE}
    results = [each for each in frames(path) if each[3] == entries.ENTRY and each[2] not in forgotten]
    return min(results[1:], key=lambda result: result[1])[0]


def append(root: Path, kind: str, key: bytes, payload: bytes) -> None:
    journals = Journals(LocalStorage(root), kind)
    journals.append(key, payload)
    journals.close()


def touch(path: Path, text: str = "?") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def truncate_segment(root: Path) -> None:
    path = the_segment(root)
    rewrite(path, path.read_bytes()[:-FOOTER_BYTES])


def disordered_segment(root: Path) -> None:
    """Right checks and a right name, and its records in disorder: what a writer with a fault would make."""
    path = the_segment(root)
    items = list(Segment(path.read_bytes(), path=f"segments/calls/{path.name}", kind="calls").items())
    pieces: list[bytes] = []
    writer = SegmentWriter(pieces.append, kind="calls", nonce=b"n" * 16)
    writer.fill(iter(reversed(items)), max_records=1000, max_bytes=1 << 30)
    name = writer.finish()
    path.unlink()
    path.with_name(f"{name}.seg").write_bytes(b"".join(pieces))


def wrong_index(root: Path) -> None:
    """An index that leads elsewhere, under right checks."""
    path = the_segment(root)
    data = bytearray(path.read_bytes())
    footer = list(FOOTER.unpack(data[-FOOTER_BYTES : -FOOTER_BYTES + FOOTER.size]))
    footer[6] += 1
    packed = FOOTER.pack(*footer)
    whole = bytes(data[:-FOOTER_BYTES]) + packed + blake3(packed).digest(8)
    path.unlink()
    path.with_name(f"{blake3(whole).hexdigest(16)}.seg").write_bytes(whole)


def misplaced_object(root: Path) -> None:
    path = an_object(root)
    wrong = root / "objects" / ("00" if path.parent.name != "00" else "01") / path.name
    wrong.parent.mkdir(exist_ok=True)
    path.rename(wrong)


def linked(name: str) -> Callable[[Path], None]:
    def link(root: Path) -> None:
        (root.parent / "outside").mkdir()
        (root / name).symlink_to(root.parent / "outside", target_is_directory=True)

    return link


def foreign_format(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    touch(root / "FORMAT", json.dumps({"name": "something-else", "version": 7}))


def old_leftover(root: Path) -> None:
    touch(root / "tmp" / "1-ab")
    age(root / "tmp" / "1-ab")


def stale_lease(root: Path) -> None:
    path = root / "leases" / ("ab" * 16) / "0"
    touch(path, json.dumps({"nonce": "ab", "beat": 3}))
    age(path)


def deep_lease(root: Path) -> None:
    touch(root / "leases" / ("ab" * 16) / "0", "[" * 100_000)


def pipe_for_a_journal(root: Path) -> None:
    os.mkfifo(root / "journals" / "calls" / ("0" * 32 + ".log"))


def folder_for_a_segment(root: Path) -> None:
    (root / "segments" / "calls" / ("0" * 32 + ".seg")).mkdir()


def empty_journal(root: Path) -> None:
    path = root / "journals" / "calls" / ("0" * 32 + ".log")
    touch(path, "")
    age(path)


def torn_journal(root: Path) -> None:
    path = the_journal(root)
    rewrite(path, path.read_bytes() + b"\xf5mfr\x00\x10\x00\x00half of it")


def move_journal(root: Path) -> None:
    """A journal of calls among the fingerprints: its records are recognised by their header, and go home."""
    path = the_journal(root)
    path.rename(root / "journals" / "fingerprints" / path.name)


def journal_frame(root: Path) -> None:
    flip(the_journal(root), frame_of_a_result(the_journal(root)) + 40)


def segment_frame(root: Path) -> None:
    flip(the_segment(root), frame_of_a_result(the_segment(root)) + 40)


def calls_record(payload: bytes) -> Callable[[Path], None]:
    return lambda root: append(root, "calls", b"k" * 16, payload)


CODE = b"\x01" + zlib.compress(packb(("module", "name", "page", "no map", 5)))
POINTS = packb((1, 1 << 63, 0, (), b"", b"", b""))
TAG = entries.step_tag("nobody")
DAMAGES = [
    Damage("no FORMAT", "format-missing", lambda root: (root / "FORMAT").unlink()),
    Damage("FORMAT flipped", "format-damaged", lambda root: flip(root / "FORMAT", 0)),
    Damage("FORMAT nested too deep", "format-damaged", lambda root: touch(root / "FORMAT", "[" * 100_000)),
    Damage("FORMAT of something else", "format-damaged", foreign_format, lost=11, is_mended=False),
    Damage("object flipped", "object-damaged", lambda root: flip(an_object(root), 1000), lost=1),
    Damage(
        "object cut",
        "object-damaged",
        lambda root: rewrite(an_object(root), an_object(root).read_bytes()[:-1]),
        lost=1,
        also=("object-missing",),
    ),
    Damage("object removed", "object-missing", lambda root: an_object(root).unlink(), lost=1),
    Damage("object in another folder", "object-misplaced", misplaced_object, also=("object-missing",)),
    Damage("journal flipped", "journal-damaged", journal_frame, lost=1),
    Damage("journal header flipped", "journal-damaged", lambda root: flip(the_journal(root), 20)),
    Damage("journal torn", "journal-torn", torn_journal),
    Damage("journal empty", "journal-empty", empty_journal),
    Damage("journal of another kind", "journal-damaged", move_journal),
    Damage("segment frame flipped", "segment-damaged", segment_frame, lost=1),
    Damage("segment header flipped", "segment-damaged", lambda root: flip(the_segment(root), 20)),
    Damage("segment index flipped", "segment-damaged", lambda root: flip(the_segment(root), -FOOTER_BYTES - 30)),
    Damage("segment cut", "segment-damaged", truncate_segment),
    Damage("segment in disorder", "segment-malformed", disordered_segment),
    Damage("segment with a wrong index", "segment-malformed", wrong_index),
    Damage("entry that is none", "record-unreadable", calls_record(b"\x01" + TAG + b"\xc1")),
    Damage("tombstone that is none", "record-unreadable", calls_record(b"\x02" + TAG + b"\xc1")),
    Damage("parts that are none", "record-unreadable", lambda root: append(root, "fingerprints", b"k" * 16, b"zzz")),
    Damage("code that is none", "record-unreadable", lambda root: append(root, "code", b"k" * 16, CODE)),
    Damage("points of a number", "record-unreadable", lambda root: append(root, "metrics", b"k" * 16, POINTS)),
    Damage("use of a number", "record-unreadable", lambda root: append(root, "used", b"k" * 16, packb((0.0, 1 << 63)))),
    Damage("record of a later kind", "record-unknown", calls_record(b"\x77" + TAG), is_mended=False),
    Damage("lease that is none", "lease-damaged", lambda root: touch(root / "leases" / ("ab" * 16) / "0")),
    Damage("lease nested too deep", "lease-damaged", deep_lease),
    Damage("lease of the day before yesterday", "lease-stale", stale_lease),
    Damage("linked folder", "link", linked("journals/others"), is_mended=False),
    Damage("linked folder of ours", "unreadable", linked("journals/runs"), is_mended=False, also=("link",)),
    Damage("foreign file", "stray", lambda root: touch(root / "objects" / "notes.txt"), is_mended=False),
    Damage("foreign name", "stray", lambda root: touch(root / "a file\n"), is_mended=False),
    Damage("pipe for a journal", "stray", pipe_for_a_journal, is_mended=False),
    Damage("folder for a segment", "stray", folder_for_a_segment, is_mended=False),
    Damage("put aside", "quarantine", lambda root: touch(root / "quarantine" / "abc-1"), is_mended=False),
    Damage("left over", "leftover", old_leftover),
]  # fmt: skip
