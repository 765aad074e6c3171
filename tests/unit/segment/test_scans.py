"""A scan is of one version, whatever is written, compacted, unloaded or deleted meanwhile; and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import weakref
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from chroma_nb.api.scanning import EVERYTHING
from chroma_nb.db import DuckDB
from chroma_nb.errors import ChromaError, InternalError, MemoryBudgetError, NotFoundError
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment import kept_records
from chroma_nb.segment import scans as module
from chroma_nb.settings import Settings
from chroma_nb.testing import APIContract, SharedMemoryDB, local_api
from tests.memory.fakes import MIB, tight
from tests.trust.interrupting import interrupted_at_call

# After the contract, which has pytest rewrite the assertions of its parts.
assert APIContract
from chroma_nb.testing._api_base import PLACE, batch_of, create  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

N, DIMENSION = 60, 4
#: A piece of this size has a few records.
SMALL = 600


def settings_of(tmp_path: Path) -> Settings:
    return Settings(
        path=str(tmp_path / "s"), temp_path=str(tmp_path), allow_reset=True, progress=False
    )


@pytest.fixture(params=[DuckDB, SharedMemoryDB])
def api(request: Any, tmp_path: Path) -> Iterator[Any]:
    settings = settings_of(tmp_path)
    with local_api(request.param(settings), settings) as api:
        yield api


def filled(api: Any, name: str = "notes", n: int = N) -> Any:
    docs = create(api, name).id
    vectors = np.random.default_rng(1).normal(size=(n, DIMENSION)).astype(np.float32)
    batch = batch_of(
        [f"i{row}" for row in range(n)],
        vectors,
        documents=[f"text {row}" if row % 3 else None for row in range(n)],
        metadatas=[{"row": row, "é": "ü"} if row % 4 else None for row in range(n)],
        uris=[f"file:///{row}" if row % 5 else None for row in range(n)],
    )
    api.add(docs, batch, **PLACE)
    return docs


def state(api: Any, docs: Any) -> list[Any]:
    found = api.get(docs, include=EVERYTHING, **PLACE)
    return rows_of(found.ids, found.embeddings, found.documents, found.metadatas, found.uris)


def rows_of(ids: Any, embeddings: Any, *columns: Any) -> list[Any]:
    vectors = [one.tobytes() for one in embeddings]
    return list(zip(ids, vectors, *columns, strict=True))


def rows(piece: Any) -> list[Any]:
    batch = piece.batch()
    return rows_of(batch.ids, batch.embeddings, batch.documents, batch.metadatas, batch.uris)


def scan(api: Any, docs: Any, **arguments: Any) -> Any:
    return api.scan(docs, **{"piece_bytes": SMALL, **arguments}, **PLACE)


def is_open(file: tuple[int, int]) -> bool:
    """Say whether this process has a file open, by its device and inode."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        # Other threads close theirs meanwhile.
        with contextlib.suppress(FileNotFoundError):
            seen = os.stat(f"/proc/self/fd/{name}")
            found.add((seen.st_dev, seen.st_ino))
    return file in found


def change(api: Any, docs: Any, step: tuple[str, int]) -> None:
    """Do one of the things that move, remove or replace records."""
    what, seed = step
    chosen = np.random.default_rng(seed).permutation(N)[: 1 + seed % 20]
    ids = [f"i{row}" for row in chosen.tolist()]
    vectors = np.full((len(ids), DIMENSION), seed, dtype=np.float32)
    if what == "delete":
        api.delete(docs, ids=ids, **PLACE)
    elif what == "update":
        api.update(docs, batch_of(ids, documents=[f"new {seed}"] * len(ids)), **PLACE)
    elif what == "move":
        api.update(docs, batch_of(ids, vectors), **PLACE)
    elif what == "upsert":
        api.upsert(docs, batch_of(ids, vectors, metadatas=[{"s": seed}] * len(ids)), **PLACE)
    elif what == "replace":
        api.add(docs, batch_of(ids, vectors), on_conflict="replace", **PLACE)
    elif what == "compact":
        api.segments.compact(docs)
    elif what == "load":
        api.load(docs, **PLACE)
    else:
        api.unload(docs, **PLACE)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["delete", "update", "move", "upsert", "replace", "compact", "load", "unload"]
        ),
        st.integers(0, 100),
    ),
    max_size=3,
)


