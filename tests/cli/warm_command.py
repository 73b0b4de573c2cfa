"""The command in forks of a process that has imported it: as it is typed, without the second that imports take.

A line of JSON on standard input asks for one: arguments, folder, environment, and the files that are its standard
streams. The answer is a line with its exit code.
"""

import json
import os
import sys


def preload():
    """What commands import when they run."""
    import networkx  # noqa: F401  for the forks
    import pyarrow.parquet  # noqa: F401  for the forks
    import rich.table  # noqa: F401  for the forks

    import mlflowish as mf
    import mlflowish.cli.main

    # Each name of the public surface brings in the module that holds it.
    for name in dir(mf):
        getattr(mf, name, None)


def become(request):
    """Make this process the one that was asked for."""
    for descriptor, (path, flags) in enumerate(
        ((request["stdin"], os.O_RDONLY), (request["stdout"], os.O_WRONLY), (request["stderr"], os.O_WRONLY))
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])


def end_with(arguments):
    """Run the command and end as an interpreter does, up to where it takes its modules apart, which takes long."""
    import atexit
    import threading

    from mlflowish.cli.main import run

    code = run(arguments)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main():
    preload()
    # The protocol moves out of the way of the streams that forks take over.
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            requests.close()
            answers.close()
            become(request)
            end_with(request["arguments"])
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    main()
