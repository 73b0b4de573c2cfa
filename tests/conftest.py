"""What tests of every room share: object stores on loopback. Started when a test first asks, stopped with the run."""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from processes_heard import end_started

# On a busy machine an example takes as long as it takes. All else is as hypothesis has it, which draws the same numbers
# each time where $CI is set.
hypothesis.settings.register_profile(
    "patient", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

# Workers share the cores: threads of BLAS and OpenMP below each of them, and below their children, would only spin.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so would what tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Place = tuple[str, dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Torture first: what one worker computes there for all of a run takes long, and who asks for it late waits."""
    items.sort(key=lambda item: "torture" not in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """A process that failed or took too long: what it said, which the exception has and does not show."""
    report: Any = yield
    error = call.excinfo and call.excinfo.value
    if isinstance(error, (subprocess.CalledProcessError, subprocess.TimeoutExpired)):
        for name, said in (("output", error.output), ("complaints", error.stderr)):
            if said:
                text = said.decode(errors="replace") if isinstance(said, bytes) else said
                report.sections.append((f"{name} of the process", text[-6000:]))
    return report


@pytest.fixture(scope="session", autouse=True)
def nothing_compiled() -> None:
    """Processes that tests start leave no compiled modules: Python takes one for that of a file that was edited within
    the same second, at the same size."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the cache of whoever runs it."""
    os.environ["MLFLOWISH_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """What a test started ends with it, also when the test failed before it came to that."""
    yield
    end_started()


@pytest.fixture(autouse=True)
def no_module_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test wrote and imported is not what the next one gets that writes another module of that name."""
    before = sys.modules.copy()
    yield
    if sys.modules == before:
        return
    written = str(tmp_path_factory.getbasetemp())
    for name, module in sys.modules.copy().items():
        if module is not (earlier := before.get(name)) and _place_of_module(module).startswith(written):
            del sys.modules[name]
            if earlier is not None:
                sys.modules[name] = earlier


def _place_of_module(module: object) -> str:
    held: dict[str, Any] = getattr(module, "__dict__", {})
    return str(held.get("__file__") or next(iter(held.get("__path__") or ()), ""))


@pytest.fixture
def only_here() -> Callable[[Callable[..., Any], Callable[..., Any]], Callable[..., Any]]:
    """`only_here(replacement, original)`: in the thread of the test what it puts in the place of a function that all
    share, and the original in the threads that other tests have left behind."""
    here = threading.get_ident()

    def chosen(replacement: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            return (replacement if threading.get_ident() == here else original)(*arguments, **options)

        return call

    return chosen


@pytest.fixture(scope="session")
def once_a_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], Any]], Any]:
    """`once_a_run(name, compute)`: what `compute(folder)` gives, as JSON carries it; one worker of a run computes it,
    the others read it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def result(name: str, compute: Callable[[Path], Any]) -> Any:
        folder = shared / f"once-{name}"
        folder.mkdir(exist_ok=True)
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "result.json").exists():
                found = compute(Path(tempfile.mkdtemp(dir=folder)))  # nothing of an attempt that failed
                (folder / "result.json").write_text(json.dumps(found))
        return json.loads((folder / "result.json").read_text())

    return result


@pytest.fixture(scope="session")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """(url, storage_options) of an empty place in moto's S3."""
    return _place("moto", tmp_path_factory)


@pytest.fixture(scope="session")
def seaweed_url(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """(url, storage_options) of an empty place in SeaweedFS by its S3 gateway."""
    return _place("seaweed", tmp_path_factory)


@pytest.fixture(scope="session")
def gcs_url(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """(url, storage_options) of an empty place in fake-gcs-server."""
    return _place("gcs", tmp_path_factory)


@pytest.fixture(scope="session")
def azurite_url(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """(url, storage_options) of an empty place in Azurite."""
    return _place("azurite", tmp_path_factory)


@pytest.fixture(scope="session")
def dask_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a Dask scheduler with two workers, each a process with nothing of ours but its code."""
    return _place("dask", tmp_path_factory)[0].rpartition("/")[0]


def _place(name: str, factory: pytest.TempPathFactory) -> Place:
    servers = _servers()
    if reason := servers.missing(name):
        pytest.skip(reason)
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    url, options = servers.use(name, shared)
    if url.startswith("s3:"):
        _parse_models_once()
    return f"{url}/{uuid.uuid4().hex}", options


def _parse_models_once() -> None:
    """botocore reads what S3 is, a megabyte of JSON, for each session, and each handle on a bucket has one of its own:
    four fifths of what it costs to open one. Here they share the reader, which remembers what it has read."""
    import botocore.session

    if not hasattr(botocore.session.create_loader, "cache_info"):
        botocore.session.create_loader = functools.cache(botocore.session.create_loader)


def _servers() -> Any:
    """tests/storage/servers.py, which is also a script and lies in no package."""
    name = "mlflowish_test_servers"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "storage" / "servers.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
