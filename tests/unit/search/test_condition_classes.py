"""Conditions under Chroma's names: what K makes, and what makes the same."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb import K
from chroma_nb.execution.expression import And, Contains, Eq, Gt, In, Ne, Or, Regex, Where


@pytest.mark.parametrize(
    ("made", "by_class"),
    [
        (K("a") == 1, Eq("a", 1)),
        (K("a") != 1, Ne(K("a"), 1)),
        (K("a") > 1, Gt("a", 1)),
        (K("a").is_in([1, 2]), In("a", [1, 2])),
        (K.DOCUMENT.contains("x"), Contains(K.DOCUMENT, "x")),
        (K.DOCUMENT.regex("x"), Regex("#document", "x")),
        ((K("a") == 1) & (K("b") == 2), And([Eq("a", 1), Eq("b", 2)])),
        ((K("a") == 1) | {"b": 2}, Or([Eq("a", 1), {"b": 2}])),
    ],
)
def test_k_makes_them(made: Any, by_class: Any) -> None:
    assert type(made) is type(by_class)
    assert isinstance(made, Where)
    assert made == by_class
    assert made.to_dict() == by_class.to_dict()
    assert repr(made) == repr(by_class)
    assert Where.from_dict(made.to_dict()) == Where.from_dict(by_class.to_dict())


def test_they_say_what_they_were_made_of() -> None:
    both = And([Eq("a", 1), Or([In("b", [2]), Regex("#document", "x")])])
    first, second = both.conditions
    assert (first.key, first.value) == ("a", 1)
    assert isinstance(second, Or)
    assert second.conditions[0].values == [2]
    assert second.conditions[1].pattern == "x"
    assert repr(both) == "And([Eq('a', 1), Or([In('b', [2]), Regex('#document', 'x')])])"


def test_a_filter_of_anything_else_stays_as_it_is() -> None:
    odd = And([{"a": 1, "b": 2}, {"a": {"$no": 1}}, {"$and": 5}, 7, {}])
    assert [type(one) for one in odd.conditions] == [Where] * 5
    assert odd.to_dict() == {"$and": [{"a": 1, "b": 2}, {"a": {"$no": 1}}, {"$and": 5}, 7, {}]}


def test_a_document_is_asked_for_a_text() -> None:
    with pytest.raises(TypeError, match=r"\$contains on #document requires a string, got 5"):
        K.DOCUMENT.contains(5)
    assert K("tags").contains(5).to_dict() == {"tags": {"$contains": 5}}
