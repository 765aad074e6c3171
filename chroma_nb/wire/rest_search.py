"""Searches as JSON of the REST API: requests and answers, both directions of each.

What is written is Chroma's form (`Search.to_dict`). What is read is as lenient as Chroma's server, which takes more than
Chroma's own client writes: a sum of one rank, a sparse query without its tag. Members that it does not know are refused by
name, where Chroma's server drops what they say.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.answers import Found
from chroma_nb.errors import ChromaError, InvalidArgumentError
from chroma_nb.filters.parsing import parse_where
from chroma_nb.search.conditions import Condition, as_filter
from chroma_nb.search.expression import Limit, Search, Select
from chroma_nb.search.grouping import AGGREGATES, GroupBy
from chroma_nb.search.ranks import (
    KNN_MEMBERS,
    OF_MANY,
    OF_ONE,
    OF_TWO,
    Knn,
    Rank,
    Val,
    knn_leaves,
    with_leaves,
)
from chroma_nb.search.shown import check_members, shown
from chroma_nb.search.sparse import MEMBERS, SparseVector
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY, METADATA_KEY, SCORE_KEY
from chroma_nb.wire.answers import (
    AnswerError,
    check_kind,
    check_metadatas,
    check_page,
    check_texts,
)
from chroma_nb.wire.filters import finite_filter
from chroma_nb.wire.requests import SearchRequest
from chroma_nb.wire.rest_parts import Sent
from chroma_nb.wire.vectors import from_wire, to_base64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.wire.rest_parts import Arrived, Base64

#: With what Chroma's server begins to fold the operands of an operation: float32's range stands for infinity.
_LARGEST = float(np.finfo(np.float32).max)
_FIRST: dict[str, float] = {"$sum": 0.0, "$mul": 1.0, "$max": -_LARGEST, "$min": _LARGEST}
_COLUMNS = {
    DOCUMENT_KEY: "documents",
    EMBEDDING_KEY: "embeddings",
    METADATA_KEY: "metadatas",
    SCORE_KEY: "scores",
}


class _ShapeError(ChromaError):
    """A body that has something else in the place of a member than Chroma's server deserializes."""

    def code(self) -> int:
        return 422


def _selected_columns(search: Search) -> set[str]:
    """Return the columns that the answer to a search has."""
    return {_COLUMNS.get(key, "metadatas") for key in search.selected.names}


# -- requests -------------------------------------------------------------------------------------


def write_searches(path: dict[str, str], request: SearchRequest, base64: Base64) -> Sent:
    """Return a request as it is sent."""
    searches = [_write_search(one) for one in request.searches]
    # Of another server than ours only what Chroma's API has.
    params = {"embeddings": "base64", "positions": "true"} if base64.queries else None
    if params is not None and request.plans:
        params["plans"] = "true"
    return Sent(path, {"searches": searches, "read_level": request.read_level}, params)


def _write_search(search: Search) -> dict[str, Any]:
    page = search.page
    written = search.to_dict()
    if search.condition is not None:
        written["filter"] = finite_filter(as_filter(search.condition))
    if search.score is not None:
        written["rank"] = with_leaves(search.score, _plain_leaf).to_dict()
    written["limit"] = {"offset": int(page.offset)}
    if page.limit is not None:
        written["limit"]["limit"] = int(page.limit)
    return written


def _plain_leaf(leaf: Knn) -> Knn:
    """Return a `Knn` with Python's own numbers, which JSON can hold."""
    query = leaf.query
    if isinstance(query, tuple):
        query = tuple(map(float, query))
    return Knn(query, leaf.key, int(leaf.limit), leaf.default, bool(leaf.return_rank))


def read_searches(arrived: Arrived) -> SearchRequest:
    """Return a request.

    Raises:
        InvalidArgumentError: A search means nothing.
        ChromaError: It has something of another kind than has its place there.
    """
    body = arrived.body
    searches = [_read_search(one, f"searches[{at}]") for at, one in enumerate(body.searches)]
    wanted = [arrived.query.get(name) == "true" for name in ("positions", "plans")]
    return SearchRequest(searches, body.read_level, *wanted)


