"""`Statement`: what one SQL statement names, read from DuckDB's own parse of it.

DuckDB writes the tree of a SELECT as JSON (``json_serialize_sql``). It is read here with lists of what is
known: a node, a table or an expression of any other kind is refused, so that what a later DuckDB brings is
shut out until somebody has looked at it. Nothing here knows which collections exist.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_SELECT = "client.sql() reads: give it one SELECT (or EXPLAIN). Use add, update, upsert and delete to write."

_QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLES = {
    "BASE_TABLE",
    "SUBQUERY",
    "JOIN",
    "TABLE_FUNCTION",
    "EXPRESSION_LIST",
    "EMPTY",
    "PIVOT",
    "SHOW_REF",
}
_EXPRESSIONS = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "DEFAULT",
    "FUNCTION",
    "LAMBDA",
    "LAMBDA_REF",
    "OPERATOR",
    "PARAMETER",
    "POSITIONAL_REFERENCE",
    "STAR",
    "SUBQUERY",
    "TYPE",
    "WINDOW",
}
_MODIFIERS = {
    "ORDER_MODIFIER",
    "LIMIT_MODIFIER",
    "LIMIT_PERCENT_MODIFIER",
    "DISTINCT_MODIFIER",
    "ORDER_DEFAULT",
    "ASCENDING",
    "DESCENDING",
}
#: Functions that stand where a table does, and read nothing but their arguments.
_TABLE_FUNCTIONS = {
    "range",
    "generate_series",
    "unnest",
    "json_each",
    "json_tree",
    "repeat",
    "repeat_row",
}
#: Functions and schemas that say what there is; `Statement.catalogue` names those that are used.
_CATALOGUE_FUNCTIONS = {
    "duckdb_columns",
    "duckdb_databases",
    "duckdb_functions",
    "duckdb_keywords",
    "duckdb_schemas",
    "duckdb_tables",
    "duckdb_types",
    "duckdb_views",
}
_CATALOGUE_SCHEMAS = {"information_schema", "pg_catalog"}
#: Settings may hold what comes from the environment, such as the address of a proxy with its password.
_NOT_IN_CATALOGUE = {"pg_settings"}
#: Functions that run SQL which is not looked at here, read settings or files, or keep something. The
#: connection allows little of that anyway.
_REFUSED_FUNCTION = re.compile(
    r"(query|query_table|summary|getenv|get_env|current_setting|which_secret|write_log|"
    r"nextval|currval|setval|get_block_size|format_type|pg_get_\w+|duckdb_\w+|pragma_\w+|chroma_nb_\w+|"
    r"json_(serialize|deserialize|execute)_\w+|(read|write|parquet|copy|import|export|attach|install|load|"
    r"enable|disable|force|python|pandas|arrow|sniff|__internal)_\w+|glob|checkpoint|\w*_scan)",
    re.IGNORECASE,
)
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
_EXPLAIN_OPTIONS = {
    "ANALYZE",
    "ANALYSE",
    "FORMAT",
    "VERBOSE",
    "COSTS",
    "SETTINGS",
    "TIMING",
    "SUMMARY",
}
#: The place of what does not stand in the text itself.
_NO_PLACE = 2**64 - 1


def fold(name: str) -> str:
    """Return a name as DuckDB compares names: only A to Z lose their case."""
    return name.translate(_FOLDING)


_FOLDING = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


@dataclass(eq=False)
class Scope:
    """One SELECT: the tables that its column names can mean, and the SELECT around it."""

    outer: Scope | None = None
    #: Alias, folded -> the table as written; None for what the query makes itself.
    tables: dict[str, str | None] = field(default_factory=dict)
    #: The order of the rows that it reads makes no difference.
    is_orderless: bool = False

    def chain(self) -> Iterator[Scope]:
        """Yield this one and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def find(self, alias: str) -> tuple[bool, str | None]:
        """Say whether there is a table of this alias, and return its name where it is not made here."""
        for scope in self.chain():
            if fold(alias) in scope.tables:
                return True, scope.tables[fold(alias)]
        return False, None


