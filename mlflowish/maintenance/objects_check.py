"""Objects are what their names say, and lie where they belong."""

from __future__ import annotations

import re

from mlflowish.errors import NotFoundError, StateError
from mlflowish.maintenance.aside import copy_to, is_right, put_good_copy, set_aside, set_object_aside, slabs
from mlflowish.maintenance.checking import Check
from mlflowish.storage import ObjectRef

_PATH = re.compile(r"objects/[0-9a-f]{2}/([0-9a-f]{64}(?:\.[A-Za-z0-9_-]{1,64})?)\Z")


def check_objects(check: Check, present: dict[str, int]) -> None:
    """Check every object; adds name and size of those that are right. Their number bounds the memory."""
    check.watch.begin("objects")
    for info in check.storage.list("objects"):
        match = _PATH.match(info.path)
        if match is None:
            continue  # a stray, told by its name
        ref = ObjectRef(match[1], info.size_bytes)
        check.counts["objects"] += 1
        check.counts["object_bytes"] += ref.size_bytes
        check.watch.advance()
        try:
            if _check_one(check, ref, info.path):
                present[ref.name] = ref.size_bytes
        except NotFoundError:
            continue  # collected meanwhile


def _check_one(check: Check, ref: ObjectRef, path: str) -> bool:
    """Was it found right, and where it belongs? What a repair makes of it is looked at when an entry names it."""
    right = _right(check, path, ref.digest)
    if path != ref.path:
        check.found("object-misplaced", path, f"it belongs to {ref.path}", lambda: _move(check, ref, path))
    elif not right:
        what = f"its {ref.size_bytes:,} bytes have another hash"
        check.found("object-damaged", path, what, lambda: _replace(check, ref))
    return right and path == ref.path


def _right(check: Check, path: str, digest: str) -> bool:
    if is_right(check.storage, path, digest, trusts_seals=check.is_quick):
        return True
    # Bytes can be damaged on their way: what a server sends is asked for twice before it is called damaged.
    return not check.storage.capabilities.local_paths and is_right(check.storage, path, digest, trusts_seals=False)


def _replace(check: Check, ref: ObjectRef) -> None:
    set_object_aside(check.storage, ref)
    try:
        put_good_copy(check.store, ref)
    except StateError:
        return  # the entries that name it are found, and computed again


def _move(check: Check, ref: ObjectRef, path: str) -> None:
    storage = check.storage
    if copy_to(storage, slabs(storage, path), ref.path, ref.digest):
        storage.delete(path)
    else:
        set_aside(storage, path)
