"""A part of a Parquet data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlflowish.store import File

NULL = "__HIVE_DEFAULT_PARTITION__"


class Partition:
    """A part of a Parquet data set: files in folders such as `day=2024-01-01`. What counts is their content, in order,
    and the keys that their folders name; not the names of the files.

    `files`: in order. `keys`: what all of them have in common, as text.
    """

    __slots__ = ("_columns", "files")

    def __init__(self, parts: Sequence[tuple[File, Mapping[str, str]]]) -> None:
        self.files = tuple(file for file, _ in parts)
        self._columns = tuple(dict(columns) for _, columns in parts)

    @property
    def keys(self) -> dict[str, str]:
        first = self._columns[0]
        return {name: text for name, text in first.items() if all(c.get(name) == text for c in self._columns)}

    def to_arrow(self, columns: Sequence[str] | None = None) -> Any:
        """A `pyarrow.Table` of its rows; the partition keys are the last columns, as text, null where they are."""
        import pyarrow as pa

        tables = [_read(file, keys, columns) for file, keys in zip(self.files, self._columns, strict=True)]
        table = pa.concat_tables(tables, promote_options="default")
        return table if columns is None else table.select(list(columns))

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """The same as a `pandas.DataFrame`."""
        return self.to_arrow(columns).to_pandas()

    def __mlf_digest__(self) -> list[tuple[bytes, list[tuple[str, str]]]]:
        columns = [sorted(found.items()) for found in self._columns]
        return [(file.content_digest(), keys) for file, keys in zip(self.files, columns, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        return Partition, (list(zip(self.files, self._columns, strict=True)),)

    def __repr__(self) -> str:
        return f"Partition({', '.join(f'{name}={text}' for name, text in self.keys.items())}: {len(self.files)} files)"


def _read(file: File, keys: Mapping[str, str], columns: Sequence[str] | None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Not `read_table`, which would read keys out of the path of the copy.
    with pq.ParquetFile(file.local()) as parquet:
        own = None if columns is None else [name for name in columns if name in parquet.schema_arrow.names]
        table = parquet.read(columns=own)
    for name, text in keys.items():
        if (columns is None or name in columns) and name not in table.column_names:
            table = table.append_column(name, pa.array([None if text == NULL else text] * len(table), pa.string()))
    return table
