"""Filters: the grammar and its sentences, the tree, regular expressions, and both compilers' corners."""

from __future__ import annotations

import enum
import json
from typing import Any

import duckdb
import numpy as np
import pytest

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    DocumentContains,
    DocumentMatches,
    ListContains,
    Or,
    parse_where,
    parse_where_document,
    rust_regex_to_re2,
)
from chroma_nb.filters.mask import compile_mask
from chroma_nb.filters.sql import DuckDBDialect, compile_sql
from chroma_nb.segment.metadata_column import MetadataColumn


class Colour(str, enum.Enum):
    RED = "red"


# -- the grammar ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "expression"),
    [
        (None, None),
        ({"a": 1}, Compare("a", "$eq", 1)),
        ({"a": {"$eq": 1}}, Compare("a", "$eq", 1)),
        ({"a": {"$ne": "x"}}, Compare("a", "$eq", "x", negated=True)),
        ({"a": {"$gte": 1.5}}, Compare("a", "$gte", 1.5)),
        ({"a": {"$in": ["x", "y"]}}, Among("a", ("x", "y"))),
        ({"a": {"$nin": [1]}}, Among("a", (1,), negated=True)),
        ({"a": {"$contains": True}}, ListContains("a", True)),
        ({"a": {"$not_contains": 1.0}}, ListContains("a", 1.0, negated=True)),
        ({"#document": {"$contains": "x"}}, DocumentContains("x")),
        ({"#document": {"$not_contains": "x"}}, DocumentContains("x", negated=True)),
        (
            {"$or": [{"a": 1}, {"$and": [{"b": 2}, {"c": 3}]}]},
            Or(
                (
                    Compare("a", "$eq", 1),
                    And((Compare("b", "$eq", 2), Compare("c", "$eq", 3))),
                )
            ),
        ),
    ],
)
def test_where(where: Any, expression: Any) -> None:
    parsed = parse_where(where)
    assert parsed == expression
    assert hash(parsed) == hash(expression)


@pytest.mark.parametrize(
    ("where_document", "expression"),
    [
        (None, None),
        ({"$contains": "x"}, DocumentContains("x")),
        ({"$not_contains": "x"}, DocumentContains("x", negated=True)),
        ({"$regex": "x"}, DocumentMatches("x")),
        ({"$not_regex": "x"}, DocumentMatches("x", negated=True)),
        (
            {"$or": [{"$contains": "x"}, {"$regex": "y"}]},
            Or((DocumentContains("x"), DocumentMatches("y"))),
        ),
    ],
)
def test_where_document(where_document: Any, expression: Any) -> None:
    assert parse_where_document(where_document) == expression


