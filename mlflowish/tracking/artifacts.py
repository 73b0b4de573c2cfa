"""Files of runs: objects of the store under paths of the run. What cannot be stored at once waits on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError, MlflowishError, NotFoundError, nearest
from mlflowish.storage import ObjectReader, ObjectRef, ObjectStore
from mlflowish.store import Store
from mlflowish.tracking.folding import Artifact
from mlflowish.tracking.places import private_place
from mlflowish.tracking.records import Event

if TYPE_CHECKING:
    from _typeshed import StrPath

_SLAB_BYTES = 4 << 20
_MAX_PATH = 1000
_log = logging.getLogger("mlflowish.tracking")


def require_artifact_path(path: Any) -> str:
    """A path inside a run's folder of artifacts: relative, `/` between its parts, none of them empty, `.` or `..`."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if isinstance(text, str) and 0 < len(text) <= _MAX_PATH and _is_inside(text):
        return text
    raise InvalidInputError(
        "The path of an artifact is relative, with '/' between its parts, and stays inside the run (no '..', no "
        f"backslash, no control characters); found {path!r}",
        path=path,
    )


def artifact_path(name: str, folder: str | None) -> str:
    """Where a file of this name goes: into `folder`, or to the top."""
    return require_artifact_path(f"{require_artifact_path(folder.rstrip('/'))}/{name}" if folder else name)


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return (
        not any(part in ("", ".", "..") for part in parts)
        and "\\" not in path
        and ":" not in parts[0][1:2]
        and path.isprintable()
    )


def put_bytes(store: Store, data: bytes) -> ObjectRef:
    """Store bytes as an object, here and now in a local store, else on this machine until they are shipped."""
    return _put(store, data, len(data))


def put_file(store: Store, file: StrPath) -> ObjectRef:
    """Store the content of a file as it is now."""
    path = Path(file)

    def slabs() -> Iterator[bytes]:
        with open(path, "rb") as opened:
            while slab := opened.read(_SLAB_BYTES):
                yield slab

    try:
        return _put(store, slabs, path.stat().st_size)
    except OSError as error:
        raise _unreadable(path, error) from error


def files_in(folder: StrPath) -> list[tuple[str, Path]]:
    """The files of a folder and below, with their paths in it; what symbolic links to folders lead to is left out."""
    root = Path(folder)
    if not root.is_dir():
        raise NotFoundError(f"There is no folder {root}", path=str(root))
    found = []
    for where, folders, names in os.walk(root):
        folders.sort()
        found += [Path(where) / name for name in sorted(names)]
    return [(file.relative_to(root).as_posix(), file) for file in found if file.is_file()]


def settle(store: Store, events: Sequence[Event]) -> list[Event]:
    """Bring the objects that these events name from this machine into the store; StorageError if it takes none. Gives
    the events with the names that the objects have there: one that is to be deleted gets a new one. What is here stays
    until `release`."""
    place = private_place(store)
    pending, renamed = ObjectStore(place), {}
    for ref, waiting in _waiting(store, events):
        renamed[ref.name] = store.objects.put(pending.reader(waiting).chunks, ref.size_bytes).name
    return [Event(event.kind, event.time_us, _renamed(event.body, renamed)) for event in events]


def unsettled(store: Store, events: Sequence[Event]) -> list[Event]:
    """After a record with these events: those of which a collection has announced, since they were settled, that it
    deletes an object. To be settled, and recorded, again."""
    doomed = {ref for ref, _ in _waiting(store, events) if is_doomed(store, ref)}
    return [event for event in events if not doomed.isdisjoint(refs_of(event))]


def release(store: Store, events: Sequence[Event]) -> None:
    """The store has what these events name: let go of it here."""
    for _, waiting in _waiting(store, events):
        private_place(store).delete(waiting.path)


def _waiting(store: Store, events: Sequence[Event]) -> list[tuple[ObjectRef, ObjectRef]]:
    """The objects that these events name and that wait on this machine, and what they are called here."""
    place = private_place(store)
    if not os.path.isdir(os.path.join(place.url, "objects")):
        return []
    named = [(ref, ObjectRef(ref.digest, ref.size_bytes)) for ref in {r for event in events for r in refs_of(event)}]
    return [(ref, waiting) for ref, waiting in named if ObjectStore(place).contains(waiting)]


def is_waiting(store: Store, ref: ObjectRef) -> bool:
    """Is the object on this machine, to be brought into the store with the events that name it?"""
    place = private_place(store)
    return os.path.isdir(os.path.join(place.url, "objects")) and ObjectStore(place).contains(ref)


def refs_of(event: Event) -> list[ObjectRef]:
    """The objects that an event names."""
    body = event.body
    named = [body[name] for name in ("ref", "manifest") if name in body]
    named += [*body.get("refs", ()), *(body["values"].get("refs", ()) if event.kind == "fact" else ())]
    return [ObjectRef(*ref) for ref in named]


