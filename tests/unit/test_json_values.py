"""The values of one key, taken out of metadata's JSON without parsing the rest."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chroma_nb.segment.text_pool import TextPool

#: Letters that JSON gives a meaning to, and some others.
LETTERS = st.text(st.sampled_from('ab"\\,:{}[] \n\té日😀'), max_size=6)
SCALARS = st.one_of(
    LETTERS,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
METADATA = st.dictionaries(
    LETTERS, st.one_of(SCALARS, st.lists(LETTERS, min_size=1, max_size=3)), max_size=4
)


@given(st.lists(st.none() | METADATA, min_size=1, max_size=6), st.data())
def test_it_is_what_parsing_all_of_it_finds(rows: list[Any], data: Any) -> None:
    keys = sorted({key for row in rows if row for key in row})
    key = data.draw(st.sampled_from(keys) | LETTERS if keys else LETTERS)
    pool = TextPool()
    pool.resize(len(rows))
    texts = [
        None if row is None else json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        for row in rows
    ]
    pool.put(np.arange(len(rows)), texts)
    labels, values = pool.json_values(key, np.arange(len(rows)))
    expected = [(label, row[key]) for label, row in enumerate(rows) if row and key in row]
    assert list(zip(labels.tolist(), values, strict=True)) == expected
    assert list(map(type, values)) == [type(value) for _, value in expected]
