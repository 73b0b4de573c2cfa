"""Runs by what people call them: a name, or the beginning of an id. And, for messages, what is called nearly so."""

from __future__ import annotations

import numpy as np

from mlflowish.store import Store
from mlflowish.tracking.table.chosen import trying
from mlflowish.tracking.table.columns import Array, packed, unpacked
from mlflowish.tracking.table.keeping import Shown
from mlflowish.tracking.table.matching import hex_ids

_SHORTEST = 4  # of the beginnings of ids that are taken for one
# Likeness is compared name by name: of more runs, the newest have to do, and the ids beside the one asked for.
_COMPARED = 2_000
_BESIDE = 10


def ids_of(store: Store, text: str) -> list[str]:
    """The runs of this name, or without one those whose ids begin so; deleted ones aside."""

    def look(shown: Shown) -> list[str]:
        return sorted(_named(shown, packed(text))) or (
            _beginning(shown, text.lower()) if len(text) >= _SHORTEST else []
        )

    return trying(store, look)


def names_and_ids(store: Store, text: str) -> list[str]:
    """Names and ids to look for the nearest among."""
    return trying(store, lambda shown: [*_newest_names(shown), *_near(shown, text, deleted=False)])


def ids_near(store: Store, run_id: str) -> list[str]:
    """Ids to look for the nearest among, deleted runs included."""
    return trying(store, lambda shown: _near(shown, run_id, deleted=True))


def _named(shown: Shown, name: bytes) -> list[str]:
    found: list[str] = []
    for place, part in enumerate(shown.parts):
        text = part.text("attributes.run_name")
        if text is not None and (code := text.find(name)) >= 0:
            rows = text.rows[text.codes == code]
            found += hex_ids(part.ids[rows[shown.visible(place, deleted=False)[rows]]])
    return found


def _beginning(shown: Shown, text: str) -> list[str]:
    if len(text) > 32 or not set(text) <= set("0123456789abcdef"):
        return []
    low, high = bytes.fromhex(text.ljust(32, "0")), bytes.fromhex(text.ljust(32, "f"))
    found: list[str] = []
    for place, part in enumerate(shown.parts):
        first, last = np.searchsorted(part.sorted_ids, low), np.searchsorted(part.sorted_ids, high, side="right")
        rows = part.by_id[first:last]
        found += hex_ids(part.ids[rows[shown.visible(place, deleted=False)[rows]]])
    return sorted(found)


def _near(shown: Shown, text: str, *, deleted: bool) -> list[str]:
    ids = _ids(shown, deleted=deleted)
    if len(ids) <= _COMPARED:
        return hex_ids(ids)
    digits = "".join(char for char in text.lower()[:32] if char in "0123456789abcdef")
    at = int(np.searchsorted(ids, bytes.fromhex(digits.ljust(32, "0"))))
    return hex_ids(np.concatenate([ids[max(at - _BESIDE, 0) : at + _BESIDE], ids[-_COMPARED:]]))


def _ids(shown: Shown, *, deleted: bool) -> Array:
    found = [part.ids[shown.visible(place, deleted=deleted)] for place, part in enumerate(shown.parts)]
    return np.sort(np.concatenate([np.empty(0, "S16"), *found]))


def _newest_names(shown: Shown) -> list[str]:
    names: dict[str, float] = {}
    for place, part in enumerate(shown.parts):
        text = part.text("attributes.run_name")
        if text is None:
            continue
        is_visible = shown.visible(place, deleted=False)[text.rows]
        rows, codes = text.rows[is_visible], text.codes[is_visible]
        newest = np.argsort(-part.start[rows], kind="stable")[:_COMPARED]
        for row, code in zip(rows[newest].tolist(), codes[newest].tolist(), strict=True):
            name = unpacked(text[code])
            names[name] = max(names.get(name, 0.0), float(part.start[row]))
    return sorted(names, key=names.__getitem__, reverse=True)[:_COMPARED]
