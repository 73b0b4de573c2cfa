"""Whether a pipeline can be passed as one call: its key, and the conditions that its entry states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from mlflowish.codecs import decode
from mlflowish.errors import MlflowishError, NotFoundError, ResultGoneError, StorageError, UncacheableError
from mlflowish.pipelines.closed import Closed, are_plain, asks_nodes, closed_body, node_places
from mlflowish.pipelines.packing import unpack
from mlflowish.pipelines.shape import shape_of
from mlflowish.pipelines.specs import Group
from mlflowish.pipelines.trace import Trace
from mlflowish.steps.auditing import still_valid
from mlflowish.steps.identity import Identity
from mlflowish.steps.reference import Reference
from mlflowish.store import Entry, Store
from mlflowish.store.forgetting import epoch

if TYPE_CHECKING:
    from mlflowish.pipelines.definition import Pipeline

VERSION = 1
Observed = tuple[tuple[str, str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """What the entry of a whole pipeline holds: the results of its nodes that are returned, and conditions."""

    key: str
    result: Any
    outputs: list[Any]
    observed: Observed
    files: list[Reference]


def whole_key(
    identity: Identity, trace: Trace, group: Group, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bytes | None:
    """The key of a pipeline as one call; None if it has none. `args`, `kwargs`: as the body was given them."""
    if identity.key is None:
        return None
    assert group.pipeline is not None
    if not (group.changes_state or asks_nodes(trace, group)):
        closed = closed_key(group.pipeline, identity, args, kwargs)
        if closed is not None:
            return closed
    try:
        shape = shape_of(trace, group)
    except (UncacheableError, NotFoundError, StorageError):  # a file has vanished: the call that wants it will tell
        return None
    return None if shape is None else bytes(blake3(b"mlf1.whole" + identity.key + shape).digest(length=16))


def closed_key(
    pipeline: Pipeline[..., Any], identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bytes | None:
    """The key of a pipeline whose code and arguments say all that its body will do; None for one that has to be
    traced."""
    closed = _closed(pipeline, identity)
    if closed is None or not are_plain(args, kwargs) or (setting := closed.setting()) is None:
        return None
    assert identity.key is not None
    places = "\0".join(node_places([list(args), kwargs])).encode("utf-8", "surrogatepass")
    hasher = blake3(b"mlf3.closed" + identity.key)
    for piece in (places, setting):
        hasher.update(len(piece).to_bytes(8, "little") + piece)
    return bytes(hasher.digest(length=16))


def _closed(pipeline: Pipeline[..., Any], identity: Identity) -> Closed | None:
    if identity.key is None or identity.fingerprint is None:
        return None
    found = closed_body(pipeline, identity.fingerprint)
    return found if isinstance(found, Closed) else None


def look_up_closed(
    store: Store, pipeline: Pipeline[..., Any], identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Passed | None:
    """What a pipeline gave, without tracing its body."""
    closed = _closed(pipeline, identity)
    if closed is None or any(map(not_for_ever, closed.steps)):
        return None
    key = closed_key(pipeline, identity, args, kwargs)
    return look_up(store, key) if key is not None else None


def look_up(store: Store, key: bytes, *, put_back: bool = True) -> Passed | None:
    """What a pipeline gave, if its entry may be used. Missing files are put back, unless one only asks."""
    for entry in store.entries(key):
        body = _body_of(entry)
        if body is None or any(epoch(store, name) != known for name, known in body["epochs"].items()):
            continue
        if not still_valid(tuple(map(tuple, body["observed"]))):
            continue
        outputs = [unpack(output, ()) for output in body["outputs"]]
        files: list[Reference] = [unpack(packed, ()) for packed in body["files"]]
        try:
            for reference in files if put_back else ():
                reference.load(store)
        except ResultGoneError:
            continue
        return Passed(key.hex(), unpack(body["result"], outputs), outputs, tuple(map(tuple, body["observed"])), files)
    return None


def not_for_ever(step: Any) -> str:
    """Why results of a step cannot be relied on for ever, here; "" if they can."""
    options = step.options
    if not options.cache:
        return f"{step.name} has cache=False: it always runs"
    if options.max_age is not None:
        return f"{step.name} has max_age: its results expire"
    return f"{step.name} has a store of its own" if options.store is not None else ""


def _body_of(entry: Entry) -> dict[str, Any] | None:
    try:
        body = decode(entry.codec, entry.head, (), allow_pickle=False)
    except MlflowishError:
        return None
    is_ours = type(body) is dict and body.get("pipeline") == VERSION and "outputs" in body
    return body if is_ours else None