def is_doomed(store: Store, ref: ObjectRef) -> bool:
    """Has a collection announced, since the object was put, that it deletes it? Asked after the event that names it, in
    stores where that costs no request."""
    try:
        return store.storage.capabilities.append and store.are_doomed((ref,))
    except MlflowishError:
        return False


class Artifacts(Sequence[Artifact]):
    """The files of a run, by path: iterate it, look one up by its path, list a folder, open or download."""

    def __init__(self, store: Store, run_id: str, artifacts: Sequence[Artifact]) -> None:
        self._store, self._run_id = store, run_id
        self._artifacts = list(artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def __getitem__(self, which: Any) -> Any:
        if not isinstance(which, str):
            return self._artifacts[which]
        for artifact in self._artifacts:
            if artifact.path == which:
                return artifact
        near = nearest(which, self.paths(), limit=3)
        hint = f"; the nearest are {', '.join(near)}" if near else ": it has none"
        raise NotFoundError(f"There is no artifact {which!r} in run {self._run_id}{hint}", path=which, near=near)

    def __contains__(self, path: object) -> bool:
        return any(path in (artifact, artifact.path) for artifact in self._artifacts)

    def paths(self) -> list[str]:
        """All paths, sorted."""
        return [artifact.path for artifact in self._artifacts]

    def list_folder(self, folder: str = "") -> list[str]:
        """What lies directly in a folder; names of folders end with '/'."""
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        rests = [path.removeprefix(prefix) for path in self.paths() if path.startswith(prefix)]
        return sorted({rest.partition("/")[0] + ("/" if "/" in rest else "") for rest in rests})

    def images(self, key: str) -> list[Artifact]:
        """The images logged under a key, by step."""
        return sorted((a for a in self._artifacts if a.key == key), key=lambda a: (a.step or 0, a.time_s))

    def read(self, path: str) -> bytes:
        """The bytes of one."""
        return self.read_ref(self[path].ref)

    def read_ref(self, ref: ObjectRef) -> bytes:
        """The bytes of an object that the run names."""
        return b"".join(self._reader(ref).chunks())

    def text(self, path: str) -> str:
        """The text of one, UTF-8."""
        return self.read(path).decode("utf-8")

    def open(self, path: str) -> IO[bytes]:
        """One as a binary file to read from."""
        import io

        return io.BytesIO(self._reader(self[path].ref).buffer())

    def download(self, path: str = "", to: StrPath | None = None) -> Path:
        """Copy one, or a folder of them ('' for all), into the folder `to` (default: a new temporary one), under their
        own paths; gives where it lies."""
        import tempfile

        base = Path(to) if to is not None else Path(tempfile.mkdtemp(prefix="mlflowish-"))
        prefix = f"{path.rstrip('/')}/" if path else ""
        chosen = [a for a in self._artifacts if a.path == path or a.path.startswith(prefix)]
        if not chosen and path:
            self[path]  # says what is near
        for artifact in chosen:
            self._copy(artifact, base)
        return base / path if path else base

    def _copy(self, artifact: Artifact, base: Path) -> None:
        # A path from a store is checked like one from a user: it must not lead out of the folder.
        target = base / require_artifact_path(artifact.path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(base.resolve()):
                raise InvalidInputError(f"{artifact.path!r} would leave {base} through a link", path=artifact.path)
            partial = target.with_name(f".{target.name}.{os.getpid()}.part")
            with open(partial, "wb") as file:
                for slab in self._reader(artifact.ref).chunks():
                    file.write(slab)
            os.replace(partial, target)
        except OSError as error:
            raise _unwritable(target, error) from error

    def _reader(self, ref: ObjectRef) -> ObjectReader:
        pending = ObjectStore(private_place(self._store))
        if os.path.exists(os.path.join(pending.storage.url, ref.path)):
            return pending.reader(ref)
        return self._store.objects.reader(ref)

    def __repr__(self) -> str:
        return f"Artifacts({self.paths()!r})"


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The same, with other names of objects."""
    if isinstance(value, Mapping):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_renamed(item, names) for item in value)
    return names.get(value, value) if isinstance(value, str) and len(value) >= 64 else value


def _put(store: Store, content: Any, size_bytes: int) -> ObjectRef:
    if store.storage.capabilities.append:
        try:
            store.create()
            return store.objects.put(content, size_bytes)
        except MlflowishError as error:
            _log.warning("An artifact cannot be written to %s now (%s); it is kept on this machine", store.url, error)
    return ObjectStore(private_place(store)).put(content, size_bytes)


def _unreadable(path: Path, error: OSError) -> MlflowishError:
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"There is no file {path}", path=str(path))
    return InvalidInputError(f"{path} cannot be read: {error.strerror or error}", path=str(path))


def _unwritable(path: Path, error: OSError) -> MlflowishError:
    return InvalidInputError(f"{path} cannot be written: {error.strerror or error}", path=str(path))
