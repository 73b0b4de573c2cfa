"""What the exceptions of the filesystems mean: exists, absent, refused, or nobody knows.

Each driver says it in a way of its own: s3fs maps 412 to FileExistsError for some servers and to OSError(22) for
others, gcsfs has FileNotFoundError for 404, adlfs hands on Azure's classes. The HTTP status somewhere in the chain is
what they agree on.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator


class Answer(enum.Enum):
    """How a request ended. UNDECIDED: it may have been carried out, or may yet be."""

    EXISTS = "exists"
    ABSENT = "absent"
    NO_BUCKET = "no bucket"
    BEYOND = "beyond the end"
    REFUSED = "refused"
    IMPOSSIBLE = "impossible"
    UNDECIDED = "undecided"


_BY_STATUS = {
    404: Answer.ABSENT,
    409: Answer.UNDECIDED,  # S3: "a conflicting operation occurred, try again"; Azure's own "exists" is a class
    412: Answer.EXISTS,
    416: Answer.BEYOND,
    401: Answer.REFUSED,
    403: Answer.REFUSED,
}
_BY_CODE = {
    "PreconditionFailed": Answer.EXISTS,
    "NoSuchBucket": Answer.NO_BUCKET,
    "ContainerNotFound": Answer.NO_BUCKET,
    "InvalidRange": Answer.BEYOND,
    "AccessDenied": Answer.REFUSED,
    "InvalidAccessKeyId": Answer.REFUSED,
    "SignatureDoesNotMatch": Answer.REFUSED,
    "ConditionalRequestConflict": Answer.UNDECIDED,
}


# Classes of botocore, google.auth and azure.core for credentials that were not found: no request was made, or none that
# somebody signed.
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "DefaultCredentialsError",
    "ClientAuthenticationError",
}


def answer_in(error: BaseException) -> Answer:
    """What the exception says about the request."""
    if isinstance(error, FileExistsError):
        return Answer.EXISTS
    chain = list(_chain(error))
    for link in chain:
        if (code := _code(link)) in _BY_CODE:
            return _BY_CODE[code]
    for link in chain:
        if (status := _status(link)) in _BY_STATUS:
            return _BY_STATUS[status]
    if any(type(link).__name__ in _NO_CREDENTIALS for link in chain):
        return Answer.REFUSED
    if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return Answer.ABSENT
    if isinstance(error, PermissionError) or "Forbidden" in str(error):
        return Answer.REFUSED
    if isinstance(error, NotImplementedError):
        return Answer.IMPOSSIBLE
    return Answer.UNDECIDED


def was_answered(error: BaseException) -> bool:
    """Did a server say something about the request itself? Not if nobody answered, or it only said that it fails."""
    return 0 < _status_in(error) < 500


def advice(error: BaseException) -> str:
    """What to do about a request that ended undecided: a server that fails wants something else than none at all."""
    status = _status_in(error)
    if status >= 500 or status == 429:
        return (
            f"The server can be reached, and answers that it cannot serve this now (HTTP {status}). Try again later; "
            "if it lasts, ask whoever runs the server."
        )
    if status:
        return f"The server does not take this request (HTTP {status}). Check the URL and the options of the store."
    return "Check that the server can be reached."


def _status_in(error: BaseException) -> int:
    return next((status for link in _chain(error) if 300 <= (status := _status(link)) < 600), 0)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str:
    """The code of S3 (botocore's response) or Azure (`error_code`)."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "error_code", "") or "")


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    for name in ("status_code", "status", "code"):  # Azure; aiohttp; gcsfs
        value = getattr(error, name, None)
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.isdigit():
            return int(value)
    return 0
