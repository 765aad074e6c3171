"""Scans at a server: what is open, whose it is, when it ends, and how much it may hold."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb import errors
from chroma_nb.api.copying import PagedScan
from chroma_nb.server.auth import ANONYMOUS, Identity
from chroma_nb.server.refusals import Refused
from chroma_nb.server.scans import OpenScans
from chroma_nb.server.service import Service
from chroma_nb.types import RecordBatch
from chroma_nb.wire.operations import OPERATIONS
from chroma_nb.wire.requests import ScanStep, Target
from chroma_nb.wire.rest_answers import write_answer
from chroma_nb.wire.text import dumps
from tests.server.test_service import PLACE, Direct, made
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API

N = 200
LONG = 60.0


class Clock:
    """Seconds that a test decides."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Iterator[API]:
    with chroma_nb.EphemeralClient(private_settings(progress=False, allow_reset=True)) as client:
        docs = made(client.api, "docs").id
        vectors = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
        client.api.add(docs, RecordBatch([f"id{row}" for row in range(N)], vectors), **PLACE)
        yield client.api


@pytest.fixture
def service(store: API) -> Iterator[Service]:
    service = Service(store, chroma_nb.Settings(server_threads=4, server_max_scans=4))
    service.scans = OpenScans(service.settings, Clock())
    yield service
    service.close()


@pytest.fixture
def far(service: Service) -> Iterator[Direct]:
    with Direct(service) as far:
        yield far


def docs_of(api: API) -> Any:
    return api.get_collection("docs", **PLACE).id


def step(service: Service, asked: ScanStep, identity: Identity = ANONYMOUS, **target: Any) -> Any:
    at = Target(**{**PLACE, "collection_id": docs_of(service.api), **target})
    return service.answer(OPERATIONS["scan"], at, asked, identity)


def test_a_piece_can_be_asked_for_again(service: Service) -> None:
    first = step(service, ScanStep(piece_bytes=1_000))
    for number in (1, 2):
        asked = ScanStep(scan=first.scan, piece=number)
        found, again = step(service, asked), step(service, asked)
        assert found.piece is again.piece
        assert found.n_records == N
    for number in (0, 1, 4):
        with pytest.raises(errors.NotFoundError, match="Begin it again"):
            step(service, ScanStep(scan=first.scan, piece=number))


def test_the_end_can_be_asked_for_again(service: Service) -> None:
    found, number = step(service, ScanStep()), 0
    while found.piece is not None:
        number += 1
        end = ScanStep(scan=found.scan, piece=number)
        found = step(service, end)
    assert len(service.scans) == 0
    assert step(service, end) == found
    other = made(service.api, "other").id
    for asked, target in ((replace(end, piece=number + 1), {}), (end, {"collection_id": other})):
        with pytest.raises(errors.NotFoundError, match="Begin it again"):
            step(service, asked, **target)


def test_it_is_closed_when_it_was_read_closed_or_dropped(service: Service, far: Direct) -> None:
    docs = docs_of(far)
    assert sum(map(len, far.scan(docs, piece_bytes=1_000, **PLACE))) == N
    assert len(service.scans) == 0
    with far.scan(docs, piece_bytes=1_000, **PLACE) as scan:
        next(scan)
        assert len(service.scans) == 1
    assert len(service.scans) == 0
    scan = far.scan(docs, piece_bytes=1_000, **PLACE)
    del scan
    gc.collect()
    assert len(service.scans) == 1, "not in the middle of whatever this thread does"
    with far.scan(docs, piece_bytes=1_000, **PLACE):
        assert len(service.scans) == 1
    scan = far.scan(docs, piece_bytes=1_000, **PLACE)
    del scan
    assert len(service.scans) == 1
    far._scans.close_dropped()
    assert len(service.scans) == 0


def test_one_that_is_not_used_is_closed(service: Service) -> None:
    clock: Any = service.scans._clock
    tokens = [step(service, ScanStep(piece_bytes=1_000)).scan for _ in range(2)]
    clock.now += 200
    assert step(service, ScanStep(scan=tokens[0], piece=1)).piece is not None
    clock.now += 200
    service.scans.close_idle()
    assert len(service.scans) == 1
    assert step(service, ScanStep(scan=tokens[0], piece=2)).piece is not None
    with pytest.raises(
        errors.NotFoundError, match=r"not used for 300 s \(Settings.server_scan_idle"
    ):
        step(service, ScanStep(scan=tokens[1], piece=1))


def test_it_is_closed_although_nobody_asks_for_anything(store: API) -> None:
    closed = threading.Event()

    class Watched:
        n_records = dimension = 0

        def close(self) -> None:
            closed.set()

    scans = OpenScans(chroma_nb.Settings(server_scan_idle_seconds=0.001))
    made_one: Any = Watched
    scans.begin("somebody", Target(), made_one)
    assert closed.wait(LONG)
    scans.close()


def test_without_authentication_a_share_is_of_an_address(service: Service) -> None:
    at = Target(**PLACE, collection_id=docs_of(service.api))

    def begin(who: str) -> Any:
        begun = ScanStep(piece_bytes=1_000)
        return service.answer(OPERATIONS["scan"], at, begun, ANONYMOUS, who)

    for _ in range(2):
        begin("10.0.0.1")
    with pytest.raises(Refused, match="2 of them yours"):
        begin("10.0.0.1")
    assert begin("10.0.0.2").piece is not None


