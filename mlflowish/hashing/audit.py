"""What really ran: a safety net under the fingerprint, which cannot see dispatch by strings and attributes.

While a step computes, the project functions that start are noted; those that its fingerprint does not cover are
*observed dependencies*, kept with the entry and verified before it may hit. On Python 3.12 and later this uses
`sys.monitoring`, a few microseconds for a block and nothing outside of it. On 3.11 it is off unless
`use_profiler(True)`, which slows Python code several times.

Not seen: compiled code, generated code without a source, functions of a library, and what runs in threads that the
step did not start itself while other steps are watched too.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Iterable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import CodeType, FrameType, TracebackType
from typing import Any

from mlflowish.errors import MlflowishError
from mlflowish.hashing.fingerprint import Fingerprint, code_identity, is_identified, static_identity
from mlflowish.hashing.loading import Loaded, place_of_module
from mlflowish.hashing.packages import realm_of_file

_TOOL_NAME = "mlflowish"
# Ids that no well-known tool claims come first: debuggers use 0, coverage 1, profilers 2, optimisers 5.
_TOOL_IDS = (4, 3, 2, 5, 1)
_QUICK_S = 0.002


@dataclass(frozen=True, slots=True)
class ObservedRef:
    """A project function that ran although the fingerprint did not foresee it: where it is, and what it was.

    Without a name it is a whole module, of which values may have been read; without a module, a source file by path.
    """

    module: str
    qualname: str
    digest: bytes


class Watch:
    """One block that is watched. `observed()` gives what ran in it and was not foreseen; empty if nothing can be
    watched.
    """

    __slots__ = ("_fingerprint", "_modules", "_on", "_parent", "_token", "codes", "strangers")

    def __init__(self, fingerprint: Fingerprint | None, *, on: bool) -> None:
        self.codes: dict[int, CodeType] = {}
        # Threads that were there before: what they run is somebody else's.
        self.strangers: frozenset[int | None] = frozenset()
        self._fingerprint = fingerprint
        self._on = on
        self._parent: Watch | None = None
        self._token: Token[Watch | None] | None = None
        self._modules = Loaded()

    def __enter__(self) -> Watch:
        self._modules.begin()
        if self._on:
            self._parent = _current.get()
            self._token = _current.set(self)
            _monitor.start(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._modules.end()
        if self._token is not None:
            _monitor.stop(self)
            _current.reset(self._token)
            self._token = None
            if self._parent is not None:
                # What an inner step ran, the outer one ran too.
                self._parent.codes.update(self.codes)

    def observed(self) -> list[ObservedRef]:
        """Functions that ran and are not covered, also those seen in earlier blocks with this fingerprint."""
        fingerprint = self._fingerprint
        if fingerprint is None:
            return []
        known = _observed.setdefault(fingerprint.digest, {})
        for code in list(self.codes.values()):
            if code not in fingerprint.codes and not is_identified(code):
                _note(_place(code, self._modules.search), known)
        for module in self._modules.places(fingerprint):
            _note(module, known)
        return list(known.values())


def _note(place: tuple[str, str] | None, known: dict[tuple[str, str], ObservedRef]) -> None:
    if place is not None and place not in known:
        digest = _digest_at(*place)
        if digest is not None:
            known[place] = ObservedRef(*place, digest)


def watching(fingerprint: Fingerprint | None, *, last_duration_s: float | None = None) -> Watch:
    """A context manager around one computation of a step.

    Steps that are known to take next to no time are watched at every power of two of their runs only, so that 100,000
    tiny calls do not pay for it each time.
    """
    if fingerprint is None or not _monitor.available():
        return Watch(fingerprint, on=False)
    runs = _runs[fingerprint.digest] = _runs.get(fingerprint.digest, 0) + 1
    quick = last_duration_s is None or last_duration_s < _QUICK_S
    return Watch(fingerprint, on=not quick or runs & (runs - 1) == 0)


def verify(ref: ObservedRef) -> bool:
    """Whether an observed dependency is still what it was. Reads source; imports nothing."""
    return _digest_at(ref.module, ref.qualname) == ref.digest


def use_profiler(on: bool) -> None:
    """Let the audit use `sys.setprofile` where there is no `sys.monitoring` (Python 3.11). Slow."""
    _monitor.profile = on


def unavailable_reason() -> str | None:
    """Why nothing is watched in this process, or None."""
    return None if _monitor.available() else _monitor.reason


_current: ContextVar[Watch | None] = ContextVar("mlflowish_audit", default=None)
_runs: dict[bytes, int] = {}
_observed: dict[bytes, dict[tuple[str, str], ObservedRef]] = {}


class _Monitor:
    """The connection to `sys.monitoring`, made at the first block."""

    def __init__(self) -> None:
        self.reason = "not tried yet"
        self.profile = False
        self._tool: int | None = None
        self._tried = False
        self._lock = threading.Lock()
        self._watches: dict[int, Watch] = {}
        self._threads: set[int] = set()
        self._project: dict[str, bool] = {}

    def available(self) -> bool:
        if not self._tried:
            with self._lock:
                self._connect()
        return self._tool is not None or self.profile

    def _connect(self) -> None:
        if self._tried:
            return
        self._tried = True
        monitoring: Any = getattr(sys, "monitoring", None)
        if monitoring is None:
            self.reason = "this Python has no sys.monitoring (3.12 and later have); see use_profiler"
            return
        for tool in _TOOL_IDS:
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, _TOOL_NAME)
                monitoring.register_callback(tool, monitoring.events.PY_START, self._started)
                self._tool = tool
                # A block that an interrupted thread never left would go on until nothing of this module is left.
                atexit.register(monitoring.set_events, tool, 0)
                return
        self.reason = "other tools hold every id of sys.monitoring"

    def start(self, watch: Watch) -> None:
        with self._lock:
            self._watches[id(watch)] = watch
            watch.strangers = frozenset(thread.ident for thread in threading.enumerate())
            self._threads.add(threading.get_ident())
            if self._tool is None:
                sys.setprofile(self._profiled)
                return
            monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]  # 3.12 and later
            if len(self._watches) == 1:
                monitoring.set_events(self._tool, monitoring.events.PY_START)
            # What was seen, and so switched off, in an earlier block has to be seen again in this one.
            monitoring.restart_events()

    def stop(self, watch: Watch) -> None:
        with self._lock:
            self._watches.pop(id(watch), None)
            if self._watches:
                return
            self._threads.clear()
            if self._tool is None:
                sys.setprofile(None)
                return
            monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]  # 3.12 and later
            monitoring.set_events(self._tool, 0)

    def _started(self, code: CodeType, offset: int) -> Any:
        """Called by the interpreter when a function starts; answers whether to be told again."""
        disable = sys.monitoring.DISABLE  # type: ignore[attr-defined, unused-ignore]  # 3.12 and later
        if not self._is_project(code.co_filename):
            return disable
        watch = _current.get()
        if watch is None:
            # A new thread has no context of its own: it is ours if nobody else is watched.
            watch = self._only()
        if watch is not None:
            watch.codes[id(code)] = code
        # With several threads watched, the same function may start in another of them.
        return disable if len(self._threads) == 1 else None

    def _profiled(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and self._is_project(frame.f_code.co_filename):
            watch = _current.get()
            if watch is not None:
                watch.codes[id(frame.f_code)] = frame.f_code

    def _only(self) -> Watch | None:
        watches = list(self._watches.values())
        if not watches or len(self._threads) > 1 or threading.get_ident() in watches[0].strangers:
            return None
        return watches[-1]

    def _is_project(self, filename: str) -> bool:
        known = self._project.get(filename)
        if known is None:
            generated = filename.startswith("<") and not filename.startswith(("<ipython", "<stdin"))
            known = self._project[filename] = not generated and realm_of_file(filename) == "project"
        return known


_monitor = _Monitor()


def _place(code: CodeType, search: list[str]) -> tuple[str, str] | None:
    """(module, name at its top level) of the function that a code object belongs to.

    Code without such a name (a lambda, the body of a module) is the whole module; None if no source is known.
    """
    top = code.co_qualname.partition(".<locals>")[0].partition(".")[0]
    home = None
    for name, module in list(sys.modules.items()):
        namespace = getattr(module, "__dict__", None)
        if namespace is None:
            continue
        if namespace.get("__file__") == code.co_filename:
            home = name
            # A module that the search path does not lead to is known by its file.
            if top in namespace and place_of_module(name, code.co_filename, search) == (name, ""):
                return name, top
        elif top in namespace and _defined_in(namespace[top], code):
            return name, top
    if home is None and not top.startswith("<module"):
        return None
    return place_of_module(home, code.co_filename, search)


def _defined_in(found: Any, code: CodeType) -> bool:
    """For notebooks and the like, whose modules have no file: whether the name holds that very code."""
    return getattr(found, "__code__", None) is code


def _digest_at(module: str, name: str) -> bytes | None:
    """The identity of what a module has under a name: from its source, so that it need not be loaded."""
    known = _verified.get((module, name))
    if known is not None and known.holds():
        return known.digest
    try:
        found = static_identity(module, name)
        if found is not None:
            _verified[module, name] = found
            return found.digest
        live = getattr(sys.modules.get(module), "__dict__", {}).get(name)
        return code_identity(live, f"{module}.{name}") if live is not None else None
    except MlflowishError:
        return None


_verified: dict[tuple[str, str], Fingerprint] = {}


def report(refs: Iterable[ObservedRef]) -> str:
    """A sentence for people about functions that were observed and not foreseen."""
    names = ", ".join(sorted({f"{ref.module}.{ref.qualname}".strip(".") for ref in refs}))
    return (
        f"{names} ran, although the code does not show it; declare it with depends=[...] so that edits are always seen."
    )
