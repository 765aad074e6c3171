"""`Conditions`: reads the filters of calls, and refuses those that cannot be or would take too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.filters.expression import And, Expression, patterns
from chroma_nb.filters.indexed import check_indexed
from chroma_nb.filters.limits import FilterLimits
from chroma_nb.filters.parsing import parse_where, parse_where_document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from chroma_nb.db.base import DB
    from chroma_nb.settings import Settings
    from chroma_nb.types import Where


class Conditions:
    """Reads filters.

    Args:
        db: Where the collections are, whose schemas and texts count.
        settings: Have the limits.
    """

    def __init__(self, db: DB, settings: Settings) -> None:
        self._db = db
        self.limits = FilterLimits.of(settings)

    def read(
        self,
        collection_id: UUID,
        where: Where | None,
        where_document: Where | None,
        ids: Sequence[str] | None,
    ) -> Expression | None:
        """Return a call's filters as one expression; None matches everything.

        Raises:
            ValueError: A filter cannot be read.
            InvalidArgumentError: It is too large, or asks for what the schema does not index.
        """
        self.limits.check(where, where_document, ids=ids)
        parts = [
            part
            for part in (parse_where(where), parse_where_document(where_document))
            if part is not None
        ]
        self.check_patterns(collection_id, [one for part in parts for one in patterns(part)])
        expression = And(tuple(parts)) if len(parts) == 2 else parts[0] if parts else None
        check_indexed(self._db.get_collection(collection_id).schema, expression)
        return expression

    def check_patterns(self, collection_id: UUID, given: Sequence[str]) -> None:
        """Refuse regular expressions that would be too large, or work too long on one document."""
        self.limits.check_patterns(
            given,
            # Known without a look at the records, and never less: it counts all texts, and those of deleted records.
            lambda: self._db.text_sizes(collection_id).longest,
            lambda: self._db.longest_document(collection_id),
        )
