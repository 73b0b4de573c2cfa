"""The tables of docs/format.md against the code, and keys and records pinned to the byte."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.steps.keys import arguments_token, call_key, extras_token, names_token
from mlflowish.store import distant, entries, remembered
from mlflowish.store.entries import Entry, Event, Meta
from mlflowish.store.layout import FORMAT_VERSION

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_names_the_version_that_is_written(tmp_path):
    assert PAGE.startswith(f"# Format of a store, version {FORMAT_VERSION}\n")
    with mf.Store(tmp_path) as store:
        store.create()
    record = (tmp_path / "FORMAT").read_text()
    assert re.fullmatch(rf'{{"id": "[0-9a-f]{{32}}", "name": "mlflowish", "version": {FORMAT_VERSION}}}\n', record)


def test_the_fields_of_meta_are_those_of_the_page_in_its_order():
    listed = [row[0].strip("`") for row in _rows("Records of calls") if row[0].startswith("`")]
    assert listed == [field.name for field in fields(Meta)]


def test_the_kinds_of_records_are_those_of_the_page():
    assert "`01` entry, `02` tombstone, `03` event, `04` part, `05` use |" in PAGE
    kinds = (entries.ENTRY, entries.TOMBSTONE, entries.EVENT, entries.PART, entries.USE)
    assert kinds == (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05")


def test_every_path_of_a_store_is_on_the_page(tmp_path):
    import numpy as np

    @mf.step(lock=True)
    def f(n):
        return np.arange(n)

    with mf.Store(tmp_path / "s") as store:
        f(50_000)
        store.compact()
        f(60_000)
    first_table = PAGE.split("## FORMAT")[0]
    listed = {path.split("/")[0] for path in re.findall(r"^\| `([^`]+)` \|", first_table, re.MULTILINE)}
    assert {path.name for path in (tmp_path / "s").iterdir()} <= listed


def test_a_record_survives_the_round_trip():
    meta = Meta(
        "lib.f", "ab" * 16, (("x", "cd" * 16, "3"),), "ef" * 16, "an int", 0.5, children=("k",), extras=(("seed", "d"),)
    )
    entry = Entry(b"k" * 16, b"i" * 16, 1.5, "plain", b"head", (), False, (("m", "q", b"d" * 16),), meta.packed())
    payload = entries.pack_entry(entry, entries.step_tag("lib.f"))
    assert entries.unpack_entry(entry.key, payload) == entry
    assert entry.meta == meta
    event = Event(b"k" * 16, b"e" * 16, 2.5, meta.packed())
    assert entries.unpack_event(event.key, entries.pack_event(event, entries.step_tag("lib.f"))) == event


def test_tombstones_remove_what_they_name_and_nothing_else():
    tag = entries.step_tag("f")
    packed = [
        entries.pack_entry(
            Entry(b"k" * 16, bytes([i]) * 16, float(i), "plain", b"", packed_meta=Meta("f", "").packed()), tag
        )
        for i in range(3)
    ]
    records = [*packed, entries.pack_tombstone([bytes([2]) * 16], tag)]
    assert [entry.id[0] for entry in entries.live_entries(b"k" * 16, records)] == [1, 0]
    assert entries.live_entries(b"k" * 16, entries.fold(b"k" * 16, records)) == entries.live_entries(b"k" * 16, records)
    assert packed[2] not in entries.fold(b"k" * 16, records)


def test_keys_are_pinned():
    names, extras = names_token(["x", "lr"]), extras_token([("version", 1)])
    key = call_key(b"f" * 16, names, arguments_token(["x", "lr"], [1, 0.5]), extras)
    assert key.hex() == PINNED["scalars"]
    key = call_key(b"f" * 16, names, arguments_token(["x", "lr"], [[1], float("nan")]), b"")
    assert key.hex() == PINNED["digests"]
    assert entries.step_tag("lib.f").hex() == PINNED["tag"]


# Whoever changes one of these changes the identity of every stored result: that takes a new format version.
PINNED = {
    "scalars": "ddc08cf9edf65d49d764367f02abfde6",
    "digests": "4967024914212e49a56fc4fa20523e6e",
    "tag": "888a1cc95e661099",
}


def test_the_key_of_a_remote_file_is_pinned(monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    look = distant.Look(12, b"9e107d9d372bb6826bd81d3542a419d6\x001700000000")
    plain, elsewhere = {}, {"client_kwargs": {"endpoint_url": "http://127.0.0.1:9000"}, "secret": "hush"}
    keys = [distant._record_key("s3://bucket/a b.csv", options, look) for options in (plain, elsewhere)]
    assert [key.hex() for key in keys if key] == [
        "3bee49e9b65ca59ed91e3ab59c13f6e2",
        "7be20359b2bb5f8fc7f06de26fcd272f",
    ]


def test_a_record_of_the_content_of_a_file_is_pinned(tmp_path):
    key, content = b"k" * 16, bytes(range(32))
    store = mf.Store(tmp_path / "store")
    remembered.remember(key, content)
    remembered.write_down(store)
    assert list(store.journals("files").scan()) == [(key, b"\x91\xc4\x20" + content)]
    assert remembered.unpacked(b"\x91\xc4\x20" + content) == content
    for wrong in (b"", b"\x90", b"\x91\xc4\x01a", b"\xa3abc", b"\xc1"):
        with pytest.raises((ValueError, TypeError, LookupError)):
            remembered.unpacked(wrong)
