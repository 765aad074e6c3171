"""What comes from data chooses no host, no secret, no file and no class without the user's consent.

A stranger listens on this machine. Stores, Parquet files and servers record embedding functions that would
send texts and secrets there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chroma
from benchmarks.servers import running, start_ours
from chroma_nb.embedding import OllamaEmbeddingFunction, OpenAIEmbeddingFunction, consent
from chroma_nb.errors import InvalidArgumentError
from tests.trust.listening import Answer, Listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "wJalrXUtnFEMI-K7MDENG"


class Stranger(Listening):
    """Answers as OpenAI and Ollama do."""

    def __init__(self) -> None:
        super().__init__()
        self.url += "/v1"

    def answer(self, path: str, asked: bytes) -> Answer:
        n = len(json.loads(asked)["input"])
        found = {
            "data": [{"index": row, "embedding": [1.0, 0.0]} for row in range(n)],
            "embeddings": [[1.0, 0.0]] * n,
        }
        return 200, {}, json.dumps(found).encode()


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    found = Stranger()
    yield found
    found.close()


def functions(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Return functions as collections record them, each with something that data must not choose."""
    openai = {
        "api_key_env_var": "OPENAI_API_KEY",
        "model_name": "m",
        **dict.fromkeys(
            ("organization_id", "api_base", "api_type", "api_version", "deployment_id"), None
        ),
        "default_headers": None,
        "dimensions": None,
    }
    return [
        ("openai", {**openai, "api_key_env_var": "AWS_SECRET_ACCESS_KEY", "api_base": url}),
        ("openai", {**openai, "api_base": url}),
        ("openai", {**openai, "api_base": "https://api.openai.com.evil.example/v1"}),
        ("openai", {**openai, "api_base": "https://api.openai.com@evil.example/v1"}),
        ("openai", {**openai, "api_key_env_var": "AWS_SECRET_ACCESS_KEY"}),
        ("openai", {**openai, "default_headers": {"Host": "evil.example"}}),
        (
            "openai",
            {
                **openai,
                "api_type": "azure",
                "api_base": url,
                "api_version": "1",
                "deployment_id": "d",
            },
        ),
        ("ollama", {"url": url, "model_name": "m"}),
        ("ollama", {"url": "http://localhost:11434@evil.example", "model_name": "m"}),
        ("ollama", {"url": "http://localhost:11434/../other", "model_name": "m"}),
        (
            "sentence_transformer",
            {"model_name": "/etc", "device": "cpu", "normalize_embeddings": False},
        ),
    ]


@pytest.fixture(params=range(len(functions(""))))
def planted(request: pytest.FixtureRequest, stranger: Stranger, tmp_path: Path) -> Any:
    """Return what opens clients that find a planted configuration: in a store, and in a Parquet file."""
    pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
    name, config = functions(stranger.url)[request.param]
    recorded = {"type": "known", "name": name, "config": config}
    with chroma.PersistentClient(tmp_path / "store") as client:
        info = client.api.create_collection(
            "notes",
            {"hnsw": {"space": "l2"}, "embedding_function": recorded},
            None,
            get_or_create=False,
            tenant=client.tenant,
            database=client.database,
        )
        notes = client.get_collection("notes")
        assert notes.id == info.id
        notes.add(ids=["a"], embeddings=[[1.0, 0.0]], documents=["x"])
        notes.export(tmp_path / "notes.parquet")

    def in_a_store() -> Any:
        return chroma.PersistentClient(tmp_path / "store")

    def in_a_file() -> Any:
        client = chroma.PersistentClient(tmp_path / "other")
        client.import_(tmp_path / "notes.parquet")
        return client

    return in_a_store, in_a_file


def ask_in_every_way(client: Any) -> None:
    notes = client.get_collection("notes")
    again = client.get_or_create_collection("notes")
    for call in (
        lambda: notes.query(query_texts=["my question"]),
        lambda: notes.add(ids=["b"], documents=["my text"]),
        lambda: notes.upsert(ids=["a"], documents=["my text"]),
        lambda: notes.update(ids=["a"], documents=["my text"]),
        lambda: again.query(query_texts=["my question"]),
        lambda: client["notes"].query(query_texts=["my question"]),
        lambda: notes.fork("fork").query(query_texts=["my question"]),
    ):
        with pytest.raises(InvalidArgumentError, match="needs your consent") as refused:
            call()
        assert type(refused.value) is InvalidArgumentError, "a class that users can import"
    # What is there can be read, looked at and searched without the function.
    assert notes.get()["documents"] == ["x"]
    assert notes.query(query_embeddings=[[1.0, 0.0]])["ids"] == [["a"]]
    assert notes.configuration["embedding_function"]["type"] == "known"
    assert "notes" in repr(notes)
    notes._repr_html_()


