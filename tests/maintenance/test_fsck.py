"""What is wrong with a store is found, by its code; what can be repaired is, and nothing good is lost."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from damages import DAMAGES, Damage, flip, the_journal
from processes_heard import Mortal
from worlds import ALL, check_values, healthy, kept, ramp, small

import mlflowish as mf
from mlflowish.maintenance import KINDS
from mlflowish.storage.settling import wait_until_settled
from mlflowish.testing.faults import At, Fault, FaultyStorage

pytestmark = pytest.mark.filterwarnings("ignore::mlflowish.UncachedWarning")


def state(root: Path) -> dict[str, bytes]:
    """Every file and its bytes."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a healthy store that nobody holds, and whose files are all flushed and sealed."""
    with healthy(tmp_path / "s") as store:
        store.close()
    wait_until_settled()
    return tmp_path / "s"


def test_nothing_is_wrong_with_a_healthy_store(root):
    report = mf.fsck(root)
    assert report.findings == ()
    assert report.is_sound
    assert (report.counts["objects"], report.counts["entries"]) == (5, 11)
    assert "nothing wrong" in str(report)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_found_and_repaired_and_nothing_good_is_lost(root: Path, damage: Damage):
    damage.do(root)
    before = state(root)
    found = mf.fsck(root)
    assert {finding.code for finding in found.findings} == {damage.code, *damage.also}
    assert state(root) == before
    assert found.is_sound == (KINDS[damage.code].severity == "note")
    repaired = mf.fsck(root, repair=True)
    assert any(finding.is_repaired for finding in repaired.of(damage.code)) == damage.is_mended
    again = mf.fsck(root, repair=True)
    remains = {finding.code for finding in again.findings} - {"quarantine"}
    assert remains == (set() if damage.is_mended or damage.code == "quarantine" else {damage.code, *damage.also})
    after = state(root)
    mf.fsck(root, repair=True)
    assert state(root) == after
    if damage.code == "format-damaged" and not damage.is_mended:
        return
    store = mf.Store(root)
    assert kept(store) == ALL - damage.lost
    check_values(store)
    store.close()


def test_every_code_that_can_be_found_without_a_catalog_has_a_damaged_store():
    elsewhere = ("catalog", "checkpoint", "hint", "reference", "table")
    of_others = {code for code in KINDS if code.startswith(elsewhere)}
    assert {damage.code for damage in DAMAGES} == KINDS.keys() - of_others


def test_the_codes_are_those_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "maintenance.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (error|warning|note) \|", page, re.MULTILINE))
    assert listed == {code: kind.severity for code, kind in KINDS.items()}


def test_a_quick_check_takes_sealed_files_at_their_word_and_notices_written_ones(root):
    path = max(root.glob("objects/*/*"), key=lambda path: path.stat().st_size)
    found = path.stat()
    with path.open("r+b") as file:
        file.write(b"?")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert mf.fsck(root, quick=True).is_sound
    assert [finding.code for finding in mf.fsck(root).findings] == ["object-damaged"]
    os.utime(path)
    assert [finding.code for finding in mf.fsck(root, quick=True).findings] == ["object-damaged"]


def test_a_damaged_object_is_restored_from_a_good_copy_that_was_put_aside(root):
    path = max(root.glob("objects/*/*"), key=lambda path: path.stat().st_size)
    good = path.read_bytes()
    (root / "quarantine").mkdir()
    (root / "quarantine" / f"{path.name}-ab").write_bytes(good)
    flip(path, 9)
    report = mf.fsck(root, repair=True)
    assert path.read_bytes() == good
    assert not report.of("object-missing")
    assert kept(mf.Store(root)) == ALL


