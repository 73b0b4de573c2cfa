"""Rooms stand on floors: imports point down the list in docs/architecture.md, never up, never sideways."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mlflowish"
EXEMPT = {"testing"}  # conformance suites: import anything, imported by nobody
EXAMPLES = {"demo"}  # written as users write: `import mlflowish as mf`, and nothing else of ours
HEAVY = ("numpy", "pandas", "pyarrow", "fsspec", "networkx", "dask", "click", "rich", "polars", "torch", "sklearn")


def floors() -> list[list[str]]:
    """The rooms of each floor, from the top, as the page draws them."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = page.split("```")[1]
    return [re.split(r"\s+·\s+", re.split(r"\s{2,}", line)[0]) for line in drawing.strip().splitlines()]


def height(floors: list[list[str]]) -> dict[str, int]:
    """How high each room stands; the ground is 0."""
    return {room: level for level, rooms in enumerate(reversed(floors)) for room in rooms}


def rooms(package: Path) -> set[str]:
    """Packages and modules at the top of the package."""
    found = {path.parent.name for path in package.glob("*/*.py")} | {path.stem for path in package.glob("*.py")}
    return found - {"__init__", "__main__"}


def imported(tree: ast.AST, module: str, package: str = "mlflowish") -> Iterator[tuple[str, int]]:
    """Modules of the package that a file names in any import, wherever it stands, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == package:
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                # `module` is dotted; a package's own __init__ counts as one part deeper.
                base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
            if base.split(".")[0] == package:
                # `from mlflowish import steps` names a room, `from mlflowish.steps import step` lies in one.
                for alias in node.names:
                    yield (f"{base}.{alias.name}" if base == package else base), node.lineno


def violations(package: Path, floors: list[list[str]]) -> list[str]:
    """Each import of the package that does not point down."""
    levels = height(floors)
    wrong = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        room = parts[0]
        if room in EXEMPT or (len(parts) == 1 and room in ("__init__", "__main__")):
            continue  # the top of the package hands out names of every floor, lazily
        for name, line in imported(
            ast.parse(path.read_text(encoding="utf-8")), ".".join((package.name, *parts)), package.name
        ):
            target = name.split(".")[1] if "." in name else ""
            if room in EXAMPLES and not target:
                continue
            where = f"{path.relative_to(package)}:{line}"
            if target not in levels:
                wrong.append(f"{where} imports {name}, which stands on no floor")
            elif target != room and levels[target] >= levels.get(room, -1):
                wrong.append(f"{where} imports {name}: {target} does not stand below {room}")
    return wrong


@pytest.mark.any_python
def test_every_import_points_down_the_floors() -> None:
    assert violations(PACKAGE, floors()) == []


def test_every_room_stands_on_a_floor() -> None:
    listed = {room for rooms in floors() for room in rooms}
    assert rooms(PACKAGE) - EXEMPT == listed


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import mlflowish.high", "imports mlflowish.high: high does not stand below low"),
        ("def f():\n    from mlflowish.high.top import x", "imports mlflowish.high.top: high does not stand below low"),
        ("if TYPE_CHECKING:\n    from ..high import x", "imports mlflowish.high: high does not stand below low"),
        ("from mlflowish import high", "imports mlflowish.high: high does not stand below low"),
        ("from mlflowish.beside import x", "imports mlflowish.beside: beside does not stand below low"),
        ("from mlflowish.nowhere import x", "imports mlflowish.nowhere, which stands on no floor"),
        ("import mlflowish as mf", "imports mlflowish, which stands on no floor"),
    ],
)
def test_an_import_that_does_not_point_down_is_found(tmp_path: Path, code: str, expected: str) -> None:
    package = tmp_path / "mlflowish"
    (package / "low").mkdir(parents=True)
    (package / "low" / "file.py").write_text(code)
    [found] = violations(package, [["high"], ["low", "beside"], ["ground"]])
    assert found.endswith(expected)


@pytest.mark.parametrize(
    "code", ["from mlflowish.ground import x", "from .other import y", "import json", "from mlflowish import ground"]
)
def test_an_import_that_points_down_is_left_alone(tmp_path: Path, code: str) -> None:
    package = tmp_path / "mlflowish"
    (package / "low").mkdir(parents=True)
    (package / "low" / "file.py").write_text(code)
    assert violations(package, [["high"], ["low", "beside"], ["ground"]]) == []


def run_fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_nothing_draws_from_the_random_numbers_of_the_program() -> None:
    """A thread of ours that drew one would change what a seeded program, or a seeded step, draws."""
    kept = {PACKAGE / "steps" / "seeding.py"}  # which seeds them, and puts them back
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in EXEMPT | EXAMPLES and path not in kept
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "random"
            and node.attr not in ("Random", "SystemRandom")
        )
        or (isinstance(node, ast.ImportFrom) and node.module == "random")
    ]
    assert found == []


def test_importing_the_package_pulls_in_nothing_heavy() -> None:
    code = f"import sys, mlflowish; print([m for m in {HEAVY} if m in sys.modules])"
    assert run_fresh(code).strip() == "[]"


def test_declaring_and_calling_a_step_on_plain_values_pulls_in_no_frames_or_graphs(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nimport mlflowish as mf\n"
        "@mf.step\ndef double(n): return 2 * n\n"
        f"mf.use({str(tmp_path / 'store')!r})\n"
        "assert double(2) == double(2) == 4\n"
        f"print([m for m in {HEAVY} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PROMISED = ("use", "active_store", "Store", "step", "digest", "File", "Dir", "accept", "executor", "MlflowishError")


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_name_is_there_and_arrives_only_when_asked_for(name: str) -> None:
    code = f"import mlflowish as mf; print({name!r} in vars(mf), {name!r} in dir(mf), mf.{name} is not None)"
    assert run_fresh(code).split() == ["False", "True", "True"]


def test_a_step_has_the_methods_that_are_promised() -> None:
    import mlflowish as mf

    promised = {"call", "is_cached", "explain", "submit", "map", "history", "forget", "fingerprint", "fn"}
    assert promised <= set(dir(mf.step(len)))


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    import mlflowish as mf

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mf.nonsense


def test_the_version_is_the_one_of_the_distribution() -> None:
    from importlib.metadata import version

    import mlflowish as mf

    assert mf.__version__ == version("mlflowish")
