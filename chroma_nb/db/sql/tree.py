"""`read_statement`: one SQL statement, checked and read from DuckDB's own parse of it.

DuckDB writes the tree of a SELECT as JSON (``json_serialize_sql``). A walk through it refuses what is not in the
lists of `allowed`, and notes the names that the statement uses. Nothing here knows which collections exist.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import duckdb

from chroma_nb.db.sql.allowed import (
    EXPRESSIONS,
    MODIFIERS,
    QUERIES,
    REFUSED_FUNCTION,
    REFUSED_SYSTEM_VIEWS,
    SYSTEM_FUNCTIONS,
    SYSTEM_SCHEMAS,
    TABLE_FUNCTIONS,
    TABLES,
)
from chroma_nb.db.sql.names import fold
from chroma_nb.db.sql.statement import ColumnUse, Scope, Statement
from chroma_nb.db.sql.tokens import without_explain
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE_SELECT = "client.sql() reads: give it one SELECT (or EXPLAIN). Use add, update, upsert and delete to write."

#: Aggregates whose result does not depend on the order of the rows, ...
_ORDERLESS = {
    *("count", "count_star", "count_if", "sum", "min", "max", "avg", "median", "stddev"),
    *("stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop", "approx_count_distinct"),
    *("bool_and", "bool_or", "quantile_cont", "quantile_disc", "corr", "entropy"),
}
#: ... and those whose result does.
_ORDERED = re.compile(
    r"first|last|any_value|arbitrary|list|array_agg|string_agg|group_concat|listagg|mode|lttb|"
    r"arg_?(min|max)\w*|(min|max)_by|json_group_\w+|reservoir_quantile",
    re.IGNORECASE,
)
#: `query_location` of a node that DuckDB has added: the text does not hold it.
_NO_PLACE = 2**64 - 1


def read_statement(cursor: duckdb.DuckDBPyConnection, query: object) -> Statement:
    """Read one SELECT, or EXPLAIN of one.

    Raises:
        InvalidArgumentError: Not one SELECT, or one with a part that is not allowed.
        NotSelectError: DuckDB knows the statement as something else: one that writes, or a PIVOT whose
            columns depend on its rows.
    """
    if not isinstance(query, str):
        raise InvalidArgumentError(f"Expected a query as a str, got {type(query).__name__}.")
    if "\0" in query:
        raise InvalidArgumentError(
            "The query holds the character NUL, at which DuckDB would end it. Give such a text as a parameter."
        )
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"The query is not valid text: {error}.") from error
    text, is_explain = without_explain(query)
    tree = parse(cursor, text)
    statement = Statement(text, is_explain)
    walker = _TreeWalker(statement)
    try:
        walker.query(tree, None, {})
        walker.finish()
    except RecursionError as error:
        raise InvalidArgumentError("The query is nested too deeply to be checked.") from error
    return statement


class NotSelectError(InvalidArgumentError):
    """DuckDB does not know the statement as one SELECT."""


def parse(cursor: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """Return the tree of one SELECT."""
    rows = cursor.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
    try:
        parsed = json.loads(rows[0][0])
    except RecursionError as error:
        raise InvalidArgumentError("The query is nested too deeply to be checked.") from error
    if parsed["error"]:
        if parsed.get("error_type") == "parser":
            # Parsed again, as this error shows the place.
            try:
                cursor.extract_statements(text)
            except duckdb.ParserException as error:
                raise InvalidArgumentError(f"This SQL cannot be read: {error}") from error
        raise NotSelectError(f"{_ONE_SELECT} Got {text[:80]!r}.")
    statements = parsed["statements"]
    if len(statements) != 1:
        raise InvalidArgumentError(f"{_ONE_SELECT} Got {len(statements)}: {text[:80]!r}.")
    tree: dict[str, Any] = statements[0]["node"]
    return tree


class _TreeWalker:
    """Walks through the tree of one statement and fills in a `Statement`."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        #: Tables that are read somewhere where the order of the rows matters.
        self._ordered: set[str] = set()

    def query(self, node: dict[str, Any], outer: Scope | None, ctes: dict[str, str]) -> Scope:
        """Read a query; `ctes` are the tables that WITH has made, folded -> as written."""
        kind = node["type"]
        if kind not in QUERIES:
            raise InvalidArgumentError(
                f"{_ONE_SELECT} Got a part that does not read: {_words(kind)}."
            )
        scope = Scope(outer)
        before = ctes
        ctes = dict(before)
        for one in node["cte_map"]["map"]:
            # A table of WITH sees those before it. It sees itself only if it is recursive.
            self._define(one["value"].get("aliases", ()))
            self._any(one["value"], Scope(outer), dict(ctes))
            ctes[fold(one["key"])] = one["key"]
        if kind in ("CTE_NODE", "RECURSIVE_CTE_NODE"):
            ctes[fold(node["cte_name"])] = node["cte_name"]
        self._statement.cte_names.update(ctes.values())
        if kind == "SELECT_NODE":
            scope.is_orderless = _is_orderless(node)
            self._table(node["from_table"], scope, ctes)
            self._find_starred(node, scope, outer)
        else:
            # The columns of a UNION and the like are the query's own.
            scope.tables[""] = None
            self._define(node.get("aliases", ()))
        self._modifiers(node, scope, ctes)
        for key, value in node.items():
            if key not in ("cte_map", "from_table", "cte_name", "aliases", "type", "modifiers"):
                # A table of WITH does not see itself, and neither does the first part of a recursion.
                is_before = (kind, key) in (("CTE_NODE", "query"), ("RECURSIVE_CTE_NODE", "left"))
                self._any(value, scope, before if is_before else ctes)
        return scope

    def _modifiers(self, node: dict[str, Any], scope: Scope, ctes: dict[str, str]) -> None:
        """Read ORDER BY, LIMIT and DISTINCT."""
        given = {fold(one["alias"]) for one in node.get("select_list") or () if one.get("alias")}
        for modifier in node["modifiers"]:
            if modifier["type"] == "ORDER_MODIFIER":
                # In ORDER BY a name that the query gives to a column comes before all others.
                others = [
                    order
                    for order in modifier["orders"]
                    if not (
                        order["expression"]["class"] == "COLUMN_REF"
                        and len(order["expression"]["column_names"]) == 1
                        and fold(order["expression"]["column_names"][0]) in given
                    )
                ]
                modifier = {**modifier, "orders": others}
            self._any(modifier, scope, ctes)

    def finish(self) -> None:
        """Note the tables that stand where a column does (``SELECT docs FROM docs``): all their columns are used.

        This comes last, when every table is known.
        """
        for use in self._statement.columns:
            found, table = use.scope.find(use.parts[0])
            if len(use.parts) == 1 and found and table is not None:
                self._statement.starred.add(table)

    def _find_starred(self, node: dict[str, Any], scope: Scope, outer: Scope | None) -> None:
        selected = node["select_list"]
        if outer is None and len(scope.tables) == 1 and node["from_table"]["type"] == "BASE_TABLE":
            stars = [one for one in selected if one["class"] == "STAR" and not one["columns"]]
            plain = [one for one in selected if one["class"] == "COLUMN_REF" and not one["alias"]]
            if len(stars) == 1 and len(stars) + len(plain) == len(selected):
                self._statement.starred_alone = next(iter(scope.tables.values()))

    def _define(self, names: Any) -> None:
        self._statement.defined.update(fold(name) for name in names if name)

    # -- tables -------------------------------------------------------------------------------

    def _table(self, ref: dict[str, Any] | None, scope: Scope, ctes: dict[str, str]) -> None:
        if ref is None:
            return
        kind = ref["type"]
        if kind not in TABLES:
            raise InvalidArgumentError(
                f"client.sql() does not know this kind of table and refuses it: {_words(kind)}."
            )
        alias = ref.get("alias") or ""
        self._define(ref.get("column_name_alias") or ())
        if kind == "BASE_TABLE":
            self._base_table(ref, alias, scope, ctes)
        elif kind == "JOIN":
            self._table(ref["left"], scope, ctes)
            self._table(ref["right"], scope, ctes)
            for name in ref["using_columns"]:
                self._column((name,), scope)
            if ref["ref_type"] == "NATURAL":
                self._mark_starred(scope, "")
            for key in ("condition", "ranking_expression"):
                self._any(ref.get(key), scope, ctes)
        elif kind == "TABLE_FUNCTION":
            self._table_function(ref, alias, scope, ctes)
        elif kind == "SUBQUERY":
            # It sees the tables beside it (LATERAL).
            self.query(ref["subquery"]["node"], scope, ctes)
            scope.tables[fold(alias)] = None
        elif kind == "PIVOT":
            source = Scope(scope)
            self._table(ref["source"], source, ctes)
            # It groups by all columns that it does not name.
            self._mark_starred(source, "")
            for name in ref.get("groups") or ():
                self._column((name,), source)
            self._define(ref.get("unpivot_names") or ())
            for one in ref["pivots"]:
                self._define(one.get("unpivot_names") or ())
            self._any([ref["aggregates"], ref["pivots"]], source, ctes)
            scope.tables[fold(alias)] = None
        elif kind == "SHOW_REF":
            self._show(ref, scope, ctes)
        else:
            self._any(ref.get("values"), scope, ctes)
            scope.tables[fold(alias)] = None

    def _base_table(
        self, ref: dict[str, Any], alias: str, scope: Scope, ctes: dict[str, str]
    ) -> None:
        path = _path(ref)
        name = path[-1]
        self._any(ref.get("at_clause"), scope, ctes)
        if len(path) > 1:
            scope.tables[fold(alias or name)] = None
            if fold(path[-2]) in SYSTEM_SCHEMAS and fold(name) not in REFUSED_SYSTEM_VIEWS:
                self._statement.system_views.append(".".join(path))
            else:
                self._statement.qualified.append(path)
            return
        own = ctes.get(fold(name))
        if own == name:
            scope.tables[fold(alias or name)] = None
            return
        # WITH may make a table whose name differs in case alone. `query` decides, as it knows the collections.
        scope.tables[fold(alias or name)] = name
        self._use(name, scope)

    def _use(self, name: str, scope: Scope) -> None:
        statement = self._statement
        statement.tables.append(name)
        if scope.is_orderless and name not in self._ordered:
            statement.unordered.add(name)
        else:
            self._ordered.add(name)
            statement.unordered.discard(name)

    def _table_function(
        self, ref: dict[str, Any], alias: str, scope: Scope, ctes: dict[str, str]
    ) -> None:
        function = ref["function"]
        name = fold(function["function_name"])
        if name in SYSTEM_FUNCTIONS:
            self._statement.system_views.append(f"{name}()")
        elif name not in TABLE_FUNCTIONS:
            raise InvalidArgumentError(
                f"client.sql() reads collections alone: the table function {name!r} is not allowed, only "
                f"{', '.join(sorted(TABLE_FUNCTIONS))}."
            )
        # The name is checked; the rest are its arguments.
        for key, value in function.items():
            if key != "function_name":
                self._any(value, scope, ctes)
        for key, value in ref.items():
            if key not in ("function", "type", "alias"):
                self._any(value, scope, ctes)
        scope.tables[fold(alias or name)] = None

    def _show(self, ref: dict[str, Any], scope: Scope, ctes: dict[str, str]) -> None:
        scope.tables[fold(ref.get("alias") or "")] = None
        query = ref.get("query")
        if query is not None:
            inner = self.query(query, scope, ctes)
            table = query.get("from_table") or {}
            # DuckDB reads DESCRIBE of a table as DESCRIBE of a SELECT * that the text does not hold.
            unwritten = all(one["query_location"] == _NO_PLACE for one in query["select_list"])
            if table.get("type") == "BASE_TABLE" and unwritten and ref["show_type"] != "SUMMARY":
                self._statement.described_tables.update(
                    name for name in inner.tables.values() if name is not None
                )
            return
        path = _path(ref)
        if ref["show_type"] in ("SHOW_SPECIAL", "SHOW_FROM") or path[-1].startswith(("__", '"')):
            self._statement.system_views.append("SHOW " + path[-1].strip('"_').replace("_", " "))
            return
        inner = Scope(scope)
        self._base_table({**ref, "table_name": path[-1]}, "", inner, ctes)
        self._mark_starred(inner, "")
        self._statement.described_tables.update(
            name for name in inner.tables.values() if name is not None
        )

    # -- expressions --------------------------------------------------------------------------

    def _any(self, value: Any, scope: Scope, ctes: dict[str, str]) -> None:
        if isinstance(value, list):
            for one in value:
                self._any(one, scope, ctes)
        elif isinstance(value, dict):
            kind = value.get("type")
            if "class" in value:
                self._expression(value, scope, ctes)
            elif isinstance(kind, str) and (kind.endswith("_NODE") or "cte_map" in value):
                self.query(value, scope, ctes)
            elif isinstance(kind, str) and kind not in MODIFIERS:
                raise InvalidArgumentError(
                    f"client.sql() does not know this part of a query and refuses it: {_words(kind)}."
                )
            else:
                for one in value.values():
                    self._any(one, scope, ctes)

    def _expression(self, node: dict[str, Any], scope: Scope, ctes: dict[str, str]) -> None:
        kind = node["class"]
        if kind not in EXPRESSIONS:
            raise InvalidArgumentError(
                f"client.sql() does not know this kind of expression and refuses it: {_words(kind)}."
            )
        self._define([node.get("alias") or ""])
        if kind == "CONSTANT":
            return
        if kind == "COLUMN_REF":
            self._column(tuple(node["column_names"]), scope)
            return
        if kind == "PARAMETER":
            self._statement.parameters.add(node["identifier"])
            return
        if kind == "STAR":
            self._star(node, scope, ctes)
            return
        if kind in ("FUNCTION", "WINDOW"):
            self._function(node, scope)
        if kind == "LAMBDA":
            self._define(_lambda_names(node["lhs"]))
        for key, value in node.items():
            # A type holds no expressions.
            if key not in ("class", "type", "alias", "cast_type"):
                self._any(value, scope, ctes)

    def _function(self, node: dict[str, Any], scope: Scope) -> None:
        name = node["function_name"]
        if REFUSED_FUNCTION.fullmatch(name):
            raise InvalidArgumentError(
                f"client.sql() reads collections alone: the function {name!r} is not allowed."
            )
        # DuckDB reads the column of ``text.upper()`` as a schema.
        before = tuple(part for part in (node.get("catalog"), node.get("schema")) if part)
        if before:
            self._column(before, scope)
        if fold(name) == "columns":
            self._mark_starred(scope, "")

    def _column(self, parts: tuple[str, ...], scope: Scope) -> None:
        self._statement.columns.append(ColumnUse(parts, scope))

    def _star(self, node: dict[str, Any], scope: Scope, ctes: dict[str, str]) -> None:
        self._mark_starred(scope, node.get("relation_name") or "")
        for one in node.get("exclude_list") or ():
            self._column((_name_of(one),), scope)
        for one in node.get("qualified_exclude_list") or ():
            self._column(_column_path(one), scope)
        for one in node.get("rename_list") or ():
            self._column(_column_path(one["key"]), scope)
            self._define([one["value"]])
        for one in node.get("replace_list") or ():
            self._column((one["key"],), scope)
            self._any(one["value"], scope, ctes)
        self._any(node.get("expr"), scope, ctes)

    def _mark_starred(self, scope: Scope, alias: str) -> None:
        tables = [scope.find(alias)[1]] if alias else list(scope.tables.values())
        self._statement.starred.update(table for table in tables if table is not None)


