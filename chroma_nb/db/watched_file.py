"""`WatchedFile`: a file that is opened for each operation, and compared with how this process has left it."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from chroma_nb.db.own_file import SECOND_NAME, NotOurFileError, has_second_name, open_plain
from chroma_nb.errors import InternalError, StoreCorruptError
from chroma_nb.system_errors import way_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("chroma_nb")


class WatchedFile(ABC):
    """Opens a vector file, and notices where something else has taken its place. One writer, many readers.

    With a path it is opened for each operation, so that thousands of collections do not use up the process's
    descriptors. Without one it keeps its descriptor.

    Args:
        path: The file; None for one without a name.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        #: The descriptor of an unnamed file, -1 while there is none.
        self._fd = -1
        #: The file as this process has left it: (device, inode, time of change, size).
        self._identity: tuple[int, int, int, int] | None = None
        #: One more at the beginning and at the end of each write, so it is odd while this process writes.
        self._writes = 0

    @abstractmethod
    def forget_checks(self) -> None:
        """Called when the file is not as this process has left it: whatever was checked has to be checked again."""

    @contextlib.contextmanager
    def _open(self, more_flags: int = 0, *, to_write: bool = False) -> Iterator[int]:
        """Open the file for one operation; see the class.

        Args:
            more_flags: Flags of `os.open` beside those for reading and writing.
            to_write: Raise errors of the disk unchanged: the caller has to say what became of the write.

        Raises:
            InternalError: The file could not be read.
            StoreCorruptError: It is missing, or something else is in its place.
        """
        try:
            with self._open_any(more_flags) as fd:
                yield fd
        except OSError as error:
            if to_write or more_flags:
                raise
            raise InternalError(
                f"Vector file {self.path!r} could not be read: {error.strerror or error}. Nothing is lost. "
                f"{way_out(error)}, and repeat the call."
            ) from error

    @contextlib.contextmanager
    def _open_any(self, more_flags: int) -> Iterator[int]:
        if self.path is None:
            yield self._fd
            return
        try:
            fd = open_plain(self.path, os.O_RDWR | more_flags, 0o644)
        except FileNotFoundError as error:
            raise self._missing() from error
        except NotOurFileError as error:
            raise self._not_ours() from error
        try:
            self._identify(lambda: os.fstat(fd))
            yield fd
        finally:
            os.close(fd)

    def _missing(self) -> StoreCorruptError:
        return StoreCorruptError(
            f"Vector file {self.path!r} is not there any more: it, or its whole folder, was moved or deleted "
            "while the store was open. Put it back, or open a new client."
        )

    def _not_ours(self) -> StoreCorruptError:
        return StoreCorruptError(
            f"{self.path!r} is no plain file: it was replaced while the store was open, and is left alone. Put the "
            "vector file back."
        )

    def _check_names(self, fd: int) -> None:
        """Refuse to write to a file that has another name as well: whatever that is would be changed."""
        if self.path is not None and has_second_name(os.fstat(fd)):
            raise StoreCorruptError(
                f"Vector file {self.path!r} {SECOND_NAME}, which would be changed together with it. Close the client, "
                "copy the store's folder without links (cp -r), and open the copy; nothing was changed."
            )

    def _identify(self, look: Callable[[], os.stat_result]) -> None:
        """Have every row checked again where the file was replaced, or another process has written to it.

        Args:
            look: Returns the file's state.
        """
        writes = self._writes
        found = look()
        if not stat.S_ISREG(found.st_mode):
            raise self._not_ours()
        identity = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if identity == self._identity or writes % 2 or writes != self._writes:
            # Unchanged, or this process was writing to it at that moment.
            return
        if self._identity is not None:
            logger.debug(
                "%r is not as this process left it; its rows are checked again.", self.path
            )
            self.forget_checks()
        self._identity = identity

    @contextlib.contextmanager
    def _changing(self, fd: int) -> Iterator[None]:
        """Write to the file, and remember how it was left."""
        self._check_names(fd)
        self._writes += 1
        try:
            yield
        finally:
            found = os.fstat(fd)
            self._identity = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            self._writes += 1

    @property
    def bytes_on_disk(self) -> int:
        """The file's size; 0 while there is none."""
        if self.path is not None:
            return os.stat(self.path).st_size
        return 0 if self._fd < 0 else os.fstat(self._fd).st_size