def _read_search(payload: Any, where: str) -> Search:
    condition = None
    if payload.filter:
        try:
            parse_where(payload.filter)
        except InvalidArgumentError:
            raise
        except ValueError as error:
            raise _ShapeError(f"{where}.filter: {error}") from None
        condition = Condition(payload.filter)
    rank = None
    if payload.rank is not None:
        try:
            rank = _read_rank(payload.rank, f"{where}.rank")
        except RecursionError:
            raise InvalidArgumentError(f"{where}.rank is nested too deeply.") from None
    return Search(
        condition,
        rank,
        _read_groups(payload.group_by, f"{where}.group_by"),
        Limit(payload.limit.offset, payload.limit.limit),
        Select(payload.select.keys),
    )


def _read_rank(data: Any, where: str) -> Rank:
    if not isinstance(data, dict) or len(data) != 1:
        raise InvalidArgumentError(
            f"Expected {where} to be an object with one operator, got {shown(data)}"
        )
    ((operator, operand),) = data.items()
    if operator == "$val":
        return Val(_number(operand, f"{where}.$val"))
    if operator == "$knn":
        return _read_knn(_object(operand, f"{where}.$knn", *KNN_MEMBERS), f"{where}.$knn")
    if operator in OF_ONE:
        return OF_ONE[operator](_read_rank(operand, where))
    if operator in OF_TWO:
        pair = _object(operand, f"{where}.{operator}", "left", "right")
        left, right = (_read_rank(_member(pair, side, where), where) for side in ("left", "right"))
        return OF_TWO[operator](left, right)
    if operator in OF_MANY:
        if not isinstance(operand, list):
            raise _ShapeError(f"{where}.{operator}: expected a list, got {shown(operand)}")
        ranks: list[Rank | float] = [_read_rank(one, where) for one in operand]
        # Of two or more it changes nothing.
        return OF_MANY[operator](ranks if len(ranks) > 1 else [Val(_FIRST[operator]), *ranks])
    raise _ShapeError(f"{where}: unknown operator {shown(operator)}")


def _read_knn(data: dict[str, Any], where: str) -> Knn:
    query = _member(data, "query", where)
    key, limit = data.get("key", EMBEDDING_KEY), data.get("limit", 16)
    default, return_rank = data.get("default"), data.get("return_rank", False)
    if isinstance(query, dict):
        query = _read_sparse(_object(query, f"{where}.query", *MEMBERS), f"{where}.query")
    elif isinstance(query, list):
        query = [_number(one, f"{where}.query") for one in query]
    else:
        raise _ShapeError(
            f"{where}.query: expected a list of numbers or a sparse vector, got {shown(query)}. Texts are embedded "
            "by the client."
        )
    if not isinstance(key, str) or not isinstance(return_rank, bool):
        raise _ShapeError(f"{where}: expected key to be a text and return_rank to be true or false")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise _ShapeError(f"{where}.limit: expected a whole number from 0, got {shown(limit)}")
    if default is not None:
        default = _number(default, f"{where}.default")
    return Knn(query, key, limit, default, return_rank)


def _read_sparse(data: dict[str, Any], where: str) -> SparseVector:
    indices, values = _member(data, "indices", where), _member(data, "values", where)
    tokens = data.get("tokens")
    if not isinstance(indices, list) or not isinstance(values, list):
        raise _ShapeError(f"{where}: expected indices and values to be lists")
    for index in indices:
        if not isinstance(index, int) or isinstance(index, bool):
            raise _ShapeError(f"{where}.indices: expected a whole number, got {shown(index)}")
    for value in values:
        _number(value, f"{where}.values")
    try:
        return SparseVector(indices, values, tokens)
    except ValueError as error:
        raise InvalidArgumentError(f"{where}: {error}") from None


