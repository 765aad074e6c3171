"""`read_query`: checks the tree of a query, and puts names that nobody can guess in the place of its tables.

The tree is ClickHouse's own (`nodes`). Kinds of nodes and their fields are allow-lists, as in `allowed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chroma_nb.db.clickhouse.sql.allowed import (
    MEMBERSHIP,
    TABLE_FUNCTIONS,
    is_answered_alone,
    is_function,
)
from chroma_nb.db.clickhouse.sql.nodes import Node, call
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.db.clickhouse.sql.errors import Known
    from chroma_nb.db.clickhouse.sql.parameters import Parameters

#: Names of tables that a query makes -> what they are called in their place.
Scope = dict[str, str]

_FALSE_ALONE = ("is_outfile_append", "is_outfile_truncate", "is_into_outfile_with_stdout")
#: Kind of node -> its fields that are looked into, and those that are taken as they are.
_NODES: dict[str, tuple[str, str]] = {
    "SelectWithUnionQuery": ("list_of_selects", "union_mode list_of_modes"),
    "SelectQuery": (
        "with select tables where group_by having window qualify order_by interpolate limit_by limit_by_length "
        "limit_by_offset limit_length limit_offset cte_aliases",
        "distinct recursive_with group_by_with_rollup group_by_with_cube group_by_with_totals "
        "group_by_with_grouping_sets group_by_all order_by_all limit_with_ties",
    ),
    "ExpressionList": ("children", ""),
    "WithElement": ("subquery aliases", "name is_materialized"),
    "Subquery": ("children", "alias"),
    "Literal": ("", "value alias"),
    "Identifier": ("", "name name_parts alias"),
    "QueryParameter": ("", "name param_type alias"),
    "Function": (
        "arguments parameters window_definition",
        "name alias is_operator is_lambda_function is_window_function kind window_name nulls_action",
    ),
    "Asterisk": ("transformers", ""),
    "QualifiedAsterisk": ("qualifier transformers", ""),
    "ColumnsListMatcher": ("column_list transformers", ""),
    "ColumnsRegexpMatcher": ("transformers", "pattern"),
    "QualifiedColumnsListMatcher": ("qualifier column_list transformers", ""),
    "QualifiedColumnsRegexpMatcher": ("qualifier transformers", "pattern"),
    "ColumnsTransformerList": ("children", ""),
    "ColumnsExceptTransformer": ("children", "pattern"),
    "ColumnsReplaceTransformer": ("children", ""),
    "ColumnsReplaceTransformerReplacement": ("children", "name"),
    "ColumnsApplyTransformer": ("lambda parameters", "func_name lambda_arg"),
    "TablesInSelectQuery": ("children", ""),
    "TablesInSelectQueryElement": ("table_expression table_join array_join", ""),
    "TableExpression": ("database_and_table_name subquery table_function column_aliases", ""),
    "TableIdentifier": ("", "name name_parts alias"),
    "TableJoin": (
        "using_expression_list on_expression",
        "kind strictness is_natural",
    ),
    "ArrayJoin": ("expression_list", "kind"),
    "OrderByElement": (
        "expression collation fill_from fill_to fill_step fill_staleness",
        "direction nulls_direction nulls_direction_was_explicitly_specified with_fill",
    ),
    "InterpolateElement": ("expr", "column"),
    "WindowListElement": ("definition", "name"),
    "WindowDefinition": (
        "partition_by order_by frame_begin_offset frame_end_offset",
        "frame_is_default frame_type frame_begin_type frame_begin_preceding frame_end_type frame_end_preceding "
        "parent_window_name",
    ),
}
_FIELDS = {kind: (inner.split(), plain.split()) for kind, (inner, plain) in _NODES.items()}

_DATAFRAME = "client.sql() returns a DataFrame: leave {} out."
_SETTINGS = "client.sql() has settings of its own: leave SETTINGS out."
#: What is refused with a sentence of its own: the field or the node -> the sentence.
_REFUSED = {
    "settings": _SETTINGS,
    "settings_ast": _SETTINGS,
    "SetQuery": _SETTINGS,
    "format_ast": _DATAFRAME.format("FORMAT"),
    "out_file": _DATAFRAME.format("INTO OUTFILE"),
    "compression": _DATAFRAME.format("INTO OUTFILE"),
    # Of a name: the parameter that it would be.
    "children": (
        'client.sql() takes no names as parameters ({name:Identifier}). Write names into the query; quoted ("name") they may '
        "be anything."
    ),
    "final": "FINAL is for tables of ClickHouse; a collection has its newest records alone. Leave it out.",
    "sample_size": "A collection cannot be sampled by SAMPLE. Write ORDER BY rand() LIMIT n.",
    "sample_offset": "A collection cannot be sampled by SAMPLE. Write ORDER BY rand() LIMIT n.",
    "prewhere": "PREWHERE is for tables of ClickHouse. Write WHERE.",
    "locality": "GLOBAL is for tables on several servers. Leave it out.",
}
ONE_SELECT = (
    "client.sql() takes one SELECT, which may begin with WITH; EXPLAIN and DESCRIBE of one; or SHOW TABLES. It reads "
    "collections alone, and changes nothing."
)


@dataclass
class Query:
    """A query whose tables have other names."""

    tree: Node
    #: Collection -> the name that stands for it.
    collections: dict[str, str] = field(default_factory=dict)
    #: Names that may be columns, where none is starred.
    names: set[str] = field(default_factory=set)
    #: Those of `names` that ClickHouse answers by itself where no column has them: see `is_answered_alone`.
    alone: set[str] = field(default_factory=set)
    #: It has a star, or a pattern, which may mean any column.
    is_starred: bool = False


def read_query(
    tree: Node, known: Known, parameters: Parameters, new_name: Callable[[], str]
) -> Query:
    """Check a query, and return it with other names for its tables and with its parameters filled in.

    Args:
        tree: As ClickHouse has read it.
        known: The collections.
        parameters: The values for ``$1``, ``$name`` and ``{name:Type}``.
        new_name: Returns a name that nobody can guess.

    Raises:
        InvalidArgumentError: It has what is not allowed, or a table that is not there.
    """
    if tree.get("type") != "SelectWithUnionQuery":
        raise InvalidArgumentError(ONE_SELECT)
    reader = _Reader(known, parameters, new_name)
    reader.query.tree = reader.node(tree, {})
    return reader.query


class _Reader:
    """Walks through one query."""

    def __init__(self, known: Known, parameters: Parameters, new_name: Callable[[], str]) -> None:
        self.query = Query({})
        self._known = known
        self._parameters = parameters
        self._new_name = new_name
        self._special: dict[str, Callable[[Node, Scope], Node]] = {
            "SelectWithUnionQuery": self._union,
            "SelectQuery": self._select,
            "Function": self._function,
            "Identifier": self._identifier,
            "TableIdentifier": self._table,
            "TableExpression": self._table_expression,
            "QueryParameter": self._parameter,
            "ColumnsApplyTransformer": self._apply,
        }

    def node(self, node: Node, scope: Scope) -> Node:
        """Return a node as it is run."""
        special = self._special.get(_kind(node))
        return self._plain(node, scope) if special is None else special(node, scope)

    def _plain(self, node: Node, scope: Scope) -> Node:
        _check(node)
        if node["type"].endswith(("Asterisk", "RegexpMatcher")):
            self.query.is_starred = True
        inner = _FIELDS[node["type"]][0]
        return {
            name: self._inner(value, scope) if name in inner else value
            for name, value in node.items()
        }

    def _inner(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list):
            return [self.node(one, scope) for one in value]
        return self.node(value, scope)

    # -- queries ------------------------------------------------------------------------------

    def _union(self, node: Node, scope: Scope) -> Node:
        _check(node)
        selects = node["list_of_selects"]
        _check(selects)
        # What the first one makes by WITH is there for the others, too.
        inside, made = dict(scope), []
        for place, select in enumerate(selects["children"]):
            if _kind(select) == "SelectQuery":
                made.append(self._select(select, inside, shared=place == 0))
            else:
                made.append(self.node(select, inside))
        return {**node, "list_of_selects": {**selects, "children": made}}

    def _select(self, node: Node, scope: Scope, *, shared: bool = False) -> Node:
        """Return one SELECT.

        Args:
            node: The SELECT.
            scope: The tables that queries around it have made.
            shared: The tables that it makes itself are put into `scope`.
        """
        _check(node)
        inside = scope if shared else dict(scope)
        made: Node = {}
        if "with" in node:
            elements = node["with"]
            _check(elements)
            recursive = bool(node.get("recursive_with"))
            made["with"] = {
                **elements,
                "children": [self._with(one, inside, recursive) for one in elements["children"]],
            }
        inner = _FIELDS["SelectQuery"][0]
        rest = {
            name: self._inner(value, inside) if name in inner else value
            for name, value in node.items()
            if name != "with"
        }
        return {**rest, **made}

    def _with(self, node: Node, scope: Scope, recursive: bool) -> Node:
        if _kind(node) != "WithElement":
            return self.node(node, scope)
        _check(node)
        name = node["name"]
        if name in self._known.collections:
            raise InvalidArgumentError(
                f"WITH makes a table {name!r}, and there is a collection of that name. Give the table another name."
            )
        stands_for = self._new_name()
        # Within itself its name means something else, unless it is recursive.
        within = {**scope, name: stands_for} if recursive else dict(scope)
        made = {**self._plain(node, within), "name": stands_for}
        scope[name] = stands_for
        return made

    # -- tables -------------------------------------------------------------------------------

    def _table_expression(self, node: Node, scope: Scope) -> Node:
        _check(node)
        function = node.get("table_function")
        if function is None:
            return self._plain(node, scope)
        _check(function)
        if function["name"] not in TABLE_FUNCTIONS:
            raise InvalidArgumentError(self._known.refused_table_function(function["name"]))
        rest = {name: value for name, value in node.items() if name != "table_function"}
        return {**self._plain(rest, scope), "table_function": self._plain(function, scope)}

    def _table(self, node: Node, scope: Scope) -> Node:
        _check(node)
        path = tuple(node.get("name_parts") or (node["name"],))
        if len(path) != 1:
            raise InvalidArgumentError(self._known.unknown_path(path))
        name = path[0]
        stands_for = scope.get(name) or self._collection(name)
        return {"type": "TableIdentifier", "name": stands_for, "alias": node.get("alias", name)}

    def _collection(self, name: str) -> str:
        if name not in self._known.collections:
            raise InvalidArgumentError(self._known.unknown_table(name))
        return self.query.collections.setdefault(name, self._new_name())

    # -- expressions --------------------------------------------------------------------------

    def _function(self, node: Node, scope: Scope) -> Node:
        _check(node)
        name = node["name"]
        if not is_function(name):
            raise InvalidArgumentError(self._known.refused_function(name))
        if name == "lambda" and "alias" in node:
            raise InvalidArgumentError(
                f"A lambda has a name here, {brief(node['alias'])!r}, and would be called in place of ClickHouse's own "
                "functions of that name. Write the lambda where it is used, without AS."
            )
        arguments = node.get("arguments")
        if name in MEMBERSHIP and arguments is not None:
            _check(arguments)
            made = [
                self._member(one, scope, is_set=place == 1)
                for place, one in enumerate(arguments["children"])
            ]
            rest = {key: value for key, value in node.items() if key != "arguments"}
            return {**self._plain(rest, scope), "arguments": {**arguments, "children": made}}
        if name.lower() == "count" and arguments is not None and _is_star(arguments):
            # It counts rows, whatever columns they have.
            rest = {key: value for key, value in node.items() if key != "arguments"}
            return {**self._plain(rest, scope), "arguments": arguments}
        return self._plain(node, scope)

    def _member(self, node: Node, scope: Scope, *, is_set: bool) -> Node:
        """Return an operand of IN, where a name may be that of a table."""
        if _kind(node) != "Identifier" or self._parameters.is_name(node):
            return self.node(node, scope)
        if not is_set:
            # Within a function, a name can only be that of a column.
            return call("identity", self._identifier(node, scope))
        _check(node)
        path = tuple(node.get("name_parts") or (node["name"],))
        if len(path) == 1 and path[0] in scope:
            return {**node, "name": scope[path[0]]}
        raise InvalidArgumentError(self._known.refused_set(path))

    def _identifier(self, node: Node, scope: Scope) -> Node:
        _check(node)
        if self._parameters.is_name(node):
            return self._parameters.named(node["name"], node.get("alias"))
        parts = node.get("name_parts") or (node["name"],)
        self.query.names.update(parts)
        if len(parts) == 1 and is_answered_alone(parts[0]):
            self.query.alone.add(parts[0])
        return node

    def _parameter(self, node: Node, scope: Scope) -> Node:
        _check(node)
        return self._parameters.typed(node["name"], node["param_type"], node.get("alias"))

    def _apply(self, node: Node, scope: Scope) -> Node:
        _check(node)
        name = node.get("func_name")
        if name is not None and not is_function(name):
            raise InvalidArgumentError(self._known.refused_function(name))
        return self._plain(node, scope)


def _kind(node: Any) -> str:
    kind = node.get("type") if isinstance(node, dict) else None
    if kind not in _FIELDS:
        raise InvalidArgumentError(
            _REFUSED.get(
                str(kind), f"{ONE_SELECT} It has a part {kind!r}, which is not known here."
            )
        )
    return str(kind)


def _check(node: Node) -> None:
    """Refuse a node of which not all is known."""
    inner, plain = _FIELDS[_kind(node)]
    for name, value in node.items():
        if name == "type" or name in inner or name in plain:
            continue
        if name in _FALSE_ALONE and value is False:
            continue
        why = _REFUSED.get(
            name,
            f"{ONE_SELECT} It has a part {name!r} of {node['type']!r}, which is not known here.",
        )
        raise InvalidArgumentError(why)


def _is_star(arguments: Node) -> bool:
    return [set(one) for one in arguments.get("children", ())] == [{"type"}] and arguments[
        "children"
    ][0]["type"] == "Asterisk"
