"""What collections and clients return: Chroma's dicts and lists, able to show themselves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from chroma_nb import display
from chroma_nb.boundary import ends_at_caller, public_call
from chroma_nb.display.base import Displayed
from chroma_nb.display.extent import FIRST_CHARACTERS, OTHER_KEYS, ROWS, Extent, head_name
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.lazy import lazily
from chroma_nb.scalars import is_integer
from chroma_nb.suggest import did_you_mean
from chroma_nb.words import brief, nearness_names

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd

    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.fields import Fields
    from chroma_nb.filters.expression import FieldLeaf
    from chroma_nb.widgets import TableWidget


#: Columns of a table that not every result has -> the key that they show.
_COLUMNS = {"document": "documents", "uri": "uris", "embedding": "embeddings"}
#: Columns that an error names.
_NAMED = 20


def _no_column(name: Any, known: dict[str, str]) -> str:
    # Each column once, by the name that a table has.
    columns: dict[str, str] = {}
    for one, column in known.items():
        columns.setdefault(column, one)
    more = ", …" if len(columns) > _NAMED else ""
    return (
        f"There is no column {brief(name, quoted=True)}.{did_you_mean(name, known)} "
        f"Columns: {', '.join(map(brief, [*columns.values()][:_NAMED]))}{more}."
    )


class ShownResult(Displayed, dict[str, Any]):
    """What all results share.

    Attributes:
        contains: Texts that the documents were asked to contain, for display.
        conditions: What the filter asks about metadata keys, for display.
        fields: The collection's keys, to say of an empty answer why it is; None where that is not known.
        display_rows: Records of each table that is shown, from the setting of that name.
    """

    contains: Sequence[str] = ()
    conditions: Sequence[FieldLeaf] = ()
    fields: Fields | None = None
    display_rows: int = ROWS

    @public_call
    def show(
        self,
        rows: int | None = None,
        columns: Sequence[str] | None = None,
        chars: int | None = FIRST_CHARACTERS,
    ) -> None:
        """Show more, or less, than a cell that ends with the result: at once, wherever the call stands.

        Where IPython runs, it shows a table; elsewhere it prints text. An output has at most 1 MB; where that is too
        little, it has fewer rows, and says so.

        Args:
            rows: Records of each table at most. None is the setting `display_rows`.
            columns: The columns, in this order, by the names that the table has: ``id``, ``distance``, ``document``,
                ``uri``, ``embedding``, metadata keys, and ``other keys``, which is all metadata that has no column. Of two
                of the same name the record's own is meant. Those of `to_pandas` are taken as well: ``rank``,
                ``rank by words``. None shows those that have room, and the other keys below the document.
            chars: Characters of each text that are shown before the fold. None is all of them.

        Raises:
            ValueError: There is no such column, or `rows` or `chars` is not a positive number.
        """
        for name, number in (("rows", rows), ("chars", chars)):
            if number is not None and not (is_integer(number) and number >= 1):
                raise InvalidArgumentError(
                    f"Expected {name} to be a positive integer, got {brief(number, quoted=True)}."
                )
        known = self._columns()
        if columns is not None:
            if not isinstance(columns, Iterable):
                raise InvalidArgumentError(
                    f"Expected columns to be a list of names, got {brief(columns, quoted=True)}."
                )
            columns = [columns] if isinstance(columns, str) else list(columns)
            for name in columns:
                if not isinstance(name, str) or name not in known:
                    raise InvalidArgumentError(_no_column(name, known))
            columns = [known[name] for name in columns]
        if rows is not None:
            rows = min(int(rows), max(1, self._most_records()))
        display.show(self, Extent.wanted(rows, columns, None if chars is None else int(chars)))

    @public_call
    def widget(
        self,
        *,
        columns: Sequence[str] | None = None,
        page_size: int = 25,
        thumbnails: bool | str | os.PathLike[str] = False,
    ) -> TableWidget:
        """Return a live table of the records: sort, filter, page, choose, copy.

        ``.selected`` are the ids of the records that were chosen in it, ``.selection()`` the records.

        Args:
            columns: The columns shown at first, by the names that `show` takes. None chooses.
            page_size: Rows of a page: 10, 25, 50 or 100.
            thumbnails: As in `Collection.table`.

        Raises:
            InvalidArgumentError: There is no such column, page size or folder.
        """
        panel: TableWidget = lazily("chroma_nb.widgets", "result_table")(
            self, GetResult, columns=columns, page_size=page_size, thumbnails=thumbnails
        )
        return panel

    def _most_records(self) -> int:
        """Return how many records a table of it may have."""
        return len(self["ids"])

    def _columns(self) -> dict[str, str]:
        """Return what each column may be called -> its name in the view: the records' own, keys, other names."""
        keys = dict.fromkeys(key for one in self._metadatas() for key in one or ())
        heads = Counter(map(head_name, keys))
        others = [(head_name(key), key) for key in keys if heads[head_name(key)] == 1]
        if keys:
            others.append((OTHER_KEYS, OTHER_KEYS))
        known = self._own_columns()
        for name, meant in (*zip(keys, keys, strict=True), *others, *self._aliases().items()):
            known.setdefault(name, meant)
        return known

    def _own_columns(self) -> dict[str, str]:
        """Return the columns that are the records' own."""
        names = ["id", *(one for one, key in _COLUMNS.items() if self.get(key) is not None)]
        return {name: name for name in names}

    def _aliases(self) -> dict[str, str]:
        """Return other names of these, which count where no metadata key has them."""
        return {}

    def _metadatas(self) -> Iterable[dict[str, Any] | None]:
        return self.get("metadatas") or ()

    def __getattr__(self, name: str) -> Any:
        kind = type(self).__name__
        if not name.startswith("_") and name in self:
            raise ends_at_caller(
                AttributeError(f"A {kind} is a dict, as in Chroma: result[{name!r}].")
            )
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        # A result outlives its store; what asks the store does not go with a copy.
        return {name: value for name, value in vars(self).items() if name != "fields"}


