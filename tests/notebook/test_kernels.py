"""Steps in real kernels: cells re-run, redefined, out of order; kernels restarted; two notebooks on one store."""

from collections.abc import Callable

from kernels import Notebook

Opener = Callable[[], Notebook]

HELPER = "def helper(n):\n    return n + 1"
STEP = "@mf.step\ndef work(n):\n    return 10 * helper(n)"


def hit(notebook: Notebook, call: str = "work.call(1)") -> tuple[bool, str]:
    """(was it read back, repr of the value)."""
    notebook.run(f"_made = {call}")
    return notebook.value("_made.hit") == "True", notebook.value("_made.value")


def test_a_cell_that_is_run_again_unchanged_hits(notebook: Opener) -> None:
    nb = notebook()
    nb.run(HELPER)
    nb.run(STEP)
    assert hit(nb) == (False, "20")
    nb.run(STEP)
    assert hit(nb) == (True, "20")
    nb.run(HELPER)
    assert hit(nb) == (True, "20")


def test_a_helper_redefined_in_another_cell_computes_again_and_back_again_hits(notebook: Opener) -> None:
    nb = notebook()
    nb.run(HELPER)
    nb.run(STEP)
    assert hit(nb) == (False, "20")
    nb.run("def helper(n):\n    return n + 2")
    assert hit(nb) == (False, "30")
    nb.run(HELPER)
    assert hit(nb) == (True, "20")


def test_comments_and_layout_of_a_redefined_cell_do_not_count(notebook: Opener) -> None:
    nb = notebook()
    nb.run(HELPER)
    nb.run(STEP)
    assert hit(nb) == (False, "20")
    nb.run('# why\ndef helper(n):\n    """Adds."""\n\n    return (n +\n            1)  # one')
    assert hit(nb) == (True, "20")


def test_a_step_redefined_in_its_own_cell_computes_again(notebook: Opener) -> None:
    nb = notebook()
    nb.run(HELPER)
    nb.run(STEP)
    assert hit(nb) == (False, "20")
    nb.run(STEP.replace("10 *", "100 *"))
    assert hit(nb) == (False, "200")
    nb.run(STEP)
    assert hit(nb) == (True, "20")


def test_a_restarted_kernel_hits(notebook: Opener) -> None:
    nb = notebook()
    nb.run(HELPER)
    nb.run(STEP)
    assert hit(nb) == (False, "20")
    nb.restart()
    nb.run(HELPER)
    nb.run(STEP)
    assert hit(nb) == (True, "20")


def test_cells_run_in_another_order_hit(notebook: Opener) -> None:
    nb = notebook()
    nb.run(HELPER)
    nb.run(STEP)
    assert hit(nb) == (False, "20")
    nb.restart()
    nb.run("unrelated = 1")
    nb.run(STEP)
    nb.run(HELPER)
    assert hit(nb) == (True, "20")


def test_a_helper_defined_after_a_first_failed_call_is_seen(notebook: Opener) -> None:
    nb = notebook()
    nb.run(STEP)
    assert "NameError" in nb.value(
        "try:\n    work(1)\nexcept NameError as error:\n    found = type(error).__name__\nfound"
    )
    nb.run(HELPER)
    assert hit(nb) == (False, "20")


def test_the_same_function_in_two_notebooks_is_computed_once(notebook: Opener) -> None:
    first, second = notebook(), notebook()
    for nb in (first, second):
        nb.run(HELPER)
        nb.run(STEP)
    assert hit(first) == (False, "20")
    assert hit(second) == (True, "20")


def test_functions_of_one_name_that_differ_in_two_notebooks_do_not_clash(notebook: Opener) -> None:
    first, second = notebook(), notebook()
    first.run("@mf.step\ndef work(n):\n    return n + 1")
    second.run("@mf.step\ndef work(n):\n    return n - 1")
    assert hit(first) == (False, "2")
    assert hit(second) == (False, "0")
    assert hit(first) == (True, "2")
    assert hit(second) == (True, "0")


def test_a_class_redefined_in_a_cell_computes_again(notebook: Opener) -> None:
    nb = notebook()
    model = (
        "class Model:\n    def __init__(self, a):\n        self.a = a\n"
        "    def predict(self, n):\n        return self.a * n"
    )
    nb.run(model)
    nb.run("@mf.step\ndef work(model, n):\n    return model.predict(n)")
    assert hit(nb, "work.call(Model(2), 3)") == (False, "6")
    nb.run(model)
    assert hit(nb, "work.call(Model(2), 3)") == (True, "6")
    nb.run(model.replace("self.a * n", "self.a + n"))
    assert hit(nb, "work.call(Model(2), 3)") == (False, "5")


