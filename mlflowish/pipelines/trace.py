"""The graph of a pipeline as its body says it: traced before anything runs.

Specs stand in the order of the body, so whatever one depends on comes before it: there are no cycles to look for, but
in what the body builds itself. A group is a run of specs with a gate in front: a nested pipeline, or a branch of
`when`.
"""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Callable, Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError
from mlflowish.pipelines.given import FIXED, Given, copied, is_as_it_was
from mlflowish.pipelines.items import item
from mlflowish.pipelines.nodes import Node, index_of, trace_of
from mlflowish.pipelines.specs import CALL, CHOOSE, ENTER, JOIN, LEAVE, MAP, Batch, Group, Spec
from mlflowish.steps.bound import check_class_is_there
from mlflowish.steps.fanout import rows_of
from mlflowish.steps.rows import Rows
from mlflowish.steps.tracing import recorder
from mlflowish.steps.wrapper import Step
from mlflowish.store.distant import Look
from mlflowish.units import Units

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline

_CONTAINERS = frozenset({list, tuple, dict, set})
_HOLDERS = _CONTAINERS | {Node}
_DEEPEST = 100
_INSIDE = ("mlflowish.steps.", "mlflowish.pipelines.")


class Trace:
    """What the body of a pipeline called, and with what. It is the recorder while the body runs."""

    def __init__(self, pipeline: Pipeline[..., Any]) -> None:
        self.name = pipeline.name
        self.specs: list[Spec] = []
        self.groups = [Group(pipeline, -1, -1, 0)]
        self.endings: list[Callable[[Any], Any]] = []
        self.asked: list[int] = []  # how many specs there were each time that a node told what is not in the code
        self.listed: list[Rows] = []  # what the body goes over that has files far away
        self._group = 0
        self._given = Given()

    def body(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the body of the pipeline, and take down what it calls."""
        top = self.groups[0]
        assert top.pipeline is not None
        token = recorder.set(self)
        try:
            result = self._result_of(top, args, kwargs)
        finally:
            recorder.reset(token)
        self._close(top, result)
        self._given.check(self.name)

    # -- what the body calls -----------------------------------------------------------------------

    def call(
        self,
        step: Step[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        batch: Batch | None = None,
        unit: str = "",
    ) -> Node:
        """A node for `step(*args, **kwargs)`; of a `map`, with the name of the unit if it has one."""
        found: dict[int, None] = {}
        label = step.name.rpartition(".")[2] + (f"[{unit}]" if unit else "")
        spec = Spec(CALL, label, step, self._taken(args, found), self._taken(kwargs, found), ())
        spec.batch, spec.unit = batch, unit
        return self._add_call(spec, found)

    def map(
        self,
        step: Step[..., Any],
        first: tuple[Any, ...],
        iterables: tuple[Any, ...],
        common: dict[str, Any],
        *,
        batch: int,
    ) -> Any:
        """A node for the list of results when an iterable is a node; else a list with a node for each item."""
        shared = Batch(batch)
        if not any(type(items) is Node for items in iterables):
            rows = rows_of(step.name, iterables)
            if rows.looks:
                self.listed.append(rows)
            return [
                self.call(step, (*first, *row), common, batch=shared, unit=rows.name_of(place))
                for place, row in enumerate(rows)
            ]
        found: dict[int, None] = {}
        taken = tuple(self._taken(each, found) for each in (first, iterables, common))
        spec = Spec(MAP, f"{step.name.rpartition('.')[2]}.map", step, taken, {}, ())
        spec.batch = shared
        return self._add_call(spec, found, like=(*first, *iterables))

    @property
    def looks(self) -> dict[str, Look]:
        """What servers said of the files that the body goes over, when it listed them."""
        return {url: look for rows in self.listed for url, look in rows.looks.items()}

    def _add_call(self, spec: Spec, found: dict[int, None], like: tuple[Any, ...] | None = None) -> Node:
        self._place(spec)
        args, kwargs = (spec.args, spec.kwargs) if like is None else (like, spec.args[2])
        binding = spec.step.identifier.binding
        try:
            if spec.kind == MAP and any(self._gives_units(node) for node in args):
                binding.signature.bind_partial(*args, **kwargs)  # a unit may have several values
            else:
                binding.bind(*args, **kwargs)
        except TypeError as error:
            several = (
                ""
                if spec.kind != MAP
                else (". If it goes over units with several values, annotate the step that returns them: -> mf.Units")
            )
            raise self._wrong(spec, f"the arguments do not fit: {error}{several}") from error
        check_class_is_there(spec.step, args, kwargs)
        return Node(self, self._add(spec, found))

    def question(self, step: Step[..., Any], name: str) -> None:
        """Refused: there are no values yet."""
        file, line = _place_outside()
        raise InvalidInputError(
            f"{name} of {step.name} was asked in the body of the pipeline {self.name} ({os.path.basename(file)}, line "
            f"{line}), where nothing has run. Call the step itself; {self.name}.plan(...) tells what is stored.",
            step=step.name,
            file=file,
            line=line,
        )

    def item(self, node: Node, key: Any) -> Node:
        """A node for a part of a node."""
        spec = Spec(CALL, f"{self.specs[index_of(node)].label}[{key!r:.40}]", item, (node, key), {}, ())
        found = {index_of(node): None}
        self._taken((node, key), found)
        self._place(spec)
        return Node(self, self._add(spec, found))

    def parts_of(self, node: Node) -> int | None:
        """How many parts the result has by the annotation of its step: `-> tuple[A, B]`; None if that says nothing."""
        self.asked.append(len(self.specs))
        annotation = self._hint_of(node)
        parts = typing.get_args(annotation) if typing.get_origin(annotation) is tuple else ()
        return len(parts) if parts and Ellipsis not in parts else None

    def note_shown(self) -> None:
        """Text is made of a node, with its place in a file: if the body does that, it may give it to a step."""
        if recorder.get() is self:
            self.asked.append(len(self.specs))

    def is_body(self, frame: FrameType | None) -> bool:
        """Is it the body that runs in this frame now, or a function of the project that it calls?"""
        while frame is not None and frame.f_globals.get("__name__") in ("abc", "typing"):
            frame = frame.f_back
        if frame is None or recorder.get() is not self:
            return False
        pipelines = [group.pipeline for group in self._enclosing() if group.pipeline is not None]
        return any(frame.f_code in pipeline.fingerprint.codes for pipeline in pipelines)

    def _gives_units(self, value: Any) -> bool:
        """Does the annotation of its step say that the result is units?"""
        return type(value) is Node and self._hint_of(value) is Units

    def _hint_of(self, node: Node) -> Any:
        """What its step is annotated to return, None if that says nothing."""
        spec = self.specs[index_of(node)]
        if spec.kind != CALL or spec.step is item:
            return None
        try:
            return typing.get_type_hints(spec.step.fn).get("return")
        except Exception:  # noqa: BLE001  hints are the user's code, and may name what is not there at run time
            return None

    def nested(self, pipeline: Pipeline[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a pipeline inside this one: its nodes are ours, behind a gate."""
        found: dict[int, None] = {}
        enter = Spec(ENTER, pipeline.label, pipeline, self._taken(args, found), self._taken(kwargs, found), ())
        self._place(enter)
        if sum(group.pipeline is pipeline for group in self._enclosing()) > _DEEPEST:
            raise self._wrong(enter, f"{pipeline.name} calls itself without end, which is a cycle")
        pipeline.parameters.check(args, kwargs, place=enter.place)
        gate = self._add(enter, found)
        leave = Spec(LEAVE, pipeline.label, pipeline, (), {}, ())
        leave.file, leave.line = enter.file, enter.line
        enter.opens = leave.opens = (len(self.groups),)
        group = Group(pipeline, self._group, gate, gate + 1)
        self._open(group, lambda: self._result_of(group, args, kwargs))
        group.leave = self._add(leave, dict.fromkeys(self._members(group)))
        return group.result

    def when(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """A node for the result of the branch that the condition chooses; of a plain condition, the result itself."""
        if type(condition) is not Node:
            chosen = then if condition else otherwise
            return _body_of(chosen)()
        found: dict[int, None] = {}
        choose = Spec(CHOOSE, "when", None, (self._taken(condition, found),), {}, ())
        self._place(choose)
        gate = self._add(choose, found)
        branches = []
        for branch in (then, otherwise):
            choose.opens += (len(self.groups),)
            group = Group(None, self._group, gate, len(self.specs))
            branches.append(self._open(group, _body_of(branch)))
        join = Spec(JOIN, "when", None, tuple(group.result for group in branches), {}, ())
        join.file, join.line = choose.file, choose.line
        deps = {gate: None, **{output: None for group in branches for output in group.outputs}}
        return Node(self, self._add(join, deps))

    # -- putting it together -----------------------------------------------------------------------

    def _result_of(self, group: Group, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the body of a pipeline returns; and whether it changed what it was given, or what its code refers to."""
        assert group.pipeline is not None
        code, before = group.pipeline.fingerprint, copied((args, kwargs))
        result = group.pipeline.fn(*args, **kwargs)
        group.changes_state = not (is_as_it_was((args, kwargs), before) and code.holds())
        return result

    def _open(self, group: Group, body: Callable[[], Any]) -> Group:
        outer, self._group = self._group, len(self.groups)
        self.groups.append(group)
        try:
            result = body()
            self._close(group, result)
        finally:
            self._group = outer
        return group

    def _close(self, group: Group, result: Any) -> None:
        found: dict[int, None] = {}
        group.result = self._taken(result, found, place=f"the result of {self.name}")
        group.outputs = tuple(found)
        group.last = len(self.specs)

    def _add(self, spec: Spec, found: dict[int, None]) -> int:
        group = self.groups[self._group]
        for dep in found:
            if self.specs[dep].group != self._group:
                self._check_branch(spec, dep)
        # Whatever stands behind the gate already has waited for it.
        if group.gate >= 0 and not any(dep > group.gate for dep in found):
            found[group.gate] = None
        spec.deps = tuple(found)
        spec.group = self._group
        self.specs.append(spec)
        return len(self.specs) - 1

    def _check_branch(self, spec: Spec, dep: int) -> None:
        """Note what is used outside of its nested pipeline; refuse what is used outside of its branch."""
        around = {id(group) for group in self._enclosing()}
        group = self.groups[self.specs[dep].group]
        while id(group) not in around:
            if group.is_branch and spec.kind not in (JOIN, LEAVE):
                raise self._wrong(
                    spec,
                    f"{self.specs[dep].label} ({self.specs[dep].place}) may not run, because it belongs to a branch of "
                    "mf.when. Return it from the branch, and use what mf.when returns",
                )
            if spec.kind != LEAVE:
                group.exports.add(dep)
            group = self.groups[group.parent]

    def pipeline_of(self, number: int) -> str:
        """The nested pipeline that a group belongs to; "" for the outermost."""
        group = self.groups[number]
        while group.is_branch:
            group = self.groups[group.parent]
        return group.pipeline.name if group.pipeline is not None and group.parent >= 0 else ""

    def _enclosing(self) -> Iterable[Group]:
        number = self._group
        while number >= 0:
            yield self.groups[number]
            number = self.groups[number].parent

    def _members(self, group: Group) -> Iterable[int]:
        """The specs of a group, with one for each pipeline nested in it."""
        at = group.first
        inner = {other.gate: other for other in self.groups if not other.is_branch and other.gate >= group.first}
        while at < group.last:
            nested = inner.get(at)
            at = nested.leave if nested is not None else at
            yield at
            at += 1

    def _taken(self, value: Any, found: dict[int, None], *, place: str = "", depth: int = 0) -> Any:
        """The value as it is now, whatever the body does with its containers later; its nodes are added to `found`."""
        kind = type(value)
        if kind is Node:
            if trace_of(value) is not self:
                raise InvalidInputError(
                    f"{value!r} belongs to another run of a pipeline, and was used in {self.name}. Nodes have no "
                    "meaning outside of the body that made them.",
                )
            found[index_of(value)] = None
            return value
        if kind not in _CONTAINERS:
            self._given.note(value, _place_outside)
            return value
        if depth > _DEEPEST:
            raise InvalidInputError(
                f"In the pipeline {self.name} ({_shown(*_place_outside())}) {place or 'an argument'} contains itself, "
                "or is nested without end: that is a cycle.",
                pipeline=self.name,
            )
        members = value.values() if kind is dict else value
        kinds = set(map(type, members))
        if _HOLDERS.isdisjoint(kinds):
            if not kinds <= FIXED:
                for each in members:
                    self._given.note(each, _place_outside)
            return value if kind is tuple else value.copy()
        if kind is dict:
            return {name: self._taken(each, found, place=place, depth=depth + 1) for name, each in value.items()}
        return kind(self._taken(each, found, place=place, depth=depth + 1) for each in members)

    def _place(self, spec: Spec) -> None:
        spec.file, spec.line = _place_outside()

    def _wrong(self, spec: Spec, what: str) -> InvalidInputError:
        return InvalidInputError(
            f"{spec.label} in the pipeline {self.name} ({spec.place}): {what}.",
            step=spec.label,
            pipeline=self.name,
            file=spec.file,
            line=spec.line,
        )


def _body_of(branch: Any) -> Callable[[], Any]:
    return branch if callable(branch) and type(branch) is not Node else lambda: branch


def _place_outside() -> tuple[str, int]:
    """Where the user's code is that called us."""
    frame = sys._getframe(2)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_INSIDE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _shown(file: str, line: int) -> str:
    return f"{os.path.basename(file)}, line {line}"
