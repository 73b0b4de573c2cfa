"""Commands about runs: a list of them, one, several side by side, and bringing in what waits on this machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from mlflowish.cli.options import Location, json_option, look_up_options, store_options
from mlflowish.cli.printing import local, print_facts, print_json, print_table, seconds, size, utc
from mlflowish.errors import MlflowishError

if TYPE_CHECKING:
    from mlflowish.tracking import Run

_MOST_METRICS = 4
_MOST_LINES = 20
_MOST_COURSES = 40


@click.command()
@click.argument("filter_string", metavar="[FILTER]", default="")
@click.option("-e", "--experiment", multiple=True, help="Only runs of this experiment; may be given again.")
@click.option("--order-by", multiple=True, metavar="FIELD", help="For example 'metrics.loss asc'; may be given again.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@click.option("--deleted", is_flag=True, help="Deleted ones as well.")
@store_options
@json_option
def runs(
    filter_string: str,
    experiment: tuple[str, ...],
    order_by: tuple[str, ...],
    limit: int,
    deleted: bool,
    location: Location,
    as_json: bool,
) -> None:
    """Runs, the newest first. FILTER: MLflow's language, for example "metrics.loss < 0.2 and params.lr = '0.1'"."""
    from mlflowish.tracking import search_runs

    store = location.open()
    chosen: dict[str, Any] = {"experiment": experiment or None, "order_by": order_by, "limit": limit}
    found = list(search_runs(filter_string, deleted=deleted, store=store, **chosen))
    if not found:
        location.open_existing()
    if as_json:
        print_json({"store": store.url, "runs": [document(run) for run in found]})
        return
    names = _common_metrics(found)
    rows = [
        (
            run.run_id,
            run.name,
            run.experiment,
            run.status.lower(),
            local(run.start_s),
            _took(run),
            *(_number(run.record.metrics[name].value) if name in run.record.metrics else "" for name in names),
        )
        for run in found
    ]
    columns = ("id", "name", "experiment", "status", "started", "took", *names)
    print_table(f"Runs in {store.url}", columns, rows, numbers=("took", *names))


@click.command("export-runs")
@click.argument("target", metavar="FOLDER|URL")
@click.argument("filter_string", metavar="[FILTER]", default="")
@click.option("-e", "--experiment", multiple=True, help="Only runs of this experiment; may be given again.")
@click.option("--no-points", is_flag=True, help="Only the last value of each metric.")
@click.option("--deleted", is_flag=True, help="Deleted runs as well.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier export.")
@store_options
@json_option
def export_runs(
    target: str,
    filter_string: str,
    experiment: tuple[str, ...],
    no_points: bool,
    deleted: bool,
    overwrite: bool,
    location: Location,
    as_json: bool,
) -> None:
    """Write runs as Parquet files that DuckDB, R, Julia and others read: runs, params, tags, metrics, points."""
    from mlflowish.tracking import export_runs as export

    report = export(
        target,
        filter_string,
        experiment=experiment or None,
        points=not no_points,
        deleted=deleted,
        overwrite=overwrite,
        store=location.open(),
    )
    if as_json:
        print_json(report.document())
        return
    rows = [(file.name, f"{file.rows:,}", size(file.size_bytes)) for file in report.files]
    print_table(f"Exported to {report.url}", ("file", "rows", "bytes"), rows, numbers=("rows", "bytes"))


@click.command()
@click.argument("names", metavar="RUN RUN...", nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="What is equal as well.")
@look_up_options
@json_option
def compare(names: tuple[str, ...], everything: bool, location: Location, as_json: bool) -> None:
    """What differs between runs: params, metrics, tags, data, code, packages. RUN: an id, its beginning, or a name."""
    from mlflowish.tracking import Run, compare_runs, find_run

    store = location.open()
    found = [Run(store, record.run_id, record) for record in (find_run(store, name) for name in names)]
    table = compare_runs(found, everything=everything)
    headings = table.columns[2:]
    if as_json:
        rows = [
            {"kind": row["kind"], "name": row["name"], "values": [_plain(row[heading]) for heading in headings]}
            for row in table
        ]
        print_json({"store": store.url, "runs": [run.run_id for run in found], "differences": rows})
        return
    if not len(table):
        print("nothing that was logged differs")
        return
    print_table("What differs", table.columns, [tuple(_text(row[name]) for name in table.columns) for row in table])


@click.command()
@store_options
@json_option
def sync(location: Location, as_json: bool) -> None:
    """Bring what was logged on this machine, and waits here, into the store; runs of killed programs are ended."""
    from mlflowish.tracking import sync as bring_in

    store = location.open()
    report = bring_in(store)
    if as_json:
        print_json({"store": store.url, "files_moved": report.files_moved, "files_in_use": report.files_in_use})
        return
    print(f"brought in {report.files_moved} spool files; {report.files_in_use} are in use by running programs")


