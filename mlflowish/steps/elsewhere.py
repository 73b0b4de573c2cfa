"""Files that are others where a call runs than where it was submitted: not there, or with other content.

A worker never computes with another file than the driver has looked at: it refuses, and the driver looks again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlflowish.errors import CapabilityError, NotFoundError
from mlflowish.steps.reference import Miss, Outcome, find_by_reference, identify_by_reference
from mlflowish.store.files import Dir, shown_path
from mlflowish.units.sequence import files_in

if TYPE_CHECKING:
    from mlflowish.steps.wrapper import Step

_TRIES = 3
_ADVICE = "Workers on other machines need URLs, or folders that all machines have under the same absolute path."


def unseen(step: str, error: NotFoundError) -> NotFoundError:
    """The error for a file that the driver has seen, and the worker that asks does not."""
    path = str(error.data.get("path", ""))
    if "://" in path:
        why = "It was deleted since, or the worker asks another server or with other credentials."
    else:
        why = f"It has vanished since, or it is on no disk that this worker has. {_ADVICE}"
    return NotFoundError(
        f"{step}: there is no {path or 'such file'} for the worker on {socket.gethostname()} (working directory: "
        f"{os.getcwd()}), and the driver has seen it. {why}",
        step=step,
        path=path,
    )


def other_files(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], token: bytes) -> list[str] | None:
    """The files of a call whose content is another one here than `token` says; None if something else differs."""
    here = identify_by_reference(step, args, kwargs)
    if not token or len(here.token) != len(token):
        return None
    differ = [value for i, value in enumerate(here.values) if here.token[1 + 16 * i :][:16] != token[1 + 16 * i :][:16]]
    files = [[value.path] if isinstance(value, Dir) else [file.path for file in files_in(value)] for value in differ]
    return [shown_path(path) for paths in files for path in paths] if files and all(files) else None


def means_other_data(step: str, key: str, here: str | None, files: list[str]) -> CapabilityError:
    """The error for a call whose files are others on a worker."""
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return CapabilityError(
        f"{step}: the content of {', '.join(files[:3])}{more} is another one for the worker on {socket.gethostname()} "
        "than for the driver. It has changed since it was submitted: call it again. Or the worker has another file "
        f"there. {_ADVICE}",
        step=step,
        wanted=key,
        found=here,
        files=files,
        is_other_data=True,
    )


def asked_again(
    step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException
) -> Outcome | Miss | None:
    """A call that a worker refused because a file was another one there: as it is now, if it has changed here as well;
    None if not, or if it was refused for something else."""
    if not isinstance(error, CapabilityError) or not error.data.get("is_other_data"):
        return None
    found = find_by_reference(step, args, kwargs)
    now = found.key if isinstance(found, Outcome) else found.identity.hex
    return None if now == error.data["wanted"] else found


def as_it_is_now(
    step: Step[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Exception,
    submit: Callable[[Miss], Any],
) -> Any:
    """The value of a call whose file changed on its way to a worker, submitted again; raises what it failed with."""
    for _ in range(_TRIES):
        found = asked_again(step, args, kwargs, error)
        if found is None:
            raise error
        if isinstance(found, Outcome):
            return found.load(step.store)
        try:
            return submit(found)
        except CapabilityError as again:
            error = again
    raise error
