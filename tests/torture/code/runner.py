"""Runs a group of cases in two fresh interpreters with different hash seeds, before and after the edit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cases import Case

_WORKER = Path(__file__).with_name("worker.py")
Outcome = dict[str, dict[str, Any]]


def run(cases: Iterable[Case], folder: Path, mode: str) -> dict[str, Outcome]:
    """Case name -> {"first", "again", "edited"}: before in process 1, before in process 2, after in process 2.

    In mode "step" the store is shared, so "again" must hit and "edited" says what the edit did.
    """
    chosen = list(cases)
    jobs = [_lay_out(case, folder, index) for index, case in enumerate(chosen)]
    first = _process([job["first"] for job in jobs], folder / "first", mode, seed="1")
    later = [part for job in jobs for part in (job["edited"], job["again"])]
    second = _process(later, folder / "second", mode, seed="2")
    return {
        case.name: {
            "first": first[job["first"]["id"]],
            "again": second[job["again"]["id"]],
            "edited": second[job["edited"]["id"]],
        }
        for case, job in zip(chosen, jobs, strict=True)
    }


def _lay_out(case: Case, folder: Path, index: int) -> dict[str, dict[str, Any]]:
    base = folder / f"case{index}"
    jobs = {}
    # The same folder name on both sides: where the project lies is not what is tested.
    for side, files in (("first", case.before), ("again", case.before), ("edited", case.after)):
        place = base / side / "project"
        for path, text in files.items():
            target = place / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        jobs[side] = {
            "id": f"{index}-{side}",
            "folder": str(base / "project" if case.in_place else place),
            "files": str(place),
            "call": case.call,
            "store": str(base / "store"),
            "needs": case.needs,
        }
    return jobs


def _process(jobs: list[dict[str, Any]], place: Path, mode: str, *, seed: str) -> dict[str, dict[str, Any]]:
    place.mkdir(parents=True)
    jobs_file, results_file = place / "jobs.json", place / "results.json"
    jobs_file.write_text(json.dumps(jobs))
    subprocess.run(
        [sys.executable, "-P", str(_WORKER), mode, str(jobs_file), str(results_file)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
        cwd=place,
    )
    return dict(json.loads(results_file.read_text()))