def _is_orderless(node: dict[str, Any]) -> bool:
    """Say whether a SELECT gives the same answer for every order of the rows that it reads."""
    selected = node["select_list"]
    called = list(_functions([selected, node["having"], node["qualify"]]))
    if any(name is None or _ORDERED.fullmatch(name) for name in called):
        return False
    if node["group_expressions"] or any(
        one["type"] == "ORDER_MODIFIER" for one in node["modifiers"]
    ):
        return True
    return all(
        one["class"] == "FUNCTION" and fold(one["function_name"]) in _ORDERLESS for one in selected
    )


def _functions(value: Any) -> Iterator[str | None]:
    """Yield the names of the functions that are called, None for a window function."""
    if isinstance(value, list):
        for one in value:
            yield from _functions(one)
    elif isinstance(value, dict) and value.get("class") != "CONSTANT":
        if value.get("class") == "WINDOW":
            yield None
        elif value.get("class") == "FUNCTION":
            yield value["function_name"]
        for one in value.values():
            yield from _functions(one)


def _path(ref: dict[str, Any]) -> tuple[str, ...]:
    found = ref.get("qualified_name")
    if found:
        return tuple(found["path"]) or ("",)
    before = (part for part in (ref.get("catalog_name"), ref.get("schema_name")) if part)
    return (*before, ref.get("table_name") or "")


def _column_path(node: dict[str, Any]) -> tuple[str, ...]:
    return tuple(part for part in (node.get("table"), node["column"]) if part)


def _name_of(node: Any) -> str:
    return node if isinstance(node, str) else str(node["column"])


def _lambda_names(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for one in node for name in _lambda_names(one)]
    if not isinstance(node, dict):
        return []
    if node.get("class") == "COLUMN_REF":
        return list(node["column_names"])
    return [name for value in node.values() for name in _lambda_names(value)]


def _words(kind: object) -> str:
    return str(kind).removesuffix("_QUERY_NODE").removesuffix("_NODE").replace("_", " ")
