"""`Parameters`: the values for ``$1``, ``$name`` and ``{name:Type}``, as nodes of a query's tree."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from chroma_nb.db.clickhouse.sql.nodes import Node, call, literal, text_literal
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.words import brief

_NAME = re.compile(r"\$(\w+)")
#: ClickHouse's types of integers, narrowest first: bits, whether it has a sign.
_INTEGERS = (
    ("Int64", 64, True),
    ("UInt64", 64, False),
    ("Int256", 256, True),
    ("UInt256", 256, False),
)
#: Digits that a decimal of ClickHouse has at most.
_DECIMAL_DIGITS = 76


class Parameters:
    """The parameters of one call.

    Args:
        given: None, a list or tuple, a dict, or an array or Series of single values.

    Raises:
        InvalidArgumentError: Something else.
    """

    def __init__(self, given: object) -> None:
        self._values: dict[str, Any] = {}
        self._is_list = not isinstance(given, Mapping)
        if isinstance(given, Mapping):
            self._values = {str(name).removeprefix("$"): value for name, value in given.items()}
        elif isinstance(given, list | tuple) or (
            hasattr(given, "tolist") and not np.isscalar(given)
        ):
            listed: Any = given
            self._values = {str(n): value for n, value in enumerate(listed, 1)}
        elif given is not None:
            raise InvalidArgumentError(
                f"Expected parameters to be a list (for ? and $1) or a dict (for $name and {{name:Type}}), got "
                f"{type(given).__name__}: {brief(given, 80, quoted=True)}."
            )
        self._used: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._values)

    def is_name(self, node: Node) -> bool:
        """Say whether an identifier stands for a parameter: no column's name begins with a $."""
        return "name_parts" not in node and _NAME.fullmatch(node["name"]) is not None

    def named(self, name: str, alias: str | None) -> Node:
        """Return the value for ``$name``."""
        return _with_alias(_node(self._value(name[1:], name), name), alias)

    def typed(self, name: str, of_type: str, alias: str | None) -> Node:
        """Return the value for ``{name:Type}``."""
        shown = f"{{{name}:{of_type}}}"
        if of_type == "Identifier":
            raise InvalidArgumentError(
                f"The parameter {shown} would be the name of a table or a column. Write names into the query; quoted "
                '("name") they may be anything.'
            )
        value = _node(self._value(name, shown), shown)
        return _with_alias(call("CAST", value, text_literal(of_type)), alias)

    def _value(self, name: str, shown: str) -> Any:
        if name not in self._values:
            what = f"{len(self._values)} in a list" if self._is_list else f"{sorted(self._values)}"
            raise InvalidArgumentError(
                f"The query has a parameter {shown}, and none is given for it (given: {what if self._values else 'none'})."
            )
        self._used.add(name)
        return self._values[name]

    def check_used(self) -> None:
        """Refuse parameters that the query does not have."""
        unused = sorted(self._values.keys() - self._used)
        if unused:
            shown = ", ".join(f"${name}" for name in unused[:5])
            raise InvalidArgumentError(
                f"Parameters are given that the query does not have: {shown}. Leave them out, or write them into the query."
            )


def _with_alias(node: Node, alias: str | None) -> Node:
    return node if alias is None else {**node, "alias": alias}


def _node(value: Any, shown: str) -> Node:
    """Return a value as a node; numbers exactly."""
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.datetime64 | np.timedelta64):
        value = _of_pandas(value)
    if type(value).__module__.partition(".")[0] == "pandas":
        value = _of_pandas(value)
    if value is None:
        return literal("Null", None)
    if isinstance(value, bool):
        return literal("Bool", value)
    if isinstance(value, int):
        return _integer(value, shown)
    if isinstance(value, float):
        return call("CAST", text_literal(repr(value)), text_literal("Float64"))
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, list | tuple):
        return _list(list(value), shown)
    if isinstance(value, uuid.UUID):
        return call("toUUID", text_literal(str(value)))
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return _decimal(value, shown)
    if isinstance(value, datetime.datetime):
        return _moment(value)
    if isinstance(value, datetime.date):
        return call("toDate32", text_literal(value.isoformat()))
    if isinstance(value, datetime.timedelta):
        return call(
            "toIntervalMicrosecond", _integer(value // datetime.timedelta(microseconds=1), shown)
        )
    raise InvalidArgumentError(
        f"The parameter {shown} is {brief(value, 80, quoted=True)}, a {type(value).__name__}. Give a text, a number, a bool, a "
        "date, a datetime, a Decimal, None, or a list of one kind of these."
    )


def _of_pandas(value: Any) -> Any:
    import pandas as pd

    if not pd.api.types.is_scalar(value):
        return list(value)
    if pd.isna(value):
        return None
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    return pd.Timedelta(value) if isinstance(value, np.timedelta64) else value


def _integer(value: int, shown: str) -> Node:
    for name, bits, signed in _INTEGERS:
        lowest = -(2 ** (bits - 1)) if signed else 0
        if lowest <= value < 2 ** (bits - signed):
            return call("CAST", text_literal(str(value)), text_literal(name))
    raise InvalidArgumentError(f"The parameter {shown} has more than 256 bits: {brief(value)}.")


def _decimal(value: decimal.Decimal, shown: str) -> Node:
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    precision = max(1, len(digits) + max(0, int(exponent)), scale)
    if precision > _DECIMAL_DIGITS:
        raise InvalidArgumentError(
            f"The parameter {shown} has more than {_DECIMAL_DIGITS} digits: {brief(value)}. Round it."
        )
    return call(
        "CAST", text_literal(format(value, "f")), text_literal(f"Decimal({precision}, {scale})")
    )


def _moment(value: datetime.datetime) -> Node:
    """Return a moment to the nanosecond; one without a time zone is of ClickHouse's own."""
    is_aware = value.tzinfo is not None
    if is_aware:
        value = value.astimezone(datetime.timezone.utc)
    fraction = value.microsecond * 1_000 + getattr(value, "nanosecond", 0)
    digits = 9 if fraction % 1_000 else 6
    said = f"{value:%Y-%m-%d %H:%M:%S}.{fraction // 10 ** (9 - digits):0{digits}}"
    zone = [text_literal("UTC")] if is_aware else []
    return call("toDateTime64", text_literal(said), literal("UInt64", digits), *zone)


def _list(values: list[Any], shown: str) -> Node:
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    kinds = {type(value) for value in values}
    if kinds and kinds <= {float, int} and float in kinds:
        inexact = next((one for one in values if isinstance(one, int) and not _is_exact(one)), None)
        if inexact is not None:
            raise InvalidArgumentError(
                f"The parameter {shown} is a list of integers and floats, and no float is {brief(inexact)}. Give two lists."
            )
        return _array([repr(float(value)) for value in values], "Float64")
    if kinds == {str}:
        return literal("Array", [{"field_type": "String", "value": value} for value in values])
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return _array(list(map(str, values)), "Int64")
    if len(kinds - {type(None)}) > 1:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InvalidArgumentError(
            f"The parameter {shown} is a list of several kinds ({found}), and a list of ClickHouse has one. Give a list for "
            "each kind."
        )
    return call("array", *(_node(value, shown) for value in values))


def _array(numbers: list[str], of_type: str) -> Node:
    """Return numbers as one text, which ClickHouse reads digit for digit: a tree has only so many nodes."""
    return call("CAST", text_literal(f"[{','.join(numbers)}]"), text_literal(f"Array({of_type})"))


def _is_exact(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False