class GetResult(ShownResult):
    """Records in storage order.

    Keys, always all of them: ``ids``, ``embeddings`` (ndarray of shape (n, dimension), float64 with
    float32 values), ``documents``, ``metadatas``, ``uris``, ``data``, ``included``. What was not asked
    for is None.
    """

    _view = "get"

    def to_pandas(self, *, max_columns: int | None = 20) -> pd.DataFrame:
        """Return one row per record: id, document, then one column per metadata key.

        Args:
            max_columns: Columns at most, 20 as Colab's tables show them; the rest of the metadata is in
                one column, as dicts. None: every key has its column.
        """
        from chroma_nb.collection.tables import records_to_pandas

        return records_to_pandas(self, max_columns)


class QueryResult(ShownResult):
    """For each query its records, nearest first.

    Keys as in `GetResult`, each holding one list per query, and ``distances``: smaller is nearer.

    Attributes:
        asked: What was asked, for display: one text per query, or None where embeddings were given.
        space: The collection's distance, for display: ``l2``, ``cosine`` or ``ip``.
    """

    _view = "query"

    asked: list[str] | None = None
    space: str = "l2"

    def _own_columns(self) -> dict[str, str]:
        nearness = nearness_names(self.space) if self.get("distances") is not None else ()
        return {name: name for name in ("id", *nearness, *super()._own_columns(), "#")}

    def _aliases(self) -> dict[str, str]:
        return {"rank": "#"}

    def _metadatas(self) -> Iterable[dict[str, Any] | None]:
        return itertools.chain.from_iterable(self.get("metadatas") or ())

    def _most_records(self) -> int:
        return max(map(len, self["ids"]), default=0)

    def to_pandas(self, query: int | None = None, *, max_columns: int | None = 20) -> pd.DataFrame:
        """Return one row per found record: query, rank, distance, id, document, metadata columns.

        Args:
            query: Only this query's records; None returns those of all.
            max_columns: As for `GetResult.to_pandas`.
        """
        from chroma_nb.collection.tables import matches_to_pandas

        return matches_to_pandas(self, query, max_columns)


class Explanation(Displayed, dict[str, Any]):
    """How a query or a search is answered, and why; see `Collection.explain`. A search has its parts in ``parts``."""

    _view = "explanation"


class CollectionList(Displayed, list["Collection"]):
    """Collections, in order of creation."""

    _view = "collections"
