"""An error of the operating system: the sentence names its cause, whichever step has met it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import chroma_nb as chroma
from chroma_nb.db.duckdb import store_folder
from chroma_nb.db.temp_folder import TempFolder
from chroma_nb.errors import InternalError
from chroma_nb.system_errors import system_code, way_out, why

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: The system's number -> what a sentence says of it, and what it must not say.
CAUSES = {
    errno.ENOSPC: ("Free some space", "ulimit"),
    errno.EDQUOT: ("Free some space", "ulimit"),
    errno.EMFILE: ("ulimit -n", "space"),
    errno.ENFILE: ("fs.file-max", "space"),
    errno.EACCES: ("permissions", "space"),
    errno.EROFS: ("made writable", "space"),
    errno.EIO: ("connected and works", "space"),
}


def failing(code: int, *, in_duckdb: bool) -> Callable[..., Any]:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        if in_duckdb:
            raise duckdb.IOException(f'IO Error: Cannot open file "x": {os.strerror(code)}')
        raise OSError(code, os.strerror(code), "x")

    return fail


@pytest.mark.parametrize("code", CAUSES)
def test_python_and_duckdb_say_the_same(code: int) -> None:
    ours = OSError(code, os.strerror(code))
    theirs = duckdb.IOException(f"IO Error: {os.strerror(code)}")
    assert system_code(ours) == system_code(theirs) == code
    assert (why(ours), way_out(ours)) == (why(theirs), way_out(theirs))


def test_what_is_not_known_claims_no_cause() -> None:
    for error in (OSError("?"), OSError(errno.ENOTDIR, "?"), duckdb.IOException("IO Error: ?")):
        assert "full" not in why(error)
        assert "space" not in way_out(error)


@pytest.mark.parametrize("in_duckdb", [False, True])
@pytest.mark.parametrize("code", CAUSES)
def test_making_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, in_duckdb: bool
) -> None:
    says, never = CAUSES[code]
    with monkeypatch.context() as patch:
        patch.setattr(store_folder, "create_schema", failing(code, in_duckdb=in_duckdb))
        with pytest.raises(InternalError) as caught:
            chroma.PersistentClient(tmp_path / "store")
    assert says in str(caught.value)
    assert never not in str(caught.value)
    chroma.PersistentClient(tmp_path / "store").close()


@pytest.mark.parametrize("code", CAUSES)
def test_a_folder_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    says, never = CAUSES[code]
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkdtemp", failing(code, in_duckdb=False))
        with pytest.raises(InternalError) as temporary:
            TempFolder()
        patch.setattr(os, "makedirs", failing(code, in_duckdb=False))
        with pytest.raises(InternalError) as store:
            store_folder.StoreFolder(str(tmp_path / "store"), "store")
    for caught in (temporary, store):
        assert says in str(caught.value)
        assert never not in str(caught.value)


@pytest.mark.parametrize("code", CAUSES)
def test_opening_reading_and_writing(tmp_path: Path, code: int) -> None:
    says, never = CAUSES[code]
    error = duckdb.IOException(f"IO Error: {os.strerror(code)}")
    with chroma.PersistentClient(tmp_path / "store") as client:
        database: Any = client.api.db._database  # type: ignore[attr-defined]
        found = [database.open_error(error), database._write_error(error)]
        if code != errno.EIO:
            # What a disk cannot read may be damaged for good.
            found.append(database.read_error(error))
        # Neither has taken the store for a broken one.
        assert client.list_collections() == []
    for one in found:
        assert type(one) is InternalError
        assert says in str(one)
        assert never not in str(one)
