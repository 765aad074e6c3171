"""chroma_nb: the vector store that lives in the notebook.

    import chroma_nb as chroma

    client = chroma.connect()                   # in memory; chroma.connect("./store") keeps it, and
                                                # chroma.connect("http://host:8000") is a server
    notes = client.get_or_create_collection("notes")
    notes.add(ids=["a"], documents=["the bear is a large furry animal"])
    notes.query(query_texts=["what is big and has fur?"])

* A store: `connect`, `Client`, `PersistentClient`, `EphemeralClient`, `HttpClient`; with coroutines `AsyncClient`.
* In it: `Collection`, whose `add`, `get`, `query`, `update`, `delete` are Chroma's.
* Filters: ``where={"pos": "noun"}`` or ``where=(K("year") > 1990) & K.DOCUMENT.contains("bear")``.
* Memory: ``client.memory``, ``collection.unload()``.

The API is Chroma's. Names are imported when they are first used: importing this package loads nothing
heavy, reads nothing and prints nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb._version import __version__
from chroma_nb.lazy import lazy_attributes, lazy_modules

if TYPE_CHECKING:
    from chroma_nb import api as api
    from chroma_nb import db as db
    from chroma_nb import errors as errors
    from chroma_nb import server as server
    from chroma_nb import utils as utils
    from chroma_nb.api.base import API as API
    from chroma_nb.api.types import SparseVectors as SparseVectors
    from chroma_nb.chroma_settings import TokenTransportHeader as TokenTransportHeader
    from chroma_nb.client.admin import AdminClientAPI as AdminClientAPI
    from chroma_nb.client.async_client import AsyncClient as AsyncClient
    from chroma_nb.client.async_client import AsyncClientAPI as AsyncClientAPI
    from chroma_nb.client.async_client import AsyncHttpClient as AsyncHttpClient
    from chroma_nb.client.client import ClientAPI as ClientAPI
    from chroma_nb.client.opening import AdminClient as AdminClient
    from chroma_nb.client.opening import Client as Client
    from chroma_nb.client.opening import EphemeralClient as EphemeralClient
    from chroma_nb.client.opening import PersistentClient as PersistentClient
    from chroma_nb.client.remote import CloudClient as CloudClient
    from chroma_nb.client.remote import HttpClient as HttpClient
    from chroma_nb.client.remote import connect as connect
    from chroma_nb.collection.collection import Collection as Collection
    from chroma_nb.collection.comparing import compare as compare
    from chroma_nb.collection.results import GetResult as GetResult
    from chroma_nb.collection.results import QueryResult as QueryResult
    from chroma_nb.db.base import DB as DB
    from chroma_nb.embedding import EmbeddingFunction as EmbeddingFunction
    from chroma_nb.embedding import SparseEmbeddingFunction as SparseEmbeddingFunction
    from chroma_nb.embedding import StaticEmbeddingFunction as StaticEmbeddingFunction
    from chroma_nb.embedding import prefetch as prefetch
    from chroma_nb.factories import configure as configure
    from chroma_nb.factories import get_api as get_api
    from chroma_nb.factories import get_db as get_db
    from chroma_nb.factories import get_embedding_function as get_embedding_function
    from chroma_nb.factories import get_server as get_server
    from chroma_nb.factories import get_settings as get_settings
    from chroma_nb.schema import BoolInvertedIndexConfig as BoolInvertedIndexConfig
    from chroma_nb.schema import Cmek as Cmek
    from chroma_nb.schema import FloatInvertedIndexConfig as FloatInvertedIndexConfig
    from chroma_nb.schema import FtsIndexConfig as FtsIndexConfig
    from chroma_nb.schema import HnswIndexConfig as HnswIndexConfig
    from chroma_nb.schema import IntInvertedIndexConfig as IntInvertedIndexConfig
    from chroma_nb.schema import Schema as Schema
    from chroma_nb.schema import SpannIndexConfig as SpannIndexConfig
    from chroma_nb.schema import SparseVectorIndexConfig as SparseVectorIndexConfig
    from chroma_nb.schema import StringInvertedIndexConfig as StringInvertedIndexConfig
    from chroma_nb.schema import VectorIndexConfig as VectorIndexConfig
    from chroma_nb.search import And as And
    from chroma_nb.search import Eq as Eq
    from chroma_nb.search import GroupBy as GroupBy
    from chroma_nb.search import K as K
    from chroma_nb.search import Key as Key
    from chroma_nb.search import Knn as Knn
    from chroma_nb.search import Limit as Limit
    from chroma_nb.search import MaxK as MaxK
    from chroma_nb.search import MinK as MinK
    from chroma_nb.search import Or as Or
    from chroma_nb.search import Rrf as Rrf
    from chroma_nb.search import Search as Search
    from chroma_nb.search import Select as Select
    from chroma_nb.search import SparseVector as SparseVector
    from chroma_nb.search import Val as Val
    from chroma_nb.server.base import Server as Server
    from chroma_nb.settings import Settings as Settings
    from chroma_nb.types import DEFAULT_DATABASE as DEFAULT_DATABASE
    from chroma_nb.types import DEFAULT_TENANT as DEFAULT_TENANT
    from chroma_nb.types import URI as URI
    from chroma_nb.types import CollectionMetadata as CollectionMetadata
    from chroma_nb.types import Documents as Documents
    from chroma_nb.types import Embeddings as Embeddings
    from chroma_nb.types import IDs as IDs
    from chroma_nb.types import Include as Include
    from chroma_nb.types import Metadata as Metadata
    from chroma_nb.types import Metadatas as Metadatas
    from chroma_nb.types import UpdateCollectionMetadata as UpdateCollectionMetadata
    from chroma_nb.types import UpdateMetadata as UpdateMetadata
    from chroma_nb.types import URIs as URIs
    from chroma_nb.types import Where as Where
    from chroma_nb.types import WhereDocument as WhereDocument
    from chroma_nb.widgets import MemoryWidget as MemoryWidget
    from chroma_nb.widgets import SearchWidget as SearchWidget
    from chroma_nb.widgets import link as link

_MODULES = (
    "api",
    "base_types",
    "config",
    "db",
    "embedding",
    "errors",
    "execution",
    "server",
    "types",
    "utils",
)
_ATTRIBUTES = {
    "API": "chroma_nb.api.base",
    "DB": "chroma_nb.db.base",
    "Server": "chroma_nb.server.base",
    **dict.fromkeys(
        ("AsyncClient", "AsyncClientAPI", "AsyncHttpClient"), "chroma_nb.client.async_client"
    ),
    "AdminClient": "chroma_nb.client.opening",
    "AdminClientAPI": "chroma_nb.client.admin",
    "Client": "chroma_nb.client.opening",
    "ClientAPI": "chroma_nb.client.client",
    "EphemeralClient": "chroma_nb.client.opening",
    "PersistentClient": "chroma_nb.client.opening",
    "Collection": "chroma_nb.collection.collection",
    "EmbeddingFunction": "chroma_nb.embedding",
    "StaticEmbeddingFunction": "chroma_nb.embedding",
    "prefetch": "chroma_nb.embedding",
    "configure": "chroma_nb.factories",
    "get_api": "chroma_nb.factories",
    "get_db": "chroma_nb.factories",
    "get_embedding_function": "chroma_nb.factories",
    "get_server": "chroma_nb.factories",
    "get_settings": "chroma_nb.factories",
    "CloudClient": "chroma_nb.client.remote",
    "HttpClient": "chroma_nb.client.remote",
    "connect": "chroma_nb.client.remote",
    "compare": "chroma_nb.collection.comparing",
    "GetResult": "chroma_nb.collection.results",
    "QueryResult": "chroma_nb.collection.results",
    **dict.fromkeys(
        (
            "And",
            "Eq",
            "GroupBy",
            "K",
            "Key",
            "Knn",
            "Limit",
            "MaxK",
            "MinK",
            "Or",
            "Rrf",
            "Search",
            "Select",
            "SparseVector",
            "Val",
        ),
        "chroma_nb.search",
    ),
    **dict.fromkeys(
        (
            "BoolInvertedIndexConfig",
            "Cmek",
            "FloatInvertedIndexConfig",
            "FtsIndexConfig",
            "HnswIndexConfig",
            "IntInvertedIndexConfig",
            "Schema",
            "SpannIndexConfig",
            "SparseVectorIndexConfig",
            "StringInvertedIndexConfig",
            "VectorIndexConfig",
        ),
        "chroma_nb.schema",
    ),
    "SparseEmbeddingFunction": "chroma_nb.embedding",
    "SparseVectors": "chroma_nb.api.types",
    "MemoryWidget": "chroma_nb.widgets",
    "SearchWidget": "chroma_nb.widgets",
    "link": "chroma_nb.widgets",
    "Settings": "chroma_nb.settings",
    "TokenTransportHeader": "chroma_nb.chroma_settings",
    **dict.fromkeys(
        (
            "DEFAULT_DATABASE",
            "DEFAULT_TENANT",
            "CollectionMetadata",
            "Document",
            "Documents",
            "Embedding",
            "Embeddings",
            "ID",
            "IDs",
            "Include",
            "Metadata",
            "Metadatas",
            "ReadLevel",
            "URI",
            "URIs",
            "UpdateCollectionMetadata",
            "UpdateMetadata",
            "Vector",
            "Where",
            "WhereDocument",
        ),
        "chroma_nb.types",
    ),
}
#: What somebody who looks around should meet: `help` and ``import *`` show these. All of `_ATTRIBUTES` can be
#: imported; interfaces to implement are in `chroma_nb.api`, `.db`, `.index` and `.server`.
__all__ = [
    "AdminClient",
    "AsyncClient",
    "AsyncHttpClient",
    "Client",
    "Collection",
    "EmbeddingFunction",
    "EphemeralClient",
    "GetResult",
    "HttpClient",
    "K",
    "PersistentClient",
    "QueryResult",
    "Settings",
    "StaticEmbeddingFunction",
    "__version__",
    "compare",
    "configure",
    "connect",
    "get_embedding_function",
    "get_server",
    "get_settings",
    "prefetch",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return lazy_modules(__name__, _MODULES, name)
    return lazy_attributes(__name__, _ATTRIBUTES, name)


def __dir__() -> list[str]:
    return sorted({*_ATTRIBUTES, *_MODULES, *__all__})
