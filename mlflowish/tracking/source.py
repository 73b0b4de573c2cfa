"""Where the code of a run came from: git, the script or notebook, the command line. Slow: done in the background."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlflowish.store.masking import masked_command, without_credentials

LARGEST_TEXT_BYTES = 2 << 20
_TIMEOUT_S = 10.0
# Files that are there to hold secrets: what changed in them is nobody's business.
_NOT_SHOWN = (".env", ".env.*", "*.pem", "*.key", "*secret*", "*credential*", ".netrc", ".pypirc", "id_rsa*")
_log = logging.getLogger("mlflowish.tracking")


def describe_source(entry: Path | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Facts about the source, and texts to keep: `script`, `diff`. `entry`: as `entry_script` said at the start."""
    facts: dict[str, Any] = {"command": masked_command(getattr(sys, "orig_argv", sys.argv)), "folder": os.getcwd()}
    texts: dict[str, bytes] = {}
    if entry is not None:
        facts["entry"] = str(entry)
        try:
            texts["script"] = entry.read_bytes()[:LARGEST_TEXT_BYTES]
        except OSError as error:
            _log.info("%s cannot be read: %s", entry, error)
    elif is_notebook():
        facts["entry"] = "notebook"
    git, diff = _git(entry.parent if entry is not None else Path.cwd())
    if diff:
        texts["diff"] = diff
    return {**facts, **git}, texts


def entry_script() -> Path | None:
    """The file that the program began with; None in a notebook or an interactive session. Ask while it runs: at its end
    Python forgets it."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).resolve() if file and os.path.isfile(file) and not is_notebook() else None


def is_notebook() -> bool:
    """Does it run in IPython?"""
    return _shell() is not None


def notebook_text() -> bytes:
    """The cells that were run so far, as a script; b"" outside IPython."""
    shell = _shell()
    cells = shell.user_ns.get("In", []) if shell is not None else []
    parts = [f"# In[{number}]\n{cell}\n" for number, cell in enumerate(cells) if cell]
    return "\n".join(parts).encode("utf-8", "surrogatepass")[:LARGEST_TEXT_BYTES]


def _shell() -> Any:
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None


def _git(folder: Path) -> tuple[dict[str, Any], bytes]:
    top = _ask(folder, "rev-parse", "--show-toplevel")
    if not top:
        return {}, b""
    facts: dict[str, Any] = {"repository": top}
    if commit := _ask(folder, "rev-parse", "--verify", "--quiet", "HEAD"):
        facts["commit"] = commit
    if branch := _ask(folder, "symbolic-ref", "--quiet", "--short", "HEAD"):
        facts["branch"] = branch
    if remote := _ask(folder, "config", "--get", "remote.origin.url"):
        facts["remote"] = without_credentials(remote)
    changes = _ask(folder, "status", "--porcelain", "--untracked-files=normal")
    if changes is None:
        return facts, b""
    facts["is_dirty"] = bool(changes)
    hidden = [f":(exclude,icase,top,glob)**/{pattern}" for pattern in _NOT_SHOWN]
    diff = _ask(folder, "diff", "--no-ext-diff", "--no-color", "HEAD", "--", ":(top)", *hidden) if changes else ""
    return facts, (diff or "").encode("utf-8", "surrogateescape")[:LARGEST_TEXT_BYTES]


def _ask(folder: Path, *arguments: str) -> str | None:
    """What git answers; None if there is no git, no repository, or no answer in time."""
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.info("git gives no answer in %s: %s", folder, error)
        return None
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n") if done.returncode == 0 else None
