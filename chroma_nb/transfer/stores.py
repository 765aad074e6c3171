"""From one store to another: collections with their configuration and their records."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from chroma_nb.api.copying import Place, contents_of, copy_records, say_what_is_copied
from chroma_nb.errors import (
    ChromaError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    StoreCorruptError,
)
from chroma_nb.progress import progress_bar
from chroma_nb.schema_json import for_copy, sparse_index
from chroma_nb.transfer.report import TransferReport, Transfers
from chroma_nb.validation import (
    check_collection_name,
    check_on_conflict,
    ids_exist,
    recorded_configuration,
)
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.client.client import ClientAPI
    from chroma_nb.collection.collection import Collection
    from chroma_nb.types import OnConflict


def copy_collections(
    source: ClientAPI,
    target: ClientAPI,
    names: Sequence[str] | None = None,
    *,
    on_conflict: OnConflict = "skip",
    mirror: bool = False,
    verify: bool = False,
) -> Transfers:
    """Copy collections; those that are missing in the target are made.

    Args:
        source: Where from.
        target: Where to.
        names: Which collections; None is all.
        on_conflict: What happens to records whose ids the target has: ``"skip"`` leaves them as they are,
            ``"replace"`` writes over those that differ, ``"error"`` raises before anything is written.
        mirror: Make the target's collection the same as the source's: records that differ are written over,
            and records that the source does not have are deleted.
        verify: Read both collections again afterwards, and compare them.

    Returns:
        Name -> records that the collection has in the target afterwards; its `reports` say what was added,
        skipped, changed and removed.

    Raises:
        IDAlreadyExistsError: With ``"error"``, a record is there; nothing was written to that collection.
        InternalError: With `verify`, a collection is not the same as its source; those before it were copied.
        InvalidArgumentError: The target's collection has another distance or dimension.
    """
    check_on_conflict(on_conflict)
    chosen = [one.name for one in source.list_collections()] if names is None else list(names)
    if isinstance(names, str):
        chosen = [names]
    copies = Transfers()
    for name in chosen:
        collection = source.get_collection(name, embedding_function=None)
        copy, report = copy_collection(
            collection, target, name, on_conflict=on_conflict, mirror=mirror
        )
        if verify:
            report.checksum = _verified(collection, copy)
        copies[name] = copy.count()
        copies.reports[name] = report
    return copies


def copy_collection(
    source: Collection,
    target: ClientAPI,
    name: str,
    *,
    on_conflict: OnConflict = "skip",
    mirror: bool = False,
) -> tuple[Collection, TransferReport]:
    """Copy one collection, its configuration, schema and metadata included; see `copy_collections`."""
    started = time.monotonic()
    info = source.get_model()
    copy = like(target, name, source.configuration_json, source.metadata, info.schema)
    if copy.id == source.id and _is_one_store(source.client, target):
        raise InvalidArgumentError(
            f"Collection [{name}] would be copied onto itself. Copy it under another name: collection.fork(...)."
        )
    check_alike(copy, source.configuration_json, info.dimension, info.schema, are_copied=True)
    here, there = place_of(source), place_of(copy)
    if on_conflict == "error":
        taken = set(there.ids())
        both = [one for one in here.ids() if one in taken]
        if both:
            raise ids_exist(both, source.count(), name)
    enabled = source.client.get_settings().progress
    compares = mirror or on_conflict == "replace"
    did = "compared" if compares else "copied"
    with progress_bar(0, f"Copying {name}", did=did, enabled=enabled) as bar:
        try:
            copied = copy_records(
                here,
                there,
                bar.update,
                replace=compares,
                mirror=mirror,
                on_total=bar.set_total,
            )
        except ChromaError as error:
            if bar.state.done:
                way_on = "Run the same call again to go on."
                if isinstance(error, StoreCorruptError):
                    way_on = (
                        "To go on without what is damaged, write the collection to a file and import that: "
                        f"client[{name!r}].export(path, skip_damaged=True)."
                    )
                say_what_is_copied(
                    error,
                    f"The copy [{name}] is unfinished: {bar.state.done:,} of {bar.state.total:,} records were {did}. "
                    f"{way_on}",
                )
            raise
    report = TransferReport(
        name, copied.added, copied.skipped, copied.changed, copied.removed, ids="the source's"
    )
    report.seconds = time.monotonic() - started
    return copy, report


def _verified(source: Collection, copy: Collection) -> str:
    """Return the checksum of the records of a collection and of its copy.

    Raises:
        InternalError: They have not the same records.
    """
    name = source.name
    n_records = source.count() + copy.count()
    enabled = source.client.get_settings().progress
    with progress_bar(n_records, f"Comparing {name}", did="compared", enabled=enabled) as bar:
        here = contents_of(place_of(source), bar.update)
        there = contents_of(place_of(copy), bar.update)
    if here == there:
        return f"{here.checksum:032x}"
    what = "has other contents in some of its records"
    if here.n_records != there.n_records:
        what = f"has {there.n_records:,} records"
    raise InternalError(
        f"The copy [{name}] is not the same as its source: it {what}, and the source has {here.n_records:,} records with the "
        f"checksum {here.checksum:032x}, not {there.checksum:032x}. Either was written to meanwhile, or the copy had records of "
        f"its own: copy_to(other, [{name!r}], mirror=True, verify=True) makes them the same and compares them again."
    )


def _is_one_store(one: ClientAPI, other: ClientAPI) -> bool:
    """Say whether two clients have the same store; a copied folder has collections of the same ids."""
    if one.api.is_near or other.api.is_near:
        return one.api is other.api
    return one.get_settings().url == other.get_settings().url


def check_alike(
    collection: Collection,
    configuration: dict[str, Any],
    dimension: int | None,
    schema: dict[str, Any] | None,
    *,
    are_copied: bool,
) -> None:
    """Check that records of another collection may be added to this one.

    Args:
        collection: Where to.
        configuration: The other collection's, as it is recorded.
        dimension: The other collection's, None where it is not known.
        schema: What the other collection's says beyond the default one.
        are_copied: The records are added as they are: without the sparse vectors that `add` makes of their texts.

    Raises:
        InvalidArgumentError: The distance, the dimension, the embedding function, or what makes sparse vectors is
            another.
    """
    info = collection.get_model()
    space = recorded_configuration(configuration)["hnsw"]["space"]
    _check_equal(collection, "distance", space, info.space)
    _check_equal(collection, "dimension", dimension, info.dimension)
    check_function(collection, configuration)
    keys = (schema or {}).get("keys", {})
    for key, types in (info.schema or {}).get("keys", {}).items():
        here, other = _source_of(types), _source_of(keys.get(key))
        if here is not None and other is None and are_copied:
            other = "nothing"
        _check_equal(collection, f"sparse vectors under the key {brief(key)!r} of", other, here)


def _source_of(types: dict[str, Any] | None) -> str | None:
    """Return what sparse vectors are made of, and by which function; None: they are not made."""
    index = sparse_index(types) or {}
    if index.get("source_key") is None:
        return None
    return f"{brief(index['source_key'])} by {_function_of(index)}"


def check_function(collection: Collection, configuration: dict[str, Any]) -> None:
    """Check that both collections record the same embedding function, where both record one.

    Raises:
        InvalidArgumentError: They do not: two models in one collection give wrong answers.
    """
    theirs = _function_of(recorded_configuration(configuration))
    mine = _function_of(collection.configuration_json)
    _check_equal(collection, "embedding function", theirs, mine)


def _check_equal(collection: Collection, what: str, other: Any, here: Any) -> None:
    if None not in (other, here) and other != here:
        raise InvalidArgumentError(
            f"The records come from a collection with {what} {other}, and collection [{collection.name}] has "
            f"{what} {here}. Rename one of the two: collection.modify(name=...). Nothing was added."
        )


def _function_of(configuration: dict[str, Any]) -> str | None:
    recorded = configuration.get("embedding_function")
    if recorded is None or recorded.get("type") != "known":
        return None
    # A store that others wrote may name none.
    return f"{recorded.get('name')} {json.dumps(recorded.get('config') or {}, sort_keys=True)}"


def place_of(collection: Collection) -> Place:
    """Return where a collection's records are."""
    return Place(collection.api, collection.id, collection.tenant, collection.database)


def exists(client: ClientAPI, name: str) -> bool:
    """Say whether there is a collection of that name."""
    check_collection_name(name)
    try:
        client.api.get_collection(name, tenant=client.tenant, database=client.database)
    except NotFoundError:
        return False
    return True


def like(
    client: ClientAPI,
    name: str,
    configuration: dict[str, Any],
    metadata: dict[str, Any] | None,
    schema: dict[str, Any] | None,
    *,
    is_new: bool = False,
) -> Collection:
    """Return the collection of that name, made with this configuration and schema as they stand if missing.

    Raises:
        InvalidArgumentError: A file's schema is none; or a server does not have an index that it asks for.
        UniqueConstraintError: There is one of that name, and `is_new` says that it is to be a new one.
    """
    check_collection_name(name)
    made, whole = for_copy(recorded_configuration(configuration), schema)
    info = client.api.create_collection(
        name,
        made,
        metadata,
        schema=whole,
        get_or_create=not is_new,
        tenant=client.tenant,
        database=client.database,
    )
    return client.collection_of(info)
