"""A notebook as a person runs one: cells sent to a real kernel, which can be restarted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager

TIMEOUT_S = 150


def by_files(folder: str) -> dict[str, str]:
    """How to reach a kernel: of a port that was free a moment ago, somebody else may have made use before the kernel
    does. The paths of sockets are short."""
    return {"transport": "ipc", "ip": os.path.join(folder, "kernel")}


class CellError(Exception):
    """A cell raised."""


class Notebook:
    """One kernel and its client; `store` is the active store of its cells."""

    def __init__(self, folder: Path, store: Path) -> None:
        self._folder, self._store = folder, store
        self._start()

    def run(self, cell: str) -> dict[str, Any]:
        """Run one cell; the MIME bundle of its last expression, plus what it printed under `stdout` and `stderr`."""
        message = self._client.execute(cell, store_history=True)
        bundle: dict[str, Any] = {"stdout": "", "stderr": ""}
        while True:
            try:
                reply = self._client.get_iopub_msg(timeout=TIMEOUT_S)
            except Empty as error:
                raise CellError(f"the cell took more than {TIMEOUT_S} s: {cell}") from error
            if reply["parent_header"].get("msg_id") != message:
                continue
            kind, content = reply["msg_type"], reply["content"]
            if kind == "error":
                raise CellError("\n".join(content["traceback"]))
            if kind == "stream":
                bundle[content["name"]] += content["text"]
            elif kind in ("execute_result", "display_data"):
                bundle.update(content["data"])
            elif kind == "status" and content["execution_state"] == "idle":
                self._client.get_shell_msg(timeout=TIMEOUT_S)
                return bundle

    def value(self, expression: str) -> str:
        """The plain text of an expression."""
        return str(self.run(expression)["text/plain"])

    def restart(self) -> None:
        """A new process that remembers nothing."""
        self.close()
        self._start()

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._sockets.cleanup()

    def _start(self) -> None:
        env = {**os.environ, "MLFLOWISH_STORE": str(self._store), "IPYTHONDIR": str(self._folder / "ipython")}
        self._sockets = tempfile.TemporaryDirectory(prefix="kernel-")
        self._manager = KernelManager(kernel_name="python3", **by_files(self._sockets.name))
        self._manager.start_kernel(cwd=str(self._folder), env=env)
        self._client = self._manager.client()
        try:
            self._client.start_channels()
            self._client.wait_for_ready(timeout=TIMEOUT_S)
            self.run("import mlflowish as mf")
        except BaseException:  # whatever it is, an interrupt too: a kernel that nobody has would go on
            self.close()
            raise
