"""The server over HTTP: what is checked before it opens a port, and that it runs once."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.server import FastAPI
from chroma_nb.server._fastapi import trusted_proxies

if TYPE_CHECKING:
    from chroma_nb.api.base import API


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"server_host": "example.org"}, "without authentication"),
        ({"server_max_head": "-1"}, "server_max_head cannot be used"),
        ({"server_trusted_proxies": "proxy.example"}, "server_trusted_proxies names"),
        ({"server_tls_key": "key.pem"}, "needs the certificate beside it"),
        ({"server_tls_certificate": "/no/such/file"}, "cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(values: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        FastAPI.check_settings(chroma_nb.Settings(**values))
    assert words in str(caught.value)


def test_proxies_are_addresses_and_networks() -> None:
    settings = chroma_nb.Settings(server_trusted_proxies=" 127.0.0.1, 10.0.0.0/8,, ::1 ")
    assert trusted_proxies(settings) == ["127.0.0.1", "10.0.0.0/8", "::1"]


def made(api: API, **values: Any) -> FastAPI:
    return FastAPI(api, chroma_nb.Settings(server_port=0, server_threads=1, **values), lambda: None)


def test_its_address_is_known_once_it_listens(api: API) -> None:
    with made(api) as server:
        assert server.url == "http://127.0.0.1:0"
        server.listen()
        assert not server.url.endswith(":0")


def test_the_address_of_every_interface_is_written_as_this_machine(api: API) -> None:
    with made(api, server_host="0.0.0.0", server_public=True) as server:
        assert server.url == "http://localhost:0"


def test_an_address_that_is_taken_is_named(api: API) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = FastAPI(api, chroma_nb.Settings(server_port=port), lambda: None)
        with server, pytest.raises(InvalidArgumentError, match=f"127.0.0.1:{port}.*Choose another"):
            server.listen()


def test_a_server_runs_once_and_releases_its_store_once(api: API) -> None:
    released: list[int] = []
    settings = chroma_nb.Settings(server_port=0, server_threads=1)
    server = FastAPI(api, settings, lambda: released.append(1))
    url = server.start()
    assert server.start() == url
    with chroma_nb.HttpClient(url) as client:
        assert client.heartbeat() > 0
    server.stop()
    server.stop()
    assert released == [1]
    with pytest.raises(InternalError, match="runs once"):
        server.run()
