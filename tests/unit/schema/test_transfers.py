"""A schema goes with its collection: in a store, to another one, into a file and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import K, Knn, Schema, Search, Settings, SparseVector
from chroma_nb.errors import InvalidArgumentError, UniqueConstraintError
from chroma_nb.schema import (
    FtsIndexConfig,
    IntInvertedIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
)
from chroma_nb.schema_json import MOST_DISCOVERED_KEYS
from chroma_nb.utils.embedding_functions import ChromaBm25EmbeddingFunction
from chroma_nb.widgets import map_selection
from tests.support.database_file import edited_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chroma_nb.client.client import ClientAPI

SCHEMA = (
    Schema()
    .create_index(VectorIndexConfig(space="cosine", embedding_function=None))
    .create_index(
        SparseVectorIndexConfig(
            source_key=K.DOCUMENT, embedding_function=ChromaBm25EmbeddingFunction(), bm25=True
        ),
        "words",
    )
    .delete_index(StringInvertedIndexConfig(), "s")
    .delete_index(FtsIndexConfig(), K.DOCUMENT)
)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[ClientAPI]:
    with chroma_nb.connect(tmp_path / "here") as client:
        yield client


@pytest.fixture
def there(tmp_path: Path) -> Iterator[ClientAPI]:
    with chroma_nb.connect(tmp_path / "there") as client:
        yield client


def filled(client: ClientAPI, **options: Any) -> Any:
    docs = client.create_collection("docs", embedding_function=None, **options)
    docs.add(
        ids=["a", "b"],
        embeddings=[[1.0, 0.0], [0.0, 1.0]],
        documents=["a red apple", "a blue car"],
        metadatas=[{"s": "x", "n": 1}, {"m": ["p"]}],
    )
    return client.get_collection("docs", embedding_function=None)


def _fork(docs: Any, client: ClientAPI, folder: Path) -> Any:
    docs.fork("copy")
    return docs.client.get_collection("copy", embedding_function=None)


def _copy(docs: Any, client: ClientAPI, folder: Path) -> Any:
    docs.client.copy_to(client, "docs")
    return client.get_collection("docs", embedding_function=None)


def _file(docs: Any, client: ClientAPI, folder: Path) -> Any:
    docs.export(folder / "docs.parquet")
    client.import_(folder / "docs.parquet")
    return client.get_collection("docs", embedding_function=None)


@pytest.mark.parametrize("way", [_fork, _copy, _file])
@pytest.mark.parametrize(
    "options",
    [
        {"schema": SCHEMA},
        {"schema": Schema().create_index(IntInvertedIndexConfig(), "n")},
        {"schema": Schema()},
        {},
        {"configuration": {"hnsw": {"space": "ip", "ef_search": 7}}},
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_copy_has_the_schema(
    here: ClientAPI, there: ClientAPI, tmp_path: Path, way: Callable[..., Any], options: Any
) -> None:
    docs = filled(here, **options)
    copy = way(docs, there, tmp_path)
    assert copy.schema == docs.schema
    assert copy.configuration_json == docs.configuration_json
    assert copy.get()["metadatas"] == docs.get()["metadatas"]
    if options.get("schema") is SCHEMA:
        assert docs.get()["metadatas"][0]["words"].indices
        with pytest.raises(InvalidArgumentError, match=r"indexing is disabled.*another schema"):
            copy.get(where={"s": "x"})
        copy.add(ids=["c"], embeddings=[[1.0, 1.0]], documents=["a bear"])
        assert copy.get(ids="c")["metadatas"][0]["words"].values


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_goes_on_where_the_schema_is_the_same_and_nowhere_else(here: ClientAPI) -> None:
    docs = filled(here, schema=SCHEMA)
    # The same but for what a schema says of sparse vectors, of which its vectors would be none that are searched.
    other = Schema().create_index(VectorIndexConfig(space="cosine", embedding_function=None))
    here.create_collection("other", embedding_function=None, schema=other)
    with pytest.raises(UniqueConstraintError, match=r"\[other\] already exists, and is no copy"):
        docs.fork("other")
    # Its records have told it of no key so far.
    here.create_collection("same", embedding_function=None, schema=SCHEMA)
    docs.fork("same")
    same = here.get_collection("same", embedding_function=None)
    assert same.schema == docs.schema
    assert same.get()["metadatas"] == docs.get()["metadatas"]


def _words(key: str, **numbers: Any) -> Schema:
    function = ChromaBm25EmbeddingFunction(**numbers)
    config = SparseVectorIndexConfig(source_key=K.DOCUMENT, embedding_function=function)
    return Schema().create_index(config, key)


@pytest.mark.parametrize(
    "schema", [Schema(), _words("sparse"), _words("words", k=2), _words("words", stopwords=["a"])]
)
def test_records_are_not_copied_where_their_sparse_vectors_would_be_missing_or_others(
    here: ClientAPI, there: ClientAPI, schema: Schema
) -> None:
    filled(here, schema=schema)
    there.create_collection("docs", embedding_function=None, schema=_words("words"))
    with pytest.raises(InvalidArgumentError, match=r"sparse vectors under the key 'words' of"):
        here.copy_to(there, "docs")
    assert there.get_collection("docs", embedding_function=None).count() == 0


def test_imported_records_get_the_sparse_vectors_that_are_missing_and_no_others(
    here: ClientAPI, there: ClientAPI, tmp_path: Path
) -> None:
    file = tmp_path / "docs.parquet"
    filled(here).export(file)
    there.create_collection("docs", embedding_function=None, schema=_words("words"))
    there.import_(file)
    docs = there.get_collection("docs", embedding_function=None)
    assert all(one["words"].values for one in docs.get()["metadatas"])
    docs.export(file)
    here.create_collection("docs-2", embedding_function=None, schema=_words("words", k=2))
    with pytest.raises(InvalidArgumentError, match=r"sparse vectors under the key 'words' of"):
        here.import_(file, "docs-2")


def test_the_copy_of_a_selection_has_the_schema(here: ClientAPI) -> None:
    copy = map_selection.copy_to(filled(here, schema=_words("words")), ["a"], "some")
    copy.add(ids=["new"], embeddings=[[1.0, 1.0]], documents=["a bear"])
    found = copy.search(Search(rank=Knn("bear", key="words")).select_all())
    assert found["ids"] == [["new"]]
    with pytest.raises(UniqueConstraintError):
        map_selection.copy_to(copy, ["a"], "docs")


def test_a_store_of_before_schemas_opens_and_gets_one(here: ClientAPI, tmp_path: Path) -> None:
    filled(here)
    here.close()
    with edited_database(tmp_path / "here") as connection:
        connection.execute("ALTER TABLE collections DROP COLUMN schema")
    with chroma_nb.connect(tmp_path / "here") as client:
        docs = client.get_collection("docs", embedding_function=None)
        assert set(docs.schema.keys) == {"#document", "#embedding"}
        docs.update(ids=["a"], metadatas=[{"late": 1}])
    with chroma_nb.connect(tmp_path / "here") as client:
        found = client.get_collection("docs", embedding_function=None)
        assert set(found.schema.keys) == {"#document", "#embedding", "late"}


@pytest.mark.parametrize("function", [{}, {"embedding_function": {"type": "unknown"}}])
def test_a_stored_schema_without_the_function_of_its_source_is_named_by_who_writes(
    here: ClientAPI, tmp_path: Path, function: Any
) -> None:
    filled(here, schema=_words("words"))
    here.close()
    index = {"enabled": True, "config": {"source_key": "#document", "bm25": False, **function}}
    stored = {"keys": {"words": {"sparse_vector": {"sparse_vector_index": index}}}}
    with edited_database(tmp_path / "here") as connection:
        connection.execute("UPDATE collections SET schema = ?", [json.dumps(stored)])
    with chroma_nb.connect(tmp_path / "here") as client:
        docs = client.get_collection("docs", embedding_function=None)
        some: Any = {"ids": ["a"], "embeddings": [[1.0, 1.0]], "documents": ["a bear"]}
        for write in (
            docs.update,
            docs.upsert,
            lambda **one: docs.add(on_conflict="replace", **one),
        ):
            with pytest.raises(ValueError, match=r"sparse vectors for key 'words'.*Give a SparseV"):
                write(**some)
        assert docs.get(ids="a")["documents"] == ["a red apple"]
        docs.update(**some, metadatas=[{"words": SparseVector([1], [1.0])}])
        assert docs.get(ids="a")["documents"] == ["a bear"]


@pytest.mark.parametrize(
    "stored",
    [
        "5",
        "{",
        '{"keys": 5}',
        '{"defaults": {"string": 5}}',
        '{"keys": {"a": {"string": {"string_inverted_index": {"enabled": 1}}}}}',
        '{"keys": {"a": {"string": {"string_inverted_index": 5}}}}',
        '{"keys": {"a": {"float_list": {"vector_index": {"enabled": true, "config": 5}}}}}',
        '{"keys": {"a": {"sparse_vector": {"sparse_vector_index": {"enabled": true, '
        '"config": {"source_key": 5}}}}}}',
        '{"keys": ' + '{"a":' * 100 + "1" + "}" * 100 + "}",
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_stored_schema_that_cannot_be_is_damage(
    here: ClientAPI, tmp_path: Path, stored: str
) -> None:
    filled(here)
    here.close()
    with edited_database(tmp_path / "here") as connection:
        connection.execute("UPDATE collections SET schema = ?", [stored])
    with (
        chroma_nb.connect(tmp_path / "here") as client,
        pytest.raises(chroma_nb.errors.StoreCorruptError, match="schema"),
    ):
        client.get_collection("docs")


def test_a_file_with_another_schema_is_refused(
    here: ClientAPI, there: ClientAPI, tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow")
    table = filled(here, schema=SCHEMA).to_arrow()
    ((key, text),) = [one for one in table.schema.metadata.items() if one[1].startswith(b"{")]
    for schema, says in (
        (5, "no object"),
        ({"keys": {"#x": {"string": {}}}}, "reserved"),
        ({"keys": {"a": {"string": {"fts_index": {"enabled": True}}}}}, "fts_index"),
    ):
        description = {**json.loads(text), "schema": schema, "name": "docs"}
        pa.parquet = pytest.importorskip("pyarrow.parquet")
        changed = table.replace_schema_metadata({key: json.dumps(description)})
        pa.parquet.write_table(changed, tmp_path / "changed.parquet")
        with pytest.raises(InvalidArgumentError, match=says):
            there.import_(tmp_path / "changed.parquet")
        assert "docs" not in there


def test_a_thousand_keys_are_entered_and_no_more() -> None:
    with chroma_nb.EphemeralClient(Settings(allow_reset=True)) as client:
        client.reset()
        docs = client.create_collection("docs", embedding_function=None)
        n = MOST_DISCOVERED_KEYS + 50
        docs.add(
            ids=[str(row) for row in range(n)],
            embeddings=[[1.0, 0.0]] * n,
            metadatas=[{f"key {row}": row, "k" * 300: 1} for row in range(n)],
        )
        docs.update(ids=["0"], metadatas=[{"more": 1, "key 0": "x"}])
        keys = client.get_collection("docs", embedding_function=None).schema.keys
        assert len(keys) == MOST_DISCOVERED_KEYS + 2
        assert keys["key 0"].string is not None
        # Those that are not are filtered by all the same.
        assert docs.get(where={"more": 1})["ids"] == ["0"]


def test_a_schema_counts_as_a_part_of_the_description() -> None:
    with chroma_nb.EphemeralClient(Settings(max_description="20 kB")) as client:
        schema = Schema()
        for number in range(1_000):
            schema.create_index(IntInvertedIndexConfig(), f"key {number}")
        with pytest.raises(InvalidArgumentError, match="Most of it is the schema"):
            client.create_collection("large", schema=schema, embedding_function=None)


def test_the_index_of_chromas_cloud_is_a_graph_here() -> None:
    spann = chroma_nb.SpannIndexConfig(search_nprobe=9)
    schema = Schema().create_index(VectorIndexConfig(space="cosine", spann=spann))
    with chroma_nb.EphemeralClient(Settings(allow_reset=True)) as client:
        client.reset()
        with pytest.warns(UserWarning, match="SpannIndexConfig is for Chroma's cloud"):
            docs = client.create_collection("docs", schema=schema, embedding_function=None)
        assert docs.configuration_json["hnsw"]["space"] == "cosine"


def test_a_function_that_cannot_be_recorded_embeds_for_the_handle_it_was_given_to() -> None:
    schema = Schema().create_index(
        VectorIndexConfig(embedding_function=lambda texts: [[len(text), 1.0] for text in texts])
    )
    with chroma_nb.EphemeralClient(Settings(allow_reset=True)) as client:
        client.reset()
        with pytest.warns(DeprecationWarning, match="records it as legacy"):
            docs = client.create_collection("docs", schema=schema)
        docs.add(ids=["a"], documents=["abc"])
        assert docs.get(include=["embeddings"])["embeddings"].tolist() == [[3.0, 1.0]]
        with pytest.raises(ValueError, match="You must provide an embedding function"):
            client.get_collection("docs").add(ids=["b"], documents=["abc"])


def test_the_default_function_is_chosen_when_something_is_embedded() -> None:
    schema = Schema().create_index(IntInvertedIndexConfig(), "n")
    with chroma_nb.EphemeralClient(Settings(allow_reset=True, embedding="static")) as client:
        client.reset()
        docs = client.create_collection("docs", schema=schema)
        docs.add(ids=["a"], documents=["a bear"])
        recorded = docs.configuration_json["embedding_function"]
        assert recorded["name"] == "static_minilm"
        assert docs.query(query_texts=["bear"])["ids"] == [["a"]]
