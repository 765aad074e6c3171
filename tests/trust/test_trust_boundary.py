"""Stored data chooses no host, no secret, no file and no class without the user's consent.

A server (`Stranger`) listens on this machine. Stores, Parquet files and servers hold configurations of embedding
functions that would send texts and secrets to it. It must hear nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chroma
from benchmarks.servers import running, start_ours
from chroma_nb.embedding import (
    OllamaEmbeddingFunction,
    OpenAIEmbeddingFunction,
    StaticEmbeddingFunction,
    consent,
    embedding_function_from_config,
    embedding_function_to_config,
    register_embedding_function,
    sparse_registry,
)
from chroma_nb.embedding.registry import KnownFunctions
from chroma_nb.errors import InvalidArgumentError
from tests.trust.listening import Answer, Listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "wJalrXUtnFEMI-K7MDENG"


class Stranger(Listening):
    """A server that no stored configuration may reach; it answers as OpenAI and Ollama do."""

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
    """Return (name, config) of functions as collections record them, each with a choice that data must not make."""
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
    """Return functions that open a client with a malicious configuration: from a store, and from a Parquet file."""
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
    # The records can be read, shown and searched without the function.
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


def test_a_planted_configuration_from_a_server_reaches_nobody(
    stranger: Stranger, tmp_path: Path
) -> None:
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
        # In this process the user has consented to this configuration already.
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


#: Fields by which a function of a user might choose a host, a model, a file or code.
NAMING = (
    *(
        "base",
        "addr",
        "service",
        "model",
        "model_name",
        "checkpoint",
        "weights",
        "domain",
        "site",
        "dsn",
    ),
    *(
        "target",
        "port",
        "link",
        "origin",
        "backend",
        "pretrained",
        "script",
        "command",
        "template",
        "device",
    ),
    *("url", "api_key_env_var", "provider", "tasks", "my_language"),
)


@pytest.fixture
def used() -> Iterator[type[Any]]:
    """A class of the user's. It is known by its name since a function of it was given to a collection."""
    from chroma_nb.embedding import known_embedding_functions

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

    embedding_function_to_config(Used(api_url="http://mine", size=3))
    yield Used
    del known_embedding_functions["used here"]


def build(config: dict[str, Any]) -> Any:
    return embedding_function_from_config({"type": "known", "name": "used here", "config": config})


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    "config",
    [
        *({field: "http://other/x.bin"} for field in NAMING),
        {"options": [{"Path": "/etc/passwd"}]},
        {"extra_headers": {"a": "b"}},
        {"weights": {"/tmp/model.bin": 1.0}},
        {"names": ["/tmp/model.bin"]},
        {"port": 8443},
        {"trust_remote_code": True},
        {"verify_ssl": False},
        {"task": "http://other/"},
        {"task": "../model.bin"},
        {"size": 4, "language": "en", "service": "other"},
    ],
    ids=str,
)
def test_texts_in_a_config_of_a_function_that_was_only_used_need_consent(
    config: dict[str, Any],
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"needs your consent\. It would choose"):
        build(config)


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    "config",
    [
        {"api_url": "http://mine", "size": 3},  # given in this process
        {"size": 4, "scale": 0.5, "normalize": True, "nothing": None, "service": None},
        {"shape": [[1, 2.5], [True, None]], "kwargs": {}},
        {"task": "retrieval.query", "language": "en-US", "dtype": "float32", "input_type": "query"},
    ],
    ids=str,
)
def test_a_config_that_chooses_nothing_needs_no_consent(config: dict[str, Any]) -> None:
    assert build(config).config == config


def test_a_registered_class_is_built_from_any_stored_config(used: type[Any]) -> None:
    register_embedding_function(used)
    assert build({"api_url": "http://other"}).config == {"api_url": "http://other"}


def test_a_class_derived_from_one_of_ours_may_have_more_fields_than_ours_knows() -> None:
    class Derived(OpenAIEmbeddingFunction):
        @staticmethod
        def validate_config(config: dict[str, Any]) -> None:
            return

    planted = {**OpenAIEmbeddingFunction("key").get_config(), "service": "http://other"}
    refusal = consent.consent_needed("derived", Derived, planted, registered=False)
    assert refusal is not None
    assert "It would choose" in refusal
    assert consent.consent_needed("derived", Derived, planted, registered=True) is None


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("instructor", {"model_name": "/tmp/model", "device": "cpu", "instruction": None}),
        ("text2vec", {"model_name": "/tmp/model"}),
        ("open_clip", {"model_name": "ViT-B-32", "checkpoint": "/tmp/model.bin", "device": "cpu"}),
        ("amazon_bedrock", {"session_args": {"profile_name": "admin"}, "kwargs": {}}),
        ("cloudflare_workers_ai", {"account_id": "another"}),
        ("google_vertex", {"project_id": "another"}),
    ],
)
def test_configs_of_chromas_functions_need_consent(name: str, config: dict[str, Any]) -> None:
    """The name of a model may be a folder, and loading its files may run code."""
    known = pytest.importorskip("chromadb.utils.embedding_functions").known_embedding_functions
    asked = consent.consent_needed(name, known[name], config, registered=False)
    assert asked is not None
    assert "It would choose" in asked


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("default", {}),
        ("default", {"of": "another version"}),
        ("onnx_mini_lm_l6_v2", {"preferred_providers": ["CPUExecutionProvider"]}),
        ("static_minilm", StaticEmbeddingFunction().get_config()),
    ],
)
def test_functions_that_come_with_the_package_need_no_consent(
    name: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent, "_given", set())
    found = embedding_function_from_config({"type": "known", "name": name, "config": config})
    assert found.name() == name


@pytest.mark.parametrize("config", [None, "text", [1], 5, {"type": "known"}])
def test_a_configuration_of_another_shape_is_refused(config: Any) -> None:
    recorded: Any = {"type": "known", "name": "openai", "config": config}
    with pytest.raises(InvalidArgumentError):
        embedding_function_from_config(recorded)


def test_a_stored_config_of_a_sparse_function_needs_consent_and_says_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Sparse:
        """One that was used in a collection with a config of its own."""

        def __call__(self, input: Any) -> Any:
            return [chroma.SparseVector([1], [1.0]) for _ in input]

        @staticmethod
        def name() -> str:
            return "sparse_of_mine"

        def get_config(self) -> dict[str, Any]:
            return {"model": "mine"}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Sparse:
            built.append(config)
            return Sparse()

    built: list[Any] = []
    monkeypatch.setattr(sparse_registry, "sparse_known_embedding_functions", KnownFunctions({}))
    monkeypatch.setattr(consent, "_given", set())
    recorded = sparse_registry.sparse_embedding_function_to_config(Sparse())
    build_sparse = sparse_registry.sparse_embedding_function_from_config
    build_sparse(recorded)
    planted = {**recorded, "config": {"model": "/etc/passwd"}}
    with pytest.raises(InvalidArgumentError, match="needs your consent") as refused:
        build_sparse(planted)
    assert "add @register_sparse_embedding_function to its class" in str(refused.value)
    assert "embedding_function=" not in str(refused.value)
    sparse_registry.register_sparse_embedding_function(Sparse)
    build_sparse(planted)
    assert built == [{"model": "mine"}, {"model": "/etc/passwd"}]
    with pytest.raises(InvalidArgumentError, match=r"'other' not found\. Add @register_sparse"):
        build_sparse({"type": "known", "name": "other"})