#: The sentences of chromadb 1.5.9.
BAD_WHERE: list[tuple[Any, str]] = [
    ([], "Expected where to be a dict, got []"),
    ("x", "Expected where to be a dict, got x"),
    ({}, "Expected where to have exactly one operator, got {}"),
    ({"a": 1, "b": 2}, "Expected where to have exactly one operator, got {'a': 1, 'b': 2}"),
    (
        {"a": None},
        "Expected where value to be a str, int, float, or operator expression, got None",
    ),
    ({"a": [1]}, "Expected where value to be a str, int, float, or operator expression, got [1]"),
    ({"a": {}}, "Expected operator expression to have exactly one operator, got {}"),
    (
        {"a": {"$gt": 1, "$lt": 2}},
        "Expected operator expression to have exactly one operator, got {'$gt': 1, '$lt': 2}",
    ),
    (
        {"a": {"$gt": "b"}},
        "Expected operand value to be an int or a float for operator $gt, got b",
    ),
    ({"a": {"$in": "b"}}, "Expected operand value to be an list for operator $in, got b"),
    (
        {"a": {"$in": []}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type got []",
    ),
    (
        {"a": {"$nin": [1, "b"]}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type got [1, 'b']",
    ),
    (
        {"a": {"$eq": []}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type got []",
    ),
    (
        {"a": {"$like": "b"}},
        "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, $contains, "
        "$not_contains, got $like",
    ),
    (
        {"$and": [{"a": 1}]},
        "Expected where value for $and or $or to be a list with at least two where expressions, got [{'a': 1}]",
    ),
    (
        {"$or": {"a": 1}},
        "Expected where value for $and or $or to be a list of where expressions, got {'a': 1}",
    ),
    ({"$and": [{"a": 1}, None]}, "Expected where to be a dict, got None"),
    ({"$or": [{"a": 1}, {}]}, "Expected where to have exactly one operator, got {}"),
    ({1: 2}, "Expected where key to be a str, got 1"),
    (
        {"$contains": "x"},
        "Expected where key to be a metadata field name or a logical operator ($and, $or), got $contains",
    ),
    (
        {"a": {"$eq": None}},
        "Expected where operand value to be a str, int, float, bool, or list of those type, got None",
    ),
]


@pytest.mark.parametrize(("where", "text"), BAD_WHERE, ids=[repr(where) for where, _ in BAD_WHERE])
def test_bad_where(where: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_where(where)
    assert str(caught.value).startswith(text)
    assert not isinstance(caught.value, InvalidArgumentError)


@pytest.mark.parametrize(
    "where",
    [
        {"a": {"$eq": ["x"]}},
        {"a": {"$gt": True}},
        {"a": {"$in": [1, True]}},
        {"a": float("nan")},
        {"a": {"$in": [float("nan")]}},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": {"$contains": "\udfff"}},
        {"#document": {"$contains": "\udfff"}},
    ],
    ids=ascii,
)
def test_meaningless_where(where: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^Invalid where clause"):
        parse_where(where)


@pytest.mark.parametrize("condition", ["x", {"$eq": "x"}, {"$ne": "x"}, {"$in": ["x"]}])
def test_the_document_takes_no_comparison(condition: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'#document'.* because indexing is disabled"):
        parse_where({"#document": condition})


BAD_WHERE_DOCUMENT: list[tuple[Any, str]] = [
    ("x", "Expected where document to be a dictionary, got x"),
    ({}, "Expected where document to have exactly one operator, got {}"),
    (
        {"$bad": "x"},
        "Expected where document operator to be one of $contains, $not_contains, $regex, $not_regex, $and, $or, got $bad",
    ),
    (
        {"$contains": 1},
        "Expected where document operand value for operator $contains to be a str, got 1",
    ),
    (
        {"$regex": ""},
        "Expected where document operand value for operator $regex to be a non-empty str",
    ),
    (
        {"$and": [{"$contains": "x"}]},
        "Expected document value for $and or $or to be a list with at least two where document expressions, "
        "got [{'$contains': 'x'}]",
    ),
    (
        {"$or": [{"$contains": "x"}, None]},
        "Expected where document to be a dictionary, got None",
    ),
]


@pytest.mark.parametrize(
    ("where_document", "text"), BAD_WHERE_DOCUMENT, ids=[repr(bad) for bad, _ in BAD_WHERE_DOCUMENT]
)
def test_bad_where_document(where_document: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_where_document(where_document)
    assert str(caught.value).startswith(text)


def test_a_sentence_does_not_repeat_a_large_value() -> None:
    with pytest.raises(ValueError, match="non-empty list") as caught:
        parse_where({"a": {"$in": [*range(100_000), "x"]}})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "where",
    [
        {"a": Colour.RED},
        {"a": {"$in": ["x", Colour.RED]}},
        {"a": {"$contains": np.float64(0.5)}},
        {"a": np.str_("x")},
        {"a": {"$gt": np.float64(1.5)}},
    ],
    ids=repr,
)
def test_values_become_pythons_own_kinds(where: Any) -> None:
    leaf = parse_where(where)
    assert isinstance(leaf, Compare | Among | ListContains)
    values = leaf.values if isinstance(leaf, Among) else (leaf.value,)
    assert {type(value) for value in values} <= {str, int, float, bool}
    assert "Colour" not in repr(leaf)


# -- regular expressions ----------------------------------------------------------------------

DOCUMENTS = [
    "alpha 5",
    "٣",
    "é",
    "_",
    "\u2003x",
    "line\nbreak",
    "ⅷ",
    "Ⓐ",
    "中文",
    "a\u0301",
    "x\0y",
]
DOCUMENTS += ["\xa0", ""]


def by_sql(expression: Any, column: str, values: list[Any]) -> list[int]:
    condition, parameters = compile_sql(expression, DuckDBDialect())
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE records (row INTEGER, metadata VARCHAR, document VARCHAR)")
        connection.executemany(
            f"INSERT INTO records (row, {column}) VALUES (?, ?)",
            [[row, value] for row, value in enumerate(values)],
        )
        found = connection.execute(
            f"SELECT row FROM records WHERE {condition} ORDER BY row", parameters
        )
        return [row for (row,) in found.fetchall()]


@pytest.mark.parametrize(
    ("pattern", "rows"),
    # The rows are chromadb 1.5.9's answers.
    [
        (r"^\d$", [1]),
        (r"^[\d]$", [1]),
        (r"^\w$", [1, 2, 3, 6, 7]),
        (r"^[\w-]+$", [1, 2, 3, 6, 7, 8, 9]),
        (r"^[^\W_]$", [1, 2, 6, 7]),
        (r"^\W$", [11]),
        (r"^[\W]$", [11]),
        (r"^\s$", [11]),
        (r"^\S$", [1, 2, 3, 6, 7]),
        (r"^[^\d]$", [2, 3, 6, 7, 11]),
        (r"^[\Dx]$", [2, 3, 6, 7, 11]),
        (r"^[^\S]$", [11]),
        (r"(?<first>al)", [0]),
        (r"(?P<first>al)", [0]),
        (r"\u0061l", [0]),
        (r"\u{61}l", [0]),
        (r"\x61l", [0]),
        (r"\U00000061l", [0]),
        (r"line.break", []),
        (r"(?s)line.break", [5]),
        (r"^break", []),
        (r"(?m)^break", [5]),
        (r"x\x00y", [10]),
        ("x\0y", [10]),
        (r"\p{Han}", [8]),
        (r"[[:digit:]]", [0]),
        (r"(?i)ALPHA", [0]),
        (r"[]x]\x00", [10]),
        (r"^[^]x\\]$", [1, 2, 3, 6, 7, 11]),
        (r"\\", []),
        (r"^$", [12]),
    ],
)
def test_regular_expressions(pattern: str, rows: list[int]) -> None:
    assert by_sql(DocumentMatches(pattern), "document", DOCUMENTS) == rows
    others = [row for row in range(len(DOCUMENTS)) if row not in rows]
    assert by_sql(DocumentMatches(pattern, negated=True), "document", DOCUMENTS) == others


@pytest.mark.parametrize(
    "pattern",
    ["[a-z&&b]", "[a-z--b]", "[a~~b]", "[a[bc]]", r"\Qa.c\E", r"\C", r"\<a", r"\b{start}a"],
)
def test_what_would_mean_something_else_is_refused(pattern: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"Invalid where clause.*regular expressions"
    ) as caught:
        compile_sql(DocumentMatches(pattern), DuckDBDialect())
    assert pattern in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    ["abc", "a|b", "(?:a)+?", r"\.", "[a-z]", "^.*$", "\\", "[", "(", "é{2}", "(?<=a)", ""],
)
def test_what_is_common_to_both_dialects_stays(pattern: str) -> None:
    assert rust_regex_to_re2(pattern) == pattern


# -- SQL --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a/b",
        "/",
        "~",
        "~1",
        "~0",
        "a~/b",
        '"',
        "'",
        "a.b",
        "$",
        "$.a",
        "*",
        "0",
        "1",
        "-",
        "[0]",
        *("\\", "é", "😀", "a b", "\n", "\t", "\0", "\x1f", "\u2028", "?", "$1", "#"),
    ],
    ids=ascii,
)
def test_any_key_can_be_asked_for(key: str) -> None:
    rows = [{key: 1}, {key + "x": 1}, {"x" + key: 1}, {key: {"": 1}}, {key: 2}]
    texts: list[Any] = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    assert by_sql(Compare(key, "$eq", 1), "metadata", [*texts, None]) == [0]
    assert by_sql(Compare(key, "$eq", 1, negated=True), "metadata", [*texts, None]) == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize(
    "text",
    ["", "x", "\0", "a\0b", "\\u0000", '"', "\\", "null", "true", "1", "\n", "\x1f", "\x7f", "😀"],
    ids=ascii,
)
def test_any_text_can_be_asked_for(text: str) -> None:
    rows: list[Any] = [{"k": text}, {"k": text + "x"}, {"k": [text]}, {"k": "other"}, {"j": text}]
    rows = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    assert by_sql(Compare("k", "$eq", text), "metadata", rows) == [0]
    assert by_sql(Among("k", (text, "nobody's")), "metadata", rows) == [0]
    assert by_sql(ListContains("k", text), "metadata", rows) == [2]


def test_the_parameters_are_numbered_in_the_order_of_the_values() -> None:
    expression = And(
        (Among("?", ("?", "y")), DocumentContains("?"), Among("n", (1, 2.5)), DocumentMatches("a?"))
    )
    condition, parameters = compile_sql(expression, DuckDBDialect())
    assert "?" not in condition
    for number in range(1, len(parameters) + 1):
        assert condition.count(f"${number}") >= 1
    assert f"${len(parameters) + 1}" not in condition
    rows: list[Any] = [json.dumps({"?": "y", "n": 1})]
    assert by_sql(And(expression.children[::2]), "metadata", rows) == [0]


def test_a_list_of_ten_thousand_values() -> None:
    rows: list[Any] = [json.dumps({"n": n}) for n in range(20_000)]
    found = by_sql(Among("n", tuple(range(5_000, 15_000))), "metadata", rows[::100])
    assert found == list(range(50, 150))


# -- masks ------------------------------------------------------------------------------------


class Reader:
    """Three labels: one with everything, one with metadata alone, one with nothing."""

    def match(self, leaf: Any) -> Any:
        labels = np.array([0, 1] if leaf.key == "k" else [], dtype=np.int64)
        return MetadataColumn.build(3, labels, ["x", 5][: len(labels)]).match(leaf)

    def document_contains(self, text: str) -> Any:
        assert text, "a search for bytes has nothing to look for"
        return np.array([text in "document", False, False])

    def document_matches(self, pattern: str) -> Any:
        return np.array([True, False, False])


@pytest.mark.parametrize(
    ("expression", "mask"),
    [
        (Compare("k", "$eq", "x"), [True, False, False]),
        (Compare("k", "$eq", "x", negated=True), [False, True, True]),
        (Compare("nobody's", "$eq", 1), [False, False, False]),
        (Compare("nobody's", "$eq", 1, negated=True), [True, True, True]),
        (Among("k", ("x", "y"), negated=True), [False, True, True]),
        (ListContains("k", "x", negated=True), [True, True, True]),
        (DocumentContains("doc"), [True, False, False]),
        (DocumentContains("doc", negated=True), [False, True, True]),
        (DocumentMatches("d.c", negated=True), [False, True, True]),
        (DocumentContains(""), [True, False, False]),
        (DocumentContains("", negated=True), [False, True, True]),
        (And((DocumentContains("doc"), Compare("k", "$eq", "x"))), [True, False, False]),
        (Or((DocumentContains("doc"), Compare("k", "$gt", 4))), [True, True, False]),
        (
            And((Or((Compare("k", "$eq", 5), Compare("k", "$eq", "x"))), Compare("k", "$eq", 5))),
            [False, True, False],
        ),
    ],
    ids=repr,
)
def test_masks(expression: Any, mask: list[bool]) -> None:
    result = compile_mask(expression, Reader())
    assert result.dtype == bool
    assert result.tolist() == mask
