"""Copies and imports name no more ids in a call than it may name, however few these are (`max_filter_values`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.server import FastAPI
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST, N = 100, 350
IDS = [f"id{n}" for n in range(N)]


def filled(client: Any, name: str = "notes") -> Any:
    notes = client.create_collection(name, embedding_function=None)
    notes.add(
        ids=IDS,
        embeddings=np.arange(2 * N, dtype=np.float32).reshape(N, 2),
        documents=[f"text {n}" for n in range(N)],
        metadatas=[{"n": n} for n in range(N)],
    )
    return notes


@pytest.fixture(params=["here", "at a server"])
def narrow(request: Any) -> Iterator[Any]:
    """A client of a store in which a call may name `MOST` ids."""
    settings = private_settings(max_filter_values=MOST, progress=False)
    with chroma_nb.EphemeralClient(settings) as client:
        if request.param == "here":
            yield client
            return
        with (
            FastAPI(client.api, chroma_nb.Settings(server_port=0)) as server,
            chroma_nb.connect(server.start(), settings=chroma_nb.Settings(progress=False)) as far,
        ):
            yield far


@pytest.fixture
def wide() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(private_settings(progress=False)) as client:
        yield client


def test_the_limit_is_there(narrow: Any) -> None:
    notes = filled(narrow)
    with pytest.raises(InvalidArgumentError, match="max_filter_values"):
        notes.get(ids=IDS[: MOST + 1])


@pytest.mark.parametrize("how", [{}, {"on_conflict": "replace"}, {"mirror": True}])
def test_copies_in_and_out_again_and_again(narrow: Any, wide: Any, how: Any) -> None:
    filled(narrow)
    for source, target in ((narrow, wide), (wide, narrow)):
        for _ in range(2):
            source.copy_to(target, **how)
            assert target["notes"].count() == N
        # Some to resume, and some that the source has not.
        target["notes"].delete(where={"n": {"$gte": N - 150}})
        target["notes"].add(ids=[f"more{n}" for n in range(150)], embeddings=[[1.0, 2.0]] * 150)
        source.copy_to(target, **how)
        assert target["notes"].count() == (N if how == {"mirror": True} else N + 150)
        target["notes"].delete(ids=[f"more{n}" for n in range(100)])
        target["notes"].delete(ids=[f"more{n}" for n in range(100, 150)])


@pytest.mark.parametrize("on_conflict", ["skip", "replace"])
def test_imports_into_records_that_are_there(narrow: Any, tmp_path: Path, on_conflict: Any) -> None:
    filled(narrow).export(tmp_path / "notes.parquet")
    narrow["notes"].delete(where={"n": {"$lt": 150}})
    for _ in range(2):
        narrow.import_(tmp_path / "notes.parquet", on_conflict=on_conflict)
        assert sorted(narrow["notes"].get(include=[])["ids"]) == sorted(IDS)


def test_tables_and_frames(narrow: Any) -> None:
    notes = filled(narrow)
    table = notes.to_arrow()
    frame = pd.DataFrame({"text": [f"row {n}" for n in range(N)], "vector": [[1.0, 2.0]] * N})
    rows = narrow.create_collection("rows", embedding_function=None)
    for _ in range(2):
        notes.from_arrow(table)
        assert notes.count() == N
        rows.from_pandas(frame, document="text", embedding="vector")
        assert rows.count() == N
