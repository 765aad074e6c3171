"""`shown`: a value as errors show it; `check_members`: an error for what a dict has and should not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def shown(value: object) -> str:
    """Return a value, cut to 100 characters, and the name of its kind."""
    text = str(value)[:100]
    return (
        f"{text!r} ({type(value).__name__})"
        if isinstance(value, str)
        else f"{text} ({type(value).__name__})"
    )


def check_members(name: str, data: Iterable[Any], known: Sequence[str]) -> None:
    """Refuse a member that is not known: what it says would be dropped.

    Raises:
        ValueError: There is one.
    """
    for member in data:
        if member not in known:
            raise ValueError(
                f"Unexpected keys in {name}: {shown(member)}.{did_you_mean(member, known)}"
            )
