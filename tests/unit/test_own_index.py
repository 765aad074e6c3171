"""A graph engine of one's own, named as ``package.module:Class``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.index import check_engine, load_engine
from tests.support.own_index import OwnIndex

if TYPE_CHECKING:
    from pathlib import Path

OWN = "tests.support.own_index:OwnIndex"


def test_a_store_uses_it_and_finds_its_saved_graph_again(tmp_path: Path) -> None:
    settings = chroma_nb.Settings(
        path=str(tmp_path / "store"), index_engine=OWN, graph_min_records=10, progress=False
    )
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    with chroma_nb.Client(settings) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=[str(at) for at in range(50)], embeddings=vectors)
        notes.build_index()
        assert notes.explain(query_embeddings=vectors[7])["engine"] == "own"
        notes.unload()
    assert list(tmp_path.rglob("*.own.graph"))
    with chroma_nb.Client(settings) as client:
        notes = client.get_collection("notes")
        assert notes.query(query_embeddings=vectors[7], n_results=1)["ids"] == [["7"]]
        assert notes.explain(query_embeddings=vectors[7])["engine"] == "own"


def test_a_name_leads_to_a_class_or_to_an_error(tmp_path: Path) -> None:
    assert load_engine(OWN) is OwnIndex
    for check in (check_engine, load_engine):
        with pytest.raises(InvalidArgumentError, match="is no class of VectorIndex"):
            check("tests.support.own_index:np")
        with pytest.raises(InvalidArgumentError, match=r"or 'package\.module:Class'"):
            check("own")
        with pytest.raises(ModuleNotFoundError, match="nowhere"):
            check("nowhere.at_all:Index")
        with pytest.raises(AttributeError, match="Nothing"):
            check("tests.support.own_index:Nothing")
    # Before anything is written.
    with pytest.raises(ModuleNotFoundError):
        chroma_nb.Client(chroma_nb.Settings(path=str(tmp_path / "s"), index_engine="nowhere:X"))
    assert not (tmp_path / "s").exists()