def test_an_instance_of_the_earlier_class_keeps_the_meaning_of_its_class(notebook: Opener) -> None:
    nb = notebook()
    nb.run("class Model:\n    def predict(self):\n        return 'old'")
    nb.run("@mf.step\ndef work(model):\n    return model.predict()")
    nb.run("kept = Model()")
    assert hit(nb, "work.call(kept)") == (False, "'old'")
    nb.run("class Model:\n    def predict(self):\n        return 'new'")
    assert hit(nb, "work.call(Model())") == (False, "'new'")
    assert hit(nb, "work.call(kept)") == (True, "'old'")


def test_a_global_assigned_in_another_cell_computes_again(notebook: Opener) -> None:
    nb = notebook()
    nb.run("rate = 2")
    nb.run("@mf.step\ndef work(n):\n    return n * rate")
    assert hit(nb) == (False, "2")
    nb.run("rate = 3")
    assert hit(nb) == (False, "3")
    nb.run("rate = 2")
    assert hit(nb) == (True, "2")


def test_a_global_changed_in_place_computes_again(notebook: Opener) -> None:
    nb = notebook()
    nb.run("config = {'rate': 2}")
    nb.run("@mf.step\ndef work(n):\n    return n * config['rate']")
    assert hit(nb) == (False, "2")
    nb.run("config['rate'] = 3")
    assert hit(nb) == (False, "3")


def test_a_module_edited_and_reloaded_computes_again(notebook: Opener) -> None:
    nb = notebook()
    nb.run("import sys; sys.dont_write_bytecode = True; from pathlib import Path")
    nb.run("Path('mine.py').write_text('def helper(n):\\n    return n + 1\\n')")
    nb.run("import importlib, mine")
    nb.run("@mf.step\ndef work(n):\n    return 10 * mine.helper(n)")
    assert hit(nb) == (False, "20")
    nb.run("Path('mine.py').write_text('def helper(n):\\n    return n + 22\\n')")
    # What runs is what counts: the module in memory is the old one until it is reloaded.
    assert hit(nb) == (True, "20")
    nb.run("mine = importlib.reload(mine)")
    assert hit(nb) == (False, "230")


def test_asynchronous_steps_can_be_awaited_in_cells(notebook: Opener) -> None:
    nb = notebook()
    nb.run("@mf.step\nasync def work(n):\n    return n + 1")
    assert nb.value("await work(1)") == "2"
    assert nb.value("(await work.call(1)).hit") == "True"


def test_magics_and_shell_lines_beside_a_step_do_not_hide_its_source(notebook: Opener) -> None:
    nb = notebook()
    cell = "%pwd\n@mf.step\ndef work(n):\n    return n + 1"
    nb.run(cell)
    assert hit(nb) == (False, "2")
    nb.run("\n\n" + cell + "  # a comment")
    assert hit(nb) == (True, "2")


def test_a_function_means_the_same_beside_the_import_that_it_uses_and_without_it(notebook: Opener) -> None:
    # The kernel compiles the statements of a cell one by one; the interpreter compiles a call of `math.sqrt` in
    # another way when it sees the import.
    nb = notebook()
    helper = "def helper(n):\n    return math.sqrt(n)"
    nb.run(f"import math\n\n{helper}")
    nb.run("@mf.step\ndef work(n):\n    return helper(n)")
    assert hit(nb, "work.call(4)") == (False, "2.0")
    nb.run(f"# alone\n{helper}  # and with a comment")
    assert hit(nb, "work.call(4)") == (True, "2.0")


def test_a_step_imported_by_name_follows_autoreload_as_a_function_does(notebook: Opener) -> None:
    nb = notebook()
    source = (
        "import mlflowish as mf\n\ndef plain(x):\n    return x + 1\n\n@mf.step\ndef stepped(x):\n    return x + 1\n"
    )
    nb.run("import os, sys; sys.dont_write_bytecode = True; from pathlib import Path")
    nb.run(f"Path('told.py').write_text({source!r})")
    nb.run("%load_ext autoreload\n%autoreload 2\nfrom told import plain, stepped")
    assert nb.value("plain(0), stepped(0)") == "(1, 1)"
    nb.run(f"Path('told.py').write_text({source.replace('+ 1', '+ 22')!r}); os.utime('told.py', (2**31, 2**31))")
    assert nb.value("plain(0), stepped(0), stepped.call(0).hit") == "(22, 22, True)"
