"""`Plan`: what a pipeline would do, for every node, and why. Looks everything up and runs nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from mlflowish.errors import MlflowishError
from mlflowish.pipelines.folding import FOLDED_FROM
from mlflowish.pipelines.items import item
from mlflowish.pipelines.nodes import Node, index_of
from mlflowish.pipelines.passing import whole_key
from mlflowish.pipelines.specs import CALL, CHOOSE, JOIN, MAP, Spec
from mlflowish.pipelines.trace import Trace
from mlflowish.pipelines.whole import Whole
from mlflowish.steps.explaining import explain_identity
from mlflowish.steps.fanout import rows_of
from mlflowish.steps.reference import Known, Reference, identify_by_reference, items_of, load_all
from mlflowish.store import File
from mlflowish.store.distant import is_known, trusting
from mlflowish.units.sequence import files_in

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline
    from mlflowish.pipelines.graph import PipelineGraph
    from mlflowish.steps.explaining import Explanation

HIT, RUN, UNKNOWN, SKIPPED = "hit", "run", "unknown", "skipped"
_SHOWN = 200
_NAMED = 3  # units that have to run
_EXPLAINED = 20  # reasons that are looked for when a plan is shown: each compares with what is stored of the step
UNSETTLED: Any = type("Unsettled", (), {"__repr__": lambda self: "<not known yet>"})()


@dataclass(slots=True)
class PlannedNode:
    """One node of a plan. `state`: "hit" (its result is stored), "run", "unknown" (it depends on what has to run
    first, or on a remote file that nobody has read), "skipped" (in a branch that will not be chosen). `items`: for
    `map` over a result, how many items are in which state. `unit`: the name of the unit, of a `map` over units.
    `duration_s`: of the stored result. `pipeline`: the nested pipeline that it belongs to, "" for the outermost."""

    index: int
    label: str
    step: str
    file: str
    line: int
    state: str
    needs: tuple[int, ...] = ()
    key: str | None = None
    duration_s: float | None = None
    items: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    pipeline: str = ""
    unit: str = ""
    _explain: Any = field(default=None, repr=False)
    _batch: Any = field(default=None, repr=False)

    @property
    def explanation(self) -> Explanation | None:
        """Why it has to run: what differs from the nearest stored call. None for other nodes."""
        return self._explain() if self._explain is not None else None

    @property
    def why(self) -> str:
        """The same in a sentence."""
        if self.reason:
            return self.reason
        found = self.explanation
        return found.reason if found is not None else ""


class Plan:
    """What a run of a pipeline would do. `nodes` in the order of the body; `is_whole_hit`: all of it is passed in one
    look-up. `str(plan)` reads well; in notebooks it is a table."""

    def __init__(self, pipeline: str, nodes: list[PlannedNode], *, is_whole_hit: bool) -> None:
        self.pipeline = pipeline
        self.nodes = nodes
        self.is_whole_hit = is_whole_hit

    def counts(self) -> dict[str, int]:
        """How many nodes are in which state."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            counts[node.state] = counts.get(node.state, 0) + 1
        return counts

    @property
    def is_current(self) -> bool:
        """Is everything stored, so that nothing would run?"""
        return all(node.state in (HIT, SKIPPED) for node in self.nodes)

    @property
    def graph(self) -> PipelineGraph:
        """The nodes and what goes into what, as `networkx.DiGraph`: see `Pipeline.graph`."""
        from mlflowish.pipelines.graph import PipelineGraph

        graph = PipelineGraph(pipeline=self.pipeline)
        for node in self.nodes:
            graph.add_node(
                node.index,
                step=node.step,
                label=node.label,
                state=node.state,
                duration_s=node.duration_s,
                file=node.file,
                line=node.line,
                items=dict(node.items),
                pipeline=node.pipeline,
                reason=node.reason,
            )
        graph.add_edges_from((need, node.index) for node in self.nodes for need in node.needs)
        return graph

    def __iter__(self) -> Any:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def _head(self) -> str:
        counts = _counted(self.counts())
        whole = "; all of it is passed in one look-up" if self.is_whole_hit else ""
        return f"{self.pipeline}: {len(self.nodes)} nodes{': ' + counts if counts else ''}{whole}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows, explained = [], 0
        for nodes in self._alike()[:_SHOWN]:
            node = nodes[0]
            place = f"{os.path.basename(node.file)}:{node.line}"
            if len(nodes) > 1:
                rows.append((_state_of(nodes), _label_of(nodes), place, _told(nodes)))
                continue
            why = node.reason
            if node.state == RUN and not why and explained < _EXPLAINED:
                explained += 1
                why = node.why
            rows.append((node.state, node.label, place, _counted(node.items) or why))
        return rows

    def _alike(self) -> list[list[PlannedNode]]:
        """The nodes, those of one `map` together if they are many."""
        groups = [list(nodes) for _, nodes in itertools.groupby(self.nodes, lambda node: id(node._batch or node))]
        return [part for nodes in groups for part in ([nodes] if len(nodes) >= FOLDED_FROM else [[n] for n in nodes])]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max((len(row[place]) for row in rows), default=0) for place in range(3)]
        lines = [
            "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
            for row in rows
        ]
        if (more := len(self._alike()) - _SHOWN) > 0:
            lines.append(f"  and {more} more")
        return "\n".join([self._head(), *lines])

    def __repr__(self) -> str:
        return f"<plan of {self._head()}>"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import badge, card

        kinds = {HIT: "good", RUN: "new"}
        body = "<table>" + "".join(
            f"<tr><td>{badge(state, kinds.get(state, 'plain'))}</td><td>{escape(label)}</td><td>{escape(place)}</td>"
            f"<td>{escape(why)}</td></tr>"
            for state, label, place, why in self._rows()
        )
        return card(self.pipeline, [("plan", self._head())], body_html=body + "</table>")


