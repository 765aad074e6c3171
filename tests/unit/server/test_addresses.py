"""Where a server listens, and how clients name that."""

from __future__ import annotations

import pytest

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.server.addresses import in_url, listening_socket, url_of


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "grpc://127.0.0.1:8815"),
        ("::1", "grpc://[::1]:8815"),
        ("0.0.0.0", "grpc://localhost:8815"),
        ("::", "grpc://localhost:8815"),
    ],
)
def test_the_url_is_one_that_clients_can_use(host: str, url: str) -> None:
    assert url_of("grpc", host, 8815) == url
    assert in_url("example.org") == "example.org"


def test_an_address_that_is_taken_is_named() -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InvalidArgumentError, match=f"127.0.0.1:{port}: .*Choose another --port"
        ):
            listening_socket("127.0.0.1", port)
