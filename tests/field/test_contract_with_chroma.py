"""Code that was written for Chroma, under ``import chroma_nb as chromadb``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chromadb
from chroma_nb.errors import InternalError
from tests.field.conftest import vectors

if TYPE_CHECKING:
    from pathlib import Path

#: What third-party code imports.
NAMES = [
    *("api.ClientAPI", "api.AdminAPI", "api.AsyncClientAPI", "api.client.Client"),
    *("api.client.AdminClient", "api.client.SharedSystemClient", "api.types.Documents"),
    *("api.shared_system_client.SharedSystemClient", "api.models.Collection.Collection"),
    *("api.models.AsyncCollection.AsyncCollection", "api.types.EmbeddingFunction"),
    *("api.collection_configuration.CreateCollectionConfiguration", "api.types.QueryResult"),
    *(
        "api.collection_configuration.CreateHNSWConfiguration",
        "config.Settings",
        "errors.ChromaError",
    ),
    *("utils.embedding_functions.DefaultEmbeddingFunction", "utils.batch_utils.create_batches"),
    *("utils.data_loaders.ImageLoader", "config.DEFAULT_TENANT", "config.DEFAULT_DATABASE"),
]


@pytest.mark.parametrize("name", NAMES)
def test_an_import_path_of_chromas_exists(name: str) -> None:
    found: Any = chromadb
    for part in name.split("."):
        found = getattr(found, part)
    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(f"chroma_nb.{module}"), attribute) is found


def test_a_system_is_stopped_and_the_cache_cleared(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path / "store")
    client.create_collection("notes", embedding_function=None)
    client._system.stop()
    chromadb.api.client.SharedSystemClient.clear_system_cache()
    with chromadb.PersistentClient(tmp_path / "store") as again:
        assert isinstance(again.get_collection("notes"), chromadb.api.models.Collection.Collection)
        assert again._system.settings.path == str(tmp_path / "store")


def test_a_model_is_subscripted(client: Any) -> None:
    notes = client.create_collection("notes", embedding_function=None, metadata={"a": 1})
    model = notes.get_model()
    assert (model["version"], model["name"], model["metadata"]) == (0, "notes", {"a": 1})


def test_a_query_within_ids_that_were_deleted(client: Any) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=["a", "deleted"], embeddings=vectors(2))
    notes.delete(ids=["deleted"])
    with pytest.raises(InternalError, match=r"Error finding id: 1 of 2 .*'deleted'"):
        notes.query(query_embeddings=vectors(1), ids=["a", "deleted"])


def test_a_function_that_nobody_knows_opens_and_says_so_when_it_embeds(client: Any) -> None:
    class Strange(chromadb.EmbeddingFunction[chromadb.Documents]):  # type: ignore[type-arg]
        def __call__(self, input: Any) -> Any:
            return [[float(len(text))] for text in input]

        @staticmethod
        def name() -> str:
            return "strange_to_everybody"

        def get_config(self) -> dict[str, Any]:
            return {"model": "x"}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Strange()

    client.create_collection("notes", embedding_function=Strange()).add(ids=["a"], documents=["a"])
    known = chromadb.utils.embedding_functions.known_embedding_functions
    del known["strange_to_everybody"]
    notes = client.get_collection("notes")
    recorded = {"type": "known", "name": "strange_to_everybody", "config": {"model": "x"}}
    assert notes.configuration["embedding_function"] == recorded
    assert notes.get_model()["configuration_json"]["embedding_function"] == recorded
    assert notes.count() == 1
    assert "strange_to_everybody" in notes._repr_html_()
    with pytest.raises(ValueError, match="strange_to_everybody not found"):
        notes.query(query_texts=["a"])


@pytest.mark.filterwarnings("ignore:Embedding function:DeprecationWarning")
def test_texts_are_embedded_in_slices_that_services_take() -> None:
    sizes: list[int] = []

    def embed(texts: list[str]) -> list[list[float]]:
        sizes.append(len(texts))
        return [[float(len(text)), 1.0] for text in texts]

    with chromadb.Client(chromadb.Settings(max_batch_size=96)) as client:
        assert client.get_max_batch_size() == 96
        notes = client.create_collection("notes", embedding_function=embed)
        notes.add(ids=[str(n) for n in range(250)], documents=["x"] * 250)
        notes.query(query_texts=["x"] * 100)
        assert sizes == [96, 96, 58, 96, 4]
        assert notes.count() == 250
        client.delete_collection("notes")
