"""Journals as files of this machine: how many there are, who follows whom, what a full or closed disk does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journal_worlds import Wrapper, key_of, payload_of
from processes_heard import Mortal

from mlflowish.errors import FormatVersionError, ReadOnlyError, StorageError
from mlflowish.journals import Journals
from mlflowish.journals.frames import FILE_HEAD, JOURNAL_MAGIC, SEGMENT_MAGIC, file_header, new_nonce
from mlflowish.journals.view import View
from mlflowish.storage.base import Appender, Storage
from mlflowish.storage.local import LocalStorage
from mlflowish.testing.faults import Call, Fault, FaultyStorage

Open = Callable[..., Journals]


def files_of(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_long_journal_becomes_a_segment_by_itself(local: Storage, open_journals: Open) -> None:
    journals = open_journals(local, roll_bytes=2_000)
    for number in range(500):
        journals.append(key_of(number), payload_of(number))
    paths = [info.path for info in local.list("")]
    assert any(path.startswith("segments/calls/") for path in paths)
    assert len([path for path in paths if path.startswith("journals/calls/")]) <= 1
    assert all(journals.get(key_of(number)) == (payload_of(number),) for number in range(500))


def test_many_rolls_leave_few_files(local: Storage, open_journals: Open, tmp_path: Path) -> None:
    journals = open_journals(local, roll_bytes=1_000)
    for number in range(4_000):
        journals.append(key_of(number), payload_of(number))
    assert len(files_of(tmp_path / "store")) < 30
    assert all(journals.get(key_of(number)) == (payload_of(number),) for number in range(4_000))


def test_many_short_processes_leave_few_files(local: Storage, tmp_path: Path) -> None:
    for number in range(200):
        journals = Journals(local, "calls")
        journals.append(key_of(number), payload_of(number))
        journals.close()
    assert len(files_of(tmp_path / "store")) < 40
    reader = Journals(local, "calls")
    assert all(reader.get(key_of(number)) == (payload_of(number),) for number in range(200))


def test_another_process_sees_an_append_at_once(local: Storage, open_journals: Open, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from mlflowish.journals import Journals\n"
        "from mlflowish.storage.local import LocalStorage\n"
        f"journals = Journals(LocalStorage({str(tmp_path / 'store')!r}), 'calls')\n"
        "for line in sys.stdin:\n"
        "    print(journals.get(bytes.fromhex(line.strip())), flush=True)\n"
    )
    pipe = subprocess.PIPE
    with Mortal([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        journals = open_journals(local)
        for number in range(300):
            if number % 100 == 0:  # also the first look at a new journal, and at a segment
                journals.compact()
            journals.append(key_of(number), payload_of(number))
            other.stdin.write(key_of(number).hex() + "\n")
            other.stdin.flush()
            assert other.stdout.readline().strip() == repr((payload_of(number),))
        other.stdin.close()


def test_a_forked_child_writes_a_journal_of_its_own(local: Storage, tmp_path: Path) -> None:
    script = f"""
import os
from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage
journals = Journals(LocalStorage({str(tmp_path / "store")!r}), "calls")
journals.append(bytes(15) + b"a", b"before")
child = os.fork()
if not child:
    journals.append(bytes(15) + b"b", b"in the child")
    assert journals.get(bytes(15) + b"a") == (b"before",)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
journals.append(bytes(15) + b"c", b"after")
assert journals.get(bytes(15) + b"b") == (b"in the child",)
grandchild = os.fork()
if not grandchild:
    assert journals.get(bytes(15) + b"c") == (b"after",)
    os._exit(0)
