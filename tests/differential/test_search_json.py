"""The same expression in chromadb and in chroma_nb: the same JSON.

Hypothesis draws an expression as a recipe of plain values, and each package builds it with its own names and
operators. Needs both packages in one environment: the extra ``differential``.
"""

from __future__ import annotations

import json
import operator
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip(
    "chromadb", reason='chromadb is not installed: pip install "chroma-nb[differential]"'
)
import chromadb.base_types
import chromadb.execution.expression as theirs

import chroma_nb.execution.expression.operator as expressions
import chroma_nb.search as ours

pytestmark = pytest.mark.differential

SPARSE = {
    id(ours): ours.SparseVector,
    id(theirs): chromadb.base_types.SparseVector,
}
NUMBERS = st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


def _is_same(build: Any, recipe: Any) -> None:
    """Check that both packages write what a recipe says as the same JSON, order of keys included."""
    mine, other = (build(package, recipe).to_dict() for package in (ours, theirs))
    assert json.dumps(_sorted(mine)) == json.dumps(_sorted(other))


def _sorted(data: Any) -> Any:
    # Chroma's order of selected fields is that of a set.
    if isinstance(data, dict) and "select" in data:
        data["select"] = {"keys": sorted(data["select"]["keys"])}
    return data


# -- conditions ---------------------------------------------------------------------------------

VALUES = st.sampled_from(["x", "", "2024-05-01", 1, 1.5, True, None])
LEAVES = st.one_of(
    st.tuples(
        st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le", "contains", "not_contains"]),
        st.sampled_from(["a", "b", "#id", "#score"]),
        VALUES,
    ),
    st.tuples(
        st.sampled_from(["contains", "not_contains", "regex", "not_regex"]),
        st.sampled_from(["#document", "a"]),
        st.just("x"),
    ),
    st.tuples(
        st.sampled_from(["is_in", "not_in"]), st.sampled_from(["a", "#id"]), st.lists(VALUES)
    ),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda parts: st.tuples(st.sampled_from(["and", "or"]), parts, parts),
    max_leaves=8,
)


def _condition(package: Any, recipe: Any) -> Any:
    name, left, right = recipe
    if name in ("and", "or"):
        join = operator.and_ if name == "and" else operator.or_
        return join(_condition(package, left), _condition(package, right))
    compare = getattr(operator, name, None) if len(name) == 2 else None
    key = package.K(left)
    return getattr(key, name)(right) if compare is None else compare(key, right)


@settings(max_examples=200, deadline=None)
@given(CONDITIONS)
def test_conditions(recipe: Any) -> None:
    _is_same(_condition, recipe)


CLASSES = {
    "eq": "Eq",
    "ne": "Ne",
    "gt": "Gt",
    "ge": "Gte",
    "lt": "Lt",
    "le": "Lte",
    "contains": "Contains",
    "not_contains": "NotContains",
    "regex": "Regex",
    "not_regex": "NotRegex",
    "is_in": "In",
    "not_in": "Nin",
    "and": "And",
    "or": "Or",
}


def _built(package: Any, recipe: Any) -> Any:
    """Return a condition that is made by its class, without K and operators."""
    name, left, right = recipe
    kind = getattr(package, CLASSES[name])
    if name in ("and", "or"):
        return kind([_built(package, left), _built(package, right)])
    return kind(left, right)


@settings(max_examples=200, deadline=None)
@given(CONDITIONS)
def test_conditions_made_by_their_classes(recipe: Any) -> None:
    _is_same(_built, recipe)
    mine, other = _built(ours, recipe), _built(theirs, recipe)
    for field in ("key", "value", "values", "pattern"):
        assert getattr(mine, field, None) == getattr(other, field, None)
    assert len(getattr(mine, "conditions", ())) == len(getattr(other, "conditions", ()))
    assert type(_condition(ours, recipe)).__name__ == type(_condition(theirs, recipe)).__name__


