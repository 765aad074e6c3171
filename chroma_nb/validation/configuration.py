"""A collection's configuration: its graph, its embedding function, and when it is unloaded."""

from __future__ import annotations

import math
import sys
from typing import Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.numbers import INT_MAX, INT_MIN
from chroma_nb.schema_json import HNSW_DEFAULTS, HNSW_EXTRA
from chroma_nb.types import MAX_EF, MAX_NEIGHBORS, MIN_NEIGHBORS, SPACES, Space
from chroma_nb.validation.texts import check_texts
from chroma_nb.words import brief, with_article

#: How deep a recorded embedding function may be nested. JSON parsers give up at some hundred levels.
_MAX_JSON_DEPTH = 64
#: More than this is no better, and takes time or threads without end; what is usual.
_HNSW_MOST = {"ef_construction": MAX_EF, "ef_search": MAX_EF, "num_threads": 1_024}
_HNSW_USUAL = {
    "ef_construction": "100 to 500",
    "ef_search": "10 to 1,000",
    "num_threads": "as many as the machine has cores",
}
_HNSW_UPDATES = ("ef_search", "num_threads", "batch_size", "sync_threshold", "resize_factor")
_SPANN_FIELDS = (
    "search_nprobe",
    "write_nprobe",
    "space",
    "ef_construction",
    "ef_search",
    "max_neighbors",
    "reassign_neighbor_count",
    "split_threshold",
    "merge_threshold",
)
#: Keys of a collection's metadata, Chroma's older way to configure it -> fields of hnsw.
_LEGACY = {
    "hnsw:space": "space",
    "hnsw:construction_ef": "ef_construction",
    "hnsw:M": "max_neighbors",
    "hnsw:search_ef": "ef_search",
    "hnsw:num_threads": "num_threads",
    "hnsw:batch_size": "batch_size",
    "hnsw:sync_threshold": "sync_threshold",
    "hnsw:resize_factor": "resize_factor",
}


def created_configuration(
    configuration: Any, metadata: dict[str, Any] | None, default_space: Space
) -> dict[str, Any]:
    """Return a new collection's configuration in the form of Chroma's API, without its embedding function.

    Fields of `HNSW_EXTRA` that are given are in it; `reconciled` puts them where a collection has them.

    Args:
        configuration: The argument of `create_collection`, or None.
        metadata: The collection's metadata; its ``hnsw:*`` keys are Chroma's older way to configure it.
        default_space: The embedding function's own distance.

    Raises:
        ValueError: hnsw and spann together, an unknown field.
        InvalidArgumentError: A value that cannot be used.
    """
    given = configuration or {}
    if not isinstance(given, dict):
        raise ValueError(f"Expected configuration to be a dict, got {brief(given)}")
    _check_known(given)
    hnsw, spann = given.get("hnsw"), given.get("spann")
    if hnsw is not None and spann is not None:
        raise ValueError("hnsw and spann cannot both be provided")
    result = {**HNSW_DEFAULTS, "space": default_space}
    for key in metadata or ():
        if isinstance(key, str) and key.startswith("hnsw:") and key not in _LEGACY:
            raise InvalidArgumentError(
                f"Failed to parse hnsw parameters from segment metadata: unknown {brief(key)!r}. "
                f"Known: {', '.join(_LEGACY)}"
            )
    for key, field in _LEGACY.items():
        if metadata and key in metadata:
            try:
                _check_hnsw_field(field, metadata[key])
            except ValueError as error:
                raise InvalidArgumentError(
                    f"Failed to parse hnsw parameters from segment metadata: {error}"
                ) from None
            result[field] = _kind_of(field)(metadata[key])
    if spann is not None:
        # Chroma has spann in its cloud only. Here an hnsw graph of the same distance takes its place.
        for key in _fields("spann", spann):
            if key not in _SPANN_FIELDS:
                raise ValueError(f"Unknown spann field {key!r}. Known: {', '.join(_SPANN_FIELDS)}")
        hnsw = {"space": spann["space"]} if spann.get("space") is not None else {}
    for key, value in _fields("hnsw", hnsw).items():
        if key not in (*HNSW_DEFAULTS, *HNSW_EXTRA):
            known = ", ".join((*HNSW_DEFAULTS, *HNSW_EXTRA))
            raise InvalidArgumentError(f"unknown field `{brief(key)}`: hnsw has {known}")
        if value is not None:
            _check_hnsw_field(key, value)
            result[key] = _kind_of(key)(value)
    return {"hnsw": result, "spann": None}