def show_run(run: Run, *, as_json: bool) -> None:
    """Print one run."""
    if as_json:
        print_json({"store": run.store.url, "run": document(run, whole=True)})
        return
    print_facts(_facts(run))


def document(run: Run, *, whole: bool = False) -> dict[str, Any]:
    """A run for programs; numbers that JSON has no form for are texts."""
    record = run.record
    found: dict[str, Any] = {
        "run_id": run.run_id,
        "name": record.name,
        "experiment": record.experiment,
        "status": record.status,
        "started": utc(record.start_s),
        "ended": utc(record.end_s) if record.end_s is not None else None,
        "params": dict(run.params),
        "metrics": {name: _plain(value) for name, value in run.metrics.items()},
        "tags": dict(record.tags),
        "parent_id": record.parent_id,
        "deleted": record.is_deleted,
    }
    if not whole:
        return found
    return found | {
        "reason": record.reason,
        "user": record.user,
        "host": record.host,
        "artifacts": [{"path": a.path, "object": a.ref.name, "bytes": a.size_bytes} for a in record.artifacts],
        "models": [{"name": model.name, "flavor": model.flavor} for model in run.models],
        "datasets": [{"name": d.name, "digest": d.digest, "context": d.context} for d in record.datasets],
        "hardware": {name: _plain(value) for name, value in run.hardware.items()},
        "calls": [
            {"step": call["step"], "key": call["key"], "hit": call["hit"], "status": call["status"]}
            for call in run.calls
        ],
        "code": {name: _listed(value) for name, value in run.code.items() if name not in ("texts", "refs")},
        "environment": {name: _listed(value) for name, value in run.environment.items()},
    }


def _facts(run: Run) -> list[tuple[str, str]]:
    record = run.record
    facts = [
        ("run", run.run_id),
        ("name", record.name),
        ("experiment", record.experiment),
        ("status", record.status.lower() + (f": {record.reason}" if record.reason else "")),
        ("started", f"{local(record.start_s)}{f', took {_took(run)}' if record.end_s is not None else ''}"),
        ("where", f"{record.user} on {record.host}"),
    ]
    facts += [(f"param {name}", text) for name, text in run.params.items()]
    facts += [
        (f"metric {name}", _course(run, name, value) if number < _MOST_COURSES else _number(value))
        for number, (name, value) in enumerate(sorted(run.metrics.items()))
    ]
    facts += [(f"tag {name}", text) for name, text in record.tags.items()]
    facts += [
        (f"data {d.name}", f"{d.description or d.kind}{f', for {d.context}' if d.context else ''}  ({d.digest})")
        for d in record.datasets
    ]
    facts += _limited("artifact", [(a.path, size(a.size_bytes)) for a in record.artifacts])
    facts += [(f"model {model.name}", model.flavor) for model in run.models]
    calls = list(run.calls)
    if calls:
        facts.append(("calls of steps", f"{len(calls)}, {sum(bool(call['hit']) for call in calls)} read back"))
    code = run.code
    facts += [(name, str(code[name])) for name in ("entry", "commit", "branch", "remote") if name in code]
    if "python" in run.environment:
        facts.append(("Python", f"{run.environment['python']}, {len(run.environment.get('packages', ()))} packages"))
    return facts


def _course(run: Run, name: str, value: float) -> str:
    """The last value, and the way there in block characters."""
    from mlflowish.tracking.curves import curve_of, sparktext

    try:
        line = sparktext(curve_of(name, run.metric_history(name)))
    except MlflowishError:  # the value is known, the line is not
        line = ""
    return f"{_number(value)}  {line}".rstrip()


def _limited(what: str, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    shown = [(f"{what} {name}", text) for name, text in rows[:_MOST_LINES]]
    return shown + ([(f"{what}s", f"{len(rows) - _MOST_LINES} more")] if len(rows) > _MOST_LINES else [])


def _common_metrics(found: list[Run]) -> list[str]:
    """The metrics that most of the runs have."""
    counts: dict[str, int] = {}
    for run in found:
        for name in run.record.metrics:
            counts[name] = counts.get(name, 0) + 1
    return sorted(sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_METRICS])


def _took(run: Run) -> str:
    return "" if run.duration_s is None else seconds(max(run.duration_s, 0.0))


def _number(value: float) -> str:
    return f"{value:.6g}"


def _text(value: Any) -> str:
    return "" if value is None else _number(value) if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
