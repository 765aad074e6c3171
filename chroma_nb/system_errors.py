"""Errors of the operating system: which one it is, and the sentences that say why and what to do.

DuckDB passes on the system's text and not its number, so a number is looked for in both.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple


class _Cause(NamedTuple):
    """Why the system has refused something, and what a person can do."""

    why: str
    way_out: str


_FULL = _Cause("the disk is full", "Free some space there (delete other files)")
_OPEN_MORE = "or have the system allow more"
_FORBIDDEN = _Cause(
    "the system does not permit it", "Change the permissions, or name a place that you may write to"
)
_CAUSES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _Cause("your share of the disk (the quota) is full", _FULL.way_out),
    errno.EMFILE: _Cause(
        "this process has too many files open",
        f"Close some, {_OPEN_MORE} (ulimit -n; resource.setrlimit(resource.RLIMIT_NOFILE, ...))",
    ),
    errno.ENFILE: _Cause(
        "too many files are open on this machine",
        f"Close some programs, {_OPEN_MORE} (fs.file-max)",
    ),
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _Cause(
        "the file system is read-only",
        "Name a place that can be written to, or have it made writable",
    ),
    errno.EIO: _Cause("the disk has failed", "See that it is connected and works"),
    errno.ENOMEM: _Cause("the machine has too little memory", "Free some memory"),
}
_UNKNOWN = _Cause("the system has refused it", "See that the disk works")


def system_code(error: BaseException) -> int:
    """Return the number of the system's error behind one of Python's or DuckDB's; 0 where there is none."""
    if isinstance(error, OSError):
        return error.errno or 0
    text = str(error)
    found = [code for code in _CAUSES if os.strerror(code) in text]
    # "Too many open files in system" begins as "Too many open files" does.
    return max(found, key=lambda code: len(os.strerror(code)), default=0)


def why(error: BaseException) -> str:
    """Return why the system has refused something, as the end of a sentence: "..., as <why>"."""
    return _CAUSES.get(system_code(error), _UNKNOWN).why


def way_out(error: BaseException) -> str:
    """Return what to do about it, as a sentence without its full stop."""
    return _CAUSES.get(system_code(error), _UNKNOWN).way_out


def is_disk_full(error: BaseException) -> bool:
    """Say whether it means that the disk (or a quota) is full."""
    return system_code(error) in (errno.ENOSPC, errno.EDQUOT)


def is_disk_failure(error: BaseException) -> bool:
    """Say whether it means that the disk is full or has failed, and not that data is damaged."""
    return is_disk_full(error) or system_code(error) == errno.EIO


def is_too_many_files(error: BaseException) -> bool:
    """Say whether a file could not be opened, as too many are open."""
    return system_code(error) in (errno.EMFILE, errno.ENFILE)


def keeps_from_opening(error: BaseException) -> bool:
    """Say whether it keeps a file from being opened and says nothing of what is in the file."""
    return system_code(error) in (
        *(errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM, errno.EROFS),
    )