@pytest.mark.parametrize("kind", [DuckDB, SharedMemoryDB])
@limits(max_examples=40, deadline=None)
@given(
    before=STEPS, between=st.lists(STEPS, max_size=8), include=st.sets(st.sampled_from(EVERYTHING))
)
def test_it_is_of_the_version_at_which_it_began(
    tmp_path_factory: pytest.TempPathFactory,
    kind: Any,
    before: Any,
    between: Any,
    include: set[str],
) -> None:
    settings = settings_of(tmp_path_factory.mktemp("store"))
    with local_api(kind(settings), settings) as api:
        docs = filled(api)
        for step in before:
            change(api, docs, step)
        expected, found = state(api, docs), []
        other_expected = api.get(docs, include=tuple(include), **PLACE)
        with scan(api, docs) as one, scan(api, docs, include=include) as other:
            assert (one.n_records, one.dimension) == (len(expected), DIMENSION)
            ids, documents = [], []
            for steps in between:
                found += [record for piece in _next(one) for record in rows(piece)]
                for step in steps:
                    change(api, docs, step)
            found += [record for piece in one for record in rows(piece)]
            for piece in other:
                ids += piece.ids
                documents += piece.documents or []
                assert (piece.embeddings is not None) == ("embeddings" in include)
                assert (piece.metadatas is not None) == ("metadatas" in include)
        assert found == expected
        assert (ids, documents) == (other_expected.ids, other_expected.documents or [])


def _next(one: Any) -> list[Any]:
    return [piece for piece in [next(one, None)] if piece is not None]