def _kind_of(field: str) -> type[Any]:
    """Return the type of a field of hnsw."""
    return type({**HNSW_DEFAULTS, **HNSW_EXTRA}[field])


def recorded_configuration(configuration: Any) -> dict[str, Any]:
    """Return a configuration that comes from a file or another store, checked like a new one.

    Raises:
        ValueError: An unknown field, or a value that cannot be used.
    """
    if not isinstance(configuration, dict):
        raise ValueError(f"Expected a configuration to be a dict, got {brief(configuration)}")
    hnsw = configuration.get("hnsw")
    if hnsw is None:
        # Of spann, Chroma's other index, only the distance matters here.
        hnsw = {"space": _fields("spann", configuration.get("spann")).get("space") or "l2"}
    result = created_configuration({"hnsw": hnsw}, None, "l2")
    result["embedding_function"] = check_recorded_function(configuration.get("embedding_function"))
    return result


def check_recorded_function(function: Any) -> dict[str, Any] | None:
    """Return what a collection records of its embedding function, unchanged; nothing is built from it.

    Raises:
        InvalidArgumentError: It is no dict with a type, or holds what some readers of JSON cannot read.
    """
    if function is None:
        return None
    if not isinstance(function, dict) or not isinstance(function.get("type"), str):
        raise InvalidArgumentError(
            'Expected embedding_function to be an object with a type, such as {"type": "legacy"}'
        )
    if function["type"] == "known" and not isinstance(function.get("name"), str):
        raise InvalidArgumentError(
            'Expected embedding_function of the type "known" to have a name, such as {"type": "known", "name": "default", '
            '"config": {}}'
        )
    check_json(function, "embedding_function")
    return function


