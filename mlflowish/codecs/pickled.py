"""Codec `pickle`: the marked last resort, for objects that only their own code can take apart and put together.

Loading executes code, so `executes_code` is set and policy may refuse. Protocol 5: large buffers lie out of band,
one part each, and leaves that other codecs store are theirs, as in `tree`; so the weights inside a model are
mapped, not copied. Classes of `__main__` and functions without a name to import are stored by value.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Sequence
from typing import Any

from mlflowish.codecs.base import Declined, Encoded, PartReader
from mlflowish.codecs.classes import ClassUnpickler, may_be_live, note_live
from mlflowish.codecs.plain import stream_of, stream_placed
from mlflowish.codecs.refusals import damaged, not_here, not_importable, refused_by_policy, unstorable
from mlflowish.codecs.streams import dump, load
from mlflowish.codecs.tree import LeafReader
from mlflowish.errors import CapabilityError, MlflowishError

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class PickleCodec:
    """Stores whatever pickles.

    The head is a plain stream of (Python version if code is stored by value, places of the buffers among the parts, the
    pickle if it is small).
    """

    name = "pickle"
    executes_code = True

    def encode(self, value: Any, *, inline_limit: int) -> Encoded:
        from mlflowish.codecs.culprit import culprit
        from mlflowish.codecs.pickling import dump_objects

        try:
            dumped = dump_objects(value, inline_limit)
        except Declined as answer:
            raise unstorable("result", str(answer)) from answer
        except RecursionError:
            raise
        except Exception as error:
            if isinstance(error, MlflowishError):
                raise
            path, reason = culprit(value, error)
            raise unstorable(path, reason) from error
        small, stream = stream_placed(dumped.sink, inline_limit)
        version = _PYTHON if dumped.holds_code else None
        head = dump((version, dumped.buffers, small)).joined()
        return Encoded(self.name, head, (*stream, *dumped.parts), executes_code=True)

    def decode(self, head: bytes, parts: Sequence[PartReader], *, allow_pickle: bool) -> Any:
        if not allow_pickle:
            raise refused_by_policy(self.name)
        version, buffers, small = _opened(load(head, codec=self.name))
        if version is not None and version != _PYTHON:
            raise not_here(self.name, f"it holds code of Python {version}, and this is Python {_PYTHON}")
        stream = stream_of(self.name, small, parts)
        rest = parts if small else parts[1:]
        if not all(0 <= place < len(rest) for place in buffers):
            raise damaged(self.name, f"it wants buffers {buffers} of {len(rest)} parts")
        leaves = LeafReader(self.name, rest, allow_pickle=allow_pickle)
        return _loaded(stream, [rest[place].buffer() for place in buffers], leaves)


def _opened(head: Any) -> tuple[str | None, tuple[int, ...], bytes]:
    match head:
        case (str() | None as version, tuple() as buffers, bytes() as small) if all(
            type(place) is int for place in buffers
        ):
            return version, buffers, small
    raise damaged("pickle", "its head is of another form")


class _Unpickler(ClassUnpickler):
    def __init__(self, stream: io.BytesIO, buffers: list[memoryview], leaves: LeafReader) -> None:
        super().__init__(stream, buffers=buffers)
        self.persistent_load = leaves.resolve  # type: ignore[method-assign]

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return super().find_class(module, name)
        except ImportError as error:
            raise not_importable("pickle", error, f"{module}.{name} is not there ({error})") from error
        except AttributeError as error:
            raise not_here("pickle", f"{module}.{name} is not there ({error})") from error


def _loaded(stream: bytes | memoryview, buffers: list[memoryview], leaves: LeafReader) -> Any:
    source = io.BytesIO(stream)
    try:
        value = _Unpickler(source, buffers, leaves).load()
    except MlflowishError:
        raise
    except (pickle.UnpicklingError, EOFError) as error:
        raise damaged("pickle", str(error)[:200]) from error
    except Exception as error:
        raise not_here("pickle", f"putting it together raised {type(error).__name__}: {str(error)[:200]}") from error
    if source.read(1):
        raise damaged("pickle", "there are bytes after the end of the value")
    return value


def main_class(name: str, signature: str, by_value: bytes | None) -> type:
    """A class that was in `__main__` when it was stored: today's, if it is still the same, else the stored one.

    So `isinstance(read_back, MyClass)` holds in the next run of the script, and elsewhere the value can be read
    without the script.
    """
    from mlflowish.codecs.signatures import class_signature

    found: Any = sys.modules.get("__main__")
    for step in name.split("."):
        found = getattr(found, step, None)
    if may_be_live() and isinstance(found, type) and class_signature(found) == signature:
        note_live()
        return found
    if by_value is None:
        raise CapabilityError(
            f"The class __main__.{name} of a stored value is not there, or has changed. Compute the value again.",
            name=name,
        )
    stored: type = ClassUnpickler(io.BytesIO(by_value)).load()
    return stored
