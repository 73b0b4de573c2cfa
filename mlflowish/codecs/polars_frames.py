"""Codec `polars`: frames and series of polars, as an Arrow IPC stream; types that Arrow does not have in polars' own
variant of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from mlflowish.codecs.arrow import stream_in, with_stream
from mlflowish.codecs.base import Declined, Encoded, Part, PartReader
from mlflowish.codecs.ipc import SUFFIX, ipc_part, read_ipc
from mlflowish.codecs.refusals import damaged, not_here, sense_made
from mlflowish.codecs.slabs import buffers_part

_SLACK_BYTES = 1 << 16


class PolarsCodec:
    """The head is a plain stream of (kind, name of a series, rows, whether the stream is polars' own, the stream if it
    is small).
    """

    name = "polars"
    executes_code = False

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        import polars as pl

        is_series = isinstance(value, pl.Series)
        frame = value.to_frame() if is_series else value
        if not frame.width and frame.height:
            raise Declined("a frame without columns")
        own = not _survives_arrow(frame)
        part = _own_part(frame) if own else _arrow_part(frame)
        meta = (
            "series" if is_series else "frame",
            value.name if is_series else "",
            frame.height,
            own,
            _type_names(frame),
        )
        return with_stream(self.name, meta, part, inline_limit)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        with sense_made(self.name):
            (kind, name, rows, own, types), buffer = stream_in(self.name, head, parts)
            frame = _unpanicked(lambda: _own_frame(buffer) if own else _arrow_frame(buffer))
            if frame.height != rows or kind not in ("frame", "series") or (kind == "series" and frame.width != 1):
                raise damaged(self.name, f"a {kind} of {rows} rows, and {frame.height} rows in {frame.width} columns")
            if _type_names(frame) != types:
                raise not_here(self.name, f"this version of polars reads {types} as {_type_names(frame)}")
            return frame.to_series().rename(name) if kind == "series" else frame


def _type_names(frame: Any) -> list[str]:
    return [type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__ for dtype in frame.dtypes]


def _survives_arrow(frame: Any) -> bool:
    """Do all types come back from Arrow as they are? Tried on no rows, which costs little."""
    import polars as pl
    import pyarrow as pa

    try:
        return bool(pl.from_arrow(_table(frame.clear())).schema == frame.schema)
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, NotImplementedError):
        return False


def _arrow_part(frame: Any) -> Part:
    table = _table(frame)
    if table.nbytes > 2 * frame.estimated_size() + _SLACK_BYTES:
        # A filtered frame still holds all the text that it was filtered from; the older layout has only what is left.
        table = frame.to_arrow()
    return ipc_part(table.schema, table.to_batches())


def _table(frame: Any) -> Any:
    """The frame as Arrow, text as views, which costs no copy; older versions of polars copy."""
    import polars as pl

    return frame.to_arrow(compat_level=pl.CompatLevel.newest()) if hasattr(pl, "CompatLevel") else frame.to_arrow()


def _arrow_frame(buffer: memoryview) -> Any:
    import polars as pl
    import pyarrow as pa

    schema, batches = read_ipc(buffer)
    return pl.from_arrow(pa.Table.from_batches(batches, schema), rechunk=False)


def _own_part(frame: Any) -> Part:
    import polars as pl

    if any(dtype == pl.Object or (dtype.is_nested() and "Object" in str(dtype)) for dtype in frame.dtypes):
        raise Declined("a column of Python objects")
    sink = io.BytesIO()
    frame.write_ipc_stream(sink)
    return buffers_part([sink.getbuffer()], SUFFIX)


def _own_frame(buffer: memoryview) -> Any:
    import polars as pl

    return pl.read_ipc_stream(io.BytesIO(buffer), use_pyarrow=False)


def _unpanicked(read: Callable[[], Any]) -> Any:
    """What `read` gives; a panic of polars, which is no Exception, as IntegrityError."""
    try:
        return read()
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise damaged("polars", str(error)[:200]) from error
        raise
