"""Saved graphs: what is sound is opened, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.index.base import GraphParameters, VectorIndex
from chroma_nb.segment.index_file import _description_sum, has_graph, open_graph, save_graph

if TYPE_CHECKING:
    from pathlib import Path

N = 200
PARAMETERS = GraphParameters("l2", 8)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return str(tmp_path / "one.0")


def vectors() -> Any:
    return np.random.default_rng(0).standard_normal((N, 8)).astype(np.float32)


def save(engine: type[VectorIndex], prefix: str) -> str:
    graph = engine.create(PARAMETERS, N)
    graph.add(np.arange(N), vectors(), 1)
    assert save_graph(prefix, graph, N) > 0
    return f"{prefix}.{engine.engine}.graph"


def test_a_graph_comes_back(engine: type[VectorIndex], prefix: str) -> None:
    assert not has_graph(prefix, engine)
    assert open_graph(prefix, engine, PARAMETERS, N) is None
    save(engine, prefix)
    assert has_graph(prefix, engine)
    found = open_graph(prefix, engine, PARAMETERS, N + 50)
    assert found is not None
    graph, end = found
    assert end == N
    assert graph.search(vectors()[7:8], 1, 1).labels.tolist() == [[7]]
    graph.add(np.array([N]), vectors()[:1] + 9, 1)


def test_how_far_it_looks_may_change(engine: type[VectorIndex], prefix: str) -> None:
    save(engine, prefix)
    assert open_graph(prefix, engine, replace(PARAMETERS, ef_search=7), N) is not None


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("flipped", "checksum is wrong"),
        ("short", "size is wrong"),
        ("no graph", "incomplete"),
        ("no description", "incomplete"),
        ("half a description", "cannot be used"),
        ("another format", "another format"),
        ("one digit", "description's checksum is wrong"),
        ("another engine", "it is other's"),
        ("other parameters", "other parameters"),
        ("too long", "covers 200 labels, the collection has 199"),
    ],
)
def test_what_is_not_sound_is_built_again(
    engine: type[VectorIndex],
    prefix: str,
    damage: str,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = save(engine, prefix)
    with open(path + ".json", encoding="utf-8") as file:
        description = json.load(file)
    n, parameters = N, PARAMETERS
    if damage == "flipped":
        with open(path, "r+b") as graph:
            graph.seek(os.path.getsize(path) // 2)
            byte = graph.read(1)[0]
            graph.seek(-1, os.SEEK_CUR)
            graph.write(bytes([byte ^ 1]))
    elif damage == "short":
        os.truncate(path, os.path.getsize(path) - 1)
    elif damage == "no graph":
        os.unlink(path)
    elif damage == "no description":
        os.unlink(path + ".json")
    elif damage == "half a description":
        os.truncate(path + ".json", 20)
    elif damage == "another format":
        description["format"] += 1
    elif damage == "another engine":
        description["engine"] = "other"
    elif damage == "other parameters":
        parameters = replace(PARAMETERS, m=8)
    elif damage == "too long":
        n -= 1
    if damage.startswith("another"):
        del description["sum"]
        description["sum"] = _description_sum(description)
    if damage == "one digit":
        description["end"] -= 1
    if damage.startswith(("another", "one")):
        with open(path + ".json", "w", encoding="utf-8") as file:
            json.dump(description, file)
    assert open_graph(prefix, engine, parameters, n) is None
    assert said in caplog.text
    assert "built again" in caplog.text


def test_a_graph_that_cannot_be_saved_leaves_nothing(
    engine: type[VectorIndex], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    graph = engine.create(PARAMETERS, N)
    graph.add(np.arange(N), vectors(), 1)
    (tmp_path / f"one.{engine.engine}.graph").mkdir()
    assert save_graph(str(tmp_path / "one"), graph, N) == 0
    assert "could not be saved" in caplog.text
    assert os.listdir(tmp_path) == [f"one.{engine.engine}.graph"]
