"""What is taken down without being asked, and what must not be."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from importlib import metadata
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.storage import MemoryStorage, ObjectStore, Storage
from mlflowish.store.masking import is_secret, masked_command, without_credentials
from mlflowish.testing.faults import FaultyStorage, Meanwhile
from mlflowish.tracking import capture, find_run
from mlflowish.tracking.capture import Capture, Watched
from mlflowish.tracking.console import ConsoleCopy
from mlflowish.tracking.environment import packages
from mlflowish.tracking.hardware import Sampler

ON = {"MLFLOWISH_CONSOLE": "1", "MLFLOWISH_SOURCE": "1", "MLFLOWISH_ENVIRONMENT": "1"}


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_source_of_a_program_is_taken_down(store: mf.Store, run_program, tmp_path: Path) -> None:
    (tmp_path / "lib.txt").write_text("committed\n")
    (tmp_path / ".env").write_text("A=1\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "remote", "add", "origin", "https://me:s3cr3t@host/repo.git")
    git(tmp_path, "add", "lib.txt", ".env")
    git(tmp_path, "commit", "-q", "-m", "first")
    (tmp_path / "lib.txt").write_text("changed\n")
    (tmp_path / ".env").write_text("A=s3cr3t\n")
    code = """
    import mlflowish as mf
    from mlflowish.tracking import capture, source
    capture.finish_describing.__defaults__ = (600.0,)  # on a busy machine git takes as long as it takes
    source._TIMEOUT_S = 600.0
    with mf.start_run('r'): print('hi')
    """
    run_program(code, "--password", "s3cr3t", **ON)
    run = mf.get_run(find_run(store, "r").run_id)
    code = run.code
    assert (code["branch"], code["is_dirty"], len(code["commit"])) == ("main", True, 40)
    assert code["remote"] == "https://host/repo.git"
    assert code["command"][-2:] == ("--password", "(hidden)")
    assert code["entry"] == str(tmp_path / "program0.py")
    assert "-committed\n+changed" in run.source_text("diff")
    assert "s3cr3t" not in run.source_text("diff")
    assert "start_run('r')" in run.source_text("script")
    assert run.environment["packages"]["blake3"]
    assert run.environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert run.console == "hi\n"


def test_packages_are_those_that_their_metadata_name(tmp_path: Path, monkeypatch) -> None:
    odd = tmp_path / "odd_one-1.dist-info"
    odd.mkdir()
    lines = ["Metadata-Version: 2.1", "NAME:  Odd.One ", "Version: 1.0+é", "Summary: Name: other", "", "Name: body"]
    (odd / "METADATA").write_bytes("\r\n".join(lines).encode())
    (tmp_path / "empty-2.dist-info").mkdir()
    old = tmp_path / "old.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old\nVersion: 0.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    expected: dict[str, str] = {}
    for distribution in metadata.distributions():
        try:
            found = distribution.metadata and distribution.metadata["Name"]
        except FileNotFoundError:  # the backport of importlib.metadata, once a library has imported it
            continue
        if found:
            expected.setdefault(found.strip(), distribution.version)
    assert (expected["Odd.One"], expected["old"]) == ("1.0+é", "0.9")
    assert packages() == expected


def test_what_is_switched_off_is_not_taken_down(store: mf.Store, run_program) -> None:
    run_program("import mlflowish as mf\nwith mf.start_run('r'): print('hi')")
    run = mf.get_run(find_run(store, "r").run_id)
    assert (run.code, run.environment, run.console, run.hardware) == ({}, {}, "", {})


def test_settings_of_the_project_switch_things_off(store: mf.Store, run_program, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.mlflowish]\nconsole = false\n")
    code = """
    import os
    for name in ("CONSOLE", "SOURCE"):
        del os.environ["MLFLOWISH_" + name]
    import mlflowish as mf
    with mf.start_run("r"):
        print("hi")
    """
    run_program(code)
    run = mf.get_run(find_run(store, "r").run_id)
    assert (run.console, "entry" in run.code) == ("", True)


def test_output_is_copied_and_the_streams_are_left_as_they_were(
    store: mf.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    streams = sys.stdout, sys.stderr
    with mf.start_run(console=True) as run:
        assert (sys.stdout, sys.stderr) == streams
        print("out", 1)
        print("err", file=sys.stderr)
        sys.stdout.write("no newline")
    print("after")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("out 1\nno newlineafter\n", "err\n")
    assert run.console == "out 1\nerr\nno newline"


def test_nested_runs_each_have_what_was_printed_in_them(store: mf.Store) -> None:
    with mf.start_run(console=True) as outer:
        print("a")
        with mf.start_run(console=True) as inner:
            print("b")
        print("c")
    assert (outer.console, inner.console) == ("a\nb\nc\n", "b\n")


def test_runs_that_end_crosswise_leave_the_streams_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout.write
    first, second = ConsoleCopy(lambda stream, text: None), ConsoleCopy(lambda stream, text: None)
    first.start()
    second.start()
    first.stop()
    second.stop()
    assert sys.stdout.write == before


def test_a_stream_that_somebody_wrapped_meanwhile_is_left_to_them(capsys: pytest.CaptureFixture[str]) -> None:
    taken: list[str] = []
    copy = ConsoleCopy(lambda stream, text: taken.append(text))
    copy.start()
    ours = sys.stdout.write
    sys.stdout.write = lambda text: ours(text.upper())
    print("x")
    copy.stop()
    print("y")
    del sys.stdout.write
    assert (taken, capsys.readouterr().out) == (["X\n"], "X\nY\n")


def test_a_copy_that_fails_never_reaches_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    copy = ConsoleCopy(lambda stream, text: 1 / 0)
    copy.start()
    print("still here")
    copy.stop()
    assert capsys.readouterr().out == "still here\n"


def test_output_beyond_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflowish.tracking.console.LARGEST_BYTES", 100)
    taken: list[str] = []
    copy = ConsoleCopy(lambda stream, text: taken.append(text))
    copy.start()
    for _ in range(50):
        print("0123456789")
    copy.stop()
    assert len("".join(taken)) < 200
    assert "not kept" in taken[-1]


def test_the_load_of_machine_and_process_is_sampled() -> None:
    sample = Sampler().sample()
    assert sample["system/process_memory_megabytes"] > 1
    assert 0 <= sample["system/system_memory_usage_percentage"] <= 100
    assert {"system/cpu_utilization_percentage", "system/network_receive_megabytes"} <= sample.keys()


def test_hardware_series_are_apart_from_metrics(store: mf.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflowish.tracking.hardware.EVERY_S", 0.0)
    with mf.start_run(hardware=True) as run:
        mf.log_metric("loss", 1)
        assert run._capture is not None
        deadline = time.monotonic() + 120
        while not run.hardware and time.monotonic() < deadline:
            run._capture.tick()
    assert run.metrics == {"loss": 1.0}
    assert run.hardware["system/process_memory_megabytes"] > 1
    assert run.metric_history("system/process_memory_megabytes").num_rows >= 1


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_passwd",
        "API_KEY",
        "apiKey",
        "aws-secret-access-key",
        "hf_token",
        "token",
        "client_secret",
        "auth",
    ],
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer", "eos_token", "n_token", "keys", "author", "monkey", "lr"])
def test_names_of_other_things_are_not(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_left_out_of_command_lines() -> None:
    given = ["python", "t.py", "--api-key", "s", "--lr", "1", "--token=s", "DB=postgres://u:s@h/d", "PASSWORD=s", "-v"]
    assert masked_command(given) == [
        "python",
        "t.py",
        "--api-key",
        "(hidden)",
        "--lr",
        "1",
        "--token=(hidden)",
        "DB=postgres://h/d",
        "PASSWORD=(hidden)",
        "-v",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a:b@h/p?x=1&token=s#f", "https://h/p?x=1&token=(hidden)#f"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("see https://t0ken@h/x now", "see https://h/x now"),
        ("no url", "no url"),
    ],
)
def test_credentials_are_left_out_of_urls(text: str, expected: str) -> None:
    assert without_credentials(text) == expected


def test_source_that_is_collected_before_the_run_names_it_is_kept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "describe_source", lambda entry: ({}, {"patch": b"what changed"}))
    monkeypatch.setattr(capture, "FRESH_S", -1.0)

    def start(storage: Storage) -> mf.Store:
        store = mf.Store(f"memory://{uuid.uuid4().hex}")
        store.storage = storage
        store.objects = ObjectStore(storage, is_doomed=store._is_doomed)
        return store

    def keep(storage: Storage) -> None:
        with mf.start_run(store=start(storage)) as run:
            Capture(run, Watched(console=False, hardware=False, source=True, environment=False))._describe()

    def memory() -> Storage:
        return MemoryStorage(f"capture-{uuid.uuid4().hex}")

    counted = FaultyStorage(memory())
    keep(counted)
    for call in counted.calls:
        inner = memory()
        meanwhile = Meanwhile({call.number}, lambda inner=inner: mf.gc(start(inner), dry_run=False, grace=0))  # type: ignore[misc]  # a lambda with a default
        keep(FaultyStorage(inner, meanwhile))
        assert meanwhile.met
        assert mf.fsck(start(inner)).is_sound, call
