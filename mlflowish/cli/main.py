"""The entry point: dispatches to the commands, and turns errors into one message and an exit code.

Exit codes: 0 done; 1 it could not be done (an error of ours: one message on standard error, no traceback); 2 the
command line cannot be meant; 3 `fsck` found something wrong; 130 interrupted. `reproduce` has its own: 0 the same, 1
different, 2 not possible.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click

from mlflowish.cli.demo import demo
from mlflowish.cli.entries import forget, show, steps
from mlflowish.cli.explain import explain
from mlflowish.cli.keeping import du, fsck, gc, retain
from mlflowish.cli.lineage import lineage
from mlflowish.cli.models import hooks, models, promote
from mlflowish.cli.reproduce import reproduce
from mlflowish.cli.running import run_target
from mlflowish.cli.runs import compare, export_runs, runs, sync
from mlflowish.cli.stores import compact, status
from mlflowish.errors import MlflowishError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlflowish", prog_name="mlflowish")
def cli() -> None:
    """Look into a store of cached steps.

    Without --store it is the store that your code would use in this folder: $MLFLOWISH_STORE, else [tool.mlflowish]
    store in pyproject.toml, else the folder .mlflowish.
    """


_COMMANDS = (
    *(run_target, demo, status, steps, show, explain, lineage, reproduce, forget),
    *(runs, compare, export_runs, sync),
    *(models, promote, hooks),
    *(compact, du, gc, retain, fsck),
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal's encoding does not have is no reason to end
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(given))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and give its exit code."""
    try:
        code = cli.main(args=list(arguments), prog_name="mlflowish", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        _with_hint(error).show()
        return error.exit_code
    except MlflowishError as error:
        _report(error, as_json="--json" in arguments)
        return 1
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except (BrokenPipeError, SystemExit):
        # Whoever read us has seen enough; click and rich make a SystemExit of that. Python would complain once more
        # when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _with_hint(error: click.ClickException) -> click.ClickException:
    """A store is named by an option of the command: other tools have it as an argument, or before the command."""
    if isinstance(error, click.NoSuchOption) and error.option_name == "--store":
        return click.UsageError(f"{error.message} It stands after the command: mlflowish fsck --store PATH.", error.ctx)
    if isinstance(error, click.UsageError) and error.message.startswith("Got unexpected extra argument"):
        return click.UsageError(f"{error.message}. A store is named with --store.", error.ctx)
    return error


def _report(error: MlflowishError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": {"code": error.code, "message": error.message}}), file=sys.stderr)
    else:
        print(f"mlflowish: {error.message}", file=sys.stderr)


if __name__ == "__main__":
    main()
