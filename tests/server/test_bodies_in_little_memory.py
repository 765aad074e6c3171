"""Bodies where memory is short: refused before it is taken, and sent in parts that fit by clients of ours."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.api import copying
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server.bodies import Bodies
from tests.memory.fakes import MIB, FakeMachine, tight
from tests.server.conftest import PLACE, Raw
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

N = 4_000
DIMENSION = 384
#: What all of them take as base64, about.
BODY_BYTES = N * DIMENSION * 16 // 3


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    return tight(monkeypatch, 1_000 * MIB)


@pytest.fixture
def served(machine: FakeMachine) -> Iterator[tuple[Any, Raw, str]]:
    """A server, the requests for it, and the id of a collection."""
    settings = chroma_nb.Settings(server_port=0, server_threads=2)
    with (
        chroma_nb.EphemeralClient(private_settings(progress=False)) as store,
        chroma_nb.server.FastAPI(store.api, settings) as server,
    ):
        raw = Raw(server.start())
        yield server, raw, str(store.create_collection("docs", embedding_function=None).id)
        raw.close()


def free(machine: FakeMachine, n_bytes: int) -> None:
    machine.n_bytes = n_bytes + WORKSPACE.headroom


def answer_to_head(server: Any, path: str, n_bytes: int) -> bytes:
    """Return what a server answers to a request of which no more than the head has come."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 60) as wire:
        wire.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {n_bytes}\r\n\r\n{{".encode()
        )
        answer = b""
        # Not to the end: the connection may go on.
        while b"}" not in answer and (part := wire.recv(65_536)):
            answer += part
    return answer


def add(client: Any, n_bytes_of_text: int = 0) -> Any:
    docs = client.get_collection("docs", embedding_function=None)
    docs.add(
        ids=[f"id{row}" for row in range(N)],
        embeddings=np.ones((N, DIMENSION), np.float32),
        documents=["x" * n_bytes_of_text] * N if n_bytes_of_text else None,
    )
    return docs


def test_a_body_that_does_not_fit_is_refused_before_it_is_read(
    served: tuple[Any, Raw, str], machine: FakeMachine
) -> None:
    server, raw, docs = served
    path = f"{PLACE}/collections/{docs}/add"
    free(machine, 16 * MIB)
    answer = answer_to_head(server, path, 8 * MIB)
    assert answer.startswith(b"HTTP/1.1 507")
    assert b"MemoryBudgetError" in answer
    assert b"send it in smaller parts" in answer
    # Where others hold the memory it is to come again.
    free(machine, 64 * MIB)
    with WORKSPACE.take_all(60 * MIB, "Another's answer"):
        answer = answer_to_head(server, path, 8 * MIB)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer.lower()
    assert WORKSPACE.used == 0
    # And one whose size nobody says is refused when it has become too large.
    free(machine, 16 * MIB)
    pieces = (b" " * 65_536 for _ in range(200))
    head = {"Content-Type": "application/json"}
    # It may close the connection before all is sent.
    with contextlib.suppress(OSError):
        assert raw("POST", path, data=pieces, headers=head).status_code == 507
    assert WORKSPACE.used == 0


def test_a_client_sends_parts_that_the_memory_of_the_server_allows(
    served: tuple[Any, Raw, str], machine: FakeMachine
) -> None:
    server, raw, _ = served
    with chroma_nb.connect(server.url) as client:
        assert raw("GET", "/api/v2/pre-flight-checks").json()["max_body"] == 1_000 * MIB // 6
        # Less than when the client asked first.
        free(machine, 12 * MIB)
        assert raw("GET", "/api/v2/pre-flight-checks").json()["max_body"] == 2 * MIB
        docs = add(client)
        assert docs.count() == N
    text = raw("GET", "/metrics").text
    counted = [
        line.split()
        for line in text.splitlines()
        if line.startswith('chroma_nb_requests_total{operation="add"')
    ]
    # In several parts, of which none was refused.
    ((name, n_parts),) = counted
    assert 'status="201"' in name
    assert float(n_parts) >= BODY_BYTES // (2 * MIB)
    assert WORKSPACE.used == 0


def test_a_client_halves_what_there_is_no_memory_for(
    served: tuple[Any, Raw, str], machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may have less memory when a part comes than it said before."""
    server, _, _ = served
    monkeypatch.setattr("chroma_nb.server.operations.largest_part", lambda most: most)
    free(machine, 12 * MIB)
    with chroma_nb.connect(server.url) as client:
        assert add(client, 500).count() == N
    assert WORKSPACE.used == 0


def test_texts_ask_for_the_memory_of_their_commit(machine: FakeMachine) -> None:
    texts = ["x" * MIB] * 8
    with Bodies.writing(texts, None, [{"a": 1}, None]):
        # What the database takes comes from the same account, so it is not held here.
        assert 3 * 8 * MIB <= WORKSPACE.used < 4 * 8 * MIB
    free(machine, 6 * 8 * MIB)
    with pytest.raises(MemoryBudgetError, match=r"8\.4 MB of texts"), Bodies.writing(texts):
        pass
    assert WORKSPACE.used == 0


def test_values_of_a_body_ask_for_the_memory_that_parsing_takes(machine: FakeMachine) -> None:
    bodies = Bodies(256 * MIB, 1.0)
    body = b"," * 200_000
    with bodies.parsing(body):
        assert WORKSPACE.used == 200_000 * 160
    # Texts may become four bytes for each character.
    with bodies.parsing(body + "é".encode()):
        assert WORKSPACE.used == 200_000 * 160 + 3 * 200_002
    assert WORKSPACE.used == 0


def test_a_copy_takes_long_texts_that_follow_short_ones_in_smaller_pieces(
    machine: FakeMachine,
) -> None:
    """How many records a piece has follows the ones before it, which say nothing of these."""
    with chroma_nb.EphemeralClient(private_settings(progress=False)) as store:
        docs = store.create_collection("texts", embedding_function=None)
        texts = ["short"] * 600 + ["x" * MIB] * 16
        docs.add(ids=[str(i) for i in range(616)], embeddings=[[1.0]] * 616, documents=texts)
        free(machine, 64 * MIB)
        place = copying.Place(store.api, docs.id, docs.tenant, docs.database)
        pieces = [found.documents or [] for found in place.scan()]
    assert [text for piece in pieces for text in piece] == texts
    # To write a text takes eight times its size, and a piece has 32 MiB at most.
    assert max(sum(len(text or "") for text in piece) for piece in pieces) <= 4 * MIB


def test_a_body_leaves_its_bytes_to_what_is_made_of_it() -> None:
    from chroma_nb.server.bodies import Received

    body = Received()
    body += b"{}"
    assert body.take_bytes() == b"{}"
    assert not body
