"""What ran although nobody could foresee it is found out, kept with the entry, and verified before a hit."""

from __future__ import annotations

import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowish.hashing import audit
from mlflowish.hashing.fingerprint import fingerprint

needs_monitoring = pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 has no sys.monitoring")

PLUGINS = "def go(x):\n    return low(x)\n\ndef low(x):\n    return x + 1\n\ndef never(x):\n    return x\n"
APP = "import holder\n\ndef h(x):\n    return x\n\ndef f(x):\n    return h(x) + holder.call(holder.BOX, 'go', x)\n"
HOLDER = "import json\nBOX = json\n\ndef call(box, name, x):\n    return getattr(getattr(box, 'plug'), name)(x)\n"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A step that reaches `plugins` in a way that no reader can see: through an attribute hung on a library."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in (("plugins", PLUGINS), ("app", APP), ("holder", HOLDER)):
        (tmp_path / f"{name}.py").write_text(text)
    import importlib
    import json

    importlib.invalidate_caches()
    plugins = importlib.import_module("plugins")
    monkeypatch.setattr(json, "plug", plugins, raising=False)
    yield importlib.import_module("app")
    for name in ("plugins", "app", "holder"):
        sys.modules.pop(name, None)


@needs_monitoring
def test_a_function_reached_by_a_hidden_way_is_observed(app: types.ModuleType) -> None:
    found = fingerprint(app.f)
    with audit.watching(found) as watch:
        assert app.f(1) == 3
    seen = {(ref.module, ref.qualname) for ref in watch.observed()}
    assert seen == {("plugins", "go"), ("plugins", "low")}
    assert "plugins.go" in audit.report(watch.observed())


@needs_monitoring
def test_what_the_fingerprint_covers_is_not_observed(app: types.ModuleType) -> None:
    found = fingerprint(app.h)
    with audit.watching(found) as watch:
        app.h(1)
    assert watch.observed() == []


@needs_monitoring
def test_an_observed_dependency_is_verified_against_its_source(app: types.ModuleType, tmp_path: Path) -> None:
    with audit.watching(fingerprint(app.f)) as watch:
        app.f(1)
    refs = {ref.qualname: ref for ref in watch.observed()}
    assert all(audit.verify(ref) for ref in refs.values())
    (tmp_path / "plugins.py").write_text(PLUGINS.replace("return x\n", "return -x\n"))
    sys.modules.pop("plugins")
    assert all(audit.verify(ref) for ref in refs.values()), "an unrelated edit must not matter"
    (tmp_path / "plugins.py").write_text(PLUGINS.replace("x + 1", "x + 1000"))
    assert not audit.verify(refs["low"])
    assert not audit.verify(refs["go"]), "what it calls counts as well"
    assert "plugins" not in sys.modules, "verifying imports nothing"


@needs_monitoring
def test_a_patched_observed_dependency_is_not_verified(app: types.ModuleType) -> None:
    with audit.watching(fingerprint(app.f)) as watch:
        app.f(1)
    refs = {ref.qualname: ref for ref in watch.observed()}
    sys.modules["plugins"].low = lambda x: 0
    assert not audit.verify(refs["low"])


@needs_monitoring
def test_a_function_seen_in_an_earlier_block_is_seen_again_in_the_next(app: types.ModuleType) -> None:
    with audit.watching(fingerprint(app.h)):
        sys.modules["plugins"].go(1)
    with audit.watching(fingerprint(app.f)) as watch:
        app.f(1)
    assert {ref.qualname for ref in watch.observed()} == {"go", "low"}


@needs_monitoring
def test_inner_blocks_count_for_the_outer_one_and_not_the_other_way_round(app: types.ModuleType) -> None:
    plugins = sys.modules["plugins"]
    with audit.Watch(fingerprint(app.h), on=True) as outer:
        plugins.never(1)
        with audit.Watch(fingerprint(app.h), on=True) as inner:
            plugins.low(1)
    names = [{code.co_name for code in watch.codes.values()} for watch in (outer, inner)]
    assert names == [{"never", "low"}, {"low"}]


