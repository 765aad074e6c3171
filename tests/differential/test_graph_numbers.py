"""The numbers of a graph, given in each way that there is: chroma_nb gives back what chromadb does, or names what it refuses."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip(
    "chromadb", reason='chromadb is not installed: pip install "chroma-nb[differential]"'
)
import chromadb

import chroma_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.differential,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

NUMBERS: dict[str, Any] = {
    "num_threads": 3,
    "batch_size": 50,
    "sync_threshold": 77,
    "resize_factor": 1.5,
    "ef_construction": 33,
    "ef_search": 44,
    "max_neighbors": 7,
}
#: Chroma's older names, in a collection's metadata.
OLDER = {
    "num_threads": "hnsw:num_threads",
    "batch_size": "hnsw:batch_size",
    "sync_threshold": "hnsw:sync_threshold",
    "resize_factor": "hnsw:resize_factor",
    "ef_construction": "hnsw:construction_ef",
    "ef_search": "hnsw:search_ef",
    "max_neighbors": "hnsw:M",
}
EVERY = [*[{name: number} for name, number in NUMBERS.items()], NUMBERS]


@pytest.fixture(scope="module")
def clients() -> Iterator[list[tuple[Any, Any]]]:
    # One process has one store of chromadb, so all tests ask for the same settings.
    settings = chromadb.Settings(allow_reset=True, anonymized_telemetry=False)
    with chroma_nb.EphemeralClient() as ours:
        yield [(chroma_nb, ours), (chromadb, chromadb.EphemeralClient(settings))]


def _made(client: Any, **arguments: Any) -> Any:
    return client.create_collection(f"numbers-{uuid.uuid4().hex}", **arguments)


def _said(client: Any, made: Any, given: dict[str, Any]) -> list[Any]:
    """Return what a collection says of its graph: its configuration, and both places of its schema."""
    found = client.get_collection(made.name, embedding_function=None)
    schema = found.schema.serialize_to_json()
    numbers = [
        dict(types["float_list"]["vector_index"]["config"]["hnsw"])
        for types in (schema["defaults"], schema["keys"]["#embedding"])
    ]
    if "num_threads" not in given:
        # Chroma's default is the number of cores.
        for one in numbers:
            del one["num_threads"]
    return [found.configuration_json["hnsw"], found.configuration_json["spann"], *numbers]


@pytest.mark.parametrize("given", EVERY)
def test_in_the_configuration(clients: Any, given: dict[str, Any]) -> None:
    first, second = (
        _said(client, _made(client, configuration={"hnsw": given}, embedding_function=None), given)
        for _, client in clients
    )
    assert first == second
    assert given.items() <= first[3].items()


@pytest.mark.parametrize("given", EVERY)
def test_in_the_metadata(clients: Any, given: dict[str, Any]) -> None:
    metadata = {OLDER[name]: number for name, number in given.items()}
    first, second = (
        _said(client, _made(client, metadata=metadata, embedding_function=None), given)
        for _, client in clients
    )
    assert first == second
    assert given.items() <= first[3].items()


@pytest.mark.parametrize("given", EVERY)
def test_in_a_schema(clients: Any, given: dict[str, Any]) -> None:
    both = []
    for package, client in clients:
        config = package.VectorIndexConfig(hnsw=package.HnswIndexConfig(**given))
        made = _made(client, schema=package.Schema().create_index(config))
        both.append(_said(client, made, given))
    first, second = both
    assert given.items() <= first[3].items()
    if list(given) == ["num_threads"]:
        # Chroma takes a schema that says no more for the default one, and drops it.
        for one in (*first[2:], *second[2:]):
            del one["num_threads"]
    assert first == second


@pytest.mark.parametrize("given", EVERY)
def test_by_modify(clients: Any, given: dict[str, Any]) -> None:
    changes = {name: one for name, one in given.items() if not name.startswith(("ef_c", "max_n"))}
    both = []
    for _, client in clients:
        made = _made(client, embedding_function=None)
        made.modify(configuration={"hnsw": changes})
        both.append(_said(client, made, changes))
    assert both[0] == both[1]
    assert changes.items() <= both[0][3].items()


def test_what_is_not_kept_is_named(clients: Any) -> None:
    (_, ours), _ = clients
    made = _made(ours, embedding_function=None)
    for wrong, name in (
        ({"hnsw": {"threads": 3}}, "threads"),
        ({"hsnw": {"num_threads": 3}}, "hsnw"),
    ):
        with pytest.raises(ValueError, match=name):
            _made(ours, configuration=wrong)
        with pytest.raises(ValueError, match=name):
            made.modify(configuration=wrong)
    # Both say something: Chroma takes the configuration, and drops what the schema says.
    config = chroma_nb.VectorIndexConfig(hnsw=chroma_nb.HnswIndexConfig(num_threads=5))
    schema = chroma_nb.Schema().create_index(config)
    with pytest.raises(ValueError, match="both collection config and schema"):
        _made(ours, schema=schema, configuration={"hnsw": {"num_threads": 3}})
    agreed = _made(ours, schema=schema, configuration={"hnsw": {"num_threads": 5, "ef_search": 9}})
    assert {"num_threads": 5, "ef_search": 9}.items() <= _said(ours, agreed, NUMBERS)[3].items()
    with pytest.warns(UserWarning, match="spann is for Chroma's cloud"):
        _made(ours, configuration={"spann": {"space": "cosine", "search_nprobe": 8}})
