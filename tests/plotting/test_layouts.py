"""Layouts that keep neighbourhoods: what they are made from, when they are made again, what is said of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.index.exact import distances
from chroma_nb.plotting import layouts
from chroma_nb.plotting.clusters import find_clusters
from chroma_nb.plotting.kept_layouts import KeptLayouts, fingerprint
from chroma_nb.plotting.neighbors import nearest_rows, neighbor_graph, place_by_neighbors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.types import Space

pytest.importorskip("openTSNE", reason="needs the extra 'plot'")
pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
SPACES: tuple[Space, ...] = ("l2", "ip", "cosine")
WORDS = ("apple pear fruit", "engine wheel car", "violin drum music")


def blobs(n: int, dimension: int = 24, n_blobs: int = 3) -> tuple[Any, Any]:
    """Return embeddings in blobs that lie far apart, and the blob of each."""
    rng = np.random.default_rng(4)
    which = np.arange(n) % n_blobs
    centers = 8 * np.eye(n_blobs, dimension)
    return (centers[which] + rng.standard_normal((n, dimension))).astype(np.float32), which


@pytest.fixture
def client() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as client:
        client.reset()
        yield client
        client.reset()


def filled(client: Any, n: int = 300, name: str = "blobs", space: str = "l2") -> Any:
    vectors, which = blobs(n)
    made = client.create_collection(
        name, embedding_function=None, configuration={"hnsw": {"space": space}}
    )
    made.add(
        ids=[f"{row}" for row in range(n)],
        embeddings=vectors,
        documents=[WORDS[one] for one in which],
        metadatas=[{"blob": int(one)} for one in which],
    )
    return made


@pytest.mark.parametrize("space", SPACES)
def test_nearest_rows_are_those_of_the_distances(space: Space) -> None:
    vectors, _ = blobs(200)
    vectors[5] = 0
    vectors[9] = vectors[11]
    found = nearest_rows(vectors[:40], vectors, 6, space, own=np.arange(40))
    for row, near in enumerate(found):
        away = distances(space, vectors[row], vectors)
        away[row] = np.inf
        assert row not in near
        assert np.allclose(np.sort(away)[:6], away[near], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("space", SPACES)
def test_the_neighbours_of_a_whole_collection_are_its_own_answers(client: Any, space: str) -> None:
    made = filled(client, space=space)
    vectors, _ = blobs(300)
    ids = made.get(include=[])["ids"]
    seen: list[int] = []
    asked = neighbor_graph(made, ids, vectors, 7, is_whole=True, on_rows=seen.append)
    alone = neighbor_graph(made, ids, vectors, 7, is_whole=False, on_rows=seen.append)
    same = sum(len({*one} & {*other}) for one, other in zip(asked, alone, strict=True))
    assert same >= 0.99 * 7 * 300
    assert sum(seen) == 600
    # What was deleted meanwhile has no answer, and each record still has its neighbours.
    made.delete(ids=ids[100:])
    left = neighbor_graph(made, ids, vectors, 7, is_whole=True, on_rows=seen.append)
    assert left.shape == (300, 7)
    assert all(row not in near for row, near in enumerate(left))


def test_blobs_lie_apart_and_the_question_amid_its_own(client: Any) -> None:
    made = filled(client)
    vectors, which = blobs(300)
    picture = made.plot(query=vectors[4])
    at = picture.points.coordinates
    assert picture.projection.method == "tsne"
    assert "near records stay together" in picture.subtitle
    order = np.array([int(one) for one in picture.points.ids])
    own = which[order]
    near = nearest_rows(at, at, 5, "l2", own=np.arange(len(at)))
    assert (own[near] == own[:, None]).mean() > 0.95
    nearest = nearest_rows(picture.asked[None, :], at, 5, "l2")[0]
    assert (own[nearest] == which[4]).all()


def test_a_map_has_the_telling_words_of_its_clusters(client: Any) -> None:
    found = filled(client).plot().clusters
    assert len(found) >= 3
    assert sum(len(one.rows) for one in found) >= 280
    known = {word: at for at, words in enumerate(WORDS) for word in words.split()}
    assert {known[one.name.split(", ")[0]] for one in found} == {0, 1, 2}


def test_clusters_without_documents_have_no_names() -> None:
    vectors, _ = blobs(100, 2)
    assert {one.name for one in find_clusters(vectors, [None] * 100)} == {""}
    assert find_clusters(np.zeros((50, 2), np.float32), ["word"] * 50)[0].rows.shape == (50,)


def test_a_layout_is_made_once_and_anew_when_records_change(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(client)
    calls: list[int] = []
    original = layouts.tsne

    def counted(near: Any, *arguments: Any) -> Any:
        calls.append(len(near))
        return original(near, *arguments)

    monkeypatch.setattr(layouts, "tsne", counted)
    monkeypatch.setattr(layouts, "KEPT", KeptLayouts())
    first = made.plot()
    again = made.plot(color="blob", query=blobs(300)[0][0])
    assert np.array_equal(first.points.coordinates, again.points.coordinates)
    assert calls == [300]
    assert first.note == again.note == ""
    # A document is no part of a layout; an embedding is.
    made.update(ids=["7"], documents=["another text"], embeddings=[blobs(300)[0][7]])
    assert made.plot().note == ""
    made.update(ids=["7"], embeddings=[blobs(300)[0][8]])
    assert "laid out anew, as the records have changed" in made.plot().subtitle
    assert calls == [300, 300]
    assert made.plot(where={"blob": 1}).note == "", "another map, which was never made before"


def test_the_same_layout_is_made_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(client)
    monkeypatch.setattr(layouts, "KEPT", KeptLayouts())
    first = made.plot()
    monkeypatch.setattr(layouts, "KEPT", KeptLayouts())
    assert np.array_equal(first.points.coordinates, made.plot().points.coordinates)


def test_kept_layouts_have_an_end() -> None:
    kept = KeptLayouts(most_bytes=100)
    for name in "abc":
        kept.put(name, name, np.zeros((5, 2), np.float32))
    assert kept.get("a") is None
    assert kept.get("c") is not None
    kept.put("d", "d", np.zeros((50, 2), np.float32))
    assert kept.get("d") is None
    assert not kept.has_changed("d", "d")
    assert kept.has_changed("d", "e")


def test_a_fingerprint_tells_records_apart() -> None:
    vectors, _ = blobs(2)
    told = {
        fingerprint(["a", "b"], vectors, "tsne"),
        fingerprint(["ab", ""], vectors, "tsne"),
        fingerprint(["b", "a"], vectors, "tsne"),
        fingerprint(["a", "b"], vectors, "umap"),
        fingerprint(["a", "b"], vectors + 1, "tsne"),
    }
    assert len(told) == 5


def test_what_cannot_be_is_said(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(client)
    with pytest.raises(InvalidArgumentError, match="'tsne', 'umap' or 'pca', got 'isomap'"):
        made.plot(method="isomap")
    assert "too few records" in made.plot(limit=3).subtitle
    assert made.plot(method="pca").subtitle.endswith("of the variance")
    monkeypatch.setattr(layouts, "is_installed", lambda name: False)
    fallen = made.plot()
    assert fallen.projection.method == "pca"
    assert 'pip install "chroma-nb[plot]"' in fallen.subtitle


def test_umap_says_how_to_get_it(client: Any) -> None:
    try:
        import umap  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"chroma-nb\[umap\]"):
            filled(client).plot(method="umap")


@pytest.mark.parametrize("n", [1, 4, 5, 6, 20])
def test_few_records(client: Any, n: int) -> None:
    picture = filled(client, n).plot(query=np.ones(24), n_results=3)
    assert np.isfinite(picture.points.coordinates).all()
    assert np.isfinite(picture.asked).all()


def test_equal_records_are_laid_out(client: Any) -> None:
    made = client.create_collection("equal", embedding_function=None)
    made.add(ids=[str(row) for row in range(40)], embeddings=np.ones((40, 3)))
    picture = made.plot(query=[1.0, 1.0, 1.0])
    assert np.isfinite(picture.points.coordinates).all()
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_an_interrupt_ends_it_and_keeps_nothing(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(client)
    monkeypatch.setattr(layouts, "KEPT", kept := KeptLayouts())
    steps: list[int] = []

    class Bar:
        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *error: object) -> None:
            return

        def update(self, n: int) -> None:
            steps.append(n)
            if len(steps) == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(layouts, "progress_bar", lambda *_, **__: Bar())
    with pytest.raises(KeyboardInterrupt):
        made.plot()
    assert len(steps) == 5
    assert not kept._layouts


def test_a_place_is_amid_the_majority() -> None:
    vectors, _ = blobs(30)
    coordinates = np.zeros((30, 2), np.float32)
    near = nearest_rows(vectors[:1], vectors, 10, "l2")[0]
    coordinates[near[:7]] = (10, 10)
    coordinates[near[7:]] = (-90, -90)
    (at,) = place_by_neighbors(vectors[:1], vectors, coordinates, "l2")
    assert np.linalg.norm(at - (10, 10)) < 1
    assert place_by_neighbors(vectors[:0], vectors, coordinates, "l2").shape == (0, 2)


def test_maps_are_made_by_threads_at_once(client: Any) -> None:
    made = filled(client)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(made.plot())) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({one.points.coordinates.tobytes() for one in found}) == 1


def test_many_records_are_a_small_picture(client: Any) -> None:
    made = filled(client, 6_000)
    for arguments in ({}, {"color": "blob"}):
        picture = made.plot(method="pca", **arguments)
        assert len(picture._repr_png_()) <= 46_000
