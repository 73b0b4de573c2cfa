"""A Dask cluster of real processes on loopback: a scheduler, and workers that share with nobody a home, a working
directory or a cache. Ends when it is terminated.

`dask_cluster.py <folder> <port>` writes nothing but what Dask writes below the folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def main(folder: Path, port: str) -> None:
    """Run a scheduler, a worker that offers a GPU, and one that does not, each with one thread."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": os.pathsep.join(sys.path)}
    dask = [sys.executable, "-m", "dask"]
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show"]
    processes = [subprocess.Popen(scheduler, cwd=folder, env=environment)]
    for name, offers in (("one", ["--resources", "GPU=1"]), ("two", [])):
        home = folder / name
        home.mkdir()
        own = {"HOME": str(home), "MLFLOWISH_CACHE_DIR": str(home / "cache"), "MLFLOWISH_STORE": str(home / "no-store")}
        command = [*dask, "worker", f"tcp://127.0.0.1:{port}", "--name", name, "--nthreads", "1", "--no-dashboard",
                   "--memory-limit", "4GiB", "--local-directory", str(home), *offers]  # fmt: skip
        processes.append(subprocess.Popen(command, cwd=home, env={**environment, **own}))

    def end(*_: object) -> None:
        for process in processes[::-1]:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    for process in processes:
        process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
