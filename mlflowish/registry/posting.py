"""One delivery over HTTP: signed, without redirects, within a limit of time. Knows nothing of the catalog.

The signature is HMAC-SHA256 (RFC 2104) over the time in seconds, a dot, and the body, so that neither can be changed
nor an old delivery be played again later.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from mlflowish.errors import IntegrityError, InvalidInputError, StorageError

SECRET_PREFIX = "MLFLOWISH_HOOK_"
SIGNATURE_HEADER, ID_HEADER = "Mlflowish-Signature", "Mlflowish-Delivery"
_VARIABLE = re.compile(rf"{SECRET_PREFIX}[A-Z0-9_]{{1,100}}\Z")
_FROM_ENVIRONMENT = "env:"
_CONNECT_S = 5.0
_WHOLE_S = 15.0


def post(url: str, secret: str | None, delivery_id: str, document: Mapping[str, Any]) -> None:
    """Deliver one document; StorageError with a short reason unless the answer is a 2xx.

    `secret` and an `env:` URL name environment variables of this process: without them nothing is sent.
    """
    body = json.dumps(document, ensure_ascii=False, sort_keys=True).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "mlflowish", ID_HEADER: delivery_id}
    if secret is not None:
        headers[SIGNATURE_HEADER] = signature(body, _in_environment(secret), int(time.time()))
    parts = _parts(_in_environment(url[len(_FROM_ENVIRONMENT) :]) if url.startswith(_FROM_ENVIRONMENT) else url)
    status = _answer(parts, body, headers)
    if not 200 <= status < 300:
        hint = "; redirects are not followed" if 300 <= status < 400 else ""
        raise StorageError(f"the server answered {status}{hint}", status=status)


def signature(body: bytes, secret: str, time_s: int) -> str:
    """The value of the signature header."""
    signed = hmac.new(secret.encode(), b"%d.%s" % (time_s, body), hashlib.sha256).hexdigest()
    return f"t={time_s},v1={signed}"


def verify_delivery(body: bytes, header: str, secret: str, *, tolerance_s: float = 300.0) -> dict[str, Any]:
    """What a webhook delivered, for the server that received it: the parsed body, if its signature is right.

    `header`: the value of `Mlflowish-Signature`. IntegrityError if the signature is missing, wrong, or older or newer
    than `tolerance_s`. Deliveries may come twice: do what has to be done once per `Mlflowish-Delivery`, which stands
    in the body as "id".

    >>> from mlflowish.registry.posting import signature
    >>> import mlflowish as mf, time
    >>> header = signature(b'{"version": 3}', "secret", int(time.time()))
    >>> mf.registry.verify_delivery(b'{"version": 3}', header, "secret")
    {'version': 3}
    """
    match = re.match(r"t=([0-9]{1,12}),v1=[0-9a-f]{64}\Z", header or "")
    if match is None or not hmac.compare_digest(signature(body, secret, int(match[1])), header):
        raise IntegrityError(
            f"The signature of a delivery is wrong: check the secret and the {SIGNATURE_HEADER} header"
        )
    if abs(time.time() - int(match[1])) > tolerance_s:
        raise IntegrityError(f"A delivery was signed more than {tolerance_s:g} seconds ago, or ahead of this clock")
    found: dict[str, Any] = json.loads(body)
    return found


def hook_url(url: object) -> str:
    """The URL, if deliveries can go there: http or https, without credentials; or `env:` and a variable's name."""
    if isinstance(url, str) and url.startswith(_FROM_ENVIRONMENT):
        return _FROM_ENVIRONMENT + variable_name(url[len(_FROM_ENVIRONMENT) :])
    _parts(url)
    return str(url)


def variable_name(name: object) -> str:
    """The name of an environment variable that holds a secret. What was given is never shown: it may be the secret."""
    if not isinstance(name, str) or not _VARIABLE.match(name):
        raise InvalidInputError(
            "A secret is given as the name of an environment variable that holds it, which begins with "
            f"{SECRET_PREFIX} (capitals, digits and '_'), for example secret='{SECRET_PREFIX}CHURN'. "
            "The secret itself is never stored"
        )
    return name


def _in_environment(name: str) -> str:
    value = os.environ.get(variable_name(name))
    if not value:
        raise StorageError(f"${name} is not set in this process", variable=name)
    return value


def _parts(url: object) -> SplitResult:
    """The parts of a URL; the message shows no more of it than its host, for what follows may be a secret."""
    try:
        parts = (
            urlsplit(url) if isinstance(url, str) and re.fullmatch(r"[!-~]{1,2000}", url) else SplitResult(*[""] * 5)
        )
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise InvalidInputError(
            "A webhook is an http:// or https:// URL of printable ASCII characters, at most 2,000 of them, or 'env:' "
            f"and the name of an environment variable that holds one ('env:{SECRET_PREFIX}CHURN_URL')"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInputError(
            f"The URL of a webhook at {parts.hostname} has a user or password in it, which would be stored in clear: "
            f"put the whole URL into an environment variable and give its name, 'env:{SECRET_PREFIX}CHURN_URL'"
        )
    return parts


def _answer(parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer; StorageError if there is none in time. No proxies, no redirects, the body unread."""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT_S)
    # A server that sends a byte now and then keeps within every single limit: the whole has one as well.
    is_over = threading.Event()
    watch = threading.Timer(_WHOLE_S, _cut, [connection, is_over])
    watch.daemon = True
    try:
        watch.start()
        connection.connect()
        connection.sock.settimeout(_WHOLE_S)  # a server may take its time: it would only be asked again
        connection.request("POST", _path(parts), body, dict(headers))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StorageError(f"no answer from {parts.hostname}: {type(error).__name__}: {error}") from error
    finally:
        watch.cancel()
        connection.close()
    if is_over.is_set():  # what was cut off may look like an answer
        raise StorageError(f"no whole answer from {parts.hostname} in {_WHOLE_S:g} s")
    return status


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _cut(connection: http.client.HTTPConnection, is_over: threading.Event) -> None:
    is_over.set()
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it ended at this very moment
            return