@dataclass(frozen=True)
class ColumnUse:
    """A column name where it stands: one part, or several with a table, or with a field, before or after."""

    parts: tuple[str, ...]
    scope: Scope

    @property
    def name(self) -> str:
        """The column's name."""
        return self.parts[1] if self.is_of_one_table else self.parts[0]

    @property
    def is_of_one_table(self) -> bool:
        """The table is named before the column."""
        return len(self.parts) > 1 and self.scope.find(self.parts[0])[0]

    def levels(self) -> Iterator[list[str | None]]:
        """Yield the tables that may be meant, those of the innermost SELECT first.

        A table is None where the query makes it itself.
        """
        if self.is_of_one_table:
            yield [self.scope.find(self.parts[0])[1]]
        else:
            for scope in self.scope.chain():
                yield list(scope.tables.values())


@dataclass
class Statement:
    """What one statement names.

    Attributes:
        text: The SELECT, without EXPLAIN.
        is_explain: Its plan is asked for, not its answer.
        tables: Every name that stands for a table and is none of the query's own, as written.
        shadowed: Names of the query's own tables.
        whole: Tables all of whose columns are meant (``*`` and the like), as written.
        described: Tables that DESCRIBE is asked about.
        unordered: Tables whose rows are read in any order, wherever they are read.
        columns: Column names and where they stand.
        defined: Names that the query itself gives to columns, folded.
        catalogue: What it asks about what there is, rather than about records.
        parameters: Names of its parameters; numbers for those without one.
    """

    text: str
    is_explain: bool = False
    tables: list[str] = field(default_factory=list)
    qualified: list[tuple[str, ...]] = field(default_factory=list)
    shadowed: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    described: set[str] = field(default_factory=set)
    unordered: set[str] = field(default_factory=set)
    columns: list[ColumnUse] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)
    catalogue: list[str] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)
    #: The one table of a query that has nothing but it, a ``*`` and columns that it names.
    starred_alone: str | None = None

    def names(self) -> set[str]:
        """Return the names of columns that it uses, as written."""
        return {use.name for use in self.columns}


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
    text, is_explain = _without_explain(query)
    tree = parse(cursor, text)
    statement = Statement(text, is_explain)
    reader = _Reader(statement)
    try:
        reader.query(tree, None, {})
        reader.finish()
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
            # The same again, for the words that name the place.
            try:
                cursor.extract_statements(text)
            except duckdb.ParserException as error:
                raise InvalidArgumentError(f"This SQL cannot be read: {error}") from error
        raise NotSelectError(f"{ONE_SELECT} Got {text[:80]!r}.")
    statements = parsed["statements"]
    if len(statements) != 1:
        raise InvalidArgumentError(f"{ONE_SELECT} Got {len(statements)}: {text[:80]!r}.")
    tree: dict[str, Any] = statements[0]["node"]
    return tree


@dataclass(frozen=True)
class Token:
    """A word or a sign: where it begins and the next one begins, in bytes of UTF-8."""

    start: int
    stop: int
    #: A word in capitals, or a sign's first character; empty for texts and quoted names.
    head: str


def tokens(text: str) -> list[Token]:
    """Return the words and signs of a text, without comments."""
    data = text.encode()
    try:
        found = duckdb.tokenize(text)
    except duckdb.Error:
        # Whatever it is, reading it says so.
        return []
    stops = [start for start, _ in found] + [len(data)]
    out = []
    for (start, kind), stop in zip(found, stops[1:], strict=True):
        # Some versions leave comments out, and then they are behind the word before.
        if "comment" not in str(kind):
            word = re.match(rb"\w*", data[start:stop], re.ASCII)
            head = word[0] if word and word[0] else data[start : start + 1]
            out.append(Token(start, stop, "" if head in b"\"'$" else head.decode().upper()))
    return out