assert os.waitpid(grandchild, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    reader = Journals(local, "calls")
    assert [payload for _, payload in reader.scan()] == [b"before", b"in the child", b"after"]
    assert len(list(local.list("journals/calls"))) == 2


def test_a_child_that_outlives_its_parent_follows_the_parent(local: Storage, tmp_path: Path) -> None:
    script = f"""
import os
from mlflowish.journals import Journals
from mlflowish.storage.local import LocalStorage
journals = Journals(LocalStorage({str(tmp_path / "store")!r}), "calls")
journals.append(bytes(15) + b"a", b"first")
read, write = os.pipe()
child = os.fork()
if not child:
    os.read(read, 1)
    os._exit(0 if journals.get(bytes(15) + b"b") == (b"second",) else 1)
journals.append(bytes(15) + b"b", b"second")
os.write(write, b"x")
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_live_journal_is_left_alone_by_compaction(local: Storage, open_journals: Open) -> None:
    writer, other = open_journals(local), open_journals(local)
    writer.append(key_of(1), b"live")
    report = other.compact()
    assert (report.journals_merged, report.is_complete) == (0, False)
    writer.append(key_of(2), b"still live")
    assert other.get(key_of(2)) == (b"still live",)


def test_a_journal_that_is_being_created_is_not_taken_for_a_dead_ones(local: Storage, open_journals: Open) -> None:
    other = open_journals(local)
    appender = local.open_append(f"journals/calls/{new_nonce().hex()}.log")
    appender.close()  # as empty and unclaimed as a file between its creation and its claim
    other.compact()
    assert len(list(local.list("journals/calls"))) == 1


def test_appending_goes_on_when_somebody_removed_the_store(local: Storage, open_journals: Open, tmp_path: Path) -> None:
    journals = open_journals(local)
    journals.append(key_of(1), b"lost with the folder")
    for path in files_of(tmp_path / "store"):
        path.unlink()
    journals.refresh()
    journals.append(key_of(2), b"kept")
    assert open_journals(local).get(key_of(2)) == (b"kept",)


class ReadOnly(Wrapper):
    def open_append(self, path: str) -> Appender:
        raise ReadOnlyError("this store cannot be written", path=path)

    def stage(self) -> object:
        raise ReadOnlyError("this store cannot be written")

    def delete(self, path: str) -> None:
        raise ReadOnlyError("this store cannot be written")


def test_a_read_only_store_is_read_and_refuses_appends(local: Storage, open_journals: Open) -> None:
    for number in range(30):
        journals = open_journals(local)
        journals.append(key_of(number), payload_of(number))
        journals.close()
    reader = open_journals(ReadOnly(local))
    assert reader.get(key_of(7)) == (payload_of(7),)
    with pytest.raises(ReadOnlyError):
        reader.append(key_of(99), b"")
    assert len(list(reader.scan())) == 30


class Switch:
    """A fault at the calls of some operations, as long as it is on."""

    def __init__(self, fault: Fault, *operations: str) -> None:
        self.is_on, self._fault, self._operations = False, fault, operations

    def __call__(self, call: Call) -> Fault | None:
        return self._fault if self.is_on and call.operation in self._operations else None


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.TORN])
def test_a_full_disk_loses_nothing_and_appending_goes_on_after_it(
    local: Storage, open_journals: Open, fault: Fault
) -> None:
    disk = Switch(fault, "append.write")
    journals, follower = open_journals(FaultyStorage(local, disk)), open_journals(local)
    journals.append(key_of(1), b"before")
    disk.is_on = True
    for number in range(2, 5):
        with pytest.raises(StorageError, match="Planned"):
            journals.append(key_of(number), b"refused")
        assert follower.get(key_of(number)) == ()
    disk.is_on = False
    journals.append(key_of(5), b"after")
    for reader in (journals, follower, open_journals(local)):
        assert list(reader.scan()) == sorted([(key_of(1), b"before"), (key_of(5), b"after")])


def test_a_roll_that_finds_no_space_leaves_the_journal_as_it_is(local: Storage, open_journals: Open) -> None:
    disk = Switch(Fault.FULL, "stage.write")
    journals = open_journals(FaultyStorage(local, disk), roll_bytes=1_000)
    disk.is_on = True
    for number in range(100):
        journals.append(key_of(number), payload_of(number))
    assert not any(info.path.startswith("segments/") for info in local.list(""))
    disk.is_on = False
    for number in range(100, 120):
        journals.append(key_of(number), payload_of(number))
    reader = open_journals(local)
    assert all(reader.get(key_of(number)) == (payload_of(number),) for number in range(120))
    assert any(info.path.startswith("segments/") for info in local.list(""))


@pytest.mark.parametrize(
    ("magic", "path"), [(JOURNAL_MAGIC, "journals/calls/{}.log"), (SEGMENT_MAGIC, "segments/calls/{}.seg")]
)
def test_a_file_of_a_newer_format_is_an_error(
    local: Storage, open_journals: Open, magic: bytes, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonce = new_nonce()
    with monkeypatch.context() as newer:
        newer.setattr("mlflowish.journals.frames.VERSION", 2)
        local.put_if_absent(path.format(nonce.hex()), file_header(magic, "calls", nonce) + b"in a way of its own")
    journals = open_journals(local)
    with pytest.raises(FormatVersionError, match="format 2") as caught:
        journals.get(key_of(1))
    assert caught.value.found == 2
    assert FILE_HEAD.size == 56


def test_a_file_that_is_not_ours_is_left_alone(local: Storage, open_journals: Open, tmp_path: Path) -> None:
    local.put_if_absent("journals/calls/notes.log", b"written by hand")
    local.put_if_absent("segments/calls/readme.txt", b"written by hand")
    journals = open_journals(local)
    journals.append(key_of(1), b"one")
    journals.compact()
    assert journals.get(key_of(1)) == (b"one",)
    assert local.get("journals/calls/notes.log") == b"written by hand"


def test_fsync_always_syncs_each_append(local: Storage, open_journals: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    class Syncing(Wrapper):
        def open_append(self, path: str) -> Appender:
            appender = self.inner.open_append(path)
            return _Counting(appender, synced)  # type: ignore[return-value]  # duck-typed

    journals = open_journals(Syncing(local), fsync="always")
    journals.append(key_of(1), b"a")
    journals.append(key_of(2), b"b")
    assert len(synced) == 2


class _Counting:
    def __init__(self, inner: Appender, synced: list[str]) -> None:
        self.path, self._inner, self._synced = inner.path, inner, synced

    def write(self, data: bytes) -> int:
        return self._inner.write(data)

    def sync(self) -> None:
        self._synced.append(self.path)
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


def test_a_present_key_is_answered_without_asking_the_system_until_it_is_time_to_look(
    local: Storage, open_journals: Open, monkeypatch: pytest.MonkeyPatch, only_here: Callable[..., Any]
) -> None:
    journals = open_journals(local)
    for number in range(10):
        journals.append(key_of(number), payload_of(number))
    journals.compact()
    journals.append(key_of(10), payload_of(10))
    monkeypatch.setattr("mlflowish.journals.journals.NEWS_S", 3600.0)
    assert journals.get(key_of(0)) == journals.get(key_of(0))

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a system call")

    monkeypatch.setattr(os, "stat", only_here(refuse, os.stat))
    monkeypatch.setattr("builtins.open", only_here(refuse, open))
    monkeypatch.setattr(LocalStorage, "list", refuse)
    assert [journals.get(key_of(number)) for number in range(11)] == [(payload_of(number),) for number in range(11)]


def test_news_of_a_present_key_come_without_asking_for_them(
    local: Storage, open_journals: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflowish.journals.journals.NEWS_S", 0.0)
    writer, reader = open_journals(local), open_journals(local)
    writer.append(key_of(1), b"a")
    assert reader.get(key_of(1)) == reader.get(key_of(1)) == (b"a",)
    writer.append(key_of(1), b"b")
    assert sorted(reader.get(key_of(1))) == [b"a", b"b"]


def test_a_present_key_is_answered_when_nobody_can_tell_whether_there_are_news(
    local: Storage, open_journals: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflowish.journals.journals.NEWS_S", 0.0)
    open_journals(local).append(key_of(1), b"a")
    reader = open_journals(local)
    assert reader.get(key_of(1)) == (b"a",)

    def broken(*arguments: object, **options: object) -> None:
        raise StorageError("the disk does not answer")

    monkeypatch.setattr(View, "refresh", broken)
    assert reader.get(key_of(1)) == (b"a",)