@settings(max_examples=200, deadline=None)
@given(CONDITIONS)
def test_conditions_that_were_read(recipe: Any) -> None:
    where = _condition(ours, recipe).to_dict()
    try:
        expected = theirs.Where.from_dict(where).to_dict()
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            ours.Condition.from_dict(where)
        return
    assert json.dumps(ours.Condition.from_dict(where).to_dict()) == json.dumps(expected)


# -- ranks --------------------------------------------------------------------------------------

QUERIES = st.one_of(
    st.tuples(st.just("text"), st.sampled_from(["", "a bear"])),
    st.tuples(
        st.sampled_from(["list", "float32", "float64"]), st.lists(st.floats(-1, 1, width=32))
    ),
    st.tuples(
        st.just("sparse"),
        st.sampled_from([([1, 4], [0.5, 2.0], None), ([3], [1.0], ["word"]), ([], [], [])]),
    ),
)
KNNS = st.fixed_dictionaries(
    {"query": QUERIES},
    optional={
        "key": st.sampled_from(["#embedding", "sparse", ("key", "sparse")]),
        "limit": st.integers(1, 30),
        "default": st.none() | NUMBERS,
        "return_rank": st.booleans(),
    },
).map(lambda options: ("knn", options))
RANKS = st.recursive(
    st.one_of(KNNS, NUMBERS.map(lambda number: ("val", number))),
    lambda parts: st.one_of(
        st.tuples(
            st.sampled_from(["add", "sub", "mul", "truediv", "max", "min"]),
            parts,
            parts | NUMBERS,
        ),
        st.tuples(st.sampled_from(["radd", "rsub", "rmul", "rtruediv"]), parts, NUMBERS),
        st.tuples(st.sampled_from(["neg", "abs", "exp", "log"]), parts),
        st.tuples(
            st.sampled_from(["Sum", "Mul", "Max", "Min"]), st.lists(parts, min_size=0, max_size=3)
        ),
        st.tuples(
            st.just("Rrf"),
            st.lists(st.tuples(parts, st.integers(1, 3) | st.floats(0, 3)), max_size=3),
            st.fixed_dictionaries({}, optional={"k": st.integers(0, 70)}),
            st.booleans(),
            st.booleans(),
        ),
    ),
    max_leaves=8,
)


def _knn(package: Any, options: dict[str, Any]) -> Any:
    kind, query = options["query"]
    if kind == "sparse":
        query = SPARSE[id(package)](*query)
    elif kind.startswith("float"):
        query = np.array(query, dtype=kind)
    key = options.get("key", "#embedding")
    if isinstance(key, tuple):
        key = package.K(key[1])
    return package.Knn(**{**options, "query": query, "key": key})


def _rank(package: Any, recipe: Any) -> Any:
    if not isinstance(recipe, tuple):
        return recipe
    name, first, *others = recipe
    if name == "knn":
        return _knn(package, first)
    if name == "val":
        return package.Val(first)
    if name in ("Sum", "Mul", "Max", "Min"):
        return getattr(package, name)([_rank(package, part) for part in first])
    if name == "Rrf":
        options, has_weights, normalize = others
        weights = [weight for _, weight in first] if has_weights else None
        ranks = [_rank(package, part) for part, _ in first]
        made = package.Rrf(ranks, weights=weights, normalize=normalize, **options)
        # Of several that mean nothing the innermost is to be named: Chroma checks one when it is written, we when it is made.
        made.to_dict()
        return made
    left = _rank(package, first)
    if name in ("neg", "abs"):
        return getattr(operator, name)(left)
    if name in ("exp", "log"):
        return getattr(left, name)()
    right = _rank(package, others[0])
    if name in ("max", "min"):
        return getattr(left, name)(right)
    if name.startswith("r"):
        return getattr(operator, name[1:])(right, left)
    return getattr(operator, name)(left, right)