@needs_monitoring
def test_threads_are_told_apart(app: types.ModuleType) -> None:
    plugins = sys.modules["plugins"]
    seen: dict[str, set[str]] = {}
    barrier = threading.Barrier(2)

    def work(name: str) -> None:
        with audit.Watch(fingerprint(app.h), on=True) as watch:
            barrier.wait()
            for _ in range(50):
                getattr(plugins, name)(1)
            barrier.wait()
        seen[name] = {code.co_name for code in watch.codes.values()}

    threads = [threading.Thread(target=work, args=(name,)) for name in ("low", "never")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen["low"] - {"work"} == {"low"}
    assert seen["never"] - {"work"} == {"never"}


@needs_monitoring
def test_a_thread_pool_of_the_step_is_seen_while_nothing_else_is_watched(app: types.ModuleType) -> None:
    plugins = sys.modules["plugins"]
    with audit.Watch(fingerprint(app.h), on=True) as watch:
        thread = threading.Thread(target=plugins.never, args=(1,))
        thread.start()
        thread.join()
    assert "never" in {code.co_name for code in watch.codes.values()}


@needs_monitoring
def test_what_other_threads_do_meanwhile_is_not_taken_for_the_step(app: types.ModuleType) -> None:
    plugins = sys.modules["plugins"]
    begin, done = threading.Event(), threading.Event()

    def elsewhere() -> None:
        begin.wait()
        plugins.never(1)
        done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    with audit.Watch(fingerprint(app.h), on=True) as watch:
        begin.set()
        done.wait()
    thread.join()
    assert "never" not in {code.co_name for code in watch.codes.values()}


@needs_monitoring
def test_nothing_is_switched_on_outside_of_a_block(app: types.ModuleType) -> None:
    with audit.watching(fingerprint(app.f)):
        app.f(1)
    tools = [tool for tool in range(6) if sys.monitoring.get_tool(tool) == "mlflowish"]
    assert len(tools) == 1
    assert sys.monitoring.get_events(tools[0]) == 0


@needs_monitoring
def test_quick_steps_are_watched_at_every_power_of_two(app: types.ModuleType) -> None:
    def g(x: int) -> int:
        return x + 123456

    found = fingerprint(g)
    watched = [audit.watching(found, last_duration_s=0.0001)._on for _ in range(9)]
    assert [position for position, on in enumerate(watched, 1) if on] == [1, 2, 4, 8]
    assert audit.watching(found, last_duration_s=1.0)._on


def test_without_monitoring_nothing_is_observed_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_monitor", audit._Monitor())
    monkeypatch.delattr(sys, "monitoring", raising=False)

    def g(x: int) -> int:
        return x

    with audit.watching(fingerprint(g)) as watch:
        g(1)
    assert watch.observed() == []
    assert "sys.monitoring" in (audit.unavailable_reason() or "")


def test_the_profiler_can_be_used_where_there_is_no_monitoring(
    app: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_monitor", audit._Monitor())
    monkeypatch.delattr(sys, "monitoring", raising=False)
    audit.use_profiler(True)
    before = sys.getprofile()
    with audit.watching(fingerprint(app.f)) as watch:
        app.f(1)
    assert sys.getprofile() is before
    assert {ref.qualname for ref in watch.observed()} == {"go", "low"}


ENDS_INSIDE = """
import logging, threading, time
from mlflowish.hashing import audit
from mlflowish.hashing.fingerprint import fingerprint

def endless():
    with audit.watching(fingerprint(endless)):
        inside.set()
        time.sleep(600)

handler = logging.StreamHandler()
inside = threading.Event()
threading.Thread(target=endless, daemon=True).start()
assert inside.wait(90)
"""


@needs_monitoring
def test_a_process_that_ends_inside_a_block_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(ENDS_INSIDE)
    ended = subprocess.run([sys.executable, tmp_path / "ends.py"], capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stderr) == (0, "")
