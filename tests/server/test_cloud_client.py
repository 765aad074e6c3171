"""`CloudClient`: the client of any server, with a key in the cloud's header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import running, start_ours
from chroma_nb.server.auth_file import AuthFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], str]]:
    folder: Path = tmp_path_factory.mktemp("cloud")
    file = AuthFile(str(folder / "auth.json"))
    key = file.add_token("alice", ["acme"])
    with running(start_ours(folder, CHROMA_NB_SERVER_AUTH_FILE=file.path)) as server:
        yield {"cloud_host": "127.0.0.1", "cloud_port": server.port, "enable_ssl": False}, key


def test_a_key_opens_its_tenant(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    where, key = cloud
    with chroma_nb.CloudClient(api_key=key, **where) as client:
        assert (client.tenant, client.get_settings().token_header) == ("acme", "X-Chroma-Token")
        client.get_or_create_collection("docs", embedding_function=None)
    monkeypatch.setenv("CHROMA_API_KEY", key)
    monkeypatch.setenv("CHROMA_TENANT", "acme")
    monkeypatch.setenv("CHROMA_DATABASE", "default_database")
    with chroma_nb.CloudClient(**where) as client:
        assert list(client) == ["docs"]


def test_another_key_is_refused(cloud: Any) -> None:
    where, _ = cloud
    with pytest.raises((chroma_nb.errors.ChromaAuthError, chroma_nb.errors.AuthorizationError)):
        chroma_nb.CloudClient(api_key="ck-wrong", **where)


def test_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMA_API_KEY", raising=False)
    with pytest.raises(ValueError, match="CHROMA_API_KEY"):
        chroma_nb.CloudClient(tenant="acme")


def test_chromas_address_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "chroma_nb.client.remote.connect", lambda *given, **options: asked.append((given, options))
    )
    chroma_nb.CloudClient("acme", "prod", "ck-1")
    ((given, options),) = asked
    assert given == ("https://api.trychroma.com:443", "acme", "prod")
    assert options["token"] == "ck-1"