def first_word(text: str) -> str:
    """Return the first word of a text in capitals, or its first sign."""
    start = _BEFORE_WORDS.match(text)
    assert start is not None
    word = re.match(r"\w+|.", text[start.end() : start.end() + 20], re.ASCII)
    return word[0].upper() if word else ""


_BEFORE_WORDS = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)


def _without_explain(query: str) -> tuple[str, bool]:
    if first_word(query) != "EXPLAIN":
        return query, False
    found = tokens(query)
    if len(found) < 2 or found[0].head != "EXPLAIN":
        return query, False
    asked = found[2].head if found[1].head == "(" and len(found) > 2 else found[1].head
    if asked in _EXPLAIN_OPTIONS:
        raise InvalidArgumentError(
            f"client.sql() has EXPLAIN without options: EXPLAIN SELECT ... Got {query[:80]!r}."
        )
    return query.encode()[found[1].start :].decode(), True


class _Reader:
    """Walks through the tree."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        #: Tables whose order matters somewhere.
        self._ordered: set[str] = set()

    def query(self, node: dict[str, Any], outer: Scope | None, ctes: dict[str, str]) -> Scope:
        """Read a query; `ctes` are the tables that WITH has made, folded -> as written."""
        kind = node["type"]
        if kind not in _QUERIES:
            raise InvalidArgumentError(
                f"{ONE_SELECT} Got a part that does not read: {_words(kind)}."
            )
        scope = Scope(outer)
        before = ctes
        ctes = dict(before)
        for one in node["cte_map"]["map"]:
            # Each sees those before it, and not itself unless it is recursive.
            self._define(one["value"].get("aliases", ()))
            self._any(one["value"], Scope(outer), dict(ctes))
            ctes[fold(one["key"])] = one["key"]
        if kind in ("CTE_NODE", "RECURSIVE_CTE_NODE"):
            ctes[fold(node["cte_name"])] = node["cte_name"]
        self._statement.shadowed.update(ctes.values())
        if kind == "SELECT_NODE":
            scope.is_orderless = _is_orderless(node)
            self._table(node["from_table"], scope, ctes)
            self._find_starred(node, scope, outer)
        else:
            # Columns of what is put together here are the query's own.
            scope.tables[""] = None
            self._define(node.get("aliases", ()))
        self._modifiers(node, scope, ctes)
        for key, value in node.items():
            if key not in ("cte_map", "from_table", "cte_name", "aliases", "type", "modifiers"):
                # What WITH makes does not see itself, nor does what a recursion begins with.
                is_before = (kind, key) in (("CTE_NODE", "query"), ("RECURSIVE_CTE_NODE", "left"))
                self._any(value, scope, before if is_before else ctes)
        return scope

    def _modifiers(self, node: dict[str, Any], scope: Scope, ctes: dict[str, str]) -> None:
        """Read ORDER BY, LIMIT and DISTINCT."""
        given = {fold(one["alias"]) for one in node.get("select_list") or () if one.get("alias")}
        for modifier in node["modifiers"]:
            if modifier["type"] == "ORDER_MODIFIER":
                # A name by which the query itself calls a column means that one here, whatever else has it.
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
        """Note whose rows are meant as a whole, now that every table is known."""
        for use in self._statement.columns:
            found, table = use.scope.find(use.parts[0])
            if len(use.parts) == 1 and found and table is not None:
                self._statement.whole.add(table)

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
        if kind not in _TABLES:
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
                self._mark_whole(scope, "")
            for key in ("condition", "ranking_expression"):
                self._any(ref.get(key), scope, ctes)
        elif kind == "TABLE_FUNCTION":
            self._table_function(ref, alias, scope, ctes)
        elif kind == "SUBQUERY":
            # Its rows may depend on the tables beside it.
            self.query(ref["subquery"]["node"], scope, ctes)
            scope.tables[fold(alias)] = None
        elif kind == "PIVOT":
            source = Scope(scope)
            self._table(ref["source"], source, ctes)
            # Columns that it does not name are what it groups by.
            self._mark_whole(source, "")
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
            if fold(path[-2]) in _CATALOGUE_SCHEMAS and fold(name) not in _NOT_IN_CATALOGUE:
                self._statement.catalogue.append(".".join(path))
            else:
                self._statement.qualified.append(path)
            return
        own = ctes.get(fold(name))
        if own == name:
            scope.tables[fold(alias or name)] = None
            return
        # Told apart by case alone from a table that WITH makes: who knows the collections decides.
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
        if name in _CATALOGUE_FUNCTIONS:
            self._statement.catalogue.append(f"{name}()")
        elif name not in _TABLE_FUNCTIONS:
            raise InvalidArgumentError(
                f"client.sql() reads collections alone: the table function {name!r} is not allowed, only "
                f"{', '.join(sorted(_TABLE_FUNCTIONS))}."
            )
        # The name was looked at: the rest are its arguments.
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
            # DESCRIBE of a table is written as one of SELECT *, which stands nowhere in the text.
            unwritten = all(one["query_location"] == _NO_PLACE for one in query["select_list"])
            if table.get("type") == "BASE_TABLE" and unwritten and ref["show_type"] != "SUMMARY":
                self._statement.described.update(
                    name for name in inner.tables.values() if name is not None
                )
            return
        path = _path(ref)
        if ref["show_type"] in ("SHOW_SPECIAL", "SHOW_FROM") or path[-1].startswith(("__", '"')):
            self._statement.catalogue.append("SHOW " + path[-1].strip('"_').replace("_", " "))
            return
        inner = Scope(scope)
        self._base_table({**ref, "table_name": path[-1]}, "", inner, ctes)
        self._mark_whole(inner, "")
        self._statement.described.update(name for name in inner.tables.values() if name is not None)

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
            elif isinstance(kind, str) and kind not in _MODIFIERS:
                raise InvalidArgumentError(
                    f"client.sql() does not know this part of a query and refuses it: {_words(kind)}."
                )
            else:
                for one in value.values():
                    self._any(one, scope, ctes)

    def _expression(self, node: dict[str, Any], scope: Scope, ctes: dict[str, str]) -> None:
        kind = node["class"]
        if kind not in _EXPRESSIONS:
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
            # A type as DuckDB keeps it has no expressions in it.
            if key not in ("class", "type", "alias", "cast_type"):
                self._any(value, scope, ctes)

    def _function(self, node: dict[str, Any], scope: Scope) -> None:
        name = node["function_name"]
        if _REFUSED_FUNCTION.fullmatch(name):
            raise InvalidArgumentError(
                f"client.sql() reads collections alone: the function {name!r} is not allowed."
            )
        # ``text.upper()`` is a function of the column, written as one of a schema.
        before = tuple(part for part in (node.get("catalog"), node.get("schema")) if part)
        if before:
            self._column(before, scope)
        if fold(name) == "columns":
            self._mark_whole(scope, "")

    def _column(self, parts: tuple[str, ...], scope: Scope) -> None:
        self._statement.columns.append(ColumnUse(parts, scope))

    def _star(self, node: dict[str, Any], scope: Scope, ctes: dict[str, str]) -> None:
        self._mark_whole(scope, node.get("relation_name") or "")
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

    def _mark_whole(self, scope: Scope, alias: str) -> None:
        tables = [scope.find(alias)[1]] if alias else list(scope.tables.values())
        self._statement.whole.update(table for table in tables if table is not None)


def _is_orderless(node: dict[str, Any]) -> bool:
    """Say whether a SELECT gives the same, whatever the order of the rows that it reads."""
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
    """Yield the functions that are called; None for a window."""
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