def test_a_planted_configuration_reaches_nobody(stranger: Stranger, planted: Any) -> None:
    for make in planted:
        with make() as client:
            ask_in_every_way(client)
    assert stranger.heard == []


def test_nor_does_one_from_a_server(stranger: Stranger, tmp_path: Path) -> None:
    with running(start_ours(tmp_path)) as server, chroma.connect(server.url) as client:
        for name, config in functions(stranger.url):
            client.api.create_collection(
                "notes",
                {
                    "hnsw": {"space": "l2"},
                    "embedding_function": {"type": "known", "name": name, "config": config},
                },
                None,
                get_or_create=False,
                tenant=client.tenant,
                database=client.database,
            )
            client.get_collection("notes").add(ids=["a"], embeddings=[[1.0, 0.0]], documents=["x"])
            ask_in_every_way(client)
            client.delete_collection("fork")
            client.delete_collection("notes")
    assert stranger.heard == []


def test_the_function_that_the_user_gives_is_the_consent(
    stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = OpenAIEmbeddingFunction(
        api_base=stranger.url, api_key_env_var="AWS_SECRET_ACCESS_KEY", model_name="m"
    )
    with chroma.PersistentClient(tmp_path) as client:
        client.create_collection("notes", embedding_function=function).add(
            ids=["a"], documents=["x"]
        )
        # In the same process the user has chosen this very configuration already.
        assert client.get_collection("notes").query(query_texts=["y"])["ids"] == [["a"]]
    monkeypatch.setattr(consent, "_given", set())  # as in another process
    with chroma.PersistentClient(tmp_path) as client:
        with pytest.raises(InvalidArgumentError, match=r"needs your consent.*127\.0\.0\.1"):
            client.get_collection("notes").query(query_texts=["y"])
        notes = client.get_collection("notes", embedding_function=function)
        assert notes.query(query_texts=["y"])["ids"] == [["a"]]
    assert len(stranger.heard) == 3


def test_usual_configurations_need_no_consent() -> None:
    for function in (OpenAIEmbeddingFunction("key"), OllamaEmbeddingFunction()):
        config = function.get_config()
        assert type(function).needs_consent(config) is None


def test_functions_that_are_not_ours_are_judged_by_their_fields() -> None:
    class Used(chroma.EmbeddingFunction[Any]):
        def __init__(self, **config: Any) -> None:
            self.config = config

        def __call__(self, input: Any) -> Any:
            return [[1.0, 0.0]] * len(input)

        @staticmethod
        def name() -> str:
            return "used here"

        def get_config(self) -> dict[str, Any]:
            return self.config

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Used(**config)

    from chroma_nb.embedding import (
        embedding_function_from_config,
        embedding_function_to_config,
        known_embedding_functions,
        register_embedding_function,
    )

    mine = embedding_function_to_config(Used(api_url="http://mine", size=3))
    assert embedding_function_from_config(mine).config["size"] == 3
    harmless = {"type": "known", "name": "used here", "config": {"size": 4, "nested": [{"n": 1}]}}
    assert embedding_function_from_config(harmless).config["size"] == 4
    for config in (
        {"api_url": "http://other"},
        {"api_key_env_var": "AWS_SECRET_ACCESS_KEY"},
        {"options": [{"Path": "/etc/passwd"}]},
        {"extra_headers": {"a": "b"}},
    ):
        with pytest.raises(InvalidArgumentError, match="would choose"):
            embedding_function_from_config({**harmless, "config": config})
    # Who registers a class says that it takes what is stored.
    register_embedding_function(Used)
    try:
        planted = {**harmless, "config": {"api_url": "http://other"}}
        assert embedding_function_from_config(planted).config == {"api_url": "http://other"}
    finally:
        del known_embedding_functions["used here"]


@pytest.mark.parametrize("config", [None, "text", [1], 5, {"type": "known"}])
def test_a_configuration_of_another_shape_is_refused(config: Any) -> None:
    from chroma_nb.embedding import embedding_function_from_config

    recorded: Any = {"type": "known", "name": "openai", "config": config}
    with pytest.raises(InvalidArgumentError):
        embedding_function_from_config(recorded)
