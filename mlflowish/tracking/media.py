"""Figures, images, tables and dictionaries as the bytes of a file, in the format that its name asks for."""

from __future__ import annotations

import io
import json
import mimetypes
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from mlflowish.errors import InvalidInputError, missing_extra


def media_type(path: str) -> str:
    """The kind of a file by its name, "" if it does not say."""
    return mimetypes.guess_type(path)[0] or ("application/vnd.apache.parquet" if path.endswith(".parquet") else "")


def dictionary_bytes(value: Any, path: str) -> bytes:
    """JSON, or YAML for `.yaml` and `.yml`; numpy's numbers and arrays become plain ones, dates ISO texts."""
    if _suffix(path) in (".yaml", ".yml"):
        try:
            import yaml
        except ImportError as error:
            raise missing_extra("yaml", needed_for=f"Writing {path}", cause=error) from error
        return str(yaml.safe_dump(json.loads(_json(value)), sort_keys=False, allow_unicode=True)).encode()
    return _json(value).encode("utf-8", "surrogatepass")


def table_bytes(data: Any, path: str) -> bytes:
    """A frame, Arrow table, dictionary of columns or list of rows, as Parquet, JSON (one list of rows) or CSV."""
    table = _arrow(data)
    sink = io.BytesIO()
    suffix = _suffix(path)
    if suffix == ".parquet":
        import pyarrow.parquet as parquet

        parquet.write_table(table, sink, compression="zstd")
    elif suffix == ".csv":
        from pyarrow import csv

        csv.write_csv(table, sink)
    elif suffix == ".json":
        return _json(table.to_pylist()).encode("utf-8", "surrogatepass")
    else:
        raise InvalidInputError(f"A table is stored as .parquet, .json or .csv, found {path!r}", path=path)
    return sink.getvalue()


def figure_bytes(figure: Any, path: str, options: Mapping[str, Any]) -> bytes:
    """A figure of matplotlib (any format it writes) or plotly (.html, .json, or an image by kaleido)."""
    if hasattr(figure, "savefig"):
        sink = io.BytesIO()
        figure.savefig(sink, format=_suffix(path).lstrip(".") or "png", **{"bbox_inches": "tight", **options})
        return sink.getvalue()
    if hasattr(figure, "to_html") and hasattr(figure, "to_json"):
        suffix = _suffix(path)
        if suffix in (".html", ""):
            return str(figure.to_html(include_plotlyjs="cdn", **options)).encode()
        if suffix == ".json":
            return str(figure.to_json(**options)).encode()
        return bytes(figure.to_image(format=suffix.lstrip("."), **options))
    kind = type(figure)
    raise InvalidInputError(
        f"A figure is one of matplotlib or plotly, found {kind.__module__}.{kind.__qualname__}", kind=kind.__qualname__
    )


def image_bytes(image: Any, path: str) -> bytes:
    """A PIL image, or an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4): integers 0 to 255, bools, floats 0 to 1."""
    if hasattr(image, "savefig"):
        return figure_bytes(image, path, {})
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("images", needed_for="log_image", cause=error) from error
    picture = image if isinstance(image, Image.Image) else _picture(image)
    kind = Image.registered_extensions().get(_suffix(path) or ".png")
    if kind is None:
        raise InvalidInputError(f"{path!r} does not end like the name of an image", path=path)
    if kind == "JPEG" and picture.mode not in ("RGB", "L"):
        picture = picture.convert("RGB")
    sink = io.BytesIO()
    picture.save(sink, format=kind)
    return sink.getvalue()


def _picture(image: Any) -> Any:
    from PIL import Image

    try:
        import numpy as np
    except ImportError as error:
        raise missing_extra("numpy", needed_for="log_image of an array", cause=error) from error
    detached = image.detach().cpu() if hasattr(image, "detach") else image  # torch
    array = np.asarray(detached)
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or not array.size:
        raise _no_image(array)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise _no_image(array)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise InvalidInputError("An image of floats has values from 0 to 1; scale it, or pass integers 0 to 255")
        array = np.rint(array * 255)
    elif array.dtype.kind == "b":
        array = array.astype(np.uint8) * 255
    elif array.min() < 0 or array.max() > 255:
        raise InvalidInputError("An image of integers has values from 0 to 255; scale it, or pass floats 0 to 1")
    pixels = array.astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def _no_image(array: Any) -> InvalidInputError:
    return InvalidInputError(
        "An image is a PIL image, or numbers of shape (height, width) or (height, width, 1, 3 or 4); found "
        f"{array.dtype} of shape {array.shape}",
        shape=array.shape,
    )


def _arrow(data: Any) -> Any:
    import pyarrow as pa

    try:
        if isinstance(data, pa.Table):
            return data
        if isinstance(data, Mapping):
            columns = {str(name): value if _is_column(value) else [value] for name, value in data.items()}
            return pa.table(columns)
        if hasattr(data, "to_arrow"):  # polars, and our own Table
            return data.to_arrow()
        if isinstance(data, list):
            return pa.Table.from_pylist(data)
        return pa.Table.from_pandas(data)
    except (pa.ArrowException, TypeError, ValueError, AttributeError, KeyError) as error:
        raise InvalidInputError(f"{type(data).__name__} cannot be stored as a table: {error}") from error


def _is_column(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__")


def _json(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"This cannot be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    raise TypeError(f"{type(value).__name__} is neither text, number, list nor dictionary")


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
