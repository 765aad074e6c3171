"""`open_own_file`: opens a small file of the store's, or refuses what has been put in its place.

A folder may be shared, unpacked or prepared by somebody else: a link there would let a store empty a file
that is not its own, and a pipe would let it wait for ever.
"""

from __future__ import annotations

import errno
import os
import stat


class NotOurFileError(OSError):
    """What is at the place of one of the store's files is something else, and is left as it is."""


def open_own_file(path: str, *, create: bool) -> int:
    """Open a file for reading and writing, and return its descriptor.

    Args:
        path: Where it is.
        create: Make the file where it is missing.

    Raises:
        NotOurFileError: It is a link, has a second name, or is no plain file.
        OSError: It is missing, or cannot be opened.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        fd = os.open(path, flags, 0o644)
    except OSError:
        if os.path.islink(path):
            raise NotOurFileError(
                errno.EEXIST, f"{path!r} is a link, and links are not followed"
            ) from None
        raise
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        raise NotOurFileError(
            errno.EEXIST, f"{path!r} is no plain file, or has another name somewhere"
        )
    return fd
