"""kill -9 at a storage call of gc, a repair or a retention loses nothing good, and the next run ends the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "kill_driver.py"


def drive(scenario: str, folder: Path, every: int) -> None:
    env = {**os.environ, "MLFLOWISH_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, str(DRIVER), scenario, str(folder), str(every)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.any_python
@pytest.mark.parametrize(("scenario", "every"), [("gc", 67), ("repair", 67), ("retain", 151)])
def test_a_kill_at_some_storage_calls(scenario: str, every: int, tmp_path: Path):
    drive(scenario, tmp_path, every)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", ["gc", "repair", "retain"])
def test_a_kill_at_every_storage_call(scenario: str, tmp_path: Path):
    drive(scenario, tmp_path, 1)
