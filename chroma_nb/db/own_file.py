"""Opening files of the store's, and refusing what has been put in their place; and files that a user names.

A folder may be shared, unpacked or prepared by somebody else: a link there would let a store empty a file
that is not its own, and a pipe would let it wait for ever.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat


class NotOurFileError(OSError):
    """What is at the place of one of the store's files is something else, and is left as it is."""


_FLAGS = 0
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)

#: What is said of a file that is hard-linked.
SECOND_NAME = "has a second name somewhere (a hard link)"
#: How the name of a file that is being written ends.
_UNFINISHED = ".new"


def open_plain(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a plain file, as the `opener` of `open`: a link is not followed, a pipe not waited for.

    Args:
        path: Where it is.
        flags: Those of `os.open`.
        mode: Of a file that is made. Others may not even lock one of ours: whoever can open a file can.

    Raises:
        NotOurFileError: It is no plain file.
        OSError: It is missing, or cannot be opened.
    """
    try:
        return open_given(path, flags | _NO_LINKS, mode)
    except NotOurFileError:
        raise
    except OSError:
        if os.path.islink(path):
            raise NotOurFileError(
                errno.EEXIST, f"{path!r} is a link, and links are not followed"
            ) from None
        raise


def has_second_name(found: os.stat_result) -> bool:
    """Say whether a file is another one as well, by a hard link: what is written to it is written there."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink > 1


def open_given(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a plain file that a user names, as the `opener` of `open`: the same, but a link is followed.

    Raises:
        NotOurFileError: It is no plain file.
        OSError: It is missing, or cannot be opened.
    """
    fd = os.open(path, flags | _FLAGS, mode)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotOurFileError(errno.EEXIST, f"{path!r} is no plain file")
    return fd


def unfinished_name(path: str) -> str:
    """Return the name of a file that will be renamed to this path when it is written.

    Nobody can have put anything there. What killed processes have left of earlier ones is deleted.
    """
    folder, name = os.path.split(path)
    with contextlib.suppress(OSError):
        for left in os.listdir(folder):
            if left.startswith(name + ".") and left.endswith(_UNFINISHED):
                os.unlink(os.path.join(folder, left))
    return f"{path}.{secrets.token_hex(8)}{_UNFINISHED}"


def open_own_file(path: str, *, create: bool) -> int:
    """Open a file for reading and writing, and return its descriptor.

    Args:
        path: Where it is.
        create: Make the file where it is missing.

    Raises:
        NotOurFileError: It is a link, has a second name, or is no plain file.
        OSError: It is missing, or cannot be opened.
    """
    fd = open_plain(path, os.O_RDWR | (os.O_CREAT if create else 0))
    if has_second_name(os.fstat(fd)):
        os.close(fd)
        raise NotOurFileError(errno.EEXIST, f"{path!r} {SECOND_NAME}")
    return fd
