"""A search of the table, and what it found: places of rows, whose values are read when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import numpy as np

from mlflowish.errors import IntegrityError
from mlflowish.store import Store
from mlflowish.tracking.filters import EVERYTHING, Field, Filter, Test, Value
from mlflowish.tracking.folding import HARDWARE, RunRecord
from mlflowish.tracking.table.builder import Builder
from mlflowish.tracking.table.columns import Array
from mlflowish.tracking.table.keeping import Shown, keeper_of
from mlflowish.tracking.table.matching import hex_ids, is_id, matching, number_of
from mlflowish.tracking.table.ordering import Order, first_text, ordered
from mlflowish.tracking.table.part import Part, batch_of

T = TypeVar("T")
_EXPERIMENT = Field("attribute", "experiment")
_TRIES = 4


class Chosen:
    """Rows of the table in order. Iterable more than once; values come as `search.value_of` gives them.

    Values are read when they are asked for. A part that turns out to be damaged then is told to `damaged`, and its runs
    are folded from their records.
    """

    def __init__(self, shown: Shown, places: Array, rows: Array, damaged: Callable[[str], None]) -> None:
        self._shown, self._places, self._rows = shown, places, rows
        self._damaged = damaged
        self._columns = shown.parts, rows  # where values are read: replaced together

    def __len__(self) -> int:
        return len(self._rows)

    def run_id(self, at: int) -> str:
        """The id of one of them."""
        return self.key(at).hex()

    def key(self, at: int) -> bytes:
        """The same, as bytes."""
        part, row = self._shown.parts[int(self._places[at])], int(self._rows[at])
        return part.ids[row : row + 1].tobytes()

    def record(self, at: int) -> RunRecord | None:
        """One of them, whole: folded from its records. None if these are damaged."""
        return self._shown.record(self.key(at))

    def column(self, field: Field) -> list[Value]:
        """The value of a field in each of them; None without one."""

        def fill(part: Part, rows: Array) -> Array:
            if field.is_numeric:
                return _spread(part, rows, number_of(part, field))
            if is_id(field):
                return _objects(hex_ids(part.ids[rows]))
            text = first_text(part, field)
            if text is None:
                return _spread(part, rows, None)
            codes, inverse = np.unique(text.codes, return_inverse=True)
            values = _objects([text[code].decode("utf-8", "surrogatepass") for code in codes.tolist()])
            return _spread(part, rows, (text.rows, values[inverse]))

        return self._gathered(fill)

    def seconds(self) -> tuple[list[Any], list[Any]]:
        """When they began and when they ended (None: they have not), in seconds since 1970."""

        def ends(part: Part, rows: Array) -> Array:
            ended = np.flatnonzero(~np.isnan(part.end))
            return _spread(part, rows, (ended, part.end[ended]))

        return self._gathered(lambda part, rows: part.start[rows].astype(object)), self._gathered(ends)

    def names(self, kind: str) -> list[str]:
        """Names of metrics, params or tags that one of them has, in order."""
        return self._past_damage(lambda parts, rows: self._names_in(kind, parts, rows))

    def _names_in(self, kind: str, parts: Sequence[Part], rows: Array) -> list[str]:
        found: set[str] = set()
        for place in np.unique(self._places).tolist():
            part = parts[place]
            is_chosen = np.zeros(len(part), bool)
            is_chosen[rows[self._places == place]] = True
            if kind == "metrics":
                for name in part.number_names:
                    pair = None if name in found or name.startswith(HARDWARE) else part.number(name)
                    if pair is not None and is_chosen[pair[0]].any():
                        found.add(name)
                continue
            for column in part.text_names:
                head, _, name = column.partition(".")
                text = part.text(column) if head == kind and name not in found else None
                if text is not None and is_chosen[text.rows].any():
                    found.add(name)
        return sorted(found)

    def _gathered(self, fill: Callable[[Part, Array], Array]) -> list[Any]:
        def gather(parts: Sequence[Part], rows: Array) -> list[Any]:
            whole = np.empty(len(self), object)
            for place in np.unique(self._places).tolist():
                here = np.flatnonzero(self._places == place)
                whole[here] = fill(parts[place], rows[here])
            found: list[Any] = whole.tolist()
            return found

        return self._past_damage(gather)

    def _past_damage(self, read: Callable[[Sequence[Part], Array], T]) -> T:
        while True:
            parts, rows = self._columns
            try:
                return read(parts, rows)
            except IntegrityError as error:
                path = getattr(error, "path", "")
                places = [place for place, part in enumerate(parts) if part.name and part.name == path]
                if not places:
                    raise
                self._damaged(path)
                self._columns = self._folded(places, parts, rows)

    def _folded(self, places: Sequence[int], parts: Sequence[Part], rows: Array) -> tuple[tuple[Part, ...], Array]:
        """The same rows, those of some parts from their records."""
        made, rows = list(parts), rows.copy()
        for place in places:
            here = np.flatnonzero(self._places == place)
            builder = Builder()
            for at in here.tolist():
                builder.add(self.key(at), self.record(at))
            made[place] = Part(batch_of(builder.finished()))
            rows[here] = made[place].locate(parts[place].ids[rows[here]])
        return tuple(made), rows


def choose(
    store: Store,
    wanted: Filter,
    *,
    experiments: Collection[str] | None,
    orders: Sequence[Order],
    deleted: bool,
    limit: int | None,
    offset: int,
) -> Chosen:
    """The runs that fit, in order: one page of them."""

    keeper = keeper_of(store)

    def search(shown: Shown) -> Chosen:
        found = []
        for place, part in enumerate(shown.parts):
            fits = shown.visible(place, deleted=deleted)
            if experiments is not None:
                fits &= matching(part, Test(_EXPERIMENT, "in", tuple(experiments)))
            if wanted is not EVERYTHING and fits.any():
                fits &= matching(part, wanted)
            found.append(np.flatnonzero(fits))
        most = None if limit is None else limit + offset
        places, rows = ordered(shown.parts, found, orders, most)
        return Chosen(shown, places[offset:], rows[offset:], keeper.damaged)

    return trying(store, search)


def trying(store: Store, look: Callable[[Shown], T]) -> T:
    """What `look` makes of all runs as of now, past parts of the table that turn out to be damaged."""
    keeper = keeper_of(store)
    for _ in range(_TRIES):
        try:
            return look(keeper.shown(store))
        except IntegrityError as error:
            path = getattr(error, "path", "")
            if not path.startswith("tables/"):
                raise
            keeper.damaged(path)
    return look(keeper.shown(store))


def _spread(part: Part, rows: Array, pair: tuple[Array, Array] | None) -> Array:
    whole = np.empty(len(part), object)
    if pair is not None:
        whole[pair[0]] = pair[1]
    found: Array = whole[rows]
    return found


def _objects(values: Sequence[Any]) -> Array:
    whole = np.empty(len(values), object)
    whole[:] = values
    return whole
