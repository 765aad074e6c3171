"""Two embedding functions for one collection."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb.embedding import (
    check_conflict_on_create,
    check_conflict_on_get,
    check_conflict_on_modify,
)
from tests.unit.embedding.toys import Plain, Toy, Toy2


class Default(Toy):
    @staticmethod
    def name() -> str:
        return "default"


def test_conflicts_on_create() -> None:
    toy = Toy()
    for function, configured in [
        (None, toy),
        (toy, None),
        (toy, Toy(5)),
        (Default(), toy),
        (plain := Plain(), plain),
    ]:
        check_conflict_on_create(function, configured)
    with pytest.raises(
        ValueError, match=r"Please provide only one. Embedding function conflict: toy vs toy2"
    ):
        check_conflict_on_create(toy, Toy2())
    with pytest.raises(ValueError, match="conflict: Plain vs toy"):
        check_conflict_on_create(Plain(), toy)
    with pytest.raises(ValueError, match="conflict: Plain vs Plain"):
        check_conflict_on_create(Plain(), Plain())


def test_conflicts_on_get() -> None:
    known = {"type": "known", "name": "toy", "config": {"k": 2}}
    for function, persisted in [
        (None, known),
        (Toy(7), known),
        (Default(), known),
        (Toy2(), None),
        (Toy2(), {"type": "legacy"}),
        (Plain(), {"type": "legacy"}),
    ]:
        check_conflict_on_get(function, persisted)
    with pytest.raises(
        ValueError,
        match=r"already exists in the collection configuration, and a new one is provided. .* "
        r"conflict: new: toy2 vs persisted: toy$",
    ):
        check_conflict_on_get(Toy2(), known)
    with pytest.raises(ValueError, match="new: Plain vs persisted: toy"):
        check_conflict_on_get(Plain(), known)


def test_conflicts_on_modify() -> None:
    class Fixed(Toy):
        def validate_config_update(self, old: dict[str, Any], new: dict[str, Any]) -> None:
            raise ValueError(f"from {old} to {new}")

    known = {"type": "known", "name": "toy", "config": {"k": 2}}
    check_conflict_on_modify(known, Toy(7))
    check_conflict_on_modify(known, None)
    check_conflict_on_modify(None, Toy2())
    check_conflict_on_modify({"type": "legacy"}, Plain())
    for function, name in ((Toy2(), "toy2"), (Plain(), "Plain")):
        with pytest.raises(
            ValueError,
            match=rf"^Cannot update embedding function: incompatible types \(toy vs {name}\)$",
        ):
            check_conflict_on_modify(known, function)
    with pytest.raises(ValueError, match=r"from \{'k': 2\} to \{'k': 7\}"):
        check_conflict_on_modify(known, Fixed(7))