def test_what_others_write_to_a_shared_db_is_not_seen(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    db = SharedMemoryDB(settings)
    with (
        local_api(db, settings) as api,
        local_api(SharedMemoryDB(settings, db.memory), settings) as theirs,
    ):
        docs = filled(api)
        for load in (False, True):
            (api.load if load else api.unload)(docs, **PLACE)
            expected = state(api, docs)
            with scan(api, docs) as one:
                found = rows(next(one))
                for step in (("delete", 5), ("move", 7), ("compact", 0), ("update", 9)):
                    change(theirs, docs, step)
                    assert api.count(docs, **PLACE) == theirs.count(docs, **PLACE)
                    found += rows(next(one))
                found += [record for piece in one for record in rows(piece)]
            assert found == expected


def test_a_write_that_begins_while_a_piece_is_read_waits_for_that_piece_alone(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = filled(api)
    expected = state(api, docs)
    one = scan(api, docs)
    found = rows(next(one))
    look, reading = module.LocalScan._live, threading.Event()
    writer = threading.Thread(target=lambda: api.delete(docs, ids=["i40"], **PLACE))

    def slow(*arguments: Any) -> Any:
        if not reading.is_set():
            reading.set()
            writer.start()
        return look(*arguments)

    monkeypatch.setattr(module.LocalScan, "_live", slow)
    found += rows(next(one))
    writer.join(60)
    assert not writer.is_alive()
    assert api.count(docs, **PLACE) == N - 1
    found += [record for piece in one for record in rows(piece)]
    assert found == expected


def test_where_and_ids(api: Any) -> None:
    docs = filled(api)
    some = ["i7", "i3", "none", "i59"]
    assert [id for piece in scan(api, docs, ids=some) for id in piece.ids] == ["i3", "i7", "i59"]
    found = scan(api, docs, where={"row": {"$gte": 50}}, include=())
    wanted = api.get(docs, where={"row": {"$gte": 50}}, include=(), **PLACE).ids
    assert found.n_records == len(wanted)
    assert [id for piece in found for id in piece.ids] == wanted
    pattern = {"$regex": "text 4[0-3]"}
    found = scan(api, docs, where_document=pattern)
    assert [id for piece in found for id in piece.ids] == ["i40", "i41", "i43"]
    assert list(scan(api, create(api, "empty").id)) == []


def test_pieces_are_bounded_in_bytes(api: Any) -> None:
    docs = create(api, "texts").id
    texts = ["x" * 100] * 100 + ["y" * 20_000] * 30
    api.add(
        docs, batch_of([f"{n:04}" for n in range(130)], [[1.0]] * 130, documents=texts), **PLACE
    )
    sizes = [sum(map(len, piece.documents)) for piece in scan(api, docs, piece_bytes=50_000)]
    assert sum(sizes) == sum(map(len, texts))
    # The first that are longer are read with those before them, where only the average is known.
    assert max(sizes) <= 64 * 20_000
    assert sizes[-1] <= 50_000


@pytest.mark.parametrize("way", ["read", "closed", "dropped", "an interrupt"])
def test_it_leaves_nothing_behind(api: Any, way: str) -> None:
    docs = filled(api)
    gc.collect()
    used = WORKSPACE.used
    one = scan(api, docs)
    next(one)
    change(api, docs, ("delete", 19))
    change(api, docs, ("update", 18))
    assert one._file is not None
    kept = os.fstat(one._file._fd)
    file = kept.st_dev, kept.st_ino
    assert is_open(file)
    if way == "read":
        list(one)
    elif way == "closed":
        one.close()
        one.close()
        with pytest.raises(InternalError, match="ended before all was read: it was closed"):
            next(one)
    elif way == "an interrupt":
        with pytest.raises(KeyboardInterrupt), one:
            raise KeyboardInterrupt
    seen = weakref.ref(one)
    del one
    assert seen() is None, "without the garbage collector"
    assert not is_open(file)
    assert WORKSPACE.used == used
    slot = api.segments._slots.get(docs)
    assert not slot.scans
    assert not slot.write_lock.is_mine
    change(api, docs, ("compact", 0))


def test_an_interrupt_in_a_piece_skips_nothing(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = filled(api)
    expected = state(api, docs)
    one = scan(api, docs)
    found = rows(next(one))
    look = module.LocalScan._live

    def interrupted(*arguments: Any) -> Any:
        look(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module.LocalScan, "_live", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(one)
    monkeypatch.undo()
    change(api, docs, ("delete", 19))
    found += [record for piece in one for record in rows(piece)]
    assert found == expected


def test_an_interrupt_anywhere_in_a_piece_skips_and_repeats_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with local_api(DuckDB(settings), settings) as api:
        docs = filled(api)
        expected, used = state(api, docs), WORKSPACE.used
        for n in count(1):
            one, found = scan(api, docs), []
            was_interrupted = interrupted_at_call(
                n,
                lambda: found.append(next(one)),  # noqa: B023
            )
            found += list(one)
            assert [record for piece in found for record in rows(piece)] == expected, n
            assert WORKSPACE.used == used, n
            if not was_interrupted:
                break
        assert n > 50


def test_one_that_ends_while_it_waits_for_its_collection_says_so(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = filled(api)
    one = scan(api, docs)
    next(one)
    slot = api.segments._slots.get(docs)
    present = module.Scans.present

    def ended_before(scans: Any, slot: Any) -> Any:
        # What the thread that closes the store does: its collections first, and then the DB.
        scans.end(slot, "the store was closed")
        return present(scans, slot)

    monkeypatch.setattr(module.Scans, "present", ended_before)
    for _ in range(2):
        with pytest.raises(InternalError, match="ended before all was read: the store was closed"):
            next(one)
    assert slot.lock.acquire_write(wait=False)
    slot.lock.release()


def test_one_that_ends_while_records_are_kept_for_it_has_nothing_written_to_other_files(
    api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = filled(api)
    one = scan(api, docs)
    next(one)
    write, others = kept_records.write_all, []

    def ending(fd: int, data: memoryview, offset: int) -> None:
        # What the thread does that reads the scan. Then somebody opens a file, which gets the lowest free number.
        one.close()
        others.append((tmp_path / f"other{len(others)}").open("w+b"))
        write(fd, data, offset)

    monkeypatch.setattr(kept_records, "write_all", ending)
    gc.collect()
    n_open = len(os.listdir("/proc/self/fd"))
    change(api, docs, ("delete", 19))
    assert others
    for other in others:
        assert os.fstat(other.fileno()).st_size == 0
        other.close()
    assert one._file is None
    assert len(os.listdir("/proc/self/fd")) <= n_open, "its own file is closed, too"
    assert api.count(docs, **PLACE) == N - 20


ENDS: dict[str, tuple[Callable[..., object], type[ChromaError], str]] = {
    "deleted": (
        lambda api: api.delete_collection("notes", **PLACE),
        NotFoundError,
        "does not exist",
    ),
    "reset": (lambda api: api.reset(), NotFoundError, "does not exist"),
    "closed": (lambda api: api.close(), InternalError, "closed"),
    "abandoned": (lambda api: api.abandon(), InternalError, "closed"),
}


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_with_its_collection_and_its_store(api: Any, end: str) -> None:
    docs = filled(api)
    call, kind, said = ENDS[end]
    one = scan(api, docs)
    next(one)
    change(api, docs, ("delete", 19))
    assert one._file is not None
    call(api)
    assert one._file is None, "let go when that is done, and not with the next piece"
    for _ in range(2):
        with pytest.raises(kind, match=said):
            next(one)


def test_a_collection_of_another_tenant_is_not_found(api: Any) -> None:
    docs = filled(api)
    api.create_tenant("acme")
    api.create_database("db1", "acme")
    with pytest.raises(NotFoundError):
        api.scan(docs, tenant="acme", database="db1")


def test_a_write_does_not_fail_because_a_scan_cannot_keep_records(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = filled(api)
    one = scan(api, docs)
    next(one)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_records, "write_all", full)
    change(api, docs, ("delete", 19))
    assert api.count(docs, **PLACE) == N - 20
    with pytest.raises(InternalError, match=r"could not be kept for it \(.*No space left"):
        next(one)


@pytest.mark.parametrize("most", [3, 0])
def test_records_are_kept_a_few_at_a_time_where_memory_is_short(
    api: Any, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    docs = filled(api)
    one = scan(api, docs)
    seen = next(one).ids
    keep = module.LocalScan.keep

    def short(self: Any, segment: Any, rows: Any) -> None:
        if len(rows) > most:
            raise MemoryBudgetError("It needs 9 B. Ways out: none.", need=9)
        keep(self, segment, rows)

    monkeypatch.setattr(module.LocalScan, "keep", short)
    change(api, docs, ("delete", 19))
    if most:
        assert len(seen) + sum(len(piece) for piece in one) == N
        return
    for _ in range(2):
        # A refusal as any other, and no fault of the store.
        with pytest.raises(
            MemoryBudgetError, match=r"kept for it \(It needs 9 B\.\)\. Begin it"
        ) as error:
            next(one)
        assert error.value.need == 9


def test_a_compaction_that_was_interrupted_is_noticed(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = filled(api)
    one = scan(api, docs)
    next(one)
    monkeypatch.setattr(module.Scans, "compacting", lambda *_: contextlib.nullcontext())
    change(api, docs, ("compact", 0))
    with pytest.raises(InternalError, match="Begin the scan again"):
        next(one)


def test_a_record_for_which_there_is_no_room_now_is_returned_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path)
    with local_api(DuckDB(settings), settings) as api:
        docs = create(api, "texts").id
        texts = ["x" * (4 * MIB)] * 3
        api.add(docs, batch_of(["a", "b", "c"], [[1.0]] * 3, documents=texts), **PLACE)
        one = scan(api, docs)
        found = list(next(one).ids)
        with monkeypatch.context() as patch:
            tight(patch, 2 * MIB)
            with pytest.raises(MemoryBudgetError, match=r"^A copy of the record '"):
                next(one)
        found += [id for piece in one for id in piece.ids]
        assert found == ["a", "b", "c"]


def test_metadata_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with local_api(DuckDB(settings), settings) as api:
        docs = filled(api)
        api.unload(docs, **PLACE)
        db: Any = api.db
        with db._database.changing(), db._database.transaction() as con:
            con.execute(
                f"UPDATE \"{db._database.entry(docs).table}\" SET metadata = '{{' WHERE label = 7"
            )
        with pytest.raises(InternalError, match="not as a JSON object"):
            list(scan(api, docs))
