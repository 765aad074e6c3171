"""`lines_of`: a schema as a line for each key, for whoever reads it. It never raises, whatever somebody has put there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chroma_nb.embedding.protocol import short_name
from chroma_nb.schema_json import HNSW_DEFAULTS, HNSW_EXTRA
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Indexes -> what they are of, in words.
_WORDS = {
    "fts_index": "full text",
    "string_inverted_index": "texts",
    "vector_index": "embeddings",
    "sparse_vector_index": "sparse vectors",
    "int_inverted_index": "whole numbers",
    "float_inverted_index": "floats",
    "bool_inverted_index": "bools",
}
_USUAL = {**HNSW_DEFAULTS, **HNSW_EXTRA}
#: What a line says of the defaults in the place of a key.
_OTHER_KEYS = "any other key"


@dataclass
class SchemaLine:
    """What a schema says of one key.

    Attributes:
        key: Its name; None for the defaults.
        on: The indexes that are on, in words.
        off: Those that are off.
        function: The name of what embeds, empty where nothing does.
        source: The key that is embedded, empty where none is.
        made_with: The distance, and numbers that are not the usual ones, as ``name=value``.
    """

    key: str | None
    on: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    function: str = ""
    source: str = ""
    made_with: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The key as a reader sees it."""
        return _OTHER_KEYS if self.key is None else self.key

    def __str__(self) -> str:
        said = ", ".join(self.on) or "no index"
        if self.function:
            said += f" by {self.function}"
        if self.source:
            said += f" of {self.source}"
        return f"{said} ({', '.join(self.made_with)})" if self.made_with else said


def lines_of(schema: Any) -> list[SchemaLine]:
    """Return a line for each key, the embeddings and documents first, then those that say more than the defaults, which are last."""
    keys = getattr(schema, "keys", None)
    lines = [_line(key, types) for key, types in keys.items()] if isinstance(keys, Mapping) else []
    lines.sort(key=_place)
    defaults = _line(None, getattr(schema, "defaults", None))
    # Its functions are for keys: nothing is embedded by default.
    return [*lines, dataclasses.replace(defaults, function="", source="", made_with=[])]


def _place(line: SchemaLine) -> tuple[int, str]:
    special = {EMBEDDING_KEY: 0, DOCUMENT_KEY: 1}
    if line.key in special:
        return special[line.key], ""
    says_more = line.function or line.off or _WORDS["sparse_vector_index"] in line.on
    return (2 if says_more else 3), str(line.key)


def _line(key: Any, types: Any) -> SchemaLine:
    line = SchemaLine(None if key is None else _text(key))
    for name, index in _parts(value for _, value in _fields(types)):
        enabled = getattr(index, "enabled", None)
        if enabled:
            line.on.append(_WORDS.get(name, name))
        elif _can_be_on(key, name):
            line.off.append(_WORDS.get(name, name))
        config = getattr(index, "config", None)
        function = getattr(config, "embedding_function", None)
        if function is not None and enabled:
            line.function = _name_of(function)
        source = getattr(config, "source_key", None)
        line.source = line.source if source is None else _text(source)
        line.made_with += _made_with(config)
    return line


def _can_be_on(key: Any, index: str) -> bool:
    """Say whether a key may have an index, so that it says something that this is off."""
    if index == "sparse_vector_index":
        return key is not None
    special = {"fts_index": DOCUMENT_KEY, "vector_index": EMBEDDING_KEY}
    return bool(key == special[index]) if index in special else key != DOCUMENT_KEY


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return type(value).__name__


def _name_of(function: Any) -> str:
    try:
        return short_name(function)
    except Exception:
        return type(function).__name__


def _parts(values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
    for value in values:
        yield from _fields(value)


def _fields(made: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dataclass that are there, none of anything else."""
    if dataclasses.is_dataclass(made) and not isinstance(made, type):
        for one in dataclasses.fields(made):
            value = getattr(made, one.name, None)
            if value is not None:
                yield one.name, value


def _made_with(config: Any) -> list[str]:
    """Return the distance of an index, and the numbers that are not the usual ones."""
    space, bm25 = getattr(config, "space", None), getattr(config, "bm25", None)
    said = [] if space is None else [_text(space)]
    said += ["bm25"] if bm25 else []
    for part in ("hnsw", "spann"):
        given = getattr(config, part, None)
        for name in getattr(given, "fields", ()):
            value = getattr(given, name, None)
            if value is not None and _text(value) != _text(_USUAL.get(name)):
                said.append(f"{name}={_text(value)}")
    return said
