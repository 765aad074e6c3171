from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.embedding import (
    OllamaEmbeddingFunction,
    OpenAIEmbeddingFunction,
    check_conflict_on_modify,
    embed_documents,
    embedding_function_from_config,
    embedding_function_to_config,
    json_service,
)
from chroma_nb.errors import (
    AuthorizationError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    QuotaError,
    RateLimitError,
)

if TYPE_CHECKING:
    from tests.unit.embedding.conftest import Service

KEY = "sk-this-is-the-secret-key"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "CHROMA_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(OpenAIEmbeddingFunction, "pause_seconds", 0.001)
    monkeypatch.setattr(OllamaEmbeddingFunction, "pause_seconds", 0.001)


def vectors_of(payload: Any) -> list[list[float]]:
    return [[float(len(text)), 1.0, 0.5] for text in payload["input"]]


def openai_answer(payload: Any) -> dict[str, Any]:
    items = [{"index": i, "embedding": v} for i, v in enumerate(vectors_of(payload))]
    return {"object": "list", "data": items[::-1], "model": payload["model"]}


def ollama_answer(payload: Any) -> dict[str, Any]:
    return {"model": payload["model"], "embeddings": vectors_of(payload)}


def openai(service: Service, **arguments: Any) -> OpenAIEmbeddingFunction:
    return OpenAIEmbeddingFunction(**{"api_key": KEY, "api_base": f"{service.url}/v1", **arguments})


# -- OpenAI -------------------------------------------------------------------------------------------


def test_openai_request_and_answer(service: Service) -> None:
    service.reply(openai_answer)
    function = openai(
        service,
        model_name="text-embedding-3-small",
        dimensions=3,
        organization_id="org-1",
        default_headers={"X-Team": "search"},
    )
    matrix = embed_documents(function, ["a", "bb"])
    assert matrix.tolist() == [[1.0, 1.0, 0.5], [2.0, 1.0, 0.5]]
    path, headers, payload = service.requests[0]
    assert path == "/v1/embeddings"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["openai-organization"] == "org-1"
    assert headers["x-team"] == "search"
    assert payload == {
        "model": "text-embedding-3-small",
        "input": ["a", "bb"],
        "encoding_format": "float",
        "dimensions": 3,
    }


def test_openai_sends_dimensions_to_models_that_know_them(service: Service) -> None:
    service.reply(openai_answer)
    openai(service, dimensions=3)(["a"])
    assert "dimensions" not in service.requests[0][2]


def test_openai_azure(service: Service) -> None:
    service.reply(openai_answer)
    function = OpenAIEmbeddingFunction(
        api_key=KEY,
        api_base=service.url,
        api_type="azure",
        api_version="2024-02-01",
        deployment_id="mine",
    )
    assert len(function(["a"])) == 1
    path, headers, _ = service.requests[0]
    assert path == "/openai/deployments/mine/embeddings?api-version=2024-02-01"
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    with pytest.raises(ValueError, match="deployment_id must be specified for Azure OpenAI"):
        OpenAIEmbeddingFunction(api_key=KEY, api_type="azure", api_version="x")


def test_openai_batches(service: Service) -> None:
    service.reply(openai_answer)
    texts = ["x" * (i % 7 + 1) for i in range(600)] + ["y" * 200_000, "z" * 200_000]
    matrix = embed_documents(openai(service), texts)
    assert matrix[:, 0].tolist() == [float(len(text)) for text in texts]
    sizes = [len(payload["input"]) for _, _, payload in service.requests]
    assert sizes == [256, 256, 89, 1]


