"""Writes `golden/`: a store whose calls later versions must still be able to run again. Run once for each format:
`python make_golden.py`."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SCRIPT = """
import datetime
import os

# Nothing of the machine that wrote it belongs into it.
os.uname = lambda: os.uname_result(("Linux", "golden", "", "", "x86_64"))

import mlflowish as mf
from golden_helper import scaled

LIMIT = {"low": 1}


@mf.step
def numbers(n, when=datetime.date(2020, 2, 29)):
    return [scaled(i) + LIMIT["low"] for i in range(n)] + [when.year]


@mf.step(seed=True)
def total(parts, power=1):
    return sum(map(sum, parts)) ** power


total([numbers(3), numbers(4)])
total((numbers(3),), power=2)
"""
HELPER = "RATE = 2\n\n\ndef scaled(x):\n    return x * RATE\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "golden_script.py").write_text(SCRIPT)
        (Path(folder) / "golden_helper.py").write_text(HELPER)
        env = {**os.environ, "MLFLOWISH_STORE": str(Path(folder) / "store")}
        subprocess.run([sys.executable, "golden_script.py"], cwd=folder, env=env, check=True)
        shutil.rmtree(HERE / "golden", ignore_errors=True)
        shutil.copytree(Path(folder) / "store", HERE / "golden", ignore=shutil.ignore_patterns(".gitignore"))


if __name__ == "__main__":
    main()
