"""`check_patterns`: refuses regular expressions that could run for minutes, with the limits that filters have.

DuckDB cannot be interrupted within a text, and a store that is closed waits for the query. A pattern that the query
computes is not known before it runs, and is not checked. Nor are LIKE, ILIKE and GLOB: DuckDB 2 compares them in one
pass. Older versions may try the second % at each match of the first, and so on; to assume that worst case would
refuse ordinary patterns such as '%one%two%' in texts of some 50 kB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from chroma_nb.filters.pattern_parts import count_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.db.sql.statement import Statement
    from chroma_nb.filters.limits import FilterLimits

#: Bytes of the longest text: at most, and a function that counts, which reads all texts.
LongestText: TypeAlias = "tuple[int, Callable[[], int]]"


def check_patterns(
    statement: Statement, parameters: Any, limits: FilterLimits, longest: LongestText
) -> None:
    """Check the regular expressions of a statement, those in its parameters included, before it runs.

    Args:
        statement: The statement.
        parameters: Its parameters: None, a list or a dict.
        limits: The limits.
        longest: Of the texts that the statement may read.

    Raises:
        InvalidArgumentError: One is too long, or all together could take too long.
    """
    patterns = list(statement.patterns)
    for name in sorted(statement.pattern_parameters):
        value = _value_of(name, parameters)
        if isinstance(value, str):
            patterns.append(value)
    for pattern in patterns:
        limits.check_pattern(pattern, in_sql=True)
    n_parts = sum(map(count_parts, patterns))
    n_bytes, counted = longest
    if n_parts * n_bytes > limits.pattern_work:
        # It counts the texts of a record together, and those of deleted records.
        limits.check_work(patterns, n_parts, counted(), in_sql=True)


def _value_of(name: str, parameters: Any) -> Any:
    """Return a parameter's value; None where it is missing, which DuckDB reports."""
    if isinstance(parameters, dict):
        return parameters.get(name)
    place = int(name) - 1 if name.isdecimal() else -1
    return parameters[place] if parameters and 0 <= place < len(parameters) else None
