"""Who does something, as the history records it. A name, not a proof: whoever can write to the store can claim any."""

from __future__ import annotations

import getpass
import os
from functools import lru_cache

from mlflowish.errors import InvalidInputError

USER_VARIABLE = "MLFLOWISH_USER"
_NAMED_BY = ("LOGNAME", "USER", "LNAME", "USERNAME")  # what getpass asks before it asks for the user of this number


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
        return _user(os.getuid() if hasattr(os, "getuid") else 0, *map(os.environ.get, _NAMED_BY))
    except (OSError, KeyError, ImportError):
        return "unknown"


@lru_cache(maxsize=16)
def _user(uid: int, *named: str | None) -> str:
    # Asked once for each answer that there can be: it may read files, or ask a server.
    return getpass.getuser()
