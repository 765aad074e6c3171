"""Answers: records, matches, how a query is answered, and the metadata keys of a collection."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chroma_nb.byte_sizes import format_bytes
from chroma_nb.display.cells import (
    DOCUMENT,
    LINE,
    NARROW_LINE,
    Cell,
    Table,
    are_numbers,
    head,
    metadata_columns,
    nearness_cells,
    other_keys,
    showing,
    text_cell,
    value_cell,
    vector_cell,
    width_of,
)
from chroma_nb.display.empty import why_empty
from chroma_nb.display.extent import OTHER_KEYS, ROWS, current
from chroma_nb.display.kept import Composed, view_in_time
from chroma_nb.display.words import marker, shorten, words_of
from chroma_nb.harmless import clean

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping, Sequence

    from chroma_nb.api.base import API
    from chroma_nb.collection.fields import Fields
    from chroma_nb.collection.results import Explanation, GetResult, QueryResult
    from chroma_nb.display.cells import View
    from chroma_nb.types import FieldSummary

#: Keys of a result that a table is made of.
_PARTS = ("ids", "distances", "documents", "metadatas", "uris", "embeddings")
#: Characters of an id that are shown at once.
ID = 40
#: Metadata keys that are shown, and described at most.
_FIELDS = 20
_DESCRIBED = 200
#: Values of a key that are shown, with how many records have them.
_VALUES = 8
#: Parts of an explained search that are shown.
_PARTS_SHOWN = 6
#: Queries of one result that are shown.
_QUERIES = 5


def records_table(
    result: Mapping[str, Any],
    caption: str,
    row: int | None = None,
    exact: Sequence[str] = (),
) -> Table:
    """Return records as a table, as many of them and the columns that `extent.current()` says.

    Args:
        result: A `GetResult`, a `QueryResult`, or a dict with some of their keys.
        caption: The table's caption.
        row: The query of a `QueryResult` whose records are shown.
        exact: Texts that are marked where a document contains them.
    """
    parts = {
        name: values if values is None or row is None else values[row]
        for name, values in result.items()
        if name in _PARTS
    }
    parts = {
        name: None if one is None else one[: rows_shown(result)] for name, one in parts.items()
    }
    asked = getattr(result, "asked", None)
    pattern = marker(words_of(asked[row]) if asked and row is not None else (), exact)
    before, after = _own_columns(parts, pattern, getattr(result, "space", "l2"), row is not None)
    metadatas = parts.get("metadatas")
    if current().columns is None:
        columns = with_room(before, after, metadatas)
    else:
        columns = chosen_columns(result, before | after, metadatas, len(parts["ids"]))
    heads = [head(name, number=are_numbers(cells)) for name, cells in columns]
    return Table(clean(caption), heads, list(zip(*(cells for _, cells in columns), strict=True)))


def _own_columns(
    parts: Mapping[str, Any], pattern: re.Pattern[str] | None, space: str, is_query: bool
) -> tuple[dict[str, list[Cell]], dict[str, list[Cell]]]:
    """Return the columns that are the records' own: those before the metadata, and those after it."""
    ids, documents = parts["ids"], parts.get("documents")
    distances, uris, vectors = (parts.get(name) for name in ("distances", "uris", "embeddings"))
    before: dict[str, list[Cell]] = {}
    if is_query:
        before["#"] = [Cell(str(at), number=True) for at in range(1, len(ids) + 1)]
    if distances is not None:
        before |= nearness_cells(distances, space)
    before["id"] = [replace(text_cell(one, limit=ID), kind="w") for one in ids]
    if documents is not None:
        texts = [Cell("") if text is None else text_cell(text, pattern) for text in documents]
        before["document"] = [replace(one, kind="d") for one in texts]
    after: dict[str, list[Cell]] = {}
    if uris is not None:
        after["uri"] = [Cell("") if uri is None else text_cell(uri) for uri in uris]
    if vectors is not None:
        after["embedding"] = [vector_cell(vector) for vector in vectors]
    return before, after