def test_no_client_has_all_of_them(service: Service) -> None:
    somebody, other = Identity("somebody", ("*",)), Identity("other", ("*",))
    tokens = [step(service, ScanStep(piece_bytes=1_000), somebody).scan for _ in range(2)]
    with pytest.raises(Refused, match="2 of them yours"):
        step(service, ScanStep(), somebody)
    others = step(service, ScanStep(piece_bytes=1_000), other)
    assert others.piece is not None
    step(service, ScanStep(scan=others.scan, close=True), other)
    step(service, ScanStep(scan=tokens[0], close=True), somebody)
    step(service, ScanStep(scan=tokens[0], close=True), somebody)
    assert step(service, ScanStep(piece_bytes=1_000), somebody).piece is not None
    # What fails at its beginning counts no more.
    for _ in range(9):
        with pytest.raises(ValueError, match="operator"):
            step(service, ScanStep(where={"n": {"$no": 1}}), other)


def test_what_interrupted_cells_left_behind_gives_way(service: Service) -> None:
    clock: Any = service.scans._clock
    first = step(service, ScanStep(piece_bytes=100))
    clock.now += 5
    second = step(service, ScanStep(piece_bytes=100))
    with pytest.raises(Refused):
        step(service, ScanStep(piece_bytes=100))
    clock.now += 6
    third = step(service, ScanStep(piece_bytes=100))
    assert len(service.scans) == 2
    # The one that was not used for the longest time.
    with pytest.raises(errors.NotFoundError, match="gave way to a newer one"):
        step(service, ScanStep(scan=first.scan, piece=1))
    for one in (second, third):
        assert step(service, ScanStep(scan=one.scan, piece=1)).piece is not None


def test_a_beginning_whose_answer_was_lost_is_the_same_scan(service: Service) -> None:
    asked = ScanStep(piece_bytes=100, key="k" * 20)
    answers = [step(service, asked) for _ in range(3)]
    assert {one.scan for one in answers} == {"k" * 20}
    assert len({tuple(one.piece.ids) for one in answers}) == 1
    assert len(service.scans) == 1
    # Another client's key is none of its business.
    stranger = Identity("else", ("*",))
    assert step(service, asked, stranger).scan != "k" * 20


def test_an_interrupt_before_the_first_answer_leaves_nothing(
    service: Service, far: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = docs_of(far)
    ask = far._call

    def interrupted(*asked: Any) -> Any:
        ask(*asked)
        raise KeyboardInterrupt

    monkeypatch.setattr(far, "_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        far.scan(docs, **PLACE)
    monkeypatch.undo()
    assert len(service.scans) == 1
    assert len(list(far.scan(docs, piece_bytes=100, **PLACE))) > 1
    assert not service.scans


def test_a_token_is_of_one_tenant_and_one_collection(store: API, service: Service) -> None:
    store.create_tenant("acme")
    store.create_database("default_database", "acme")
    mine, theirs = Identity("me", ("default_tenant",)), Identity("they", ("acme",))
    token = step(service, ScanStep(piece_bytes=1_000), mine).scan
    asked, end = ScanStep(scan=token, piece=1), ScanStep(scan=token, close=True)
    with pytest.raises(errors.ChromaAuthError):
        step(service, asked, theirs)
    with pytest.raises(errors.NotFoundError):
        step(service, asked, theirs, tenant="acme")
    step(service, end, theirs, tenant="acme")
    with pytest.raises(errors.NotFoundError):
        step(service, asked, mine, collection_id=made(store, "more").id)
    with pytest.raises(errors.NotFoundError):
        step(service, ScanStep(scan=token + "x", piece=1), mine)
    assert step(service, asked, mine).piece is not None, "nobody else could close it"


def test_a_server_that_stops_closes_them(store: API) -> None:
    service = Service(store, chroma_nb.Settings(server_threads=2))
    slot = store.segments._slots.get(docs_of(store))  # type: ignore[attr-defined]
    step(service, ScanStep(piece_bytes=1_000))
    assert len(slot.scans) == 1
    service.close()
    gc.collect()
    assert not slot.scans
    with pytest.raises(Refused):
        step(service, ScanStep())


def test_a_server_that_has_no_scans_is_read_page_by_page(far: Direct) -> None:
    far.server = replace(far.server, scans=False)
    far.asked.clear()
    scan = far.scan(docs_of(far), **PLACE)
    assert isinstance(scan, PagedScan)
    assert (scan.n_records, scan.dimension) == (N, 4)
    assert sum(map(len, scan)) == N
    assert "scan" not in far.asked


def test_a_server_that_repeats_a_piece_for_ever_is_not_believed(
    service: Service, far: Direct
) -> None:
    scan: Any = far.scan(docs_of(far), piece_bytes=1_000, **PLACE)
    first = next(scan)
    ask = scan._ask
    scan._ask = lambda asked: ask(asked).__class__("x", N, 4, first)
    with pytest.raises(errors.InternalError, match="more records than the 200"):
        list(scan)
    scan._ask = ask


def test_a_server_holds_a_few_pieces_whatever_the_size(store: API, service: Service) -> None:
    docs = docs_of(store)
    n, text = 10_000, "x" * 3_000
    for start in range(0, 40_000, n):
        ids = [f"more{row}" for row in range(start, start + n)]
        store.add(docs, RecordBatch(ids, np.ones((n, 4), np.float32), [text] * n), **PLACE)
    target = Target(**PLACE, collection_id=docs)
    for load in (False, True):
        (store.load if load else store.unload)(docs, **PLACE)
        tracemalloc.start()
        try:
            asked, n_sent = ScanStep(), 0
            while True:
                answer = step(service, asked)
                n_sent += len(dumps(write_answer("scan", answer, asked, target, base64=True)))
                if answer.piece is None:
                    break
                asked = ScanStep(scan=answer.scan, piece=asked.piece + 1)
            del answer
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert n_sent > 120_000_000
        assert held < 50_000_000
