"""The notebooks that ship with the project run from top to bottom in a real kernel, and once more after a restart."""

import tempfile
from pathlib import Path

import nbformat
import pytest
from kernels import by_files
from nbclient import NotebookClient
from traitlets.config import Config

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


# The first one runs on each version of Python.
RUN = [
    pytest.param(path, marks=[] if path.name == "10_quickstart.ipynb" else pytest.mark.any_python) for path in NOTEBOOKS
]


def test_there_is_a_quick_start() -> None:
    assert "10_quickstart.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    with tempfile.TemporaryDirectory(prefix="kernel-") as sockets:
        reached = Config({"KernelManager": by_files(sockets)})
        client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources, config=reached)
        client.startup_timeout = 300
        client.execute()
    errors = [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error"]
    assert errors == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
