"""The categories of a column, in the order in which the model was shown them.

Libraries that go by the numbers of categories (XGBoost before 3.1) must be given the same numbers again, whatever holds
the values. A field keeps them in its metadata, as JSON; two schemas that differ only there are equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pyarrow as pa

from mlflowish.errors import IntegrityError

MOST = 100_000
MOST_BYTES = 1 << 20  # of all fields together: a manifest has to hold them
_KEY = b"mlflowish.categories"


def remembered(fields: Iterable[pa.Field], table: pa.Table) -> list[pa.Field]:
    """The fields with the categories of their columns, as long as there is room for them."""
    found, room = [], MOST_BYTES
    for field in fields:
        with_them = _remembered(field, table.column(field.name))
        size_bytes = len((with_them.metadata or {}).get(_KEY, b""))
        found.append(with_them if size_bytes <= room else field)
        room -= size_bytes if size_bytes <= room else 0
    return found


def _remembered(field: pa.Field, column: pa.ChunkedArray) -> pa.Field:
    """The field with the categories of `column`; as it is without any, or with such as JSON cannot hold."""
    if not pa.types.is_dictionary(column.type) or not column.num_chunks:
        return field
    values = column.unify_dictionaries().chunk(0).dictionary
    if len(values) > MOST or not _is_plain(values.type) or values.null_count:
        return field
    return _with_categories(field, values.to_pylist(), column.type.ordered)


def _is_plain(kind: pa.DataType) -> bool:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _with_categories(field: pa.Field, values: list[Any], ordered: bool) -> pa.Field:
    text = json.dumps({"values": values, "ordered": ordered}, ensure_ascii=False)
    return field.with_metadata({_KEY: text.encode("utf-8", "surrogatepass")})


def recorded(field: pa.Field) -> dict[str, Any]:
    """What a manifest says of the categories of a field: nothing, if none are known."""
    text = (field.metadata or {}).get(_KEY)
    return {} if text is None else {"categories": json.loads(text)}


def from_record(field: pa.Field, record: Any) -> pa.Field:
    """The field with the categories that a manifest tells; IntegrityError if they make no sense."""
    match record:
        case {"values": list() as values, "ordered": bool() as ordered} if (
            pa.types.is_dictionary(field.type) and len(values) <= MOST
        ):
            try:
                if len(pa.array(values, field.type.value_type).unique().drop_null()) == len(values):
                    return _with_categories(field, values, ordered)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                pass
    raise IntegrityError(f"The categories of field {field.name!r} of a model's signature make no sense")


def recoded(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """The column with the categories of the field, in their order, and those that it has beside them at the end."""
    import pyarrow.compute as pc

    text = (field.metadata or {}).get(_KEY)
    if text is None or not pa.types.is_dictionary(column.type):
        return column
    known, ordered = _parsed(text, field.type.value_type)
    if column.type.ordered == ordered and all(chunk.dictionary.equals(known) for chunk in column.chunks):
        return column
    plain = column.cast(known.type)
    others = pc.unique(plain.filter(pc.invert(pc.is_in(plain, value_set=known)))).drop_null()
    values = pa.concat_arrays([known, others])
    numbers = pc.index_in(plain, value_set=values).combine_chunks()
    return pa.chunked_array([pa.DictionaryArray.from_arrays(numbers, values, ordered=ordered)])


@lru_cache(maxsize=256)
def _parsed(text: bytes, kind: pa.DataType) -> tuple[pa.Array, bool]:
    described = json.loads(text)
    return pa.array(described["values"], kind), described["ordered"]
