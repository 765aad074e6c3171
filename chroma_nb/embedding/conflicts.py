"""Two embedding functions for one collection: are they the same, by name and config?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.embedding.protocol import function_name, recordable, short_name
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_conflict_on_create(function: Any, configured: Any) -> None:
    """Check the argument of `create_collection` against the function in its configuration.

    Args:
        function: The argument, or None. One that is named "default" never conflicts.
        configured: `configuration["embedding_function"]`, or None.

    Raises:
        InvalidArgumentError: They are different functions.
    """
    if function is None or configured is None or function is configured:
        return
    name, other = function_name(function), function_name(configured)
    if name == "default" or (name is not None and name == other):
        return
    raise InvalidArgumentError(
        "Multiple embedding functions provided. Please provide only one. Embedding function conflict: "
        f"{short_name(function)} vs {short_name(configured)}"
    )


def check_conflict_on_get(function: Any, persisted: Mapping[str, Any] | None) -> None:
    """Check the argument of `get_collection` against what the collection records.

    Args:
        function: The argument, or None. One that is named "default" never conflicts.
        persisted: The collection's `configuration["embedding_function"]`. None and legacy ones accept
            any function.

    Raises:
        InvalidArgumentError: The collection records another name, or the function says that its vectors
            and the recorded one's do not belong together (`validate_config_update`).
    """
    recorded = None if persisted is None else persisted.get("name")
    if persisted is None or function is None or recorded is None:
        return
    name = function_name(function)
    if name == "default" and name != recorded:
        return
    if name == recorded:
        described = recordable(function)
        if described is not None:
            _check_same_model(function, dict(persisted.get("config") or {}), described[1])
        return
    raise InvalidArgumentError(
        "An embedding function already exists in the collection configuration, and a new one is "
        "provided. If this is intentional, please embed documents separately. Embedding function "
        f"conflict: new: {short_name(function)} vs persisted: {recorded}"
    )


def _check_same_model(function: Any, recorded: dict[str, Any], given: dict[str, Any]) -> None:
    """Check that a function of the recorded name makes vectors like those in the collection.

    Only a class knows which fields of its config choose the model, so its `validate_config_update` decides. A class
    without that method is trusted, as in Chroma.
    """
    if recorded != given and hasattr(function, "validate_config_update"):
        function.validate_config_update(recorded, given)


def check_conflict_on_modify(persisted: Mapping[str, Any] | None, function: Any) -> None:
    """Check the function given to `modify` against what the collection records.

    Args:
        persisted: The collection's `configuration["embedding_function"]`.
        function: The new function, or None.

    Raises:
        InvalidArgumentError: The collection records another name.
        ValueError: The function itself refuses the change of its config.
    """
    recorded = None if persisted is None else persisted.get("name")
    if function is None or recorded is None:
        return
    described = recordable(function)
    if described is None or described[0] != recorded:
        raise InvalidArgumentError(
            "Cannot update embedding function: incompatible types "
            f"({recorded} vs {short_name(function)})"
        )
    old = dict((persisted or {}).get("config") or {})
    if hasattr(function, "validate_config"):
        function.validate_config(described[1])
    if hasattr(function, "validate_config_update"):
        function.validate_config_update(old, described[1])
