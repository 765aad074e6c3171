"""`StoreFolder`: the folder of a store, which one process may open at a time, and the names in it."""

from __future__ import annotations

import contextlib
import os

import duckdb

from chroma_nb.db.commit_file import CommitFile, DatabaseHeader
from chroma_nb.db.duckdb.schema import create_schema
from chroma_nb.db.own_file import SECOND_NAME, NotOurFileError, has_second_name
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.errors import InternalError, InvalidArgumentError, StoreCorruptError
from chroma_nb.flush import flush_file, flush_folder
from chroma_nb.system_errors import way_out, why

#: The newest storage format that all supported versions of DuckDB read correctly, as folders move between machines.
#: With "v1.3.0", and with the default, DuckDB 2.0.1 writes files in which DuckDB 1.3.2 reads NULL for every value.
STORAGE = {"storage_compatibility_version": "v1.2.0"}
#: Ends the name of a database that is not complete yet.
_UNFINISHED = ".new"
#: The names in a store's folder.
_OWN_FILES = {
    "lock",
    "commits",
    "vectors",
    "indexes",
    "records.duckdb",
    "records.duckdb.wal",
    f"records.duckdb{_UNFINISHED}",
    f"records.duckdb{_UNFINISHED}.wal",
}
#: A folder in a store of ClickHouse in this process, and in no other one; see `db/clickhouse/engine.py`.
_CLICKHOUSES = "clickhouse"
#: What operating systems put into any folder, beside names that begin with a dot.
_SYSTEM_FILES = frozenset(("lost+found", "Thumbs.db", "desktop.ini"))


