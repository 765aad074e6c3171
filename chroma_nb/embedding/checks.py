"""Checks that the embedding functions here share: of their configs and of the texts they get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KIND: dict[type[Any], str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a dict",
    list: "a list",
    type(None): "null",
}


def check_config(
    function: str,
    config: Mapping[str, Any],
    fields: Mapping[str, tuple[type[Any], ...]],
    required: Sequence[str] = (),
) -> None:
    """Check a config's fields: all known, the required ones there, each of its kind.

    Args:
        function: Name of the embedding function, for the message.
        config: The config.
        fields: Field -> types that it may have. `type(None)` where null is allowed.
        required: Fields that must be there.

    Raises:
        InvalidArgumentError: It is not such a config.
    """
    unknown = [name for name in config if name not in fields]
    if unknown:
        raise InvalidArgumentError(
            f"Config of embedding function {function!r} has an unknown field {unknown[0]!r}. "
            f"Known: {', '.join(fields) or 'none'}."
        )
    for name in required:
        if name not in config:
            raise InvalidArgumentError(
                f"Config of embedding function {function!r} has no {name!r}."
            )
    for name, value in config.items():
        kinds = fields[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InvalidArgumentError(
                f"Config of embedding function {function!r}: {name!r} must be "
                f"{' or '.join(_KIND[kind] for kind in kinds)}, got {shown(value, 80)}."
            )


def check_same_model(
    old_config: Mapping[str, Any], new_config: Mapping[str, Any], fields: Sequence[str]
) -> None:
    """Check that a new config is of the recorded one's model; for `validate_config_update`.

    Args:
        old_config: The recorded config.
        new_config: The new one; a field that it lacks stays as it is.
        fields: The fields that choose the model.

    Raises:
        InvalidArgumentError: One of them would change.
    """
    for field in fields:
        if field in new_config and new_config[field] != old_config.get(field):
            raise InvalidArgumentError(
                f"Cannot change {field} from {old_config.get(field)!r} to {new_config[field]!r}: the "
                "collection's vectors are the former's. Create another collection."
            )


def check_texts(input: Any) -> list[str]:
    """Return the texts as a list.

    Raises:
        InvalidArgumentError: It is one bare text, or something in it is no text.
    """
    if isinstance(input, str):
        raise InvalidArgumentError(
            f"Expected documents to be a list of texts, got the text {shown(input, 80)}. Put it in a "
            "list."
        )
    texts = list(input)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidArgumentError(
                f"Expected document to be a str, got {shown(text, 80)} (document {row})"
            )
    return texts
