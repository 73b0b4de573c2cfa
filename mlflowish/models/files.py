"""The files of a model: written as objects of a store, read back under the policy on stored code.

A flavor sees paths and bytes only. That a file can run code when it is loaded is said where it is written, and
checked where it is read, whatever the manifest claims.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflowish.codecs import Encoded, Part, decode
from mlflowish.codecs.slabs import slabs
from mlflowish.errors import CapabilityError, IntegrityError
from mlflowish.storage import Buffer, ObjectReader, ObjectRef
from mlflowish.store import Store

_SLAB_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its path inside it, the object with its bytes, and whether loading it can run code."""

    path: str
    ref: ObjectRef
    executes_code: bool = False


class FileWriter:
    """Takes the files of one model into a store, in the order in which they are added.

    `digest` is the value digest (hex) of the model; None if it has none.
    """

    def __init__(self, store: Store, digest: str | None = None) -> None:
        self.files: list[ModelFile] = []
        self.digest = digest
        self._store = store

    def add(self, path: str, content: Buffer, *, executes_code: bool = False) -> None:
        """Store `content` as the file `path` of the model."""
        view = memoryview(content)
        ref = self._store.objects.put(lambda: slabs(view) if view.nbytes else iter((b"",)), view.nbytes)
        self.files.append(ModelFile(path, ref, executes_code))

    def add_file(self, path: str, source: Path, *, executes_code: bool = False) -> None:
        """Store a file of the disk as the file `path` of the model."""
        ref = self._store.objects.put(lambda: _slabs_of_file(source), source.stat().st_size)
        self.files.append(ModelFile(path, ref, executes_code))

    def add_part(self, path: str, part: Part, *, executes_code: bool = False) -> None:
        """Store what a part gives as the file `path` of the model."""
        self.files.append(ModelFile(path, self._store.objects.put(part.chunks, part.size_bytes), executes_code))

    def add_encoded(self, folder: str, encoded: Encoded) -> dict[str, Any]:
        """Store what a codec made of a value as files below `folder`; what `FileReader.decoded` needs to know."""
        self.add(f"{folder}/head", encoded.head, executes_code=encoded.executes_code)
        for number, part in enumerate(encoded.parts):
            self.add_part(_part_path(folder, number), part, executes_code=encoded.executes_code)
        return {"codec": encoded.codec, "parts": len(encoded.parts)}


def _part_path(folder: str, number: int) -> str:
    return f"{folder}/part-{number:06d}"


def _slabs_of_file(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while slab := file.read(_SLAB_BYTES):
            yield slab


class FileReader:
    """Reads the files of one stored model.

    `allow_pickle`: may stored code run? `trusted`: names of types that the caller vouches for. `into`: what the
    caller wants the weights loaded into. `libraries`: import names with the versions that are said to have made it.
    """

    def __init__(
        self,
        store: Store,
        files: Sequence[ModelFile],
        *,
        allow_pickle: bool,
        trusted: Sequence[str] = (),
        into: Any = None,
        libraries: Mapping[str, str] | None = None,
    ) -> None:
        self.allow_pickle = allow_pickle
        self.trusted = tuple(trusted)
        self.into = into
        self.libraries = dict(libraries or {})
        self._store = store
        self._files = {file.path: file for file in files}

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def read(self, path: str) -> memoryview:
        """The bytes of a file that cannot run code: private and writable."""
        return self._reader(path).buffer()

    def read_code(self, path: str) -> memoryview:
        """The bytes of a file that can run code when it is loaded; CapabilityError if the policy forbids that."""
        self.require_code(path)
        return self._reader(path).buffer()

    def require_code(self, path: str, *, instead: str = "") -> None:
        """CapabilityError unless stored code may run. `instead` is one more thing that the caller can do."""
        if not self.allow_pickle:
            raise CapabilityError(
                f"The file {path!r} of this model was not loaded: loading it can run code stored in it, and the policy "
                f"is allow_pickle=False. {instead}If you trust everybody who writes to {self._store.url}, open the "
                "store, and load the model, with allow_pickle=True.",
                path=path,
            )

    def decoded(self, folder: str, description: Any) -> Any:
        """The value that `FileWriter.add_encoded` stored below `folder`."""
        match description:
            case {"codec": str() as codec, "parts": int() as count} if 0 <= count <= len(self._files):
                pass
            case _:
                raise IntegrityError(f"The manifest of a model describes {folder!r} in a way that makes no sense")
        if codec == "pickle":
            self.require_code(f"{folder}/head")
        parts = [self._reader(_part_path(folder, number)) for number in range(count)]
        head = bytes(self._reader(f"{folder}/head").buffer())
        return decode(codec, head, parts, allow_pickle=self.allow_pickle)

    @contextmanager
    def local_path(self, path: str, *, suffix: str = "") -> Iterator[str]:
        """A file on this disk with the bytes, for libraries that want one; not to be written to."""
        reader = self._reader(path)
        found = reader.path()
        if found is not None and (not suffix or found.endswith(suffix)):
            yield found
            return
        with tempfile.TemporaryDirectory(prefix="mlflowish-") as folder:
            target = Path(folder) / f"file{suffix}"
            with target.open("wb") as file:
                for chunk in reader.chunks():
                    file.write(chunk)
            yield str(target)

    def copy_to(self, path: str, target: Path) -> None:
        """Write the bytes into a file of this disk."""
        target.parent.mkdir(parents=True, exist_ok=True)
        reader = self._reader(path)
        found = reader.path()
        if found is not None:
            shutil.copyfile(found, target)
            return
        with target.open("wb") as file:
            for chunk in reader.chunks():
                file.write(chunk)

    def _reader(self, path: str) -> ObjectReader:
        file = self._files.get(path)
        if file is None:
            raise IntegrityError(f"The manifest of a model has no file {path!r}, which its flavor needs", path=path)
        return self._store.objects.reader(file.ref)
