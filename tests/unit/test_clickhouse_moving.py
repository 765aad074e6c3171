"""Stores moved from DuckDB to ClickHouse and back: errors and kills in the middle, going on, and what is compared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.api import copying
from chroma_nb.errors import InternalError
from tests.support.clickhouse import (
    HAS_CLICKHOUSE,
    NO_CLICKHOUSE,
    URL,
    Front,
    at_clickhouse,
    let_go,
)
from tests.unit.transfer.records import content, make_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)

N = 400
#: Copies what it is told to, and waits for its end where a part of it is there.
COPIER = """
import sys, time
import chroma_nb

source, target = (chroma_nb.Settings(**eval(one)) for one in sys.argv[1:3])
here, there = chroma_nb.Client(source), chroma_nb.Client(target)
add, calls = there.api.add, []

def add_some(*given, **named):
    calls.append(given)
    if len(calls) == 2:
        print("some", flush=True)
        time.sleep(600)
    return add(*given, **named)

there.api.add = add_some
here.copy_to(there)
"""


@pytest.fixture
def duckdb(tmp_path: Path) -> dict[str, Any]:
    return {"is_persistent": True, "path": str(tmp_path / "duckdb"), "progress": False}


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A place that a second process can reach, too."""
    let_go()
    if URL:
        chosen = at_clickhouse(chroma_nb.Settings(path=str(tmp_path / "there")))
        yield {"db": "clickhouse", "clickhouse_url": chosen.clickhouse_url, "progress": False}
        return
    front = Front(tmp_path / "engine")
    yield {"db": "clickhouse", "clickhouse_url": f"{front.url}/default", "progress": False}
    front.kill()


Way = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(params=["to ClickHouse", "to DuckDB"])
def way(request: pytest.FixtureRequest, duckdb: dict[str, Any], clickhouse: dict[str, Any]) -> Way:
    """Settings of the source and of the target."""
    return (duckdb, clickhouse) if request.param == "to ClickHouse" else (clickhouse, duckdb)


@pytest.fixture
def clients(way: Way) -> Iterator[tuple[Any, Any]]:
    with (
        chroma_nb.Client(chroma_nb.Settings(**way[0])) as here,
        chroma_nb.Client(chroma_nb.Settings(**way[1])) as there,
    ):
        yield here, there


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PIECE_RECORDS", 40)


def make_many(client: Any) -> Any:
    many = client.create_collection("many", embedding_function=None)
    rng = np.random.default_rng(1)
    many.add(
        ids=[f"ö{n}" for n in range(N)],
        embeddings=rng.standard_normal((N, 3)).astype(np.float32),
        documents=[None if n % 7 == 0 else f"text {n} \0 'x'" for n in range(N)],
        metadatas=[None if n % 5 == 0 else {"n": n, "f": n / 3, "t": ["a"]} for n in range(N)],
    )
    return many


def by_id(collection: Any) -> str:
    found = collection.get(include=["documents", "metadatas", "embeddings", "uris"])
    rows = zip(
        found["ids"],
        found["documents"],
        found["metadatas"],
        found["uris"],
        found["embeddings"].tolist(),
        strict=True,
    )
    return repr(sorted(rows, key=lambda row: row[0]))


def test_a_store_comes_over_whole(clients: tuple[Any, Any]) -> None:
    here, there = clients
    notes, many = make_notes(here), make_many(here)
    here.create_collection("empty", embedding_function=None)
    moved = here.copy_to(there, verify=True)
    assert moved == {"notes": 3, "many": N, "empty": 0}
    for one in (notes, many):
        copy = there.get_collection(one.name, embedding_function=None)
        assert content(copy) == content(one)
        assert copy.configuration_json == one.configuration_json
        assert copy.metadata == one.metadata
    sums = {name: report.checksum for name, report in moved.reports.items()}
    assert len(set(sums.values())) == 3
    assert {
        name: r.checksum for name, r in there.copy_to(here, verify=True).reports.items()
    } == sums
    assert f"checksum {sums['many']}" in str(moved.reports["many"])
    assert here.copy_to(there).reports["many"].checksum == ""


def test_after_an_error_the_same_call_goes_on(
    clients: tuple[Any, Any], small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = clients
    many = make_many(here)
    add, calls = there.api.add, []

    def stops(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) % 3 == 2:
            raise InternalError("stopped")
        return add(*given, **named)

    monkeypatch.setattr(there.api, "add", stops)
    there_are = [0]
    for _ in range(3):
        with pytest.raises(InternalError, match=r"The copy \[many\] is unfinished"):
            here.copy_to(there, verify=True)
        there_are.append(there.get_collection("many", embedding_function=None).count())
    assert there_are == sorted(set(there_are)), "each call has gone on"
    assert there_are[-1] < N
    monkeypatch.undo()
    assert here.copy_to(there, verify=True) == {"many": N}
    assert by_id(there.get_collection("many", embedding_function=None)) == by_id(many)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_after_a_kill_the_same_call_goes_on(way: Way) -> None:
    with chroma_nb.Client(chroma_nb.Settings(**way[0])) as here:
        make_many(here)
    command = [sys.executable, "-c", COPIER, *map(repr, way)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "some\n"
        os.kill(process.pid, signal.SIGKILL)
    with (
        chroma_nb.Client(chroma_nb.Settings(**way[0])) as here,
        chroma_nb.Client(chroma_nb.Settings(**way[1])) as there,
    ):
        copy = there.get_collection("many", embedding_function=None)
        there_were = copy.count()
        assert 0 < there_were < N
        moved = here.copy_to(there, verify=True)
        assert moved.reports["many"].skipped == there_were
        assert moved.reports["many"].added == N - there_were
        assert by_id(copy) == by_id(here.get_collection("many", embedding_function=None))
        assert there.check().is_whole


CHANGES: dict[str, Callable[[Any], object]] = {
    "a document": lambda one: one.update(ids=["b"], documents=["other"], embeddings=[[0.1, 1.0]]),
    "a type": lambda one: one.update(ids=["a"], metadatas=[{"n": 1.0}]),
    "a bit of an embedding": lambda one: one.update(
        ids=["a"], embeddings=[[1.0, np.nextafter(np.float32(0.1), np.float32(1))]]
    ),
    "an id": lambda one: (
        one.delete(ids=["b"]),
        one.add(ids=["d"], embeddings=[[0.1, 1.0]], documents=[None]),
    ),
    "a record more": lambda one: one.add(ids=["d"], embeddings=[[0.0, 1.0]]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_that_differs_is_named_and_can_be_made_the_same(
    clients: tuple[Any, Any], change: str
) -> None:
    here, there = clients
    make_notes(here)
    here.copy_to(there)
    CHANGES[change](there.get_collection("notes", embedding_function=None))
    with pytest.raises(InternalError, match=r"copy \[notes\] is not the same.*mirror=True"):
        here.copy_to(there, verify=True)
    assert here.copy_to(there, mirror=True, verify=True).reports["notes"].checksum