def plan(pipeline: Pipeline[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
    """Look up every node."""
    pipeline.parameters.check(args, kwargs)
    trace = Trace(pipeline)
    trace.body(args, kwargs)
    identity = pipeline.identify(args, kwargs)
    with trusting(trace.looks):
        is_read = all(rows.are_read() for rows in trace.listed)
        key = whole_key(identity, trace, trace.groups[0], args, kwargs) if is_read else None
    whole = Whole(pipeline.store, trace, identity, key, inside=None)
    planner = _Planner(pipeline, trace)
    with trusting(trace.looks):
        planner.all_nodes()
    return Plan(pipeline.label, planner.nodes, is_whole_hit=whole.look_up(put_back=False) is not None)


class _Planner:
    """Goes through the specs in their order: what they need was looked at before."""

    def __init__(self, pipeline: Pipeline[..., Any], trace: Trace) -> None:
        self._store = pipeline.store
        self._trace = trace
        self.nodes: list[PlannedNode] = []
        self._results: list[Any] = [UNSETTLED] * len(trace.specs)
        self._left_out: set[int] = set()  # groups that will not run
        self._needs: list[tuple[int, ...]] = []  # of each spec, the nodes that it is made of

    def all_nodes(self) -> None:
        """Look at each spec."""
        for number, spec in enumerate(self._trace.specs):
            if spec.kind in (CALL, MAP):
                self._needs.append((number,))
                self.nodes.append(self._planned(number, spec))
                continue
            self._needs.append(tuple(dict.fromkeys(need for dep in spec.deps for need in self._needs[dep])))
            if spec.kind == CHOOSE:
                self._choose(number, spec)
            elif spec.kind == JOIN:
                chosen = self._results[spec.deps[0]]
                self._results[number] = self._filled(spec.args[chosen]) if chosen is not UNSETTLED else UNSETTLED
            else:
                self._results[number] = None

    def _planned(self, number: int, spec: Spec) -> PlannedNode:
        needs = tuple(dict.fromkeys(need for dep in spec.deps for need in self._needs[dep]))
        node = PlannedNode(number, spec.label, spec.step.name, spec.file, spec.line, UNKNOWN, needs)
        node.pipeline, node.unit, node._batch = self._trace.pipeline_of(spec.group), spec.unit, spec.batch
        if self._is_left_out(spec.group):
            node.state, node.reason = SKIPPED, "in a branch that will not be chosen"
            return node
        open_gate = next((gate for gate in self._gates(spec.group) if self._results[gate] is UNSETTLED), None)
        args, kwargs = self._filled(spec.args), self._filled(spec.kwargs)
        if open_gate is not None or _waits(spec, args, kwargs):
            missing = (self._trace.specs[need] for need in needs if _has_unsettled(self._results[need]))
            waits = list(dict.fromkeys(spec.label for spec in missing))
            what = "the condition of mf.when" if open_gate is not None and not waits else ", ".join(waits[:3])
            node.reason = f"depends on {what}, which has to run first"
            return node
        try:
            if spec.step is item and type(args[0]) is not Reference:
                self._results[number], node.state = args[0][args[1]], HIT
            elif spec.kind == MAP:
                self._plan_map(node, spec, args)
            else:
                self._results[number] = self._look_up(node, spec, args, kwargs)
        except MlflowishError as error:
            node.state, node.reason = RUN, str(error)
        return node

    def _look_up(self, node: PlannedNode, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Its reference, if it is stored."""
        step = spec.step
        if any(not is_known(file.path, file.storage_options) for file in _far_files((args, kwargs))):
            node.reason = "it is called with a remote file that nobody has read yet"
            return UNSETTLED
        identity = identify_by_reference(step, args, kwargs)
        node.key = identity.hex
        node.state = RUN
        if identity.key is None or not step.options.cache:
            node.reason = identity.reason or "the step has cache=False: it always runs"
            return UNSETTLED
        entry = step.find_entry(step.store, identity)
        if entry is None:
            node._explain = lambda: explain_identity(step, identity)
            return UNSETTLED
        node.state, node.duration_s = HIT, entry.meta.duration_s
        return Reference.to(entry)

    def _plan_map(self, node: PlannedNode, spec: Spec, filled: Any) -> None:
        first, iterables, common = filled
        loaded = tuple(items_of(items, self._store) for items in iterables)
        results = []
        for row in rows_of(spec.step.name, loaded):
            one = PlannedNode(node.index, node.label, node.step, node.file, node.line, UNKNOWN)
            is_waiting = _has_unsettled(row)
            results.append(UNSETTLED if is_waiting else self._look_up(one, spec, (*first, *row), common))
            node.items[one.state] = node.items.get(one.state, 0) + 1
            node._explain = node._explain or one._explain
        node.state = next((state for state in (RUN, UNKNOWN) if state in node.items), HIT)
        self._results[node.index] = results

    def _choose(self, number: int, spec: Spec) -> None:
        condition = self._filled(spec.args[0])
        if self._is_left_out(spec.group):
            self._left_out.update(spec.opens)
        elif not _has_unsettled(condition):
            try:
                chosen = 0 if load_all(condition, self._store) else 1
            except MlflowishError:  # it is not there any more, and will be computed
                return
            self._results[number] = chosen
            self._left_out.add(spec.opens[1 - chosen])

    def _is_left_out(self, group: int) -> bool:
        while group >= 0:
            if group in self._left_out:
                return True
            group = self._trace.groups[group].parent
        return False

    def _gates(self, group: int) -> Any:
        """The conditions that have to be known before anything of a group may run."""
        while group >= 0:
            found = self._trace.groups[group]
            if found.is_branch:
                yield found.gate
            group = found.parent

    def _filled(self, value: Any) -> Any:
        kind = type(value)
        if kind is Node:
            return self._results[index_of(value)]
        if kind is dict:
            return {name: self._filled(member) for name, member in value.items()}
        return kind(self._filled(member) for member in value) if kind in (list, tuple) else value


def _waits(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Does it need what has to run first? A `map` needs the number of its items: each may be known by itself."""
    if spec.kind != MAP:
        return _has_unsettled((args, kwargs))
    first, iterables, common = args
    return _has_unsettled((first, common)) or any(items is UNSETTLED for items in iterables)


def _far_files(value: Any) -> Iterator[File]:
    """The remote files in the arguments of a call, as far as units have them."""
    if type(value) is Known:
        yield from _far_files(value.value)
    elif type(value) is dict:
        yield from _far_files(list(value.values()))
    elif type(value) in (list, tuple):
        for member in value:
            yield from _far_files(member)
    else:
        yield from (file for file in files_in(value) if not file.is_local)


def _state_of(nodes: list[PlannedNode]) -> str:
    states = {node.state for node in nodes}
    return next(state for state in (RUN, UNKNOWN, HIT, SKIPPED) if state in states)


def _label_of(nodes: list[PlannedNode]) -> str:
    return f"{nodes[0].step.rpartition('.')[2]} ×{len(nodes):,}"


def _told(nodes: list[PlannedNode]) -> str:
    """How many nodes of a `map` are in which state, and which have to run: `997 hit, 3 run (a.txt, b.txt, c.txt)`."""
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.state] = counts.get(node.state, 0) + 1
    new = [node.unit for node in nodes if node.state in (RUN, UNKNOWN) and node.unit]
    named = f" ({', '.join(new[:_NAMED])}{', ...' if len(new) > _NAMED else ''})" if new else ""
    return _counted(counts) + named


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _has_unsettled(value: Any) -> bool:
    if value is UNSETTLED:
        return True
    members = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
    return any(_has_unsettled(member) for member in members)
