"""Two clients of one store: changes of different things at the same time are both kept."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chroma
from benchmarks.servers import running, start_ours
from chroma_nb.errors import ChromaError
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["in process", "at a server"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """A function that opens another client of the same store."""
    if request.param == "in process":
        settings = private_settings()
        with chroma.Client(settings):
            yield lambda: chroma.Client(settings)
    else:
        with running(start_ours(tmp_path)) as server:
            yield lambda: chroma.connect(server.url)


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Do several things in threads that begin together; return what they raise."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_changes_of_different_fields_both_stay(opened: Any) -> None:
    one, two = opened(), opened()
    one.create_collection("docs0", embedding_function=None)
    for n in range(20):
        first = one.get_collection(f"docs{n}", embedding_function=None)
        second = two.get_collection(f"docs{n}", embedding_function=None)
        third = two.get_collection(f"docs{n}", embedding_function=None)
        errors = at_once(
            lambda first=first, n=n: first.modify(name=f"docs{n + 1}"),  # type: ignore[misc]
            lambda second=second, n=n: second.modify(metadata={"n": n}),  # type: ignore[misc]
            lambda n=n, third=third: third.modify(  # type: ignore[misc]
                configuration={"hnsw": {"ef_search": 100 + n}}
            ),
            lambda n=n, first=first: two.memory.set_ttl(first, 1_000.0 + n),  # type: ignore[misc]
        )
        assert errors == []
        now = one.get_collection(f"docs{n + 1}", embedding_function=None)
        assert now.metadata == {"n": n}
        assert now.configuration["hnsw"]["ef_search"] == 100 + n
        assert now.get_model().ttl_seconds == 1_000.0 + n


def test_fields_of_the_configuration_are_changed_one_by_one(opened: Any) -> None:
    one, two = opened(), opened()
    one.create_collection("docs", embedding_function=None)
    handles = [client.get_collection("docs", embedding_function=None) for client in (one, two)]
    for n in range(20):
        errors = at_once(
            lambda n=n: handles[0].modify(  # type: ignore[misc]
                configuration={"hnsw": {"ef_search": 100 + n}}
            ),
            lambda n=n: handles[1].modify(  # type: ignore[misc]
                configuration={"hnsw": {"sync_threshold": 2_000 + n}}
            ),
        )
        assert errors == []
        hnsw = one.get_collection("docs", embedding_function=None).configuration["hnsw"]
        assert (hnsw["ef_search"], hnsw["sync_threshold"]) == (100 + n, 2_000 + n)


@pytest.mark.parametrize("seed", range(6))
def test_records_that_no_writer_touches_are_in_every_copy(
    opened: Any, tmp_path: Path, seed: int
) -> None:
    """Export, fork, copy and Arrow while others delete, add, rename and make databases."""
    pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
    rng = random.Random(seed)
    one, two = opened(), opened()
    kept = [f"kept{n}" for n in range(3_000)]
    gone = [f"gone{n}" for n in range(3_000)]
    mixed = [*kept, *gone]
    rng.shuffle(mixed)
    docs = one.create_collection(f"docs{seed}", embedding_function=None)
    docs.add(ids=mixed, embeddings=[[float(n), 1.0] for n in range(len(mixed))])
    other = two.get_collection(f"docs{seed}", embedding_function=None)
    target = chroma.Client(private_settings())
    path = tmp_path / f"{seed}.parquet"

    def delete() -> None:
        for start in range(0, len(gone), 250):
            other.delete(ids=gone[start : start + 250])

    def add() -> None:
        for n in range(10):
            other.add(ids=[f"new{seed}.{n}"], embeddings=[[0.0, float(n)]])

    def change_collections() -> None:
        for n in range(5):
            two.get_or_create_collection(f"beside{seed}.{n}", embedding_function=None)
            other.modify(metadata={"n": n})
            two.delete_collection(f"beside{seed}.{n}")

    found: dict[str, Any] = {}
    copying = {
        "export": lambda: found.update(export=docs.export(path)),
        "fork": lambda: found.update(fork=docs.fork(f"fork{seed}")),
        "copy": lambda: found.update(copy=one.copy_to(target, [f"docs{seed}"])),
        "arrow": lambda: found.update(arrow=docs.to_arrow()),
    }
    errors = at_once(delete, add, change_collections, *copying.values())
    assert errors == [], [str(error) for error in errors if isinstance(error, ChromaError)]
    target.import_(path, "back")
    copies = {
        "export": target.get_collection("back", embedding_function=None).get(include=[])["ids"],
        "fork": one.get_collection(f"fork{seed}", embedding_function=None).get(include=[])["ids"],
        "copy": target.get_collection(f"docs{seed}", embedding_function=None).get(include=[])[
            "ids"
        ],
        "arrow": found["arrow"].column("id").to_pylist(),
    }
    for name, ids in copies.items():
        assert set(kept) <= set(ids), name
        assert len(ids) == len(set(ids)), name
    assert set(docs.get(include=[])["ids"]) == {*kept, *(f"new{seed}.{n}" for n in range(10))}
    target.close()


def test_a_handle_stays_with_its_collection_after_a_rename(opened: Any) -> None:
    one, two = opened(), opened()
    handle = one.create_collection("docs", embedding_function=None)
    handle.add(ids=["a"], embeddings=[[1.0]])
    two.get_collection("docs", embedding_function=None).modify(name="renamed")
    two.create_collection("docs", embedding_function=None).add(ids=["b"], embeddings=[[2.0]])
    assert handle.name == "docs", "the handle does not know of the rename"
    assert one.get_collection(handle, embedding_function=None).get(include=[])["ids"] == ["a"]
    one.memory.set_ttl(handle, 60.0)
    assert two.get_collection("renamed", embedding_function=None).get_model().ttl_seconds == 60.0
    with chroma.Client(private_settings()) as target:
        assert one.copy_to(target, handle) == {"renamed": 1}
    one.delete_collection(handle)
    assert [one.name for one in two.list_collections()] == ["docs"]
