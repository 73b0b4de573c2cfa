"""Why a call is a hit or a miss: what differs from the nearest call that is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflowish.hashing import digest
from mlflowish.hashing.parts import diff
from mlflowish.steps import accepting, parts
from mlflowish.steps.keys import argument_digests
from mlflowish.steps.reference import Reference, described
from mlflowish.store import Entry, Meta

if TYPE_CHECKING:
    from mlflowish.steps.identity import Identity
    from mlflowish.steps.wrapper import Step

_NEWEST = 2_000  # calls that are compared, newest first


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `kind`: argument, function, class, value, module, package, file, env, version, seed,
    opaque. `old` and `new` are
    descriptions or source texts, "" where it is absent; values whose name sounds like a secret are never shown."""

    kind: str
    name: str
    old: str
    new: str

    @property
    def diff(self) -> str:
        """Both as a unified diff."""
        import difflib

        lines = difflib.unified_diff(self.old.splitlines(), self.new.splitlines(), "stored", "now", lineterm="", n=2)
        return "\n".join(list(lines)[2:])

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}".strip()
        if not self.old:
            return f"{what} is new: {_first_line(self.new)}"
        if not self.new:
            return f"{what} is gone; it was: {_first_line(self.old)}"
        if "\n" in self.old or "\n" in self.new:
            return f"{what} changed:\n{_indented(self.diff)}"
        if self.old == self.new:
            return f"{what} differs in content: {self.new}"
        return f"{what} changed: {self.old} -> {self.new}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a call hits, and why: `differences` from the stored call nearest to it, `reason` in one sentence,
    `nearest` is that call's key."""

    step: str
    hit: bool
    reason: str
    key: str | None = None
    nearest: str | None = None
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        head = f"{self.step}: {'hit' if self.hit else 'miss'}: {self.reason}"
        return "\n".join([head, *(_indented(f"- {difference}") for difference in self.differences)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from mlflowish.store.display import badge, card, diff_html

        body = badge("hit", "good") if self.hit else badge("miss", "new")
        for difference in self.differences:
            body += diff_html(difference.old, difference.new, title=f"{difference.kind} {difference.name}")
        return card(self.step, [("why", self.reason)], body_html=body)


def explain(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Explanation:
    """Compare the call with what is stored of its step."""
    return explain_identity(step, step.identify(args, kwargs))


def explain_identity(step: Step[..., Any], identity: Identity) -> Explanation:
    """The same for a call that is identified already, some of whose arguments may be references."""
    if not step.options.cache:
        return Explanation(step.name, False, "the step has cache=False: it always runs")
    if identity.key is None:
        return Explanation(step.name, False, f"the call has no identity: {identity.reason}")
    hit = _explain_hit(step, identity)
    return hit if hit is not None else _explain_miss(step, identity)


def _explain_hit(step: Step[..., Any], identity: Identity) -> Explanation | None:
    assert identity.key is not None
    store = step.store
    direct = store.entries(identity.key)
    usable = [entry for entry in direct or accepting.entries(store, step.identifier, identity) if step.usable(entry)]
    if not usable:
        return None
    how = "same code, same arguments" if direct else "same arguments, and the code was accepted as equal in meaning"
    return Explanation(step.name, True, how, identity.hex, usable[0].key.hex())


def _explain_miss(step: Step[..., Any], identity: Identity) -> Explanation:
    assert identity.key is not None
    store = step.store
    for entry in store.entries(identity.key):
        return Explanation(step.name, False, _unusable(step, entry), identity.hex, entry.key.hex())
    calls = [call for call in store.calls(step.name) if isinstance(call, Entry)]
    if not calls:
        return Explanation(step.name, False, f"nothing of this step is stored in {store.url}", identity.hex)
    newest = sorted(calls, key=lambda call: (call.created_s, call.id), reverse=True)[:_NEWEST]
    present = _present(step, identity)
    nearest = min(newest, key=lambda call: _distance(call.meta, present))
    differences = tuple(_differences(step, identity, nearest.meta, present))
    reason = _sentence(differences)
    return Explanation(step.name, False, reason, identity.hex, nearest.key.hex(), differences)


def _unusable(step: Step[..., Any], entry: Entry) -> str:
    max_age = step.options.max_age
    import time

    if max_age is not None and time.time() - entry.created_s > max_age:
        return f"the stored result is {time.time() - entry.created_s:.3g} s old, and max_age is {max_age:g} s"
    names = ", ".join(f"{module}.{name}" for module, name, _ in entry.observed)
    return f"a function that ran when it was stored, and that the code does not show, has changed: {names}"


def _present(step: Step[..., Any], identity: Identity) -> Meta:
    values = identity.values
    if identity.token[:1] == b"S":  # plain values that rest in their entries
        values = tuple(value.load(step.store) if type(value) is Reference else value for value in values)
    digests = argument_digests(step.identifier.names, values, identity.token)
    arguments = tuple(
        (name, digest.hex(), described(name, value)) for (name, digest), value in zip(digests, values, strict=True)
    )
    assert identity.fingerprint is not None
    extras = tuple((name, digest(value).hex()) for name, value in step.identifier.extra_values())
    return Meta(step.name, identity.fingerprint.digest.hex(), arguments, extras=extras)


def _distance(stored: Meta, present: Meta) -> int:
    changed = sum(a != b for a, b in _paired(dict(_short(stored)), dict(_short(present))))
    extras = sum(a != b for a, b in _paired(dict(stored.extras), dict(present.extras)))
    # The same arguments under other code are nearer than other arguments: that edit is then the reason.
    return 2 * changed + 2 * extras + (stored.fingerprint != present.fingerprint)


def _short(meta: Meta) -> list[tuple[str, str]]:
    return [(name, digest) for name, digest, _ in meta.arguments]


def _paired(old: dict[str, str], new: dict[str, str]) -> list[tuple[str | None, str | None]]:
    return [(old.get(name), new.get(name)) for name in {**old, **new}]


def _differences(step: Step[..., Any], identity: Identity, stored: Meta, present: Meta) -> Iterable[Difference]:
    old = {name: (digest, text) for name, digest, text in stored.arguments}
    new = {name: (digest, text) for name, digest, text in present.arguments}
    for name in {**old, **new}:
        before, now = old.get(name, ("", "")), new.get(name, ("", ""))
        if before[0] != now[0]:
            yield Difference("argument", name, before[1], now[1])
    for name in {**dict(stored.extras), **dict(present.extras)}:
        kind, _, variable = name.partition(":")
        before_digest, now_digest = dict(stored.extras).get(name), dict(present.extras).get(name)
        if before_digest != now_digest:
            # Values of the environment may be secrets: only that they differ is known, and of stored ones no more.
            value = repr(step.options.version) if kind == "version" else "set"
            yield Difference(kind, variable, "another" if before_digest else "", value if now_digest else "")
    if stored.fingerprint != present.fingerprint:
        yield from _code_differences(step, identity, stored)


def _code_differences(step: Step[..., Any], identity: Identity, stored: Meta) -> Iterable[Difference]:
    before = parts.recall(step.store, bytes.fromhex(stored.fingerprint))
    assert identity.fingerprint is not None
    if before is None:
        yield Difference("function", step.name, "(its source was not kept)", "(see the function)")
        return
    recorded = [(part.label, part.kind, part.digest, part.description) for part in before]
    for change in diff(recorded, [part.recorded() for part in identity.fingerprint.parts]):
        # Names and places are not part of a fingerprint, and a declared variable of the environment was named above.
        if change.change != "renamed":
            yield Difference(change.kind, change.label, change.old, change.new)


def _sentence(differences: tuple[Difference, ...]) -> str:
    names = [f"{difference.kind} {difference.name}".strip() for difference in differences]
    if not names:
        return "the code was arranged differently when the nearest call was stored"
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"differs from the nearest stored call in {shown}"


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
