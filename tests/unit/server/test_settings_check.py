"""What every server checks of its settings before it opens a store or a port."""

from __future__ import annotations

from typing import Any

import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.server.settings_check import check_server_settings, check_sizes, is_loopback


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"server_port": 65_536}, "a port from 0 to 65,535, got 65536"),
        ({"server_flight_port": 8_815}, "server_flight_port=8815 (--flight-port) is for"),
        ({"server_host": "0.0.0.0"}, "without authentication"),
        ({"server_host": "example.org"}, "without authentication"),
        ({"server_token": " token"}, "server_token"),
        ({"server_auth_file": "/no/such/file"}, "does not exist"),
        ({"server_max_body": "much"}, "server_max_body cannot be used"),
        ({"memory_budget": "much"}, "memory_budget cannot be used"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(values: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_server_settings(chroma_nb.Settings(**values))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("flight", "words"),
    [(65_536, "a port from 0 to 65,535, got 65536"), (8_000, "are both 8000")],
)
def test_a_second_port_is_one_of_its_own(flight: int, words: str) -> None:
    settings = chroma_nb.Settings(server_flight_port=flight)
    with pytest.raises(InvalidArgumentError, match=words):
        check_server_settings(settings, has_flight_port=True)
    for free in (
        settings.replace(server_flight_port=8_815),
        settings.replace(server_port=0, server_flight_port=0),
    ):
        check_server_settings(free, has_flight_port=True)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"server_host": "::1"},
        {"server_host": "127.8.8.8"},
        {"server_host": "0.0.0.0", "server_token": "token"},
        {"server_host": "0.0.0.0", "server_public": True},
    ],
)
def test_what_is_safe_may_be_served(values: Any) -> None:
    check_server_settings(chroma_nb.Settings(**values))


def test_sizes_of_a_transport_are_checked_in_the_same_way() -> None:
    check_sizes(chroma_nb.Settings(), "server_max_head", "server_max_body")
    with pytest.raises(InvalidArgumentError, match="server_max_head cannot be used"):
        check_sizes(chroma_nb.Settings(server_max_head="-1"), "server_max_head")


def test_which_addresses_are_this_machines() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "10.0.0.1")))
