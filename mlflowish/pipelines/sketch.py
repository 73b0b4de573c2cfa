"""`RunGraph`: the graph of a run with the states that its calls are in, while it goes and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlflowish.pipelines.observing import WAITING, Change, NodeInfo

if TYPE_CHECKING:
    from mlflowish.pipelines.endings import Ending
    from mlflowish.pipelines.graph import PipelineGraph


class RunGraph:
    """An observer that remembers: `nightly.run("a.csv", observers=[seen := RunGraph()])`, then `seen.graph`, also when
    the run failed. Of a pipeline that is passed in one look-up it has nothing: see `Pipeline.graph`.

    >>> import mlflowish as mf
    >>> from mlflowish.pipelines import RunGraph
    >>> @mf.step
    ... def double(x):
    ...     return 2 * x
    >>> @mf.pipeline
    ... def quadruple(x: int):
    ...     return double(double(x))
    >>> run = quadruple.run(5, observers=[seen := RunGraph()])
    >>> print(seen.graph.to_mermaid().splitlines()[1].strip())
    n0(["#10003; double"])
    """

    def __init__(self) -> None:
        self._name = ""
        self._last: dict[int, tuple[NodeInfo, str, float | None]] = {}

    def begin(self, pipeline: str, nodes: Sequence[NodeInfo]) -> None:
        """A run begins: what was remembered of another is gone."""
        self._name = pipeline.rpartition(".")[2]
        self._last = {node.index: (node, WAITING, None) for node in nodes}

    def change(self, change: Change) -> None:
        """Remember the state."""
        self._last[change.node.index] = (change.node, change.state, change.duration_s)

    def end(self, ending: Ending) -> None:
        """Nothing more will come."""

    @property
    def graph(self) -> PipelineGraph:
        """The calls and what goes into what; the items of a `map` stand for it."""
        from mlflowish.pipelines.graph import PipelineGraph

        graph = PipelineGraph(pipeline=self._name)
        last = dict(self._last)
        items: dict[int, dict[str, int]] = {}
        for node, state, _ in last.values():
            if node.inside is not None:
                counts = items.setdefault(node.inside, {})
                counts[state] = counts.get(state, 0) + 1
        for index, (node, state, duration_s) in sorted(last.items()):
            if node.inside is None:
                graph.add_node(
                    index,
                    step=node.step,
                    label=node.label,
                    state=state,
                    duration_s=duration_s,
                    file=node.file,
                    line=node.line,
                    pipeline=node.pipeline,
                    items=items.get(index, {}),
                )
        graph.add_edges_from((need, index) for index in graph for need in last[index][0].needs if need in graph)
        return graph
