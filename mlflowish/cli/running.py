"""`mlflowish run`: a pipeline, or a step, with parameters from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mlflowish.cli.explain import document as explained
from mlflowish.cli.explain import is_file_module, load_module
from mlflowish.cli.options import Location, json_option, store_options
from mlflowish.cli.parameters import values_for
from mlflowish.cli.printing import print_facts, print_json, seconds
from mlflowish.errors import InvalidInputError, NotFoundError, StepError, nearest

if TYPE_CHECKING:
    from mlflowish.executors import Executor
    from mlflowish.pipelines import Pipeline
    from mlflowish.pipelines.graph import PipelineGraph
    from mlflowish.steps import Step

_GRAPHS = ("tree", "mermaid", "dot", "svg")
_LONGEST = 2_000
_OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be done, and how it is told."""

    plan: bool
    graph: str | None
    as_json: bool


@click.command("run")
@click.argument("target", metavar="MODULE[:NAME]")
@click.option("-P", "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter; checked by its hint.")
@click.option("--plan", is_flag=True, help="Say what would run, and why; run nothing.")
@click.option("--graph", type=click.Choice(_GRAPHS), help="Print the graph with what is stored; run nothing.")
@click.option("--executor", "kind", metavar="KIND", help="serial, threads, processes, or tcp://HOST:PORT of Dask.")
@click.option("--workers", type=click.IntRange(min=1), help="How many calls at a time.")
@click.option(
    "--progress/--no-progress", default=None, help="Show how far it is, on standard error. [default: the settings]"
)
@store_options
@json_option
@click.pass_context
def run_target(
    context: click.Context,
    target: str,
    pairs: tuple[str, ...],
    plan: bool,
    graph: str | None,
    kind: str | None,
    workers: int | None,
    progress: bool | None,
    location: Location,
    as_json: bool,
) -> None:
    """Run a pipeline, or a step. Only what is stale is computed; running it again goes on after a failure.

    MODULE is importable from this folder (pkg.mod) or a file (train.py). NAME may be left out where there is only one
    pipeline. Values of parameters are read by their hints: int, float, bool, str, Path, Literal, Enum, lists (1,2,3)
    and more. Exit code 1 if something failed, 2 if it cannot be meant.
    """
    wish = _Wish(plan, graph, as_json)
    started = time.perf_counter()
    # What the user's code prints stands on standard error, where standard output is for a document.
    with contextlib.redirect_stdout(sys.stderr) if as_json else nullcontext():
        found = _found(target)
        if context.meta.get("mlflowish.store") or location.options:
            _use(location)
        if kind is not None and "://" in kind:
            _send_code_of(found)
        args, kwargs = values_for(found.fn, pairs, target)
        failed: StepError | None = None
        try:
            with _executor(kind, workers) as executor:
                if _is_pipeline(found):
                    document = _pipeline(found, args, kwargs, executor, progress, wish)
                else:
                    document = _step(found, args, kwargs, executor, wish)
        except StepError as error:
            document, failed = _failure(found, error, time.perf_counter() - started), error
    if failed is None:
        _tell(document, wish)
        return
    if as_json:
        print_json(document)
    raise failed


# -- what is meant -----------------------------------------------------------------------------------


def _found(target: str) -> Any:
    from mlflowish.pipelines import Pipeline
    from mlflowish.steps import Step

    module_name, colon, path = target.rpartition(":")
    if not colon or path.startswith(("\\", "/")) or not path:
        module_name, path = target.rstrip(":"), ""
    try:
        module = load_module(module_name)
    except NotFoundError as error:
        raise click.UsageError(error.message) from error
    except InvalidInputError as error:
        _no_such_module(module_name, error)
    known = {name: value for name, value in vars(module).items() if isinstance(value, (Pipeline, Step))}
    if not path:
        pipelines = [name for name, value in known.items() if isinstance(value, Pipeline)]
        if len(pipelines) == 1:
            return known[pipelines[0]]
        names = ", ".join(f"{module_name}:{name}" for name in pipelines or known) or "no pipelines and no steps"
        raise click.UsageError(f"Which one of {module_name}? It has {names}")
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    if isinstance(found, (Pipeline, Step)):
        return found
    what = f"There is no {path} in {module_name}" if found is None else f"{target} is a {type(found).__name__}"
    there = f"it has {', '.join(nearest(path, known))}" if known else "it has no pipelines and no steps"
    raise click.UsageError(f"{what}; {there}")


def _no_such_module(name: str, error: InvalidInputError) -> NoReturn:
    """The command line is wrong if there is no such module; what importing it raises is an error of its code."""
    cause = error.__cause__
    if isinstance(cause, ModuleNotFoundError) and name.startswith(cause.name or "\0"):
        raise click.UsageError(
            f"There is no module {name} to be seen from here; a file is written {name}.py"
        ) from error
    if cause is not None:
        _print_traceback(cause)
    raise error


def _is_pipeline(found: Any) -> bool:
    from mlflowish.pipelines import Pipeline

    return isinstance(found, Pipeline)


def _use(location: Location) -> None:
    from mlflowish.store import use

    use(location.url, **location.options)


