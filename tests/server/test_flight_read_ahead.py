"""The next piece of a scan is asked for while the one before is read; what comes between changes no answer."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import MemoryBudgetError, ServerUnavailableError

fl = pytest.importorskip("pyarrow.flight")

from chroma_nb.wire.flight import QUESTION  # noqa: E402
from tests.server.flight_clients import served  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb import Collection
    from chroma_nb.server import ArrowFlight

PLACE = {"tenant": "default_tenant", "database": "default_database"}
#: Some 10 MB, so several pieces.
VECTORS = np.random.default_rng(0).standard_normal((6_000, 384)).astype(np.float32)
IDS = [str(n) for n in range(len(VECTORS))]


@pytest.fixture(scope="module")
def server() -> Iterator[ArrowFlight]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def notes(server: ArrowFlight) -> Iterator[Collection]:
    with chroma_nb.connect(server.url) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=IDS, embeddings=VECTORS, metadatas=[{"n": n} for n in range(len(IDS))])
        yield notes


@pytest.fixture
def steps(server: ArrowFlight, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pieces that the server was asked for."""
    scans = server._listener._calls._service.scans
    asked: list[int] = []
    read = scans.read

    def noted(token: str, target: Any, number: int) -> Any:
        asked.append(number)
        return read(token, target, number)

    monkeypatch.setattr(scans, "read", noted)
    return asked


def ids_of(batch: Any) -> list[str]:
    found: list[str] = batch.column("id").to_pylist()
    return found


def test_each_piece_is_read_once(notes: Collection, steps: list[int]) -> None:
    table = notes.to_arrow()
    assert ids_of(table) == IDS
    got = np.array(table.column("embedding").to_pylist(), dtype=np.float32)
    np.testing.assert_array_equal(got, VECTORS)
    assert len(steps) > 3
    assert steps == list(range(len(steps)))


def test_questions_between_pieces_get_their_own_answers(
    notes: Collection, steps: list[int]
) -> None:
    found: list[str] = []
    for number, batch in enumerate(notes.to_arrow(batches=True)):
        found += ids_of(batch)
        near = notes.query(query_embeddings=VECTORS[number : number + 1], n_results=1)
        assert near["ids"] == [[str(number)]]
        assert notes.get(ids=["7"], include=["metadatas"])["metadatas"] == [{"n": 7}]
    assert found == IDS


def test_all_records_of_a_get_come_in_pieces(notes: Collection, server: ArrowFlight) -> None:
    include = ["metadatas", "embeddings"]
    found = notes.get(include=include)
    assert found["ids"] == IDS
    assert found["metadatas"] == [{"n": n} for n in range(len(IDS))]
    np.testing.assert_array_equal(found["embeddings"], VECTORS.astype(np.float64))
    some = notes.get(where={"n": {"$gte": 10}}, limit=4_000, offset=1_000, include=include)
    assert some["ids"] == IDS[1_010:5_010]
    np.testing.assert_array_equal(some["embeddings"], VECTORS[1_010:5_010].astype(np.float64))
    # Another client is told in one piece, unless it takes several.
    path = {**PLACE, "collection_id": str(notes.id)}
    command = {"operation": "get", "path": path, "body": {"include": ["embeddings"]}}
    assert pieces_of(server, command) == [len(IDS)]
    pieces = pieces_of(server, {**command, "pieces": True})
    assert sum(pieces) == len(IDS)
    assert 3 < len(pieces) < 20


def pieces_of(server: ArrowFlight, command: dict[str, Any]) -> list[int]:
    """Return how many records each batch of an answer has."""
    client = fl.connect(server.url)
    writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(b"{}"))
    writer.begin(QUESTION)
    writer.write_metadata(json.dumps(command).encode())
    found = []
    while True:
        chunk = reader.read_chunk()
        found.append(chunk.data.num_rows)
        if not json.loads(chunk.app_metadata.to_pybytes()).get("more"):
            writer.close()
            client.close()
            return found


def test_an_answer_beyond_the_clients_limit_is_refused(
    notes: Collection, server: ArrowFlight
) -> None:
    settings = chroma_nb.Settings(max_answer="4 MB", retries=0)
    with chroma_nb.connect(server.url, settings=settings) as client:
        small = client.get_collection("notes", embedding_function=None)
        with pytest.raises(ServerUnavailableError, match=r"larger than 4 MB .*limit= and offset="):
            small.get(include=["embeddings"])
        assert small.get(limit=1_000, include=["embeddings"])["ids"] == IDS[:1_000]


def test_two_scans_of_a_thread_do_not_mix(notes: Collection) -> None:
    one, other = notes.to_arrow(batches=True), notes.to_arrow(batches=True)
    found: tuple[list[str], list[str]] = ([], [])
    for batch, same in zip(one, other, strict=True):
        found[0].extend(ids_of(batch))
        found[1].extend(ids_of(same))
    assert found == (IDS, IDS)


def test_another_thread_goes_on(notes: Collection) -> None:
    reader = iter(notes.to_arrow(batches=True))
    found = ids_of(next(reader)) + ids_of(next(reader))
    thread = threading.Thread(target=lambda: found.extend(ids_of(next(reader))))
    thread.start()
    thread.join()
    for batch in reader:
        found += ids_of(batch)
    assert found == IDS


def test_a_scan_that_is_not_read_to_its_end_leaves_nothing(
    notes: Collection, server: ArrowFlight
) -> None:
    reader = notes.to_arrow(batches=True)
    next(iter(reader))
    reader.close()
    del reader
    # The next one that begins has it closed.
    assert ids_of(notes.to_arrow()) == IDS
    assert not len(server._listener._calls._service.scans)


def test_a_piece_for_which_there_was_no_room_is_asked_for_again(
    notes: Collection, server: ArrowFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = server._listener._calls._service.scans
    read = scans.read
    refused: list[int] = []

    def short(token: str, target: Any, number: int) -> Any:
        if number == 2 and not refused:
            refused.append(number)
            error = MemoryBudgetError("others use it")
            error.may_fit_later = True
            raise error
        return read(token, target, number)

    monkeypatch.setattr(scans, "read", short)
    assert ids_of(notes.to_arrow()) == IDS
    assert refused == [2]
