"""Where a client's store is: the folder that is given, beside what the settings say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.settings import real_path
from chroma_nb.words import brief

if TYPE_CHECKING:
    from chroma_nb.settings import Settings


def with_path(settings: Settings, path: str | os.PathLike[str]) -> Settings:
    """Return the settings of a store in this folder, wherever the environment sends its clients.

    Raises:
        InvalidArgumentError: The path is empty, or the settings name another place.
    """
    if not isinstance(path, str | os.PathLike):
        raise InvalidArgumentError(
            f"Expected a path to be a text or a Path, got {brief(path, quoted=True)}. A variable of the environment may not be "
            "set; for a store in memory use chroma_nb.EphemeralClient()."
        )
    chosen = os.fspath(path)
    if not isinstance(chosen, str) or not chosen.strip():
        raise InvalidArgumentError(
            f"Expected the path of a folder, got {path!r}. Give one, such as './store', or use "
            "chroma_nb.EphemeralClient() for a store in memory."
        )
    if settings.gives("url"):
        raise two_places(chosen, settings.shown("url"))
    if settings.gives("path") and not _same_path(settings.path, chosen):
        raise two_places(chosen, settings.path)
    return settings.replace(path=chosen, is_persistent=True)


def _same_path(one: str, other: str) -> bool:
    return real_path(one) == real_path(other)


def two_places(one: str, other: str) -> InvalidArgumentError:
    """Return the error for a place that is given beside another one in the settings."""
    return InvalidArgumentError(
        f"A store is in one place, and two are given: {one!r}, and {other!r} in the settings. Leave one of "
        "them out."
    )
