"""Nodes of the tree that DuckDB makes of a SELECT, of all its versions: what they name, call and hold."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from chroma_nb.db.sql.names import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Aggregates whose result does not depend on the order of the rows.
_ORDERLESS = {
    "count",
    "count_star",
    "count_if",
    "sum",
    "min",
    "max",
    "avg",
    "median",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "variance",
    "var_samp",
    "var_pop",
    "approx_count_distinct",
    "bool_and",
    "bool_or",
    "quantile_cont",
    "quantile_disc",
    "corr",
    "entropy",
}
#: Aggregates whose result depends on the order of the rows.
_ORDERED = re.compile(
    r"first|last|any_value|arbitrary|list|array_agg|string_agg|group_concat|listagg|mode|lttb|"
    r"arg_?(min|max)\w*|(min|max)_by|json_group_\w+|reservoir_quantile",
    re.IGNORECASE,
)
#: Functions whose second argument is a regular expression. DuckDB writes SIMILAR TO and ~ as such functions, too.
_PATTERN_FUNCTION = re.compile(r"regexp_(?!escape)\w+|str(ing)?_split_regex", re.IGNORECASE)


def is_orderless(node: dict[str, Any]) -> bool:
    """Say whether a SELECT gives the same answer for every order of the rows that it reads."""
    selected = node["select_list"]
    called = list(called_functions([selected, node["having"], node["qualify"]]))
    if any(name is None or _ORDERED.fullmatch(name) for name in called):
        return False
    if node["group_expressions"] or any(
        one["type"] == "ORDER_MODIFIER" for one in node["modifiers"]
    ):
        return True
    return all(
        one["class"] == "FUNCTION" and fold(one["function_name"]) in _ORDERLESS for one in selected
    )


def called_functions(value: Any) -> Iterator[str | None]:
    """Yield the names of the functions that are called, None for a window function."""
    if isinstance(value, list):
        for part in value:
            yield from called_functions(part)
    elif isinstance(value, dict) and value.get("class") != "CONSTANT":
        if value.get("class") == "WINDOW":
            yield None
        elif value.get("class") == "FUNCTION":
            yield value["function_name"]
        for part in value.values():
            yield from called_functions(part)


def stars_of(node: Any) -> Iterator[dict[str, Any]]:
    """Yield each star of an expression, those of subqueries left out."""
    if isinstance(node, list):
        for part in node:
            yield from stars_of(part)
    elif isinstance(node, dict) and node.get("class") != "SUBQUERY":
        if node.get("class") == "STAR":
            yield node
        else:
            for part in node.values():
                yield from stars_of(part)


def arguments(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a function is given. DuckDB before 2 calls it children."""
    if "arguments" in node:
        return [part["expression"] for part in node["arguments"]]
    return list(node.get("children") or ())


def text_of(node: dict[str, Any]) -> str | None:
    """Return the text that is written here; None for anything else."""
    if node["class"] != "CONSTANT":
        return None
    if "literal" in node:
        return str(node["literal"]["text"]) if node["literal"]["kind"] == "STRING" else None
    value = node["value"]
    return str(value["value"]) if value["type"]["id"] == "VARCHAR" else None


def pattern_of(node: dict[str, Any]) -> dict[str, Any] | None:
    """Return the regular expression that a function is given, a constant or not; None for any other function."""
    if not _PATTERN_FUNCTION.fullmatch(node["function_name"]):
        return None
    # DuckDB reads the column of ``document.regexp_matches('x')`` as a schema.
    is_method = fold(node.get("schema") or "") not in ("", "main", "pg_catalog")
    found = arguments(node)[0 if is_method else 1 :][:1]
    while found and found[0]["class"] == "CAST":
        found = [found[0]["child"]]
    return found[0] if found else None


def type_of(cast: dict[str, Any]) -> str:
    """Return the type of a CAST, in small letters. DuckDB before 2 calls it cast_type."""
    return json.dumps(cast.get("type_expr") or cast.get("cast_type")).lower()


def cannot_name_field(node: dict[str, Any]) -> bool:
    """Say whether this can be no name of a field: a number, or something that differs from row to row."""
    if node["class"] == "CONSTANT":
        return text_of(node) is None
    if node["class"] == "COLUMN_REF":
        return True
    children = arguments(node)
    if node["class"] == "FUNCTION" and node["function_name"] in ("-", "+"):
        return all(map(cannot_name_field, children))
    return any(one["class"] == "COLUMN_REF" for one in children)


def table_path(ref: dict[str, Any]) -> tuple[str, ...]:
    """Return the parts of a table's name: catalogue, schema and name, those that are written."""
    found = ref.get("qualified_name")
    if found:
        return tuple(found["path"]) or ("",)
    before = (part for part in (ref.get("catalog_name"), ref.get("schema_name")) if part)
    return (*before, ref.get("table_name") or "")


def column_path(node: dict[str, Any]) -> tuple[str, ...]:
    """Return the parts of a column's name in a star: its table where that is written, and the name."""
    return tuple(part for part in (node.get("table"), node["column"]) if part)


def name_of(node: Any) -> str:
    """Return the name of a column that a star leaves out. DuckDB before 2 has it as a text."""
    return node if isinstance(node, str) else str(node["column"])


def lambda_names(node: Any) -> list[str]:
    """Return the names of a lambda's parameters."""
    if isinstance(node, list):
        return [name for one in node for name in lambda_names(one)]
    if not isinstance(node, dict):
        return []
    if node.get("class") == "COLUMN_REF":
        return list(node["column_names"])
    return [name for value in node.values() for name in lambda_names(value)]


def words(kind: object) -> str:
    """Return the kind of a node as errors name it."""
    return str(kind).removesuffix("_QUERY_NODE").removesuffix("_NODE").replace("_", " ")
