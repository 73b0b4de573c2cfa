"""Arrow types as JSON and back, and which type may stand for which.

A primitive type is its name (`int64`, `string`), any other an object with one key: {"tensor": ["float32", [3, 8]]}.
Types that differ only in how Arrow lays them out (large, view, run-end) are one type here.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mlflowish.errors import IntegrityError, InvalidInputError

_PRIMITIVE = {
    "any": pa.null(),
    "bool": pa.bool_(),
    **{str(kind): kind for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(kind): kind for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date32": pa.date32(),
    "date64": pa.date64(),
}
_NAMES = {kind: name for name, kind in _PRIMITIVE.items()}
UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)  # values that Arrow has no array for
_UNITS = ("s", "ms", "us", "ns")
_DEEPEST = 32
_LARGEST_DIMENSION = 1 << 40


def normal(kind: pa.DataType) -> pa.DataType:
    """The one type that stands for all that hold the same values."""
    if pa.types.is_large_string(kind) or str(kind) == "string_view":
        return pa.string()
    if pa.types.is_large_binary(kind) or str(kind) == "binary_view":
        return pa.binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(pa.int32(), normal(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return normal(kind.value_type)
    if is_tensor(kind):
        return pa.fixed_shape_tensor(normal(kind.value_type), kind.shape)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or str(kind).startswith(("list_view", "large_list_view")):
        return pa.list_(normal(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(normal(kind.value_type), kind.list_size)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(member.name, normal(member.type)) for member in kind])
    return kind


def is_tensor(kind: pa.DataType) -> bool:
    """Is each value of this type an array of one fixed shape?"""
    return isinstance(kind, pa.FixedShapeTensorType)


def numpy_type(dtype: Any) -> pa.DataType | None:
    """The type of numpy's numbers; None for those that Arrow does not have (complex, wider than 64 bits)."""
    try:
        return pa.from_numpy_dtype(dtype)
    except pa.ArrowNotImplementedError:
        return None


def is_number(kind: pa.DataType) -> bool:
    """Is each value of this type a number or a boolean?"""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def type_record(kind: pa.DataType) -> Any:
    """A type as JSON; InvalidInputError for one that a signature cannot hold."""
    kind = normal(kind)
    if kind in _NAMES:
        return _NAMES[kind]
    if pa.types.is_timestamp(kind):
        return {"timestamp": [kind.unit, kind.tz]}
    if pa.types.is_duration(kind) or pa.types.is_time(kind):
        return {"duration" if pa.types.is_duration(kind) else "time": kind.unit}
    if pa.types.is_decimal128(kind) or pa.types.is_decimal256(kind):
        return {"decimal": [kind.bit_width, kind.precision, kind.scale]}
    if pa.types.is_dictionary(kind):
        return {"categories": type_record(kind.value_type)}
    if is_tensor(kind):
        return {"tensor": [type_record(kind.value_type), list(kind.shape)]}
    if pa.types.is_fixed_size_list(kind):
        return {"list": [type_record(kind.value_type), kind.list_size]}
    if pa.types.is_list(kind):
        return {"list": [type_record(kind.value_type), None]}
    if pa.types.is_struct(kind):
        return {"struct": [[member.name, type_record(member.type)] for member in kind]}
    raise InvalidInputError(
        f"A signature cannot hold the Arrow type {kind}. Cast the column to another.", type=str(kind)
    )


def type_from_record(record: Any, depth: int = 0) -> pa.DataType:
    """The type that `type_record` described; IntegrityError for anything else."""
    try:
        if depth < _DEEPEST and (found := _from_record(record, depth)) is not None:
            return found
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise IntegrityError(f"A signature's type {str(record)[:200]} makes no sense: {error}") from error
    raise IntegrityError(f"A signature's type {str(record)[:200]} makes no sense")


def _from_record(record: Any, depth: int) -> pa.DataType | None:
    match record:
        case str() if record in _PRIMITIVE:
            return _PRIMITIVE[record]
        case {"timestamp": [str() as unit, None | str() as zone]} if unit in _UNITS:
            return pa.timestamp(unit, zone)
        case {"duration": str() as unit} if unit in _UNITS:
            return pa.duration(unit)
        case {"time": str() as unit} if unit in _UNITS:
            return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
        case {"decimal": [128 | 256 as bits, int() as precision, int() as scale]}:
            return pa.decimal128(precision, scale) if bits == 128 else pa.decimal256(precision, scale)
        case {"categories": inner}:
            return pa.dictionary(pa.int32(), type_from_record(inner, depth + 1))
        case {"tensor": [inner, list() as shape]} if all(_is_length(length) for length in shape):
            return pa.fixed_shape_tensor(type_from_record(inner, depth + 1), shape)
        case {"list": [inner, None]}:
            return pa.list_(type_from_record(inner, depth + 1))
        case {"list": [inner, size]} if _is_length(size):
            return pa.list_(type_from_record(inner, depth + 1), size)
        case {"struct": list() as members}:
            return pa.struct([pa.field(name, type_from_record(inner, depth + 1)) for name, inner in members])
    return None


def _is_length(length: Any) -> bool:
    return type(length) is int and 0 <= length < _LARGEST_DIMENSION


def may_cast(found: pa.DataType, wanted: pa.DataType) -> bool:
    """May values of type `found` stand for `wanted`, as far as the types tell? Integers may become floats, and times
    those of another unit (versions of pandas differ in theirs), if each is exactly representable: the cast checks."""
    found, wanted = normal(found), normal(wanted)
    if found == wanted or pa.null() in (found, wanted):
        return True
    if pa.types.is_dictionary(found) or pa.types.is_dictionary(wanted):
        return may_cast(_plain(found), _plain(wanted))
    if is_tensor(found) and is_tensor(wanted):
        return list(found.shape) == list(wanted.shape) and may_cast(found.value_type, wanted.value_type)
    if pa.types.is_list(wanted) and (pa.types.is_list(found) or pa.types.is_fixed_size_list(found)):
        return may_cast(found.value_type, wanted.value_type)
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(wanted):
        return bool(found.tz == wanted.tz)
    if pa.types.is_duration(found) and pa.types.is_duration(wanted):
        return True
    return _may_widen(found, wanted)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _may_widen(found: pa.DataType, wanted: pa.DataType) -> bool:
    is_whole = pa.types.is_integer(found) or pa.types.is_boolean(found)
    if pa.types.is_floating(wanted):
        return bool(is_whole or (pa.types.is_floating(found) and found.bit_width <= wanted.bit_width))
    if not pa.types.is_integer(wanted) or not is_whole:
        return False
    if pa.types.is_boolean(found):
        return True
    if pa.types.is_signed_integer(found):
        return bool(pa.types.is_signed_integer(wanted)) and found.bit_width <= wanted.bit_width
    room = wanted.bit_width - (1 if pa.types.is_signed_integer(wanted) else 0)
    return bool(found.bit_width <= room)


def tensor_element(kind: pa.DataType) -> pa.DataType:
    """The type of the numbers in a tensor; any other type itself."""
    return kind.value_type if is_tensor(kind) else kind
