"""What must not be written down: values that are secrets by their name, in params, command lines and URLs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "(hidden)"
_SECRET = frozenset({"password", "passwd", "pwd", "passphrase", "secret", "apikey", "credential", "credentials"})
# "max_tokens" and "eos_token" are no secrets; these are.
_PAIRS = re.compile(
    r"(?:^|_)(?:api|access|secret|private|signing|encryption)_key(?:$|_)"
    r"|(?:^|_)(?:access|auth|api|bearer|refresh|session|secret|hf|github|gitlab|security|id)_token(?:$|_)"
    r"|^(?:token|authorization|auth)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")


def is_secret(name: str) -> bool:
    """Does the name say that the value is a secret?"""
    plain = re.sub(r"[^a-z0-9]+", "_", _CAMEL.sub("_", name).lower()).strip("_")
    return not _SECRET.isdisjoint(plain.split("_")) or _PAIRS.search(plain) is not None


def masked(name: str, text: str) -> str:
    """The text of a value, or a word in its place."""
    return HIDDEN if is_secret(name) else without_credentials(text)


def masked_command(arguments: Sequence[str]) -> list[str]:
    """A command line without the values of options that are secrets (`--password x`, `--api-key=x`, `TOKEN=x`)."""
    shown: list[str] = []
    hides_next = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if hides_next and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif equals and value:
            shown.append(f"{name}={HIDDEN}" if is_secret(name) else without_credentials(argument))
        else:
            shown.append(without_credentials(argument))
        hides_next = argument.startswith("-") and not equals and is_secret(argument)
    return shown


def without_credentials(text: str) -> str:
    """The text, with what stands before the @ of URLs in it left out, and what their queries hold of secrets."""
    return _URL.sub(lambda match: _bare(match[0]), text) if "://" in text else text


def _bare(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    netloc = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{name}={HIDDEN}" if value and (is_secret(name) or "signature" in name.lower()) else pair
        for pair in parts.query.split("&")
        for name, _, value in [pair.partition("=")]
    )
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))
