"""`why_nothing`: why a search has no record, as far as that follows from the search itself and not from its filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.search.ranks import knn_leaves
from chroma_nb.special_keys import DOCUMENT_KEY
from chroma_nb.words import brief, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.api.base import Found
    from chroma_nb.search.expression import Search
    from chroma_nb.search.ranks import Knn

#: Parts that a sentence names, and characters of a name.
_NAMED = 6
_NAME = 40
_DEFAULT = (
    "With a default a Knn scores the records that it does not find, too: Knn(..., default=1000)."
)


def why_nothing(search: Search, found: Found, names: Sequence[str]) -> str | None:
    """Return a sentence; None where there are records, or where no more is to say than that none matches.

    Args:
        search: What was asked.
        found: The answer.
        names: What each `Knn` of the rank is called, from left to right.
    """
    offset = search.page.offset
    if found.ids:
        return None
    if search.page.limit == 0:
        return "limit=0 asks for no record."
    if search.score is None:
        many = counted(offset, "record")
        return f"offset leaves out {many}, and no more match." if offset else None
    leaves = list(knn_leaves(search.score))
    if not leaves:
        return "The rank has no Knn, and a number alone scores no record: Search(rank=Knn(...))."
    if found.n_scored:
        return (
            f"offset leaves out {offset:,} records, and no more than {found.n_scored:,} are scored."
        )
    if found.n_found is None:
        # Another server does not say it.
        several = sum(leaf.default is None for leaf in leaves) > 1
        rule = "A record is scored only where every Knn without a default finds it."
        return f"{rule} {_DEFAULT}" if several else None
    if any(found.n_found):
        said = [
            f"{brief(name, _NAME)} found {counted(n, 'record')}"
            for name, n in zip(names[:_NAMED], found.n_found, strict=False)
        ]
        more = ", ..." if len(names) > _NAMED else ""
        return f"{', '.join(said)}{more}; but no record was found by every Knn that has no default. {_DEFAULT}"
    return _nowhere(leaves, names)


def _nowhere(leaves: Sequence[Knn], names: Sequence[str]) -> str | None:
    """Say that no part has found anything, and what may be behind it."""
    if not any(leaf.limit for leaf in leaves):
        return "Each Knn has limit=0, and so finds no record."
    if all(leaf.key == DOCUMENT_KEY for leaf in leaves):
        return (
            "No document that matches has one of the words. Whole words are compared, by their English stems, and very "
            "common ones do not count."
        )
    return f"No record was found by {', '.join(brief(name, _NAME) for name in names[:_NAMED])}."
