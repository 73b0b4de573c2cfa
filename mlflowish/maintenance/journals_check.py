"""Journals and segments are as `docs/format-journals.md` says: each frame, each index, each name."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from functools import partial
from struct import Struct

from blake3 import blake3

from mlflowish.errors import NotFoundError, StateError
from mlflowish.journals.access import BATCH_HASH_BYTES
from mlflowish.journals.compaction import merge
from mlflowish.journals.frames import (
    FILE_HEAD,
    FILE_HEAD_BYTES,
    FRAME_HEAD,
    FRAME_MAGIC,
    FRAME_OVERHEAD,
    JOURNAL_MAGIC,
    SEGMENT_MAGIC,
    Mapped,
    read_header,
    scan_frames,
    seal_of,
)
from mlflowish.journals.segment import NAME_BYTES, map_file
from mlflowish.maintenance.aside import set_aside, slabs
from mlflowish.maintenance.checking import Check
from mlflowish.maintenance.segments_check import disorder, footer_nonce
from mlflowish.storage.base import ObjectInfo, Storage

_JOURNAL = re.compile(r"journals/([a-z][a-z0-9-]{0,23})/([0-9a-f]{32})(?:-([0-9a-f]{16}))?\.log\Z")
_SEGMENT = re.compile(r"segments/([a-z][a-z0-9-]{0,23})/([0-9a-f]{32})\.seg\Z")
_IN_MEMORY_BYTES = 64 << 20
_KIND = Struct("<32x24s")


def check_journals(check: Check, kinds: set[str]) -> None:
    """Check every journal and segment; adds the kinds of records that there are."""
    for folder, pattern, look in (("journals", _JOURNAL, _check_journal), ("segments", _SEGMENT, _check_segment)):
        check.watch.begin(folder)
        # Listed at once: a repair writes into the folder that is being listed.
        for info in list(check.storage.list(folder)):
            match = pattern.match(info.path)
            if match is None:
                continue
            kinds.add(match[1])
            check.counts[folder] += 1
            check.watch.advance()
            try:
                look(check, info, match)
            except NotFoundError:
                continue  # compacted meanwhile


def _check_journal(check: Check, info: ObjectInfo, match: re.Match[str]) -> None:
    path, storage = info.path, check.storage
    can_grow = storage.capabilities.append
    # The claim first: a writer that lets go after this has written all that is read below.
    is_claimed = can_grow and storage.is_claimed(path)
    data = _mapped(storage, path)
    if not data:
        if not is_claimed and check.is_old(info.modified_s):
            check.found("journal-empty", path, "not one byte", lambda: storage.delete(path))
        return
    kind, seals, faults = _identity(data, JOURNAL_MAGIC, path, kind=match[1], nonce=bytes.fromhex(match[2]))
    if match[3] is not None and blake3(data).hexdigest(BATCH_HASH_BYTES) != match[3]:
        faults.append("its bytes have another hash than its name says")
    scan = scan_frames(data, seals[0], FILE_HEAD_BYTES if read_header(data, JOURNAL_MAGIC, path=path) else 0)
    check.counts["journal_records"] += len(scan.items)
    if scan.damaged_bytes:
        faults.append(f"{scan.damaged_bytes:,} bytes between records are none")
    rest = data[scan.position :]
    if rest and not is_claimed and len(data) >= FILE_HEAD_BYTES and not _is_begun(rest):
        faults.append(f"the {len(rest):,} bytes at its end are damaged")
    if faults and is_claimed:
        check.found("journal-damaged", path, "; ".join(faults), partial(_wait_for_writer, path))
    elif faults:
        check.found("journal-damaged", path, "; ".join(faults), lambda: _rewrite(storage, kind, path, data, seals))
    elif rest and not is_claimed and match[3] is None:
        what = f"its last record was not finished ({len(rest):,} bytes)"
        check.found("journal-torn", path, what, lambda: _rewrite(storage, kind, path, data, seals))


def _is_begun(rest: bytes) -> bool:
    """Are these the first bytes of a frame, and not all of it?"""
    head = rest[: FRAME_HEAD.size]
    if len(head) < FRAME_HEAD.size:
        return FRAME_MAGIC.startswith(head[: len(FRAME_MAGIC)])
    magic, length = FRAME_HEAD.unpack(head)
    return bool(magic == FRAME_MAGIC and len(rest) < FRAME_OVERHEAD + length)


def _wait_for_writer(path: str) -> None:
    raise StateError(f"A living process writes {path}: repair again when it has ended", path=path)


def _check_segment(check: Check, info: ObjectInfo, match: re.Match[str]) -> None:
    path, storage = info.path, check.storage
    data = _mapped(storage, path)
    nonce = footer_nonce(data, path)
    kind, seals, faults = _identity(data, SEGMENT_MAGIC, path, kind=match[1], nonce=nonce)
    with memoryview(data) as view:
        is_whole = blake3(view).hexdigest(NAME_BYTES) == match[2]
    if not is_whole:
        faults.insert(0, "its bytes have another hash than its name says")
    wrong = disorder(data, seals[0], kind)
    check.counts["segment_records"] += wrong.records
    if faults or wrong.what:
        code = "segment-malformed" if is_whole else "segment-damaged"
        what = "; ".join(faults + ([wrong.what] if wrong.what else []))
        check.found(code, path, what, lambda: _rewrite(storage, kind, path, data, seals))


def _identity(
    data: Mapped, magic: bytes, path: str, *, kind: str, nonce: bytes | None
) -> tuple[str, list[bytes], list[str]]:
    """Kind, the seals that records in it may have been made with, best first, and what is wrong with the header."""
    header = read_header(data, magic, path=path)
    if header is None and magic == JOURNAL_MAGIC and len(data) < FILE_HEAD_BYTES:
        return kind, [seal_of(kind, nonce or b"")], []  # its writer died in the middle of it
    if header is None:
        return kind, [seal_of(kind, nonce or b"")], ["its header is damaged"]
    named = _KIND.unpack_from(data[: FILE_HEAD.size], 0)[0].rstrip(b"\0").decode("ascii", "replace")
    faults = []
    if named != kind:
        faults.append(f"it holds records of the kind {named}")
    if nonce != header:
        faults.append("its nonce is not the one of its " + ("name" if magic == JOURNAL_MAGIC else "footer"))
    return named, [seal_of(named, header), *([seal_of(named, nonce)] if nonce and nonce != header else [])], faults


def _rewrite(storage: Storage, kind: str, path: str, data: Mapped, seals: Iterable[bytes]) -> None:
    """Write every good record of a file as a segment, durably; only then let go of the file."""
    items = {item for seal in seals for _, item in scan_frames(data, seal).items}
    if items:
        merge(storage, kind, [iter(sorted(items))], names=[path])
    set_aside(storage, path)


def _mapped(storage: Storage, path: str) -> Mapped:
    """All bytes of a file, past every cache, in bounded memory."""
    local = storage.local_path(path) if storage.capabilities.local_paths else None
    if local is not None:
        storage.size(path)  # refuses what is no plain file of the store
        try:
            return map_file(local)
        except FileNotFoundError as error:
            raise NotFoundError(f"{path} is not there any more", path=path) from error
    if storage.size(path) <= _IN_MEMORY_BYTES:
        return b"".join(slabs(storage, path))
    with tempfile.NamedTemporaryFile(prefix="mlflowish-") as file:
        for slab in slabs(storage, path):
            file.write(slab)
        file.flush()
        return map_file(file.name)