def test_openai_tries_again_after_429(service: Service) -> None:
    service.reply({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0"})
    service.reply({"error": {"message": "oops"}}, status=503)
    service.reply(openai_answer)
    assert [v.tolist() for v in openai(service)(["a"])] == [[1.0, 1.0, 0.5]]
    assert len(service.requests) == 3


def test_openai_waits_as_long_as_it_is_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(json_service.time, "sleep", waits.append)
    service.reply({}, status=429, headers={"Retry-After": "7"})
    service.reply({}, status=429, headers={"Retry-After": "3600"})
    service.reply({}, status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    service.reply(openai_answer)
    openai(service)(["a"])
    assert waits[:2] == [7.0, 60.0]
    assert 0.004 <= waits[2] <= 0.005


def test_openai_gives_up(service: Service) -> None:
    service.reply({"error": {"message": "slow down"}}, status=429)
    with pytest.raises(RateLimitError, match="HTTP 429: slow down"):
        openai(service)(["a"])
    assert len(service.requests) == OpenAIEmbeddingFunction.attempts


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (400, {"error": {"message": f"bad input, {KEY}"}}, InvalidArgumentError, "bad input, "),
        (401, {"error": {"message": f"wrong key {KEY}"}}, AuthorizationError, "API key"),
        (403, b"<html>no</html>", AuthorizationError, "API key"),
        (404, {"error": {"message": "no such model"}}, NotFoundError, "no such model"),
        (
            429,
            {"error": {"message": "nothing left", "code": "insufficient_quota"}},
            QuotaError,
            "nothing left",
        ),
        (302, b"", InternalError, "HTTP 302"),
        (501, {"error": "not here"}, InternalError, "not here"),
        (200, b"<html>a portal</html>", InternalError, "a portal"),
        (200, [1], InternalError, "JSON object"),
        (200, {"foo": 1}, InternalError, "answer is not OpenAI's .* the fields foo"),
        (200, {"data": [{"embedding": "x"}]}, InternalError, "answer is not OpenAI's"),
        (200, {"data": [{"embedding": [1.0]}]}, InternalError, "1 embeddings for 2 texts"),
    ],
)
def test_openai_errors_say_what_and_hide_the_key(
    service: Service, status: int, body: Any, kind: type[Exception], says: str
) -> None:
    service.reply(body, status=status)
    with pytest.raises(kind, match=says) as caught:
        openai(service)(["a", "b"])
    assert len(service.requests) == 1
    assert KEY not in str(caught.value)
    assert "sk-" not in str(caught.value)


def test_openai_without_a_server() -> None:
    function = OpenAIEmbeddingFunction(api_key=KEY, api_base="http://user:pw@127.0.0.1:9/v1")
    started = time.perf_counter()
    with pytest.raises(
        InternalError, match=r"No answer from the embedding service at .*Check the network"
    ) as caught:
        function(["a"])
    assert time.perf_counter() - started < 20
    assert KEY not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_openai_key_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MY_KEY", "OPENAI_API_KEY"):
        with pytest.raises(ValueError, match=f"The {variable} environment variable is not set"):
            openai(service, api_key=None, api_key_env_var=variable)
    service.reply(openai_answer)
    monkeypatch.setenv("CHROMA_OPENAI_API_KEY", "chromas")
    function = openai(service, api_key=None)
    function(["a"])
    monkeypatch.setenv("OPENAI_API_KEY", "openais")
    function(["a"])
    monkeypatch.setenv("MY_KEY", "mine")
    openai(service, api_key=None, api_key_env_var="MY_KEY")(["a"])
    sent = [headers["authorization"] for _, headers, _ in service.requests]
    assert sent == ["Bearer chromas", "Bearer openais", "Bearer mine"]


def test_openai_config_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"X-Team": "search", "X-Api-Key": "hidden", "Authorization": "hidden"}
    function = OpenAIEmbeddingFunction(KEY, "text-embedding-3-large", default_headers=headers)
    config = embedding_function_to_config(function)
    assert config == {
        "type": "known",
        "name": "openai",
        "config": {
            "api_key_env_var": "OPENAI_API_KEY",
            "model_name": "text-embedding-3-large",
            "organization_id": None,
            "api_base": None,
            "api_type": None,
            "api_version": None,
            "deployment_id": None,
            "default_headers": {"X-Team": "search"},
            "dimensions": None,
        },
    }
    assert KEY not in repr(function)
    with pytest.raises(ValueError, match=r"Could not build .* OPENAI_API_KEY environment variable"):
        embedding_function_from_config(config)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert embedding_function_from_config(config).get_config() == config["config"]
    for wrong in ({"model_name": "m"}, {**config["config"], "api_key": KEY}):
        with pytest.raises(ValueError, match=r"has no 'api_key_env_var'|unknown field 'api_key'"):
            OpenAIEmbeddingFunction.validate_config(wrong)


def test_openai_model_cannot_change() -> None:
    config = embedding_function_to_config(OpenAIEmbeddingFunction(KEY))
    check_conflict_on_modify(config, OpenAIEmbeddingFunction(KEY, api_base="http://other/v1"))
    with pytest.raises(ValueError, match="Cannot change model_name from 'text-embedding-ada-002'"):
        check_conflict_on_modify(config, OpenAIEmbeddingFunction(KEY, "other"))


# -- Ollama -------------------------------------------------------------------------------------------


def test_ollama_request_and_answer(service: Service) -> None:
    service.reply(ollama_answer)
    function = OllamaEmbeddingFunction(service.url, "nomic-embed-text")
    texts = ["x" * (i % 5 + 1) for i in range(70)]
    matrix = embed_documents(function, texts)
    assert matrix.dtype == np.float32
    assert matrix[:, 0].tolist() == [float(len(text)) for text in texts]
    assert [path for path, _, _ in service.requests] == ["/api/embed"] * 2
    assert [len(payload["input"]) for _, _, payload in service.requests] == [64, 6]
    assert service.requests[1][2] == {"model": "nomic-embed-text", "input": texts[64:]}