@settings(max_examples=300, deadline=None)
@given(RANKS)
def test_ranks(recipe: Any) -> None:
    try:
        expected = _rank(theirs, recipe).to_dict()
    except ValueError as refused:
        words = " ".join(str(refused).split()[:4])
        with pytest.raises(ValueError, match=re.escape(words)):
            _rank(ours, recipe)
        return
    assert json.dumps(_rank(ours, recipe).to_dict()) == json.dumps(expected)


@settings(max_examples=200, deadline=None)
@given(RANKS)
def test_ranks_that_were_read(recipe: Any) -> None:
    try:
        written = _rank(ours, recipe).to_dict()
        rank = ours.Rank.from_dict(written)
    except ValueError:
        return
    # Chroma's client makes nested sums flat, and digits those of float32; each is the same rank to it.
    assert json.dumps(rank.to_dict()) == json.dumps(written)


@pytest.mark.parametrize(
    "data",
    [
        5,
        {},
        {"$val": 1, "$abs": {"$val": 1}},
        {"$val": "1"},
        {"$rrf": {}},
        {"$knn": {}},
        {"$knn": 5},
        {"$knn": {"query": 5}},
        {"$knn": {"query": {"indices": [1], "values": [1.0], "#type": "dense"}}},
        {"$knn": {"query": [1.0], "key": 5}},
        {"$knn": {"query": [1.0], "limit": "5"}},
        {"$knn": {"query": [1.0], "limit": 0}},
        {"$knn": {"query": [1.0], "return_rank": 1}},
        {"$sum": {}},
        {"$sum": [{"$val": 1}]},
        {"$sub": []},
        {"$sub": {"left": {"$val": 1}}},
        {"$log": 5},
    ],
)
def test_json_that_is_no_rank_is_refused_alike(data: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as refusal:
        theirs.Rank.from_dict(data)
    with pytest.raises(refusal.type):
        ours.Rank.from_dict(data)


# -- searches -----------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", ("key", "#score"), ("key", "c")])
GROUPS = st.tuples(
    st.lists(NAMES, max_size=2) | NAMES,
    st.sampled_from(["MinK", "MaxK", None]),
    st.lists(NAMES, min_size=1, max_size=2) | NAMES,
    st.integers(1, 3),
)
SEARCHES = st.lists(
    st.one_of(
        st.tuples(st.just("where"), CONDITIONS),
        st.tuples(st.just("rank"), KNNS),
        st.tuples(st.just("group_by"), GROUPS),
        st.tuples(st.just("limit"), st.integers(1, 9)),
        st.tuples(st.just("offset"), st.integers(0, 9)),
        st.tuples(st.just("select"), st.lists(NAMES)),
        st.tuples(st.just("select_all"), st.none()),
    ),
    max_size=5,
)


def _names(package: Any, names: Any) -> Any:
    if isinstance(names, list):
        return [_names(package, name) for name in names]
    return package.K(names[1]) if isinstance(names, tuple) else names


def _search(package: Any, steps: Any) -> Any:
    search = package.Search()
    for name, value in steps:
        if name == "where":
            search = search.where(_condition(package, value))
        elif name == "rank":
            search = search.rank(_rank(package, value))
        elif name == "group_by":
            keys, kind, by, k = value
            aggregate = getattr(package, kind)(_names(package, by), k) if kind else None
            search = search.group_by(package.GroupBy(_names(package, keys), aggregate))
        elif name == "limit":
            search = search.limit(value)
        elif name == "offset":
            search = search.limit(5, offset=value)
        elif name == "select":
            search = search.select(*_names(package, value))
        else:
            search = search.select_all()
    return search


@settings(max_examples=200, deadline=None)
@given(SEARCHES)
def test_searches(recipe: Any) -> None:
    _is_same(_search, recipe)


def test_every_name_of_a_rank_and_a_search_is_here() -> None:
    lacking = {name for name in theirs.__all__ if not hasattr(ours, name)}
    # A dict is a `Where` in `chroma_nb.types`; the class of conditions has that name under Chroma's import path.
    assert lacking == {"SearchWhere", "Where"}


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("Where", "a", "Expected dict"),
        ("Where", {}, "cannot be empty"),
        ("Where", {"$and": []}, "$and requires at least one condition"),
        ("Where", {"a": {"$contains": [1]}}, "$contains requires"),
        ("Rank", "a", "Expected dict"),
        ("Rank", {}, "cannot be empty"),
        ("Rank", {"$val": 1, "$sum": []}, "exactly one operator"),
        ("Rank", {"$val": "1"}, "$val requires a number"),
        ("Limit", "a", "Expected dict"),
        ("Limit", {"limit": 0}, "must be positive"),
        ("Limit", {"limit": "1"}, "must be an integer"),
        ("Limit", {"offset": -1}, "must be non-negative"),
        ("Limit", {"a": 1}, "Unexpected keys"),
        ("Select", "a", "Expected dict"),
        ("Select", {"keys": "a"}, "must be a list/tuple/set"),
        ("Select", {"keys": [1]}, "must be a string"),
        ("Select", {"a": 1}, "Unexpected keys"),
        ("GroupBy", "a", "Expected dict"),
        ("GroupBy", {"aggregate": {}}, "requires 'keys' field"),
        ("GroupBy", {"keys": ["a"]}, "requires 'aggregate' field"),
        ("GroupBy", {"keys": [], "aggregate": {}}, "keys cannot be empty"),
        ("GroupBy", {"keys": ["a"], "aggregate": {"$a": {}}}, "Unknown aggregate operator"),
    ],
)
def test_json_that_means_nothing_is_refused_in_the_same_words(
    name: str, data: Any, words: str
) -> None:
    said = []
    for package in (theirs, expressions):
        kind = getattr(package, name)
        with pytest.raises((TypeError, ValueError), match=re.escape(words)) as refused:
            kind.from_dict(data)
        said.append(refused.type)
    assert said[0] is said[1]


