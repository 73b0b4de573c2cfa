"""The manifest of a stored model: one canonical JSON object that names everything else. See docs/format-models.md.

Read from a store that others can write to, so nothing in it is believed before it is checked: sizes, types, paths,
names of objects. Unknown fields are passed over; a greater version is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlflowish.errors import FormatVersionError, IntegrityError, InvalidInputError
from mlflowish.models.environment import Environment
from mlflowish.models.files import ModelFile
from mlflowish.storage import ObjectRef
from mlflowish.storage.paths import is_path

if TYPE_CHECKING:
    from mlflowish.models.signature import Signature

FORMAT_NAME = "mlflowish-model"
FORMAT_VERSION = 1
MOST_BYTES = 16 << 20
MOST_FILES = 100_000
MAIN = "__main__"  # in `code`: of a script or notebook, for people; never imported


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known about a stored model. `created_s` is seconds since 1970; `digest` the value digest of the model,
    None if it has none; `libraries` are import names with the versions that made it."""

    flavor: str
    flavor_version: int
    model_type: str
    created_s: float
    files: tuple[ModelFile, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    environment: Environment = field(default_factory=Environment)
    code: Mapping[str, str] = field(default_factory=dict)  # name of a module -> path of the file with its source
    example: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    signature_record: Mapping[str, Any] | None = None

    @property
    def executes_code(self) -> bool:
        """Can loading it run code that is stored in it?"""
        return any(file.executes_code for file in self.files)

    @property
    def signature(self) -> Signature | None:
        """What it takes and gives, if that is known."""
        from mlflowish.models.signature import Signature

        return None if self.signature_record is None else Signature.from_record(self.signature_record)

    def __repr__(self) -> str:
        return f"Manifest({self.flavor}, {self.model_type}, {len(self.files)} files)"

    def packed(self) -> bytes:
        """The canonical JSON: sorted keys, no spaces, UTF-8. InvalidInputError if metadata is not plain data."""
        record = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "flavor": {"name": self.flavor, "version": self.flavor_version, "options": self.options},
            "type": self.model_type,
            "created_s": self.created_s,
            "files": [
                {
                    "path": file.path,
                    "object": file.ref.name,
                    "size_bytes": file.ref.size_bytes,
                    "executes_code": file.executes_code,
                }
                for file in self.files
            ],
            "executes_code": self.executes_code,
            "digest": self.digest,
            "libraries": self.libraries,
            "environment": self.environment.record(),
            "code": self.code,
            "input_example": self.example,
            "signature": self.signature_record,
            "metadata": self.metadata,
        }
        data = canonical_json(record)
        if len(data) > MOST_BYTES:
            raise InvalidInputError(
                f"To describe this model takes {len(data):,} bytes, more than the {MOST_BYTES:,} of a manifest. "
                "Put large metadata into files, or give an example, or a signature, of fewer columns.",
                size_bytes=len(data),
            )
        return data

    @classmethod
    def unpacked(cls, data: bytes | memoryview) -> Manifest:
        """The manifest in these bytes; IntegrityError if nobody of ours can have written them, FormatVersionError if a
        newer version did."""
        record = _Record(_parsed(bytes(data)), "manifest")
        if record.take("format", str) != FORMAT_NAME:
            raise record.senseless("format", "it is not a model's manifest")
        if (version := record.take("version", int)) > FORMAT_VERSION:
            raise FormatVersionError(
                f"This model was stored in format {version}, this version of mlflowish reads up to {FORMAT_VERSION}. "
                "Upgrade: pip install -U mlflowish.",
                found=version,
                supported=FORMAT_VERSION,
            )
        flavor = _Record(record.take("flavor", dict), "flavor")
        return cls(
            flavor=flavor.take("name", str),
            flavor_version=flavor.take("version", int),
            options=flavor.take("options", dict),
            model_type=record.take("type", str),
            created_s=_time(record),
            files=_files(record),
            digest=record.take("digest", str, None),
            libraries=_texts(record, "libraries"),
            environment=Environment.from_record(record.take("environment", dict)),
            code=_texts(record, "code"),
            example=record.take("input_example", dict, None),
            metadata=record.take("metadata", dict),
            signature_record=record.take("signature", dict, None),
        )


def canonical_json(record: Any) -> bytes:
    """The one form of a JSON value; InvalidInputError for what JSON cannot hold."""
    try:
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"A model's description must be JSON (dict with text keys, list, str, int, float, bool, None): {error}. "
            "Put other values into files, or make them text."
        ) from error


def _parsed(data: bytes) -> Any:
    if len(data) > MOST_BYTES:
        raise IntegrityError(f"A model's manifest has {len(data)} bytes, more than the {MOST_BYTES} that one may have")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"A model's manifest is not JSON: {str(error)[:200]}") from error


_REQUIRED: Any = object()


class _Record:
    """A JSON object of a manifest, read with suspicion."""

    def __init__(self, fields: Any, place: str) -> None:
        self._place = place
        if type(fields) is not dict:
            raise self.senseless("", f"it is a {type(fields).__name__}")
        self._fields = fields

    def take(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """The field, of exactly this type; `default` if it is absent or null."""
        value = self._fields.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if type(value) is not kind:
            raise self.senseless(name, f"a {kind.__name__} is wanted, found {type(value).__name__}")
        return value

    def senseless(self, name: str, found: str) -> IntegrityError:
        place = f"{self._place}.{name}" if name else self._place
        return IntegrityError(
            f"A model's manifest makes no sense at {place}: {found}. It is damaged, or somebody else wrote it; "
            "store the model again.",
            place=place,
        )


def _time(record: _Record) -> float:
    try:
        created_s = record.take("created_s", float)
    except IntegrityError:
        created_s = float(record.take("created_s", int))
    if not math.isfinite(created_s):
        raise record.senseless("created_s", "it is no time")
    return float(created_s)


def _files(record: _Record) -> tuple[ModelFile, ...]:
    listed = record.take("files", list)
    if len(listed) > MOST_FILES:
        raise record.senseless("files", f"{len(listed)} files, more than {MOST_FILES}")
    files = tuple(_file(_Record(fields, f"files[{number}]")) for number, fields in enumerate(listed))
    seen: set[str] = set()
    for file in files:
        # Two names that one folder of some system cannot hold apart are one name.
        if (folded := file.path.casefold()) in seen:
            raise record.senseless("files", f"{file.path!r} is there twice")
        seen.add(folded)
    return files


def _file(record: _Record) -> ModelFile:
    path, name, size = record.take("path", str), record.take("object", str), record.take("size_bytes", int)
    if not is_path(path):
        raise record.senseless("path", f"{path[:200]!r} cannot be the path of a file")
    try:
        ref = ObjectRef(name, size)
    except InvalidInputError as error:
        raise record.senseless("object", str(error)[:200]) from error
    return ModelFile(path, ref, record.take("executes_code", bool))


def _texts(record: _Record, name: str) -> dict[str, str]:
    found: dict[str, str] = record.take(name, dict)
    if not all(type(value) is str for value in found.values()):
        raise record.senseless(name, "its values must be texts")
    return found
