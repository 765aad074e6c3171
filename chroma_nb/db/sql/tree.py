"""`read_statement`: one SQL statement, checked and read from DuckDB's own parse of it.

DuckDB writes the tree of a SELECT as JSON (``json_serialize_sql``). A walk through it refuses what is not in the
lists of `allowed`, and notes the names that the statement uses. Nothing here knows which collections exist.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb

from chroma_nb.db.sql.allowed import (
    EXPRESSIONS,
    FILE_FUNCTION,
    FILES,
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
from chroma_nb.db.sql.nodes import (
    arguments,
    cannot_name_field,
    column_path,
    is_orderless,
    lambda_names,
    name_of,
    pattern_of,
    stars_of,
    table_path,
    text_of,
    type_of,
    words,
)
from chroma_nb.db.sql.statement import ColumnUse, MadeTable, Scope, Statement
from chroma_nb.db.sql.tokens import without_explain
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from chroma_nb.db.sql.statement import Source

_ONE_SELECT = "client.sql() reads: give it one SELECT (or EXPLAIN). Use add, update, upsert and delete to write."

#: Functions that take a lambda.
_LAMBDA_FUNCTION = re.compile(r"((list|array)_)?(transform|apply|filter|reduce)", re.IGNORECASE)
#: Tables of WITH: name, folded -> as written, and the table.
_Ctes: TypeAlias = "dict[str, tuple[str, MadeTable]]"
#: `query_location` of a node that DuckDB has added: the text does not hold it.
_NO_PLACE = 2**64 - 1


def read_statement(cursor: duckdb.DuckDBPyConnection, query: object) -> Statement:
    """Read one SELECT, or EXPLAIN of one.

    Raises:
        InvalidArgumentError: Not one SELECT, or one with a part that is not allowed.
        NotSelectError: DuckDB knows the statement as something else: one that writes, or a PIVOT whose
            columns depend on its rows.
        UnreadableError: DuckDB's parser does not understand it.
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


