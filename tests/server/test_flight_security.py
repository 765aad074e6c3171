"""What a stranger, and who shows what is another's, gets of Arrow Flight. After each the server answers others."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

fl = pytest.importorskip("pyarrow.flight")
import pyarrow as pa  # noqa: E402

from tests.server.flight_clients import (  # noqa: E402
    MB,
    Place,
    Plain,
    refusal,
)

# -- commands and tickets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda who: who.client.get_flight_info(fl.FlightDescriptor.for_command(b"{}"), who.options),
        lambda who: who.client.get_schema(fl.FlightDescriptor.for_command(b"{}"), who.options),
        lambda who: who.client.authenticate_basic_token(b"alice", b"guess"),
        lambda who: list(who.client.do_action(fl.Action("reset", b"{}"), who.options)),
        lambda who: list(who.client.do_action(fl.Action("x" * 5_000, b"{}"), who.options)),
    ],
)
def test_calls_that_are_not_there_tell_nothing_of_the_server(place: Place, ask: Any) -> None:
    for who in (place.plain, place.stranger):
        # pyarrow raises an OSError for what is said of schemas.
        with pytest.raises((pa.ArrowException, OSError)) as error:
            ask(who)
        for word in ("Traceback", ".py", "site-packages"):
            assert word not in str(error.value)


def test_tickets_of_others_and_of_other_operations(place: Place) -> None:
    ours = {"operation": "get", "path": place.path}
    in_bolt = {"operation": "get", "path": {**place.path, "tenant": "bolt"}}

    def get(who: Plain, ticket: Any) -> Any:
        raw = ticket if isinstance(ticket, bytes) else json.dumps(ticket).encode()
        return who.client.do_get(fl.Ticket(raw), who.options).read_all()

    # A ticket is no secret, and gives no right: whoever shows it has to be allowed what it names.
    assert get(place.plain, ours).num_rows == 1
    assert refusal(lambda: get(place.bob, ours))[0] == 403
    assert refusal(lambda: get(place.stranger, ours))[0] == 401
    assert refusal(lambda: get(place.bob, in_bolt))[0] == 404
    for ticket in (
        *({**ours, "operation": one} for one in ("delete", "add", "reset", "count", "")),
        {**ours, "path": {}},
        {**ours, "path": {**place.path, "collection_id": "../x"}},
        {**ours, "body": [1]},
        {**ours, "operation": "query", "body": "x"},
        {**ours, "body": {"where": {"$and": []}}},
        *(b"[" * MB, b'{"a":' * 90_000, b"\xff\xfe", b"\0" * 1_000, b"{}" * 1_000, b""),
        b'{"operation":"get","path":{"tenant":"\\ud800"}}',
    ):
        assert refusal(lambda ticket=ticket: get(place.plain, ticket))[0] in (  # type: ignore[misc]
            *(400, 403, 404, 422),
        )
    assert refusal(lambda: get(place.plain, b" " * 3 * MB))[0] == 413


def test_many_clients_at_once(place: Place) -> None:
    codes: list[int] = []

    def ask(number: int) -> None:
        who = (place.plain, place.bob, place.stranger)[number % 3]
        try:
            codes.append(who.act("count", **place.path))
        except pa.ArrowException as error:
            codes.append(json.loads(error.extra_info)["status"])  # type: ignore[attr-defined]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) == 90
    assert set(codes) <= {1, 401, 403, 503}
