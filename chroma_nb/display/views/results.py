"""Answers: records, matches, how a query is answered, and the metadata keys of a collection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chroma_nb.byte_sizes import format_bytes
from chroma_nb.display.cells import (
    DOCUMENT,
    LINE,
    ROWS,
    Cell,
    Table,
    head,
    metadata_columns,
    nearness_cells,
    showing,
    text_cell,
    value_cell,
    vector_cell,
    width_of,
)
from chroma_nb.display.empty import why_empty
from chroma_nb.display.facts import NotAsked, problem, within
from chroma_nb.display.words import marker, shorten, words_of
from chroma_nb.harmless import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chroma_nb.collection.fields import Fields
    from chroma_nb.collection.results import Explanation, GetResult, QueryResult
    from chroma_nb.display.cells import View
    from chroma_nb.types import FieldSummary

#: Characters of an id that are shown at once.
_ID = 40
#: Metadata keys that are shown, and described at most.
_FIELDS = 20
_DESCRIBED = 200
#: Values of a key that are shown, with how many records have them.
_VALUES = 8
#: Queries of one result that are shown.
_QUERIES = 5


def records_table(
    result: Mapping[str, Any],
    caption: str,
    row: int | None = None,
    exact: Sequence[str] = (),
) -> Table:
    """Return records as a table.

    Args:
        result: A `GetResult`, a `QueryResult`, or a dict with some of their keys.
        caption: The table's caption.
        row: The query of a `QueryResult` whose records are shown.
        exact: Texts that are marked where a document contains them.
    """

    def part(name: str) -> Any:
        values = result.get(name)
        return values if values is None or row is None else values[row]

    ids = part("ids")[:ROWS]
    asked = getattr(result, "asked", None)
    pattern = marker(words_of(asked[row]) if asked and row is not None else (), exact)
    heads: list[Cell] = []
    columns: list[list[Cell]] = []

    def column(name: str, cells: list[Cell], *, number: bool = False) -> None:
        heads.append(head(name, number=number))
        columns.append(cells)

    if row is not None:
        column("#", [Cell(str(at), number=True) for at in range(1, len(ids) + 1)], number=True)
    distances = part("distances")
    if distances is not None:
        space = getattr(result, "space", "l2")
        for name, cells in nearness_cells(distances[: len(ids)], space).items():
            column(name, cells, number=True)
    column("id", [replace(text_cell(one, limit=_ID), kind="w") for one in ids])
    uris, embeddings, documents = part("uris"), part("embeddings"), part("documents")
    metadatas = part("metadatas")
    names: list[Cell] = []
    rows: list[list[Cell]] = []
    others: list[Cell | None] = [None] * len(ids)
    if metadatas is not None:
        room = LINE - sum(width_of(name, cells) for name, cells in zip(heads, columns, strict=True))
        room -= DOCUMENT * ((documents is not None) + (uris is not None) + (embeddings is not None))
        names, rows, others = metadata_columns(metadatas[: len(ids)], room)
    if documents is not None or any(others):
        texts = documents[:ROWS] if documents is not None else [None] * len(ids)
        cells = [Cell("") if text is None else text_cell(text, pattern) for text in texts]
        column(
            "document" if documents is not None else "other keys",
            [replace(one, kind="d", below=more) for one, more in zip(cells, others, strict=True)],
        )
    heads.extend(names)
    columns.extend([cells[at] for cells in rows] for at in range(len(names)))
    if uris is not None:
        column("uri", [Cell("") if uri is None else text_cell(uri) for uri in uris[: len(ids)]])
    if embeddings is not None:
        column("embedding", [vector_cell(vector) for vector in embeddings[: len(ids)]])
    return Table(clean(caption), heads, list(zip(*columns, strict=True)))


def view_get(shown: GetResult) -> View:
    """Return the first records, or why there are none."""
    total = len(shown["ids"])
    caption = showing(min(total, ROWS), total, "record") if total else "No records."
    more = "All of them: .to_pandas()" if total > ROWS else ""
    if not total:
        more = why_empty(shown)
    table = records_table(shown, caption, exact=shown.contains)
    return "records", {"tables": [table], "more": more}


def view_query(shown: QueryResult) -> View:
    """Return the nearest records of the first queries, or why there are none."""
    total = len(shown["ids"])
    tables = []
    for row in range(min(total, _QUERIES)):
        n = len(shown["ids"][row])
        caption = showing(min(n, ROWS), n, "record")
        if shown.asked is not None:
            caption += f" for “{shorten(shown.asked[row], 200)}”"
        elif total > 1:
            caption += f" for query {row + 1}"
        if shown.get("distances") is not None and n:
            caption += ", nearest first; a longer bar is nearer"
        tables.append(
            records_table(shown, caption if n else f"No {caption[2:]}.", row, shown.contains)
        )
    more = []
    if total > _QUERIES:
        more.append(f"Showing {_QUERIES} of {total:,} queries.")
    if total > _QUERIES or any(len(ids) > ROWS for ids in shown["ids"]):
        more.append("All of them: .to_pandas()")
    if not any(shown["ids"]):
        more.append(why_empty(shown))
    return "records", {"tables": tables, "more": " ".join(more)}


def view_explanation(shown: Explanation) -> View:
    """Return how a query is answered, as pairs."""
    first = ("strategy", "reason", "engine", "answered_from", "held_because")
    order = [*(key for key in first if key in shown), *(key for key in shown if key not in first)]
    rows = []
    for key in order:
        value = shown[key]
        cell = Cell(format_bytes(value)) if key.endswith("_bytes") else value_cell(value)
        rows.append((key.replace("_", " "), replace(cell, number=False)))
    return "pairs", {
        "lead": "",
        "caption": "How the query is answered",
        "rows": rows,
        "folded": None,
    }


def view_fields(shown: Fields) -> View:
    """Return the metadata keys that the records have."""

    def ask() -> tuple[list[FieldSummary], int]:
        some = shown.describe()
        # That many are described at most.
        return some, len(some) if len(some) < _DESCRIBED else len(shown)

    found: Any = within(ask) if shown.is_near else NotAsked()
    if isinstance(found, Exception):
        lead = problem(found, "collection.fields.describe() asks it.")
        return "table", {"lead": lead, "table": Table("")}
    found, n_keys = found
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
    table = Table(showing(len(rows), n_keys, "metadata key"), heads, rows)
    return "table", {"lead": "" if rows else "No metadata.", "table": table}


def _different(field: FieldSummary) -> str:
    """Return how many different values there are, and whether that is known."""
    about = "about " if field.is_estimate else ""
    return f"{about}{field.n_distinct:,}" if field.n_distinct else ""
