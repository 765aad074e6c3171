"""What `search` finds is what the referee in plain Python finds: loaded or not, after updates and deletions."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from chroma_nb.db import DuckDB
from chroma_nb.schema import Schema, SparseVectorIndexConfig, VectorIndexConfig
from chroma_nb.schema_json import HNSW_DEFAULTS
from chroma_nb.search import (
    GroupBy,
    K,
    Knn,
    Limit,
    MaxK,
    MinK,
    Rrf,
    Search,
    SparseVector,
    Val,
)
from chroma_nb.settings import Settings
from chroma_nb.testing import local_api
from chroma_nb.testing.plain_search import Record, UndecidedError, search
from chroma_nb.types import RecordBatch
from tests.unit.search.strategies import arithmetic_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API

PLACE: Any = {"tenant": "default_tenant", "database": "default_database"}
#: Whole numbers, so that equal distances are equal however they are computed.
NUMBER = st.integers(-2, 2).map(float)
VECTOR = st.lists(NUMBER, min_size=2, max_size=2)
VALUES = st.sampled_from([1, 2, 1.0, 2.5, True, False, "x", "y", [1, 2], [1.0], ["x"], [True]])
INDICES = st.lists(st.integers(0, 4), max_size=3, unique=True).map(sorted)
SPARSE = INDICES.flatmap(
    lambda indices: st.builds(
        SparseVector,
        st.just(indices),
        st.lists(NUMBER, min_size=len(indices), max_size=len(indices)),
    )
)
PLAIN = st.none() | st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1)
METADATA = st.builds(
    lambda plain, sparse: plain if sparse is None else {**(plain or {}), "sp": sparse.to_dict()},
    PLAIN,
    st.none() | SPARSE,
)
RECORDS = st.lists(st.tuples(VECTOR, METADATA), min_size=1, max_size=8)
DEFAULT = st.none() | NUMBER
OPTIONS: Any = {"limit": st.integers(0, 9), "default": DEFAULT, "return_rank": st.booleans()}
KNNS = st.builds(Knn, VECTOR, **OPTIONS) | st.builds(Knn, SPARSE, key=st.just("sp"), **OPTIONS)
RANKS = st.recursive(
    KNNS | KNNS | st.builds(Val, NUMBER),
    lambda parts: st.one_of(
        arithmetic_of(parts),
        st.builds(Rrf, st.lists(parts, min_size=1, max_size=3), k=st.sampled_from([10, 60])),
    ),
    max_leaves=5,
)
CONDITIONS = st.none() | st.one_of(
    st.builds(
        lambda key, value: K(key) == value, st.sampled_from("abc"), st.sampled_from([1, "x"])
    ),
    st.builds(lambda key: K(key) != "x", st.sampled_from("abc")),
    st.builds(lambda n: K.ID.is_in([f"r{at}" for at in range(n)]), st.integers(1, 5)),
    st.just(K.DOCUMENT.contains("even")),
)
KEYS = st.lists(st.sampled_from("abcz"), min_size=1, max_size=2, unique=True)
GROUPS = st.just(GroupBy()) | st.builds(
    lambda keys, kind, by, k: GroupBy(keys, kind(by, k)),
    KEYS,
    st.sampled_from([MinK, MaxK]),
    st.lists(st.sampled_from(["#score", "a", "b"]), min_size=1, max_size=2),
    st.integers(1, 3),
)
PAGES = st.builds(Limit, offset=st.integers(0, 3), limit=st.none() | st.integers(0, 9))


@st.composite
def searches(draw: st.DrawFn) -> Search:
    rank = draw(RANKS)
    asked = Search(draw(CONDITIONS), rank, draw(GROUPS), draw(PAGES), [K.SCORE])
    if draw(st.integers(0, 9)) == 0:
        asked = asked.rank(None).group_by(None)
    return asked


@pytest.fixture(scope="module", params=["l2", "ip"])
def stored(request: pytest.FixtureRequest) -> Iterator[tuple[API, str]]:
    values = Settings(progress=False, allow_reset=True)
    with local_api(DuckDB(values), values) as api:
        yield api, request.param


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    records=RECORDS,
    replaced=st.lists(st.tuples(st.integers(0, 7), VECTOR), max_size=2),
    removed=st.sets(st.integers(0, 7), max_size=2),
    asked=st.lists(searches(), min_size=1, max_size=3),
)
def test_searches_find_what_the_referee_finds(
    stored: tuple[API, str], records: Any, replaced: Any, removed: Any, asked: list[Search]
) -> None:
    api, space = stored
    there = {
        f"r{at}": Record(f"r{at}", vector, "even" if at % 2 == 0 else "odd", metadata)
        for at, (vector, metadata) in enumerate(records)
    }
    configuration = {"hnsw": HNSW_DEFAULTS, "spann": None, "embedding_function": None}
    schema = Schema().create_index(VectorIndexConfig(space=space, embedding_function=None))
    schema.create_index(SparseVectorIndexConfig(), key="sp")
    info = api.create_collection(
        "some", configuration, None, get_or_create=False, schema=schema.serialize_to_json(), **PLACE
    )
    try:
        api.add(info.id, _batch(list(there.values())), **PLACE)
        for at, vector in replaced:
            # The record keeps its place, although its vector gets another row.
            if f"r{at}" in there:
                there[f"r{at}"].embedding = vector
                rows = np.array([vector], dtype=np.float32)
                api.update(info.id, RecordBatch([f"r{at}"], rows), **PLACE)
        for at in removed:
            if there.pop(f"r{at}", None):
                api.delete(info.id, ids=[f"r{at}"], **PLACE)
        expected = _expected(list(there.values()), asked, space)
        loaded = api.search(info.id, asked, **PLACE)
        api.unload(info.id, **PLACE)
        with _nothing_fits(api):
            read = api.search(info.id, asked, **PLACE)
        for answers in (loaded, read):
            for found, pairs in zip(answers, expected, strict=True):
                assert found.ids == [name for name, _ in pairs]
                scores = [score for _, score in pairs]
                assert found.scores == pytest.approx(scores, rel=1e-6, nan_ok=True)
    finally:
        api.delete_collection("some", **PLACE)


def _expected(records: list[Record], asked: list[Search], space: str) -> Any:
    try:
        return [search(records, one, space) for one in asked]
    except UndecidedError:
        reject()


def _batch(records: list[Record]) -> Any:
    return RecordBatch(
        [one.id for one in records],
        np.array([one.embedding for one in records], dtype=np.float32),
        documents=[one.document for one in records],
        metadatas=[one.metadata for one in records],
    )


@contextlib.contextmanager
def _nothing_fits(api: Any) -> Iterator[None]:
    """Leave no room for a collection, so that answers come from the DB."""
    before = api.get_memory_budget()
    api.set_memory_budget(1)
    try:
        yield
    finally:
        api.set_memory_budget(before)
