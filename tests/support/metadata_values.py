"""Strategies of hypothesis for metadata whose values are hard to keep digit for digit in a column of SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: An integer that no float has.
BIG = 1745078214713458777
_INTEGERS = st.sampled_from([0, -1, 2**53, 2**53 + 1, BIG, 2**63 - 1, -(2**63)]) | st.integers(
    -9, 9
)
_FLOATS = st.sampled_from([0.1, 0.5, -0.0, 1e22, 1e-7, 2.0**60, 5e-324]) | st.floats(-9, 9)
_TEXTS = st.text(max_size=4)
_VALUES = (
    _INTEGERS
    | _FLOATS
    | _TEXTS
    | st.booleans()
    | st.sampled_from([_INTEGERS, _FLOATS, _TEXTS, st.booleans()]).flatmap(
        lambda kind: st.lists(kind, min_size=1, max_size=3)
    )
)


def metadata_of(keys: SearchStrategy[str]) -> SearchStrategy[dict[str, Any]]:
    """Return metadata with some of these keys, as far as they may be keys."""
    allowed = keys.filter(lambda key: key[0] not in "#$")
    return st.dictionaries(allowed, _VALUES, min_size=1, max_size=4)
