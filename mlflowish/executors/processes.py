"""Worker processes of our own: started when they are needed, used again, replaced when they die, gone with the driver.

Each worker has a thread here that starts it, hands it calls and hears its answers. A worker begins with nothing of the
driver but its folder, its search path and its environment: it imports what it needs, and what was defined in a script
or a notebook comes by value.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from mlflowish.errors import StateError, WorkerDiedError
from mlflowish.executors.base import OnMismatch, Submitted, when_done
from mlflowish.executors.futures import Future
from mlflowish.executors.gate import Gate
from mlflowish.executors.packing import Answer, departure, name_of, packed, receive
from mlflowish.executors.printed import print_here
from mlflowish.executors.resources import ONE_CPU, Capacity, Resources
from mlflowish.executors.versions import here
from mlflowish.executors.worker import read_message, write_message

MOST_DEATHS = 3  # a call that ends three processes has a part in it
_PATIENCE_S = 1.0
_LEAVING_S = 40.0  # shipping to a store that is slow takes up to 30


class ProcessExecutor:
    """At most `workers` calls at a time (default: as many as cores), each in a process of its own.

    What a call needs travels by cloudpickle: functions of scripts and notebooks by value, others by name. A worker that
    dies is replaced, and its call made again, up to three times; then it fails with WorkerDiedError.
    """

    in_process = False
    knows_what_runs = True

    def __init__(
        self, workers: int | None = None, capacity: Capacity | None = None, *, on_mismatch: OnMismatch = "raise"
    ) -> None:
        self.workers = workers or cores()
        self.on_mismatch: OnMismatch = on_mismatch
        self._capacity = capacity or Capacity(self.workers)
        self._begin_life()
        _living.add(self)

    def _begin_life(self) -> None:
        self._pid = os.getpid()
        self._gate = Gate(self._capacity)
        self._submitted = Submitted()
        self._ready: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()

    def submit(
        self, function: Callable[[], Any], *, after: tuple[Future, ...] = (), resources: Resources = ONE_CPU
    ) -> Future:
        """A future of `function()`, which travels when all of `after` are done."""
        if self._pid != os.getpid():  # a forked child has neither threads nor workers of its parent
            self._begin_life()
        self._capacity.fitted(resources)
        future = Future(function, after, runs_here=False)
        self._submitted.add(future)
        job = _Job(future, function, resources)
        when_done(after, lambda: self._depart(job))
        return future

    def _depart(self, job: _Job) -> None:
        if (travels := departure(job.future, job.function)) is not None:
            job.travels = travels
            self._gate.enter(job.resources, lambda: self._start(job))

    def _start(self, job: _Job) -> None:
        self._ready.put(job)
        if self._idle.acquire(blocking=False):
            return
        with self._lock:
            if len(self._workers) < self.workers:
                self._workers.append(_Worker(self))

    def pids(self) -> list[int]:
        """The processes that live now."""
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    def shutdown(self, *, cancel: bool = False) -> None:
        """Finish what was submitted and end the processes; a later submit starts new ones. `cancel` ends at once those
        that are at work."""
        if self._pid != os.getpid():
            return
        self._submitted.finish(cancel=cancel)
        with self._lock:
            workers, self._workers = self._workers, []
        for _ in workers:
            self._ready.put(None)
        for worker in workers:
            worker.join()
        self._idle = threading.Semaphore(0)


class _Job:
    """A call on its way; `deaths` are exit codes of the workers that it was on."""

    def __init__(self, future: Future, function: Any, resources: Resources) -> None:
        self.future, self.function, self.resources = future, function, resources
        self.travels: Any = None
        self.deaths: list[int] = []
        self.is_stopped = False


class _Worker:
    """One worker process, and the thread that speaks with it."""

    def __init__(self, owner: ProcessExecutor) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._owner = owner
        self._told: Any = None
        self._thread = threading.Thread(target=self.run, name="mlflowish-worker", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def run(self) -> None:
        """Do calls until there are no more."""
        while (job := self._owner._ready.get()) is not None:
            if job.future.claim():
                self._do(job)
            self._owner._gate.leave(job.resources)
            self._owner._idle.release()
        self._end()

    def _do(self, job: _Job) -> None:
        future, function = job.future, job.function
        future.on_stop = lambda: self._stop(job)
        try:
            payload = packed(job.travels, function)
            job.travels = None
            is_new = self.process is None
            answer = self._answer(job, payload)
            if answer is not None and answer.is_other_code and not is_new:
                self._end()  # modules were edited and reloaded here since it started: a new one imports them anew
                answer = self._answer(job, payload)
            while answer is None and not job.is_stopped:
                if len(job.deaths) >= MOST_DEATHS:
                    raise _died(function, job.deaths)
                answer = self._answer(job, payload)
            if answer is None or job.is_stopped:
                self._end(kill=True)
                raise CancelledError
            receive(answer, future, function)
        except BaseException as error:  # noqa: BLE001  it belongs to whoever asks for the result
            future.end_with(error=error)

    def _answer(self, job: _Job, payload: bytes) -> Answer | None:
        """What the worker answers; None if it died."""
        surroundings = (_folder(), list(sys.path), list(sys.argv), _environment())
        is_told = self.process is not None and surroundings == self._told
        news = None if is_told else (*surroundings[:3], dict(os.environ))
        message = pickle.dumps((news, payload, here(), self._owner.on_mismatch), protocol=pickle.HIGHEST_PROTOCOL)
        process = self._started()
        self._told = surroundings
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            write_message(process.stdin, message)
            while (said := read_message(process.stdout)) is not None:
                content = pickle.loads(memoryview(said)[1:])
                if said[:1] == b"A":
                    answer: Answer = content
                    return answer
                print_here((content,))
        except (OSError, EOFError, pickle.UnpicklingError):  # it died in the middle of a message
            pass
        job.deaths.append(self._end(kill=True))
        return None

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
            begin = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                f"from mlflowish.executors.worker import serve; serve({os.getpid()})"
            )
            self.process = subprocess.Popen(
                [sys.executable, *flags, "-c", begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
            )
        return self.process

    def _stop(self, job: _Job) -> None:
        """Called from another thread: end the process that is at work on this."""
        job.is_stopped = True
        process = self.process
        if process is not None and not job.future.done():
            _ended(process)

    def _end(self, *, kill: bool = False) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if kill:
                process.kill()
            else:
                write_message(process.stdin, b"")  # no more calls: it leaves by itself, and ships what it has logged
            code = process.wait(_LEAVING_S)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            code = process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what could not be sent to it any more
                stream.close()
        return code


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, and make it."""
    process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _died(function: Any, codes: list[int]) -> WorkerDiedError:
    name = name_of(function)
    ends = ", ".join(_ending(code) for code in codes)
    return WorkerDiedError(
        f"{name} ended its worker process {len(codes)} times ({ends}), and is given up. Signal 9 is what a system out "
        "of memory sends; run it alone with mf.executor('serial') to see what it does.",
        step=name,
        exit_codes=codes,
    )


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _environment() -> Any:
    """Something that is equal as long as the environment is: without decoding all of it for each call."""
    raw = getattr(os.environ, "_data", None)
    return dict(os.environ if raw is None else raw)


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _end_all() -> None:
    interrupted = isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)
    for executor in list(_living):
        executor.shutdown(cancel=interrupted)


_living: weakref.WeakSet[ProcessExecutor] = weakref.WeakSet()
if not sys.executable:
    raise StateError("This Python does not know where its interpreter is, and cannot start worker processes")
# Before threads are waited for, and while the interpreter still lends new ones.
getattr(threading, "_register_atexit", __import__("atexit").register)(_end_all)
