"""Who does something, as the history records it. A name, not a proof: whoever can write to the store can claim any."""

from __future__ import annotations

import getpass
import os

from mlflowish.errors import InvalidInputError

USER_VARIABLE = "MLFLOWISH_USER"


def acting(who: str | None) -> str:
    """The person that a caller names, else $MLFLOWISH_USER, else the user of this machine."""
    if who is None:
        who = os.environ.get(USER_VARIABLE) or _login()
    if not isinstance(who, str) or not who.strip() or len(who) > 200 or not who.isprintable():
        raise InvalidInputError(
            f"who= is the name of a person or service: printable text of at most 200 characters, found {who!r:.80}"
        )
    return who.strip()


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
