"""`PipelineGraph`: what calls of a pipeline go into what, to walk with networkx, and to draw."""

from __future__ import annotations

from typing import Any

import networkx as nx

from mlflowish.lineage import drawing, picture
from mlflowish.pipelines.folding import drawn
from mlflowish.pipelines.marks import MARKS
from mlflowish.pipelines.outline import outline, outline_text


class PipelineGraph(nx.DiGraph):  # type: ignore[misc]  # networkx has no annotations
    """A `networkx.DiGraph` whose nodes are numbers in the order of the body, with `step`, `label`, `state`,
    `duration_s`, `file`, `line` and more as attributes.

    Drawings show the state by a colour and a mark, and many calls that are alike as one box; `folded=False` draws each.
    """

    def to_mermaid(self, *, folded: bool = True) -> str:
        """The text of a Mermaid flowchart."""
        return drawing.mermaid(drawn(self, folded=folded), (), MARKS)

    def to_dot(self, *, folded: bool = True) -> str:
        """The text of a graph in Graphviz' DOT language."""
        return drawing.dot(drawn(self, folded=folded), (), MARKS, name=self.title)

    def to_svg(self, *, folded: bool = True) -> str:
        """A self-contained SVG picture, for light and dark pages."""
        return picture.svg(drawn(self, folded=folded), (), MARKS, title=f"graph of {self.title}")

    def to_tree(self, *, folded: bool = True) -> str:
        """A tree as plain text; `rich.print(graph)` prints it in colours."""
        return outline_text(self, self.title, folded=folded)

    @property
    def title(self) -> str:
        """The name of the pipeline."""
        return str(self.graph.get("pipeline", "pipeline"))

    def __repr__(self) -> str:
        return f"<graph of {self.title}: {len(self)} calls, {self.number_of_edges()} arrows>"

    def __rich_console__(self, console: Any, options: Any) -> Any:
        yield outline(self, self.title, signs=options.encoding.lower().startswith("utf"))

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.to_svg()}</div>'