def _read_groups(data: dict[str, Any], where: str) -> GroupBy:
    if not data:
        return GroupBy()
    _object(data, where, "keys", "aggregate")
    keys, aggregate = data.get("keys"), data.get("aggregate")
    if not keys or not aggregate:
        raise InvalidArgumentError(f"Expected {where} to have both keys and an aggregate")
    if len(_object(aggregate, f"{where}.aggregate")) != 1:
        raise _ShapeError(f"{where}.aggregate: expected one operator, got {len(aggregate)}")
    ((operator, operand),) = aggregate.items()
    if operator not in AGGREGATES:
        raise _ShapeError(f"{where}.aggregate: unknown operator {shown(operator)}")
    operand = _object(operand, f"{where}.aggregate.{operator}", "keys", "k")
    k = _member(operand, "k", where)
    if not isinstance(k, int) or isinstance(k, bool) or k < 0:
        raise _ShapeError(
            f"{where}.aggregate.{operator}.k: expected a whole number, got {shown(k)}"
        )
    by = _texts(_member(operand, "keys", where), f"{where}.aggregate.{operator}.keys")
    return GroupBy(_texts(keys, f"{where}.keys"), AGGREGATES[operator](by, k))


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _ShapeError(f"{where}: expected a list of texts, got {shown(value)}")
    return value