def test_a_journal_that_a_living_process_writes_is_left_to_it(root):
    code = (
        "import sys, mlflowish as mf\n"
        "@mf.step\ndef f(n): return n\n"
        f"mf.use({str(root)!r}); f(1); f(2); f(3)\nprint('ready', flush=True); sys.stdin.read()\n"
    )
    held = set(root.glob("journals/calls/*"))
    with Mortal([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        [mine] = set(root.glob("journals/calls/*")) - held
        with mine.open("r+b") as file:
            file.seek(110)
            file.write(b"????")
        [finding] = mf.fsck(root, repair=True).findings
        assert (finding.code, finding.is_repaired) == ("journal-damaged", False)
        assert "living process" in finding.hindrance
        writer.communicate()
    assert mf.fsck(root, repair=True).of("journal-damaged")[0].is_repaired
    assert {finding.code for finding in mf.fsck(root).findings} == {"quarantine"}


def test_a_store_of_this_process_is_repaired_while_it_is_open(tmp_path):
    with healthy(tmp_path) as store:
        with the_journal(tmp_path).open("r+b") as file:
            file.seek(110)
            file.write(b"????")
        report = mf.fsck(store, repair=True)
        assert report.of("journal-damaged")[0].is_repaired
        check_values(store)
        assert mf.fsck(store).is_sound
        store.close()


def test_a_store_in_memory_is_checked_and_repaired():
    with healthy("memory://fsck-memory") as store:
        assert mf.fsck(store).findings == ()
        path = max(store.storage.list("objects"), key=lambda info: info.size_bytes).path
        store.storage.put(path, b"wrong")
        assert {finding.code for finding in mf.fsck(store).findings} == {"object-damaged", "object-missing"}
        mf.fsck(store, repair=True)
        assert {finding.code for finding in mf.fsck(store).findings} == {"quarantine"}
        assert kept(store) == ALL - 1


@pytest.mark.any_python
def test_a_store_in_a_bucket_is_checked_past_the_cache_and_restored_from_it(moto_url):
    url, options = moto_url
    with healthy(f"{url}/checked", **options) as store:
        assert mf.fsck(store).findings == ()
        path = max(store.storage.list("objects"), key=lambda info: info.size_bytes).path
        size = store.storage.size(path)
        store.storage.put(path, bytes(size))
        assert mf.fsck(store, quick=True).is_sound
        assert [finding.code for finding in mf.fsck(store).findings] == ["object-damaged"]
        assert mf.fsck(store, repair=True).of("object-damaged")[0].is_repaired
        assert {finding.code for finding in mf.fsck(store).findings} == {"quarantine"}
        assert kept(store) == ALL
        store.close()


def test_a_store_that_cannot_be_written_is_reported_on(root):
    flip(max(root.glob("objects/*/*"), key=lambda path: path.stat().st_size), 9)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        import os

        if os.access(root, os.W_OK):
            pytest.skip("this user may write everywhere")
        report = mf.fsck(root, repair=True)
        [finding] = report.of("object-damaged")
        assert not finding.is_repaired
        assert "writable" in finding.hindrance
    finally:
        for folder in [root, *root.rglob("*")]:
            folder.chmod(0o755)


def test_an_empty_place_is_no_store_and_stays_empty(tmp_path):
    with pytest.raises(mf.NotFoundError, match="There is no store at"):
        mf.fsck(tmp_path / "nothing", repair=True)
    assert not (tmp_path / "nothing").exists()


def test_a_newer_store_is_refused_unchanged(root):
    (root / "FORMAT").write_text('{"id": "00", "name": "mlflowish", "version": 99}\n')
    before = state(root)
    with pytest.raises(mf.FormatVersionError, match="Upgrade"):
        mf.fsck(root, repair=True)
    assert state(root) == before


def test_the_report_shows_itself(root):
    flip(max(root.glob("objects/*/*"), key=lambda path: path.stat().st_size), 9)
    report = mf.fsck(root)
    assert "object-damaged" in report._repr_html_()
    assert "object-damaged" in repr(report.to_table())
    assert report.document()["sound"] is False


def test_results_that_are_written_while_it_runs_are_not_called_missing(root):
    """Objects are listed first: an entry may name one that came later."""
    store = mf.Store(root)

    class Writer:
        def begin(self, what: str, total: int | None = None) -> None:
            if what == "journals":
                with mf.Store(root):
                    ramp(70_000)

        def advance(self, count: int = 1) -> None:
            return

    assert mf.fsck(store, watch=Writer()).findings == ()
    store.close()


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.TORN])
def test_a_fault_at_any_call_of_a_repair_loses_nothing_and_the_next_repair_ends_it(tmp_path, fault):
    number = 1
    while True:
        root = tmp_path / str(number)
        with healthy(root) as store:
            store.close()
        for name in ("object flipped", "journal flipped", "segment frame flipped", "lease that is none"):
            next(damage for damage in DAMAGES if damage.name == name).do(root)
        store = mf.Store(root)
        store.storage = store.objects.storage = FaultyStorage(store.storage, At(number, fault))
        try:
            mf.fsck(store, repair=True)
        except mf.StorageError:
            pass
        if len(store.storage.calls) < number:
            break  # and not on to calls of later checks, which the fault would meet
        with contextlib.suppress(mf.StorageError):  # closing is a call as well
            store.close()
        mf.fsck(root, repair=True)
        assert {finding.code for finding in mf.fsck(root).findings} == {"quarantine"}
        assert kept(mf.Store(root)) >= ALL - 3
        number += 7
    assert number > 50
    assert small is not None


def test_a_file_is_no_store(tmp_path: Path):
    (tmp_path / "file").write_text("?")
    for act in (mf.fsck, mf.gc):
        with pytest.raises(mf.NotFoundError, match="There is no store at"):
            act(tmp_path / "file")
