"""What a cell shows of our records: HTML that is whole, small and escaped, and plain text beside it."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from kernels import Notebook

from mlflowish.store import display

Opener = Callable[[], Notebook]

VOID = {"br", "hr", "img"}


class Balance(HTMLParser):
    """Collects tags left open, closed wrongly, or not allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "link", "iframe") or any(name.startswith("on") for name, _ in attrs):
            self.wrong.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")


def assert_well_formed(html: str) -> None:
    checked = Balance()
    checked.feed(html)
    assert (checked.open, checked.wrong) == ([], [])
    assert len(html) < 50_000


CELLS = {
    "Call": "work.call('<script>alert(1)</script>')",
    "Explanation, hit": "work.explain('<script>alert(1)</script>')",
    "Explanation, miss": "work.explain('<b>')",
    "Fingerprint": "work.fingerprint",
    "Store": "mf.active_store()",
    "Table": "work.history()",
}


def test_records_show_themselves_as_html_and_as_text(notebook: Opener) -> None:
    nb = notebook()
    nb.run("@mf.step\ndef work(text):\n    return text + '<i>'")
    nb.run("work('<script>alert(1)</script>')")
    for name, cell in CELLS.items():
        shown = nb.run(cell)
        assert "text/html" in shown, name
        assert_well_formed(shown["text/html"])
        assert "<script" not in shown["text/html"], name
        assert shown["text/plain"].strip(), name
        assert " object at 0x" not in shown["text/plain"], name


def test_an_explanation_shows_the_difference_in_the_source_of_a_helper(notebook: Opener) -> None:
    nb = notebook()
    nb.run("def helper(n):\n    return n < 1")
    nb.run("@mf.step\ndef work(n):\n    return helper(n)")
    nb.run("work(1)")
    nb.run("def helper(n):\n    return n < 22")
    shown = nb.run("work.explain(1)")
    assert "return n &lt; 22" in shown["text/html"]
    assert "return n < 22" in shown["text/plain"]


HOSTILE = "<img src=x onerror=alert(1)>&\"'\n\x00\ud800"


@pytest.mark.parametrize(
    "html",
    [
        display.card(HOSTILE, [(HOSTILE, HOSTILE)]),
        display.badge(HOSTILE, HOSTILE),
        display.diff_html(HOSTILE, HOSTILE + HOSTILE, title=HOSTILE),
        display.table_html([HOSTILE], [[HOSTILE]], more=3),
    ],
    ids=["card", "badge", "diff", "table"],
)
def test_whatever_the_text_the_html_stays_ours(html: str) -> None:
    assert_well_formed(html)
    assert "<img" not in html


def test_a_difference_shows_what_went_and_what_came() -> None:
    html = display.diff_html("a\nb\nc", "a\nx\nc")
    assert html.index("-b") < html.index("+x")


def test_a_long_difference_is_cut_and_says_so() -> None:
    html = display.diff_html("", "\n".join(str(n) for n in range(1000)))
    assert "801 more lines" in html


def test_texts_of_one_line_are_shown_without_a_place() -> None:
    assert "@@" not in display.diff_html("0.1", "0.2")
