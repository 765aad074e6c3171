"""`Texts`: a column that reads as a list does, whatever it is made of."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_nb.compact_json import parsed_together
from chroma_nb.segment.text_pool import TextPool
from chroma_nb.texts import Texts
from tests.support.json_halves import HALVES

COLUMNS = [
    [],
    [None],
    [""],
    ["a", None, "bc", "", None],
    ["plain", "Grüße", "日本語", "😀 text", None],
]
#: Texts as they can be stored: without halves of surrogate pairs.
ANY = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9))


@pytest.mark.parametrize("texts", COLUMNS)
def test_it_reads_as_a_list(texts: list[str | None]) -> None:
    column = Texts.of(texts)
    assert len(column) == len(texts)
    assert list(column) == column.to_list() == texts
    assert column == texts
    assert texts == column
    assert [column[at] for at in range(-len(texts), len(texts))] == texts * 2
    assert repr(column) == f"Texts({texts!r})"
    with pytest.raises(IndexError):
        column[len(texts)]
    assert Texts.of(column) is column


def test_it_equals_nothing_else() -> None:
    assert Texts.of(["a"]) != ("a",)
    assert Texts.of(["a"]) != Texts.of(["b"])
    assert Texts.of([None]) != Texts.of([""])


@given(ANY, st.data())
def test_rows_and_slices(texts: list[str | None], data: st.DataObject) -> None:
    column = Texts.of(texts)
    part = data.draw(st.slices(len(texts)))
    assert column[part] == texts[part]
    assert column[part][::-1] == texts[part][::-1]
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1))) if texts else []
    assert column.at(np.array(rows, dtype=np.int64)) == [texts[row] for row in rows]


def test_a_step_of_any_size() -> None:
    for texts in ([], ["a", "b"]):
        column: Texts = Texts.of(texts)
        assert column[:: 2**63] == texts[:: 2**63]
        assert column[:: -(2**70)] == texts[:: -(2**70)]


def size_of(text: str) -> int:
    """Return the bytes of a text of its own. Python shares those of one character, and may have added UTF-8 to them."""
    twice, four_times = (sys.getsizeof((text * n).encode().decode()) for n in (2, 4))
    return twice - (four_times - twice) // 2


@given(ANY, st.data())
def test_sizes(texts: list[str | None], data: st.DataObject) -> None:
    part = data.draw(st.slices(len(texts)))
    column, expected = Texts.of(texts)[part], texts[part]
    present = [one for one in expected if one is not None]
    assert column.n_bytes == sum(len(one.encode()) for one in present)
    assert column.objects_bytes() >= sum(map(size_of, present))


def test_plain_texts_are_measured_as_they_are() -> None:
    texts = ["a" * 9, "bc", None]
    # From Python 3.12 on each takes eight bytes less than is counted.
    taken = sum(map(sys.getsizeof, texts[:2]))
    assert taken <= Texts.of(texts).objects_bytes() <= taken + 2 * 8


def test_what_is_missing() -> None:
    assert Texts.missing(3) == [None] * 3
    assert Texts.missing(0) == []
    assert Texts.missing(3).objects_bytes() == 0


def test_what_is_not_utf_8_is_an_error() -> None:
    with pytest.raises(UnicodeDecodeError):
        Texts(b"\xff\xfe", np.array([0, 2])).to_list()


@given(ANY, st.data())
def test_a_pool_gives_the_same_as_a_column_and_as_a_list(
    texts: list[str | None], data: st.DataObject
) -> None:
    pool = TextPool()
    pool.resize(len(texts))
    pool.put(np.arange(len(texts)), texts)
    now = dict(enumerate(texts))
    changed = (
        data.draw(
            st.dictionaries(
                st.sampled_from(range(len(texts))), st.none() | st.text("aé", max_size=3)
            )
        )
        if texts
        else {}
    )
    pool.put(np.array(list(changed), dtype=np.int64), list(changed.values()))
    now.update(changed)
    some = data.draw(st.lists(st.sampled_from(range(len(texts))))) if texts else []
    for labels in (list(range(len(texts))), some):
        column = pool.texts(np.array(labels, dtype=np.int64))
        assert column == pool.get(labels) == [now[label] for label in labels]
        pool.resize(len(texts) + 1)


@pytest.mark.parametrize(
    "texts",
    [
        *HALVES,
        ["[1", "2]", "3, 4"],
        ["1, 2"],
        [""],
        ["1", "", "2"],
        ["1]", "[2"],
        ['"', '"'],
        ["1,", "2"],
        ["[" * 100_000],
    ],
)
def test_halves_of_json_are_none_when_they_are_put_together(texts: list[str]) -> None:
    assert parsed_together(texts) is None


@given(
    st.lists(st.none() | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3)))
)
def test_json_is_parsed_together_as_one_by_one(values: list[Any]) -> None:
    texts = [None if one is None else json.dumps(one) for one in values]
    assert parsed_together(texts) == values


def test_what_stands_behind_a_missing_text_is_nobodys() -> None:
    """Arrow lets anything stand there, also what is not UTF-8."""
    pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
    arrow_columns = importlib.import_module("chroma_nb.wire.arrow_columns")
    offsets = pa.py_buffer(np.array([0, 1, 3, 4], np.int32))
    column = pa.StringArray.from_buffers(
        3, offsets, pa.py_buffer(b"a\xff\xfeb"), pa.py_buffer(b"\x05"), 1
    )
    column.validate(full=True)
    found = arrow_columns.to_texts(column)
    assert found == ["a", None, "b"]
    assert found.n_bytes == 2
    assert arrow_columns.from_texts(found).buffers()[2].to_pybytes() == b"ab"
    assert arrow_columns.to_texts(column.slice(1)) == [None, "b"]
