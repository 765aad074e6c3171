"""The parts of a request of the REST API, as it is sent and as it arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Base64:
    """Where a server takes embeddings in base64; elsewhere they are lists of numbers.

    Args:
        writes: The embeddings of records.
        queries: Those of queries, and of answers.
    """

    writes: bool = True
    queries: bool = True


class Sent(NamedTuple):
    """A request as HTTP carries it: the path's parameters, the body, the query string."""

    path: dict[str, str]
    body: Any
    params: dict[str, Any] | None


class Arrived(NamedTuple):
    """A request as HTTP brings it.

    Args:
        path: The path's parameters.
        query: The query string.
        body: An object that has the members of the JSON body as attributes, of the right types; None without one.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return a number of the query string.

        Raises:
            InvalidArgumentError: It is not a number, or negative.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 15:
            raise InvalidArgumentError(
                f"Failed to deserialize query string: {name}: expected a whole number from 0, got "
                f"{text[:40]!r}"
            )
        return int(text)

    def word(self, name: str, known: Sequence[str]) -> str:
        """Return a word of the query string; where it is missing, the first of `known`.

        Raises:
            InvalidArgumentError: It is not one of `known`.
        """
        text = self.query.get(name, known[0])
        if text not in known:
            raise InvalidArgumentError(
                f"Failed to deserialize query string: {name}: unknown variant {text[:40]!r}, expected one "
                f"of {', '.join(known)}"
            )
        return text
