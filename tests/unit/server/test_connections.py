"""Which connection is closed where there are too many."""

from __future__ import annotations

from chroma_nb.server.connections import Connections, Hold


class One:
    """A connection that only says what it is held for."""

    def __init__(self, address: str, hold: Hold = Hold.ARRIVING) -> None:
        self.address = address
        self.hold = hold
        self.is_dropped = False

    def drop(self) -> None:
        self.is_dropped = True


def entered(limit: int, *ones: One) -> Connections:
    connections = Connections(limit)
    for one in ones:
        assert connections.enter(one)
    return connections


def test_the_address_that_has_most_loses_one() -> None:
    many = [One("a") for _ in range(3)]
    few = [One("b", Hold.IDLE)]
    connections = entered(4, *few, *many)
    assert connections.enter(One("c"))
    assert [one.is_dropped for one in many] == [True, False, False]
    assert not few[0].is_dropped


def test_idle_ones_go_first_then_what_has_been_still_for_longest() -> None:
    ones = [One("a"), One("a", Hold.UNREAD), One("a"), One("a", Hold.IDLE)]
    connections = entered(4, *ones)
    connections.used(ones[0])
    for expected in (3, 2, 0, 1):
        assert connections.enter(One(f"b{expected}", Hold.WORKED_ON))
        assert ones[expected].is_dropped
    assert all(one.is_dropped for one in ones)


def test_what_is_worked_on_is_never_closed() -> None:
    ones = [One("a", Hold.WORKED_ON) for _ in range(3)]
    connections = entered(3, *ones)
    assert not connections.enter(One("b"))
    assert not any(one.is_dropped for one in ones)


def test_an_address_that_has_most_takes_no_request_of_others() -> None:
    connections = entered(3, *(One("a", Hold.WORKED_ON) for _ in range(2)), other := One("b"))
    newest = One("a")
    assert not connections.enter(newest)
    assert not other.is_dropped
    connections.leave(newest)
    other.hold = Hold.IDLE
    assert connections.enter(One("a"))
    assert other.is_dropped


def test_a_connection_counts_for_the_client_whose_request_it_carries() -> None:
    ones = [One("proxy") for _ in range(4)]
    connections = entered(4, *ones)
    for one in ones[1:]:
        connections.count_for(one, "evil")
    connections.count_for(ones[0], "honest")
    assert connections.enter(One("proxy"))
    assert [one.is_dropped for one in ones] == [False, True, False, False]
    connections.count_for(ones[1], "proxy")
    assert connections.enter(One("proxy")), "one that was closed is not counted again"
    assert ones[2].is_dropped
    for one in ones:
        connections.leave(one)
        connections.leave(one)
