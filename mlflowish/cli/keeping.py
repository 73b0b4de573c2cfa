"""Commands that keep a store in order: what fills it, what can go, whether it is sound."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.options import Location, json_option, store_options
from mlflowish.cli.printing import print_facts, print_json, print_table, size

if TYPE_CHECKING:
    from mlflowish.maintenance.checking import Watch
    from mlflowish.maintenance.findings import FsckReport

UNSOUND = 3
_MOST_ROWS = 200


@click.command()
@store_options
@json_option
def du(location: Location, as_json: bool) -> None:
    """What fills a store: bytes by kind, by step and by model, and what gc could free."""
    from mlflowish.maintenance import du as measure

    found = measure(location.open_existing())
    if as_json:
        print_json(found.document())
        return
    kinds = [(row["kind"], f"{row['files']:,}", size(row["bytes"])) for row in found.to_table()]
    print_table(
        f"{found.store}: {size(found.size_bytes)}", ("kind", "files", "bytes"), kinds, numbers=("files", "bytes")
    )
    columns = ("of", "name", "results", "in records", "own objects", "shared objects")
    rows = [
        (o.kind, o.name, f"{o.count:,}", size(o.inline_bytes), size(o.own_bytes), size(o.shared_bytes))
        for o in found.owners
    ]
    print_table("By step and model", columns, rows, numbers=columns[2:])
    print_facts([("reached by nothing", f"{found.unreached_count:,} objects, {size(found.unreached_bytes)}")])


@click.command()
@click.option("--delete", "--yes", "delete", is_flag=True, help="Do it. Without this it only says what would go.")
@click.option("--older-than", metavar="AGE", help="Let results go that were stored longer ago: 30d, 12h, 90min.")
@click.option("--max-size", metavar="SIZE", help="Let the oldest results go until the rest fits: 10GB, 500MB.")
@click.option("--keep-last", type=click.IntRange(min=0), metavar="N", help="Keep the N newest results of each step.")
@click.option("--purge-deleted", metavar="AGE", help="Purge model versions that were deleted longer ago: 90d.")
@click.option("--grace", metavar="AGE", default="1h", show_default=True, help="Touch nothing younger.")
@store_options
@json_option
def gc(
    delete: bool,
    older_than: str | None,
    max_size: str | None,
    keep_last: int | None,
    purge_deleted: str | None,
    grace: str,
    location: Location,
    as_json: bool,
) -> None:
    """Delete what nothing reaches, and results that a policy lets go. Says what would go, until --delete is given."""
    from mlflowish.maintenance import gc as collect

    with _watching() as watch:
        report = collect(
            location.open_existing(),
            dry_run=not delete,
            older_than=older_than,
            max_size=max_size,
            keep_last=keep_last,
            purge_deleted=purge_deleted,
            grace=grace,
            watch=watch,
        )
    if as_json:
        print_json(report.document())
        return
    rows = [(row["what"], f"{row['count']:,}", size(row["bytes"])) for row in report.to_table()]
    print_table("Would go" if report.dry_run else "Gone", ("what", "count", "bytes"), rows, numbers=("count", "bytes"))
    print_facts([("gc", str(report)), *([("", "nothing was changed; --delete does it")] if report.dry_run else [])])


@click.command()
@click.option("--delete", "--yes", "delete", is_flag=True, help="Do it. Without this it only says what would happen.")
@click.option("--older-than", metavar="AGE", help="Delete runs that ended longer ago: 90d, 12h.")
@click.option("-e", "--experiment", multiple=True, help="Only runs of this experiment; may be given again.")
@click.option("--keep-last", type=click.IntRange(min=0), metavar="N", help="Keep the N newest of each experiment.")
@click.option("--keep-best", type=click.IntRange(min=0), metavar="N", help="Keep the N best of each, by --by.")
@click.option("--by", metavar="ORDER", help="What makes a run good: 'metrics.loss asc'.")
@click.option("--purge-after", metavar="AGE", help="Purge for good what has been deleted for longer.")
@click.option("--console-after", metavar="AGE", help="Let text go that older runs printed.")
@click.option("--hardware-after", metavar="AGE", help="Let series of the machine go that older runs have.")
@click.option("--grace", metavar="AGE", default="1h", show_default=True, help="Touch nothing younger.")
@store_options
@json_option
def retain(delete: bool, experiment: tuple[str, ...], location: Location, as_json: bool, **policy: Any) -> None:
    """Let runs go by policy. Says what would happen, until --delete is given."""
    from mlflowish.maintenance import retain as let_go
    from mlflowish.tracking.inflight import in_flight

    store = location.open()
    if not in_flight(store).run_ids():  # what waits on this machine is something to look at
        store = location.open_existing()
    with _watching() as watch:
        report = let_go(store, dry_run=not delete, experiment=experiment or None, watch=watch, **policy)
    if as_json:
        print_json(report.document())
        return
    rows = [(v.action, v.run_id, v.name, v.experiment, v.why) for v in report.verdicts[:_MOST_ROWS]]
    title = "Would happen" if report.dry_run else "Done"
    if rows:
        print_table(title, ("what", "run", "name", "experiment", "why"), rows)
    print_facts([("retain", str(report)), *([("", "nothing was changed; --delete does it")] if report.dry_run else [])])


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended; nothing good is thrown away.")
@click.option("--quick", is_flag=True, help="Take sealed files, and objects of buckets, at their word.")
@store_options
@json_option
def fsck(repair: bool, quick: bool, location: Location, as_json: bool) -> None:
    """Check everything in a store. Ends with 3 if something is wrong (and was not repaired)."""
    from mlflowish.maintenance import fsck as check

    with _watching() as watch:
        report = check(location.open(), repair=repair, quick=quick, watch=watch)
    if as_json:
        print_json(report.document())
    else:
        _print_report(report)
    if not report.is_sound:
        raise click.exceptions.Exit(UNSOUND)


def _print_report(report: FsckReport) -> None:
    rows = [
        (f.severity, f.code, f.path, f.what, "repaired" if f.is_repaired else f.hindrance or f.repair)
        for f in report.findings[:_MOST_ROWS]
    ]
    if rows:
        print_table("Findings", ("severity", "code", "where", "what", "repair"), rows)
    print_facts([("fsck", str(report))])


@contextmanager
def _watching() -> Iterator[Watch | None]:
    """Bars on standard error while it is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bars(progress)


class _Bars:
    """Shows how far a run is."""

    def __init__(self, progress: object) -> None:
        from rich.progress import Progress

        assert isinstance(progress, Progress)
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def begin(self, what: str, total: int | None = None) -> None:
        self._progress.reset(self._task, description=what, total=total)

    def advance(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)