class StoreFolder:
    """A folder that this process has locked.

    Args:
        path: The folder, absolute; it is made where it is missing.
        given: As the user wrote it.

    Raises:
        InvalidArgumentError: It is a file, a folder of something else, or has a name that DuckDB cannot open.
        InternalError: It cannot be written.
        StoreCorruptError: It has vectors and no database.
        StoreLockedError: Another process has the store open.
    """

    def __init__(self, path: str, given: str) -> None:
        self.path = path
        self.database_file = os.path.join(path, "records.duckdb")
        self.database_header = DatabaseHeader(self.database_file)
        self.vectors = os.path.join(path, "vectors")
        self.indexes = os.path.join(path, "indexes")
        #: The database was made just now.
        self.is_new = False
        _check_folder(path, given)
        try:
            for folder in (path, self.vectors, self.indexes):
                os.makedirs(folder, exist_ok=True)
            self.lock = StoreLock(os.path.join(path, "lock"))
            try:
                self.commit_file = CommitFile(os.path.join(path, "commits"))
            except BaseException:
                self.lock.release()
                raise
        except NotOurFileError as error:
            raise InvalidArgumentError(
                f"The folder {given!r} cannot be opened as a store: {error.strerror}. Move it away, or "
                "delete it, or give another folder; nothing was changed."
            ) from error
        except OSError as error:
            raise InternalError(
                f"The folder {given!r} cannot be written ({error.strerror}). {way_out(error)}; or give another folder, "
                "or use chroma_nb.EphemeralClient()."
            ) from error

    def make_database(self, *, fsync: bool) -> None:
        """Make an empty database under a temporary name, and rename it when it is complete.

        So a process that is killed here leaves nothing that looks like a damaged store.

        Args:
            fsync: Flush it to the disk.

        Raises:
            InternalError: The system does not allow it: the disk is full, say, or too many files are open.
        """
        unfinished = self.database_file + _UNFINISHED
        try:
            for left in (unfinished, unfinished + ".wal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(left)
            with contextlib.closing(duckdb.connect(unfinished, config=STORAGE)) as con:
                create_schema(con)
            if fsync:
                flush_file(unfinished)
            os.replace(unfinished, self.database_file)
            self.is_new = True
        except duckdb.InterruptException:
            raise
        except (duckdb.Error, OSError) as error:
            raise InternalError(
                f"A store cannot be made in {self.path!r}, as {why(error)}: {error}. {way_out(error)}, and repeat the "
                "call, or give another folder."
            ) from error
        if fsync:
            flush_folder(self.path)

    def close(self) -> None:
        """Close its files, after DuckDB has closed the database, and release the lock."""
        self.commit_file.close()
        self.database_header.close()
        self.lock.release()

    def on_fork(self) -> None:
        """Let go of them, in the child."""
        self.commit_file.close()
        self.database_header.close()
        self.lock.on_fork()


def _check_folder(path: str, given: str) -> None:
    """Refuse a folder that is no store and in which none should be made.

    Args:
        path: The folder, absolute.
        given: As the user wrote it.

    Raises:
        InvalidArgumentError: It is a file, has a name that DuckDB cannot open, or holds something else.
        InternalError: It cannot be read.
        StoreCorruptError: It has vectors, and the database that names them is missing.
    """
    for character in ("?", "\\") if os.sep == "/" else ("?",):
        if character in path:
            raise InvalidArgumentError(
                f"Path {given!r} has the character {character!r} in it ({path!r}), and DuckDB cannot open a file "
                "by such a name. Give a folder without it."
            )
    if not os.path.exists(path):
        return
    if not os.path.isdir(path):
        raise InvalidArgumentError(
            f"Path {given!r} is a file; a store is a folder. Give a folder, or a name "
            "that is free: it will be made."
        )
    try:
        found = set(os.listdir(path))
    except OSError as error:
        raise InternalError(
            f"The folder {given!r} cannot be read ({error.strerror}). {way_out(error)}, or give another folder."
        ) from error
    _check_links(path, given)
    if "records.duckdb" in found:
        return
    if "chroma.sqlite3" in found:
        raise InvalidArgumentError(
            f"The folder {given!r} was written by Chroma, whose files this version does not read; nothing was "
            "changed there. Give a folder of its own. To bring the collections here, run `chroma run --path "
            f"{given}` and copy: chroma_nb.connect('http://localhost:8000').copy_to(chroma_nb.Client('./new'))."
        )
    foreign = sorted(
        name for name in found - _OWN_FILES - _SYSTEM_FILES if not name.startswith(".")
    )
    if foreign == [_CLICKHOUSES] and "lock" in found:
        raise InvalidArgumentError(
            f"The folder {given!r} holds a store of ClickHouse, and this client keeps its records in DuckDB; nothing was changed. "
            f"Open it with chroma_nb.Client(chroma_nb.Settings(db='clickhouse', path={given!r})), or give another folder."
        )
    if foreign:
        more = f" and {len(foreign) - 3:,} more" if len(foreign) > 3 else ""
        raise InvalidArgumentError(
            f"The folder {given!r} is not empty and is no store (it has {', '.join(foreign[:3])}{more}). Give "
            f"a folder of its own, such as {os.path.join(given, 'chroma')!r}; nothing was changed."
        )
    vectors = os.path.join(path, "vectors")
    if os.path.isdir(vectors) and any(name.endswith(".f32") for name in os.listdir(vectors)):
        raise StoreCorruptError(
            f"The store in {given!r} has vectors, and its database {os.path.join(path, 'records.duckdb')!r} is "
            "missing. Restore the whole folder from a backup; nothing was changed."
        )


def _check_links(path: str, given: str) -> None:
    """Refuse links in the place of a store's files: writes and deletes would go to where they lead.

    Hard links to vectors are looked at when they are written to, as there may be thousands.

    Raises:
        InvalidArgumentError: There is a link, a pipe or a device.
    """
    for folder in (path, os.path.join(path, "vectors"), os.path.join(path, "indexes")):
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(folder) as entries,
        ):
            for entry in entries:
                if folder == path and entry.name not in _OWN_FILES:
                    continue
                if folder == path and has_second_name(entry.stat(follow_symlinks=False)):
                    raise InvalidArgumentError(
                        f"The folder {given!r} cannot be opened as a store: {entry.path!r} {SECOND_NAME}, which would "
                        "be changed together with it. Copy the folder without links (cp -r) and open the copy; "
                        "nothing was changed."
                    )
                if not entry.is_file(follow_symlinks=False) and not entry.is_dir(
                    follow_symlinks=False
                ):
                    what = (
                        f"is a link to {os.readlink(entry.path)!r}"
                        if entry.is_symlink()
                        else "is no file"
                    )
                    raise InvalidArgumentError(
                        f"The folder {given!r} cannot be opened as a store: {entry.path!r} {what}. Put a file or "
                        "folder in its place (a link to the whole store is fine); nothing was changed."
                    )