@pytest.mark.parametrize("route", ["/", "/api/embeddings", "/api/embed"])
def test_ollama_addresses(service: Service, route: str) -> None:
    service.reply(ollama_answer)
    assert len(OllamaEmbeddingFunction(service.url + route)(["a"])) == 1
    assert service.requests[0][0] == "/api/embed"
    with pytest.raises(ValueError, match="http://host:port, got 'localhost:11434'"):
        OllamaEmbeddingFunction("localhost:11434")


def test_ollama_tries_again(service: Service) -> None:
    service.reply({"error": "busy"}, status=503)
    service.reply({"error": "busy"}, status=429)
    service.reply(ollama_answer)
    assert len(OllamaEmbeddingFunction(service.url)(["a"])) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (404, {"error": "model 'm' not found"}, NotFoundError, r"not found.*ollama pull m$"),
        (400, {"error": "too long"}, InvalidArgumentError, "HTTP 400: too long"),
        (500, {"error": "out of memory"}, InternalError, "HTTP 500: out of memory"),
        (200, {"embeddings": [[1.0]]}, InternalError, "1 embeddings for 2 texts"),
        (200, {"response": "hello"}, InternalError, "has no embeddings .*response.*'m' an embed"),
    ],
)
def test_ollama_errors(
    service: Service, status: int, body: Any, kind: type[Exception], says: str
) -> None:
    service.reply(body, status=status)
    with pytest.raises(kind, match=says):
        OllamaEmbeddingFunction(service.url, "m")(["a", "b"])


def test_ollama_without_a_server() -> None:
    with pytest.raises(InternalError, match=r"No answer from Ollama .*ollama serve"):
        OllamaEmbeddingFunction("http://127.0.0.1:9")(["a"])


def test_ollama_config() -> None:
    config = embedding_function_to_config(OllamaEmbeddingFunction())
    assert config == {
        "type": "known",
        "name": "ollama",
        "config": {
            "url": "http://localhost:11434",
            "model_name": "chroma/all-minilm-l6-v2-f32",
            "timeout": 60,
        },
    }
    assert embedding_function_from_config(config).get_config() == config["config"]
    with pytest.raises(ValueError, match="Cannot change model_name"):
        check_conflict_on_modify(config, OllamaEmbeddingFunction(model_name="other"))


# -- answers of a service that is not what it seems -------------------------------------------------------------------

DEEP = b'{"error": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
SQUEEZED = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "match"),
    [
        (200, SQUEEZED, gzip.compress(b" " * 50_000_000, 1), "answered with more than 1.3 MB"),
        (500, SQUEEZED, gzip.compress(b" " * 50_000_000, 1), "answered with more than 1.3 MB"),
        (200, {"Content-Encoding": "gzip, gzip"}, b"", "compressed twice"),
        (200, {}, b'{"embeddings": [' + b"[]," * 200_000 + b"[]]}", "more than 81,920 values"),
        (200, {}, DEEP[:70_000], "did not answer with a JSON object"),
        (400, {}, DEEP[:60_000], "refused with HTTP 400"),
        (200, {}, b'{"embeddings": [[' + b"9" * 400 + b"]]}", "has no embeddings"),
        (200, {}, b'{"\\u001b[31mred": 1}', r"has the fields \[31mred|has the fields [^\x1b]"),
        (200, {}, b"\xff\xfe\x00", "did not answer with a JSON object"),
    ],
)
def test_an_odd_answer_is_an_error_and_takes_little(
    service: Service, status: int, headers: dict[str, str], body: bytes, match: str
) -> None:
    service.reply(body, status=status, headers=headers)
    function = OllamaEmbeddingFunction(url=service.url)
    tracemalloc.start()
    try:
        with pytest.raises((InternalError, InvalidArgumentError), match=match) as caught:
            function(["text"])
        assert tracemalloc.get_traced_memory()[1] < 12_000_000 + 2 * len(body)
    finally:
        tracemalloc.stop()
    assert "\x1b" not in str(caught.value)


def test_openai_items_without_a_place_are_an_error(service: Service) -> None:
    service.reply(b'{"data": [{"index": 1e999, "embedding": [1.0]}]}')
    with pytest.raises(InternalError, match="is not OpenAI's"):
        openai(service)(["text"])


@pytest.mark.parametrize("beginning", [b"", b"Content-Length: 100000\r\n\r\n"])
def test_an_answer_that_drips_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(OllamaEmbeddingFunction, "attempts", 1)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + beginning)
                while not over.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        # Longer than each of its silences.
        with pytest.raises(InternalError, match="timed out"):
            OllamaEmbeddingFunction(url=url, timeout=1)(["text"])
        over.set()
        thread.join()
