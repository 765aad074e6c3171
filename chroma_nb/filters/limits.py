"""`FilterLimits`: how large a filter may be, checked before any work is done for it.

A filter of a few kilobytes can cost gigabytes: a class within a regular expression may become thousands of
characters, and each of thousands of conditions is a mask over all records, or an SQL expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.operators import LOGICAL, MEMBERSHIP, PATTERNS
from chroma_nb.filters.pattern_parts import count_parts
from chroma_nb.filters.regex import rust_regex_to_re2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chroma_nb.settings import Settings

#: How many other conditions a regular expression costs as much as, measured with 20,000 documents.
_PATTERN_COUNTS = 10
#: A pattern may grow by this factor when it is translated: ``\W`` in a class is 7,000 characters in RE2.
_GROWTH = 100


@dataclass(frozen=True)
class _Words:
    """Words of the error for a regular expression: those of filters, or those of SQL."""

    the: str
    joined: str
    plain_text: str
    longest: str


_IN_FILTER = _Words(
    "Invalid where clause: the", "$or", "$contains", "the longest document of the collection"
)
_IN_SQL = _Words(
    "client.sql() refuses the",
    "OR",
    "contains(document, 'text')",
    "the longest text of the collections in the query",
)


@dataclass(frozen=True)
class FilterLimits:
    """What `where`, `where_document` and `ids` of one call may hold, together.

    Attributes:
        conditions: Conditions, without the ``$and`` and ``$or`` that join them; a regular expression counts as
            ten.
        depth: How deep ``$and`` and ``$or`` may be nested.
        values: Values of all lists of ``$in`` and ``$nin``, and of `ids`.
        pattern_length: Characters of one regular expression.
        pattern_work: Parts of all regular expressions of a call, as `count_parts` counts them, times the bytes of the
            longest document.
    """

    conditions: int
    depth: int
    values: int
    pattern_length: int
    pattern_work: int

    @classmethod
    def of(cls, settings: Settings) -> FilterLimits:
        """Return the limits that settings set."""
        return cls(
            settings.max_filter_conditions,
            settings.max_filter_depth,
            settings.max_filter_values,
            settings.max_pattern_length,
            settings.max_pattern_work,
        )

    def check(self, *filters: Any, ids: Sequence[str] | None = None) -> None:
        """Check filters as they were given; what is not a filter is left to the parser.

        Args:
            *filters: `where` and `where_document`.
            ids: The ids that the call names.

        Raises:
            InvalidArgumentError: They are too large; the message names the limit and its setting.
        """
        n_conditions = n_patterns = n_listed = 0
        # No recursion: a filter may be nested more deeply than Python's stack.
        left = [(1, part) for part in filters]
        while left:
            depth, part = left.pop()
            if not isinstance(part, dict):
                continue
            for key, value in part.items():
                if key in LOGICAL and isinstance(value, list):
                    if depth > self.depth:
                        # The message does not say how deep it is: that would need a walk through all of it.
                        raise InvalidArgumentError(
                            f"Invalid where clause: the filter is nested more than {self.depth:,} deep, which is the "
                            "limit (Settings.max_filter_depth). Join conditions of one operator in one list: "
                            '{"$and": [a, b, c]}.'
                        )
                    left.extend((depth + 1, child) for child in value)
                    continue
                found = _patterns_of(key, value)
                n_conditions += _PATTERN_COUNTS * len(found) or 1
                n_patterns += len(found)
                n_listed += _n_listed(value)
                for pattern in found:
                    self.check_pattern(pattern)
        if n_conditions > self.conditions:
            raise self._too_many(n_conditions, n_patterns)
        n_ids = 0 if ids is None else len(ids)
        if n_ids + n_listed > self.values:
            raise self._too_many_values(n_ids, n_listed)

    def check_pattern(self, pattern: str, *, in_sql: bool = False) -> None:
        """Check a regular expression before it is translated.

        Args:
            pattern: As it was given.
            in_sql: It was given in SQL, and the error says so.

        Raises:
            InvalidArgumentError: It is too long.
        """
        if len(pattern) > self.pattern_length:
            words = _IN_SQL if in_sql else _IN_FILTER
            raise InvalidArgumentError(
                f"{words.the} regular expression {pattern[:60]!r}... has {len(pattern):,} characters, the limit is "
                f"{self.pattern_length:,} (Settings.max_pattern_length). Split it into several, joined with {words.joined}."
            )

    def check_spelt(self, pattern: str, spelt: str) -> None:
        """Check a regular expression after it is translated for the database.

        Args:
            pattern: As it was given.
            spelt: Its translation.

        Raises:
            InvalidArgumentError: It is too long.
        """
        limit = _GROWTH * self.pattern_length
        if len(spelt) > limit:
            raise InvalidArgumentError(
                f"Invalid where clause: the regular expression {pattern[:60]!r} is {len(spelt):,} characters when its "
                f"classes are spelt out, the limit is {limit:,} ({_GROWTH} times Settings.max_pattern_length). "
                "Negated classes such as \\W within [...] are long: write [^...] with what is not wanted."
            )

    def check_patterns(
        self, given: Sequence[str], at_most: Callable[[], int], longest: Callable[[], int]
    ) -> None:
        """Check the regular expressions of a call, and what they may cost.

        Args:
            given: As they were given.
            at_most: Returns a bound on the bytes of the longest document that is at hand.
            longest: Returns the bytes of the longest document.

        Raises:
            InvalidArgumentError: They are too large, or may work too long on one document.
        """
        n_parts = 0
        for pattern in given:
            spelt = rust_regex_to_re2(pattern)
            self.check_spelt(pattern, spelt)
            n_parts += count_parts(spelt)
        if not n_parts:
            return
        n_bytes = at_most()
        if n_parts * n_bytes > self.pattern_work:
            n_bytes = longest()
        self.check_work(given, n_parts, n_bytes)

    def check_work(
        self, patterns: Sequence[str], n_parts: int, longest: int, *, in_sql: bool = False
    ) -> None:
        """Check what regular expressions may cost on the longest document. That cannot be interrupted.

        Args:
            patterns: As they were given.
            n_parts: Their parts together, see `count_parts`.
            longest: The bytes of the longest document.
            in_sql: They were given in SQL, and the error says so.

        Raises:
            InvalidArgumentError: It is too much.
        """
        if n_parts * longest <= self.pattern_work:
            return
        words = _IN_SQL if in_sql else _IN_FILTER
        which, has = f"{words.the} regular expression {patterns[0][:60]!r}", "has"
        if len(patterns) > 1:
            which, has = f"{words.the} {len(patterns):,} regular expressions", "have"
        raise InvalidArgumentError(
            f"{which} {has} {n_parts:,} parts when repetitions such as {{1,100}} are written out, "
            f"and {words.longest} has {longest:,} bytes: in the worst case each part is tried at "
            f"each byte, and the limit is {self.pattern_work:,} (Settings.max_pattern_work). Write + or * in place of a "
            f"large repetition, look for plain text with {words.plain_text}, or store long documents in parts."
        )

    def _too_many(self, n_conditions: int, n_patterns: int) -> InvalidArgumentError:
        counted = ""
        way_out = "For many values of one key use one $in; otherwise ask in several calls."
        if n_patterns:
            counted = (
                f", as each of its {n_patterns:,} regular expressions counts as {_PATTERN_COUNTS}"
            )
            way_out = "Join regular expressions in one with |, or ask in several calls."
        return InvalidArgumentError(
            f"Invalid where clause: the filter has {n_conditions:,} conditions{counted}; the limit is "
            f"{self.conditions:,} (Settings.max_filter_conditions). {way_out}"
        )

    def _too_many_values(self, n_ids: int, n_listed: int) -> InvalidArgumentError:
        parts = []
        if n_listed:
            parts.append(f"{n_listed:,} values in its lists of $in and $nin")
        if n_ids:
            parts.append(f"{n_ids:,} ids")
        return InvalidArgumentError(
            f"This call has {' and '.join(parts)}; the limit is {self.values:,} for both together "
            "(Settings.max_filter_values). Ask in several calls, or by a range ($gte, $lt)."
        )


def _n_listed(value: Any) -> int:
    """Return how many values the lists in one entry of a filter have."""
    if not isinstance(value, dict):
        return 0
    lists = (part for name, part in value.items() if name in MEMBERSHIP and isinstance(part, list))
    return sum(map(len, lists))


def _patterns_of(key: Any, value: Any) -> list[str]:
    """Return the regular expressions in one entry of a filter."""
    if key in PATTERNS:
        return [value] if isinstance(value, str) else []
    if isinstance(value, dict):
        return [
            pattern
            for name, pattern in value.items()
            if name in PATTERNS and isinstance(pattern, str)
        ]
    return []