def _send_code_of(found: Any) -> None:
    """Workers on other machines do not have the file that was named: its code goes to them as a script's does."""
    import cloudpickle

    module = sys.modules.get(found.fn.__module__)
    if module is not None and is_file_module(module):
        cloudpickle.register_pickle_by_value(module)


@contextlib.contextmanager
def _executor(kind: str | None, workers: int | None) -> Iterator[Executor | None]:
    """The executor of the command line, until the end of the block; None if it names none."""
    from mlflowish.executors import executor

    if kind is None and workers is None:
        yield None
        return
    try:
        handle = executor(kind or "threads", workers=workers)
    except InvalidInputError as error:
        raise click.UsageError(error.message) from error
    with handle as made:
        yield made


# -- what is done ------------------------------------------------------------------------------------


def _pipeline(
    pipeline: Pipeline[..., Any],
    args: list[Any],
    kwargs: dict[str, Any],
    executor: Executor | None,
    progress: bool | None,
    wish: _Wish,
) -> dict[str, Any]:
    if wish.plan or wish.graph:
        plan = pipeline.plan(*args, **kwargs)
        if wish.graph:
            return {"pipeline": pipeline.name, "graph": _drawn(plan.graph, wish.graph)}
        nodes = [_planned(node) for node in plan.nodes]
        counts = plan.counts()
        return {"pipeline": pipeline.name, "counts": counts, "whole_hit": plan.is_whole_hit, "nodes": nodes, "_": plan}
    started = time.perf_counter()
    run = pipeline.run(*args, executor=executor, progress=progress, **kwargs)
    return {
        "pipeline": pipeline.name,
        "run_id": run.run_id,
        "status": run.ending.status,
        "counts": run.counts,
        "whole_hit": run.is_whole_hit,
        "seconds": time.perf_counter() - started,
        **_result(run.result),
    }


def _step(
    step: Step[..., Any], args: list[Any], kwargs: dict[str, Any], executor: Executor | None, wish: _Wish
) -> dict[str, Any]:
    explanation = step.explain(*args, **kwargs)
    if wish.graph:
        return {"step": step.name, "graph": _drawn(_graph_of(step, explanation.hit), wish.graph)}
    if wish.plan:
        return {**explained(explanation), "_": explanation}
    started = time.perf_counter()
    value = step.submit(*args, **kwargs).result() if executor is not None else step(*args, **kwargs)
    took = time.perf_counter() - started
    return {"step": step.name, "hit": explanation.hit, "seconds": took, **_result(value)}


def _graph_of(step: Step[..., Any], hit: bool) -> PipelineGraph:
    from mlflowish.pipelines.graph import PipelineGraph

    graph = PipelineGraph(pipeline=step.name)
    graph.add_node(0, step=step.name, label=step.name.rpartition(".")[2], state="hit" if hit else "run")
    return graph


def _drawn(graph: PipelineGraph, form: str) -> str:
    return str(getattr(graph, f"to_{form}")())


def _planned(node: Any) -> dict[str, Any]:
    return {
        "index": node.index,
        "label": node.label,
        "step": node.step,
        "state": node.state,
        "why": node.why,
        "needs": list(node.needs),
        "seconds": node.duration_s,
        "key": node.key,
        "file": node.file,
        "line": node.line,
    }


def _result(value: Any) -> dict[str, Any]:
    """The result for a document: as it is if JSON has it, and as text."""
    text = repr(value)
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        plain = None
    return {"result": plain, "result_text": shown}


# -- what is said ------------------------------------------------------------------------------------


def _tell(document: dict[str, Any], wish: _Wish) -> None:
    shown = document.pop("_", None)
    if wish.as_json:
        print_json(document)
    elif "graph" in document:
        print(document["graph"], end="" if document["graph"].endswith("\n") else "\n")
    elif shown is not None:
        print(shown)
    else:
        print_facts(_facts(document))


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    from mlflowish.pipelines.marks import counted

    facts = [("result", document["result_text"])]
    if "step" in document:
        facts.append(("call", "read back" if document["hit"] else "computed"))
    else:
        whole = "all of it was read back at once" if document["whole_hit"] else counted(document["counts"])
        facts += [("calls", whole), ("run", document["run_id"])]
    return [*facts, ("took", seconds(document["seconds"]))]


def _failure(found: Any, error: StepError, took: float) -> dict[str, Any]:
    """The document for what failed; where it was raised is told on standard error."""
    failures = error.data.get("failures", ())
    if cause := (failures[0].error if failures else error.__cause__):
        _print_traceback(cause)
    return {
        "pipeline" if _is_pipeline(found) else "step": found.name,
        "run_id": error.data.get("run_id"),
        "status": "FAILED",
        "seconds": took,
        "failures": [
            {
                "label": each.label,
                "step": each.step,
                "file": each.file,
                "line": each.line,
                "error": f"{type(each.error).__name__}: {each.error}",
            }
            for each in failures
        ],
    }


def _print_traceback(error: BaseException) -> None:
    """Where the user's code raised it; our own frames say nothing."""
    report = traceback.TracebackException.from_exception(error)
    kept = [frame for frame in report.stack if not frame.filename.startswith(_OURS)]
    if kept:
        report.stack = traceback.StackSummary.from_list(kept)
    print("".join(report.format()), end="", file=sys.stderr)
