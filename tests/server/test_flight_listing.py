"""Flights: what a plain Arrow Flight client finds without knowing ids, and reads at one version, piece by piece."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.api.scanning import Scan, ScanPiece
from chroma_nb.server import flight_listing
from chroma_nb.server.auth_file import AuthFile
from tests.support.waiting import wait_until

fl = pytest.importorskip("pyarrow.flight")
from tests.server.flight_clients import TENANT, Plain, said, served  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.server import ArrowFlight

PAGE = Path(__file__).parents[2] / "docs" / "server.md"
#: Records of 4 KB, so that a scan of them has several pieces.
N_RECORDS = 2_000
PATH = ("default_tenant", "default_database", "notes")


@pytest.fixture(scope="module")
def server() -> Iterator[ArrowFlight]:
    with served() as server:
        with chroma_nb.connect(server.url) as client:
            fill(client.create_collection("notes", embedding_function=None))
            client.create_collection("empty", embedding_function=None)
        yield server


def fill(collection: Any) -> None:
    collection.add(
        ids=[f"id{n}" for n in range(N_RECORDS)],
        embeddings=np.arange(N_RECORDS * 4, dtype=np.float32).reshape(-1, 4),
        documents=["x" * 4_000] * N_RECORDS,
        metadatas=[{"n": n} for n in range(N_RECORDS)],
    )


def ticket_of(plain: Plain, *path: str) -> Any:
    descriptor = fl.FlightDescriptor.for_path(*path)
    return plain.client.get_flight_info(descriptor, plain.options).endpoints[0].ticket


def read(plain: Plain, ticket: Any) -> Any:
    return plain.client.do_get(ticket, plain.options)


def changed(ticket: Any, **body: Any) -> Any:
    """The ticket with another body."""
    return fl.Ticket(json.dumps({**json.loads(ticket.ticket), "body": body}).encode())


def names(plain: Plain, criteria: bytes = b"") -> list[tuple[str, ...]]:
    listed = plain.client.list_flights(criteria, plain.options)
    return [tuple(part.decode() for part in one.descriptor.path) for one in listed]


# -- finding --------------------------------------------------------------------------------------


def test_every_collection_is_a_flight(plain: Plain) -> None:
    place = ("default_tenant", "default_database")
    assert names(plain) == [(*place, "notes"), (*place, "empty")]
    assert names(plain, json.dumps(TENANT).encode()) == names(plain)
    flight = next(iter(plain.client.list_flights(options=plain.options)))
    assert flight.total_records == N_RECORDS
    assert flight.schema.names == ["id", "embedding", "document", "uri", "metadata"]


@pytest.mark.parametrize(
    "criteria", [b"{", b"[]", b'{"tenant": 1}', b'{"of": "x"}', b"\xff", b"x" * 5_000]
)
def test_criteria_that_are_none_are_refused(plain: Plain, criteria: bytes) -> None:
    with pytest.raises(fl.FlightServerError) as error:
        names(plain, criteria)
    assert said(error)[0] == 400
    assert "riteria" in said(error)[1]


def test_a_flight_that_is_not_there_is_said_to_be(plain: Plain) -> None:
    for descriptor, status in (
        (fl.FlightDescriptor.for_path("default_tenant", "default_database", "none"), 404),
        (fl.FlightDescriptor.for_path("default_tenant", "none", "notes"), 404),
        (fl.FlightDescriptor.for_path("notes"), 400),
        (fl.FlightDescriptor.for_command(b"{}"), 400),
    ):
        with pytest.raises(fl.FlightServerError) as error:
            plain.client.get_flight_info(descriptor, plain.options)
        assert said(error)[0] == status, descriptor


def test_a_list_has_an_end(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_listing, "_MOST_FLIGHTS", 1)
    with pytest.raises(fl.FlightServerError, match="More than 1 flights: name a tenant"):
        names(plain)


def test_pages_of_a_list_are_put_together(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_listing, "_PAGE", 1)
    assert [path[-1] for path in names(plain)] == ["notes", "empty"]


# -- reading --------------------------------------------------------------------------------------


def test_a_ticket_reads_everything_in_pieces(plain: Plain) -> None:
    flight = plain.client.get_flight_info(fl.FlightDescriptor.for_path(*PATH), plain.options)
    batches = list(read(plain, flight.endpoints[0].ticket).to_reader())
    assert len(batches) > 2
    assert all(one.schema == flight.schema for one in batches)
    found = [row for one in batches for row in one.to_pylist()]
    assert [row["id"] for row in found] == [f"id{n}" for n in range(N_RECORDS)]
    assert found[7] == {
        "id": "id7",
        "embedding": [28.0, 29.0, 30.0, 31.0],
        "document": "x" * 4_000,
        "uri": None,
        "metadata": '{"n":7}',
    }


def test_a_ticket_may_choose(plain: Plain) -> None:
    ticket = changed(ticket_of(plain, *PATH), where={"n": {"$lt": 3}}, include=["metadatas"])
    table = read(plain, ticket).read_all()
    assert table.to_pydict() == {
        "id": ["id0", "id1", "id2"],
        "metadata": ['{"n":0}', '{"n":1}', '{"n":2}'],
    }
    assert read(plain, changed(ticket, where={"n": -1})).read_all().num_rows == 0
    assert read(plain, ticket_of(plain, *PATH[:2], "empty")).read_all().num_rows == 0


@pytest.mark.parametrize(
    "body",
    [{"where": {"n": {"$no": 1}}}, {"include": ["all"]}, {"scan": "x"}, {"close": True}, [1]],
)
def test_a_ticket_that_is_none_is_refused(plain: Plain, server: ArrowFlight, body: Any) -> None:
    command = {**json.loads(ticket_of(plain, *PATH).ticket), "body": body}
    with pytest.raises(fl.FlightServerError) as error:
        read(plain, fl.Ticket(json.dumps(command).encode())).read_all()
    assert said(error)[0] in (400, 422)
    assert not server._service.scans


def test_a_read_is_of_one_version(server: ArrowFlight, plain: Plain) -> None:
    with chroma_nb.connect(server.url) as client:
        other = client.create_collection("other", embedding_function=None)
        fill(other)
        reader = read(plain, ticket_of(plain, *PATH[:2], "other"))
        seen = reader.read_chunk().data.column("id").to_pylist()
        other.delete(ids=[f"id{n}" for n in range(0, N_RECORDS, 2)])
        other.update(ids=["id1999"], metadatas=[{"n": -1}])
        other.add(ids=["late"], embeddings=[[0.0] * 4])
        rest = reader.read_all()
        assert seen + rest.column("id").to_pylist() == [f"id{n}" for n in range(N_RECORDS)]
        assert rest.column("metadata").to_pylist()[-1] == '{"n":1999}'
        assert other.count() == N_RECORDS // 2 + 1
        client.delete_collection("other")


def test_a_client_that_reads_no_further_leaves_no_scan(server: ArrowFlight, plain: Plain) -> None:
    reader = read(plain, ticket_of(plain, *PATH))
    reader.read_chunk()
    assert len(server._service.scans) == 1
    reader.cancel()
    wait_until(lambda: not server._service.scans)


def test_what_a_scan_leaves_out_is_said(plain: Plain) -> None:
    reader = read(plain, ticket_of(plain, *PATH))
    assert json.loads(reader.read_chunk().app_metadata.to_pybytes()) == {"n_damaged": 0}
    reader.cancel()


class Damaged(Scan):
    """A scan of four records. All of the first and of the third piece are left out, as they are damaged."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        vectors = np.array([[1.0, 2.0]], np.float32)
        nothing = np.empty((0, 0), np.float32)
        self._pieces = [
            ScanPiece([], nothing, [], [], [], n_damaged=1),
            ScanPiece(["a"], vectors, [None], [None], [None]),
            ScanPiece([], nothing, [], [], [], n_damaged=2),
        ]

    def _next(self) -> ScanPiece | None:
        return self._pieces.pop(0) if self._pieces else None


