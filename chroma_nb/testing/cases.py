"""What filters and updates mean, as examples: one table, for every API and for every way to a store."""

from __future__ import annotations

from typing import Any

# -- metadata: records, and which of them a condition matches ---------------------------------------

IDS = ["i1", "i2", "i3", "i4", "i5", "i6"]
METADATAS: list[Any] = [
    {"s": "a", "n": 1, "f": 1.0, "b": True},
    {"s": "b", "n": 2, "f": 2.5, "b": False},
    {"s": "A", "n": 3},
    {"tags": ["x", "y"], "nums": [1, 2], "fl": [1.5, 2.0], "bools": [True]},
    None,
    {"s": "c", "n": 1.0},
]
ALL = " ".join(IDS)
#: Conditions and the ids that match.
MEANINGS: list[tuple[Any, str]] = [
    ({"s": "a"}, "i1"),
    ({"s": {"$eq": "a"}}, "i1"),
    ({"s": "A"}, "i3"),
    ({"s": "nope"}, ""),
    ({"zz": "a"}, ""),
    # numbers compare by value
    ({"n": 1}, "i1 i6"),
    ({"n": 1.0}, "i1 i6"),
    ({"f": 1}, "i1"),
    ({"f": 1.0}, "i1"),
    ({"f": 2.5}, "i2"),
    # bool is its own kind
    ({"b": True}, "i1"),
    ({"b": False}, "i2"),
    ({"b": 1}, ""),
    ({"b": 0}, ""),
    ({"n": True}, ""),
    # text is no number
    ({"n": "1"}, ""),
    ({"s": 1}, ""),
    # order
    ({"n": {"$gt": 1}}, "i2 i3"),
    ({"n": {"$gt": 1.5}}, "i2 i3"),
    ({"n": {"$gte": 1}}, "i1 i2 i3 i6"),
    ({"n": {"$lt": 2}}, "i1 i6"),
    ({"n": {"$lte": 2}}, "i1 i2 i6"),
    ({"n": {"$lt": 1}}, ""),
    ({"f": {"$gte": 1}}, "i1 i2"),
    ({"f": {"$lt": 2}}, "i1"),
    ({"s": {"$gt": 0}}, ""),
    ({"b": {"$gt": -1}}, ""),
    ({"b": {"$lte": 1}}, ""),
    ({"tags": {"$gt": 0}}, ""),
    ({"nums": {"$gt": 0}}, ""),
    # $ne and $nin are the negation, so records without the field match
    ({"s": {"$ne": "a"}}, "i2 i3 i4 i5 i6"),
    ({"n": {"$ne": 1}}, "i2 i3 i4 i5"),
    ({"b": {"$ne": True}}, "i2 i3 i4 i5 i6"),
    ({"b": {"$ne": 1}}, ALL),
    ({"zz": {"$ne": 1}}, ALL),
    ({"s": {"$in": ["a", "c"]}}, "i1 i6"),
    ({"n": {"$in": [1, 3]}}, "i1 i3 i6"),
    ({"n": {"$in": [1.0]}}, "i1 i6"),
    ({"b": {"$in": [True]}}, "i1"),
    ({"b": {"$in": [True, False]}}, "i1 i2"),
    ({"s": {"$in": ["zz"]}}, ""),
    ({"s": {"$nin": ["a", "b"]}}, "i3 i4 i5 i6"),
    ({"n": {"$nin": [1, 2]}}, "i3 i4 i5"),
    ({"zz": {"$nin": ["a"]}}, ALL),
    # lists
    ({"tags": {"$contains": "x"}}, "i4"),
    ({"tags": {"$contains": "z"}}, ""),
    ({"nums": {"$contains": 1}}, "i4"),
    ({"nums": {"$contains": 1.0}}, ""),
    ({"nums": {"$contains": 3}}, ""),
    ({"fl": {"$contains": 1.5}}, "i4"),
    ({"bools": {"$contains": True}}, "i4"),
    ({"bools": {"$contains": False}}, ""),
    ({"nums": {"$contains": True}}, ""),
    ({"s": {"$contains": "a"}}, ""),
    ({"n": {"$contains": 1}}, ""),
    ({"tags": {"$not_contains": "x"}}, "i1 i2 i3 i5 i6"),
    ({"tags": {"$not_contains": "z"}}, ALL),
    ({"s": {"$not_contains": "a"}}, ALL),
    ({"zz": {"$not_contains": "a"}}, ALL),
    ({"tags": "x"}, ""),
    ({"tags": {"$in": ["x", "y"]}}, ""),
    ({"tags": {"$ne": "x"}}, ALL),
    ({"tags": {"$nin": ["x"]}}, ALL),
    # logic
    ({"$and": [{"s": "a"}, {"n": 1}]}, "i1"),
    ({"$and": [{"s": "a"}, {"n": 2}]}, ""),
    ({"$or": [{"s": "a"}, {"n": 2}]}, "i1 i2"),
    ({"$or": [{"s": "zz"}, {"n": 22}]}, ""),
    ({"$and": [{"n": {"$gte": 1}}, {"n": {"$lt": 3}}, {"s": {"$ne": "c"}}]}, "i1 i2"),
    ({"$or": [{"$and": [{"s": "a"}, {"b": True}]}, {"tags": {"$contains": "y"}}]}, "i1 i4"),
    ({"$and": [{"$or": [{"s": "a"}, {"s": "b"}]}, {"$or": [{"n": 2}, {"n": 3}]}]}, "i2"),
    ({"$and": [{"zz": {"$ne": 1}}, {"s": {"$nin": ["a"]}}]}, "i2 i3 i4 i5 i6"),
]

