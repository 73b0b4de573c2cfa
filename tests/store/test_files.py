"""File and Dir: identified by content, restored by a hit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlflowish as mf


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mf.Store(tmp_path / "store") as opened:
        yield opened


def test_the_content_counts_and_not_the_name_or_the_dates(tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("a,b\n1,2\n")
    two.write_text("a,b\n1,2\n")
    os.utime(two, (1, 1))
    assert mf.digest(mf.File(one)) == mf.digest(mf.File(str(two)))
    assert mf.File(one).digest == mf.File(two).digest
    two.write_text("a,b\n1,3\n")
    assert mf.digest(mf.File(one)) != mf.digest(mf.File(two))


def test_an_edit_of_the_same_size_with_its_date_put_back_is_seen(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"aaaa")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    before = mf.File(path).digest
    path.write_bytes(b"bbbb")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert mf.File(path).digest != before


def test_a_file_is_no_text_and_no_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"x")
    digests = {
        mf.digest(value) for value in (mf.File(tmp_path / "a"), mf.Dir(tmp_path / "d"), b"x", str(tmp_path / "a"))
    }
    assert len(digests) == 4


def test_a_missing_file_is_a_clear_error(store):
    @mf.step
    def read(file):
        return file.read_bytes()

    with pytest.raises(mf.NotFoundError, match=r"no file at nowhere\.csv"):
        read(mf.File("nowhere.csv"))
    with pytest.raises(mf.NotFoundError, match="no folder at nowhere"):
        mf.digest(mf.Dir("nowhere"))
    with pytest.raises(mf.InvalidInputError, match="Dir"):
        mf.digest(mf.File("."))
    with pytest.raises(mf.InvalidInputError):
        mf.File("")


def test_a_hit_puts_a_deleted_or_edited_result_back(store):
    @mf.step
    def write(text):
        Path("out").mkdir(exist_ok=True)
        Path("out/result.txt").write_text(text)
        return mf.File("out/result.txt")

    assert Path(write("hello")).read_text() == "hello"
    Path("out/result.txt").unlink()
    call = write.call("hello")
    assert call.hit
    assert Path(call.value).read_text() == "hello"
    Path("out/result.txt").write_text("spoiled")
    assert Path(write("hello")).read_text() == "hello"
    assert write.call("hello").hit
    assert not list(Path("out").glob("*.part"))


def test_folders_are_results_too_and_foreign_files_in_them_stay(store):
    @mf.step
    def unpack(n):
        for i in range(n):
            target = Path(f"many/sub{i % 2}/{i}.txt")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(str(i))
        return mf.Dir("many")

    digest = unpack(4).digest
    Path("many/sub0/0.txt").unlink()
    Path("many/mine.txt").write_text("keep")
    call = unpack.call(4)
    assert call.hit
    assert Path("many/sub0/0.txt").read_text() == "0"
    assert Path("many/mine.txt").read_text() == "keep"
    Path("many/mine.txt").unlink()
    assert unpack(4).digest == digest


def test_an_untrusted_store_does_not_write_outside_the_working_directory(tmp_path, monkeypatch):
    inside, outside = tmp_path / "inside", tmp_path / "outside.txt"
    inside.mkdir()
    monkeypatch.chdir(inside)

    @mf.step(ignore=("path",))
    def write(text, path):
        Path(path).write_text(text)
        return mf.File(path)

    with mf.Store(tmp_path / "store"):
        write("x", str(outside))
    outside.unlink()
    with mf.Store(tmp_path / "store", allow_pickle=False), pytest.warns(mf.UncachedWarning, match="outside"):
        write("x", str(inside / "y"))
    assert not outside.exists()


def test_the_same_file_hits_from_another_process_and_place(tmp_path):
    script = """
import sys, mlflowish as mf
mf.use(sys.argv[1])
@mf.step
def size(file):
    print("ran")
    return len(file.read_bytes())
print(size(mf.File(sys.argv[2])))
"""
    outputs = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.bin").write_bytes(b"12345")
        command = [sys.executable, "-c", script, str(tmp_path / "store"), str(folder / f"{name}.bin")]
        outputs.append(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout.split())
    assert outputs == [["ran", "5"], ["5"]]


def test_remote_files_are_read_by_url(store):
    import fsspec

    with fsspec.open("memory://files-test/data.bin", "wb") as stream:
        stream.write(b"abc")
    local = Path("data.bin")
    local.write_bytes(b"abc")
    assert mf.File("memory://files-test/data.bin").digest == mf.File(local).digest
    with pytest.raises(mf.NotFoundError, match="no file at memory"):
        mf.digest(mf.File("memory://files-test/nothing"))


def test_an_empty_folder_counts_and_is_put_back(store):
    Path("tree/full").mkdir(parents=True)
    Path("tree/full/a.txt").write_text("a")

    @mf.step
    def names(folder):
        return sorted(str(found.relative_to(folder)) for found in Path(folder).rglob("*"))

    assert names(mf.Dir("tree")) == ["full", "full/a.txt"]
    Path("tree/empty/inner").mkdir(parents=True)
    assert names(mf.Dir("tree")) == ["empty", "empty/inner", "full", "full/a.txt"]

    @mf.step
    def grown():
        Path("out/empty/inner").mkdir(parents=True)
        return mf.Dir("out")

    digest = grown().digest
    Path("out/empty/inner").rmdir()
    assert grown().digest == digest
    assert Path("out/empty/inner").is_dir()


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe")
    for value in (mf.File(tmp_path / "folder" / "pipe"), mf.Dir(tmp_path / "folder")):
        with pytest.raises(mf.InvalidInputError, match="pipe"):
            mf.digest(value)


@pytest.mark.parametrize("as_generator", [False, True])
def test_a_declared_file_that_changes_while_the_step_runs_is_no_result_of_the_old_one(store, as_generator):
    Path("query.sql").write_text("old")

    def read(n):
        if n == 0:
            Path("query.sql").write_text("new")
        return [Path("query.sql").read_text()]

    def read_on(n):
        yield from read(n)

    step = mf.step(depends=mf.File("query.sql"))(read_on if as_generator else read)
    with pytest.warns(mf.UncachedWarning, match="depends"):
        assert list(step(0)) == ["new"]
    Path("query.sql").write_text("old")
    assert not step.is_cached(0)
    assert list(step(1)) == ["old"]
    assert step.is_cached(1)
