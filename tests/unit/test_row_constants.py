"""No piece of work is sized by a number of rows: five thousand of them may be a megabyte, or ten gigabytes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import chroma_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(chroma_nb.__file__).parent
#: Names of numbers of rows. What counts bytes or seconds says so.
_COUNTS = re.compile(r"(^|_)(ROWS|RECORDS|TEXTS|STEPS?|PIECES?|PAGE)(_|$)")
_NO_COUNTS = re.compile(r"_(BYTES|SECONDS)$")
#: A step of a loop over data that is so small says nothing about memory.
_SMALL_STEP = 256

#: Module and name -> why it may be a number of rows.
ALLOWED = {
    ("api/_chroma_server.py", "_PAGE"): "Chroma's server takes no more at a time",
    ("server/flight_listing.py", "_PAGE"): "collections, whose entries are small",
    ("api/copying.py", "PIECE_RECORDS"): "an upper bound above one in bytes; ids alone",
    (
        "api/scanning.py",
        "_FIRST_RECORDS",
    ): "the first piece, fewer where bytes say so, halved where it is too much",
    ("transfer/parquet_reader.py", "_REWRITTEN_ROWS"): "an upper bound beside one in bytes",
    ("segment/written_texts.py", "_PIECE_COPIES"): "a factor of bytes",
    ("db/duckdb/inserts.py", "PIECE_COPIES"): "a factor of bytes",
    (
        "db/duckdb/checkpoint_memory.py",
        "GROUP_ROWS",
    ): "DuckDB's row groups: bytes are reckoned from it",
    ("db/duckdb/inserts.py", "_COLUMNAR_ROWS"): "which way of writing is faster",
    ("db/duckdb/inserts.py", "_PLAIN_ROWS"): "which way of writing is faster",
    ("db/duckdb/records.py", "_FEW_RECORDS"): "when sizes are measured anew",
    (
        "db/chunks.py",
        "CHUNK_ROWS",
    ): "what DuckDB reads at a time: bytes are reckoned from it",
    ("db/chunks.py", "_PART_ROWS"): "rows whose sizes are added up in DuckDB",
    (
        "db/duckdb/catalogue_rows.py",
        "_FIRST_ROWS",
    ): "the first piece, halved where it is too much",
    ("db/duckdb/records.py", "_PIECE_WORK"): "bytes, times the parts of patterns",
    ("db/clickhouse/pieces.py", "BLOCK_ROWS"): "an upper bound beside one in bytes",
    ("db/clickhouse/graph_tables.py", "_PIECE_NUMBERS"): "floats, which ClickHouse copies",
    ("db/clickhouse/graph_tables.py", "_GRANULE_ROWS"): "what ClickHouse reads at a time",
    (
        "db/clickhouse/ranking.py",
        "_SAMPLE_ROWS",
    ): "records that ClickHouse counts, none is read here",
    ("db/clickhouse/check.py", "_PIECE_ROWS"): "vectors that ClickHouse counts, none is read here",
    ("validation/texts.py", "_CHECKED_TEXTS"): "long texts are checked one by one",
    ("segment/written_texts.py", "_NOTED_TOGETHER"): "keys of records that are in memory already",
    ("db/record_table.py", "_ROWS_PER_WANTED"): "a share: whether a range is read whole",
    ("db/sql/columns.py", "_KEYS_AT_ONCE"): "keys, not records: their names",
    ("db/sql/frame.py", "_ROWS"): "an upper bound above one in bytes",
    ("db/sql/vectors.py", "_MANY_RECORDS"): "from where Arrow is faster",
    ("db/vector_file.py", "_RANGE_ROWS_PER_ROW"): "a share: whether a range is read whole",
    ("db/vector_file.py", "_FEW_ROWS"): "which way of reading is faster",
    ("display/extent.py", "ROWS"): "what is shown",
    ("widgets/filter_controls.py", "_STEPS"): "steps of a slider",
    ("display/plain.py", "_RECORDS"): "what is shown",
    ("embedding/_minilm.py", "_TEXTS_PER_BATCH"): "an upper bound above one in tokens",
    ("embedding/_minilm.py", "_TEXTS_PER_WINDOW"): "tokens of texts that are cut to 256 of them",
    ("tasks/messages.py", "PIECE_TEXTS"): "an upper bound beside one in bytes",
    ("tasks/pieces.py", "FEW_TEXTS"): "which way is faster",
    ("embedding/_ollama.py", "_TEXTS_PER_REQUEST"): "what the service takes",
    ("embedding/_openai.py", "_TEXTS_PER_REQUEST"): "what the service takes",
    ("embedding/_static.py", "_TEXTS"): "an upper bound above one in characters",
    ("embedding/_static.py", "_ROWS"): "rows of the model's own table, of one width",
    ("embedding/calls.py", "_CHECKED_ROWS"): "a bit for each number of vectors that are there",
    ("plotting/embedding_map.py", "_PIECES"): "a number of pieces, whose ids are read",
    ("plotting/clusters.py", "_LEAST_RECORDS"): "what is a cluster",
    ("plotting/clusters.py", "_READ_RECORDS"): "a sample, whose words give the names",
    ("plotting/layouts.py", "_SEARCH_STEPS"): "steps of a progress bar",
    ("plotting/tsne.py", "LEAST_RECORDS"): "what can be laid out",
    ("plotting/tsne.py", "_FEW_RECORDS"): "from where threads are faster",
    ("plotting/projection.py", "_MOST_STEPS"): "steps of a computation",
    ("segment/graphs.py", "_TAIL_RECORDS"): "when a graph is brought up to date",
    ("segment/graphs.py", "_MANY_RECORDS"): "when memory is given back to the system",
    ("segment/manager.py", "_MANY_RECORDS"): "when memory is given back to the system",
    ("segment/vectors.py", "_LEFT_OUT_ROWS"): "which way of scanning is faster",
    ("index/exact.py", "_FEWEST_ROWS"): "which way of multiplying is faster",
    ("widgets/memory_rows.py", "_PAGE"): "what is shown",
}


def number_of(node: ast.expr | None) -> int | None:
    """Return the integer that an expression of constants stands for, if it is one."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if isinstance(node, ast.BinOp):
        left, right = number_of(node.left), number_of(node.right)
        if left is None or right is None:
            return None
        match node.op:
            case ast.Mult():
                return left * right
            case ast.LShift():
                return left << right
            case ast.Pow():
                return int(left**right)
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
    return None


