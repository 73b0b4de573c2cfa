"""Which machine and process this is, and whether another one is known to be dead.

A verdict is given only where it can be sure: the same machine, since the same start, in the same process namespace.
Of a process elsewhere nothing is said: its run stays RUNNING until it, or somebody on its machine, says otherwise.
"""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

_FIRST_NAMESPACE = "pid:[4026531836]"  # of the machine itself: whoever is in it is in no container


@dataclass(frozen=True, slots=True)
class Process:
    """A process as others can recognise it. `machine` and `boot` are hashes, "" where the system does not say."""

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    started: str

    def packed(self) -> dict[str, Any]:
        """For an event."""
        return asdict(self)

    @classmethod
    def unpacked(cls, fields: dict[str, Any]) -> Process:
        """From an event; what is missing is unknown."""
        host, machine, boot, namespace, started = (
            str(fields.get(name, "")) for name in ("host", "machine", "boot", "namespace", "started")
        )
        return cls(host, machine, boot, namespace, int(fields.get("pid", 0)), started)

    def is_dead(self) -> bool:
        """Is it certain that it lives no more? False also when that cannot be known from here."""
        here = this_process()
        if not self.boot or not here.boot or self.machine != here.machine or self.host != here.host:
            return False
        if self.boot != here.boot:  # the machine was started anew; a copy of a container's image would look the same
            return self.namespace == here.namespace == _FIRST_NAMESPACE
        return self.namespace == here.namespace and not _runs(self.pid, self.started)


def this_process() -> Process:
    """The running process."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=4)
def _process(pid: int) -> Process:
    return Process(socket.gethostname(), _machine(), _boot(), _namespace(), pid, _started(pid) or "")


@functools.lru_cache(maxsize=1)
def machine_id() -> bytes:
    """16 bytes that stand for this machine, for spool files: the name it has in the network counts."""
    return bytes(blake3(f"{_machine()}\0{socket.gethostname()}\0{_namespace()}".encode()).digest(16))


@functools.lru_cache(maxsize=1)
def _machine() -> str:
    return _hashed("machine", _read("/etc/machine-id") or _read("/var/lib/dbus/machine-id"))


@functools.lru_cache(maxsize=1)
def _boot() -> str:
    return _hashed("boot", _read("/proc/sys/kernel/random/boot_id"))


def _hashed(purpose: str, text: str) -> str:
    """The id of a machine is nobody's business: a hash compares as well."""
    return blake3(f"mlf1.{purpose}\0{text}".encode()).hexdigest(16) if text else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _runs(pid: int, started: str) -> bool:
    now = _started(pid)
    return now is not None and (not started or not now or now == started)


def _started(pid: int) -> str | None:
    """When the process began, in ticks since the machine did; None if there is no such process, "" if unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None if os.path.isdir("/proc/self") else ""
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]  # a zombie has ended