def check_json(value: Any, place: str, depth: int = 0) -> None:
    """Refuse what some readers of JSON cannot read: it would break every answer that lists the collection.

    Args:
        value: What is to be recorded.
        place: Where it is, for the message.
        depth: How deep it is nested.

    Raises:
        InvalidArgumentError: A float that is not finite, an integer beyond 64 bits, a type that JSON does not
            have, too many levels, or a lone surrogate.
    """
    if depth > _MAX_JSON_DEPTH:
        raise InvalidArgumentError(
            f"Expected a configuration of at most {_MAX_JSON_DEPTH} levels, got more at {brief(place)}"
        )
    if isinstance(value, str):
        check_texts([value], f"the text of {brief(place)}", rows=False)
    elif value is None or isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise InvalidArgumentError(
                f"Expected {brief(place)} to be an integer of 64 bits, got {brief(value)}"
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgumentError(f"Expected {brief(place)} to be finite, got {value}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidArgumentError(
                    f"Expected the keys of {brief(place)} to be texts, got {brief(key)!r}"
                )
            check_texts([key], f"a key of {brief(place)}", rows=False)
            # The place stops growing at some length, as keys may be long at every level.
            named = place if len(place) > 200 else f"{place}.{key[:100]}"
            check_json(inner, named, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_json(inner, place, depth + 1)
    else:
        raise InvalidArgumentError(
            f"Expected {brief(place)} to be a text, a number, a list or an object, got "
            f"{with_article(type(value))}"
        )


def updated_configuration(recorded: dict[str, Any], configuration: Any) -> dict[str, Any]:
    """Return a configuration with the changes that `modify` makes.

    Args:
        recorded: The configuration before.
        configuration: The changes: fields of ``hnsw``, and ``embedding_function`` in its recorded form.

    Raises:
        InvalidArgumentError: A field that cannot be changed, or a value that cannot be used.
        ValueError: An spann change, which has nothing to act on.
    """
    if not isinstance(configuration, dict):
        raise ValueError(f"Expected configuration to be a dict, got {brief(configuration)}")
    _check_known(configuration)
    if configuration.get("spann") is not None:
        raise ValueError("Trying to update SPANN config but schema has HNSW")
    hnsw = dict(recorded["hnsw"])
    for key, value in _fields("hnsw", configuration.get("hnsw")).items():
        if key not in _HNSW_UPDATES:
            raise InvalidArgumentError(
                f"unknown field `{key}`: hnsw can change {', '.join(_HNSW_UPDATES)}; the rest is fixed "
                "when the collection is made"
            )
        if value is not None:
            _check_hnsw_field(key, value)
            if key in hnsw:
                hnsw[key] = type(hnsw[key])(value)
    changed = {**recorded, "hnsw": hnsw}
    if configuration.get("embedding_function") is not None:
        changed["embedding_function"] = configuration["embedding_function"]
    return changed


def _check_known(configuration: dict[str, Any]) -> None:
    for key in configuration:
        if key not in ("hnsw", "spann", "embedding_function"):
            raise ValueError(
                f"Unknown configuration field {brief(key, quoted=True)}. Known: hnsw, spann, embedding_function"
            )


def _fields(part: str, given: Any) -> dict[str, Any]:
    """Return the fields of "hnsw" or "spann", no fields for None."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidArgumentError(
            f"Expected configuration of {part} to be a dict, got {brief(given)}"
        )
    return given


def _check_hnsw_field(key: str, value: Any) -> None:
    """Refuse a value that a known field of hnsw cannot have, with an InvalidArgumentError."""
    if key == "space":
        if value not in SPACES:
            raise InvalidArgumentError(
                f"Expected space to be one of {', '.join(SPACES)}, got {brief(value)}"
            )
    elif key == "resize_factor":
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value <= sys.float_info.max
        ):
            raise InvalidArgumentError(
                f"Expected resize_factor to be a positive number, got {brief(value)}"
            )
    elif isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= INT_MAX:
        beyond = isinstance(value, int) and value > INT_MAX
        raise InvalidArgumentError(
            f"Expected {key} to be a positive int, got {brief(value)}"
            f"{', which 64 bits cannot hold' if beyond else ''}"
        )
    elif key in _HNSW_MOST and value > _HNSW_MOST[key]:
        raise InvalidArgumentError(
            f"Expected {key} to be a positive int of at most {_HNSW_MOST[key]:,}, got {value}. Usual are "
            f"{_HNSW_USUAL[key]}"
        )
    elif key == "max_neighbors" and not MIN_NEIGHBORS <= value <= MAX_NEIGHBORS:
        raise InvalidArgumentError(
            f"Expected max_neighbors to be a positive int from {MIN_NEIGHBORS} to {MAX_NEIGHBORS:,}, got {value}: no "
            "graph can be built of another number of links. Usual are 8 to 64, the default is "
            f"{HNSW_DEFAULTS[key]}"
        )


def check_ttl(seconds: Any) -> float | None:
    """Return a collection's TTL: after so many seconds without use it is unloaded. None: the store's interval.

    Raises:
        InvalidArgumentError: Not a number, not above 0, or not finite.
    """
    if seconds is None:
        return None
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= sys.float_info.max
    ):
        raise InvalidArgumentError(
            "Expected a TTL in seconds, more than 0 and finite, or None for the store's interval; got "
            f"{brief(seconds)!r:.100}."
        )
    return float(seconds)
