"""What the folder does beyond the suite: failures of the disk, symbolic links, missing hard links, leftovers."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflowish.errors import CapabilityError, InvalidInputError, NotFoundError, StorageError
from mlflowish.storage import LocalStorage, linking
from mlflowish.testing.writers import fork, write


def run_in_child(act: Callable[[], object]) -> None:
    """Assert that `act` returns something true in a forked child, whose limits and rights may be changed freely."""
    assert os.waitstatus_to_exitcode(os.waitpid(fork(act), 0)[1]) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB: a tmpfs where it can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root; RLIMIT_FSIZE is tested in its stead")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_nothing_is_made_before_the_first_write(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store")
    assert [*storage.list("")] == []
    storage.delete("a")
    assert not storage.is_claimed("a")
    assert storage.local_path("a/b") == str(tmp_path / "store" / "a" / "b")
    with pytest.raises(NotFoundError):
        storage.get("a")
    assert not (tmp_path / "store").exists()


def test_no_temporary_file_stays(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for verb in ("put", "put_if_absent", "stage"):
        write(storage, verb, "a", b"x")
        write(storage, verb, "b/c", b"x")
    storage.open_append("log").close()
    with pytest.raises(StorageError):
        storage.open_append("log")
    forgotten = storage.stage()
    forgotten.write(b"x")
    del forgotten
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize("verb", ["put", "put_if_absent", "stage"])
def test_a_full_disk_changes_nothing(small_disk: Path, verb: str) -> None:
    storage = LocalStorage(small_disk / "store")
    storage.put("a", b"before")
    with pytest.raises(StorageError, match="space"):
        write(storage, verb, "a" if verb == "put" else "b", bytes(4 << 20))
    assert storage.get("a") == b"before"
    assert [info.path for info in storage.list("")] == ["a"]
    assert [*(small_disk / "store" / "tmp").iterdir()] == []
    storage.put("c", b"there is room for small ones again")


def test_an_append_on_a_full_disk_is_taken_back(small_disk: Path) -> None:
    storage = LocalStorage(small_disk / "store")
    appender = storage.open_append("log")
    assert appender.write(b"x" * 1000) == 0
    with pytest.raises(StorageError, match="space"):
        appender.write(bytes(4 << 20))
    assert storage.size("log") == 1000
    assert appender.write(b"y") == 1000
    assert storage.get("log") == b"x" * 1000 + b"y"


def test_an_append_beyond_the_limit_of_file_sizes_is_taken_back(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)

    def act() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        appender = storage.open_append("log")
        appender.write(b"x" * 4000)
        for _ in range(2):
            with pytest.raises(StorageError):
                appender.write(b"y" * 4000)
        return storage.size("log") == 4000 and appender.write(b"z" * 10) == 4000

    run_in_child(act)


def _without_rights() -> bool:
    """Root may write everywhere, so become somebody else (in a child)."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    return True


