"""Progress below a cell, in a real kernel: one output, written anew."""

from __future__ import annotations

import re
from collections.abc import Callable

from kernels import Notebook
from test_displays import assert_well_formed

Opener = Callable[[], Notebook]

CELLS = """
import threading, time, IPython
from mlflowish.pipelines.displays import watcher
shown, is_shown = [], threading.Event()
appears = watcher.ProgressWatcher.__init__.__kwdefaults__
publisher = IPython.get_ipython().display_pub
publish = publisher.publish
def note(data, *args, **kwargs):
    shown.append((kwargs.get("update", False), kwargs.get("transient"), data))
    is_shown.set()
    return publish(data, *args, **kwargs)
publisher.publish = note

@mf.step
def work(x, pause):
    time.sleep(pause)
    if x == 7:
        is_shown.wait(60)
    if x == 5:
        raise ValueError("<b>five</b>")
    return x

@mf.pipeline
def nightly(n: int, pause: float):
    return [work(i, pause) for i in range(n)]

@mf.pipeline
def drawn(n: int):
    return [work(i, 0) for i in range(n)]
"""


def test_long_work_has_one_output_that_ends_as_a_line(notebook: Opener) -> None:
    nb = notebook()
    nb.run(CELLS)
    # A second is short on a busy machine: what is over before it appears shows nothing, however long it took.
    nb.run("appears['appears_after_s'], usual = 600.0, appears['appears_after_s']")
    nb.run("with mf.executor('threads', workers=2):\n    nightly(3, 0.01)")
    assert nb.value("len(shown)") == "0"
    nb.run("appears['appears_after_s'] = usual")
    nb.run("try:\n    with mf.executor('threads', workers=2): nightly(8, 0.2)\nexcept mf.StepError: pass")
    assert nb.value("len({transient['display_id'] for _, transient, _ in shown})") == "1"
    assert nb.value("[update for update, _, _ in shown][:2]") == "[False, True]"
    first, last = (eval(nb.value(f"shown[{place}][2]")) for place in (0, -1))
    for bundle in (first, last):
        assert_well_formed(bundle["text/html"])
        assert "<b>five" not in bundle["text/html"]
    assert re.match(r"nightly \d of 8: \d+ done, \d running", first["text/plain"])
    assert re.fullmatch(r"nightly failed: 7 done, 1 failed in \d+ s", last["text/plain"])


def test_a_graph_draws_itself(notebook: Opener) -> None:
    nb = notebook()
    nb.run(CELLS)
    shown = nb.run("drawn.graph(9)")
    assert_well_formed(shown["text/html"])
    assert "work ×9" in shown["text/html"]
