"""Nodes of ClickHouse's tree of a query (`parseQueryToJSON`): a node is a dict with its `type`."""

from __future__ import annotations

from typing import Any

Node = dict[str, Any]


def call(name: str, *arguments: Node) -> Node:
    """Return the call of a function."""
    return {
        "type": "Function",
        "name": name,
        "arguments": {"type": "ExpressionList", "children": list(arguments)},
    }


def literal(kind: str, value: Any) -> Node:
    """Return a literal of a type of ClickHouse's."""
    return {"type": "Literal", "value": {"field_type": kind, "value": value}}


def text_literal(value: str) -> Node:
    """Return a literal text."""
    return literal("String", value)
