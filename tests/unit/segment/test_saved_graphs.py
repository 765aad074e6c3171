"""`SavedGraphs`: who gets a graph, and that the saved one of a collection is opened as it is now."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.index import forms_of
from chroma_nb.segment import saved_graphs as module
from chroma_nb.segment.saved_graphs import SavedGraphs
from tests.support.own_index import OwnIndex

if TYPE_CHECKING:
    from chroma_nb.segment.derived_files import DerivedFiles
    from chroma_nb.segment.segment import LoadedSegment
    from tests.unit.segment.conftest import Store

N = 120


@pytest.fixture
def built(plain_store: Store) -> LoadedSegment:
    """A loaded collection with a graph of all its records."""
    plain_store.segments._builder.close()
    plain_store.write(*[f"id{n}" for n in range(N)])
    plain_store.segments.build(plain_store.id)
    segment: LoadedSegment = plain_store.slot().segment
    return segment


@pytest.fixture
def saved(plain_store: Store) -> SavedGraphs:
    return plain_store.segments.residents.saved_graphs


def alive(n: int, *but: int) -> Any:
    found = np.ones(n, dtype=bool)
    found[list(but)] = False
    return found


def test_few_records_import_no_engine() -> None:
    def engine() -> None:
        raise AssertionError("imported")

    derived: DerivedFiles = None  # type: ignore[assignment]
    graphs = SavedGraphs(engine, 100, derived)
    assert not graphs.are_wanted(99, 4)
    assert list(graphs.forms(99, 4)) == []
    without = SavedGraphs(lambda: None, 100, derived)
    assert not without.are_wanted(100, 4)
    assert list(without.forms(100, 4)) == []
    own = SavedGraphs(lambda: OwnIndex, 100, derived)
    assert own.are_wanted(100, 4)
    assert list(own.forms(100, 4)) == list(forms_of(OwnIndex)) == [OwnIndex]


def test_a_form_is_for_as_many_dimensions_as_it_takes() -> None:
    class OfFew(OwnIndex):
        most_dimensions = 8

    derived: DerivedFiles = None  # type: ignore[assignment]
    graphs = SavedGraphs(lambda: OfFew, 100, derived)
    assert list(graphs.forms(100, 8)) == [OfFew]
    assert list(graphs.forms(100, 9)) == []
    assert not graphs.are_wanted(100, 9)


def test_a_saved_graph_comes_back_without_the_deleted(
    built: LoadedSegment, saved: SavedGraphs
) -> None:
    assert saved.open(built, OwnIndex, alive(N)) is None, "none is saved yet"
    assert built.vectors is not None
    assert built.vectors.graph_changed
    saved.save(built)
    assert not built.vectors.graph_changed
    # Since it was saved, labels were added, and some of the old ones deleted.
    found = saved.open(built, OwnIndex, alive(N + 30, 7, 8, N + 2))
    assert found is not None
    graph, end = found
    assert (len(graph), end) == (N - 2, N)
    query = built.vectors.source.read_range(7, 8)
    assert not {7, 8} & set(graph.search(query, N - 2, 1).labels[0].tolist())


def test_a_graph_is_saved_once_whoever_asks(
    built: LoadedSegment, saved: SavedGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_saved, together = [], threading.Barrier(4)
    save = module.save_graph

    def counted(*given: Any) -> int:
        n_saved.append(1)
        return save(*given)

    monkeypatch.setattr(module, "save_graph", counted)

    def ask() -> None:
        together.wait()
        saved.save(built)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    saved.save(built)
    assert len(n_saved) == 1


def test_one_that_could_not_be_saved_is_saved_the_next_time(
    built: LoadedSegment, saved: SavedGraphs, plain_store: Store
) -> None:
    path = plain_store.segments.residents.derived.prefix(plain_store.id) + ".own.graph"
    os.mkdir(path)
    saved.save(built)
    assert built.vectors is not None
    assert built.vectors.graph_changed
    os.rmdir(path)
    saved.save(built)
    assert not built.vectors.graph_changed
    assert saved.open(built, OwnIndex, alive(N)) is not None


def test_a_segment_without_a_graph_has_none_to_save(
    built: LoadedSegment, saved: SavedGraphs, plain_store: Store
) -> None:
    folder = plain_store.segments.residents.derived.folder
    assert built.vectors is not None
    built.vectors.drop_graph()
    before = os.listdir(folder)
    saved.save(built)
    built.vectors = None
    saved.save(built)
    assert os.listdir(folder) == before
    assert saved.open(built, OwnIndex, alive(N)) is None


def test_damaged_files_are_named(
    built: LoadedSegment, saved: SavedGraphs, plain_store: Store
) -> None:
    derived = plain_store.segments.residents.derived
    saved.save(built)
    built.save(derived)
    sizes: list[int] = []
    assert saved.damaged_files(plain_store.id, sizes.append) == []
    prefix = derived.prefix(plain_store.id)
    graph, snapshot = prefix + ".own.graph", prefix + ".segment"
    assert sum(sizes) >= os.path.getsize(graph) + os.path.getsize(snapshot)
    for path in (graph, snapshot):
        os.truncate(path, os.path.getsize(path) - 1)
    assert sorted(saved.damaged_files(plain_store.id, sizes.append)) == [graph, snapshot]
