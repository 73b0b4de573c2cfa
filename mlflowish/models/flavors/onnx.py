"""Flavor `onnx`: the bytes of an ONNX model, asked through onnxruntime."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from mlflowish.errors import InvalidInputError, missing_extra
from mlflowish.models.flavors.base import Flavor, comes_from

if TYPE_CHECKING:
    import pyarrow as pa

    from mlflowish.models.files import FileReader, FileWriter

_MODEL = "model.onnx"
_MOST_SESSIONS = 4
_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class OnnxFlavor(Flavor):
    """onnx.ModelProto."""

    name = "onnx"
    libraries = ("onnx",)
    extra = "onnx"

    def __init__(self) -> None:
        self._sessions: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def fits(self, model: Any) -> bool:
        return comes_from(model, self.libraries, "ModelProto")

    def save(self, model: Any, files: FileWriter) -> Mapping[str, Any]:
        if any(tensor.data_location == _EXTERNAL for tensor in model.graph.initializer):
            raise InvalidInputError(
                "This ONNX model keeps its weights in another file, which would not be stored. Read it with onnx.load, "
                "which takes them in (load_external_data=True)."
            )
        try:
            files.add(_MODEL, model.SerializeToString())
        except ValueError as error:
            raise InvalidInputError(
                f"This ONNX model cannot be stored as one file: {error}. Those of more than 2 GiB cannot."
            ) from error
        return {}

    def load(self, files: FileReader, options: Mapping[str, Any]) -> Any:
        import onnx

        return onnx.load_model_from_string(bytes(files.read(_MODEL)))

    def predict(self, model: Any, data: Any, **options: Any) -> Any:
        """What its output holds; of several outputs a dict by their names."""
        session = self._session(model)
        outputs = session.run(None, _feed(session, data), **options)
        names = [output.name for output in session.get_outputs()]
        return outputs[0] if len(outputs) == 1 else dict(zip(names, outputs, strict=True))

    def also_needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("onnxruntime",)

    def own_schema(self, model: Any) -> pa.Schema | None:
        import pyarrow as pa

        # Old exporters list the weights among the inputs, too; nobody has to give those.
        weights = {tensor.name for tensor in (*model.graph.initializer, *model.graph.sparse_initializer)}
        fields = [_field(described) for described in model.graph.input if described.name not in weights]
        if not fields or any(field is None for field in fields):
            return None
        return pa.schema([fields[0].with_name("")] if len(fields) == 1 else fields)

    def _session(self, model: Any) -> Any:
        """What runs the model. Making one takes long, so the last few are kept, by the bytes of their model: those tell
        when it was changed."""
        data = model.SerializeToString()
        name = bytes(blake3(data).digest())
        with self._lock:
            session = self._sessions.pop(name, None)
        session = session if session is not None else _new_session(data)
        with self._lock:
            self._sessions[name] = session
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return session


def _new_session(data: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx", needed_for="Asking an ONNX model", cause=error) from error
    return onnxruntime.InferenceSession(data, providers=onnxruntime.get_available_providers())


def _field(described: Any) -> Any:
    """The field of an input whose first dimension is free and whose others are fixed; None for any other."""
    import numpy
    import onnx
    import pyarrow as pa

    tensor = described.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if not described.type.HasField("tensor_type") or not dims or None in dims[1:]:
        return None
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    kind = pa.string() if dtype == numpy.dtype(object) else pa.from_numpy_dtype(dtype)
    # Columns of one table are often declared as (n, 1).
    shape = dims[1:]
    if shape and kind == pa.string():
        return None
    return pa.field(described.name, pa.fixed_shape_tensor(kind, shape) if shape else kind, nullable=False)


def _feed(session: Any, data: Any) -> dict[str, Any]:
    from mlflowish.models.containers import as_table, container_of, is_table

    inputs = session.get_inputs()
    if len(inputs) == 1 and not (container_of(data) == "dict" and inputs[0].name in data):
        return {inputs[0].name: _shaped(_matrix(data), inputs[0])}
    if container_of(data) != "dict" and is_table(data):
        from mlflowish.models.delivering import tensor_of

        table = as_table(data)
        data = {name: tensor_of(table.column(name)) for name in table.column_names}
    if container_of(data) != "dict" or (missing := [one.name for one in inputs if one.name not in data]):
        names = ", ".join(one.name for one in inputs)
        raise InvalidInputError(
            f"This ONNX model takes {names}: give a table, or a dict of arrays, with these names"
            + (f"; {missing[0]!r} is missing." if container_of(data) == "dict" else "."),
        )
    return {one.name: _shaped(data[one.name], one) for one in inputs}


def _matrix(data: Any) -> Any:
    from mlflowish.models.containers import as_numpy, as_table, container_of, is_table
    from mlflowish.models.delivering import in_container

    if is_table(data) and container_of(data) != "pandas":
        return in_container(as_table(data), "numpy")
    return as_numpy(data)


def _shaped(values: Any, wanted: Any) -> Any:
    import numpy

    array = numpy.asarray(values)
    dtype = _DTYPES.get(wanted.type)
    if dtype is not None and str(array.dtype) != dtype:
        array = array.astype(dtype)
    # A column of a table for an input of shape (n, 1).
    return array.reshape(-1, 1) if array.ndim == 1 and len(wanted.shape or ()) == 2 else array