def test_a_piece_of_damaged_records_alone_says_how_many(
    server: ArrowFlight, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.api, "scan", lambda *given, **named: Damaged())
    chunks = list(read(plain, ticket_of(plain, *PATH)))
    assert [one.data.column("id").to_pylist() for one in chunks] == [[], ["a"], []]
    said_beside = [json.loads(one.app_metadata.to_pybytes()) for one in chunks]
    assert [one["n_damaged"] for one in said_beside] == [1, 0, 2]


def test_duckdb_and_polars_take_a_flight_as_it_is(plain: Plain) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    reader = read(plain, ticket_of(plain, *PATH)).to_reader()
    connection = duckdb.connect()
    connection.register("notes", reader)
    (found,) = connection.sql("select count(*), sum(len(document)) from notes").fetchall()
    assert found == (N_RECORDS, N_RECORDS * 4_000)
    frame = polars.from_arrow(read(plain, ticket_of(plain, *PATH)).read_all())
    assert frame.height == N_RECORDS
    assert frame["embedding"][1].to_list() == [4.0, 5.0, 6.0, 7.0]


def test_the_example_of_the_docs_needs_nothing_of_ours(server: ArrowFlight) -> None:
    pytest.importorskip("polars")
    read, write = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    with chroma_nb.connect(server.url) as client:
        glosses = client.get_or_create_collection("glosses", embedding_function=None)
        glosses.add(ids=["b"], embeddings=[[1.0, 2.0]], metadatas=[{"pos": "noun"}])
    code = (read + write).replace("grpc://host:8815", server.url)
    code += "\nimport sys\nassert frame.height == 1 and 'chroma_nb' not in sys.modules\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "noun" in done.stdout
    with chroma_nb.connect(server.url) as client:
        found = client.get_collection("glosses", embedding_function=None).get()
    assert found["ids"] == ["b", "a"]
    assert found["metadatas"] == [{"pos": "noun"}] * 2