@pytest.mark.parametrize("part", ["where", "rank", "group_by", "limit", "select"])
def test_an_argument_of_another_kind_is_refused_in_the_same_words(part: str) -> None:
    for package in (theirs, ours):
        with pytest.raises(TypeError, match=f"{part} must be"):
            package.Search(**{part: object()})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0.5], [1.0]), "SparseVector indices must be integers"),
        ((["a"], [1.0]), "SparseVector indices must be integers"),
        (([1], ["a"]), "SparseVector values must be numbers"),
        (([1], [1.0, 2.0]), "indices and values must have the same length"),
    ],
)
def test_what_is_no_sparse_vector_is_refused_in_the_same_words(arguments: Any, words: str) -> None:
    for package in (theirs, ours):
        with pytest.raises(ValueError, match=words):
            SPARSE[id(package)](*arguments)


def test_a_document_is_asked_for_a_text() -> None:
    for package in (theirs, ours):
        for name in ("contains", "not_contains"):
            with pytest.raises(TypeError, match=rf"\${name} on #document requires a string"):
                getattr(package.K.DOCUMENT, name)(5)


def test_the_parts_of_a_search_have_the_same_names() -> None:
    for package in (theirs, ours):
        knn = package.Knn(query=[0.5])
        group = package.GroupBy(keys=["a"], aggregate=package.MinK(keys=["a"], k=1))
        search = package.Search(package.K("a") == 1, knn, group, 3, ["a", "#score"])
        assert search._where.to_dict() == {"a": {"$eq": 1}}
        assert search._rank is knn
        assert search._group_by is group
        assert (search._limit.limit, search._limit.offset) == (3, 0)
        assert package.K("a") in search._select.keys
        assert package.K.SCORE in search._select.keys
        assert len(search._select.keys) == 2
