"""`CollectionHandle`: which collection it is, of which client."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from chroma_nb.boundary import public_class
from chroma_nb.display.base import Displayed
from chroma_nb.embedding.registry import embedding_function_from_config
from chroma_nb.errors import InternalError, InvalidArgumentError, with_way_out
from chroma_nb.unpicklable import Unpicklable

if TYPE_CHECKING:
    from uuid import UUID

    from chroma_nb.api.base import API
    from chroma_nb.client.client import ClientAPI
    from chroma_nb.schema import Schema
    from chroma_nb.types import CollectionInfo


@public_class
class CollectionHandle(Displayed, Unpicklable):
    """What is known of a collection without asking for its records.

    Args:
        client: The client that the collection was got from.
        info: What the catalogue said of it.
    """

    def __init__(self, client: ClientAPI, info: CollectionInfo) -> None:
        self._client = client
        self._info = info
        #: What every call of the API wants beside the id.
        self._in_database: Any = {"tenant": info.tenant, "database": info.database}

    @property
    def client(self) -> ClientAPI:
        """The client that the collection was got from."""
        return self._client

    @property
    def api(self) -> API:
        """The `API` that answers for the collection.

        Raises:
            InternalError: The client is closed.
        """
        return self._client.api

    @property
    def id(self) -> UUID:
        """The collection's id; its name may change, this does not."""
        return self._info.id

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._info.name

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What was said about the collection as a whole."""
        return self._info.metadata

    @property
    def tenant(self) -> str:
        """The tenant that the collection belongs to."""
        return self._info.tenant

    @property
    def database(self) -> str:
        """The database that the collection belongs to."""
        return self._info.database

    @property
    def configuration(self) -> dict[str, Any]:
        """``{"hnsw", "spann", "embedding_function"}``, the embedding function as an object.

        A function that is not known here, or that cannot be built, is shown as it is recorded, a dict.
        """
        recorded = self._info.configuration
        function: Any
        try:
            function = embedding_function_from_config(
                recorded.get("embedding_function"), settings=self._client.get_settings()
            )
        except InvalidArgumentError:
            function = copy.deepcopy(recorded.get("embedding_function"))
        return {**recorded, "embedding_function": function}

    @property
    def configuration_json(self) -> dict[str, Any]:
        """The configuration as plain values, as on Chroma's wire."""
        return copy.deepcopy(self._info.configuration)

    @property
    def schema(self) -> Schema:
        """Which indexes the collection has, and which metadata keys it had when this handle was made.

        It is built each time: to change it changes nothing. An embedding function that cannot be built is None in it,
        with a UserWarning.

        Raises:
            InternalError: The server describes what is no schema, such as a graph with numbers that are none;
                `get_model().serialized_schema` has what it says.
        """
        from chroma_nb.schema import Schema

        try:
            return Schema.deserialize_from_json(self._info.serialized_schema)
        except ValueError as error:
            raise with_way_out(
                InternalError(f"The schema of collection [{self.name}] cannot be read: {error}"),
                "collection.get_model().serialized_schema has it as it is described.",
            ) from None

    def get_model(self) -> CollectionInfo:
        """Return what the catalogue said of the collection."""
        return self._info

    @property
    def _model(self) -> CollectionInfo:
        # Chroma's name of it, which other code reads.
        return self._info

    def __repr__(self) -> str:
        return f"Collection(name={self.name})"

    def _refresh(self) -> None:
        """Ask the catalogue again."""
        self._info = self._client.api.get_collection_by_id(self.id, **self._in_database)
