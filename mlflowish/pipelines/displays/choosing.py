"""Which display a run has: what the caller says, else `$MLFLOWISH_PROGRESS`, else `progress` of `[tool.mlflowish]`,
else what suits the place."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable

from mlflowish import settings
from mlflowish.errors import InvalidInputError, MlflowishError, nearest
from mlflowish.pipelines.displays.face import Face
from mlflowish.pipelines.displays.lines import Lines
from mlflowish.pipelines.displays.page import Page
from mlflowish.pipelines.displays.terminal import Terminal, is_terminal
from mlflowish.pipelines.displays.watcher import ProgressWatcher
from mlflowish.steps.frames import current_frame
from mlflowish.store import Store
from mlflowish.store.durations import past_durations

VARIABLE = "MLFLOWISH_PROGRESS"
_FACES: dict[str, Callable[[], Face]] = {"terminal": Terminal, "notebook": Page, "lines": Lines}
_ON = frozenset({"", "auto", "1", "true", "on", "yes"})
_OFF = frozenset({"off", "0", "false", "no", "none"})
_log = logging.getLogger("mlflowish.pipelines")
KINDS = ("auto", "off", *_FACES)


def progress_watcher(store: Store, wanted: bool | str | None = None) -> ProgressWatcher | None:
    """What shows the progress of a run on a store; None if nothing is to be shown.

    `wanted`: True or "auto", False or "off", "terminal", "lines", "notebook", else InvalidInputError; None leaves it to
    the settings.
    """
    if current_frame.get() is not None:
        return None  # inside a step: the pipeline around it is what is looked at
    kind = _chosen(wanted)
    if kind == "off" or sys.stderr is None:
        return None
    make = _FACES[_suitable() if kind == "auto" else kind]
    return ProgressWatcher(make, lambda steps: past_durations(store, steps))


def _chosen(wanted: bool | str | None) -> str:
    if isinstance(wanted, bool):
        return "auto" if wanted else "off"
    if wanted is not None:
        return _kind(wanted, "progress")
    given = os.environ.get(VARIABLE)
    configured = _configured(os.getcwd()) if given is None else given.strip()
    if isinstance(configured, bool):
        return "auto" if configured else "off"
    try:
        return _kind(configured, f"${VARIABLE}" if given is not None else "progress in [tool.mlflowish]")
    except InvalidInputError as error:  # a slip in the settings of a display stops no work
        _log.warning("%s", error)
        return "auto"


def _kind(text: object, where: str) -> str:
    name = text.lower() if isinstance(text, str) else ""
    if isinstance(text, str) and name in _ON:
        return "auto"
    if name in _OFF:
        return "off"
    if name not in _FACES:
        raise InvalidInputError(
            f"{where} is one of {', '.join(nearest(name, KINDS))}, found {text!r}", found=text, known=KINDS
        )
    return name


def _suitable() -> str:
    if _is_notebook():
        return "notebook"
    if os.environ.get("TERM") == "dumb" or os.environ.get("CI"):
        return "lines"
    return "terminal" if is_terminal(sys.stderr) else "lines"


def _is_notebook() -> bool:
    """Are we in a kernel, whose outputs are pages? IPython in a terminal is none."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")


@functools.lru_cache(maxsize=8)
def _configured(_folder: str) -> object:
    try:
        return settings.tool_table().get("progress", "auto")
    except MlflowishError:  # whoever opens the store is told
        return "auto"
