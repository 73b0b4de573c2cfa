"""`mlflowish demo`: the pipeline of `mlflowish/demo/digits.py`, run twice, or run, edited and run again."""

from __future__ import annotations

import difflib
import importlib.util
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.options import Location, json_option, store_options
from mlflowish.cli.printing import console, print_json, print_table, seconds
from mlflowish.errors import StateError, missing_extra

if TYPE_CHECKING:
    from mlflowish.cli.rehearsal import Rehearsal, WatchedCall

_FILE = "digits.py"
# What --edit changes: the meaning of a helper of `features`, and, to show that it does not count, a comment in `split`.
_EDITS = (
    ("    return images / 16.0\n", "    return np.sqrt(images / 16.0)\n"),
    (
        "    return tuple(train_test_split(",
        "    # A comment is not code: nothing runs again for it.\n    return tuple(train_test_split(",
    ),
)


@click.command()
@click.option(
    "--edit", is_flag=True, help="Change a helper in a temporary copy, and show which steps run again, and why."
)
@store_options
@json_option
def demo(edit: bool, location: Location, as_json: bool) -> None:
    """Run a real pipeline twice: hand-written digits, from images to a score.

    Each run is a process of its own (on memory:// both are in this one). Exit code 1 if the second run did not read
    everything back.
    """
    _require_scikit_learn()
    location = Location(_absolute(location.url), location.options)
    location.open().create()  # a store that cannot be written says so now, not after the work
    folder = Path(tempfile.mkdtemp(prefix="mlflowish-demo-"))
    try:
        document = (
            _edited_demo(folder, location, quiet=as_json) if edit else _plain_demo(folder, location, quiet=as_json)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json(document)


def _plain_demo(folder: Path, location: Location, *, quiet: bool) -> dict[str, Any]:
    say = _Speaker(quiet)
    file = _copy(folder / "original")
    say.line(f"[bold]mlflowish demo[/] on {location.shown}")
    first = _run(file, location)
    say.table("First run", first)
    second = _run(file, location)
    say.table(_second_title(location, second), second)
    saved = second.seconds_saved
    how = "All of it was passed in one look-up, in" if second.is_whole_hit else "Reading back took"
    say.line(
        f"Accuracy {second.accuracy:.1%}, both times. {how} {seconds(second.seconds)}: [bold]{seconds(saved)} saved.[/]"
    )
    say.line("Next: [bold]mlflowish demo --edit[/] changes a helper and shows what runs again, and why.")
    _require_read_back(second)
    return {"store": location.shown, "runs": [first.document(), second.document()], "seconds_saved": saved}


def _edited_demo(folder: Path, location: Location, *, quiet: bool) -> dict[str, Any]:
    say = _Speaker(quiet)
    original, edited = _copy(folder / "original"), _copy(folder / "edited")
    diff = _edit(edited)
    say.line(f"[bold]mlflowish demo --edit[/] on {location.shown}")
    first = _run(original, location)
    say.table("Before the edit", first)
    say.line("[bold]The edit:[/] a helper that [bold]features[/] calls, and a comment in [bold]split[/].")
    say.diff(diff)
    second = _run(edited, location)
    say.table("After the edit", second, reasons=True)
    ran = list(dict.fromkeys(call.step for call in second.calls if not call.hit))
    kept = list(dict.fromkeys(call.step for call in second.calls if call.hit))
    say.line(f"Ran again: [bold]{', '.join(ran) or 'nothing'}[/]. Read back: [bold]{', '.join(kept) or 'nothing'}[/].")
    say.line(f"Accuracy {first.accuracy:.1%} before, {second.accuracy:.1%} after.")
    _tidy(location, before=first, after=second)
    return {
        "store": location.shown,
        "edit": diff,
        "runs": [first.document(), second.document()],
        "ran_again": ran,
        "read_back": kept,
        "seconds_saved": second.seconds_saved,
    }


def _run(file: Path, location: Location) -> Rehearsal:
    from mlflowish.cli.rehearsal import rehearse, rehearse_here

    return rehearse_here(file, location) if location.is_memory else rehearse(file, location)


def _tidy(location: Location, *, before: Rehearsal, after: Rehearsal) -> None:
    """Drop the results of the edited code: the next `--edit` could show nothing if it found them."""
    store = location.open()
    for key in set(after.keys) - set(before.keys):
        for entry in store.entries(bytes.fromhex(key)):
            store.forget(entry.key, [entry.id], step=entry.meta.step)
    store.flush()


def _copy(folder: Path) -> Path:
    folder.mkdir()
    file = folder / _FILE
    file.write_text(resources.files("mlflowish.demo").joinpath(_FILE).read_text(encoding="utf-8"), encoding="utf-8")
    return file


def _edit(file: Path) -> str:
    """Apply the edits to the file; gives the unified diff."""
    before = after = file.read_text(encoding="utf-8")
    for old, new in _EDITS:
        if old not in after:
            raise StateError(f"The example no longer holds the line that the demo edits: {old.strip()}", line=old)
        after = after.replace(old, new, 1)
    file.write_text(after, encoding="utf-8")
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "digits.py", "digits.py, edited", lineterm="", n=1
    )
    return "\n".join(lines)


def _absolute(url: str) -> str:
    """A local path as seen from anywhere: the runs have working directories of their own."""
    return url if "://" in url else str(Path(url).expanduser().resolve())


def _second_title(location: Location, second: Rehearsal) -> str:
    return "Second run" if location.is_memory else f"Second run, in a new process ({second.process})"


def _require_read_back(second: Rehearsal) -> None:
    again = [call for call in second.calls if not call.hit]
    if again:
        reasons = "; ".join(f"{call.step}: {call.why}" for call in again)
        raise StateError(f"The second run computed {len(again)} of {len(second.calls)} calls again. {reasons}")


def _require_scikit_learn() -> None:
    for module in ("sklearn", "numpy"):
        if importlib.util.find_spec(module) is None:
            raise missing_extra("demo", needed_for="mlflowish demo")


class _Speaker:
    """Prints for people, or nothing at all."""

    def __init__(self, quiet: bool) -> None:
        self._console = None if quiet else console()

    def line(self, markup: str) -> None:
        if self._console is not None:
            self._console.print(markup)

    def diff(self, text: str) -> None:
        from rich.padding import Padding
        from rich.syntax import Syntax

        if self._console is not None:
            self._console.print(Padding(Syntax(text, "diff", theme="ansi_dark", background_color="default"), (1, 2)))

    def table(self, title: str, rehearsal: Rehearsal, *, reasons: bool = False) -> None:
        if self._console is None:
            return
        rows = [_row(call)[: None if reasons else 3] for call in rehearsal.calls]
        total = ("total", "", seconds(rehearsal.seconds), "")
        columns = ("step", "", "time", "why")
        last = None if reasons else 3
        print_table(title, columns[:last], [*rows, total[:last]], numbers=("time",))


def _row(call: WatchedCall) -> tuple[str, str, str, str]:
    if call.hit:
        return call.step, "read back", f"took {seconds(call.computed_in_seconds)}", _why(call)
    return call.step, "computed", seconds(call.computed_in_seconds), _why(call)


def _why(call: WatchedCall) -> str:
    if call.hit:
        return "same code, same arguments"
    if not call.differences:
        return call.why
    return ", ".join(f"{difference['kind']} {difference['name']} differs" for difference in call.differences)
