"""What a display knows of a run, and what it guesses."""

from __future__ import annotations

import pytest

from mlflowish.pipelines.displays.board import Board
from mlflowish.pipelines.displays.estimate import estimate, rough
from mlflowish.pipelines.displays.face import View, clock, progress_line, running_lines, summary_line
from mlflowish.pipelines.endings import Ending
from mlflowish.pipelines.observing import Change, NodeInfo


def node(index: int, label: str = "work", *, needs: tuple[int, ...] = (), inside: int | None = None) -> NodeInfo:
    return NodeInfo(index, label, f"m.{label.partition('[')[0].removesuffix('.map')}", "m.py", 1, needs, "", inside)


def board_of(*nodes: NodeInfo, workers: int | None = None) -> Board:
    board = Board("m.nightly", 0.0, workers)
    for each in nodes:
        board.add(each)
    return board


def test_counts_follow_the_changes() -> None:
    first, second, third = node(0), node(1), node(2)
    board = board_of(first, second, third)
    board.apply([(Change(first, "cached", 5.0), 1.0), (Change(second, "running"), 1.0)])
    assert (board.total, board.ended, board.counts["waiting"]) == (3, 1, 1)
    board.apply([(Change(second, "failed"), 2.0), (Change(third, "skipped"), 2.0)])
    assert (board.ended, board.running) == (3, {})
    assert board.durations == {"m.work": [5.0]}


def test_what_waits_for_a_worker_does_not_run() -> None:
    nodes = [node(index) for index in range(4)]
    board = board_of(*nodes, workers=2)
    board.apply([(Change(each, "running"), 1.0) for each in nodes])
    assert (sorted(board.running), board.counts["running"], board.counts["waiting"]) == ([0, 1], 2, 2)
    board.apply([(Change(nodes[0], "done", 3.0), 4.0)])
    assert {index: each.since_s for index, each in board.running.items()} == {1: 1.0, 2: 4.0}
    board.apply([(Change(each, "done", 3.0), 9.0) for each in nodes[1:]])
    assert (board.counts["done"], board.running) == (4, {})


def test_a_map_counts_by_its_items() -> None:
    board = board_of(node(0, "work.map"))
    board.apply([(Change(node(0, "work.map"), "running"), 1.0)])
    items = [node(index, f"work[{index}]", inside=0) for index in (5, 6, 7)]
    for each in items:
        board.add(each)
    assert (board.total, board.counts["waiting"], board.running) == (3, 3, {})
    board.apply([(Change(items[0], "cached", 1.0), 2.0), (Change(node(0, "work.map"), "done"), 2.0)])
    assert (board.total, board.ended) == (3, 1)


def test_the_time_left_is_the_work_shared_by_the_workers() -> None:
    board = board_of(*(node(index) for index in range(9)), workers=2)
    board.apply([(Change(node(0), "done", 10.0), 10.0), (Change(node(1), "running"), 10.0)])
    found = estimate(board, {}, 14.0)
    assert found is not None
    assert (found.seconds, found.is_whole) == ((6 + 7 * 10) / 2, True)


def test_a_chain_takes_as_long_as_its_calls_together() -> None:
    board = board_of(node(0), *(node(index, needs=(index - 1,)) for index in range(1, 5)), workers=8)
    board.apply([(Change(node(0), "running"), 0.0)])
    found = estimate(board, {"m.work": [2.0, 3.0, 100.0]}, 1.0)
    assert found is not None
    assert found.seconds == 2 + 4 * 3


def test_a_step_that_was_never_seen_makes_it_a_lower_bound() -> None:
    board = board_of(node(0), node(1, "new"), node(2, "work.map"), workers=1)
    found = estimate(board, {"m.work": [60.0]}, 0.0)
    assert found is not None
    assert (str(found), found.is_whole) == ("over 60 s left", False)
    assert estimate(board, {}, 0.0) is None


def test_this_run_counts_more_than_earlier_ones() -> None:
    board = board_of(node(0), node(1), workers=1)
    board.apply([(Change(node(0), "done", 1.0), 1.0)])
    found = estimate(board, {"m.work": [50.0]}, 1.0)
    assert found is not None
    assert found.seconds == 1.0


def test_what_takes_longer_than_it_should_is_not_over_yet() -> None:
    board = board_of(node(0), workers=1)
    board.apply([(Change(node(0), "running"), 0.0)])
    found = estimate(board, {"m.work": [5.0]}, 20.0)
    assert found is not None
    assert found.seconds == 2.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "1 s"), (89, "89 s"), (200, "3 min"), (7_800, "2 h 10 min"), (400_000, "4 days")]
)
def test_a_guess_is_told_roughly(seconds: float, text: str) -> None:
    assert rough(seconds) == text


def test_lines_say_it_all() -> None:
    board = board_of(*(node(index) for index in range(4)), workers=2)
    board.apply([(Change(node(0), "cached", 30.0), 1.0), *((Change(node(n), "running"), 2.0) for n in (1, 2, 3))])
    view = View(board, 12.0, estimate(board, {}, 12.0))
    assert progress_line(view) == "1 of 4: 1 cached, 2 running, 1 waiting; about 35 s left"
    assert running_lines(view) == ["work ×2  0:10"]
    board.apply([(Change(node(n), "done", 1.0), 15.0) for n in (1, 2, 3)])
    assert summary_line(View(board, 200.0)) == "nightly: 1 cached, 3 done in 3 min"
    ended = View(board, 200.0, None, Ending("m.nightly", "KILLED", 200.0))
    assert summary_line(ended).startswith("nightly killed: 1 cached, 3 done")
    assert [clock(7), clock(760), clock(3723)] == ["0:07", "12:40", "1:02:03"]
