"""Which stages a model has, which moves between them are permitted, and which ask for another person's word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflowish.errors import InvalidInputError, NotFoundError, StateError, nearest
from mlflowish.registry.names import stage_name

NONE, ARCHIVED = "none", "archived"
Moves = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StageRules:
    """The stages of one model.

    `stages` begins with `none`, where every version starts, and has `archived`, where what is displaced goes. `moves`:
    the permitted (from, to) pairs, None for any. `exclusive`: stages that hold one version at most. `approvals`: how
    many other people must approve a move into a stage.
    """

    stages: tuple[str, ...] = (NONE, "staging", "production", ARCHIVED)
    moves: Moves | None = None
    exclusive: tuple[str, ...] = ("production",)
    approvals: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mentioned = [stage for move in self.moves or () for stage in move] + [*self.exclusive, *self.approvals]
        if unknown := sorted({stage for stage in mentioned if stage not in self.stages}):
            raise InvalidInputError(
                f"moves, exclusive and approvals name stages of the model; {', '.join(unknown)} is not among "
                f"{', '.join(self.stages)}",
                unknown=unknown,
            )
        if wrong := sorted({*self.exclusive, *self.approvals} & {NONE, ARCHIVED}):
            message = (
                f"The stage {wrong[0]!r} can be neither exclusive nor ask for approvals: every model needs it free"
            )
            raise InvalidInputError(message, stage=wrong[0])

    def require_stage(self, stage: str, model: str) -> str:
        """The stage, if the model has it; NotFoundError names those that it has."""
        if stage not in self.stages:
            raise NotFoundError(
                f"{model} has no stage {stage!r}; its stages are {', '.join(nearest(stage, self.stages, limit=9))}",
                stage=stage,
                known=list(self.stages),
            )
        return stage

    def require_move(self, model: str, version: int, source: str, target: str) -> None:
        """StateError if a version may not go from `source` to `target`; it says where it may go."""
        if self.moves is None or (source, target) in self.moves:
            return
        onward = [to for start, to in self.moves if start == source]
        raise StateError(
            f"{model} version {version} cannot go from {source} to {target}: from {source} the model's rules permit "
            f"{', '.join(onward) or 'no move'}. Change them with mf.registry.configure({model!r}, moves=...)",
            model=model,
            version=version,
            from_stage=source,
            to_stage=target,
            permitted=onward,
        )

    def changed(self, **changes: Any) -> StageRules:
        """These rules with what a caller gave instead, every stage in its stored form."""
        stages = _stages(changes["stages"]) if "stages" in changes else self.stages
        moves = _moves(changes["moves"]) if "moves" in changes else self.moves
        exclusive = _each(changes["exclusive"]) if "exclusive" in changes else self.exclusive
        approvals = _approvals(changes["approvals"]) if "approvals" in changes else self.approvals
        if "stages" in changes:
            # What was said about a stage that is no more goes with it, unless the caller says it now.
            moves = moves if moves is None or "moves" in changes else tuple(m for m in moves if {*m} <= {*stages})
            exclusive = exclusive if "exclusive" in changes else tuple(s for s in exclusive if s in stages)
            approvals = approvals if "approvals" in changes else {s: n for s, n in approvals.items() if s in stages}
        return StageRules(stages, moves, exclusive, approvals)

    def __repr__(self) -> str:
        stages = [f"{stage} ({', '.join(said)})" if (said := self._said(stage)) else stage for stage in self.stages]
        return f"StageRules({', '.join(stages)}; {'any move' if self.moves is None else f'{len(self.moves)} moves'})"

    def _repr_html_(self) -> str:
        from mlflowish.store.display import card

        rows = []
        for stage in self.stages:
            onward = "any stage" if self.moves is None else ", ".join(to for start, to in self.moves if start == stage)
            rows.append((stage, "; ".join([*self._said(stage), f"goes on to {onward}" if onward else "the end"])))
        return card("Stages", rows)

    def _said(self, stage: str) -> list[str]:
        """What is special about moving into a stage."""
        needed = self.approvals.get(stage, 0)
        one = ["one version"] if stage in self.exclusive else []
        return one + ([f"{needed} approval{'' if needed == 1 else 's'}"] if needed else [])

    def value(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "stages": list(self.stages),
            "moves": None if self.moves is None else [list(move) for move in self.moves],
            "exclusive": list(self.exclusive),
            "approvals": dict(self.approvals),
        }

    @classmethod
    def from_value(cls, value: Mapping[str, Any] | None) -> StageRules:
        if value is None:
            return DEFAULT_RULES
        moves = value["moves"]
        return cls(
            tuple(value["stages"]),
            None if moves is None else tuple((source, target) for source, target in moves),
            tuple(value["exclusive"]),
            dict(value["approvals"]),
        )


DEFAULT_RULES = StageRules()


def _stages(given: object) -> tuple[str, ...]:
    named = _each(given)
    return tuple(dict.fromkeys((NONE, *(stage for stage in named if stage != ARCHIVED), ARCHIVED)))


def _each(given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        given = (given,)
    if not isinstance(given, Iterable):
        raise InvalidInputError(f"Stages are given as a list of names, found {given!r}", found=given)
    return tuple(dict.fromkeys(stage_name(stage) for stage in given))


def _moves(given: object) -> Moves | None:
    """From a dict of lists, `{"staging": ["production", "archived"]}`, or from pairs."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        pairs = [(source, target) for source, targets in given.items() for target in _each(targets)]
    elif isinstance(given, Iterable) and not isinstance(given, str):
        pairs = [tuple(pair) if isinstance(pair, Iterable) else (pair,) for pair in given]
    else:
        pairs = [()]  # type: ignore[list-item]
    if any(len(pair) != 2 or isinstance(pair, str) for pair in pairs):
        raise InvalidInputError(
            'Permitted moves are given as {"staging": ["production", "archived"]} or as pairs of stages; None permits '
            f"any; found {given!r}",
            found=given,
        )
    return tuple(dict.fromkeys((stage_name(source), stage_name(target)) for source, target in pairs))


def _approvals(given: object) -> dict[str, int]:
    """From a dict of numbers, `{"production": 2}`, or from the stages that ask for one approval each."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(_each(given), 1)
    for stage, count in given.items():
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 100:
            message = (
                f"approvals says how many people approve a move: a number from 0 to 100, found {count!r} for {stage!r}"
            )
            raise InvalidInputError(message, stage=stage, found=count)
    return {stage_name(stage): count for stage, count in given.items() if count}