#: Conditions that are refused, and what is said of them.
REFUSED: list[tuple[Any, str]] = [
    ([], "Expected where to be a dict, got []"),
    ({}, "Expected where to have exactly one operator, got {}"),
    ({"a": 1, "b": 2}, "Expected where to have exactly one operator, got"),
    (
        {"a": None},
        "Expected where value to be a str, int, float, or operator expression, got None",
    ),
    ({"a": [1]}, "Expected where value to be a str, int, float, or operator expression, got [1]"),
    ({"a": {}}, "Expected operator expression to have exactly one operator, got {}"),
    (
        {"a": {"$gt": 1, "$lt": 2}},
        "Expected operator expression to have exactly one operator, got",
    ),
    (
        {"a": {"$gt": "a"}},
        "Expected operand value to be an int or a float for operator $gt, got a",
    ),
    ({"a": {"$in": "a"}}, "Expected operand value to be an list for operator $in, got a"),
    (
        {"a": {"$in": []}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type",
    ),
    (
        {"a": {"$nin": [1, "a"]}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type",
    ),
    (
        {"a": {"$like": 1}},
        "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, $contains, "
        "$not_contains, got $like",
    ),
    ({"a": {"$regex": "x"}}, "Expected where operator to be one of"),
    ({"a": {"$not": {"$eq": 1}}}, "Expected where operator to be one of"),
    (
        {"$and": [{"a": 1}]},
        "Expected where value for $and or $or to be a list with at least two where expressions, got",
    ),
    (
        {"$or": []},
        "Expected where value for $and or $or to be a list with at least two where expressions, got",
    ),
    (
        {"$and": {"a": 1}},
        "Expected where value for $and or $or to be a list of where expressions, got",
    ),
    ({"$and": [{"a": 1}, {}]}, "Expected where to have exactly one operator, got {}"),
    ({"$and": [{"a": 1}, 5]}, "Expected where to be a dict, got 5"),
    ({1: 2}, "Expected where key to be a str, got 1"),
    (
        {"$contains": "x"},
        "Expected where key to be a metadata field name or a logical operator ($and, $or), got "
        "$contains",
    ),
    ({"a": {"$eq": None}}, "Expected where operand value to be a str, int, float, bool, or list"),
    ({"a": {"$contains": None}}, "operand value to be a str, int, float"),
]

#: Conditions that are refused; what is said is not fixed.
MEANINGLESS: list[dict[str, Any]] = [
    {"s": {"$eq": ["a"]}},
    {"s": {"$ne": ["a"]}},
    {"n": {"$gt": True}},
    {"$in": ["a"]},
    {"n": {"$in": [1, True]}},
    {"$eq": "a"},
]

# -- documents --------------------------------------------------------------------------------------

TEXTS: list[str | None] = [
    "the quick brown fox",
    "The Quick red fox",
    "100% of a_b",
    None,
    "first line\nsecond line",
    "",
    "naïve café",
]
DOCS = ["d0", "d1", "d2", "d3", "d4", "d5", "d6"]
DOCUMENT_MEANINGS: list[tuple[Any, str]] = [
    ({"$contains": "quick"}, "d0"),
    ({"$contains": "fox"}, "d0 d1"),
    ({"$contains": "FOX"}, ""),
    ({"$contains": "q"}, "d0"),
    ({"$contains": "ick r"}, "d1"),
    ({"$contains": "%"}, "d2"),
    ({"$contains": "_"}, "d2"),
    ({"$contains": "1_0"}, ""),
    ({"$contains": "a%b"}, ""),
    ({"$contains": "line\nsecond"}, "d4"),
    ({"$contains": "é"}, "d6"),
    ({"$contains": "ïv"}, "d6"),
    ({"$not_contains": "fox"}, "d2 d3 d4 d5 d6"),
    ({"$not_contains": "zzz"}, "d0 d1 d2 d3 d4 d5 d6"),
    ({"$regex": "qu.ck"}, "d0"),
    ({"$regex": "(?i)quick"}, "d0 d1"),
    ({"$regex": "^the"}, "d0"),
    ({"$regex": "fox$"}, "d0 d1"),
    ({"$regex": "(brown|red) fox"}, "d0 d1"),
    ({"$regex": "[0-9]+%"}, "d2"),
    ({"$regex": "line.second"}, ""),
    ({"$regex": "(?s)line.second"}, "d4"),
    ({"$regex": "^second"}, ""),
    ({"$regex": "na.ve"}, "d6"),
    ({"$regex": r"\bred\b"}, "d1"),
    ({"$regex": "a_b$"}, "d2"),
    ({"$not_regex": "fox"}, "d2 d3 d4 d5 d6"),
    ({"$not_regex": "(?i)QUICK"}, "d2 d3 d4 d5 d6"),
    ({"$and": [{"$contains": "fox"}, {"$contains": "red"}]}, "d1"),
    ({"$or": [{"$contains": "brown"}, {"$contains": "red"}]}, "d0 d1"),
    ({"$and": [{"$contains": "fox"}, {"$not_contains": "red"}]}, "d0"),
    (
        {"$or": [{"$and": [{"$contains": "fox"}, {"$regex": "^The"}]}, {"$contains": "100%"}]},
        "d1 d2",
    ),
    ({"$and": [{"$not_contains": "fox"}, {"$not_regex": "line"}]}, "d2 d3 d5 d6"),
]

DOCUMENT_REFUSED: list[tuple[Any, str]] = [
    ("x", "Expected where document to be a dictionary, got x"),
    ({}, "Expected where document to have exactly one operator, got {}"),
    (
        {"$contains": "a", "$regex": "b"},
        "Expected where document to have exactly one operator, got",
    ),
    (
        {"$bad": "x"},
        "Expected where document operator to be one of $contains, $not_contains, $regex, $not_regex, "
        "$and, $or, got $bad",
    ),
    (
        {"$contains": 1},
        "Expected where document operand value for operator $contains to be a str, got 1",
    ),
    (
        {"$contains": ""},
        "Expected where document operand value for operator $contains to be a non-empty str",
    ),
    ({"$regex": ""}, "to be a non-empty str"),
    ({"$not_regex": None}, "to be a str, got None"),
    (
        {"$and": [{"$contains": "a"}]},
        "Expected document value for $and or $or to be a list with at least two where document "
        "expressions, got",
    ),
    (
        {"$or": {"$contains": "a"}},
        "Expected document value for $and or $or to be a list of where document expressions, got",
    ),
    (
        {"$and": [{"$contains": "a"}, {"$bad": "b"}]},
        "Expected where document operator to be one of",
    ),
]

# -- updates ----------------------------------------------------------------------------------------

#: Updates of the metadata {"a": 1, "b": "x", "l": ["p"]}: name, what is given, what is there then.
MERGES: list[tuple[str, Any, Any]] = [
    ("merge", {"a": 2, "c": True}, {"a": 2, "b": "x", "l": ["p"], "c": True}),
    ("list-replaced", {"l": ["q", "r"]}, {"a": 1, "b": "x", "l": ["q", "r"]}),
    ("none-deletes", {"b": None}, {"a": 1, "l": ["p"]}),
    ("none-deletes-list", {"l": None}, {"a": 1, "b": "x"}),
    ("list-to-int", {"l": 5}, {"a": 1, "b": "x", "l": 5}),
    ("int-to-list", {"a": ["s"]}, {"a": ["s"], "b": "x", "l": ["p"]}),
    ("int-to-str", {"a": "1"}, {"a": "1", "b": "x", "l": ["p"]}),
    ("int-to-bool", {"a": True}, {"a": True, "b": "x", "l": ["p"]}),
    ("int-to-float", {"a": 1.0}, {"a": 1.0, "b": "x", "l": ["p"]}),
    ("none-of-a-missing-key", {"zz": None}, {"a": 1, "b": "x", "l": ["p"]}),
    ("last-key-gone", {"a": None, "b": None, "l": None}, None),
]
