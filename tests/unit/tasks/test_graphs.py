"""What a worker builds of a message about a graph: the store's own files alone are read and written."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db.block_sums import BlockSums
from chroma_nb.db.vector_file import VectorFile
from chroma_nb.index import GraphParameters, load_engine
from chroma_nb.segment.index_file import open_graph
from chroma_nb.tasks import graphs
from chroma_nb.tasks.graph_builder import _message
from chroma_nb.tasks.messages import packed_body

if TYPE_CHECKING:
    from pathlib import Path

N, DIMENSION = 3_000, 24


@pytest.fixture
def stem(tmp_path: Path) -> str:
    folder = tmp_path / "store"
    folder.mkdir()
    return str(folder / f"{uuid.uuid4()}.0")


@pytest.fixture
def file(stem: str) -> VectorFile:
    found = VectorFile(f"{stem}.f32", DIMENSION)
    sums = BlockSums(found.row_bytes)
    found.check_against(sums, lambda blocks: None)
    rows = np.random.default_rng(1).normal(size=(N, DIMENSION)).astype(np.float32)
    for start in (0, 1_000, 2_500):
        stop = {0: 1_000, 1_000: 2_500, 2_500: N}[start]
        growth = found.append(start, rows[start:stop])
        assert growth is not None
        sums.adopt(growth)
    return found


@pytest.fixture
def alive() -> np.ndarray[Any, Any]:
    found = np.ones(N, bool)
    found[::7] = False
    return found


@pytest.fixture
def body(file: VectorFile, stem: str, alive: np.ndarray[Any, Any]) -> dict[str, Any]:
    engine = load_engine("usearch")
    assert engine is not None
    found = _message(file, engine, GraphParameters("l2", DIMENSION), alive)
    assert found is not None
    return {**found, "prefix": f"{stem}.built-{uuid.uuid4().hex}"}


def answer(body: dict[str, Any], *stores: Path | str) -> dict[str, Any]:
    return graphs.answer(
        packed_body(body), [os.path.realpath(one) for one in stores], lambda done: None
    )


def test_the_graph_is_one_that_the_store_opens(
    body: dict[str, Any], file: VectorFile, alive: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    assert answer(body, tmp_path)["end"] == N
    engine = load_engine("usearch")
    assert engine is not None
    parameters = GraphParameters("l2", DIMENSION)
    found = open_graph(body["prefix"], engine, parameters, N, file.digest)
    assert found is not None
    graph, end = found
    assert (len(graph), end) == (int(alive.sum()), N)
    row = file.read_range(100, 101)
    assert graph.search(row, 1, 1).labels.tolist() == [[100]]


def test_rows_that_came_later_are_left_to_the_tail(
    body: dict[str, Any], file: VectorFile, tmp_path: Path
) -> None:
    growth = file.append(N, np.ones((500, DIMENSION), np.float32))
    assert growth is not None
    assert file.sums is not None
    file.sums.adopt(growth)
    assert answer(body, tmp_path)["end"] == N


def test_without_a_folder_nothing_is_built(body: dict[str, Any], tmp_path: Path) -> None:
    assert "builds no graphs" in answer(body)["refused"]
    (tmp_path / "other").mkdir()
    (tmp_path / "sto").mkdir()
    for folder in ("other", "sto"):
        assert "may use" in answer(body, tmp_path / folder)["refused"]


@pytest.mark.parametrize("name", ["vectors", "prefix"])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/../etc/shadow",
        None,
        7,
        "",
        "\0",
        "{folder}/x",
        "{folder}/../../{stem}.f32",
        "{folder}/{stem}.built-" + "0" * 31,
        "{folder}/{stem}.built-" + "0" * 32 + "/../../x",
        "/tmp/{stem}.f32",
        "/tmp/{stem}.built-" + "0" * 32,
    ],
)
def test_no_other_file_is_read_or_written(
    body: dict[str, Any], stem: str, tmp_path: Path, name: str, path: Any
) -> None:
    if isinstance(path, str):
        path = path.format(folder=os.path.dirname(stem), stem=os.path.basename(stem))
    before = sorted(tmp_path.rglob("*"))
    assert "refused" in answer({**body, name: path}, tmp_path / "store")
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_not_followed(body: dict[str, Any], stem: str, tmp_path: Path) -> None:
    other = os.path.join(os.path.dirname(stem), f"{uuid.uuid4()}.0.f32")
    os.symlink(body["vectors"], other)
    assert "link" in answer({**body, "vectors": other}, tmp_path)["refused"]
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, tmp_path / "store" / "inside")
    moved = str(tmp_path / "store" / "inside" / os.path.basename(body["prefix"]))
    assert "may use" in answer({**body, "prefix": moved}, tmp_path / "store")["refused"]
    assert not list(outside.iterdir())


@pytest.mark.parametrize("place", [4_096 + 8, 4_096 + 4 * DIMENSION * (N - 1)])
def test_damaged_vectors_are_refused(
    body: dict[str, Any], file: VectorFile, tmp_path: Path, place: int
) -> None:
    assert file.path is not None
    with open(file.path, "r+b") as opened:
        opened.seek(place)
        opened.write(b"\xff\x00\xff")
    refused = answer(body, tmp_path)["refused"]
    assert "damaged" in refused or "other vectors" in refused
    assert not list((tmp_path / "store").glob("*.graph*"))


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "os:system"},
        {"engine": None},
        {"space": "x"},
        {"end": -1},
        {"end": True},
        {"end": 10**9},
        {"dimension": 0},
        {"dimension": DIMENSION * 2},
        {"m": "16"},
        {"sums": "§"},
        {"sums": "AAAA"},
        {"dead": "AAAA"},
        {"dead": None},
        {"tail_rows": -1},
        {"tail_sum": 1 << 65},
        {"digest": 0},
        {"digest": None},
    ],
)
def test_a_message_that_is_none_is_refused(
    body: dict[str, Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    assert "refused" in answer({**body, **change}, tmp_path)
    assert not list((tmp_path / "store").glob("*.graph*"))
