"""Progress in a notebook: one output that is written anew. Needs no widgets; exported pages keep its last state."""

from __future__ import annotations

from html import escape
from typing import Any

from mlflowish.pipelines.displays.face import View, clock, progress_line, running_lines, summary_line
from mlflowish.pipelines.marks import mark_of
from mlflowish.store import display

_SHOWN = 8
_KINDS = {"cached": "good", "done": "good", "running": "new", "failed": "bad"}


class Page:
    """Shown below the cell, in place."""

    every_s = 0.25

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, view: View) -> None:
        """Write it anew."""
        self._write(progress_html(view), f"{view.board.pipeline} {progress_line(view)}")

    def end(self, view: View) -> None:
        """Leave one line."""
        self._write(summary_html(view), summary_line(view))

    def _write(self, html: str, text: str) -> None:
        from IPython.display import display as show

        bundle = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = show(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def progress_html(view: View) -> str:
    """A bar, the counts, and what runs and failed; for light and dark pages."""
    board = view.board
    left = f" · <b>{escape(str(view.estimate))}</b>" if view.estimate is not None else ""
    head = f"{board.ended:,} of {board.total:,} · {clock(view.elapsed_s)}{left}"
    badges = " ".join(
        display.badge(f"{mark_of(state).sign} {count:,} {state}", _KINDS.get(state, "neutral"))
        for state, count in board.counts.items()
        if count
    )
    running = running_lines(view)
    rows = [("failed", text) for text in board.failures[-_SHOWN:]]
    rows += [("running", text) for text in running[:_SHOWN]]
    if len(running) > _SHOWN:
        rows.append(("", f"and {len(running) - _SHOWN:,} more"))
    body = f"<div>{head}</div>{_bar(board.counts, board.total)}<div>{badges}</div>"
    return display.card(board.pipeline, rows, body_html=body)


def summary_html(view: View) -> str:
    """The line that stays."""
    status = "FINISHED" if view.ending is None else view.ending.status
    kind = {"FINISHED": "good", "FAILED": "bad"}.get(status, "warn")
    return f"<div>{display.badge(status.lower(), kind)} {escape(summary_line(view))}</div>"


def _bar(counts: dict[str, int], total: int) -> str:
    parts = ""
    for state in ("cached", "done", "failed", "skipped", "running"):
        share = 100 * counts.get(state, 0) / total if total else 0
        faint = ".45" if state in ("cached", "skipped") else ".85"
        if share:
            parts += (
                f'<span title="{state}" style="display:inline-block;height:100%;width:{share:.2f}%;'
                f'background:rgba({mark_of(state).rgb},{faint})"></span>'
            )
    frame = "height:.55em;width:26em;max-width:100%;border-radius:.3em;overflow:hidden;line-height:0;font-size:1em"
    return f'<div style="{frame};background:rgba(128,128,128,.2);margin:.35em 0">{parts}</div>'
