"""Records of the log: one line of canonical JSON and the check of it, and what a line says.

`docs/format-catalog.md` specifies the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blake3 import blake3

from mlflowish.catalog.plain import decode, encode
from mlflowish.errors import FormatVersionError, IntegrityError
from mlflowish.storage.objects import ObjectRef

RECORD_VERSION = 1
NOTHING = "0" * 64  # the hash of the record before the first
INLINE_BYTES = 64 << 10  # a longer body rests beside the log, so that reading the log stays cheap
_CHECK = 64


@dataclass(frozen=True, slots=True)
class Change:
    """One committed transaction: what it read (key -> slot of the last write seen, -1 for absent; prefixes), put and
    deleted, the objects that it referred to, and the slot at which it read."""

    id: str
    puts: dict[str, Any] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    comment: str = ""
    reads: dict[str, int] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    refs: tuple[ObjectRef, ...] = ()
    base: int = -1
    texts: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)  # JSON of puts that is at hand

    def put_texts(self) -> Iterator[tuple[str, str]]:
        """The keys that it put, each with the JSON of its value."""
        for key, value in self.puts.items():
            yield key, self.texts.get(key) or encode(value)

    def text(self) -> str:
        """`plain()` as JSON."""
        fields = self.plain()
        if not fields.pop("puts", None):
            return encode(fields)
        puts = ",".join(f"{encode(key)}:{text}" for key, text in sorted(self.put_texts()))
        return _with(fields, "puts", f"{{{puts}}}")

    def plain(self) -> dict[str, Any]:
        """As it stands in a record; what is empty is left out."""
        fields: dict[str, Any] = {"base": self.base, "id": self.id}
        if self.comment:
            fields["comment"] = self.comment
        if self.deletes:
            fields["deletes"] = sorted(self.deletes)
        if self.prefixes:
            fields["prefixes"] = sorted(self.prefixes)
        if self.puts:
            fields["puts"] = self.puts
        if self.reads:
            fields["reads"] = self.reads
        if self.refs:
            fields["refs"] = sorted([ref.name, ref.size_bytes] for ref in self.refs)
        return fields

    @classmethod
    def from_plain(cls, fields: dict[str, Any]) -> Change:
        return cls(
            id=fields["id"],
            puts=dict(fields.get("puts", {})),
            deletes=tuple(fields.get("deletes", ())),
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
    fields: dict[str, Any] = {
        "epoch": commit.epoch,
        "nonce": commit.nonce,
        "prev": commit.previous,
        "slot": commit.slot,
        "time": commit.time_s,
        "v": RECORD_VERSION,
        "writer": commit.writer,
    }
    text = f"[{','.join(change.text() for change in commit.transactions)}]"
    body = text.encode()
    if len(body) <= INLINE_BYTES:
        return checked(_with(fields, "tx", text)), b""
    return checked(encode({**fields, "body": [len(body), blake3(body).hexdigest()]})), body


def _with(fields: dict[str, Any], name: str, text: str) -> str:
    """The JSON of an object with one more field, whose JSON is at hand; there are fields before it."""
    before = encode({other: value for other, value in fields.items() if other < name})
    after = encode({other: value for other, value in fields.items() if other > name})
    return f'{before[:-1]},"{name}":{text}{"," if len(after) > 2 else ""}{after[1:]}'


def as_read(commit: Commit, record: bytes, body: bytes) -> Commit:
    """The commit as it is decoded from the bytes that were made of it."""
    if b"\\ud" in record or b"\\ud" in body:  # halves of a pair that stood apart are one character when they are read
        return decode_commit(record, commit.slot, lambda _: body)
    return replace(commit, hash=record_hash(record), body=body_path(commit.slot, commit.nonce) if body else "")


def checked(line: str) -> bytes:
    """A line of JSON, a newline, the BLAKE3 of the line in hex, a newline."""
    data = line.encode()
    return b"%s\n%s\n" % (data, blake3(data).hexdigest().encode())


def record_hash(data: bytes) -> str:
    """The check that stands at the end of a checked line."""
    return data[-_CHECK - 1 : -1].decode()


def unchecked(data: bytes, path: str) -> tuple[dict[str, Any], str]:
    """The object that a checked line holds, and its check; IntegrityError if the two do not belong together."""
    line, check = data[: -_CHECK - 2], data[-_CHECK - 1 : -1]
    ends = data[-_CHECK - 2 :: _CHECK + 1]
    if ends != b"\n\n" or blake3(line).hexdigest().encode() != check:
        raise IntegrityError(f"{path} is damaged: its check does not fit its content ({len(data)} bytes)", path=path)
    fields = decode(line)
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
            time_s=float(fields["time"]),
            writer=fields["writer"],
            transactions=tuple(Change.from_plain(change) for change in transactions),
            nonce=fields["nonce"],
            previous=fields["prev"],
            epoch=fields["epoch"],
            hash=check,
            body=body,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{path} is no record of the catalog: {error!r}", path=path) from error
    return commit


def _read_body(data: bytes, expected: list[Any], path: str) -> Any:
    size_bytes, digest = expected
    if len(data) != size_bytes or blake3(data).hexdigest() != digest:
        raise IntegrityError(f"{path} is damaged: it is not the body that its record names", path=path)
    return decode(data)
