"""Client: section 3 of the contract, as far as it happens in process."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

POSITIONS = {
    "create_collection": (
        "name schema configuration metadata embedding_function data_loader get_or_create"
    ),
    "get_or_create_collection": (
        "name schema configuration metadata embedding_function data_loader"
    ),
    "get_collection": "name embedding_function data_loader",
    "get_collection_by_id": "id embedding_function data_loader",
    "delete_collection": "name",
    "list_collections": "limit offset",
    "set_tenant": "tenant database",
    "set_database": "database",
}
WITHOUT_ARGUMENTS = [
    "heartbeat",
    "get_version",
    "get_max_batch_size",
    "get_settings",
    "get_user_identity",
    "reset",
    "count_collections",
    "close",
]
ADMIN_POSITIONS = {
    "create_tenant": "name",
    "get_tenant": "name",
    "create_database": "name tenant",
    "get_database": "name tenant",
    "delete_database": "name tenant",
    "list_databases": "limit offset tenant",
}


def positional(method: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(method).parameters.values() if p.kind in kinds]


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Client",
        "EphemeralClient",
        "PersistentClient",
        "AdminClient",
        "Collection",
        "Settings",
        "DEFAULT_TENANT",
        "DEFAULT_DATABASE",
        "Documents",
        "EmbeddingFunction",
        "Embeddings",
        "IDs",
        "Include",
        "Metadata",
        "Metadatas",
        "Where",
        "WhereDocument",
        "QueryResult",
        "GetResult",
        "ReadLevel",
        "__version__",
    ],
)
def test_names_that_people_import_are_there(lib: Any, name: str) -> None:
    assert getattr(lib, name) is not None


@pytest.mark.parametrize("name", ["SparseVector", "Schema", "Search", "K", "Key", "Knn", "Rrf"])
def test_names_of_search_and_schema_are_there(lib: Any, name: str) -> None:
    assert getattr(lib, name) is not None


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("errors", "ChromaError"),
        ("errors", "NotFoundError"),
        ("config", "Settings"),
        ("api", "ClientAPI"),
        ("api.types", "EmbeddingFunction"),
        ("api.types", "Documents"),
        ("api.types", "Embeddings"),
        ("api.types", "Embeddable"),
        ("api.types", "Image"),
        ("api.types", "Images"),
        ("api.types", "Include"),
        ("api.types", "Where"),
        ("api.types", "validate_where"),
        ("utils", "embedding_functions"),
        ("utils.embedding_functions", "DefaultEmbeddingFunction"),
        ("utils.embedding_functions", "register_embedding_function"),
        ("utils.batch_utils", "create_batches"),
    ],
)
def test_modules_that_people_import_are_there(lib: Any, module: str, name: str) -> None:
    statement = f"from {lib.__name__}.{module} import {name}"
    exec(statement, {})


@pytest.mark.parametrize(
    "expression",
    [
        "chromadb.utils.embedding_functions.DefaultEmbeddingFunction",
        "chromadb.config.Settings",
        "chromadb.errors.NotFoundError",
        "chromadb.api.types.EmbeddingFunction",
        "chromadb.api.ClientAPI",
    ],
)
def test_submodules_are_reached_by_attribute(lib: Any, expression: str) -> None:
    """``import chromadb; chromadb.utils.embedding_functions...`` stands in every tutorial."""
    script = f"import {lib.__name__} as chromadb; assert {expression}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(lib.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr.splitlines()[-1]


def test_default_names(lib: Any, client: Any) -> None:
    assert (lib.DEFAULT_TENANT, lib.DEFAULT_DATABASE) == ("default_tenant", "default_database")
    assert (client.tenant, client.database) == ("default_tenant", "default_database")


@pytest.mark.parametrize("method", POSITIONS)
def test_positions_of_arguments(client: Any, method: str) -> None:
    """Positional callers depend on `schema` and `configuration` standing before `metadata`."""
    expected = POSITIONS[method].split()
    assert positional(getattr(client, method))[: len(expected)] == expected


@pytest.mark.parametrize("method", WITHOUT_ARGUMENTS)
def test_methods_without_arguments(client: Any, method: str) -> None:
    signature = inspect.signature(getattr(client, method))
    signature.bind()  # TypeError if an argument is required


@pytest.mark.parametrize("method", ADMIN_POSITIONS)
def test_positions_of_admin_arguments(store: Any, method: str) -> None:
    store.open()
    expected = ADMIN_POSITIONS[method].split()
    assert positional(getattr(store.admin(), method))[: len(expected)] == expected


def test_constructors_take_settings_tenant_database_by_name(lib: Any) -> None:
    for name in ("Client", "EphemeralClient", "PersistentClient"):
        names = inspect.signature(getattr(lib, name)).parameters
        assert {"settings", "tenant", "database"} <= set(names), name
    assert next(iter(inspect.signature(lib.PersistentClient).parameters)) == "path"
    assert next(iter(inspect.signature(lib.EphemeralClient).parameters)) == "settings"


# -- what a client says of itself ----------------------------------------------------------------


def test_heartbeat_is_now_in_nanoseconds(client: Any) -> None:
    before = time.time_ns()
    beat = client.heartbeat()
    assert isinstance(beat, int)
    assert abs(beat - before) < 60_000_000_000


@pytest.mark.in_process("a server says its own version")
def test_version_is_the_modules(lib: Any, client: Any) -> None:
    assert isinstance(client.get_version(), str)
    assert client.get_version() == lib.__version__


def test_max_batch_size_is_a_positive_int(client: Any) -> None:
    assert isinstance(client.get_max_batch_size(), int)
    assert client.get_max_batch_size() >= 1


def test_get_settings(lib: Any, client: Any) -> None:
    found = client.get_settings()
    assert isinstance(found, lib.Settings)
    assert found.allow_reset is True


def test_get_user_identity(client: Any) -> None:
    identity = client.get_user_identity()
    assert identity.tenant == "default_tenant"
    assert identity.databases == ["default_database"]


def test_create_batches_cuts_at_the_limit(lib: Any, client: Any) -> None:
    """LangChain cuts its batches with it."""
    create_batches = importlib.import_module(f"{lib.__name__}.utils.batch_utils").create_batches
    size = client.get_max_batch_size()
    ids = [str(i) for i in range(size + 1)]
    batches = create_batches(client, ids, documents=ids)
    assert [len(batch[0]) for batch in batches] == [size, 1]
    assert batches[1] == ([str(size)], None, None, [str(size)])
    assert create_batches(api=client, ids=["a"]) == [(["a"], None, None, None)]


# -- reset ---------------------------------------------------------------------------------------


def test_reset_deletes_everything(client: Any, notes: Any, errors: Any) -> None:
    assert client.reset() is True
    assert client.count_collections() == 0
    assert client.list_collections() == []
    with pytest.raises(errors.NotFoundError):
        client.get_collection("notes")
    with pytest.raises(errors.NotFoundError):
        notes.count()
    assert client.create_collection("notes", embedding_function=None).count() == 0


@pytest.mark.in_process("it opens a folder")
def test_reset_is_refused_unless_allowed(lib: Any, errors: Any, tmp_path: Path) -> None:
    client = lib.PersistentClient(str(tmp_path / "safe"))
    try:
        client.create_collection("kept", embedding_function=None)
        with pytest.raises(errors.ChromaError, match="disabled"):
            client.reset()
        assert client.count_collections() == 1
    finally:
        client.close()


# -- create, get, list, delete -------------------------------------------------------------------


def test_create_collection(lib: Any, client: Any) -> None:
    collection = client.create_collection(
        "docs", metadata={"s": "x", "i": 1, "f": 1.5, "b": True}, embedding_function=None
    )
    assert isinstance(collection, lib.Collection)
    assert isinstance(collection.id, uuid.UUID)
    assert collection.name == "docs"
    assert collection.metadata == {"s": "x", "i": 1, "f": 1.5, "b": True}
    found = client.get_collection("docs", embedding_function=None)
    assert found.id == collection.id
    assert found.metadata == collection.metadata
    assert {key: type(value) for key, value in found.metadata.items()} == {
        "s": str,
        "i": int,
        "f": float,
        "b": bool,
    }


def test_metadata_defaults_to_none(client: Any) -> None:
    client.create_collection("docs", embedding_function=None)
    assert client.get_collection("docs").metadata is None


@pytest.mark.parametrize(
    "name", ["abc", "a.b", "A-1_z", "0" * 512, "a-b", "1.2.3", "256.256.256.256", "1.2.3.4.5"]
)
def test_good_names(client: Any, name: str) -> None:
    assert client.create_collection(name, embedding_function=None).name == name
    assert client.get_collection(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "3-512 characters"),
        ("ab", "3-512 characters"),
        ("0" * 513, "3-512 characters"),
        ("a b", "3-512 characters"),
        ("näme", "3-512 characters"),
        ("-ab", "3-512 characters"),
        ("ab_", "3-512 characters"),
        (".ab", "3-512 characters"),
        ("a/b", "3-512 characters"),
        ("abc\n", "3-512 characters"),
        ("a..b", "two consecutive periods"),
        ("127.0.0.1", "not a valid ip address"),
    ],
)
def test_bad_names(client: Any, errors: Any, name: str, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        client.create_collection(name, embedding_function=None)
    assert client.count_collections() == 0


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="empty"),
        pytest.param({"a": {"b": 1}}, id="nested"),
        pytest.param({"a": None}, id="null"),
        pytest.param(
            {"a": [1]},
            marks=pytest.mark.quirk("a list crashes chromadb's engine; advice: 400", by="both"),
            id="list",
        ),
    ],
)
def test_bad_collection_metadata(client: Any, errors: Any, metadata: dict[str, Any]) -> None:
    with pytest.raises((errors.InvalidArgumentError, ValueError, TypeError)):
        client.create_collection("docs", metadata=metadata, embedding_function=None)
    assert client.count_collections() == 0


def test_a_taken_name_is_an_error(client: Any, taken: Any, notes: Any) -> None:
    with pytest.raises(taken, match=r"Collection \[notes\] already exists"):
        client.create_collection("notes", embedding_function=None)
    assert notes.count() == 3


@pytest.mark.quirk("InternalError only; advice: a class that is a conflict as well", by="both")
def test_a_taken_name_is_a_conflict(client: Any, errors: Any, notes: Any) -> None:
    with pytest.raises(errors.UniqueConstraintError):
        client.create_collection("notes", embedding_function=None)


@pytest.mark.parametrize("method", ["create_collection", "get_or_create_collection"])
def test_get_or_create_returns_what_is_there_unchanged(client: Any, method: str) -> None:
    options = {"get_or_create": True} if method == "create_collection" else {}
    make = getattr(client, method)
    first = make(
        "docs",
        metadata={"a": 1},
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
        **options,
    )
    first.add(ids="x", embeddings=[1.0, 2.0])
    again = make(
        "docs",
        metadata={"b": 2},
        configuration={"hnsw": {"space": "ip"}},
        embedding_function=None,
        **options,
    )
    assert again.id == first.id
    assert again.count() == 1
    for collection in (again, client.get_collection("docs")):
        assert collection.metadata == {"a": 1}
        assert collection.configuration_json["hnsw"]["space"] == "cosine"


def test_get_a_missing_collection(client: Any, errors: Any) -> None:
    with pytest.raises(errors.NotFoundError, match=r"Collection \[nope\] does not exist"):
        client.get_collection("nope")


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a?b=c", "a#b", "a%2Fb", "nöpe", "by-id", " "])
@pytest.mark.beyond_chroma("its HTTP client does not escape names")
def test_names_that_no_collection_can_have(client: Any, errors: Any, name: str) -> None:
    with pytest.raises(errors.NotFoundError):
        client.get_collection(name)
    with pytest.raises(errors.NotFoundError):
        client.delete_collection(name)


def test_get_collection_is_by_name_only(client: Any, errors: Any, notes: Any) -> None:
    with pytest.raises(errors.NotFoundError):
        client.get_collection(str(notes.id))


def test_get_collection_by_id(client: Any, errors: Any, notes: Any) -> None:
    assert client.get_collection_by_id(notes.id).name == "notes"
    assert client.get_collection_by_id(notes.id, None).count() == 3
    with pytest.raises(errors.NotFoundError, match="does not exist"):
        client.get_collection_by_id(uuid.uuid4())


def test_list_and_count(lib: Any, client: Any) -> None:
    assert client.list_collections() == []
    assert client.count_collections() == 0
    names = {f"docs-{i}" for i in range(5)}
    for name in names:
        client.create_collection(name, metadata={"n": name}, embedding_function=None)
    listed = client.list_collections()
    assert isinstance(listed, list)
    assert all(isinstance(collection, lib.Collection) for collection in listed)
    assert {collection.name for collection in listed} == names
    assert all(collection.metadata == {"n": collection.name} for collection in listed)
    assert client.count_collections() == 5


def test_pages_of_collections_cover_everything_once(client: Any) -> None:
    for i in range(7):
        client.create_collection(f"docs-{i}", embedding_function=None)
    everything = [c.name for c in client.list_collections()]
    paged = [c.name for start in range(0, 8, 2) for c in client.list_collections(2, start)]
    assert paged == everything
    assert [c.name for c in client.list_collections(offset=5)] == everything[5:]
    assert [c.name for c in client.list_collections(limit=3)] == everything[:3]
    assert client.list_collections(limit=0) == []
    assert client.list_collections(offset=100) == []


@pytest.mark.quirk("no order is promised; advice: order of creation", always=False, by="server")
def test_collections_are_listed_in_order_of_creation(client: Any) -> None:
    names = [f"docs-{i}" for i in (5, 3, 9, 1, 7, 0, 8, 2, 6, 4)]
    for name in names:
        client.create_collection(name, embedding_function=None)
    assert [c.name for c in client.list_collections()] == names


@pytest.mark.quirk("OverflowError; advice: ValueError, as in get", by="client")
def test_negative_limit_of_list_collections(client: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        client.list_collections(limit=-1)


def test_delete_collection(client: Any, errors: Any, notes: Any) -> None:
    assert client.delete_collection("notes") is None
    assert client.count_collections() == 0
    with pytest.raises(errors.NotFoundError):
        client.get_collection("notes")
    with pytest.raises(errors.NotFoundError, match=r"Collection \[notes\] does not exist"):
        client.delete_collection("notes")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda c: c.count(), id="count"),
        pytest.param(lambda c: c.get(), id="get"),
        pytest.param(lambda c: c.get(ids=["a"]), id="get-ids"),
        pytest.param(lambda c: c.peek(), id="peek"),
        pytest.param(lambda c: c.query(query_embeddings=[1.0, 0.0]), id="query"),
        pytest.param(lambda c: c.add(ids="z", embeddings=[1.0, 0.0]), id="add"),
        pytest.param(lambda c: c.upsert(ids="a", embeddings=[1.0, 0.0]), id="upsert"),
        pytest.param(lambda c: c.update(ids="a", metadatas={"k": "z"}), id="update"),
        pytest.param(lambda c: c.delete(ids="a"), id="delete"),
        pytest.param(lambda c: c.modify(name="other"), id="modify"),
    ],
)
def test_a_handle_of_a_deleted_collection(client: Any, errors: Any, notes: Any, call: Any) -> None:
    client.delete_collection("notes")
    with pytest.raises(errors.NotFoundError, match=rf"{notes.id}.*does not exist"):
        call(notes)


def test_a_recreated_collection_is_another_one(client: Any, errors: Any, notes: Any) -> None:
    client.delete_collection("notes")
    again = client.create_collection("notes", embedding_function=None)
    assert again.id != notes.id
    assert again.count() == 0
    again.add(ids="a", embeddings=[1.0, 2.0, 3.0])  # another dimension: nothing was left behind
    with pytest.raises(errors.NotFoundError):
        notes.count()


# -- tenants and databases -----------------------------------------------------------------------


def test_missing_tenant_and_database(client: Any, errors: Any) -> None:
    with pytest.raises(errors.NotFoundError, match=r"Tenant \[nope\] not found"):
        client.set_tenant("nope")
    with pytest.raises(errors.NotFoundError, match=r"Database \[nope\] not found"):
        client.set_database("nope")
    assert (client.tenant, client.database) == ("default_tenant", "default_database")


def test_databases_are_apart(store: Any, client: Any, errors: Any) -> None:
    admin = store.admin()
    admin.create_tenant("acme")
    admin.create_database("db1", "acme")
    admin.create_database("db2", tenant="acme")
    first = client.create_collection("docs", embedding_function=None)
    client.set_tenant("acme", "db1")
    assert (client.tenant, client.database) == ("acme", "db1")
    assert client.count_collections() == 0
    second = client.create_collection("docs", embedding_function=None)
    assert (second.tenant, second.database) == ("acme", "db1")
    assert second.id != first.id
    client.set_database("db2")
    assert client.list_collections() == []
    with pytest.raises(errors.NotFoundError):
        client.get_collection("docs")
    client.set_tenant("default_tenant")
    assert client.get_collection("docs").id == first.id


def test_admin(store: Any, client: Any, errors: Any, taken: Any) -> None:
    admin = store.admin()
    admin.create_tenant("acme")
    assert admin.get_tenant("acme")["name"] == "acme"
    with pytest.raises(taken, match=r"Tenant \[acme\] already exists"):
        admin.create_tenant("acme")
    with pytest.raises(errors.NotFoundError, match=r"Tenant \[nope\] not found"):
        admin.get_tenant("nope")
    with pytest.raises(errors.InvalidArgumentError):
        admin.create_tenant("ab")
    admin.create_database("db1", "acme")
    found = admin.get_database("db1", "acme")
    assert uuid.UUID(str(found["id"])).version == 4  # over HTTP Chroma's client gives a str
    assert (found["name"], found["tenant"]) == ("db1", "acme")
    with pytest.raises(taken, match=r"Database \[db1\] already exists"):
        admin.create_database("db1", "acme")
    with pytest.raises(errors.NotFoundError, match=r"Database \[nope\] not found"):
        admin.get_database("nope", "acme")
    with pytest.raises(errors.InvalidArgumentError):
        admin.create_database("d", "acme")
    admin.create_database("db2", "acme")
    assert {d["name"] for d in admin.list_databases(tenant="acme")} == {"db1", "db2"}
    assert len(admin.list_databases(1, 0, "acme")) == 1
    assert len(admin.list_databases(5, 1, "acme")) == 1
    admin.delete_database("db1", "acme")
    assert [d["name"] for d in admin.list_databases(tenant="acme")] == ["db2"]
    with pytest.raises(errors.NotFoundError):
        admin.delete_database("db1", "acme")


@pytest.mark.quirk(
    "a database can be made under a tenant that is not there; advice: 404", by="both"
)
def test_a_database_needs_its_tenant(store: Any, client: Any, errors: Any) -> None:
    with pytest.raises(errors.NotFoundError):
        store.admin().create_database("db1", "nope")


def test_deleting_a_database_deletes_its_collections(store: Any, client: Any, errors: Any) -> None:
    admin = store.admin()
    admin.create_database("db1", "default_tenant")
    client.set_database("db1")
    collection = client.create_collection("docs", embedding_function=None)
    collection.add(ids="a", embeddings=[1.0])
    admin.delete_database("db1", "default_tenant")
    with pytest.raises(errors.NotFoundError):
        client.set_database("db1")
    with pytest.raises(errors.NotFoundError):
        collection.count()
    admin.create_database("db1", "default_tenant")
    client.set_database("db1")
    assert client.list_collections() == []


def test_a_client_can_start_in_a_database(store: Any, client: Any, errors: Any) -> None:
    store.admin().create_database("db1", "default_tenant")
    other = store.open(database="db1")
    assert other.database == "db1"
    assert other.create_collection("docs", embedding_function=None).database == "db1"
    assert client.count_collections() == 0
    other.close()
    with pytest.raises(errors.NotFoundError):
        store.open(database="nope")
    with pytest.raises(errors.NotFoundError):
        store.open(tenant="nope")


# -- one store, several clients, closing ---------------------------------------------------------


def test_clients_of_one_store_share_it(store: Any) -> None:
    one, two = store.open(), store.open()
    one.create_collection("docs", embedding_function=None).add(ids="a", embeddings=[1.0])
    seen = two.get_collection("docs")
    assert seen.count() == 1
    seen.add(ids="b", embeddings=[2.0])
    assert one.get_collection("docs").get()["ids"] == ["a", "b"]
    two.delete_collection("docs")
    assert one.count_collections() == 0


def test_close_is_idempotent_and_counted(store: Any) -> None:
    one, two = store.open(), store.open()
    collection = two.create_collection("docs", embedding_function=None)
    one.close()
    one.close()
    collection.add(ids="a", embeddings=[1.0])
    assert two.get_collection("docs").count() == 1


def test_a_client_is_a_context_manager(persistent_store: Any) -> None:
    with persistent_store.open() as client:
        client.create_collection("docs", embedding_function=None)
    with pytest.raises(Exception):  # noqa: B017, PT011 - chromadb: AttributeError
        client.count_collections()


@pytest.mark.quirk("AttributeError on an inner object; advice: a sentence", by="client")
def test_a_closed_client_says_so(persistent_store: Any, errors: Any) -> None:
    client = persistent_store.open()
    collection = client.create_collection("docs", embedding_function=None)
    client.close()
    for call in (client.count_collections, collection.count, collection.get):
        with pytest.raises(errors.ChromaError, match="closed"):
            call()


def test_what_was_written_is_there_after_reopening(persistent_store: Any) -> None:
    with persistent_store.open() as client:
        collection = client.create_collection(
            "docs",
            metadata={"topic": "x"},
            configuration={"hnsw": {"space": "cosine", "ef_search": 42}},
            embedding_function=None,
        )
        collection.add(
            ids=["a", "b", "c"],
            embeddings=[[1.0, 0.5], [0.25, 1.0], [3.0, 4.0]],
            metadatas=[{"n": 1, "tags": ["x", "y"]}, None, {"f": 1.0, "b": True}],
            documents=["one", "", None],
            uris=["file:///a", None, None],
        )
        collection.update(ids="a", embeddings=[9.0, 8.0], metadatas={"n": 2})
        collection.delete(ids="b")
        collection.add(ids="b", embeddings=[0.0, 1.0], documents="again")
        everything = ["embeddings", "metadatas", "documents", "uris"]
        before = collection.get(include=everything)
        nearest = collection.query(query_embeddings=[9.0, 8.0], n_results=3)
        known = (collection.id, collection.metadata, collection.configuration_json)
    with persistent_store.open() as client:
        again = client.get_collection("docs", embedding_function=None)
        assert (again.id, again.metadata, again.configuration_json) == known
        after = again.get(include=everything)
        assert after["ids"] == ["a", "c", "b"] == before["ids"]
        assert after["embeddings"].tolist() == before["embeddings"].tolist()
        for part in ("metadatas", "documents", "uris"):
            assert after[part] == before[part], part
        found = again.query(query_embeddings=[9.0, 8.0], n_results=3)
        assert found["ids"] == nearest["ids"]
        assert found["distances"][0] == pytest.approx(nearest["distances"][0], abs=1e-6)


@pytest.mark.in_process("it opens a folder")
def test_path_may_be_a_path_object(lib: Any, tmp_path: Path) -> None:
    with lib.PersistentClient(path=tmp_path / "deep" / "store") as client:
        client.create_collection("docs", embedding_function=None)
    assert any((tmp_path / "deep" / "store").iterdir())
    with lib.PersistentClient(str(tmp_path / "deep" / "store")) as client:
        assert client.count_collections() == 1


@pytest.mark.in_process("it opens a folder")
def test_default_path_is_chroma_in_the_working_folder(
    lib: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with lib.PersistentClient() as client:
        client.create_collection("docs", embedding_function=None)
    assert (tmp_path / "chroma").is_dir()


@pytest.mark.in_process("it opens a folder")
def test_client_without_arguments_is_in_memory(
    lib: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if lib.__name__ == "chromadb":  # one in-memory store per process there, whatever the settings
        lib.api.client.SharedSystemClient.clear_system_cache()
    client = lib.Client()
    try:
        collection = client.get_or_create_collection("docs", embedding_function=None)
        collection.upsert(ids="a", embeddings=[1.0])
        assert collection.count() == 1
        client.delete_collection("docs")
        assert list(tmp_path.iterdir()) == []
    finally:
        client.close()


@pytest.mark.in_process("it opens a folder")
def test_clear_system_cache(lib: Any, tmp_path: Path) -> None:
    """Tests and notebooks call it to get rid of stores that they lost sight of."""
    client = lib.PersistentClient(str(tmp_path / "store"))
    client.create_collection("docs", embedding_function=None)
    client.clear_system_cache()
    again = lib.PersistentClient(str(tmp_path / "store"))
    assert again.count_collections() == 1
    again.close()
    client.close()


def test_the_model_of_a_collection_can_be_subscripted(create: Any) -> None:
    notes = create("notes", metadata={"topic": "x"})
    model = notes.get_model()
    assert model["id"] == notes.id
    assert (model["name"], model["metadata"]) == ("notes", {"topic": "x"})
    assert (model["version"], model["log_position"]) == (0, 0)
    assert model["configuration_json"]["hnsw"]["space"] == "l2"
    assert dict(model)["tenant"] == model.tenant == notes.tenant
