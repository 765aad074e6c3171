"""Filters compiled to masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    DocumentContains,
    DocumentMatches,
    ListContains,
    Or,
)
from chroma_nb.filters.mask import compile_mask
from chroma_nb.segment.metadata_column import MetadataColumn


class Reader:
    """Three labels: one with everything, one with metadata alone, one with nothing."""

    def match(self, leaf: Any) -> Any:
        labels = np.array([0, 1] if leaf.key == "k" else [], dtype=np.int64)
        return MetadataColumn.build(3, labels, ["x", 5][: len(labels)]).match(leaf)

    def document_contains(self, text: str) -> Any:
        assert text, "a search for bytes has nothing to look for"
        return np.array([text in "document", False, False])

    def document_matches(self, pattern: str) -> Any:
        return np.array([True, False, False])


@pytest.mark.parametrize(
    ("expression", "mask"),
    [
        (Compare("k", "$eq", "x"), [True, False, False]),
        (Compare("k", "$eq", "x", negated=True), [False, True, True]),
        (Compare("nobody's", "$eq", 1), [False, False, False]),
        (Compare("nobody's", "$eq", 1, negated=True), [True, True, True]),
        (Among("k", ("x", "y"), negated=True), [False, True, True]),
        (ListContains("k", "x", negated=True), [True, True, True]),
        (DocumentContains("doc"), [True, False, False]),
        (DocumentContains("doc", negated=True), [False, True, True]),
        (DocumentMatches("d.c", negated=True), [False, True, True]),
        (DocumentContains(""), [True, False, False]),
        (DocumentContains("", negated=True), [False, True, True]),
        (And((DocumentContains("doc"), Compare("k", "$eq", "x"))), [True, False, False]),
        (Or((DocumentContains("doc"), Compare("k", "$gt", 4))), [True, True, False]),
        (
            And((Or((Compare("k", "$eq", 5), Compare("k", "$eq", "x"))), Compare("k", "$eq", 5))),
            [False, True, False],
        ),
    ],
    ids=repr,
)
def test_masks(expression: Any, mask: list[bool]) -> None:
    result = compile_mask(expression, Reader())
    assert result.dtype == bool
    assert result.tolist() == mask
