"""Commands about a whole store: what it holds, and tidying it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.options import Location, json_option, store_options
from mlflowish.cli.printing import print_facts, print_json, size

if TYPE_CHECKING:
    from mlflowish.store import Store


@click.command()
@store_options
@json_option
def status(location: Location, as_json: bool) -> None:
    """What a store holds: results, steps, files and bytes."""
    store = location.open()
    found = _status(store)
    if as_json:
        print_json(found)
        return
    if found["format"] is None:
        print_facts([("store", found["store"]), ("state", "nothing is stored there yet")])
        return
    print_facts(
        [
            ("store", found["store"]),
            ("format", str(found["format"])),
            ("results", f"{found['results']:,} of {found['steps']:,} steps"),
            ("other calls", f"{found['uncached']:,} not cached, {found['failed']:,} failed"),
            ("files", f"{found['files']:,}, {size(found['bytes'])}"),
        ]
    )


@click.command()
@store_options
@json_option
def compact(location: Location, as_json: bool) -> None:
    """Merge the journals of a store into few files. It also happens by itself; nothing is lost."""
    store = location.open_existing()
    before = _space(store)
    if _format(store) is not None:
        store.compact()
    after = _space(store)
    if as_json:
        print_json({"store": store.url, "before": before, "after": after})
    else:
        print_facts(
            [
                ("store", store.url),
                ("files", f"{before['files']:,} -> {after['files']:,}"),
                ("bytes", f"{size(before['bytes'])} -> {size(after['bytes'])}"),
            ]
        )


def _status(store: Store) -> dict[str, Any]:
    """Reads every record once: seconds for a million of them."""
    from mlflowish.store import Entry

    version = _format(store)
    names: set[str] = set()
    counts = {"results": 0, "uncached": 0, "failed": 0}
    if version is not None:
        for call in store.calls():
            meta = call.meta
            names.add(meta.step)
            counts["results" if isinstance(call, Entry) else meta.status] += 1
    return {"store": store.url, "format": version, "steps": len(names), **counts, **_space(store)}


def _format(store: Store) -> int | None:
    from mlflowish.store.layout import read_layout

    layout = read_layout(store.storage)
    return None if layout is None else layout.version


def _space(store: Store) -> dict[str, int]:
    sizes = [info.size_bytes for info in store.storage.list("")]
    return {"files": len(sizes), "bytes": sum(sizes)}
