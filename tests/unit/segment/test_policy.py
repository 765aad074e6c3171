from __future__ import annotations

from uuid import uuid4

import pytest

from chroma_nb.index import ENGINES, forms_of, load_engine
from chroma_nb.index.base import GraphParameters
from chroma_nb.segment.policy import Resident, expiry, forms_that_fit, ranked_for_unload


def resident(last_used: float, ttl: float | None = None, *, pinned: bool = False) -> Resident:
    return Resident(uuid4(), 1_000, last_used, ttl, pinned)


def test_ttl_goes_before_idle_before_least_recently_used() -> None:
    now = 1_000.0
    expired, older_expired = resident(900, ttl=50), resident(800, ttl=60)
    idle, older_idle = resident(300), resident(200)
    recent, more_recent = resident(990), resident(999)
    waiting = resident(100, ttl=5_000)
    pinned = resident(0, ttl=1, pinned=True)
    everybody = [more_recent, idle, pinned, expired, waiting, recent, older_idle, older_expired]
    order = ranked_for_unload(everybody, now, idle_seconds=500)
    assert [one for one, _ in order] == [
        *(older_expired, expired),
        *(older_idle, idle),
        # Its own TTL counts, not the interval of the others.
        *(waiting, recent, more_recent),
    ]
    assert [reason for _, reason in order] == [
        *["its TTL was over"] * 2,
        *["idle"] * 2,
        *["least recently used"] * 3,
    ]


def test_without_an_interval_nobody_is_idle() -> None:
    order = ranked_for_unload([resident(1), resident(0)], 10**6, idle_seconds=0)
    assert {reason for _, reason in order} == {"least recently used"}


@pytest.mark.parametrize(
    ("ttl", "idle", "expected"), [(None, 0, None), (None, 60, 60), (5, 60, 5), (5, 0, 5)]
)
def test_a_collections_own_ttl_counts_first(
    ttl: float | None, idle: float, expected: float | None
) -> None:
    assert expiry(ttl, idle) == expected


def test_forms_get_smaller_and_the_first_that_fits_is_first() -> None:
    engine = load_engine("usearch")
    assert engine is not None
    parameters = GraphParameters("l2", 384)
    forms = list(forms_of(engine))
    assert [form.engine for form in forms] == list(ENGINES)[1:]
    sizes = [form.bytes_for(parameters, 10_000) for form in forms]
    assert sizes == sorted(sizes, reverse=True)
    for at, size in enumerate(sizes):
        fitting = forms_that_fit(forms_of(engine), parameters, 10_000, size)
        assert list(fitting) == forms[at:]
    assert not list(forms_that_fit(forms_of(engine), parameters, 10_000, sizes[-1] - 1))
