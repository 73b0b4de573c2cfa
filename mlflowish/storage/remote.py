"""Buckets, through fsspec: the right conditional request for each, answers that were lost resolved by reading back."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  the driver wants it, and an interpreter that ends refuses to load it
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from mlflowish.errors import (
    CapabilityError,
    MlflowishError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from mlflowish.storage import drivers
from mlflowish.storage.answers import Answer, advice, answer_in, was_answered
from mlflowish.storage.base import Appender, Buffer, Capabilities, ObjectInfo
from mlflowish.storage.paths import RESERVED, is_path, require_path, require_prefix
from mlflowish.storage.uploads import RemoteStaging

_TRIES = 6
_FIRST_PAUSE_S = 0.05


class FsspecStorage:
    """A bucket, or any other place that fsspec reaches. Connects at the first use, anew in each forked process.

    S3, Google and Azure create objects conditionally. Other filesystems are tested at the first write (`selftest.py`),
    and demoted to one writer, with a warning, if they fail: `capabilities` promises nothing for them before that.
    """

    def __init__(self, url: str, **storage_options: Any) -> None:
        self._given, self._options = url, storage_options
        self._url = drivers.scrubbed(url).partition("?")[0].rstrip("/")
        self._driver = drivers.driver_of(url)
        # True: many writers are safe; False: they are not; None: not known yet.
        self._is_safe: bool | None = None
        self._mine: tuple[int, Any, str] | None = None
        self._proving = threading.Lock()

    def __repr__(self) -> str:
        return f"FsspecStorage({self._url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._given, self._options)

    @property
    def url(self) -> str:
        return self._url

    @property
    def identity(self) -> str:
        """Which place this is, for what a machine keeps beside it: the URL, and the address of a service of one's own,
        where the same bucket name means another bucket. No secrets, so that changing one changes nothing here."""
        return f"{self._url}\0{drivers.service_of(self._options)}"

    @property
    def capabilities(self) -> Capabilities:
        is_safe = self._driver.is_proven if self._is_safe is None else self._is_safe
        return Capabilities(put_if_absent=is_safe, multi_writer=is_safe)

    # -- reading -----------------------------------------------------------------------------------

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        require_path(path)
        start = max(start, 0)
        if end is not None and end <= start:
            self.size(path)  # what is absent is absent for an empty range as well
            return b""
        fs, root = self._fs()
        try:
            return drivers.read(fs, f"{root}/{path}", start, end)
        except Exception as error:  # noqa: BLE001  each driver has its own classes, OSError is not above them all
            if answer_in(error) is Answer.BEYOND:
                self.size(path)
                return b""
            raise self._failed("read", path, error) from self._cause(error)

    def size(self, path: str) -> int:
        require_path(path)
        fs, root = self._fs()
        try:
            found = drivers.size_of(self._driver, fs, f"{root}/{path}")
        except Exception as error:  # noqa: BLE001  as above
            raise self._failed("read", path, error) from self._cause(error)
        if found is None:
            raise self._absent(path)
        return found

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = require_prefix(prefix)
        fs, root = self._fs()
        below = f"{root}/{folder}"
        try:
            found = drivers.listed(self._driver, fs, below.rstrip("/"))
        except Exception as error:  # noqa: BLE001  as above
            if answer_in(error) is Answer.ABSENT:
                return
            raise self._failed("list", folder or "everything", error) from self._cause(error)
        for full, info in found.items():
            path = full[len(root) + 1 :]
            if full.startswith(below) and is_path(path) and info.get("type") == "file":
                yield ObjectInfo(path, int(info.get("size") or 0), drivers.modified_s(info))

    def local_path(self, path: str) -> str | None:
        require_path(path)
        return None

    # -- writing -----------------------------------------------------------------------------------

    def put_if_absent(self, path: str, data: Buffer) -> bool:
        """As the protocol says. Equal bytes that are there count as ours: what writers agree on carries a nonce."""
        require_path(path)
        whole = bytes(data)
        self._decide_safety()
        if self._is_demoted:
            if (found := self._found(path, len(whole))) is not None:
                return found == whole
            self._create_as_only_writer(path, lambda fs, temporary: fs.pipe_file(temporary, whole))
            return True
        fs, root = self._fs()
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            try:
                drivers.create(self._driver, fs, f"{root}/{path}", whole)
            except Exception as error:  # noqa: BLE001  as above
                failure = error
            else:
                self._require_condition(path, whole)
                return True
            answer = answer_in(failure)
            if answer not in (Answer.EXISTS, Answer.UNDECIDED):
                raise self._failed("create", path, failure) from self._cause(failure)
            # Not even "exists" is an answer: the filesystem may have repeated a request that had been carried out.
            found = self._found(path, len(whole))
            if found is not None:
                return found == whole
            time.sleep(pause_s)
            pause_s *= 2
        raise self._failed("create", path, failure) from self._cause(failure)

    def put(self, path: str, data: Buffer) -> None:
        require_path(path)
        fs, root = self._fs()
        try:
            fs.pipe_file(f"{root}/{path}", bytes(data))
        except Exception as error:  # noqa: BLE001  as above
            raise self._failed("replace", path, error) from self._cause(error)

    def stage(self) -> RemoteStaging:
        return RemoteStaging(self)

    def create_from_file(self, path: str, local: str) -> bool:
        """Upload a file unless the path is taken (also if it was taken by this very upload, whose answer was lost)."""
        require_path(path)
        self._decide_safety()
        if self._is_demoted:
            if self._found(path, 0) is not None:
                return False
            self._create_as_only_writer(path, lambda fs, temporary: fs.put_file(local, temporary))
            return True
        fs, root = self._fs()
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            try:
                drivers.create_from_file(self._driver, fs, f"{root}/{path}", local)
            except Exception as error:  # noqa: BLE001  as above
                failure = error
            else:
                return True
            if answer_in(failure) not in (Answer.EXISTS, Answer.UNDECIDED):
                break
            if self._found(path, 0) is not None:
                return False
            time.sleep(pause_s)
            pause_s *= 2
        raise self._failed("create", path, failure) from self._cause(failure)

    def delete(self, path: str) -> None:
        require_path(path)
        fs, root = self._fs()
        try:
            fs.rm_file(f"{root}/{path}")
        except Exception as error:  # noqa: BLE001  as above
            if answer_in(error) is not Answer.ABSENT:
                raise self._failed("delete", path, error) from self._cause(error)

    def open_append(self, path: str) -> Appender:
        require_path(path)
        raise CapabilityError(f"Appending to {path} in {self._url}: objects in a bucket cannot grow", path=path)

    def is_claimed(self, path: str) -> bool:
        require_path(path)
        return False

    # -- how it is done ----------------------------------------------------------------------------

    def _fs(self) -> tuple[Any, str]:
        mine = self._mine
        pid = os.getpid()
        if mine is None or mine[0] != pid:
            if mine is not None:
                # Its event loop stayed in the parent: even closing it here could wait for ever.
                _left_by_parents.append(mine[1])
                self._proving = threading.Lock()  # a thread of the parent may have held it
            fs, root = drivers.make_filesystem(self._driver, self._given, self._options)
            self._mine = mine = (pid, fs, root)
        return mine[1], mine[2]

    def _found(self, path: str, size_bytes: int) -> bytes | None:
        """What is there, up to one byte more than expected; None if nothing is."""
        try:
            return self.get(path, 0, size_bytes + 1)
        except NotFoundError:
            return None

    def _require_condition(self, path: str, data: bytes) -> None:
        """Once per process: a server that lets us create the same object again ignores the condition."""
        if self._is_safe is None:
            with self._proving:  # threads that create at the same time wait for one answer
                if self._is_safe is None:
                    self._is_safe = self._honours_condition(path, data)
        if self._is_safe is False:
            raise CapabilityError(
                f"The server behind {self._url} ignores the condition of a conditional write, so writers would replace "
                "each other's records. Use a server that honours it, or upgrade this one.",
                url=self._url,
            )

    def _honours_condition(self, path: str, data: bytes) -> bool | None:
        fs, root = self._fs()
        try:
            drivers.create(self._driver, fs, f"{root}/{path}", data)
        except Exception as error:  # noqa: BLE001  as above
            # An answer that is lost is no proof of anything: the next creation will ask again.
            return True if answer_in(error) is Answer.EXISTS else None
        return False

    def _decide_safety(self) -> None:
        if self._driver.is_proven:
            if self._is_safe is False:
                raise CapabilityError(f"The server behind {self._url} ignores conditional writes", url=self._url)
            return
        if self._is_safe is None:
            from mlflowish.storage.selftest import creates_exclusively

            fs, root = self._fs()
            self._is_safe = creates_exclusively(fs, root)
            if not self._is_safe:
                warnings.warn(
                    f"{self._url} cannot create objects exclusively (it failed the self-test): "
                    "it is safe with ONE writer at a time only, and nothing stops a second one.",
                    RuntimeWarning,
                    stacklevel=3,
                )

    @property
    def _is_demoted(self) -> bool:
        return not self._driver.is_proven and self._is_safe is False

    def _create_as_only_writer(self, path: str, upload: Callable[[Any, str], None]) -> None:
        """Under another name first: readers see it whole where the filesystem's move is a rename."""
        fs, root = self._fs()
        temporary, full = f"{root}/{RESERVED}/{os.urandom(8).hex()}", f"{root}/{path}"
        try:
            for folder in (temporary, full):
                fs.makedirs(folder.rpartition("/")[0], exist_ok=True)
            upload(fs, temporary)
            fs.mv(temporary, full)
        except Exception as error:  # noqa: BLE001  as above
            raise self._failed("create", path, error) from self._cause(error)

    def _absent(self, path: str) -> NotFoundError:
        return NotFoundError(f"{path} in {self._url} is not there", path=path, url=self._url)

    def _failed(self, what: str, path: str, error: BaseException) -> MlflowishError:
        if isinstance(error, MlflowishError):
            return error
        answer, is_read = answer_in(error), what in ("read", "list")
        text = drivers.scrubbed(f"{type(error).__name__}: {error}", self._options)
        where = f"{path} in {self._url}"
        if answer is Answer.ABSENT and is_read:
            return self._absent(path)
        if answer in (Answer.NO_BUCKET, Answer.ABSENT):
            message = f"Could not {what} {where}: the bucket is not there ({text}). Create it, or mend the URL."
            return StorageError(message, path=path, url=self._url)
        if answer is Answer.REFUSED:
            kind = StorageError if is_read else ReadOnlyError
            message = f"Could not {what} {where}: not allowed ({text}). Check the credentials and their rights."
            return kind(message, path=path, url=self._url)
        if answer is Answer.IMPOSSIBLE:
            message = f"Could not {what} {where}: its filesystem has no such operation ({text})"
            return CapabilityError(message, path=path, url=self._url)
        message = f"Could not {what} {where}: {text.rstrip('.')}. {advice(error)}"
        return StorageError(message, path=path, url=self._url, unreachable=not was_answered(error))

    def _cause(self, error: BaseException) -> BaseException | None:
        """The error to chain: not one whose text shows a secret."""
        text = str(error)
        return error if drivers.scrubbed(text, self._options) == text else None


def _reopened(url: str, options: dict[str, Any]) -> FsspecStorage:
    return FsspecStorage(url, **options)


_left_by_parents: list[Any] = []
