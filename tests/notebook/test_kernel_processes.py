"""Steps of notebook cells in worker processes: redefined cells, classes of cells, what is printed, the same keys."""

from collections.abc import Callable

from kernels import Notebook

Opener = Callable[[], Notebook]

CELL = """
import os
class Point:
    def __init__(self, x): self.x = x
def helper(n):
    return Point(n + 1)
@mf.step
def work(n):
    print("at work on", n, os.getpid() == DRIVER)
    return helper(n)
DRIVER = None
"""


def test_cells_run_in_processes_and_redefined_ones_are_other_code(notebook: Opener) -> None:
    nb = notebook()
    nb.run(CELL)
    nb.run("executor = mf.executor('processes', workers=1).executor")
    printed = nb.run("first = work.submit(1).result()")["stdout"]
    assert printed == "at work on 1 False\n"
    assert nb.value("(first.x, type(first) is Point, work.call(1).hit)") == "(2, True, True)"
    nb.run("def helper(n):\n    return Point(n + 10)")
    assert nb.value("[point.x for point in work.map([1, 2])]") == "[11, 12]"
    assert nb.value("work.call(2).hit") == "True"
    nb.run(CELL)
    assert nb.value("(work.call(1).hit, work.submit(1).result().x)") == "(True, 2)"
    assert nb.value("len(set(executor.pids()) - {os.getpid()})") == "1"