def _number(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _ShapeError(f"{where}: expected a number, got {shown(value)}")
    return value


def _object(value: Any, where: str, *members: str) -> dict[str, Any]:
    """Return an object; where members are named, it may have no others."""
    if not isinstance(value, dict):
        raise _ShapeError(f"{where}: expected an object, got {shown(value)}")
    if members:
        try:
            check_members(where, value, members)
        except ValueError as error:
            raise _ShapeError(str(error)) from None
    return value


def _member(data: dict[str, Any], name: str, where: str) -> Any:
    if name not in data:
        raise _ShapeError(f"{where}: missing field `{name}`")
    return data[name]


# -- answers --------------------------------------------------------------------------------------


def write_found(answers: Sequence[Found], request: SearchRequest, base64: bool) -> dict[str, Any]:
    """Return an answer's body: a column of each kind, with an entry for each search."""
    written: dict[str, Any] = {
        "ids": [one.ids for one in answers],
        "documents": [one.documents for one in answers],
        "embeddings": [_write_vectors(one, base64) for one in answers],
        "metadatas": [one.metadatas for one in answers],
        "scores": [_write_scores(one.scores, request.positions) for one in answers],
        "select": [one.selected.names for one in request.searches],
    }
    if request.positions:
        written["positions"] = [
            None if one.positions is None else one.positions.tolist() for one in answers
        ]
        written["found"] = [one.n_found for one in answers]
        written["scored"] = [one.n_scored for one in answers]
    if request.plans:
        written["plans"] = [one.plans for one in answers]
    return written


def _write_vectors(found: Found, base64: bool) -> list[Any] | None:
    if found.embeddings is None:
        return None
    return to_base64(found.embeddings) if base64 else found.embeddings.tolist()


def _write_scores(scores: list[float | None] | None, named: bool) -> list[Any] | None:
    """Return scores as JSON holds them: of one that is not finite the name for our clients, null for Chroma's."""
    if scores is None:
        return None
    return [
        one if one is None or math.isfinite(one) else (repr(one) if named else None)
        for one in scores
    ]


def read_found(found: Any, request: SearchRequest) -> list[Found]:
    """Return the answers of a server, checked.

    Raises:
        AnswerError, or another error of reading: It is none, or one to other searches.
    """
    found = check_kind(found, dict, "the answer")
    n_searches = len(request.searches)
    columns = {name: _each(found, name, n_searches) for name in ("ids", *_COLUMNS.values())}
    positions = found.get("positions")
    if positions is not None:
        positions = _each(found, "positions", n_searches)
    # A server of an earlier release does not say how many.
    plans = None
    if request.plans and found.get("plans") is not None:
        plans = _each(found, "plans", n_searches)
    has_counts = found.get("found") is not None and found.get("scored") is not None
    counts = _each(found, "found", n_searches) if has_counts else None
    scored = _each(found, "scored", n_searches) if has_counts else [None] * n_searches
    answers = []
    for at, search in enumerate(request.searches):
        ids = check_texts(columns["ids"][at], "ids")
        check_page(ids, None, ids=None, limit=search.page.limit)
        answer = Found(ids)
        wanted = {name for name in _selected_columns(search) if columns[name][at] is not None}
        if "documents" in wanted:
            answer.documents = check_texts(
                columns["documents"][at], "documents", len(ids), gaps=True
            )
        if "metadatas" in wanted:
            answer.metadatas = check_metadatas(columns["metadatas"][at], len(ids))
        if "embeddings" in wanted:
            answer.embeddings = _read_vectors(columns["embeddings"][at], len(ids))
        if "scores" in wanted:
            answer.scores = _read_scores(columns["scores"][at], len(ids))
        n_leaves = sum(1 for _ in knn_leaves(search.score or Val(0)))
        if positions is not None and positions[at] is not None:
            answer.positions = _read_positions(positions[at], n_leaves, len(ids))
        if counts is not None and counts[at] is not None and search.score is not None:
            answer.n_found = _read_counts(counts[at], n_leaves)
            (answer.n_scored,) = _read_counts([scored[at]], 1)
        if plans is not None and plans[at] is not None:
            answer.plans = _read_plans(plans[at], n_leaves)
        answers.append(answer)
    return answers


def _each(found: dict[str, Any], name: str, n_searches: int) -> list[Any]:
    values: list[Any] = check_kind(found.get(name), list, f"{name!r}")
    if len(values) != n_searches:
        raise AnswerError(f"{name!r} has {len(values):,} entries for {n_searches:,} searches")
    return values


def _read_vectors(values: Any, size: int) -> Any:
    array = from_wire(check_kind(values, list, "'embeddings'"))
    if array.ndim != 2 or len(array) != size:
        raise AnswerError(f"'embeddings' has the shape {array.shape} for {size:,} ids")
    return array


def _read_scores(values: Any, size: int) -> list[float | None]:
    if len(check_kind(values, list, "'scores'")) != size:
        raise AnswerError(f"'scores' has {len(values):,} values for {size:,} ids")
    scores: list[float | None] = []
    for value in values:
        if value is not None and value not in ("nan", "inf", "-inf"):
            check_kind(value, (int, float), "a score")
        scores.append(None if value is None else float(value))
    return scores


def _read_positions(values: Any, n_leaves: int, size: int) -> Any:
    rows = [check_kind(row, list, "'positions'") for row in check_kind(values, list, "'positions'")]
    if len(rows) != n_leaves or any(len(row) != size for row in rows):
        raise AnswerError(f"'positions' has something else than {size:,} numbers for each query")
    if any(type(at) is not int or at < -1 for row in rows for at in row):
        raise AnswerError("'positions' has something else than places")
    return np.array(rows, dtype=np.int32).reshape(n_leaves, size)


def _read_counts(values: Any, size: int) -> list[int]:
    counts: list[int] = check_kind(values, list, "'found'")
    if len(counts) != size or any(type(one) is not int or one < 0 for one in counts):
        raise AnswerError(f"'found' and 'scored' have something else than {size:,} counts")
    return counts


def _read_plans(values: Any, size: int) -> list[dict[str, Any]]:
    plans: list[dict[str, Any]] = check_kind(values, list, "'plans'")
    if len(plans) != size:
        raise AnswerError(f"'plans' has {len(plans):,} entries for {size:,} queries")
    for plan in plans:
        check_kind(plan, dict, "a plan")
        for name in ("strategy", "reason"):
            check_kind(plan.get(name), str, f"{name!r} of a plan")
        for value in plan.values():
            check_kind(value, (str, int, float, bool, type(None)), "a value of a plan")
    return plans
