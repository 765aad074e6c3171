"""Values keep their kind and digits through pandas, Arrow, Parquet, JSON over HTTP, and back."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chroma_nb as chroma

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")

NUMBER = itertools.count()
EVERYTHING = ["documents", "metadatas", "embeddings", "uris"]
KEYS = [
    "n",
    "id",
    "text",
    "uri",
    "vector",
    "metadata.n",
    "ü",
    "with space",
    "n.m",
    "Ids",
    "0",
    "query",
]

texts = st.text(st.characters(codec="utf-8"), max_size=6)
integers = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 2**53 + 1, 1745078214713458777])
)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = {
    "int": integers,
    "float": floats,
    "bool": st.booleans(),
    "str": texts,
    "date": st.datetimes().map(lambda moment: moment.isoformat()),
}
value = st.one_of(
    *scalars.values(), *(st.lists(one, min_size=1, max_size=3) for one in scalars.values())
)
metadata = st.one_of(
    st.none(), st.dictionaries(st.sampled_from(KEYS), value, min_size=1, max_size=4)
)
record = st.fixed_dictionaries(
    {
        "metadata": metadata,
        "document": st.one_of(st.none(), texts),
        "uri": st.one_of(st.none(), texts),
        "embedding": st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
    }
)
records = st.dictionaries(texts.filter(bool), record, min_size=1, max_size=6)


def kinded(value: Any) -> Any:
    """A form in which 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: kinded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [kinded(one) for one in value]
    return (type(value).__name__, repr(value))


def content(collection: Any) -> dict[str, Any]:
    got = dict(collection.get(include=EVERYTHING))
    got["embeddings"] = got["embeddings"].tolist()
    return {name: kinded(part) for name, part in got.items()}


@pytest.fixture(scope="module")
def clients(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    folder = tmp_path_factory.mktemp("kept")
    with chroma.Client(folder / "store") as near, chroma.connect(server.url) as far:
        yield near, far


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=records)
def test_records_are_returned_unchanged(
    clients: tuple[Any, Any], tmp_path: Path, rows: dict[str, Any]
) -> None:
    near, far = clients
    number = next(NUMBER)

    def empty(client: Any, name: str) -> Any:
        return client.create_collection(f"{name}-{number}", embedding_function=None)

    given = {
        "ids": list(rows),
        "metadatas": [row["metadata"] for row in rows.values()],
        "documents": [row["document"] for row in rows.values()],
        "uris": [row["uri"] for row in rows.values()],
        "embeddings": [row["embedding"] for row in rows.values()],
    }
    original = empty(near, "original")
    original.add(**given)
    expected = content(original)
    assert expected["metadatas"] == [kinded(one) for one in given["metadatas"]]
    assert expected["documents"] == [kinded(one) for one in given["documents"]]

    frame = original.to_pandas(include=EVERYTHING)
    assert content(empty(near, "pandas").from_pandas(frame)) == expected
    assert content(empty(near, "arrow").from_arrow(original.to_arrow())) == expected
    original.export(tmp_path / "records.parquet")
    assert content(near.import_(tmp_path / "records.parquet", f"parquet-{number}")) == expected
    near.copy_to(far, [original.name])
    distant = far.get_collection(original.name, embedding_function=None)
    assert content(distant) == expected
    assert (
        content(empty(near, "distant").from_pandas(distant.to_pandas(include=EVERYTHING)))
        == expected
    )
    original.unload()
    assert content(original) == expected
    for client in (near, far):
        for one in client.list_collections():
            client.delete_collection(one.name)
