"""The code of a fingerprint, kept in the store so that it can be run again: the modules of the project that the step
reaches, as they were, and a page of what stands in none.

Once for each fingerprint and store, at its first result; a module is kept once for each state of its text. Texts that
are assigned to names of secrets are left out.
"""

from __future__ import annotations

import logging
import re
import sys
import types
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack
from blake3 import blake3

from mlflowish.errors import IntegrityError
from mlflowish.hashing import Fingerprint
from mlflowish.hashing.imports import closed, text_of
from mlflowish.steps.page import Page, home_of, innermost
from mlflowish.store import Store
from mlflowish.store.masking import is_secret

KIND = "code"
_CODE, _TEXT = b"\x01", b"\x02"  # how payloads begin: one kind of records costs a bucket two listings less than two
HIDDEN = "<hidden>"
_MOST_MODULES = 2000
_log = logging.getLogger("mlflowish.steps")
# `name = "text"`, `name: str = 'text'`, `"name": "text"`.
_ASSIGNED = re.compile(
    r"""(?P<name>[A-Za-z_]\w*)(?P<between>["']?\s*(?::\s*[\w.]+\s*)?[=:]\s*)"""
    r"""(?P<prefix>[rbuRBU]{0,2})(?P<quote>["'])(?:\\.|(?!(?P=quote))[^\\\n])+(?P=quote)"""
)

_PASSWORD = re.compile(r"(?<=://)[^/\s:@'\"{}]+:[^/\s@'\"{}]+(?=@)")


@dataclass(frozen=True, slots=True)
class KeptCode:
    """What is kept of the code of a step. `module` and `name` are where it stands: on the page if `module` is empty.
    `modules`: digest of the text by name; `packages`: those of them that are packages. `missing`: names that the page
    lacks, and why; under "" why there is nothing to run at all."""

    module: str
    name: str
    page: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    seed: bool = False

    def packed(self) -> bytes:
        """The payload of its record: zlib of a msgpack array in field order, so that fields can be added at its end."""
        values = [getattr(self, name) for name in _FIELDS]
        return _CODE + zlib.compress(bytes(msgpack.packb(values, unicode_errors="surrogatepass")))

    @classmethod
    def unpacked(cls, payload: bytes) -> KeptCode:
        """The record; IntegrityError if nobody of ours can have written it."""
        try:
            values = msgpack.unpackb(zlib.decompress(payload[1:]), use_list=False, unicode_errors="surrogatepass")
            found = cls(**dict(zip(_FIELDS, values, strict=False)))
            texts = (found.module, found.name, found.page, *found.modules, *found.modules.values(), *found.packages)
        except (ValueError, TypeError, AttributeError, zlib.error) as error:
            raise IntegrityError(f"a record of the code of a step cannot be parsed: {error}") from error
        if any(type(text) is not str for text in texts) or not all(map(_is_module_name, found.modules)):
            raise IntegrityError("a record of the code of a step says something that makes no sense")
        return found


_FIELDS = tuple(KeptCode.__dataclass_fields__)


def keep(store: Store, step: Any, fingerprint: Fingerprint) -> None:
    """Keep the code that a step has now, unless the store has it. Never raises: the result is worth more."""
    try:
        journals = store.journals(KIND)
        if not journals.get(fingerprint.digest):
            found, texts = collected(step, fingerprint)
            for digest, text in texts.items():
                if not journals.get(digest):
                    journals.append(digest, _TEXT + zlib.compress(text))
            journals.append(fingerprint.digest, found.packed())
    except Exception as error:  # noqa: BLE001  whatever the user's objects do when they are looked at
        _log.info("%s: its code was not kept, so it cannot be run again: %s", step.name, error)


def recall(store: Store, digest: bytes) -> KeptCode | None:
    """What is kept of the code with this fingerprint."""
    for payload in store.journals(KIND).get(digest):
        if payload[:1] == _CODE:
            return KeptCode.unpacked(payload)
    return None


def source_text(store: Store, digest: str) -> str:
    """The text of a module; IntegrityError if it is not there or not what its digest says."""
    for payload in store.journals(KIND).get(bytes.fromhex(digest)):
        if payload[:1] == _TEXT:
            return _text_of(bytes.fromhex(digest), payload).decode("utf-8", "surrogatepass")
    raise IntegrityError(f"the source text {digest} is not in the store")


def fault(key: bytes, payload: bytes) -> str:
    """What keeps a record of this kind from being read; '' if nothing does, or it is none that this version knows."""
    try:
        if payload[:1] == _CODE:
            KeptCode.unpacked(payload)
        elif payload[:1] == _TEXT:
            _text_of(key, payload)
    except IntegrityError as error:
        return str(error)
    return ""


def _text_of(digest: bytes, payload: bytes) -> bytes:
    try:
        text = zlib.decompress(payload[1:])
    except zlib.error as error:
        raise IntegrityError(f"the source text {digest.hex()} cannot be unpacked: {error}") from error
    if text_digest(text) != digest:
        raise IntegrityError(f"the source text {digest.hex()} is not what its digest says")
    return text


def collected(step: Any, fingerprint: Fingerprint) -> tuple[KeptCode, dict[bytes, bytes]]:
    """What is to be kept of the code of a step, and the texts by their digests."""
    page, missing = Page(), dict[str, str]()
    place = home_of(step.fn)
    modules: dict[str, types.ModuleType] = {}
    if place is None:
        function = innermost(step.fn)
        if not isinstance(function, types.FunctionType):
            missing[""] = f"it is {type(step.fn).__qualname__} and no function with a name"
            return KeptCode("", "", missing=missing), {}
        place = "", page.write(function, step=step)
        modules |= page.modules
        missing |= page.missing
    else:
        modules[place[0]] = sys.modules[place[0]]
    texts = {name: text for name, module in closed(modules).items() if (text := text_of(module)) is not None}
    if len(texts) > _MOST_MODULES:
        missing[""] = f"it reaches {len(texts):,} modules, more than the {_MOST_MODULES:,} that are kept"
        texts = {}
    packages = tuple(name for name in texts if hasattr(sys.modules[name], "__path__"))
    raw = {name: without_secrets(text).encode("utf-8", "surrogatepass") for name, text in texts.items()}
    digests = {name: text_digest(text) for name, text in raw.items()}
    kept = KeptCode(
        *place,
        without_secrets(page.text()) if not place[0] else "",
        {name: digest.hex() for name, digest in digests.items()},
        packages,
        missing,
        step.options.seed,
    )
    return kept, {digests[name]: text for name, text in raw.items()}


def without_secrets(text: str) -> str:
    """Source without the texts that are assigned to names of secrets, and without credentials in URLs."""

    def hidden(match: re.Match[str]) -> str:
        if not is_secret(match["name"]):
            return match[0]
        quote = match["quote"]
        return f"{match['name']}{match['between']}{match['prefix']}{quote}{HIDDEN}{quote}"

    return _PASSWORD.sub(HIDDEN, _ASSIGNED.sub(hidden, text))


def _is_module_name(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def text_digest(text: bytes) -> bytes:
    """What a source text is kept under."""
    return bytes(blake3(b"mlf1.source\0" + text).digest(length=16))
