"""Filters as ClickHouse's SQL. Metadata is JSON text, empty where there is none; a key is named as it is, whatever it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.db.clickhouse.literals import literal
from chroma_nb.filters.numbers import int_bound
from chroma_nb.filters.regex import rust_regex_to_re2
from chroma_nb.filters.sql import Dialect, compile_condition
from chroma_nb.scalars import ISO_DATE, ISO_GROUPS, SECOND

if TYPE_CHECKING:
    from chroma_nb.filters.expression import Expression, Scalar

#: ClickHouse's dot matches a line break, other than RE2's.
_PLAIN_DOT = "(?-s)"
_INTEGERS = "('Int64', 'UInt64')"


def condition(expression: Expression) -> str:
    """Return the condition that a record matches, never NULL."""
    marked, values = compile_condition(expression, ClickHouseDialect())
    first, *others = marked.split("?")
    return first + "".join(
        f"{literal(value)}{piece}" for value, piece in zip(values, others, strict=True)
    )


def _group(name: str) -> str:
    return f"g[{ISO_GROUPS.index(name) + 1}]"


def _whole(name: str) -> str:
    return f"toInt64OrZero({_group(name)})"


def _moment() -> str:
    """Return what `scalars.instant` computes, of the groups of `ISO_DATE`: nanoseconds since 1970, as Int128.

    The days are counted from 0000-03-01 in years that begin in March, so that a leap day is the last of its year:
    Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    """
    year, month, day = _whole("year"), _whole("month"), _whole("day")
    of_march = f"({year} - ({month} <= 2))"
    days = (
        f"({of_march} * 365 + intDiv({of_march}, 4) - intDiv({of_march}, 100) + intDiv({of_march}, 400) "
        f"+ intDiv(153 * ({month} + if({month} > 2, -3, 9)) + 2, 5) + {day} - 719469)"
    )
    offset = f"({_whole('offset_hour')} * 3600 + {_whole('offset_minute')} * 60 + {_whole('offset_second')})"
    seconds = (
        f"({days} * 86400 + {_whole('hour')} * 3600 + {_whole('minute')} * 60 + {_whole('second')} "
        f"+ if({_group('sign')} = '-', 1, -1) * {offset})"
    )
    fraction = f"toInt64OrZero(rightPad({_group('fraction')}, 9, '0'))"
    return f"(toInt128({seconds}) * {SECOND} + {fraction})"


def _is_day() -> str:
    """Return the condition that the groups of `ISO_DATE` name a day that there is."""
    year, month, day = _whole("year"), _whole("month"), _whole("day")
    leap = f"({year} % 4 = 0 AND ({year} % 100 != 0 OR {year} % 400 = 0))"
    last = f"[31, if({leap}, 29, 28), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][{month}]"
    return f"{year} >= 1 AND {month} BETWEEN 1 AND 12 AND {day} BETWEEN 1 AND {last}"


class ClickHouseDialect(Dialect):
    """ClickHouse's JSON functions."""

    def text_in(self, key: str, values: tuple[str, ...]) -> tuple[str, list[Any]]:
        return self._in(key, "('String')", "JSONExtractString(metadata, ?)", list(values))

    def bool_in(self, key: str, values: tuple[bool, ...]) -> tuple[str, list[Any]]:
        texts = ["true" if value else "false" for value in values]
        return self._in(key, "('Bool')", "JSONExtractRaw(metadata, ?)", texts)

    def number_in(self, key: str, integers: list[int], reals: list[float]) -> tuple[str, list[Any]]:
        left, left_values = self._in(key, _INTEGERS, "JSONExtractInt(metadata, ?)", integers)
        right, right_values = self._in(key, "('Double')", "JSONExtractFloat(metadata, ?)", reals)
        return f"(({left}) OR ({right}))", [*left_values, *right_values]

    def _in(self, key: str, kinds: str, value: str, values: list[Any]) -> tuple[str, list[Any]]:
        kind = f"JSONType(metadata, ?) IN {kinds}"
        if not values:
            return "false", []
        if len(values) == 1:
            return f"{kind} AND {value} = ?", [key, key, values[0]]
        return f"{kind} AND {value} IN (SELECT arrayJoin(?))", [key, key, values]

    def integer(self, key: str, op: str | None, value: int) -> tuple[str, list[Any]]:
        kind = f"JSONType(metadata, ?) IN {_INTEGERS}"
        if op is None:
            return kind, [key]
        return f"{kind} AND JSONExtractInt(metadata, ?) {op} ?", [key, key, value]

    def real(self, key: str, op: str | None, value: float) -> tuple[str, list[Any]]:
        kind = "JSONType(metadata, ?) = 'Double'"
        if op is None:
            return kind, [key]
        return f"{kind} AND JSONExtractFloat(metadata, ?) {op} ?", [key, key, float(value)]

    def date(self, key: str, op: str, moment: int) -> tuple[str, list[Any]]:
        groups = "extractGroups(JSONExtractString(metadata, ?), ?)"
        holds = f"arrayExists(g -> notEmpty(g) AND {_is_day()} AND {_moment()} {op} toInt128(?), [{groups}])"
        # With the text of a moment: Int64 is too small for it.
        return f"JSONType(metadata, ?) = 'String' AND {holds}", [key, str(moment), key, ISO_DATE]

    def id_in(self, ids: tuple[str, ...]) -> tuple[str, list[Any]]:
        if len(ids) == 1:
            return "id = ?", [ids[0]]
        return "id IN (SELECT arrayJoin(?))", [list(ids)]

    def list_has(self, key: str, value: Scalar) -> tuple[str, list[Any]]:
        if isinstance(value, bool):
            kinds, items = "('Bool')", "Bool"
        elif isinstance(value, int):
            kinds, items = _INTEGERS, "Int64"
        elif isinstance(value, float):
            kinds, items = "('Double')", "Float64"
        else:
            kinds, items = "('String')", "String"
        if items == "Int64" and int_bound("$eq", value).op == "none":  # type: ignore[arg-type]
            return "false", []
        return (
            f"JSONType(metadata, ?) = 'Array' AND JSONType(metadata, ?, 1) IN {kinds} "
            f"AND has(JSONExtract(metadata, ?, 'Array({items})'), ?)",
            [key, key, key, value],
        )

    def document_contains(self, text: str) -> tuple[str, list[Any]]:
        return "position(document, ?) > 0", [text]

    def document_matches(self, pattern: str) -> tuple[str, list[Any]]:
        return "match(document, ?)", [_PLAIN_DOT + rust_regex_to_re2(pattern)]