def constants(tree: ast.Module) -> dict[str, int]:
    """Return the module's names of integers."""
    found: dict[str, int] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, expression in pairs:
                value = number_of(expression)
                if isinstance(name, ast.Name) and value is not None:
                    found[name.id] = value
    return found


def steps(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the third argument of each `range`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name, given = node.func.id, node.args
            yield from given[2:] if name == "range" else ()


def row_constants(source: str) -> set[str]:
    """Return the names, or the numbers, by which a module sizes something in rows."""
    tree = ast.parse(source)
    known = constants(tree)
    found = {name for name in known if _COUNTS.search(name) and not _NO_COUNTS.search(name)}
    for step in steps(tree):
        value = number_of(step)
        if value is not None and value > _SMALL_STEP:
            found.add(f"{value:_}")
        if isinstance(step, ast.Name) and step.id in known and not _NO_COUNTS.search(step.id):
            found.add(step.id)
    return found


def test_what_counts_rows_is_known_and_has_a_reason() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in row_constants(path.read_text(encoding="utf-8"))
    }
    new = sorted(f"{module}: {name}" for module, name in found - ALLOWED.keys())
    assert not new, (
        f"{', '.join(new)}: a number of rows. Is a piece of data sized by it? Then size the piece in bytes: "
        "`with WORKSPACE.take(wanted) as room: step = room.rows(row_bytes)` (chroma_nb/memory/workspace.py). Else "
        "add it to ALLOWED here, with the reason in a few words."
    )
    gone = sorted(f"{module}: {name}" for module, name in ALLOWED.keys() - found)
    assert not gone, f"{', '.join(gone)}: not there any more. Take it out of ALLOWED."
    assert all(ALLOWED.values())


def test_the_search_finds_them() -> None:
    source = """
_ROWS_AT_ONCE = 5_000
_PIECE_RECORDS: int = 1 << 12
_FEW_TEXTS, _MANY_TEXTS = 10, "many"
_PIECE_BYTES = 1 << 20
_TEXTS = ("id", "document")
_AT_ONCE = 10
_SECTIONS = 3
for start in range(0, n, 4_096):
    pass
for start in range(0, n, 4 * 128):
    pass
for start in range(0, n, _AT_ONCE):
    pass
for start in range(0, n, _PIECE_BYTES):
    pass
for start in range(0, n, 2):
    pass
for start in range(0, n, step):
    pass
"""
    assert row_constants(source) == {
        *("_ROWS_AT_ONCE", "_PIECE_RECORDS", "_FEW_TEXTS", "4_096", "512", "_AT_ONCE"),
    }