# -- who may --------------------------------------------------------------------------------------


def test_flights_are_those_of_the_callers_tenants(tmp_path: Path) -> None:
    path = str(tmp_path / "auth.json")
    file = AuthFile(path)
    tokens = {name: file.add_token(name, [name]) for name in ("acme", "other")}
    admin = file.add_token("admin", ["*"])
    with served(server_auth_file=path) as server:
        for token in tokens.values():
            with chroma_nb.connect(server.url, token=token) as client:
                fill(client.create_collection("notes", embedding_function=None))
        acme, other, root, stranger = (
            Plain(server.url, token) for token in (*tokens.values(), admin, "wrong")
        )
        mine = ("acme", "default_database", "notes")
        assert names(acme) == [mine]
        assert names(root) == []
        assert names(root, b'{"tenant": "acme"}') == [mine]
        descriptor = fl.FlightDescriptor.for_path(*mine)
        ticket = ticket_of(acme, *mine)
        for ask in (
            lambda one: names(one, b'{"tenant": "acme"}'),
            lambda one: one.client.get_flight_info(descriptor, one.options),
            # A ticket that was seen by somebody else.
            lambda one: read(one, ticket).read_all(),
        ):
            with pytest.raises(fl.FlightUnauthorizedError):
                ask(other)
            with pytest.raises(fl.FlightUnauthenticatedError):
                ask(stranger)
        # One who may no more gets no further piece.
        reader = read(acme, ticket)
        reader.read_chunk()
        file.remove("acme")
        with pytest.raises(fl.FlightUnauthenticatedError):
            reader.read_all()
        wait_until(lambda: not server._service.scans)
        for one in (acme, other, root, stranger):
            one.client.close()
