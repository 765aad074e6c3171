"""`EmbeddingHandle`: what embeds a collection's documents and queries, and what loads its uris."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb import validation
from chroma_nb.boundary import public_class
from chroma_nb.collection.configuration import DEFAULT_CONFIG, DEFAULT_EMBEDDING_FUNCTION
from chroma_nb.collection.handle import CollectionHandle
from chroma_nb.embedding.calls import embed_documents, embed_queries
from chroma_nb.embedding.protocol import checked_embedding_function, function_name, short_name
from chroma_nb.embedding.registry import (
    embedding_function_from_config,
    embedding_function_to_config,
)
from chroma_nb.embedding.sparse import checked_sparse_vectors, stored_vectors_of
from chroma_nb.embedding.sparse_registry import sparse_embedding_function_from_config
from chroma_nb.errors import with_way_out
from chroma_nb.memory.preflight import MAKE_ROOM, SMALL_NEED, require
from chroma_nb.schema_json import sparse_index, vector_config
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.client.client import ClientAPI
    from chroma_nb.search.sparse import SparseVector, StoredVector
    from chroma_nb.types import CollectionInfo, Metadata, RecordBatch

#: Of an embedding, where the collection has none yet: MiniLM's.
_TYPICAL_DIMENSION = 384


def _vector_function(schema: Any) -> Any:
    """Return the function in a schema that embeds documents; None: it says none."""
    types = schema.keys.get(EMBEDDING_KEY) or schema.defaults
    index = None if types.float_list is None else types.float_list.vector_index
    return None if index is None else index.config.embedding_function


def _texts_under(source: str, batch: RecordBatch) -> Sequence[Any]:
    """Return what sparse vectors are made of, a text for each record where it has one."""
    if source == DOCUMENT_KEY:
        return batch.documents or ()
    return [(metadata or {}).get(source) for metadata in batch.metadatas or ()]


def _loses(metadata: Metadata | None, source: str, key: str) -> bool:
    """Say whether a change takes the text away that the vector under a key was made of, and says nothing of the vector."""
    if not metadata or source not in metadata or key in metadata:
        return False
    return not isinstance(metadata[source], str)


@public_class
class EmbeddingHandle(CollectionHandle):
    """A collection whose texts can be embedded.

    Args:
        client: The client that the collection was got from.
        info: What the catalogue said of it.
        embedding_function: What embeds; None: nothing does. The default leaves it to what the collection records.
        data_loader: Called with a list of uris, returns what they stand for.
    """

    def __init__(
        self,
        client: ClientAPI,
        info: CollectionInfo,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
    ) -> None:
        super().__init__(client, info)
        self._embedding_function = checked_embedding_function(embedding_function)
        self._data_loader = data_loader
        #: What the configuration says, built when it is first used.
        self._built_function: Any = None
        #: What makes sparse vectors, by metadata key: given with the schema, or built from it when first used.
        self._sparse_functions: dict[str, Any] = {}

    # -- embedding ----------------------------------------------------------------------------

    def embed_documents(self, documents: Sequence[Any]) -> NDArray[np.float32]:
        """Return the embeddings of documents, as `add` makes them.

        Args:
            documents: Texts, or images where the function takes images.

        Returns:
            Shape (n, dimension), float32.

        Raises:
            ValueError: No function is given or recorded, or it returns something else than embeddings.
            MemoryBudgetError: There is no room for them.
        """
        function = self._function("embeddings=")
        settings = self._client.get_settings()
        # The function's own result, and the array of it.
        row_bytes = 2 * 4 * (self._info.dimension or _TYPICAL_DIMENSION)
        require(
            row_bytes * len(documents),
            f"Embedding {len(documents):,} documents for collection [{self.name}]",
            f"add them in parts of {max(1, (SMALL_NEED - 1) // row_bytes):,}",
            MAKE_ROOM,
        )
        return embed_documents(
            function,
            documents,
            progress=settings.progress,
            desc=f"Embedding {self.name}",
            at_most=settings.max_batch_size or None,
            elsewhere=self._client.api.embed,
        )

    def embed_queries(self, query_texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of questions, as `query` makes them.

        Args:
            query_texts: One text, or a list.

        Returns:
            Shape (n, dimension), float32.

        Raises:
            ValueError: No function is given or recorded, or it returns something else than embeddings.
        """
        return self._embed_queries(validation.check_query_texts(query_texts))

    def _embed_queries(
        self, queries: Sequence[Any], instead: str = "query_embeddings="
    ) -> NDArray[np.float32]:
        function = self._function(instead)
        at_most = self._client.get_settings().max_batch_size or None
        return embed_queries(function, queries, at_most=at_most)

    def _query_embeddings(
        self, embeddings: Any, texts: Any, images: Any, uris: Any
    ) -> NDArray[np.float32]:
        if embeddings is not None:
            return validation.check_embeddings(embeddings)
        to_embed = validation.check_queries(texts, images, uris)
        if texts is None and images is None:
            to_embed = self._load_data(to_embed)
        return self._embed_queries(to_embed)

    # -- sparse vectors -----------------------------------------------------------------------

    def _sparse_function(self, key: str) -> Any:
        """Return what makes the sparse vectors of a metadata key: given with the schema, or as it is recorded there.

        Raises:
            InvalidArgumentError: It cannot be built from what is recorded.
        """
        if key not in self._sparse_functions:
            index = sparse_index((self._info.schema or {}).get("keys", {}).get(key)) or {}
            function = sparse_embedding_function_from_config(index.get("embedding_function"))
            if function is None:
                return None
            self._sparse_functions[key] = function
        return self._sparse_functions[key]

    def _add_sparse_vectors(self, batch: RecordBatch, *, changes: bool = False) -> None:
        """Put into the metadata the sparse vectors that the schema makes of documents or of other metadata.

        A vector that a record brings, or None in its place, is left alone.

        Args:
            batch: The records that are written.
            changes: They change records that exist. Where such a record loses the text that its vector was made of, it
                loses the vector, by which it would still be found. Chroma 1.5.9 leaves it there.

        Raises:
            ValueError: Its function cannot be built, or returns something else than a sparse vector for each text.
        """
        for key, types in (self._info.schema or {}).get("keys", {}).items():
            source = (sparse_index(types) or {}).get("source_key")
            if source is None:
                continue
            # The lists and dicts may be the caller's.
            metadatas: list[Metadata | None] = list(batch.metadatas or [None] * len(batch))
            found = {
                row: text
                for row, text in enumerate(_texts_under(source, batch))
                if isinstance(text, str) and key not in (metadatas[row] or {})
            }
            made: dict[int, Any] = {}
            if changes:
                made = {row: None for row, one in enumerate(metadatas) if _loses(one, source, key)}
            if found:
                vectors = self._stored_vectors_of(key, list(found.values()))
                made.update(zip(found, vectors, strict=True))
            if made:
                for row, value in made.items():
                    metadatas[row] = {**(metadatas[row] or {}), key: value}
                batch.metadatas = metadatas

    def _stored_vectors_of(self, key: str, texts: list[str]) -> list[StoredVector]:
        """Return a sparse vector for each text as it is stored, checked.

        Raises:
            ValueError: As `_sparse_vectors_of`.
        """
        made = stored_vectors_of(self._sparse_function(key), texts)
        if made is not None:
            return made
        vectors = self._sparse_vectors_of(key, texts)
        labels: list[str] = []
        checked = validation.check_sparse_vectors([key] * len(vectors), vectors, labels)
        validation.check_texts(labels, f"labels of a sparse vector for key {key!r}", rows=False)
        return checked

    def _sparse_vectors_of(
        self, key: str, texts: list[str], *, queries: bool = False
    ) -> list[SparseVector]:
        """Return a sparse vector for each text, by the function of a metadata key.

        Raises:
            ValueError: There is none, it cannot be built, or returns something else.
        """
        function = self._sparse_function(key)
        if function is None:
            # No schema of ours: what another server says, or what somebody has written into a store.
            raise with_way_out(
                ValueError(
                    f"Cannot make sparse vectors for key {key!r}: the schema says what they are made of, and no embedding "
                    "function"
                ),
                f"Give a SparseVector under {key!r} in the metadata of each record.",
            )
        call = getattr(function, "embed_query", function) if queries else function
        vectors = checked_sparse_vectors(call(input=texts))
        if len(vectors) != len(texts):
            raise ValueError(
                f"Expected {len(texts):,} sparse vectors for {len(texts):,} texts, got {len(vectors):,} from "
                f"{short_name(function)}, which the schema has for key {key!r}"
            )
        return vectors

    # -- loading ------------------------------------------------------------------------------

    def _needs_loader(self, include: Sequence[str]) -> bool:
        if "data" not in include:
            return False
        if self._data_loader is None:
            raise self._no_loader()
        return True

    def _no_loader(self) -> ValueError:
        return with_way_out(
            ValueError("You must set a data loader on the collection if loading from URIs"),
            f"Open it with one: client.get_collection({self.name!r}, data_loader=...), a function of a list "
            "of uris.",
        )

    def _load_data(self, uris: Sequence[str | None] | None) -> list[Any]:
        if self._data_loader is None:
            raise self._no_loader()
        return list(self._data_loader(uris))

    # -- which function -----------------------------------------------------------------------

    def _function(self, instead: str) -> Any:
        """Return what embeds: the handle's own, else what the collection records, else the default.

        Args:
            instead: What needs no function, for the sentence of an error.

        Raises:
            ValueError: No function is given or recorded, and the collection has records of another one.
        """
        held = self._embedding_function
        if held is not None and function_name(held) != "default":
            return held
        if self._built_function is None:
            self._built_function = self._recorded_function()
        if self._built_function is not None:
            return self._built_function
        if held is not None and held is not DEFAULT_EMBEDDING_FUNCTION:
            # MiniLM, and asked for by name.
            return held
        if held is not None and not self._client.api.count(self.id, **self._in_database):
            return self._choose_default(record=False)
        why = f"Collection [{self.name}] was opened with embedding_function=None."
        if held is not None:
            why = (
                f"Collection [{self.name}] has records and does not say what embedded them: their embeddings "
                "were given, or their function has no name. The default would be another model."
            )
        raise with_way_out(
            ValueError("You must provide an embedding function to compute embeddings"),
            f"{why} Give {instead}, or open it with a function: client.get_collection({self.name!r}, "
            "embedding_function=...). See https://docs.trychroma.com/guides/embeddings",
        )

    def _recorded_function(self) -> Any:
        settings = self._client.get_settings()
        recorded = self._info.configuration.get("embedding_function")
        if recorded == DEFAULT_CONFIG:
            self._refresh()
            recorded = self._info.configuration.get("embedding_function")
            if recorded == DEFAULT_CONFIG and self._info.dimension is None:
                # Nothing is embedded yet, so there is still a choice.
                return self._choose_default(record=True)
        return embedding_function_from_config(recorded, settings=settings)

    def _choose_default(self, *, record: bool) -> Any:
        """Choose between MiniLM and the static model, and record the choice in the collection."""
        from chroma_nb.embedding import resolve_default

        function = resolve_default(self._client.get_settings())
        config = embedding_function_to_config(function)
        if record and config != DEFAULT_CONFIG:
            configuration = {"embedding_function": config}
            self._info = self._client.api.modify(
                self.id, configuration=configuration, **self._in_database
            )
        return function


def hold_functions(collection: EmbeddingHandle, schema: Any, recorded: dict[str, Any]) -> None:
    """Embed with the functions in a schema, where they are those that the collection records.

    One that cannot be built from what is recorded of it has to be given again in another process.

    Args:
        collection: A collection that was made with a schema, or was there.
        schema: What the collection was made with.
        recorded: The same in Chroma's JSON.
    """
    held = collection._embedding_function
    mine = vector_config(recorded).get("embedding_function")
    if (held is None or function_name(held) == "default") and (
        collection._info.configuration.get("embedding_function") == mine
    ):
        given = _vector_function(schema)
        if given is not None:
            collection._embedding_function = given
    now = collection._info.serialized_schema["keys"]
    for key, types in schema.keys.items():
        wanted, there = sparse_index(recorded["keys"].get(key)), sparse_index(now.get(key))
        if wanted is None or there is None:
            continue
        if wanted["embedding_function"] == there.get("embedding_function"):
            function = types.sparse_vector.sparse_vector_index.config.embedding_function
            if function is not None:
                collection._sparse_functions[key] = function
