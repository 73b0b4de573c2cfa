"""Records of the log: one line of canonical JSON and the check of it, and what a line says.

`docs/format-catalog.md` specifies the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from mlflowish.catalog.plain import decode, encode, object_of, quoted
from mlflowish.errors import FormatVersionError, IntegrityError
from mlflowish.storage.objects import ObjectRef

RECORD_VERSION = 1
NOTHING = "0" * 64  # the hash of the record before the first
INLINE_BYTES = 64 << 10  # a longer body rests beside the log, so that reading the log stays cheap
_CHECK = 64
_END_OF_TIME_S = 253_402_300_800.0  # the year 10000, which no calendar of Python knows


class Encoded(Mapping[str, Any]):
    """Values by key of which the JSON is at hand: each is decoded when somebody asks for it, a copy of their own."""

    __slots__ = ("texts",)

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def __getitem__(self, key: str) -> Any:
        return decode(self.texts[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Change:
    """One committed transaction: what it read (key -> slot of the last write seen, -1 for absent; prefixes), put and
    deleted, the objects that it referred to, and the slot at which it read."""

    id: str
    puts: Mapping[str, Any] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    comment: str = ""
    reads: dict[str, int] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    refs: tuple[ObjectRef, ...] = ()
    base: int = -1

    def put_texts(self) -> Mapping[str, str]:
        """The JSON of what it put under each key."""
        puts = self.puts
        return puts.texts if type(puts) is Encoded else {key: encode(value) for key, value in puts.items()}

    def text(self) -> str:
        """As it stands in a record; what is empty is left out."""
        fields = {"base": str(self.base), "id": quoted(self.id)}
        if self.comment:
            fields["comment"] = quoted(self.comment)
        if self.deletes:
            fields["deletes"] = encode(sorted(self.deletes))
        if self.prefixes:
            fields["prefixes"] = encode(sorted(self.prefixes))
        if self.puts:
            fields["puts"] = object_of(self.put_texts())
        if self.reads:
            fields["reads"] = encode(self.reads)
        if self.refs:
            fields["refs"] = encode(sorted([ref.name, ref.size_bytes] for ref in self.refs))
        return object_of(fields)

    @classmethod
    def from_plain(cls, fields: dict[str, Any]) -> Change:
        """TypeError, ValueError or KeyError if it makes no sense."""
        puts, deletes = fields.get("puts", {}), fields.get("deletes", [])
        if type(puts) is not dict or type(deletes) is not list or not all(type(key) is str for key in deletes):
            raise TypeError("what it puts or deletes are no keys")
        return cls(
            id=fields["id"],
            puts=puts,
            deletes=tuple(deletes),
            comment=fields.get("comment", ""),
            reads=dict(fields.get("reads", {})),
            prefixes=tuple(fields.get("prefixes", ())),
            refs=tuple(ObjectRef(name, size) for name, size in fields.get("refs", ())),
            base=fields["base"],
        )


@dataclass(frozen=True, slots=True)
class Commit:
    """One record of the log: its slot, the time (seconds since 1970, never less than that of the slot before), who
    wrote it, and its transactions in order."""

    slot: int
    time_s: float
    writer: str
    transactions: tuple[Change, ...]
    nonce: str = ""
    previous: str = NOTHING
    epoch: int = 0
    hash: str = ""
    body: str = ""  # path of the body, if it rests beside the log


def record_path(slot: int) -> str:
    """Where the record of a slot rests."""
    return f"catalog/log/{slot // 1024:010d}/{slot:020d}"


def body_path(slot: int, nonce: str) -> str:
    """Where the body of a record rests if it is long: of this attempt at this slot, and of no other, so that what the
    decided slot does not name is garbage for ever."""
    return f"catalog/bodies/{slot:020d}.{nonce}"


def encode_commit(commit: Commit) -> tuple[bytes, bytes]:
    """The bytes of the record and of its body, which are empty if it fits into the record."""
    fields = {
        "epoch": str(commit.epoch),
        "nonce": quoted(commit.nonce),
        "prev": quoted(commit.previous),
        "slot": str(commit.slot),
        "time": encode(commit.time_s),
        "v": str(RECORD_VERSION),
        "writer": quoted(commit.writer),
    }
    text = f"[{','.join(change.text() for change in commit.transactions)}]"
    body = text.encode()
    if len(body) <= INLINE_BYTES:
        return checked(object_of({**fields, "tx": text})), b""
    return checked(object_of({**fields, "body": encode([len(body), blake3(body).hexdigest()])})), body


def as_read(commit: Commit, record: bytes, body: bytes) -> Commit:
    """The commit as it is decoded from the bytes that were made of it."""
    if b"\\ud" in record or b"\\ud" in body:  # halves of a pair that stood apart are one character when they are read
        return decode_commit(record, commit.slot, lambda _: body)
    return Commit(
        commit.slot,
        commit.time_s,
        commit.writer,
        commit.transactions,
        commit.nonce,
        commit.previous,
        commit.epoch,
        record_hash(record),
        body_path(commit.slot, commit.nonce) if body else "",
    )


def checked(line: str) -> bytes:
    """A line of JSON, a newline, the BLAKE3 of the line in hex, a newline."""
    data = line.encode()
    return b"%s\n%s\n" % (data, blake3(data).hexdigest().encode())


def record_hash(data: bytes) -> str:
    """The check that stands at the end of a checked line."""
    return data[-_CHECK - 1 : -1].decode()


def previous_in(record: bytes) -> str:
    """The hash of the record before the one in these bytes, whatever else it says; '' if it is damaged."""
    try:
        return str(unchecked(record, "")[0].get("prev", ""))
    except (IntegrityError, FormatVersionError):
        return ""


def unchecked(data: bytes, path: str) -> tuple[dict[str, Any], str]:
    """The object that a checked line holds, and its check; IntegrityError if the two do not belong together."""
    line, check = data[: -_CHECK - 2], data[-_CHECK - 1 : -1]
    ends = data[-_CHECK - 2 :: _CHECK + 1]
    if ends != b"\n\n" or blake3(line).hexdigest().encode() != check:
        raise IntegrityError(f"{path} is damaged: its check does not fit its content ({len(data)} bytes)", path=path)
    try:
        fields = decode(line)
    except IntegrityError as error:
        raise IntegrityError(f"{path} holds no JSON that makes sense: {error.message}", path=path) from error
    if not isinstance(fields, dict):
        raise IntegrityError(f"{path} holds no JSON object", path=path)
    if fields.get("v") != RECORD_VERSION:
        raise FormatVersionError(
            f"{path} was written in version {fields.get('v')!r} of the catalog's format; this version of mlflowish "
            f"reads {RECORD_VERSION}. Upgrade: pip install -U mlflowish. Nothing was changed.",
            path=path,
            found=fields.get("v"),
            supported=RECORD_VERSION,
        )
    return fields, check.decode()


def decode_commit(data: bytes, slot: int, fetch_body: Callable[[str], bytes]) -> Commit:
    """The commit in the bytes of a record; `fetch_body(path)` gives the bytes of a long body."""
    path = record_path(slot)
    fields, check = unchecked(data, path)
    if fields.get("slot") != slot:
        raise IntegrityError(f"{path} holds the record of slot {fields.get('slot')}", path=path)
    try:
        body = ""
        if "body" in fields:
            body = body_path(slot, fields["nonce"])
            transactions = _read_body(fetch_body(body), fields["body"], body)
        else:
            transactions = fields["tx"]
        commit = Commit(
            slot=fields["slot"],
            time_s=_time_in(fields["time"]),
            writer=fields["writer"],
            transactions=tuple(Change.from_plain(change) for change in transactions),
            nonce=fields["nonce"],
            previous=str(fields["prev"]),
            epoch=int(fields["epoch"]),
            hash=check,
            body=body,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise IntegrityError(f"{path} is no record of the catalog: {error!r:.500}", path=path) from error
    return commit


def _time_in(found: Any) -> float:
    if not 0 <= (time_s := float(found)) < _END_OF_TIME_S:
        raise ValueError(f"{found!r:.50} is not the time of a commit")
    return time_s


def _read_body(data: bytes, expected: list[Any], path: str) -> Any:
    size_bytes, digest = expected
    if len(data) != size_bytes or blake3(data).hexdigest() != digest:
        raise IntegrityError(f"{path} is damaged: it is not the body that its record names", path=path)
    return decode(data)