def with_room(
    before: dict[str, list[Cell]],
    after: dict[str, list[Cell]],
    metadatas: Sequence[dict[str, Any] | None] | None,
    heads: Mapping[str, str] | None = None,
) -> list[tuple[str, list[Cell]]]:
    """Return the columns that have room on a line. What metadata has none is below the document.

    Args:
        before: The columns before the metadata.
        after: Those after it.
        metadatas: Of the records, None where they have none.
        heads: What stands above a column, where that is not its name.
    """
    if metadatas is None:
        return [*before.items(), *after.items()]
    narrow = [one for one in before.items() if one[0] != "document"]
    shown = heads or {}
    room = LINE - sum(width_of(head(shown.get(name, name)), cells) for name, cells in narrow)
    room -= DOCUMENT * (("document" in before) + len(after))
    columns, others = metadata_columns(metadatas, room)
    place = "document" if "document" in before else OTHER_KEYS
    if any(others):
        if place not in before:
            # They take the room of a document.
            room -= DOCUMENT
            columns, others = metadata_columns(metadatas, room)
        above = before.get(place) or [Cell("", kind="d")] * len(others)
        below = [replace(one, below=more) for one, more in zip(above, others, strict=True)]
        before = {**before, place: below}
    left = room - sum(width_of(head(name), cells) for name, cells in columns)
    if place in before and left < LINE - NARROW_LINE:
        # It has no width of its own, so that it gives way.
        before = {**before, place: [replace(one, kind="") for one in before[place]]}
    return [*before.items(), *columns, *after.items()]


def chosen_columns(
    result: Mapping[str, Any],
    own: Mapping[str, list[Cell]],
    metadatas: Sequence[dict[str, Any] | None] | None,
    n: int,
) -> list[tuple[str, list[Cell]]]:
    """Return the columns that somebody has chosen; the place of a record stands first where it is not among them.

    Args:
        result: What has the columns.
        own: Those that the records of this table have.
        metadatas: Of the records, None where they have none.
        n: How many there are.
    """
    chosen = current().columns or ()
    if "#" in own and "#" not in chosen:
        chosen = ("#", *chosen)
    # What the records of another query have is no metadata of these.
    elsewhere = {*result._own_columns().values()} if hasattr(result, "_own_columns") else set()
    found = metadatas or [None] * n

    def cells(name: str) -> list[Cell]:
        if name in own:
            return own[name]
        if name in elsewhere:
            return [Cell("")] * n
        if name == OTHER_KEYS and not any(name in (one or {}) for one in found):
            return [other_keys(one or {}, chosen) or Cell("") for one in found]
        return [value_cell((one or {}).get(name)) for one in found]

    return [(name, cells(name)) for name in chosen]


def rows_shown(result: Mapping[str, Any]) -> int:
    """Return how many records of a result are shown at most."""
    rows = current().rows
    return int(getattr(result, "display_rows", ROWS)) if rows is None else rows


def how_to_see_more(rows: int, of: int) -> str:
    """Return what is said of so many records where not all of them, or of their texts, are shown."""
    said = []
    if current().is_cut:
        said.append(f"An output has at most {format_bytes(current().max_bytes)}.")
    if of > rows:
        said.append(f"More of them: .show(rows={min(of, 5 * rows)}). All of them: .to_pandas()")
    return " ".join(said)


def view_get(shown: GetResult) -> View:
    """Return the first records, or why there are none."""
    total = len(shown["ids"])
    rows = rows_shown(shown)
    caption = showing(min(total, rows), total, "record") if total else "No records."
    more = how_to_see_more(rows, total) if total else why_empty(shown)
    table = records_table(shown, caption, exact=shown.contains)
    return "records", {"tables": [table], "more": more}


def view_query(shown: QueryResult) -> View:
    """Return the nearest records of the first queries, or why there are none."""
    total = len(shown["ids"])
    rows = rows_shown(shown)
    tables = []
    for row in range(min(total, _QUERIES)):
        n = len(shown["ids"][row])
        caption = showing(min(n, rows), n, "record")
        if shown.asked is not None:
            caption += f" for “{shorten(shown.asked[row], 200)}”"
        elif total > 1:
            caption += f" for query {row + 1}"
        if shown.get("distances") is not None and n:
            caption += ", nearest first"
        table = records_table(shown, caption if n else f"No {caption[2:]}.", row, shown.contains)
        has_bars = any(cell.bar is not None for cells in table.rows[:1] for cell in cells)
        tables.append(replace(table, bars="; a longer bar is nearer" if has_bars else ""))
    more = []
    if total > _QUERIES:
        more.append(f"Showing {_QUERIES} of {total:,} queries.")
    most = max(map(len, shown["ids"]), default=0)
    more.append(how_to_see_more(rows, most))
    if total > _QUERIES and most <= rows:
        more.append("All of them: .to_pandas()")
    if not any(shown["ids"]):
        more.append(why_empty(shown))
    return "records", {"tables": tables, "more": " ".join(filter(None, more))}


