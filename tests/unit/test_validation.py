"""What validation lets through, in which form, and what it says of the rest."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest

from chroma_nb import validation
from chroma_nb.errors import DuplicateIDError, InvalidArgumentError


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


NAN, INF = float("nan"), float("inf")

# -- ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "result"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
        ([np.str_("a")], ["a"]),
        ([Colour.RED], ["red"]),
        (["a\0b", "é", "😀"], ["a\0b", "é", "😀"]),
    ],
    ids=ascii,
)
def test_ids(ids: Any, result: list[str]) -> None:
    checked = validation.check_ids(ids)
    assert checked == result
    assert {type(one) for one in checked} == {str}


@pytest.mark.parametrize(
    ("ids", "error", "text"),
    [
        ([], ValueError, "Expected IDs to be a non-empty list, got 0 IDs"),
        ([1], ValueError, "Expected ID to be a str, got 1"),
        ([None], ValueError, "Expected ID to be a str, got None"),
        ({"a"}, ValueError, "Expected a list, got a set, which has no order"),
        (7, ValueError, "Expected IDs to be a list, got int"),
        ([""], InvalidArgumentError, "Empty ID, ID must have at least one character"),
        (["a", "b", "a"], DuplicateIDError, "Expected IDs to be unique, found duplicates of: a"),
        (["red", Colour.RED], DuplicateIDError, "found duplicates of: red"),
        (["ok", "a\ud800"], InvalidArgumentError, r"'a\ud800' at position 1: character 1"),
        # Two halves that stand beside each other are still two halves.
        (["\ud83d", "\ude00"], InvalidArgumentError, "at position 0"),
    ],
    ids=ascii,
)
def test_bad_ids(ids: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        validation.check_ids(ids)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (9, "found duplicates of: 0, 1, 2, 3, 4, 5, 6, 7, 8"),
        (10, "found 10 duplicated IDs: 0, 1, 2, 3, 4, ..., 5, 6, 7, 8, 9"),
        (25, "found 25 duplicated IDs: 0, 1, 2, 3, 4, ..., 20, 21, 22, 23, 24"),
    ],
)
def test_both_forms_of_the_sentence_on_duplicates(n: int, text: str) -> None:
    with pytest.raises(DuplicateIDError, match=text):
        validation.check_ids([str(i) for i in range(n)] * 2)


def test_query_ids_may_be_none_at_all() -> None:
    assert validation.check_query_ids([]) == []


# -- embeddings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "embeddings",
    [
        [1, 2],
        [1.0, 2.0],
        [1, 2.0],
        [[1, 2]],
        [(1.0, 2.0)],
        [np.float64(1), np.float32(2)],
        [np.int64(1), 2],
        [[np.float32(1), np.float32(2)]],
        [np.array([1, 2])],
        np.array([1, 2]),
        np.array([[1, 2]], dtype=object),
        np.array([[1, 9], [2, 9]], dtype="f4").T[:1],
        np.array([[1, 9, 2, 9]], dtype="f8")[:, ::2],
        *(np.array([[1, 2]], dtype=kind) for kind in ("f2", "f4", "f8", "i4", "i8")),
    ],
    ids=repr,
)
def test_embeddings(embeddings: Any) -> None:
    array = validation.check_embeddings(embeddings)
    assert array.tolist() == [[1.0, 2.0]]
    assert array.dtype == np.float32
    assert array.flags.c_contiguous


def test_several_embeddings() -> None:
    for given in (
        [[1, 2], [3, 4]],
        [np.array([1, 2]), np.array([3.0, 4.0])],
        np.array([[1, 2], [3, 4]]),
    ):
        assert validation.check_embeddings(given).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "embeddings",
    [
        [1.0, NAN],
        [[1, NAN]],
        [1.0, INF],
        [1.0, 1e39],
        [1, 10**400],
        [1.0, 10**400],
        [[1e300, 1]],
        np.array([1, NAN]),
        np.array([[1e300]]),
        np.array([[1, -INF]], dtype="f2"),
        np.array([3e38] * 100_000 + [NAN], dtype="f4"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_not_finite(embeddings: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="must not contain NaN or Infinity values"):
        validation.check_embeddings(embeddings)


def test_the_largest_float32_is_finite() -> None:
    for n in (10, 100_000):
        assert validation.check_embeddings(np.full((1, n), 3.4e38)).shape == (1, n)


@pytest.mark.parametrize(
    ("embeddings", "text"),
    [
        ([], "Expected Embeddings to be non-empty list or numpy array, got []"),
        (np.zeros((0, 2)), "Expected Embeddings to be non-empty"),
        ([[]], "at least 1 dimension"),
        ([[1, 2], [3]], "embedding 0 has 2, embedding 1 has 1"),
        ([np.zeros(2), np.zeros(3)], "embedding 0 has 2, embedding 1 has 3"),
        ("abc", "Expected embeddings to be a list of floats or ints"),
        (["1", "2"], "Expected embeddings to be a list of floats or ints"),
        ([1.0, "2"], "Expected embeddings to be a list of floats or ints"),
        ([True, False], "Expected embeddings to be a list of floats or ints"),
        ([[1.0, True]], "Expected embeddings to be a list of floats or ints"),
        ([[1.0, None]], "Expected embeddings to be a list of floats or ints"),
        (None, "Expected embeddings to be a list of floats or ints"),
        (5, "Expected embeddings to be a list of floats or ints"),
        ("words", "got words. Texts are given as query_texts="),
        ({1, 2}, "has no order"),
        (np.array(3.0), "Expected embeddings to be a list of floats or ints"),
        (np.zeros((1, 1, 2)), "Expected embeddings to be a list of floats or ints"),
        ([[[1.0]]], "Expected embeddings to be a list of floats or ints"),
        (
            np.array([[1, 1]], dtype="i1"),
            "Expected each value in the embedding to be a int or float, got an embedding with int8 - [1 1]",
        ),
        (np.array([[True]]), "got an embedding with bool"),
        ([np.array([1, 1], dtype="u2")], "got an embedding with uint16"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bad_embeddings(embeddings: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        validation.check_embeddings(embeddings)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 600


def test_dimension() -> None:
    validation.check_dimension(2, 2, "notes")
    with pytest.raises(
        InvalidArgumentError,
        match=r"^Collection expecting embedding with dimension of 2, got 3.*'notes'",
    ):
        validation.check_dimension(2, 3, "notes")


# -- whole calls ------------------------------------------------------------------------------

ONE = [[1.0, 2.0]]


def insert(**more: Any) -> validation.Given:
    names = ("ids", "embeddings", "metadatas", "documents", "images", "uris")
    upsert = more.pop("upsert", False)
    given = {"ids": ["a"], **more}
    return validation.check_insert(*(given.get(name) for name in names), upsert=upsert)


def test_one_item_is_a_list_of_one() -> None:
    given = insert(ids="a", embeddings=[1, 2], metadatas={"k": 1}, documents="d", uris="u")
    assert given.batch.ids == ["a"]
    assert given.batch.metadatas == [{"k": 1}]
    assert given.batch.documents == ["d"]
    assert given.batch.uris == ["u"]
    assert given.batch.embeddings is not None
    assert given.batch.embeddings.shape == (1, 2)


def test_documents_are_embedded_where_embeddings_are_missing() -> None:
    assert insert(documents=["d"]).to_embed == ["d"]
    assert insert(embeddings=ONE, documents=[None]).batch.documents == [None]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ids": []}, "Non-empty lists are required for ['ids']"),
        ({"ids": [], "documents": []}, "Non-empty lists are required for ['ids', 'documents']"),
        ({"embeddings": ONE, "metadatas": []}, "Non-empty lists are required for ['metadatas']"),
        ({"embeddings": []}, "Expected Embeddings to be non-empty list or numpy array, got []"),
        ({"ids": [], "embeddings": []}, "Expected Embeddings to be non-empty list"),
        ({}, "Exactly one of documents, images, uris must be provided"),
        ({"upsert": True}, "Exactly one of documents, images must be provided"),
        ({"documents": ["d"], "uris": ["u"]}, "Exactly one of documents, images, uris"),
        ({"documents": [None]}, "Expected document to be a str, got None"),
        (
            {"ids": ["a", "b"], "embeddings": ONE},
            "Unequal lengths for fields: ids: 2, embeddings: 1",
        ),
        ({"embeddings": ONE, "documents": [5]}, "Expected document to be a str, got 5"),
        ({"embeddings": ONE, "uris": [5]}, "Expected uri to be a str, got 5"),
        ({"embeddings": ONE, "documents": ["\ud800"]}, "Expected document to be valid Unicode"),
        # A record that is new would have no embedding; update alone may leave one as it is.
        ({"embeddings": [None]}, "Expected embeddings to be"),
        ({"embeddings": [None], "upsert": True}, "Expected embeddings to be"),
        ({"embeddings": [None, [1, 2]], "ids": ["a", "b"], "upsert": True}, "Expected embeddings"),
    ],
    ids=ascii,
)
def test_bad_inserts(more: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        insert(**more)
    assert text in str(caught.value)


def test_update_leaves_what_is_none() -> None:
    given = validation.check_update(["a", "b", "c"], [None, [1, 2], None], None, None, None, None)
    assert given.batch.embedded is not None
    assert given.batch.embedded.tolist() == [False, True, False]
    assert given.batch.embeddings is not None
    assert given.batch.embeddings[1].tolist() == [1.0, 2.0]
    nothing = validation.check_update(["a"], [None], None, None, None, None)
    assert nothing.batch.embeddings is None
    assert validation.check_update(["a"], None, None, None, None, None).to_embed is None


# -- metadata ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "result"),
    [
        *((value, value) for value in ("x", "", "\0", 1, -(2**63), 2**63 - 1, 0.5, True, None)),
        *((value, value) for value in (["a", "b"], [1, 2], [0.5], [True, False])),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ([np.int64(1), 2], [1, 2]),
        (np.array([0.5, 1.5]), [0.5, 1.5]),
    ],
    ids=ascii,
)
def test_metadata_values(value: Any, result: Any) -> None:
    (checked,) = validation.check_metadatas([{"k": value}])
    assert checked is not None
    assert checked == {"k": result}
    assert type(checked["k"]) is type(result)
    if isinstance(result, list):
        assert [type(item) for item in checked["k"]] == [type(item) for item in result]


def test_the_callers_dict_is_not_changed() -> None:
    given = {"k": np.int64(3), "j": "x"}
    validation.check_metadatas([given])
    assert type(given["k"]) is np.int64


@pytest.mark.parametrize(
    ("metadata", "error", "text"),
    [
        ({}, ValueError, "Expected metadata to be a non-empty dict, got 0 metadata attributes"),
        ("x", ValueError, "Expected metadata to be a dict or None, got str as metadata"),
        ({1: 2}, TypeError, "Expected metadata key to be a str, got 1 which is a int"),
        (
            {"chroma:document": "x"},
            ValueError,
            "Expected metadata to not contain the reserved key chroma:document",
        ),
        ({"": 1}, InvalidArgumentError, "Validation error: metadatas: Invalid metadata"),
        ({"#a": 1}, InvalidArgumentError, "Validation error: metadatas: Invalid metadata"),
        ({"$a": 1}, InvalidArgumentError, "Validation error: metadatas: Invalid metadata"),
        (
            {"k": {}},
            ValueError,
            "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, got {} "
            "which is a dict",
        ),
        ({"k": (1, 2)}, ValueError, "Expected metadata value to be"),
        ({"k": b"x"}, ValueError, "Expected metadata value to be"),
        ({"k": []}, ValueError, "Expected metadata list value for key 'k' to be non-empty"),
        (
            {"k": [1, "b"]},
            ValueError,
            "Expected metadata list value for key 'k' to contain only str, int, float, or bool and all "
            "elements must be the same type, got [1, 'b']",
        ),
        ({"k": [1, True]}, ValueError, "must be the same type"),
        ({"k": [[1]]}, ValueError, "must be the same type"),
        ({"k": NAN}, InvalidArgumentError, "to be finite, got nan for key 'k'. Leave the key out"),
        ({"k": [0.5, -INF]}, InvalidArgumentError, "to be finite, got -inf for key 'k'"),
        ({"k": np.float32("nan")}, InvalidArgumentError, "to be finite"),
        ({"k": 2**63}, InvalidArgumentError, "integer of 64 bits, got 9223372036854775808"),
        ({"k": -(2**63) - 1}, InvalidArgumentError, "Store text, str(value)"),
        ({"k": [10**400]}, InvalidArgumentError, "integer of 64 bits"),
        ({"k": "\ud800"}, InvalidArgumentError, "valid Unicode"),
        ({"\ud800": 1}, InvalidArgumentError, "valid Unicode"),
        ({"k": ["a", "\ud800"]}, InvalidArgumentError, "valid Unicode"),
    ],
    ids=ascii,
)
def test_bad_metadata(metadata: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        validation.check_metadatas([{"fine": 1}, metadata])
    assert text in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("metadata", "result"),
    [
        (None, None),
        ({"a": 1, "b": "x"}, {"a": 1, "b": "x"}),
        ({"a": np.int64(1), "c": Colour.RED}, {"a": 1, "c": "red"}),
    ],
    ids=repr,
)
def test_collection_metadata(metadata: Any, result: Any) -> None:
    checked = validation.check_collection_metadata(metadata)
    assert repr(checked) == repr(result)


@pytest.mark.parametrize(
    "metadata",
    [{}, "x", {"a": None}, {"a": [1]}, {"a": {}}, {"a": NAN}, {"#a": 1}, {"a": "\ud800"}],
    ids=ascii,
)
def test_bad_collection_metadata(metadata: Any) -> None:
    with pytest.raises(ValueError, match="metadata"):
        validation.check_collection_metadata(metadata)


def test_the_distance_does_not_change() -> None:
    validation.check_collection_metadata({"hnsw:space": "ip"})
    with pytest.raises(ValueError, match=r"^Changing the distance function of a collection"):
        validation.check_collection_metadata({"hnsw:space": "ip"}, modify=True)


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["abc", "a.b", "a-b_c", "0.1", "x" * 512, "192.168.0.256", "1.2.3"]
)
def test_names(name: str) -> None:
    validation.check_collection_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "x" * 513,
        "-ab",
        "ab.",
        "a b",
        "äbc",
        "abc\n",
        "a..b",
        "192.168.0.1",
        "ab\ud800",
        "a\0b",
    ],
    ids=ascii,
)
def test_bad_names(name: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^Validation error: name: Expected a name"
    ) as caught:
        validation.check_collection_name(name)
    str(caught.value).encode()


def test_names_are_texts() -> None:
    for check in (
        validation.check_collection_name,
        validation.check_tenant_name,
        validation.check_database_name,
    ):
        with pytest.raises(ValueError, match="name to be a str, got 5"):
            check(5)
    with pytest.raises(InvalidArgumentError, match="at least 3 characters"):
        validation.check_tenant_name("ab")
    with pytest.raises(InvalidArgumentError, match="valid Unicode"):
        validation.check_database_name("abc\ud800")


# -- reading ----------------------------------------------------------------------------------


def test_include() -> None:
    everything = ["documents", "embeddings", "metadatas", "distances", "uris", "data"]
    assert validation.check_include(everything, "query") == everything
    assert validation.check_include([], "get") == []
    for include, text in (
        ("documents", "Expected include to be a list, got documents"),
        ([1], "Expected include item to be a str, got 1"),
        (
            ["x"],
            "Expected include item to be one of documents, embeddings, metadatas, distances, uris, data, got x",
        ),
        (["distances"], "Include item cannot be one of distances, got distances"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            validation.check_include(include, "get")
        assert str(caught.value) == text


def test_numbers_of_results() -> None:
    validation.check_n_results(1)
    for number in (1.0, "1", None):
        with pytest.raises(ValueError, match="Expected requested number of results to be a int"):
            validation.check_n_results(number)
    for number in (0, -1):
        with pytest.raises(TypeError, match="cannot be negative, or zero"):
            validation.check_n_results(number)


def test_limit_and_offset() -> None:
    assert validation.check_limit_offset(None, None) == (None, None)
    assert validation.check_limit_offset(np.int64(3), 0) == (3, 0)
    for limit, offset in ((-1, None), (None, -1), (1.0, None), ("1", None)):
        with pytest.raises(ValueError, match="to be a non-negative integer"):
            validation.check_limit_offset(limit, offset)


def test_delete() -> None:
    where = {"k": 1}
    assert validation.check_delete("a", None, None, None) == ["a"]
    assert validation.check_delete(None, where, None, 0) is None
    # LlamaIndex hands an empty list beside a filter; it means "no ids given".
    assert validation.check_delete([], where, None, None) is None
    for arguments, error, text in (
        ((None, None, None, None), ValueError, "At least one of ids, where, or where_document"),
        (([], None, None, None), ValueError, "Expected IDs to be a non-empty list, got 0 IDs"),
        ((["a"], None, None, 1), ValueError, "limit can only be specified when a where"),
        ((None, where, None, True), TypeError, "limit must be a non-negative integer"),
        ((None, where, None, -1), ValueError, "limit must be a non-negative integer"),
        ((None, {}, None, None), ValueError, "exactly one operator"),
        ((None, {"$and": [where, None]}, None, None), ValueError, "Expected where to be a dict"),
        ((None, None, {"$bad": "x"}, None), ValueError, "got \\$bad"),
    ):
        with pytest.raises(error, match=text):  # type: ignore[call-overload]
            validation.check_delete(*arguments)


# -- configuration ----------------------------------------------------------------------------

DEFAULTS = {
    "space": "l2",
    "ef_construction": 100,
    "ef_search": 100,
    "max_neighbors": 16,
    "resize_factor": 1.2,
    "sync_threshold": 1000,
}


@pytest.mark.parametrize(
    ("configuration", "metadata", "changes"),
    [
        (None, None, {}),
        ({}, {"topic": "x"}, {}),
        ({"hnsw": None, "spann": None}, None, {}),
        ({"hnsw": {"space": "ip", "ef_search": 7}}, None, {"space": "ip", "ef_search": 7}),
        ({"hnsw": {"num_threads": 2, "batch_size": 5}}, None, {}),
        ({"spann": {"space": "cosine", "search_nprobe": 5}}, None, {"space": "cosine"}),
        (
            None,
            {"hnsw:space": "cosine", "hnsw:M": 5, "hnsw:search_ef": 7, "hnsw:construction_ef": 9},
            {"space": "cosine", "max_neighbors": 5, "ef_search": 7, "ef_construction": 9},
        ),
        ({"hnsw": {"space": "ip"}}, {"hnsw:space": "cosine"}, {"space": "ip"}),
        (None, {"hnsw:resize_factor": 2}, {"resize_factor": 2.0}),
    ],
    ids=repr,
)
def test_configurations(configuration: Any, metadata: Any, changes: dict[str, Any]) -> None:
    result = validation.created_configuration(configuration, metadata, "l2")
    assert repr(result) == repr({"hnsw": {**DEFAULTS, **changes}, "spann": None})


@pytest.mark.parametrize(
    ("configuration", "metadata", "text"),
    [
        ({"hnsw": {}, "spann": {}}, None, "hnsw and spann cannot both be provided"),
        ({"hnsw": {"space": "bad"}}, None, "one of l2, cosine, ip, got bad"),
        ({"hnsw": {"bad": 1}}, None, "unknown field `bad`"),
        ({"hnsw": 5}, None, "hnsw to be a dict, got 5"),
        ({"spann": {"bad": 1}}, None, "Unknown spann field 'bad'"),
        ({"hnsw": {"ef_search": -1}}, None, "ef_search to be a positive int, got -1"),
        ({"hnsw": {"ef_search": True}}, None, "ef_search to be a positive int, got True"),
        ({"hnsw": {"resize_factor": "x"}}, None, "resize_factor to be a positive number"),
        ({"typo": {}}, None, "Unknown configuration field 'typo'"),
        (5, None, "Expected configuration to be a dict, got 5"),
        (None, {"hnsw:space": "bad"}, "Failed to parse hnsw parameters from segment metadata"),
        (None, {"hnsw:M": "x"}, "Failed to parse hnsw parameters from segment metadata"),
        (None, {"hnsw:typo": 1}, "Failed to parse hnsw parameters from segment metadata"),
    ],
    ids=repr,
)
def test_bad_configurations(configuration: Any, metadata: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        validation.created_configuration(configuration, metadata, "l2")
    assert text in str(caught.value)


def test_changes_of_a_configuration() -> None:
    recorded = validation.created_configuration(None, None, "cosine")
    changed = validation.updated_configuration(recorded, {"hnsw": {"ef_search": 5}})
    assert changed["hnsw"] == {**recorded["hnsw"], "ef_search": 5}
    assert recorded["hnsw"]["ef_search"] == 100
    assert validation.updated_configuration(recorded, {}) == recorded
    for change, text in (
        ({"hnsw": {"space": "l2"}}, "unknown field `space`"),
        ({"spann": {"ef_search": 5}}, "Trying to update SPANN config but schema has HNSW"),
        ({"hnsw": {"ef_search": 0}}, "positive int"),
        (5, "Expected configuration to be a dict"),
    ):
        with pytest.raises(ValueError, match=text):
            validation.updated_configuration(recorded, change)


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"a": float("inf")}, "embedding_function.config.a to be finite, got inf"),
        ({"a": [{"b": float("nan")}]}, "embedding_function.config.a.b to be finite, got nan"),
        ({"a": 10**30}, "an integer of 64 bits, got 1000000000000000000000000000000"),
        ({"a": 10**5_000}, "an integer of 64 bits, got one of 16,610 bits"),
        ({"a": -(2**63) - 1}, "an integer of 64 bits"),
        ({"a": "\ud800"}, "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
        ({1: "a"}, "keys of embedding_function.config to be texts, got '1'"),
        ({"a": {1, 2}}, "a text, a number, a list or an object, got a set"),
        (_nested(100), "at most 64 levels"),
        ({"k" * 10**6: {"k" * 10**6: float("inf")}}, "to be finite"),
    ],
    ids=[
        *("inf", "nan", "1e30", "digits", "int64", "text", "key", "key type", "set", "deep", "long")
    ],
)
def test_what_is_recorded_of_a_function_can_be_given_back_to_everybody(
    config: Any, text: str
) -> None:
    function = {"type": "known", "name": "x", "config": config}
    checks: list[tuple[Any, Any]] = [
        (validation.check_recorded_function, function),
        (validation.recorded_configuration, {"embedding_function": function}),
    ]
    for check, given in checks:
        with pytest.raises(InvalidArgumentError) as caught:
            check(given)
        assert text in str(caught.value)
        assert len(str(caught.value)) < 2_000


def test_what_json_holds_is_recorded_as_it_is() -> None:
    config = {"a": [None, True, -(2**63), 2**63 - 1, 1e308, "ä\0", {}], "b": _nested(20)}
    function = {"type": "known", "name": "x", "config": config}
    assert validation.check_recorded_function(function) == function


@pytest.mark.parametrize("key", ["ef_search", "resize_factor", "max_neighbors"])
@pytest.mark.parametrize("value", [10**400, 10**5_000], ids=["400 digits", "5,000 digits"])
def test_numbers_of_a_configuration_have_an_end(key: str, value: int) -> None:
    for odd in (value, float("inf"), float("nan")):
        with pytest.raises(InvalidArgumentError, match=f"Expected {key} to be a positive"):
            validation.created_configuration({"hnsw": {key: odd}}, None, "l2")


@pytest.mark.parametrize("links", [1, 10_001, 2**31])
def test_links_that_no_graph_can_have_are_refused_before_anything_is_made(links: int) -> None:
    text = rf"Expected max_neighbors to be a positive int from 2 to 10,000, got {links}: "
    given = {"hnsw": {"max_neighbors": links}}
    for check in (
        lambda: validation.created_configuration(given, None, "l2"),
        lambda: validation.created_configuration(None, {"hnsw:M": links}, "l2"),
        lambda: validation.recorded_configuration(given),
    ):
        with pytest.raises(InvalidArgumentError, match=text):
            check()
    for most in (2, 10_000):
        made = validation.created_configuration({"hnsw": {"max_neighbors": most}}, None, "l2")
        assert made["hnsw"]["max_neighbors"] == most


@pytest.mark.parametrize("odd", [0, -1, float("inf"), float("nan"), True, "1 h", 10**400])
def test_a_ttl_is_a_number_that_is_more_than_0_and_finite(odd: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="Expected a TTL in seconds"):
        validation.check_ttl(odd)
    assert validation.check_ttl(10**30) == 1e30
    assert validation.check_ttl(None) is None
