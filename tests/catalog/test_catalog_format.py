"""The tables of docs/format-catalog.md against the code, and catalogs written by format 1."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflowish.catalog import Catalog, Transaction
from mlflowish.catalog.checkpoints import checkpoint_path
from mlflowish.catalog.floors import HINT_PATH, floor_path
from mlflowish.catalog.plain import encode
from mlflowish.catalog.record import RECORD_VERSION, record_path
from mlflowish.errors import FormatVersionError
from mlflowish.storage import LocalStorage, MemoryStorage

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "format-catalog.md").read_text(encoding="utf-8")
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden(tmp_path: Path) -> LocalStorage:
    shutil.copytree(GOLDEN, tmp_path / "store")
    return LocalStorage(tmp_path / "store", fsync="never")


def names(heading: str, table: int = 0) -> list[str]:
    """The first cells of a table of a section."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    tables = [part.strip() for part in section.split("\n\n")]
    rows = [part for part in tables if part.startswith("|")][table]
    return re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE)


def fields(storage: LocalStorage, path: str) -> dict[str, object]:
    return dict(json.loads(storage.get(path).split(b"\n")[0]))


def test_the_page_names_the_version_that_is_written() -> None:
    assert PAGE.startswith(f"# Format of the catalog, version {RECORD_VERSION}\n")


def test_the_paths_of_the_page_are_those_of_the_code(golden: LocalStorage) -> None:
    first = PAGE.split("## Checked lines")[0]
    listed = {path.split("/")[1] for path in re.findall(r"^\| `([^`]+)` \|", first, re.MULTILINE)}
    found = {info.path.split("/")[1] for info in golden.list("catalog")}
    assert found == listed - {"probe"}
    assert record_path(140) == "catalog/log/0000000000/00000000000000000140"
    assert (checkpoint_path(127), floor_path(0)) == (f"catalog/checkpoints/{127:020d}", "catalog/floors/0000000000")
    assert f"`{HINT_PATH}`" in first
    assert "catalog/log" in (DOCS / "format.md").read_text(encoding="utf-8")


def test_the_fields_of_a_record_are_those_of_the_page(golden: LocalStorage) -> None:
    listed = set(names("Records"))
    assert set(fields(golden, record_path(141))) == listed - {"body"}
    assert set(fields(golden, record_path(142))) == listed - {"tx"}


def test_the_fields_of_a_transaction_are_those_of_the_page(golden: LocalStorage) -> None:
    from mlflowish.catalog.record import Change
    from mlflowish.storage import ObjectRef

    full = Change("id", {"a": 1}, ("b",), "c", {"a": 0}, ("d",), (ObjectRef("0" * 64, 1),), 3)
    stored = json.loads(full.text())
    assert set(stored) == set(names("Records", 1))
    assert Change.from_plain(stored) == full


def test_the_fields_of_a_manifest_are_those_of_the_page(golden: LocalStorage) -> None:
    assert set(fields(golden, checkpoint_path(127))) == set(names("Checkpoints"))


def test_the_catalogs_own_keys_are_those_of_the_page(golden: LocalStorage) -> None:
    view = Catalog(golden).history.advance()
    own = {key for key, _, _ in view.scan("~", view.head)}
    assert {key.split("/")[0] for key in own} == {name.split("/")[0] for name in names("Records", 2)}


def test_a_catalog_of_format_1_is_read(golden: LocalStorage) -> None:
    catalog = Catalog(golden)
    snapshot = catalog.snapshot()
    assert snapshot.slot == 143
    assert [key for key, _ in snapshot.scan("k/")] == [f"k/{number:02d}" for number in range(1, 30)]
    assert snapshot.get("k/19") == [139, 139 / 3, "ä", None, True]
    assert (snapshot.get("m/count"), snapshot.get("long")) == (30, "x" * 70_000)
    assert (snapshot.gc_epoch, [*snapshot.doomed()]) == (1, ["0" * 64, f"{'1' * 64}.g1"])
    assert next(iter(catalog.log())).slot == 64
    assert catalog.snapshot(70).get("k/09") == [69, 23.0, "ä", None, True]


def test_a_catalog_of_format_1_is_written_on(golden: LocalStorage) -> None:
    catalog = Catalog(golden)
    catalog.transact(lambda tx: tx.put("m/count", 0), id="counted")
    for number in range(60):
        catalog.transact(lambda tx, n=number: tx.put("after", n))
    assert (Catalog(golden).snapshot().get("m/count"), Catalog(golden).snapshot().get("after")) == (30, 59)
    assert catalog.head == 203


def test_what_is_written_today_is_what_was_written_then(tmp_path: Path) -> None:
    import subprocess
    import sys

    subprocess.run([sys.executable, Path(__file__).parent / "make_golden.py", tmp_path / "again"], check=True)

    def files(root: Path) -> dict[str, bytes]:
        found = {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}
        return {name: path.read_bytes() for name, path in found.items() if not name.startswith("tmp")}

    assert files(tmp_path / "again") == files(GOLDEN)


def test_a_newer_version_is_refused_and_nothing_is_changed() -> None:
    from mlflowish.catalog.record import checked

    storage = MemoryStorage("catalog-newer")
    storage.put_if_absent(record_path(0), checked('{"v":2}'))
    with pytest.raises(FormatVersionError, match="Upgrade"):
        Catalog(storage).snapshot()
    with pytest.raises(FormatVersionError):
        Catalog(storage).transact(lambda tx: tx.put("a", 1))
    assert len([*storage.list("")]) == 1


texts = st.text(st.characters(), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
keys = st.from_regex(r"[a-zA-Z\u00e0-\u00ff]{1,3}(/[a-z]{1,2})?", fullmatch=True)


class Doubled(str):
    __slots__ = ()


@settings(max_examples=60, deadline=None)
@given(
    puts=st.dictionaries(keys, values, max_size=4),
    deletes=st.lists(keys, max_size=2),
    comment=texts,
    timed=st.booleans(),
)
def test_a_writer_knows_of_its_own_commit_what_readers_read(
    puts: dict[str, object], deletes: list[str], comment: str, timed: bool
) -> None:
    storage = MemoryStorage(f"own-{uuid.uuid4()}")
    catalog = Catalog(storage)

    def write(tx: Transaction) -> None:
        for key in deletes:
            tx.get(key)
            tx.delete(key)
        list(tx.scan("z")), list(tx.scan("a"))
        for key, value in puts.items():
            tx.put(key, [tx.now_s, {"b": value, "a": Doubled(key)}] if timed else value)

    catalog.transact(write, comment=comment)
    own, read = list(catalog.log()), list(Catalog(storage).log())
    assert repr(own) == repr(read)  # the order of names too
    assert own == read
    for known in (catalog, Catalog(storage)):
        view = known.history.view() if known is catalog else known.history.advance()
        assert {key: text for key, _, text in view.scan("", view.head)} == {
            key: encode(value)
            for commit in read
            for change in commit.transactions
            for key, value in change.puts.items()
        }
    for commit in read:
        line = storage.get(record_path(commit.slot)).split(b"\n")[0]
        assert encode(json.loads(line)).encode() == line  # canonical, though it is put together from pieces