def view_explanation(shown: Explanation) -> View:
    """Return how a query is answered, as pairs; of a search each part in a column."""
    plain = {key: value for key, value in shown.items() if key != "parts"}
    rows = [(_said(key), _explained(key, plain[key])) for key in _in_order(plain)]
    parts = shown.get("parts")
    if isinstance(parts, dict) and parts:
        return "explained", {"rows": rows, "table": _parts_table(parts)}
    return "pairs", {
        "lead": "",
        "caption": f"How the {'search' if 'parts' in shown else 'query'} is answered",
        "rows": rows,
        "folded": None,
    }


def _in_order(explained: Iterable[str]) -> list[str]:
    names = list(explained)
    first = ("strategy", "reason", "engine", "answered_from", "held_because")
    return [*(key for key in first if key in names), *(key for key in names if key not in first)]


def _said(key: str) -> str:
    return shorten(key.replace("_", " "), ID)


def _explained(key: str, value: Any) -> Cell:
    is_size = key.endswith("_bytes") and isinstance(value, int)
    return replace(Cell(format_bytes(value)) if is_size else value_cell(value), number=False)


def _parts_table(parts: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a row for each thing that is said of the parts of a search, and a column for each part."""
    some = dict(itertools.islice(parts.items(), _PARTS_SHOWN))
    said = (key for part in some.values() for key, value in part.items() if value is not None)
    names = _in_order(dict.fromkeys(said))
    rows = [
        [Cell(_said(key)), *(_explained(key, part.get(key)) for part in some.values())]
        for key in names
    ]
    caption = "How each part is answered"
    if len(some) < len(parts):
        caption += f"; {showing(len(some), len(parts), 'part')}"
    return Table(caption, [head("part"), *(head(name) for name in some)], rows)


def view_fields(shown: Fields) -> View:
    """Return the metadata keys that the records have."""
    client, collection_id = shown._client, shown._id

    def ask(api: API) -> tuple[list[FieldSummary], int]:
        some = shown.describe()
        # That many are described at most.
        return some, len(some) if len(some) < _DESCRIBED else len(shown)

    def known() -> Composed | None:
        fact = client.api.known and client.api.known.fields(collection_id)
        return Composed(_fields_view(fact.value), fact.at, fact.at) if fact else None

    return view_in_time(
        client,
        ("fields", collection_id),
        ask=ask,
        view=lambda found: _fields_view(*found),
        known=known,
        nothing=lambda why: ("table", {"lead": why, "table": Table("")}),
        instead="collection.fields.describe() asks it.",
    )


def _fields_view(found: Sequence[FieldSummary], n_keys: int | None = None) -> View:
    """Return a table of metadata keys.

    Args:
        found: The most frequent ones.
        n_keys: How many there are; None is not known where `found` has as many as are described at most.
    """
    heads = [head("key"), head("kinds"), head("records", number=True)]
    heads += [head("different", number=True), head("values, and how many have them")]
    rows = []
    for field in found[:_FIELDS]:
        values = ", ".join(
            f"{shorten(str(value), 30)} ({n:,})" for value, n in field.values[:_VALUES]
        )
        if field.minimum is not None and not field.values:
            values = f"{field.minimum:.6g} to {field.maximum:.6g}"
        if len(field.values) > _VALUES:
            values += ", …"
        rows.append(
            [
                text_cell(shorten(field.key, 60)),
                Cell(", ".join(field.kinds)),
                Cell(f"{field.n_records:,}", number=True),
                Cell(_different(field), number=True),
                text_cell(values),
            ]
        )
    if n_keys is None and len(found) >= _DESCRIBED:
        caption = f"the {len(rows)} most frequent metadata keys"
    else:
        caption = showing(len(rows), len(found) if n_keys is None else n_keys, "metadata key")
    return "table", {
        "lead": "" if rows else "No metadata.",
        "table": Table(caption, heads, rows),
    }


def _different(field: FieldSummary) -> str:
    """Return how many different values there are, and whether that is known."""
    about = "about " if field.is_estimate else ""
    return f"{about}{field.n_distinct:,}" if field.n_distinct else ""
