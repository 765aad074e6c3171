"""Opening the store's own files, and files that a user names, without following links or waiting for pipes.

Somebody else may have made a store's folder. Through a link in it the store would empty a file elsewhere, and a pipe
would make it wait for ever.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from uuid import UUID

from chroma_nb.errors import StoreCorruptError


class NotOurFileError(OSError):
    """Something else is in the place of one of the store's files. It is left as it is."""


_FLAGS = 0
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)

#: What is said of a file that is hard-linked.
SECOND_NAME = "has a second name somewhere (a hard link)"
#: Ends the name of a file that is not complete yet.
_UNFINISHED = ".new"
#: How the name of a collection's file begins, as a regular expression: ``<id>.<generation>.``
COLLECTION_PREFIX = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\d+\."


def collection_stem(collection_id: UUID, generation: int) -> str:
    """Return how the names of a collection's files begin: ``<id>.<generation>``. No other name is made of stored values.

    Raises:
        StoreCorruptError: They are no UUID and no number: the name could lead out of the store's folder.
    """
    if not isinstance(collection_id, UUID) or type(generation) is not int or generation < 0:
        raise StoreCorruptError(
            f"No file is named after collection {str(collection_id)[:100]!r}, generation {str(generation)[:100]!r}. "
            "Restore the store from a backup."
        )
    return f"{collection_id}.{generation}"


def open_plain(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a plain file, as an `opener` of `open` does; links are not followed and pipes not waited for.

    Args:
        path: Where it is.
        flags: Those of `os.open`.
        mode: Permissions of a file that is made. By default other users cannot open it, as whoever can open a file
            can lock it.

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
    """Open a plain file that a user names, as an `opener` of `open` does; links are followed, pipes not waited for.

    Raises:
        NotOurFileError: It is no plain file.
        OSError: It is missing, or cannot be opened.
    """
    try:
        fd = os.open(path, flags | _FLAGS, mode)
    except IsADirectoryError:
        # Raised only for writing. A folder that was opened for reading is refused below.
        raise NotOurFileError(errno.EEXIST, f"{path!r} is a folder, not a file") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotOurFileError(errno.EEXIST, f"{path!r} is no plain file")
    return fd


def unfinished_name(path: str) -> str:
    """Return a temporary path for a file that will be renamed to `path` when it is complete.

    It is random, so nobody can have put a link there. Temporary files of killed processes are deleted.
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
        NotOurFileError: It is a link, has a second name (a hard link), or is no plain file.
        OSError: It is missing, or cannot be opened.
    """
    fd = open_plain(path, os.O_RDWR | (os.O_CREAT if create else 0))
    if has_second_name(os.fstat(fd)):
        os.close(fd)
        raise NotOurFileError(errno.EEXIST, f"{path!r} {SECOND_NAME}")
    return fd
