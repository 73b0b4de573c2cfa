"""Progress where people see it: a terminal, a log, and places where it must not be seen. Real processes, a real pty."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import logging, os, sys, threading, time
import mlflowish as mf
from mlflowish.pipelines.displays import lines, watcher

# On a busy machine the clock says little. What is short is over before anything shows; of lines there is one, which
# comes when some calls are done and before the last one is.
if sys.argv[2] == "0.01":
    watcher.ProgressWatcher.__init__.__kwdefaults__["appears_after_s"] = 600.0
lines._FIRST_S = watcher._ENDS_WITHIN_S = 600.0
some, told, show = threading.Event(), threading.Event(), lines.Lines.show
lines.Lines.show = lambda self, view: some.is_set() and (show(self, view), told.set())

logging.basicConfig(level=logging.INFO, format="%(message)s")

@mf.step
def load(n):
    return list(range(n))

@mf.step
def work(x, pause):
    time.sleep(pause)
    if x == 5:
        some.set()
    if x == 9 and os.environ.get("WAITS"):
        told.wait(60)
    if x == 2:
        # In one piece: another thread may write between a text and the end of its line.
        print("printed by two\\n", end="")
    if x == 3:
        logging.info("logged by three")
    if x == 4 and pause > 0.3:
        raise ValueError("four is right out")
    return x

@mf.pipeline
def nightly(n: int, pause: float):
    return work.map(load(n), pause=pause)

with mf.executor("threads", workers=2):
    try:
        run = nightly.run(int(sys.argv[1]), float(sys.argv[2]))
    except mf.StepError as error:
        run = mf.get_run(error.run_id)
print("console:", run.console.splitlines())
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def environment(script: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "MLFLOWISH_PROGRESS")}
    return {**kept, "MLFLOWISH_STORE": str(script.parent / "store"), "TERM": "xterm", "COLUMNS": "100", **more}


def run_piped(script: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, env=environment(script, **env), capture_output=True, text=True, check=True)


def run_in_terminal(script: Path, *arguments: str, **env: str) -> str:
    """All that the program wrote to its terminal."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(sys.executable, [sys.executable, str(script), *arguments], environment(script, **env))
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        written += piece
    assert os.waitpid(child, 0)[1] == 0
    return written.decode()


def screen(written: str) -> list[str]:
    """What a terminal shows in the end, of the few things that we ask of it."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[\d*[A-Za-z]|\x1b\[[\d;?]*[a-z]|\r|\n|[^\x1b\r\n]+", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece.endswith("A") and piece.startswith("\x1b"):
            row = max(0, row - int(piece[2:-1]))
        elif piece == "\x1b[K":
            lines[row] = lines[row][:column]
        elif piece == "\x1b[J":
            lines[row:] = [lines[row][:column]]
        elif not piece.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + len(piece) :]
            column += len(piece)
    return [line for line in lines if line.strip()]


def test_a_log_gets_few_lines_and_a_summary(script: Path) -> None:
    done = run_piped(script, "10", "0.4", WAITS="yes")
    lines = done.stderr.splitlines()
    told = [line for line in lines if line.startswith("nightly")]
    shown = r"nightly \d:\d\d \d+ of 11: \d+ done, [^;]*\d running[^;]*; about \d+ s left; now work.*"
    assert len([line for line in told if re.fullmatch(shown, line)]) == 1
    assert "nightly failed: work[4]: ValueError: four is right out" in told
    assert re.fullmatch(r"nightly failed: 10 done, 1 failed in \d+ s", told[-1])
    assert len(told) == 3
    assert "logged by three" in lines
    assert "nightly" not in done.stdout.partition("console:")[0]


def test_a_terminal_is_drawn_on_and_left_with_one_line(script: Path) -> None:
    written = run_in_terminal(script, "10", "0.4")
    assert "about " in written
    assert "running" in written
    shown = screen(written)
    assert sorted(shown[:2]) == ["logged by three", "printed by two"]
    assert re.fullmatch(r"✗ nightly failed: 10 done, 1 failed in \d+ s", shown[2])
    # The run keeps what the program printed, and nothing of the picture.
    assert sorted(ast.literal_eval(shown[3].removeprefix("console: "))[:2]) == ["logged by three", "printed by two"]
    assert "waiting" not in "".join(shown)


def test_short_work_shows_nothing(script: Path) -> None:
    assert run_piped(script, "4", "0.01").stderr.splitlines() == ["logged by three"]
    assert "nightly" not in run_in_terminal(script, "4", "0.01")


def test_it_can_be_switched_off(script: Path) -> None:
    assert "nightly" not in run_piped(script, "8", "0.3", MLFLOWISH_PROGRESS="off").stderr


@pytest.mark.nightly
def test_a_terminal_that_is_a_log_of_a_machine_gets_lines(script: Path) -> None:
    written = run_in_terminal(script, "12", "0.3", CI="true")
    assert re.search(r"^nightly 0:0\d .* running", written, re.MULTILINE)
    assert "\x1b[" not in written


@pytest.mark.parametrize("break_it", [pytest.param("close", marks=pytest.mark.nightly), "replace"])
def test_a_display_that_fails_stops_nothing(script: Path, break_it: str) -> None:
    breaking: dict[str, str] = {
        "close": "sys.stderr.close()",
        "replace": "sys.stderr = type('Broken', (), {'write': lambda s, t: 1 / 0, 'flush': lambda s: 1 / 0})()",
    }
    text = SCRIPT.replace("with mf.executor", f"logging.disable()\n{breaking[break_it]}\nwith mf.executor")
    text = text.replace('print("console', 'sys.stderr = sys.__stderr__\nprint("console')
    script.write_text(text.replace("console:", "counts:").replace("run.console.splitlines()", "run.counts"))
    assert run_piped(script, "8", "0.3").stdout.splitlines()[-1] == "counts: {'done': 9}"
