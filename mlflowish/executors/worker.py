"""On the worker: one function that runs what the driver packed, wherever that is, and the loop of our own processes."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import sys
import threading
from dataclasses import replace
from typing import IO, Any, NoReturn

from mlflowish.executors.active import executor_block
from mlflowish.executors.packing import Answer, answer_of, failed
from mlflowish.executors.printed import Kept, Lines, printed_to
from mlflowish.executors.serial import SerialExecutor
from mlflowish.executors.versions import Origin, refusal, refused
from mlflowish.store.context import shippers

SIZE = struct.Struct("<Q")
_inside = SerialExecutor()


def run_packed(payload: bytes, sender: Origin, on_mismatch: str) -> Answer:
    """Run a packed function, and answer with all that there is to say about it. Raises nothing.

    What the function itself submits runs in its own thread, at once: a worker never waits for another.
    """
    if sender.is_here:  # a cluster inside the driver's own process: what is printed is printed
        return _run(payload, sender, on_mismatch)
    kept = Kept()
    with printed_to(kept):
        answer = _run(payload, sender, on_mismatch)
    return replace(answer, printed=tuple(kept.pieces))


def _run(payload: bytes, sender: Origin, on_mismatch: str) -> Answer:
    difference = refusal(sender)
    if difference is not None and on_mismatch != "warn":
        return failed(refused(difference))
    try:
        function = pickle.loads(payload)
    except Exception as error:  # noqa: BLE001  whatever it is, the driver has to hear of it
        return failed(error)
    with executor_block(_inside):
        answer = answer_of(function)
    return answer if difference is None else replace(answer, warned=(difference, *answer.warned))


def ship_all() -> None:
    """Let others see what calls on this worker have logged."""
    for ship in shippers:
        ship()


# -- our own processes ---------------------------------------------------------------------------------


def serve(parent: int) -> NoReturn:
    """The life of a worker process: calls come on standard input, answers go to standard output, until the driver says
    no more or is gone."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    sink = open(os.devnull, "rb")  # noqa: SIM115  it is standard input for as long as the process lives
    os.dup2(sink.fileno(), 0)
    os.dup2(2, 1)  # what libraries print past Python is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's: it ends us
    ending = threading.Event()
    _end_on_request(ending)
    _die_with(parent, calls)
    speaking = threading.Lock()

    def say(kind: bytes, content: Any) -> None:
        data = kind + pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
        with speaking:
            _write(answers, data)

    try:
        lines = Lines(lambda stream, text: say(b"P", (stream, text)))
        with printed_to(lines):
            _serve(calls, say, lines, ending)
    except (BrokenPipeError, EOFError):  # the driver is gone
        pass
    sys.exit(0)


def _serve(calls: IO[bytes], say: Any, lines: Lines, ending: threading.Event) -> None:
    while message := read_message(calls):  # an empty one says that there are no more
        surroundings, payload, sender, on_mismatch = pickle.loads(message)
        if surroundings is not None:
            _follow(*surroundings)
        answer = _run(payload, sender, on_mismatch)
        lines.end()
        say(b"A", answer)
        if ending.is_set():
            return


def _follow(folder: str | None, path: list[str], arguments: list[str], environment: dict[str, str]) -> None:
    """Be where the driver is now: folder, modules, arguments of the command line, environment."""
    if folder is not None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
    sys.path[:] = path
    sys.argv[:] = arguments
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _end_on_request(ending: threading.Event) -> None:
    def end(*_: object) -> None:
        if not ending.is_set():
            ending.set()
            sys.exit(143)

    signal.signal(signal.SIGTERM, end)


def _die_with(parent: int, calls: IO[bytes]) -> None:
    """End when the driver does, however that comes, and whatever is running here."""
    if sys.platform == "linux":
        import ctypes

        # The kernel sees to it even while code that holds the interpreter's lock runs. It watches the thread that
        # started us, which lives as long as we are wanted.
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if hasattr(os, "getppid") and os.getppid() != parent:
        os._exit(1)
    import select

    if not hasattr(select, "poll"):
        return

    def watch() -> None:
        poll = select.poll()
        poll.register(calls.fileno(), 0)
        while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="mlflowish-parent", daemon=True).start()


# -- messages ------------------------------------------------------------------------------------------


def read_message(stream: IO[bytes]) -> bytes | None:
    """The next message, None at the end."""
    head = stream.read(SIZE.size)
    if not head:
        return None
    if len(head) < SIZE.size:
        raise EOFError
    size = SIZE.unpack(head)[0]
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def write_message(stream: IO[bytes], data: bytes) -> None:
    """Send a message."""
    _write(stream, data)
    stream.flush()


def _write(stream: IO[bytes], data: bytes) -> None:
    small = len(data) < 1 << 16
    for piece in (SIZE.pack(len(data)) + data,) if small else (SIZE.pack(len(data)), data):
        view = memoryview(piece)
        while view:
            view = view[stream.write(view) :]
