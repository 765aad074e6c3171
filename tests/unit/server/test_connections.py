"""Who loses a connection when there are too many, and the limits of each; tests/server/test_abuse.py has the wire."""

from __future__ import annotations

import sys

import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.server.connections import (
    Connections,
    Limits,
    address_of,
    default_max_connections,
    protocol_of,
)


class Connection:
    """What `Connections` knows of one."""

    def __init__(self, address: str, *, is_waiting: bool = True) -> None:
        self.address = address
        self.is_waiting = is_waiting
        self.is_dropped = False

    def drop(self) -> None:
        self.is_dropped = True


def test_the_address_with_most_connections_loses_the_one_idle_for_longest() -> None:
    connections = Connections(3)
    greedy = [Connection("greedy") for _ in range(2)]
    modest, newest = Connection("modest"), Connection("other")
    assert all(connections.enter(one) for one in (*greedy, modest, newest))
    assert [one.is_dropped for one in (*greedy, modest, newest)] == [True, False, False, False]


def test_one_that_was_used_lately_stays() -> None:
    connections = Connections(2)
    first, second, newest = (Connection("a") for _ in range(3))
    connections.enter(first)
    connections.enter(second)
    connections.used(first)
    assert connections.enter(newest)
    assert [first.is_dropped, second.is_dropped] == [False, True]


def test_one_whose_request_is_worked_on_stays_and_the_newest_is_refused() -> None:
    connections = Connections(1)
    busy, newest = Connection("a", is_waiting=False), Connection("b")
    assert connections.enter(busy)
    assert not connections.enter(newest)
    assert not busy.is_dropped


def test_one_that_leaves_twice_is_counted_out_once() -> None:
    connections = Connections(1)
    first = Connection("a", is_waiting=False)
    connections.enter(first)
    connections.leave(first)
    connections.leave(first)
    connections.used(first)
    assert connections.enter(Connection("b", is_waiting=False))
    assert not connections.enter(Connection("c", is_waiting=False))


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (None, ""),
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (("a-socket", 5), "a-socket"),
    ],
)
def test_a_connection_counts_for_its_address_or_its_network(
    client: tuple[str, int] | None, address: str
) -> None:
    assert address_of(client) == address


def test_the_limits_are_settings_that_the_refusals_name() -> None:
    limits = Limits.of(
        chroma_nb.Settings(
            server_max_head="2 KB",
            server_max_headers=7,
            server_max_requests_ahead=3,
            server_max_connections=9,
            server_body_timeout_seconds=1.5,
        )
    )
    assert limits == Limits(1.5, 2_000, 7, 3, 9)
    for name in ("server_max_head", "server_max_headers", "server_max_requests_ahead"):
        assert f"Settings.{name})" in limits.head_too_large
    assert "9 connections already (Settings.server_max_connections)" in limits.too_many
    with pytest.raises(InvalidArgumentError):
        Limits.of(chroma_nb.Settings(server_max_head="much"))


def test_half_of_the_files_are_left_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no such limit")
    import resource

    limits = {"files": 1_000}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limits["files"], 0))
    assert default_max_connections() == 500
    limits["files"] = 1
    assert default_max_connections() == 1
    limits["files"] = resource.RLIM_INFINITY
    assert default_max_connections() == 8_192


def test_each_server_counts_its_own_connections() -> None:
    limits = Limits(1.0, 1_000, 10, 10, 10)
    one, other = protocol_of(limits), protocol_of(limits)
    assert one.all_connections is not other.all_connections  # type: ignore[attr-defined]
    assert one.limits is limits  # type: ignore[attr-defined]
