"""Bodies are checked and not converted."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from chroma_nb.server import schemas


def test_unknown_members_are_ignored() -> None:
    assert schemas.NameBody.model_validate_json('{"name": "a", "more": 1}').name == "a"


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (schemas.NameBody, {"name": 1}),
        (schemas.PinBody, {"pinned": "yes"}),
        (schemas.GetBody, {"limit": "3"}),
        (schemas.GetBody, {"limit": -1}),
        (schemas.QueryBody, {"query_embeddings": [["1"]]}),
        (schemas.EstimateBody, {"n_records": 0, "dimension": 1}),
        (schemas.CollectionChanges, {"new_configuration": {"hnsw": {"space": "l2"}}}),
    ],
)
def test_a_value_of_another_type_is_refused(model: type[schemas.Body], body: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        model.model_validate(body)


def test_a_list_is_checked_up_to_its_first_wrong_item() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        schemas.NewRecords.model_validate({"ids": [1] * 1_000, "embeddings": ["AA=="]})
    assert caught.value.error_count() == 1


def test_embeddings_are_numbers_or_base64() -> None:
    for given in (["AACAPw=="], [[1.0, 2.0]]):
        body = schemas.NewRecords.model_validate({"ids": ["a"], "embeddings": given})
        assert body.embeddings == given


def test_what_is_not_asked_for_has_chromas_defaults() -> None:
    assert schemas.GetBody().include == ["metadatas", "documents"]
    asked = schemas.QueryBody(query_embeddings=[[1.0]])
    assert asked.include == ["metadatas", "documents", "distances"]
