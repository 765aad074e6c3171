"""`Fields`: the metadata keys of a collection, to look at and to make conditions with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.display.base import Displayed
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search.conditions import Key
from chroma_nb.types import MOST_METADATA_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.client.client import ClientAPI
    from chroma_nb.types import CollectionInfo, FieldSummary


class Fields(Displayed):
    """The metadata keys of a collection; ``fields["year"]`` and ``fields.year`` are for conditions.

    ``collection.query(query_texts="bear", where=collection.fields["year"] > 1990)``

    As a container it holds the names of the keys in alphabetical order, by code points: 20,000 at most.

    Args:
        client: The client of the collection.
        info: What the catalogue says of the collection.
    """

    _view = "fields"

    def __init__(self, client: ClientAPI, info: CollectionInfo) -> None:
        self._client, self._id = client, info.id
        self._in_database: Any = {"tenant": info.tenant, "database": info.database}
        #: Is the store in this process?
        self.is_near = client.api.is_near

    def describe(self, n_values: int = 20) -> list[FieldSummary]:
        """Return each key's kinds, number of records, range and values; the 200 most frequent keys.

        Args:
            n_values: A key with at most so many different values has them counted.
        """
        return self._client.api.describe_fields(self._id, n_values, **self._in_database)

    def _keys(self) -> list[str]:
        return self._client.api.metadata_keys(self._id, **self._in_database)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def __contains__(self, key: object) -> bool:
        keys = self._keys()
        if key in keys:
            return True
        if len(keys) >= MOST_METADATA_KEYS and isinstance(key, str) and key > keys[-1]:
            raise InvalidArgumentError(
                f"Whether {key!r} is a metadata key is not known: the first {len(keys):,} keys are listed, up to "
                f"{keys[-1]!r}, and it would come after them."
            )
        return False

    def __getitem__(self, key: str) -> Key:
        return Key(key)

    def __getattr__(self, key: str) -> Key:
        if key.startswith("_"):
            raise AttributeError(key)
        return Key(key)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(key for key in self._completions() if key.isidentifier())]

    def _ipython_key_completions_(self) -> list[str]:
        return self._completions()

    def _completions(self) -> list[Any]:
        # Tab completion must not raise.
        try:
            # Not `list(self)`, which asks for the length first.
            return self._keys()
        except Exception:
            return []

    def __repr__(self) -> str:
        if not self.is_near:
            # One line is no reason for a request.
            return "Fields(of a collection at a server)"
        keys = self._completions()
        shown = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
        return f"Fields({shown})" if len(shown) < 70 else f"Fields({len(keys)} keys)"
