from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernels import Notebook


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Callable[[], Notebook]]:
    """Opens notebooks that share one store."""
    opened: list[Notebook] = []

    def open_notebook() -> Notebook:
        opened.append(Notebook(tmp_path, tmp_path / "store"))
        return opened[-1]

    yield open_notebook
    for each in opened:
        each.close()
