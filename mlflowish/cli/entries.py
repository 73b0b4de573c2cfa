"""Commands about stored calls: the steps they are of, one of them, and dropping them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.options import Location, json_option, look_up_options, store_options
from mlflowish.cli.printing import local, print_facts, print_json, print_table, seconds, size, utc
from mlflowish.errors import InvalidInputError, NotFoundError, nearest

if TYPE_CHECKING:
    from mlflowish.store import Entry, Event, Store
    from mlflowish.tracking import Run

_SHORTEST_PREFIX = 4


@dataclass(slots=True)
class StepSummary:
    """What is stored of one step; times in seconds, `last_s` since 1970."""

    step: str
    calls: int = 0
    results: int = 0
    uncached: int = 0
    failed: int = 0
    last_s: float = 0.0
    total_s: float = 0.0
    keys: set[bytes] = field(default_factory=set)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "step": self.step,
            "calls": self.calls,
            "results": len(self.keys),
            "uncached": self.uncached,
            "failed": self.failed,
            "last": utc(self.last_s),
            "total_seconds": self.total_s,
        }


@click.command()
@store_options
@json_option
def steps(location: Location, as_json: bool) -> None:
    """The steps in a store: how often each one ran, when last, for how long, and how many results are kept."""
    store = location.open()
    found = _summaries(store)
    if not found:
        location.open_existing()
    if as_json:
        print_json({"store": store.url, "steps": [summary.document() for summary in found]})
        return
    rows = [
        (s.step, str(s.calls), str(len(s.keys)), str(s.uncached), str(s.failed), local(s.last_s), seconds(s.total_s))
        for s in found
    ]
    columns = ("step", "ran", "results kept", "not cached", "failed", "last", "total time")
    print_table(f"Steps in {store.url}", columns, rows, numbers=(*columns[1:5], "total time"))


@click.command()
@click.argument("key", metavar="RUN|KEY")
@look_up_options
@json_option
def show(key: str, location: Location, as_json: bool) -> None:
    """One run, or one stored call. RUN: an id or name. KEY: as `Call.key` has it. The first digits of either do."""
    from mlflowish.cli.runs import show_run

    store = location.open()
    run = run_named(store, key)
    if run is not None:
        show_run(run, as_json=as_json)
        return
    found = by_prefix(store, key)
    if as_json:
        print_json({"store": store.url, "calls": [_document(call) for call in found]})
        return
    for call in found:
        print_facts(_facts(call))


def run_named(store: Store, text: str) -> Run | None:
    """The run with this id or name, or of which these are the first digits; None if it may be the key of a call, else
    NotFoundError."""
    from mlflowish.tracking import Run, find_run

    try:
        record = find_run(store, text)
    except NotFoundError as error:
        if re.fullmatch(f"[0-9a-f]{{{_SHORTEST_PREFIX},32}}", text.lower()) is not None:
            return None
        message = f"{error.message}; a call is named by {_SHORTEST_PREFIX} to 32 hex digits of its key"
        raise NotFoundError(message, **error.data) from None
    return Run(store, record.run_id, record)


@click.command()
@click.argument("name", metavar="STEP|KEY")
@click.option("--yes", is_flag=True, help="Do not ask.")
@look_up_options
@json_option
def forget(name: str, yes: bool, location: Location, as_json: bool) -> None:
    """Drop stored results: all of a STEP (its name as `mlflowish steps` prints it), or the one of a KEY.

    What is dropped is computed again when it is next called.
    """
    from mlflowish.store import Entry

    store = location.open()
    named = [call for call in store.calls(name) if call.meta.step == name]
    found = named or by_prefix(store, name, or_step=True)
    entries = [call for call in found if isinstance(call, Entry)]
    if entries and not yes:
        click.confirm(
            f"Drop {len(entries)} stored results of {entries[0].meta.step} in {store.url}?", abort=True, err=True
        )
    by_step: dict[str, dict[bytes, list[bytes]]] = {}
    for entry in entries:
        by_step.setdefault(entry.meta.step, {}).setdefault(entry.key, []).append(entry.id)
    for step, ids in by_step.items():
        store.forget_all(ids, step=step)
    store.flush()
    if as_json:
        print_json({"store": store.url, "dropped": len(entries)})
    else:
        print(f"dropped {len(entries)} results")


def _summaries(store: Store) -> list[StepSummary]:
    """Reads every record once; the step that took longest comes first."""
    from mlflowish.store import Entry

    found: dict[str, StepSummary] = {}
    for call in store.calls():
        meta = call.meta
        summary = found.setdefault(meta.step, StepSummary(meta.step))
        summary.calls += 1
        summary.total_s += meta.duration_s
        summary.last_s = max(summary.last_s, call.created_s)
        if isinstance(call, Entry):
            summary.keys.add(call.key)
        elif meta.status == "failed":
            summary.failed += 1
        else:
            summary.uncached += 1
    return sorted(found.values(), key=lambda summary: (-summary.total_s, summary.step))


def by_prefix(store: Store, prefix: str, *, or_step: bool = False) -> list[Entry | Event]:
    """Every call under the one key that begins so, newest first."""
    wanted = prefix.lower()
    is_key = re.fullmatch(f"[0-9a-f]{{{_SHORTEST_PREFIX},32}}", wanted) is not None
    if not is_key and not or_step:
        raise InvalidInputError(f"A key is {_SHORTEST_PREFIX} to 32 hex digits, found {prefix!r}", found=prefix)
    calls = list(store.calls())
    found = [call for call in calls if is_key and call.key.hex().startswith(wanted)]
    keys = sorted({call.key.hex() for call in found})
    if not keys:
        known = sorted({call.meta.step for call in calls}) if or_step else []
        hint = f"; the steps there are {', '.join(nearest(prefix, known))}" if known else ""
        what = "step or key" if or_step else "call with a key that begins with"
        raise NotFoundError(f"There is no {what} {prefix} in {store.url}{hint}", key=prefix, url=store.url)
    if len(keys) > 1:
        raise InvalidInputError(
            f"{len(keys)} keys begin with {prefix}: {', '.join(keys[:5])}. Give more digits.", found=prefix, keys=keys
        )
    return sorted(found, key=lambda call: (call.created_s, call.id), reverse=True)


def _document(call: Entry | Event) -> dict[str, Any]:
    from mlflowish.store import Entry

    meta = call.meta
    document = {
        "key": call.key.hex(),
        "step": meta.step,
        "status": meta.status,
        "time": utc(call.created_s),
        "duration_seconds": meta.duration_s,
        "fingerprint": meta.fingerprint,
        "arguments": [{"name": n, "digest": digest, "value": shown} for n, digest, shown in meta.arguments],
        "output": {"digest": meta.output, "value": meta.output_description},
        "reason": meta.reason,
        "parent": meta.parent,
        "children": list(meta.children),
        "run": meta.run_id,
        "host": meta.host,
        "pid": meta.pid,
        "python": meta.python,
    }
    if isinstance(call, Entry):
        objects = [{"name": ref.name, "bytes": ref.size_bytes} for ref in call.objects]
        document |= {
            "codec": call.codec,
            "executes_code": call.executes_code,
            "inline_bytes": len(call.head),
            "objects": objects,
        }
    return document


def _facts(call: Entry | Event) -> list[tuple[str, str]]:
    from mlflowish.store import Entry

    meta = call.meta
    facts = [
        ("key", call.key.hex()),
        ("step", meta.step),
        ("status", meta.status + (f": {meta.reason}" if meta.reason else "")),
        ("time", f"{local(call.created_s)}, took {seconds(meta.duration_s)}"),
        ("where", f"{meta.host}, process {meta.pid}, Python {meta.python}"),
        ("code", meta.fingerprint),
    ]
    facts += [(f"argument {name}", f"{shown}  ({digest})") for name, digest, shown in meta.arguments]
    if isinstance(call, Entry):
        facts.append(("result", f"{meta.output_description}  ({meta.output})"))
        stored = size(len(call.head) + sum(ref.size_bytes for ref in call.objects))
        pickled = ", holds a pickle: loading it runs code" if call.executes_code else ""
        facts.append(("stored as", f"{call.codec}, {stored} in {len(call.objects)} objects{pickled}"))
    if meta.parent:
        facts.append(("called by", meta.parent))
    if meta.run_id:
        facts.append(("run", meta.run_id))
    facts += [("called", child) for child in meta.children]
    return facts