class UnreadableError(InvalidArgumentError):
    """DuckDB's parser does not understand the statement."""


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
                raise UnreadableError(f"This SQL cannot be read: {error}") from error
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
        #: Stars that stand for columns, by id() of their nodes.
        self._plain_stars: set[int] = set()

    def query(self, node: dict[str, Any], outer: Scope | None, ctes: _Ctes) -> Scope:
        """Read a query; `ctes` are the tables that WITH has made, folded -> as written, and the table."""
        kind = node["type"]
        if kind not in QUERIES:
            raise InvalidArgumentError(
                f"{_ONE_SELECT} Got a part that does not read: {words(kind)}."
            )
        scope = Scope(outer)
        before = ctes
        ctes = dict(before)
        for entry in node["cte_map"]["map"]:
            # A table of WITH sees those before it. It sees itself only if it is recursive.
            ctes[fold(entry["key"])] = entry["key"], self._with(entry["value"], outer, dict(ctes))
        own = MadeTable()
        if kind in ("CTE_NODE", "RECURSIVE_CTE_NODE"):
            ctes[fold(node["cte_name"])] = node["cte_name"], own
        self._statement.cte_names.update(name for name, _ in ctes.values())
        read = {"cte_map", "from_table", "cte_name", "aliases", "type", "modifiers"}
        if kind == "SELECT_NODE":
            scope.is_orderless = is_orderless(node)
            self._table(node["from_table"], scope, ctes)
            self._find_starred(node, scope, outer)
            self._select(node["select_list"], scope)
        else:
            # The columns of a UNION and the like are the query's own.
            scope.add("", scope.made)
            read |= {"children", "left", "right", "query", "child"}
            if kind == "SET_OPERATION_NODE":
                parts = [
                    self.query(part, scope, ctes).made
                    for part in node.get("children") or (node["left"], node["right"])
                ]
                if str(node["setop_type"]).endswith("BY_NAME"):
                    self._match(parts, "UNION BY NAME")
                else:
                    parts = parts[:1]
            else:
                # A table of WITH does not see itself, and neither does the first part of a recursion.
                first, second = ("query", "child") if kind == "CTE_NODE" else ("left", "right")
                made = self.query(node[first], scope, before).made
                own.stars.append((made.renamed(node.get("aliases") or ()), frozenset()))
                last = self.query(node[second], scope, ctes).made
                parts = [last if kind == "CTE_NODE" else made]
            for part in parts:
                scope.made.include(part)
        self._modifiers(node, scope, ctes)
        for key, value in node.items():
            if key not in read:
                self._any(value, scope, ctes)
        return scope

    def _with(self, value: dict[str, Any], outer: Scope | None, ctes: _Ctes) -> MadeTable:
        """Read what WITH says of one table, and return it."""
        # DuckDB before 2 has it within "query".
        node = value.get("query_node") or value["query"]["node"]
        for key, other in value.items():
            if key not in ("query_node", "query", "aliases"):
                self._any(other, Scope(outer), ctes)
        names = value.get("aliases") or ()
        if node["type"] == "RECURSIVE_CTE_NODE":
            # What reads itself sees the new names.
            node = {**node, "aliases": node.get("aliases") or names}
        return self.query(node, Scope(outer), ctes).made.renamed(names)

    def _select(self, selected: list[dict[str, Any]], scope: Scope) -> None:
        """Note the names of what a SELECT gives."""
        made = scope.made
        for column in selected:
            if column["class"] == "STAR":
                self._plain_stars.add(id(column))
            if column.get("alias"):
                made.own.add(column["alias"])
            elif column["class"] == "COLUMN_REF":
                made.uses.append(ColumnUse(tuple(column["column_names"]), scope))
            else:
                for star in stars_of(column):
                    alias = star.get("relation_name") or ""
                    renamed = [column_path(each["key"]) for each in star.get("rename_list") or ()]
                    without: list[tuple[str, ...]] = [
                        (name_of(each),) for each in star.get("exclude_list") or ()
                    ]
                    without += [
                        column_path(each) for each in star.get("qualified_exclude_list") or ()
                    ]
                    names = {fold(path[0]) for path in (*renamed, *without) if len(path) == 1}
                    made.stars += [(table, frozenset(names)) for table in _meant(scope, alias)]
                    made.own.update(each["value"] for each in star.get("rename_list") or ())
        scope.given.update(map(fold, made.own))

    def _match(self, tables: list[MadeTable], what: str) -> None:
        first: list[Source] = []
        for table in tables:
            if first:
                self._statement.matched.append((list(first), [table], what))
            first.append(table)

    def _modifiers(self, node: dict[str, Any], scope: Scope, ctes: _Ctes) -> None:
        """Read ORDER BY, LIMIT and DISTINCT."""
        given = {
            fold(column["alias"]) for column in node.get("select_list") or () if column.get("alias")
        }
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
            table = use.row_of
            if table is not None and not use.is_argument:
                self._use_row(table)

    def _use_row(self, table: Source) -> None:
        if table not in self._statement.rows:
            self._statement.rows.append(table)
        if isinstance(table, str):
            self._statement.starred.add(table)

    def _find_starred(self, node: dict[str, Any], scope: Scope, outer: Scope | None) -> None:
        selected = node["select_list"]
        if outer is None and len(scope.tables) == 1 and node["from_table"]["type"] == "BASE_TABLE":
            stars = [
                column for column in selected if column["class"] == "STAR" and not column["columns"]
            ]
            plain = [
                column
                for column in selected
                if column["class"] == "COLUMN_REF" and not column["alias"]
            ]
            if len(stars) == 1 and len(stars) + len(plain) == len(selected):
                table = next(iter(scope.tables.values()))
                self._statement.starred_alone = table if isinstance(table, str) else None

    # -- tables -------------------------------------------------------------------------------

    def _table(self, ref: dict[str, Any] | None, scope: Scope, ctes: _Ctes) -> None:
        if ref is None:
            return
        kind = ref["type"]
        if kind not in TABLES:
            raise InvalidArgumentError(
                f"client.sql() does not know this kind of table and refuses it: {words(kind)}."
            )
        alias = ref.get("alias") or ""
        names = ref.get("column_name_alias") or ()
        if kind == "BASE_TABLE":
            self._base_table(ref, alias, scope, ctes)
        elif kind == "JOIN":
            before = list(scope.tables)
            self._table(ref["left"], scope, ctes)
            between = list(scope.tables)
            self._table(ref["right"], scope, ctes)
            for name in ref["using_columns"]:
                self._column((name,), scope)
            if ref["ref_type"] == "NATURAL":
                self._mark_starred(scope, "")
                left = [scope.tables[key] for key in between if key not in before]
                right = [table for key, table in scope.tables.items() if key not in between]
                self._statement.matched.append((left, right, "NATURAL JOIN"))
            for key in ("condition", "ranking_expression"):
                self._any(ref.get(key), scope, ctes)
        elif kind == "TABLE_FUNCTION":
            self._table_function(ref, alias, scope, ctes)
        elif kind == "SUBQUERY":
            # It sees the tables beside it (LATERAL).
            made = self.query(ref["subquery"]["node"], scope, ctes).made
            scope.add(alias, made.renamed(names))
        elif kind == "PIVOT":
            source = Scope(scope)
            self._table(ref["source"], source, ctes)
            # It groups by all columns that it does not name.
            self._mark_starred(source, "")
            for name in ref.get("groups") or ():
                self._column((name,), source)
            made = MadeTable([(table, frozenset()) for table in source.tables.values()])
            for pivot in (ref, *ref["pivots"]):
                made.own.update(pivot.get("unpivot_names") or ())
            for pivot in ref["pivots"]:
                if pivot.get("unpivot_names"):
                    # DuckDB before 2 has the columns of UNPIVOT as texts.
                    for entry in pivot["entries"]:
                        for value in entry.get("values") or ():
                            self._column((str(value["value"]),), source)
            self._any([ref["aggregates"], ref["pivots"]], source, ctes)
            scope.add(alias, made.renamed(names))
        elif kind == "SHOW_REF":
            self._show(ref, scope, ctes)
        else:
            self._any(ref.get("values"), scope, ctes)
            scope.add(alias, MadeTable(own=set(names)))

    def _base_table(self, ref: dict[str, Any], alias: str, scope: Scope, ctes: _Ctes) -> None:
        path = table_path(ref)
        name = path[-1]
        names = ref.get("column_name_alias") or ()
        scope.given.update(map(fold, names))
        self._any(ref.get("at_clause"), scope, ctes)
        if len(path) > 1:
            scope.add(alias or name, MadeTable(own=set(names)))
            if fold(path[-2]) in SYSTEM_SCHEMAS and fold(name) not in REFUSED_SYSTEM_VIEWS:
                self._statement.system_views.append(".".join(path))
            else:
                self._statement.qualified.append(path)
            return
        own = ctes.get(fold(name))
        if own is not None and own[0] == name:
            scope.add(alias or name, own[1].renamed(names))
            return
        # WITH may make a table whose name differs in case alone. `query` decides, as it knows the collections.
        scope.add(alias or name, name)
        self._use(name, scope)

    def _use(self, name: str, scope: Scope) -> None:
        statement = self._statement
        statement.tables.append(name)
        if scope.is_orderless and name not in self._ordered:
            statement.unordered.add(name)
        else:
            self._ordered.add(name)
            statement.unordered.discard(name)

    def _table_function(self, ref: dict[str, Any], alias: str, scope: Scope, ctes: _Ctes) -> None:
        function = ref["function"]
        name = fold(function["function_name"])
        if name in SYSTEM_FUNCTIONS:
            self._statement.system_views.append(f"{name}()")
        elif name not in TABLE_FUNCTIONS:
            what = (
                FILES
                if FILE_FUNCTION.fullmatch(name)
                else f"Allowed are {', '.join(sorted(TABLE_FUNCTIONS))}."
            )
            raise InvalidArgumentError(
                f"client.sql() reads collections alone: the table function {name!r} is not allowed. {what}"
            )
        # The name is checked; the rest are its arguments.
        for key, value in function.items():
            if key != "function_name":
                self._any(value, scope, ctes)
        for key, value in ref.items():
            if key not in ("function", "type", "alias"):
                self._any(value, scope, ctes)
        scope.add(alias or name, MadeTable(own=set(ref.get("column_name_alias") or ())))

    def _show(self, ref: dict[str, Any], scope: Scope, ctes: _Ctes) -> None:
        scope.add(ref.get("alias") or "", MadeTable())
        query = ref.get("query")
        if query is not None:
            inner = self.query(query, scope, ctes)
            table = query.get("from_table") or {}
            # DuckDB reads DESCRIBE of a table as DESCRIBE of a SELECT * that the text does not hold.
            unwritten = all(
                column["query_location"] == _NO_PLACE for column in query["select_list"]
            )
            if table.get("type") == "BASE_TABLE" and unwritten and ref["show_type"] != "SUMMARY":
                self._statement.described_tables.update(
                    name for name in inner.tables.values() if isinstance(name, str)
                )
            return
        path = table_path(ref)
        if ref["show_type"] in ("SHOW_SPECIAL", "SHOW_FROM") or path[-1].startswith(("__", '"')):
            self._statement.system_views.append("SHOW " + path[-1].strip('"_').replace("_", " "))
            return
        inner = Scope(scope)
        self._base_table({**ref, "table_name": path[-1]}, "", inner, ctes)
        self._mark_starred(inner, "")
        self._statement.described_tables.update(
            name for name in inner.tables.values() if isinstance(name, str)
        )

    # -- expressions --------------------------------------------------------------------------

    def _any(self, value: Any, scope: Scope, ctes: _Ctes) -> None:
        if isinstance(value, list):
            for part in value:
                self._any(part, scope, ctes)
        elif isinstance(value, dict):
            kind = value.get("type")
            if "class" in value:
                self._expression(value, scope, ctes)
            elif isinstance(kind, str) and (kind.endswith("_NODE") or "cte_map" in value):
                self.query(value, scope, ctes)
            elif isinstance(kind, str) and kind not in MODIFIERS:
                raise InvalidArgumentError(
                    f"client.sql() does not know this part of a query and refuses it: {words(kind)}."
                )
            else:
                for part in value.values():
                    self._any(part, scope, ctes)

    def _expression(self, node: dict[str, Any], scope: Scope, ctes: _Ctes) -> None:
        kind = node["class"]
        if kind not in EXPRESSIONS:
            raise InvalidArgumentError(
                f"client.sql() does not know this kind of expression and refuses it: {words(kind)}."
            )
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
        if node["type"] in ("ARRAY_EXTRACT", "STRUCT_EXTRACT"):
            self._fields(node["children"][1:])
        if kind == "CAST" and "struct" in type_of(node):
            self._statement.computed_fields = True
        has_lambda = kind == "FUNCTION" and _LAMBDA_FUNCTION.fullmatch(node["function_name"])
        for key, value in node.items():
            # A type holds no expressions.
            if key in ("class", "type", "alias", "cast_type"):
                continue
            if has_lambda and key in ("arguments", "children"):
                for argument in value:
                    self._argument(argument.get("expression", argument), scope, ctes)
            else:
                self._any(value, scope, ctes)

    def _argument(self, node: dict[str, Any], scope: Scope, ctes: _Ctes) -> None:
        """Read what a function that takes a lambda is given. Elsewhere an arrow reads JSON."""
        if node["class"] == "LAMBDA":
            scope = scope.within_lambda(lambda_names(node["lhs"]))
        self._any(node, scope, ctes)

    def _fields(self, names: list[dict[str, Any]]) -> None:
        """Note the fields that are taken out of a value."""
        for name in names:
            text = text_of(name)
            if text is not None:
                self._statement.fields.append(text)
            elif not cannot_name_field(name):
                self._statement.computed_fields = True

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
        if fold(name) == "struct_pack":
            # Fields without a name of their own get that of the column.
            uses = [
                ColumnUse(tuple(field["column_names"]), scope)
                for field in arguments(node)
                if field["class"] == "COLUMN_REF" and not field.get("alias")
            ]
            self._use_row(MadeTable(uses=uses))
        pattern = pattern_of(node)
        if pattern is not None:
            self._pattern(pattern)
        if fold(name) in ("array_extract", "struct_extract"):
            self._fields([part for part in arguments(node) if part["class"] != "COLUMN_REF"])

    def _pattern(self, node: dict[str, Any]) -> None:
        """Note a regular expression. What one is that differs from row to row, or is computed, is not known here."""
        text = text_of(node)
        if text is not None:
            self._statement.patterns.append(text)
        elif node["class"] == "PARAMETER":
            self._statement.pattern_parameters.add(node["identifier"])

    def _column(self, parts: tuple[str, ...], scope: Scope) -> None:
        self._statement.columns.append(ColumnUse(parts, scope))

    def _star(self, node: dict[str, Any], scope: Scope, ctes: _Ctes) -> None:
        self._mark_starred(scope, node.get("relation_name") or "")
        if id(node) not in self._plain_stars:
            # Within an expression it may make a value of all columns.
            for table in _meant(scope, node.get("relation_name") or ""):
                self._use_row(table)
        for column in node.get("exclude_list") or ():
            self._column((name_of(column),), scope)
        for column in node.get("qualified_exclude_list") or ():
            self._column(column_path(column), scope)
        for column in node.get("rename_list") or ():
            self._column(column_path(column["key"]), scope)
        for column in node.get("replace_list") or ():
            self._column((column["key"],), scope)
            self._any(column["value"], scope, ctes)
        expression = node.get("expr")
        if expression is None:
            return
        called = fold(expression["function_name"]) if expression["class"] == "FUNCTION" else ""
        names = arguments(expression) if called == "list_value" else []
        texts = [text for name in names if (text := text_of(name)) is not None]
        if len(texts) < len(names) or (
            called not in ("list_value", "list_filter") and expression["class"] != "CONSTANT"
        ):
            raise InvalidArgumentError(
                "COLUMNS needs what it selects written out: COLUMNS(['a', 'b']) for names, COLUMNS('pattern') for "
                "those that match."
            )
        for text in texts:
            # Case does not count for DuckDB here, as it does in a pattern.
            self._column((text,), scope)
        for argument in arguments(expression):
            self._plain_stars.add(id(argument))
            self._argument(argument, scope, ctes)

    def _mark_starred(self, scope: Scope, alias: str) -> None:
        self._statement.starred.update(
            table for table in _meant(scope, alias) if isinstance(table, str)
        )


def _meant(scope: Scope, alias: str) -> list[Source]:
    """Return the tables whose columns a star means."""
    if not alias:
        return list(scope.tables.values())
    table = scope.find(alias)
    return [] if table is None else [table]
