"""What is refused, with which class and text: sections 2 and 4.3, as far as it happens in process."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

NAN = float("nan")
INF = float("inf")

# -- the classes ---------------------------------------------------------------------------------

CODES = {
    "ChromaError": 400,
    "InvalidDimensionException": 400,
    "InvalidArgumentError": 400,
    "IDAlreadyExistsError": 409,
    "DuplicateIDError": 400,
    "InvalidUUIDError": 400,
    "InvalidHTTPVersion": 400,
    "AuthorizationError": 401,
    "ChromaAuthError": 403,
    "NotFoundError": 404,
    "UniqueConstraintError": 409,
    "BatchSizeExceededError": 413,
    "RateLimitError": 429,
    "QuotaError": 400,
    "VersionMismatchError": 500,
    "InternalError": 500,
}
NAMES = {
    "InvalidDimensionException": "InvalidDimension",
    "InvalidArgumentError": "InvalidArgument",
    "IDAlreadyExistsError": "IDAlreadyExists",
    "DuplicateIDError": "DuplicateID",
    "InvalidUUIDError": "InvalidUUID",
    "NotFoundError": "NotFoundError",
    "ChromaAuthError": "AuthError",
}


@pytest.mark.parametrize("name", CODES)
def test_every_class_derives_from_chroma_error(errors: Any, name: str) -> None:
    assert issubclass(getattr(errors, name), errors.ChromaError)
    assert issubclass(errors.ChromaError, Exception)


@pytest.mark.parametrize("name", [name for name in CODES if name != "ChromaError"])
def test_codes(errors: Any, name: str) -> None:
    error = getattr(errors, name)("something")
    assert error.code() == CODES[name]
    assert error.trace_id is None


@pytest.mark.parametrize("name", NAMES)
def test_names(errors: Any, name: str) -> None:
    assert getattr(errors, name).name() == NAMES[name]


def test_messages(errors: Any) -> None:
    assert errors.NotFoundError("gone").message() == "gone"
    assert str(errors.NotFoundError("gone")) == "gone"
    assert errors.ChromaAuthError("secret").message() == "Forbidden"


@pytest.mark.beyond_chroma("a class that is also a built-in kind says so")
def test_argument_errors_are_value_errors(errors: Any) -> None:
    for name in ("InvalidArgumentError", "DuplicateIDError", "IDAlreadyExistsError"):
        assert issubclass(getattr(errors, name), ValueError)


# -- add, update, upsert -------------------------------------------------------------------------

ONE = [[1.0, 2.0]]
LISTS = "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a list of numpy arrays, got"

#: (arguments, error, text). The text comes with " in <method>." where the client checks.
RECORDS = [
    pytest.param({"ids": []}, ValueError, "Non-empty lists are required for ['ids']", id="ids=[]"),
    pytest.param(
        {"ids": [], "embeddings": ONE}, ValueError, "Non-empty lists are required", id="no-ids"
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": []},
        ValueError,
        "Expected Embeddings to be non-empty list or numpy array, got []",
        id="embeddings=[]",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": np.zeros((0, 2))},
        ValueError,
        "Expected Embeddings to be non-empty list or numpy array, got []",
        id="empty-array",
    ),
    pytest.param(
        {"ids": ["y", "z"], "embeddings": ONE},
        ValueError,
        "Unequal lengths for fields: ids: 2, embeddings: 1",
        id="fewer-embeddings",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "documents": ["a", "b"]},
        ValueError,
        "Unequal lengths for fields: ids: 1, ",
        id="more-documents",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": 1}, None]},
        ValueError,
        "Unequal lengths for fields: ids: 1, ",
        id="more-metadatas",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "uris": ["a", "b"]},
        ValueError,
        "Unequal lengths for fields: ids: 1, ",
        id="more-uris",
    ),
    pytest.param(
        {"ids": [1], "embeddings": ONE}, ValueError, "Expected ID to be a str, got 1", id="int-id"
    ),
    pytest.param(
        {"ids": [None], "embeddings": ONE},
        ValueError,
        "Expected ID to be a str, got None",
        id="none-id",
    ),
    pytest.param(
        {"ids": None, "embeddings": ONE},
        ValueError,
        "Expected IDs to be a list, got NoneType as IDs",
        id="ids=None",
    ),
    pytest.param({"ids": ["z"], "embeddings": [["x", "y"]]}, ValueError, LISTS, id="texts"),
    pytest.param({"ids": ["z"], "embeddings": [[True, False]]}, ValueError, LISTS, id="bools"),
    pytest.param({"ids": ["z"], "embeddings": "xyz"}, ValueError, LISTS, id="a-text"),
    pytest.param(
        {"ids": ["z"], "embeddings": np.zeros((1, 2, 2))}, ValueError, LISTS, id="three-axes"
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": np.array([[1, 1]], dtype=np.int8)},
        ValueError,
        "Expected each value in the embedding to be a int or float, got an embedding with int8",
        id="int8",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": np.array([[True, False]])},
        ValueError,
        "Expected each value in the embedding to be a int or float, got an embedding with bool",
        id="bool-array",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "documents": [1]},
        ValueError,
        "Expected document to be a str, got 1",
        id="int-document",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{}]},
        ValueError,
        "Expected metadata to be a non-empty dict, got 0 metadata attributes",
        id="metadata={}",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{1: 2}]},
        TypeError,
        "Expected metadata key to be a str, got 1 which is a int",
        id="int-key",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"chroma:document": "x"}]},
        ValueError,
        "Expected metadata to not contain the reserved key chroma:document",
        id="reserved-key",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": {}}]},
        ValueError,
        "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, got {} "
        "which is a dict",
        id="dict-value",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": ("x",)}]},
        ValueError,
        "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, got",
        id="tuple-value",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": []}]},
        ValueError,
        "Expected metadata list value for key 'a' to be non-empty",
        id="empty-list",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": [1, "b"]}]},
        ValueError,
        "Expected metadata list value for key 'a' to contain only str, int, float, or bool and all "
        "elements must be the same type, got [1, 'b']",
        id="mixed-list",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": [1, 2.0]}]},
        ValueError,
        "all elements must be the same type",
        id="int-and-float",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": [1, True]}]},
        ValueError,
        "all elements must be the same type",
        id="int-and-bool",
    ),
    pytest.param(
        {"ids": ["z"], "embeddings": ONE, "metadatas": [{"a": [["x"]]}]},
        ValueError,
        "Expected metadata list value for key 'a' to contain only str, int, float, or bool",
        id="nested-list",
    ),
]


def unchanged(notes: Any) -> None:
    got = notes.get(include=["embeddings", "documents", "metadatas"])
    assert got["ids"] == ["a", "b", "c"]
    assert got["embeddings"].tolist() == [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]
    assert got["documents"] == ["alpha", None, "gamma"]
    assert got["metadatas"] == [{"k": "v", "n": 1}, {"k": "w", "n": 2}, None]


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
@pytest.mark.parametrize(("arguments", "error", "text"), RECORDS)
def test_bad_records(notes: Any, method: str, arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=re.escape(text)) as caught:
        getattr(notes, method)(**arguments)
    assert f" in {method}." in str(caught.value)
    assert isinstance(caught.value.args[0], str)  # LangChain reads it
    unchanged(notes)


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
def test_duplicate_ids(notes: Any, errors: Any, method: str) -> None:
    call = getattr(notes, method)
    text = f"Expected IDs to be unique, found duplicates of: a in {method}."
    with pytest.raises(errors.DuplicateIDError, match=re.escape(text)):
        call(ids=["a", "b", "a"], embeddings=[[1.0, 2.0]] * 3)
    many = [str(i) for i in range(12)] * 2
    with pytest.raises(
        errors.DuplicateIDError, match=r"found 12 duplicated IDs: .*, \.\.\., .* in"
    ):
        call(ids=many, embeddings=[[1.0, 2.0]] * 24)
    unchanged(notes)


@pytest.mark.parametrize("method", ["get", "delete"])
def test_duplicate_ids_of_get_and_delete(notes: Any, errors: Any, method: str) -> None:
    text = f"Expected IDs to be unique, found duplicates of: a in {method}."
    with pytest.raises(errors.DuplicateIDError, match=re.escape(text)):
        getattr(notes, method)(ids=["a", "a"])
    unchanged(notes)


def test_a_metadata_that_is_no_dict(notes: Any) -> None:
    """Upstream often fails earlier, with AttributeError."""
    for metadatas in (["text"], "text", [5]):
        with pytest.raises((ValueError, AttributeError, TypeError)):
            notes.add(ids=["z"], embeddings=ONE, metadatas=metadatas)
    unchanged(notes)


@pytest.mark.quirk(
    "AttributeError: 'str' object has no attribute 'items'; advice: the sentence", by="client"
)
def test_a_metadata_that_is_no_dict_says_so(notes: Any) -> None:
    with pytest.raises(ValueError, match="Expected metadata to be a dict or None, got str as meta"):
        notes.add(ids=["z"], embeddings=ONE, metadatas=["text"])


@pytest.mark.parametrize("key", ["#x", "#", "$x", ""])
@pytest.mark.parametrize("method", ["add", "upsert", "update"])
def test_keys_that_belong_to_the_language(notes: Any, errors: Any, method: str, key: str) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        getattr(notes, method)(ids=["a"], embeddings=ONE, metadatas=[{key: 1}])
    unchanged(notes)


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
def test_an_empty_id(notes: Any, errors: Any, method: str) -> None:
    with pytest.raises(
        errors.InvalidArgumentError, match="Empty ID, ID must have at least one cha"
    ):
        getattr(notes, method)(ids=["z", ""], embeddings=[[1.0, 2.0], [3.0, 4.0]])
    unchanged(notes)


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
@pytest.mark.parametrize(
    "vector",
    [
        [1.0, NAN],
        [INF, 1.0],
        [-INF, 1.0],
        pytest.param(
            [1e39, 1.0],
            marks=pytest.mark.quirk(
                "NumPy's RuntimeWarning comes first; here warnings are errors", by="client"
            ),
        ),
    ],
    ids=str,
)
def test_values_that_are_no_numbers(notes: Any, errors: Any, method: str, vector: Any) -> None:
    """1e39 is none in float32."""
    with pytest.raises(
        errors.InvalidArgumentError, match="must not contain NaN or Infinity values"
    ):
        getattr(notes, method)(ids=["a", "z"], embeddings=[[5.0, 5.0], vector])
    unchanged(notes)


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
@pytest.mark.parametrize("n", [1, 3])
def test_a_wrong_dimension(notes: Any, errors: Any, method: str, n: int) -> None:
    text = f"Collection expecting embedding with dimension of 2, got {n}"
    with pytest.raises(errors.InvalidArgumentError, match=text):
        getattr(notes, method)(ids=["a"], embeddings=[[1.0] * n])
    with pytest.raises(errors.InvalidArgumentError):
        getattr(notes, method)(ids=["a", "b"], embeddings=[[1.0, 1.0], [1.0] * n])
    unchanged(notes)


def test_a_ragged_first_batch(create: Any, errors: Any) -> None:
    notes = create()
    with pytest.raises(errors.InvalidArgumentError, match=r"(?i)dimension"):
        notes.add(ids=["a", "b"], embeddings=[[1.0, 2.0], [1.0, 2.0, 3.0]])
    assert notes.count() == 0
    notes.add(ids=["a"], embeddings=[[1.0, 2.0, 3.0, 4.0]])  # no dimension was fixed by it


@pytest.mark.quirk("IndexError: list index out of range; advice: say it", always=True, by="client")
def test_an_empty_vector(create: Any) -> None:
    notes = create()
    with pytest.raises(ValueError, match="at least 1"):
        notes.add(ids=["a"], embeddings=[[]])
    assert notes.count() == 0


@pytest.mark.quirk(
    "TypeError: object of type 'int' has no len(); advice: ValueError as for others", by="client"
)
def test_a_number_for_embeddings(notes: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(LISTS)):
        notes.add(ids=["z"], embeddings=5)


def test_ids_alone(notes: Any) -> None:
    with pytest.raises(ValueError, match=r"Exactly one of .* must be provided in add\."):
        notes.add(ids=["z"])
    with pytest.raises(ValueError, match=r"Exactly one of .* must be provided in upsert\."):
        notes.upsert(ids=["z"])
    with pytest.raises(ValueError, match=r"Exactly one of .* must be provided in add\."):
        notes.add(ids=["z"], documents=["x"], uris=["y"])
    unchanged(notes)


def test_documents_without_embeddings_must_all_be_texts(legacy: Any) -> None:
    with pytest.raises(ValueError, match="Expected document to be a str, got None"):
        legacy.add(ids=["a", "b"], documents=["x", None])
    assert legacy.count() == 0


# -- get -----------------------------------------------------------------------------------------

GETS = [
    ({"ids": []}, ValueError, "Expected IDs to be a non-empty list, got 0 IDs in get."),
    ({"ids": [1]}, ValueError, "Expected ID to be a str, got 1 in get."),
    ({"include": "documents"}, ValueError, "Expected include to be a list, got documents"),
    (
        {"include": ["x"]},
        ValueError,
        "Expected include item to be one of documents, embeddings, metadatas, distances, uris, data, "
        "got x in get.",
    ),
    ({"include": [1]}, ValueError, "Expected include item to be a str, got 1"),
    (
        {"include": ["distances"]},
        ValueError,
        "Include item cannot be one of distances, got distances in get.",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "text"), GETS, ids=[str(g[0]) for g in GETS])
def test_bad_gets(notes: Any, arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        notes.get(**arguments)


@pytest.mark.quirk("OverflowError; advice: ValueError", by="client")
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_negative_limits(notes: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        notes.get(**{name: -1})


@pytest.mark.quirk("OverflowError; advice: ValueError", by="client")
def test_negative_peek(notes: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        notes.peek(-1)


@pytest.mark.parametrize("name", ["limit", "offset"])
def test_limits_that_are_no_numbers(notes: Any, refused: Any, name: str) -> None:
    with pytest.raises(refused):
        notes.get(**{name: "a"})


# -- query ---------------------------------------------------------------------------------------

Q = {"query_embeddings": [[1.0, 0.0]]}
QUERIES = [
    (
        {},
        ValueError,
        "At least one of one of embeddings, documents, images, uris must be provided in query.",
    ),
    ({"query_embeddings": []}, ValueError, "Expected Embeddings to be non-empty list or numpy arr"),
    ({"query_embeddings": [["x"]]}, ValueError, LISTS),
    ({"query_texts": [1]}, ValueError, "Expected document to be a str, got 1"),
    (
        {**Q, "n_results": 0},
        TypeError,
        "Number of requested results 0, cannot be negative, or zero",
    ),
    ({**Q, "n_results": -1}, TypeError, "Number of requested results -1, cannot be negative, or"),
    (
        {**Q, "n_results": 1.0},
        ValueError,
        "Expected requested number of results to be a int, got 1.0",
    ),
    ({**Q, "n_results": None}, ValueError, "Expected requested number of results to be a int, got"),
    ({**Q, "include": "documents"}, ValueError, "Expected include to be a list, got documents"),
    ({**Q, "include": ["x"]}, ValueError, "Expected include item to be one of documents, embedd"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), QUERIES, ids=[str(q[0]) for q in QUERIES])
def test_bad_queries(notes: Any, arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=re.escape(text)) as caught:
        notes.query(**arguments)
    assert str(caught.value).endswith(" in query.") or " in query." in str(caught.value)


def test_a_query_of_a_wrong_dimension(notes: Any, errors: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="dimension of 2, got 3"):
        notes.query(query_embeddings=[1.0, 2.0, 3.0])


def test_a_query_of_unknown_kind_of_ids(notes: Any, refused: Any) -> None:
    with pytest.raises(refused):
        notes.query(**Q, ids=[1])


@pytest.mark.quirk(
    "a NaN query returns records in any order; advice: refuse as in add", by="client"
)
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_query_that_is_no_number(notes: Any, errors: Any, value: float) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="NaN or Infinity"):
        notes.query(query_embeddings=[1.0, value])


# -- delete --------------------------------------------------------------------------------------

DELETES = [
    ({}, ValueError, "At least one of ids, where, or where_document must be provided in delete."),
    ({"ids": []}, ValueError, "Expected IDs to be a non-empty list, got 0 IDs in delete."),
    ({"ids": [1]}, ValueError, "Expected ID to be a str, got 1 in delete."),
    (
        {"ids": ["a"], "limit": 1},
        ValueError,
        "limit can only be specified when a where or where_document clause is provided in delete.",
    ),
    (
        {"where": {"k": "v"}, "limit": -1},
        ValueError,
        "limit must be a non-negative integer in delete.",
    ),
    (
        {"where": {"k": "v"}, "limit": True},
        TypeError,
        "limit must be a non-negative integer in delete.",
    ),
    (
        {"where": {"k": "v"}, "limit": 1.5},
        TypeError,
        "limit must be a non-negative integer in delete.",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "text"), DELETES, ids=[str(d[0]) for d in DELETES])
def test_bad_deletes(notes: Any, arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        notes.delete(**arguments)
    unchanged(notes)