class _readable_only:
    """Everything below a folder can be read by anybody and written by nobody; and the way there is open."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> None:
        for folder in (self.root, *self.root.rglob("*")):
            folder.chmod(0o555 if folder.is_dir() else 0o444)
        for parent in self.root.parents:
            if parent.stat().st_uid == os.getuid() and "pytest" in str(parent):
                parent.chmod(0o755)

    def __exit__(self, *exception: object) -> None:
        for folder in (self.root, *self.root.rglob("*")):
            folder.chmod(0o755 if folder.is_dir() else 0o644)


@pytest.mark.parametrize("verb", ["get", "put", "put_if_absent", "stage", "delete", "size"])
def test_a_symbolic_link_does_not_lead_out(tmp_path: Path, verb: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "link").symlink_to(outside)
    storage = LocalStorage(tmp_path / "store")
    acts = {"get": storage.get, "delete": storage.delete, "size": storage.size}
    with pytest.raises(StorageError, match="symbolic link"):
        acts.get(verb, lambda path: write(storage, verb, path, b"changed"))("link/secret")
    assert (outside / "secret").read_bytes() == b"secret"
    assert [*storage.list("")] == []
    with pytest.raises(StorageError, match="symbolic link"):
        [*storage.list("link")]


def test_leftovers_are_not_removed_where_a_link_leads(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("five years of work")
    os.utime(outside / "thesis.txt", (0, 0))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tmp").symlink_to(outside)
    with pytest.raises(StorageError, match="symbolic link"):
        LocalStorage(tmp_path / "store").remove_leftovers()
    assert (outside / "thesis.txt").read_text() == "five years of work"


def test_nobody_waits_for_a_pipe_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    os.mkfifo(tmp_path / "store" / "a")
    storage = LocalStorage(tmp_path / "store")
    assert storage.get("a") == b""
    assert [*storage.list("")] == []
    with pytest.raises(NotFoundError):
        storage.size("a")


def test_a_linked_file_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a").symlink_to(tmp_path / "secret")
    storage = LocalStorage(tmp_path / "store")
    with pytest.raises(StorageError):
        storage.get("a")
    assert storage.put_if_absent("a", b"x") is False
    storage.put("a", b"new")
    assert storage.get("a") == b"new"
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_store_may_be_reached_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    LocalStorage(tmp_path / "linked").put("a/b", b"x")
    assert LocalStorage(tmp_path / "real").get("a/b") == b"x"


def test_files_of_strangers_are_not_listed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a", b"x")
    (tmp_path / "with space").write_bytes(b"")
    (tmp_path / "tmp" / "unfinished").write_bytes(b"")
    assert [info.path for info in storage.list("")] == ["a"]


def test_without_hard_links_a_rename_that_keeps_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _refuse(errno.EPERM))
    storage = LocalStorage(tmp_path)
    assert storage.put_if_absent("a/b", b"first") is True
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    assert storage.put_if_absent("a/b", b"second") is False
    assert storage.get("a/b") == b"first"
    assert [*(tmp_path / "tmp").iterdir()] == []
    assert storage.capabilities.multi_writer


def test_without_either_it_refuses_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _refuse(errno.EOPNOTSUPP))
    monkeypatch.setattr(linking, "_renameat2", lambda: None)
    storage = LocalStorage(tmp_path)
    with pytest.raises(CapabilityError, match="hard links"):
        storage.put_if_absent("a", b"x")
    assert not storage.capabilities.put_if_absent
    assert not storage.capabilities.multi_writer
    assert [*storage.list("")] == []


def _refuse(number: int) -> Callable[..., None]:
    def call(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_leftovers_of_crashed_processes_are_removed_when_they_are_old(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a", b"x")
    for name, age_s in (("old", 100_000), ("young", 10)):
        (tmp_path / "tmp" / name).write_bytes(b"half")
        stamp = os.stat(tmp_path / "tmp" / name).st_mtime - age_s
        os.utime(tmp_path / "tmp" / name, (stamp, stamp))
    assert storage.remove_leftovers() == 1
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["young"]
    assert storage.get("a") == b"x"


def test_a_removed_store_is_made_again(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store")
    storage.put_if_absent("a/b/c", b"x")
    shutil.rmtree(tmp_path / "store")
    assert storage.put_if_absent("a/b/c", b"y") is True
    assert storage.get("a/b/c") == b"y"


def test_a_root_that_is_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = LocalStorage(tmp_path / "file")
    with pytest.raises(StorageError, match="file"):
        storage.put("a", b"x")
    with pytest.raises(NotFoundError):
        storage.get("a")


@pytest.mark.parametrize("bad", [{"root": ""}, {"root": "a\0b"}, {"root": "x", "fsync": "sometimes"}])
def test_what_cannot_be_meant_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError):
        LocalStorage(**bad)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(("fsync", "expected"), [("objects", True), ("always", True), ("never", False)])
def test_the_policy_decides_what_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_here: Callable[..., Any], fsync: str, expected: bool
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", only_here(flushed.append, os.fsync))
    storage = LocalStorage(tmp_path, fsync=fsync)  # type: ignore[arg-type]  # one of the three
    assert storage.put_if_absent("a", b"x")
    assert bool(flushed) is expected
    assert storage.capabilities.durable is expected
    flushed.clear()
    storage.put("a", b"y")
    assert bool(flushed) is (fsync == "always")
