"""Benchmarks print ratios, not verdicts: what a peer takes, divided by what this library takes, in the same run.

Three sources feed the table: timings of pytest-benchmark, for benchmarks whose `peer` parameter names who runs; figures
that a test measures itself (files, memory, times of fresh processes) and hands to the `figures` fixture; and races, in
which all take turns, so that what else the machine does hits all of them. Of repeated timings the best one counts, as
other work only ever adds to it, and of a race the median.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

import pytest

OURS = "mlflowish"
_FIGURES = pytest.StashKey()


class Figures:
    """Measured numbers by group and by who was measured."""

    def __init__(self):
        self.groups = defaultdict(dict)

    def add(self, group, who, value, unit="s"):
        """One measurement; a repeated one keeps the smaller."""
        before = self.groups[group].get(who)
        self.groups[group][who] = (value if before is None else min(value, before[0]), unit)

    def race(self, group, runners, rounds):
        """The median time of each of `{who: function}`, called in turn, and of their ratios within a round to ours."""
        for function in runners.values():
            function()
        seconds = {who: [] for who in runners}
        for _ in range(rounds):
            for who, function in runners.items():
                start = time.perf_counter()
                function()
                seconds[who].append(time.perf_counter() - start)
        for who, times in seconds.items():
            self.add(group, who, statistics.median(times))
            if who != OURS:
                ratio = statistics.median(a / b for a, b in zip(times, seconds[OURS], strict=True))
                self.add(group, f"{who}, median of ratios", ratio, "x")


def pytest_configure(config):
    config.stash[_FIGURES] = Figures()


def pytest_itemcollected(item):
    """In the ordinary run they show that a benchmark works, which takes no second Python."""
    item.add_marker(pytest.mark.any_python)


@pytest.fixture
def figures(request):
    """Where a benchmark leaves what it measured itself: `figures.add(group, who, value, unit)`."""
    return request.config.stash[_FIGURES]


@pytest.fixture
def full(request):
    """Is this a measuring run, with the sizes that the budgets are stated for?"""
    return not request.config.getoption("benchmark_disable") or request.config.getoption("benchmark_enable")


def pytest_terminal_summary(terminalreporter, config):
    figures = config.stash[_FIGURES]
    for timed in getattr(getattr(config, "_benchmarksession", None), "benchmarks", ()):
        peer = (timed.params or {}).get("peer")
        if peer and timed.group and not timed.has_error and timed.stats.data:
            figures.add(timed.group, peer, timed.stats.min)
    if not figures.groups:
        return
    terminalreporter.section("ratios to " + OURS)
    for group, measured in figures.groups.items():
        ours = measured.get(OURS, (None, ""))[0]
        for who, (value, unit) in measured.items():
            ratio = f"{value / ours:8.2f} x" if ours and who != OURS and unit == "s" else " " * 10
            terminalreporter.write_line(f"{group:44} {who:28} {_shown(value, unit):>12} {ratio}")


def _shown(value, unit):
    if unit != "s":
        return f"{value:,.2f} x" if unit == "x" else f"{value:,.0f} {unit}"
    for limit, factor, name in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if value < limit:
            return f"{value * factor:.2f} {name}"
    return f"{value:.3f} s"
