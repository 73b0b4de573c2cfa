"""Giving a finished file its name unless the name is taken: the step on which all writers of a local store agree."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
# EPERM: Linux says it where the filesystem has no hard links (exFAT, some FUSE mounts). EXDEV: mounts inside the root.
_NO_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EMLINK}
)
_NO_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})


class CannotLink(Exception):
    """This filesystem has no way to create a name without replacing one. Does not leave this room."""


def link_new(temporary: str, full: str) -> bool:
    """Name the file `full`, atomically; False if that name is taken. `temporary` may be gone afterwards or not."""
    if os.name == "nt":
        return _rename_on_windows(temporary, full)
    try:
        os.link(temporary, full, follow_symlinks=False)
    except FileExistsError:
        # Over NFS the answer to a link that was made can be lost, and the repetition finds it made (link(2), BUGS).
        return os.lstat(temporary).st_nlink == 2
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return rename_new(temporary, full, because=error)
    return True


def rename_new(temporary: str, full: str, *, because: OSError) -> bool:
    """The same by renameat2(2), RENAME_NOREPLACE, for filesystems without hard links; CannotLink if that fails too."""
    import ctypes

    rename = _renameat2()
    if rename is None:
        raise CannotLink(str(because)) from because
    if rename(_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(full), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number in _NO_RENAME:
        raise CannotLink(f"{because}; renameat2: {os.strerror(number)}") from because
    raise OSError(number, os.strerror(number), full)


def _renameat2() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
        function.restype = ctypes.c_int
    return function


def _rename_on_windows(temporary: str, full: str) -> bool:
    try:
        os.rename(temporary, full)  # there, and only there, it refuses a name that is taken
    except FileExistsError:
        return False
    return True
